// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device memory and device-visible host memory, as the program sees them.
//!
//! This side chooses the addresses: device memory from the range that the device offers, pinned
//! and managed memory from the window, which the worker has mapped at the same address. So an
//! allocation needs no round trip, and any address can be classified without asking.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use vcuda_protocol::{Array, Command, DeviceInfo, HostMemory, MemoryInfo, Reply, Stream, layout};

use crate::contexts::{self, Device};
use crate::in_place::{self, Registered};
use crate::session::heap::{FREED, Heap};
use crate::session::{self, Session};
use crate::{Result, error, pools, thread};

/// Alignment of device memory. CUDA promises 256; textures like 512.
const DEVICE_ALIGN: u64 = 512;
const PAGE: u64 = 4096;

/// The memory of one device: what `cudaMalloc` gave, and where modules' variables are.
pub(crate) struct DeviceMemory {
    base: u64,
    len: u64,
    heap: Mutex<Heap>,
    /// First address and length of the range for arrays, and which are taken.
    array_range: (u64, u64),
    arrays: Mutex<Heap>,
    /// Bytes that may be allocated before the device is asked again whether it has them. Changed
    /// under the heap's lock.
    assured: AtomicU64,
    /// Address and length of each global variable that the program has asked for.
    globals: RwLock<Vec<(u64, u64)>>,
}

impl DeviceMemory {
    pub(crate) fn new(info: &DeviceInfo) -> Self {
        let array_range = info.arrays();
        let (arrays, arrays_len) = array_range;
        DeviceMemory {
            array_range,
            arrays: Mutex::new(Heap::new(
                arrays,
                arrays_len,
                DEVICE_ALIGN,
                info.total_memory,
            )),
            base: info.heap_base,
            len: info.heap_len,
            heap: Mutex::new(Heap::new(
                info.heap_base,
                info.heap_len,
                DEVICE_ALIGN,
                info.total_memory,
            )),
            assured: AtomicU64::new(0),
            globals: RwLock::default(),
        }
    }

    fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.base) < self.len
    }

    fn holds_array(&self, address: u64) -> bool {
        address.wrapping_sub(self.array_range.0) < self.array_range.1
    }

    /// Remembers where a global variable is, so that its address is known as device memory.
    pub(crate) fn add_global(&self, address: u64, size: u64) {
        let mut globals = self.globals.write();
        if !globals.contains(&(address, size)) {
            globals.push((address, size));
        }
    }

    fn global(&self, address: u64) -> Option<(u64, u64)> {
        let globals = self.globals.read();
        globals
            .iter()
            .copied()
            .find(|&(start, size)| address.wrapping_sub(start) < size)
    }

    /// Forgets all allocations and variables: the device was reset.
    pub(crate) fn clear(&self) {
        let mut heap = self.heap.lock();
        heap.clear();
        self.assured.store(0, Ordering::Relaxed);
        drop(heap);
        self.arrays.lock().clear();
        self.globals.write().clear();
        // Variables are as gone as allocations are.
        FREED.fetch_add(1, Ordering::Release);
    }
}

/// What an address is.
#[derive(Clone, Copy)]
pub(crate) enum Memory {
    /// An allocation, array or variable of a device.
    Device {
        device: &'static Device,
        start: u64,
        len: u64,
    },
    /// Host memory that the device sees at the same address.
    Window {
        kind: HostMemory,
        flags: u32,
        device: u32,
        start: u64,
        len: u64,
    },
    /// In a range that only device or window allocations have, but in none of them: freed, or
    /// never allocated.
    Stray,
    /// Any other memory of the process.
    Pageable,
}

impl Memory {
    /// Whether `[address, address + len)` lies in one allocation. Of pageable memory nothing is
    /// known.
    pub(crate) fn covers(&self, address: u64, len: u64) -> bool {
        match *self {
            Memory::Device {
                start, len: size, ..
            }
            | Memory::Window {
                start, len: size, ..
            } => {
                let offset = address.wrapping_sub(start);
                offset <= size && len <= size - offset
            }
            Memory::Stray => false,
            Memory::Pageable => true,
        }
    }
}

/// What `address` points into. Starts nothing: before the first allocation all memory is pageable.
pub(crate) fn classify(address: u64) -> Memory {
    let mut found = Memory::Stray;
    let allocation = thread::with(|t| {
        let is_it = |last: &Memory| last.covers(address, 1);
        t.memory.get(&FREED, is_it, || {
            found = look_up(address);
            let allocated = matches!(found, Memory::Device { .. } | Memory::Window { .. });
            allocated.then_some(found)
        })
    });
    allocation.unwrap_or(found)
}

fn look_up(address: u64) -> Memory {
    if let Some(host) = HOST.get() {
        let offset = address.wrapping_sub(host.base);
        if offset < host.len {
            let heap = host.heap.lock();
            let found = heap.offsets.find(offset).and_then(|(start, len)| {
                let block = heap.blocks.iter().find(|b| b.offset == start)?;
                Some((start, len, block.kind, block.flags, block.device))
            });
            return match found {
                Some((start, len, kind, flags, device)) => Memory::Window {
                    kind,
                    flags,
                    device,
                    start: host.base + start,
                    len,
                },
                None => Memory::Stray,
            };
        }
    }
    if session::running().is_none() {
        return Memory::Pageable;
    }
    for device in contexts::devices().unwrap_or_default() {
        if device.memory.holds(address) {
            return match device.memory.heap.lock().find(address) {
                Some((start, len)) => Memory::Device { device, start, len },
                None => Memory::Stray,
            };
        }
        if device.memory.holds_array(address) {
            return match device.memory.arrays.lock().find(address) {
                Some((start, len)) => Memory::Device { device, start, len },
                None => Memory::Stray,
            };
        }
        if let Some((start, len)) = device.memory.global(address) {
            return Memory::Device { device, start, len };
        }
    }
    Memory::Pageable
}

/// A number that no other allocation of the process has or had; of memory that is not allocated
/// (variables, registered memory) its address.
pub(crate) fn identity(address: u64) -> u64 {
    let found = match classify(address) {
        Memory::Device { device, .. } => device.memory.heap.lock().identity(address),
        Memory::Window { .. } => HOST.get().and_then(|host| {
            let offset = address.wrapping_sub(host.base);
            host.heap.lock().offsets.identity(offset)
        }),
        Memory::Stray | Memory::Pageable => None,
    };
    found.unwrap_or(address)
}

/// Allocates device memory (`cudaMalloc`). Size 0 gives a null pointer, as CUDA does.
pub(crate) fn allocate(device: &'static Device, size: u64) -> Result<u64> {
    reserve(device, size, |address| Command::MemAlloc {
        device: device.wire,
        address,
        size,
    })
}

/// Allocates device memory ordered on a stream (`cudaMallocAsync`).
pub(crate) fn allocate_on(device: &'static Device, stream: Stream, size: u64) -> Result<u64> {
    reserve(device, size, |address| Command::MemAllocAsync {
        stream,
        address,
        size,
    })
}

fn reserve(
    device: &'static Device,
    size: u64,
    command: impl FnOnce(u64) -> Command,
) -> Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    let session = session::get()?;
    // The lock is held while the command is sent: an address that another thread frees must not
    // be allocated again ahead of the command that frees it.
    let mut heap = device.memory.heap.lock();
    let address = heap.allocate(size).ok_or(error::OUT_OF_MEMORY)?;
    let assured = device.memory.assured.load(Ordering::Relaxed);
    let sent = match assured.checked_sub(size) {
        Some(rest) => {
            device.memory.assured.store(rest, Ordering::Relaxed);
            session.post(&command(address))
        }
        // The device may not have so much: this is the call that has to say so.
        None => session.call(&command(address)).and_then(|_| {
            let free = info(device)?.free;
            let assured = free / ASSURED_PART;
            device.memory.assured.store(assured, Ordering::Relaxed);
            Ok(())
        }),
    };
    sent.inspect_err(|_| {
        heap.free(address);
    })?;
    Ok(address)
}

/// Makes an array, at an address that it is given here. This is the call that says why there can be
/// none.
pub(crate) fn allocate_array(device: &'static Device, mut array: Array) -> Result<Array> {
    let session = session::get()?;
    let size = array.bytes().ok_or(error::INVALID_VALUE)?;
    let mut arrays = device.memory.arrays.lock();
    array.address = arrays.allocate(size).ok_or(error::OUT_OF_MEMORY)?;
    let command = Command::ArrayCreate {
        device: device.wire,
        array: array.clone(),
    };
    session.call(&command).inspect_err(|_| {
        arrays.free(array.address);
    })?;
    drop(arrays);
    let _heap = device.memory.heap.lock();
    let assured = device.memory.assured.load(Ordering::Relaxed);
    let rest = assured.saturating_sub(size);
    device.memory.assured.store(rest, Ordering::Relaxed);
    Ok(array)
}

/// Frees an array once the work that was issued before has finished, as CUDA does.
pub(crate) fn free_array(device: &'static Device, address: u64) -> Result<()> {
    session::get()?.call(&Command::ArrayDestroy {
        device: device.wire,
        address,
    })?;
    device.memory.arrays.lock().free(address);
    Ok(())
}

/// Of the memory that is free when the device is asked, so much (one in so many bytes) is taken to
/// stay free until it is asked again: others may use it too, and pieces of memory have gaps.
const ASSURED_PART: u64 = 2;

/// Rows of pitched memory begin at multiples of this, which suits textures too.
const PITCH_ALIGN: u64 = 512;

/// Allocates `rows` rows of `width` bytes; returns address and pitch.
pub(crate) fn allocate_pitched(
    device: &'static Device,
    width: u64,
    rows: u64,
) -> Result<(u64, u64)> {
    let pitch = width.checked_next_multiple_of(PITCH_ALIGN);
    let pitch = pitch.ok_or(error::OUT_OF_MEMORY)?;
    let size = pitch.checked_mul(rows).ok_or(error::OUT_OF_MEMORY)?;
    Ok((allocate(device, size)?, pitch))
}

/// Free and total bytes of a device.
pub(crate) fn info(device: &Device) -> Result<MemoryInfo> {
    let command = Command::MemInfo {
        device: device.wire,
    };
    match session::get()?.call(&command)? {
        Reply::Memory(info) => Ok(info),
        other => Err(contexts::unexpected("MemInfo", &other)),
    }
}

/// Frees device memory (`cudaFree`). The address must be the start of an allocation.
pub(crate) fn free(address: u64) -> Result<()> {
    release(address, |device| Command::MemFree {
        device: device.wire,
        address,
    })
}

/// Frees device memory ordered on a stream (`cudaFreeAsync`).
pub(crate) fn free_on(stream: Stream, address: u64) -> Result<()> {
    release(address, |_| Command::MemFreeAsync { stream, address })
}

fn release(address: u64, command: impl FnOnce(&Device) -> Command) -> Result<()> {
    let session = session::get()?;
    match classify(address) {
        Memory::Device { device, start, .. } if start == address => {
            let mut heap = device.memory.heap.lock();
            // Again, under the lock: of two threads that free the same address one is late.
            heap.find(address)
                .filter(|&(start, _)| start == address)
                .ok_or(error::INVALID_VALUE)?;
            session.post(&command(device))?;
            heap.free(address);
            pools::freed(address);
            Ok(())
        }
        Memory::Window {
            kind: HostMemory::Managed,
            start,
            ..
        } if start == address => free_host(address, HostMemory::Managed),
        _ => Err(error::INVALID_VALUE),
    }
}

/// Pinned and managed memory: the window behind its staging area.
struct HostWindow {
    base: u64,
    len: u64,
    heap: Mutex<HostHeap>,
}

struct HostHeap {
    offsets: Heap,
    blocks: Vec<HostBlock>,
}

struct HostBlock {
    offset: u64,
    kind: HostMemory,
    /// The flags that the program allocated it with.
    flags: u32,
    /// The device that was current then.
    device: u32,
}

static HOST: OnceLock<HostWindow> = OnceLock::new();

fn host_window(session: &'static Session) -> &'static HostWindow {
    HOST.get_or_init(|| {
        let len = session.window.len() as u64;
        let free = len - layout::STAGING_LEN;
        HostWindow {
            base: session.window_base,
            len,
            heap: Mutex::new(HostHeap {
                offsets: Heap::new(layout::STAGING_LEN, free, PAGE, free.min(physical_memory())),
                blocks: Vec::new(),
            }),
        }
    })
}

/// Bytes of the pages that `len` bytes take.
fn pages(len: u64) -> u64 {
    len.max(1).next_multiple_of(PAGE)
}

/// The machine's memory: what is beyond it cannot be pinned.
fn physical_memory() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(PAGE)
}

/// Allocates pinned or managed host memory; returns its address on both sides.
pub(crate) fn allocate_host(
    device: &Device,
    size: u64,
    kind: HostMemory,
    flags: u32,
) -> Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    let session = session::get()?;
    let host = host_window(session);
    let mut heap = host.heap.lock();
    let offset = heap.offsets.allocate(size).ok_or(error::OUT_OF_MEMORY)?;
    let backed = pages(size);
    session.back(offset, backed).inspect_err(|_| {
        heap.offsets.free(offset);
    })?;
    let command = Command::HostAlloc { kind, offset, size };
    session.post(&command).inspect_err(|_| {
        session.discard(offset, backed);
        heap.offsets.free(offset);
    })?;
    heap.blocks.push(HostBlock {
        offset,
        kind,
        flags,
        device: device.ordinal,
    });
    Ok(host.base + offset)
}

/// Allocates managed memory. Unlike other allocations, one of no bytes is an error
/// (cuMemAllocManaged).
pub(crate) fn allocate_managed(device: &Device, size: u64, flags: u32) -> Result<u64> {
    /// `CU_MEM_ATTACH_GLOBAL`, `CU_MEM_ATTACH_HOST`
    const ATTACH: [u32; 2] = [1, 2];
    /// `CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY`
    const MANAGED_MEMORY: u32 = 83;
    if size == 0 || !ATTACH.contains(&flags) {
        return Err(error::INVALID_VALUE);
    }
    if device.attribute(MANAGED_MEMORY).unwrap_or(0) == 0 {
        return Err(error::NOT_SUPPORTED);
    }
    allocate_host(device, size, HostMemory::Managed, flags)
}

/// The flags of pinned or registered memory. All pinned memory is mapped, because addresses are
/// unified.
pub(crate) fn host_flags(address: u64) -> Result<u32> {
    /// `cudaHostAllocMapped`, `CU_MEMHOSTALLOC_DEVICEMAP`
    const MAPPED: u32 = 2;
    if let Memory::Window {
        kind: HostMemory::Pinned,
        flags,
        ..
    } = classify(address)
    {
        return Ok(flags | MAPPED);
    }
    let (_, _, flags) = registered(address).ok_or(error::INVALID_VALUE)?;
    Ok(flags)
}

/// Frees pinned or managed memory, once the device's work with it is done. The address must be
/// the start of an allocation of that kind.
pub(crate) fn free_host(address: u64, kind: HostMemory) -> Result<()> {
    let session = session::get()?;
    let host = host_window(session);
    let offset = address.wrapping_sub(host.base);
    let block = {
        let mut heap = host.heap.lock();
        let found = heap
            .blocks
            .iter()
            .position(|b| b.offset == offset && b.kind == kind)
            .ok_or(error::INVALID_VALUE)?;
        heap.blocks.swap_remove(found)
    };
    // The range stays taken until the worker has let go of it.
    session.call(&Command::HostFree {
        offset: block.offset,
    })?;
    give_back(session, host, offset);
    Ok(())
}

fn give_back(session: &Session, host: &HostWindow, offset: u64) {
    let mut heap = host.heap.lock();
    if let Some((_, len)) = heap.offsets.find(offset) {
        session.discard(offset, pages(len));
        heap.offsets.free(offset);
    }
}

/// Lends `bytes` to the worker through the window, for as long as `f` runs.
pub(crate) fn with_bytes_in_window<R>(bytes: &[u8], f: impl FnOnce(u64) -> Result<R>) -> Result<R> {
    let session = session::get()?;
    let host = host_window(session);
    let len = bytes.len() as u64;
    let offset = {
        let mut heap = host.heap.lock();
        let offset = heap.offsets.allocate(len).ok_or(error::OUT_OF_MEMORY)?;
        session.back(offset, pages(len)).inspect_err(|_| {
            heap.offsets.free(offset);
        })?;
        offset
    };
    let written = session.window.write(offset as usize, bytes);
    let result = match written {
        true => f(offset),
        false => Err(error::UNKNOWN),
    };
    give_back(session, host, offset);
    result
}

/// Host memory that the program registered (`cudaHostRegister`). It stays where it is. In a virtual
/// machine its pages are pinned and known to the worker; on one machine, copies to and from it go
/// through the staging area like those of any pageable memory.
struct RegisteredRange {
    start: u64,
    len: u64,
    flags: u32,
    in_place: Option<Registered>,
}

static REGISTERED: Mutex<Vec<RegisteredRange>> = Mutex::new(Vec::new());

impl RegisteredRange {
    fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.len
    }
}

pub(crate) fn register(start: u64, len: u64, flags: u32) -> Result<()> {
    if start == 0 || len == 0 || start.checked_add(len).is_none() {
        return Err(error::INVALID_VALUE);
    }
    if !matches!(classify(start), Memory::Pageable) {
        return Err(error::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let session = session::get()?;
    let mut registered = REGISTERED.lock();
    let overlaps = |r: &RegisteredRange| start < r.start + r.len && r.start < start + len;
    if registered.iter().any(overlaps) {
        return Err(error::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let in_place = in_place::register(session, start, len)?;
    registered.push(RegisteredRange {
        start,
        len,
        flags,
        in_place,
    });
    Ok(())
}

pub(crate) fn unregister(address: u64) -> Result<()> {
    if address == 0 {
        return Err(error::INVALID_VALUE);
    }
    let mut registered = REGISTERED.lock();
    let found = registered
        .iter()
        .position(|r| r.start == address)
        .ok_or(error::HOST_MEMORY_NOT_REGISTERED)?;
    let range = registered.swap_remove(found);
    match range.in_place {
        Some(in_place) => in_place.unregister(session::get()?),
        None => Ok(()),
    }
}

/// The registered range that holds `address`: start, length, flags.
pub(crate) fn registered(address: u64) -> Option<(u64, u64, u32)> {
    let registered = REGISTERED.lock();
    let found = registered.iter().find(|r| r.holds(address))?;
    Some((found.start, found.len, found.flags))
}

/// The registered memory that holds `span` bytes from `address` on, where the worker knows it.
pub(crate) fn registered_in_place(address: u64, span: Option<u64>) -> Option<Registered> {
    let last = address.checked_add(span?.checked_sub(1)?)?;
    let registered = REGISTERED.lock();
    let found = registered
        .iter()
        .find(|r| r.holds(address) && r.holds(last))?;
    found.in_place
}
