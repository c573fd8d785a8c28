// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory of a device: allocations, arrays, and where modules' variables are.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use vcuda_protocol::{Array, Command, DeviceInfo, HostMemory, MemoryInfo, Reply, Stream};

use super::{Memory, classify, free_host};
use crate::contexts::{self, Device};
use crate::session::heap::{FREED, Heap};
use crate::{Result, error, pools, session};

/// Alignment of device memory. CUDA promises 256; textures like 512.
const DEVICE_ALIGN: u64 = 512;

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

    pub(crate) fn holds_array(&self, address: u64) -> bool {
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

    /// A number that no other allocation of the device has or had.
    pub(super) fn identity(&self, address: u64) -> Option<u64> {
        self.heap.lock().identity(address)
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

/// What `address` points into, if it is an address of the device.
pub(super) fn look_up(device: &'static Device, address: u64) -> Option<Memory> {
    let memory = &device.memory;
    let found = if memory.holds(address) {
        memory.heap.lock().find(address)
    } else if memory.holds_array(address) {
        memory.arrays.lock().find(address)
    } else {
        Some(memory.global(address)?)
    };
    Some(match found {
        Some((start, len)) => Memory::Device { device, start, len },
        None => Memory::Stray,
    })
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
