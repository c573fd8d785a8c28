// SPDX-License-Identifier: MIT OR Apache-2.0
//! A CUDA driver for tests: as much of the Driver API as `vcuda worker --device nvidia` uses, on
//! vcuda's CPU device.
//!
//! With `VCUDA_CUDA_DRIVER` set to this library, everything that the NVIDIA device does is run where
//! there is no GPU. Its caller is that device alone, so arguments are taken to be as they should;
//! what a real driver checks is checked where the CPU device checks it.
//!
//! It must never be part of an installation.

// A driver's functions have the names and the contracts of cuda.h.
#![allow(non_snake_case, clippy::missing_safety_doc, clippy::too_many_arguments)]

mod arrays;
mod host;
mod modules;
mod work;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};

use parking_lot::Mutex;
use vcuda_protocol::{DeviceInfo, FunctionInfo, Status};
use vcuda_replayer::devices::cpu::{CpuDevice, CpuOptions};
use vcuda_replayer::devices::{Completion, Device, EventHandle, Faults, Order, StreamHandle};

type Code = u32;

const INVALID_VALUE: Code = 1;
const OUT_OF_MEMORY: Code = 2;
const NOT_INITIALIZED: Code = 3;
const INVALID_DEVICE: Code = 101;
const INVALID_CONTEXT: Code = 201;
const NOT_READY: Code = 600;

/// Memory of each device, as it is reported. Its addresses are many times as many.
const MEMORY: u64 = 8 << 30;
/// Addresses of each device that can be reserved, and how many of them can be used.
const RANGE: u64 = 128 << 30;
const USED: u64 = 64 << 30;
const GRANULARITY: u64 = 2 << 20;

struct Driver {
    devices: Vec<Gpu>,
    functions: Mutex<HashMap<u64, FunctionInfo>>,
    /// How many kernels each module has.
    kernels: Mutex<HashMap<u64, u32>>,
}

struct Gpu {
    device: Arc<dyn Device>,
    info: DeviceInfo,
    /// The error that stays.
    error: Arc<AtomicU32>,
    /// Bytes of physical memory in use.
    created: AtomicU64,
    /// Whether the reserved range is known to the CPU device.
    open: Mutex<bool>,
}

/// `CUmemAccessDesc`
#[repr(C)]
struct Access {
    kind: u32,
    device: i32,
    flags: u32,
}

/// Which devices each mapping is for, by address.
static MAPPED: Mutex<BTreeMap<u64, Vec<i32>>> = Mutex::new(BTreeMap::new());

/// Physical memory by handle: device and size.
static CREATED: Mutex<Vec<Option<(usize, u64)>>> = Mutex::new(Vec::new());

static DRIVER: OnceLock<Driver> = OnceLock::new();

thread_local! {
    /// The number of the current context's device, from 1; 0 for none.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

struct Sticky(Arc<AtomicU32>);

impl Faults for Sticky {
    fn fault(&self, _tag: u64, status: Status) {
        let _ = self
            .0
            .compare_exchange(0, status.0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

fn driver() -> Result<&'static Driver, Code> {
    DRIVER.get().ok_or(NOT_INITIALIZED)
}

impl Driver {
    fn gpu(&self, device: i32) -> Result<&Gpu, Code> {
        let found = usize::try_from(device)
            .ok()
            .and_then(|i| self.devices.get(i));
        found.ok_or(INVALID_DEVICE)
    }
}

/// The current context's device, if it is well.
fn current() -> Result<&'static Gpu, Code> {
    let device = CURRENT.get().checked_sub(1).ok_or(INVALID_CONTEXT)?;
    let gpu = driver()?.gpu(device as i32)?;
    match gpu.error.load(Ordering::Acquire) {
        0 => Ok(gpu),
        error => Err(error),
    }
}

/// `CUstream`: 0 and 1 stand for the legacy stream.
fn stream(gpu: &Gpu, stream: u64) -> StreamHandle {
    match stream {
        0 | 1 => gpu.device.legacy_stream(),
        other => StreamHandle(other - 16),
    }
}

fn event(event: u64) -> EventHandle {
    EventHandle(event - 16)
}

fn code<T>(result: Result<T, Code>) -> Code {
    result.err().unwrap_or(0)
}

fn ok<T>(result: Result<T, Status>) -> Result<T, Code> {
    result.map_err(|status| status.0)
}

/// Writes a result where the caller wants it.
fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(INVALID_VALUE);
    }
    // SAFETY: the caller passes a pointer to a variable of this type.
    unsafe { to.write(value) };
    Ok(())
}

/// Waits until something calls back.
fn wait(start: impl FnOnce(Completion) -> Result<(), Status>) -> Result<(), Code> {
    let (send, receive) = mpsc::channel();
    ok(start(Box::new(move |outcome| {
        let _ = send.send(outcome);
    })))?;
    ok(receive.recv().unwrap_or(Err(Status(999))))
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: u32) -> Code {
    DRIVER.get_or_init(|| {
        let mut options = CpuOptions::from_env().unwrap_or_default();
        // Addresses, which are not memory until they are touched.
        options.memory = RANGE;
        let window = host::window();
        let devices = CpuDevice::create(options, window.as_ref()).unwrap_or_default();
        let devices = devices.into_iter().map(|device| {
            let error = Arc::<AtomicU32>::default();
            device.attach(Arc::new(Sticky(error.clone())));
            Gpu {
                info: device.info(),
                device,
                error,
                created: AtomicU64::new(0),
                open: Mutex::new(false),
            }
        });
        Driver {
            devices: devices.collect(),
            functions: Mutex::default(),
            kernels: Mutex::default(),
        }
    });
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuDriverGetVersion(version: *mut i32) -> Code {
    code(put(version, 13000))
}

#[unsafe(no_mangle)]
extern "C" fn cuGetErrorName(_error: Code, name: *mut *const c_char) -> Code {
    code(put(name, c"an error".as_ptr()))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetCount(count: *mut i32) -> Code {
    code(driver().and_then(|driver| put(count, driver.devices.len() as i32)))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGet(device: *mut i32, ordinal: i32) -> Code {
    code(driver().and_then(|driver| {
        driver.gpu(ordinal)?;
        put(device, ordinal)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetName(name: *mut c_char, len: i32, _device: i32) -> Code {
    let text = c"vcuda test GPU".to_bytes_with_nul();
    if (len as usize) < text.len() {
        return INVALID_VALUE;
    }
    // SAFETY: the caller's buffer has `len` bytes.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name.cast(), text.len()) };
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: i32) -> Code {
    code(driver().and_then(|driver| put(uuid, driver.gpu(device)?.info.uuid)))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: i32) -> Code {
    code(driver().and_then(|driver| {
        driver.gpu(device)?;
        put(bytes, MEMORY as usize)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetAttribute(value: *mut i32, attribute: i32, device: i32) -> Code {
    code(driver().and_then(|driver| {
        let attributes = &driver.gpu(device)?.info.attributes;
        let found = attributes.iter().find(|&&(n, _)| n as i32 == attribute);
        put(value, found.ok_or(INVALID_VALUE)?.1)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxCreate_v2(context: *mut u64, _flags: u32, device: i32) -> Code {
    code(driver().and_then(|driver| {
        let gpu = driver.gpu(device)?;
        match gpu.error.load(Ordering::Acquire) {
            0 => {}
            error => return Err(error),
        }
        let mut open = gpu.open.lock();
        if !*open {
            // Mappings come and go within it; the CPU device sees one allocation.
            ok(gpu
                .device
                .allocate(gpu.info.heap_base, USED, Order::Device, 0))?;
            *open = true;
        }
        CURRENT.set(device as usize + 1);
        put(context, device as u64 + 1)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxDestroy_v2(context: u64) -> Code {
    code(driver().and_then(|driver| {
        let gpu = driver.gpu(context as i32 - 1)?;
        wait(|done| {
            gpu.device.reset(done);
            Ok(())
        })?;
        arrays::forget(context as usize - 1);
        *gpu.open.lock() = false;
        CURRENT.set(0);
        Ok(())
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> Code {
    CURRENT.set(context as usize);
    0
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> Code {
    code(current().and_then(|gpu| {
        wait(|done| {
            gpu.device.synchronize(done);
            Ok(())
        })
    }))
}

/// With this in the environment, no device reaches the memory of another.
const APART: &str = "VCUDA_TEST_APART";

#[unsafe(no_mangle)]
extern "C" fn cuDeviceCanAccessPeer(can: *mut i32, device: i32, peer: i32) -> Code {
    code(driver().and_then(|driver| {
        driver.gpu(device)?;
        driver.gpu(peer)?;
        put(
            can,
            (device != peer && std::env::var_os(APART).is_none()).into(),
        )
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuDeviceGetP2PAttribute(
    value: *mut i32,
    attribute: u32,
    device: i32,
    peer: i32,
) -> Code {
    code(driver().and_then(|driver| {
        let gpu = driver.gpu(device)?;
        let peer = driver.gpu(peer).map(|_| peer as usize)?;
        put(
            value,
            ok(gpu.device.peer_attribute(peer, attribute))? as i32,
        )
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxEnablePeerAccess(peer: u64, _flags: u32) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.peer_access(peer as usize - 1, true))))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxDisablePeerAccess(peer: u64) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.peer_access(peer as usize - 1, false))))
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxGetStreamPriorityRange(least: *mut i32, greatest: *mut i32) -> Code {
    code(current().and_then(|gpu| {
        put(least, 0)?;
        put(greatest, 1 - ok(gpu.device.stream_priorities())? as i32)
    }))
}

/// The limits of other kinds are preferences here.
#[unsafe(no_mangle)]
extern "C" fn cuCtxSetLimit(limit: u32, value: usize) -> Code {
    const MALLOC_HEAP_SIZE: u32 = 2;
    code(current().and_then(|gpu| match limit {
        MALLOC_HEAP_SIZE => ok(gpu.device.kernel_heap(value as u64)),
        _ => Ok(()),
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    code(current().and_then(|gpu| {
        let used = gpu.created.load(Ordering::Relaxed);
        put(free, (MEMORY - used) as usize)?;
        put(total, MEMORY as usize)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAddressReserve(
    address: *mut u64,
    size: usize,
    _alignment: usize,
    wish: u64,
    _flags: u64,
) -> Code {
    code(driver().and_then(|driver| {
        let gpu = driver.devices.iter().find(|gpu| gpu.info.heap_base == wish);
        match gpu {
            Some(gpu) if size as u64 <= RANGE => put(address, gpu.info.heap_base),
            _ => Err(INVALID_VALUE),
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetAllocationGranularity(
    granularity: *mut usize,
    _properties: *const c_void,
    _option: u32,
) -> Code {
    code(put(granularity, GRANULARITY as usize))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemCreate(
    handle: *mut u64,
    size: usize,
    _properties: *const c_void,
    _flags: u64,
) -> Code {
    code(current().and_then(|gpu| {
        let size = size as u64;
        if size == 0 || !size.is_multiple_of(GRANULARITY) {
            return Err(INVALID_VALUE);
        }
        let room = |used: u64| used.checked_add(size).filter(|&all| all <= MEMORY);
        let taken = gpu
            .created
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
        taken.map_err(|_| OUT_OF_MEMORY)?;
        let mut created = CREATED.lock();
        created.push(Some((CURRENT.get() - 1, size)));
        put(handle, created.len() as u64)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemRelease(handle: u64) -> Code {
    code(driver().and_then(|driver| {
        let mut created = CREATED.lock();
        let entry = created.get_mut((handle as usize).wrapping_sub(1));
        let (device, size) = entry.and_then(Option::take).ok_or(INVALID_VALUE)?;
        let gpu = driver.gpu(device as i32)?;
        gpu.created.fetch_sub(size, Ordering::Relaxed);
        Ok(())
    }))
}

fn is_mapping(address: u64, size: usize) -> Result<(), Code> {
    let gpus = &driver()?.devices;
    let within = gpus.iter().any(|gpu| {
        let offset = address.wrapping_sub(gpu.info.heap_base);
        offset < USED && size as u64 <= USED - offset
    });
    let whole = address.is_multiple_of(GRANULARITY) && (size as u64).is_multiple_of(GRANULARITY);
    (within && whole).then_some(()).ok_or(INVALID_VALUE)
}

#[unsafe(no_mangle)]
extern "C" fn cuMemMap(
    address: u64,
    size: usize,
    _offset: usize,
    _handle: u64,
    _flags: u64,
) -> Code {
    code(is_mapping(address, size))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemUnmap(address: u64, size: usize) -> Code {
    MAPPED.lock().remove(&address);
    code(is_mapping(address, size))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemSetAccess(
    address: u64,
    size: usize,
    access: *const Access,
    count: usize,
) -> Code {
    code(is_mapping(address, size).map(|()| {
        // SAFETY: the caller passes so many descriptions.
        let access = unsafe { std::slice::from_raw_parts(access, count) };
        let mut mapped = MAPPED.lock();
        mapped
            .entry(address)
            .or_default()
            .extend(access.iter().map(|access| access.device));
    }))
}

/// Whether work of the current context's device may use an address: memory of its own device, or
/// that was mapped for it. Of variables, and of what is no device's, nothing is known here.
fn reaches(address: u64) -> Result<(), Code> {
    let device = CURRENT.get().wrapping_sub(1) as i32;
    let own = driver()?.gpu(device)?.info.heap_base;
    if is_mapping(address / GRANULARITY * GRANULARITY, 0).is_err()
        || address.wrapping_sub(own) < RANGE
    {
        return Ok(());
    }
    let mapped = MAPPED.lock();
    let found = mapped.range(..=address).next_back();
    let reached = found.is_some_and(|(_, devices)| devices.contains(&device));
    reached.then_some(()).ok_or(INVALID_VALUE)
}
