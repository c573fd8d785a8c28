// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory pools of the stream ordered allocator (CUDA Runtime API, "Stream Ordered Memory Allocator").
//!
//! A device's memory is one heap, whichever pool an allocation is counted with: what is freed goes back to it when the
//! stream gets there. So a pool reserves what is in use, and what says when memory is to be given back, or may be used again,
//! is kept and has no effect.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use vcuda_protocol::Stream;

use crate::contexts::{self, Device};
use crate::{Result, error, memory};

/// Pools are handed out 16 apart from here: those that devices begin with, and from `CREATED` on those of the program.
const POOL_HANDLES: u64 = 0x7770_0000_0000;
const CREATED: u64 = POOL_HANDLES + (1 << 24);

/// `cudaMemPoolAttr`, `CUmemPool_attribute`.
mod attribute {
    pub(super) const REUSE_FOLLOW_EVENT_DEPENDENCIES: u32 = 1;
    pub(super) const REUSE_ALLOW_INTERNAL_DEPENDENCIES: u32 = 3;
    pub(super) const RELEASE_THRESHOLD: u32 = 4;
    pub(super) const RESERVED_CURRENT: u32 = 5;
    pub(super) const RESERVED_HIGH: u32 = 6;
    pub(super) const USED_CURRENT: u32 = 7;
    pub(super) const USED_HIGH: u32 = 8;
}

/// The value of an attribute, in the type that its number asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Int(i32),
    Long(u64),
}

/// Whether an attribute is an `int`; the others are 64-bit numbers.
pub(crate) fn is_int(attribute: u32) -> Result<bool> {
    match attribute {
        attribute::REUSE_FOLLOW_EVENT_DEPENDENCIES
            ..=attribute::REUSE_ALLOW_INTERNAL_DEPENDENCIES => Ok(true),
        attribute::RELEASE_THRESHOLD..=attribute::USED_HIGH => Ok(false),
        _ => Err(error::INVALID_VALUE),
    }
}

struct Pool {
    ordinal: u32,
    reuse: [i32; 3],
    release_threshold: u64,
    used: u64,
    used_high: u64,
    reserved_high: u64,
    /// The program destroyed it; it goes with its last allocation.
    destroyed: bool,
}

impl Pool {
    fn new(ordinal: u32) -> Pool {
        Pool {
            ordinal,
            reuse: [1; 3],
            release_threshold: 0,
            used: 0,
            used_high: 0,
            reserved_high: 0,
            destroyed: false,
        }
    }
}

#[derive(Default)]
struct Pools {
    by_handle: BTreeMap<u64, Pool>,
    created: u64,
    /// The pool that each device allocates from, if the program chose one.
    current: BTreeMap<u32, u64>,
    /// The pool and size of each allocation.
    allocations: BTreeMap<u64, (u64, u64)>,
}

static POOLS: Mutex<Pools> = Mutex::new(Pools {
    by_handle: BTreeMap::new(),
    created: 0,
    current: BTreeMap::new(),
    allocations: BTreeMap::new(),
});

impl Pools {
    fn pool(&mut self, handle: u64) -> Result<&mut Pool> {
        let found = self.by_handle.get_mut(&handle);
        found
            .filter(|pool| !pool.destroyed)
            .ok_or(error::INVALID_VALUE)
    }

    /// The pool that a device begins with.
    fn default_of(&mut self, device: &Device) -> u64 {
        let handle = POOL_HANDLES + u64::from(device.ordinal) * 16;
        let pool = self.by_handle.entry(handle);
        pool.or_insert_with(|| Pool::new(device.ordinal));
        handle
    }

    fn current_of(&mut self, device: &Device) -> u64 {
        match self.current.get(&device.ordinal) {
            Some(&handle) => handle,
            None => self.default_of(device),
        }
    }
}

/// `cudaDeviceGetDefaultMemPool`
pub(crate) fn default_of(device: &Device) -> u64 {
    POOLS.lock().default_of(device)
}

/// `cudaDeviceGetMemPool`: what `cudaMallocAsync` allocates from.
pub(crate) fn current_of(device: &Device) -> u64 {
    POOLS.lock().current_of(device)
}

/// `cudaDeviceSetMemPool`. The pool must be on the device.
pub(crate) fn set_current(device: &Device, handle: u64) -> Result<()> {
    let mut pools = POOLS.lock();
    if pools.pool(handle)?.ordinal != device.ordinal {
        return Err(error::INVALID_VALUE);
    }
    pools.current.insert(device.ordinal, handle);
    Ok(())
}

/// `cudaMemPoolProps`, `CUmemPoolProps`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    allocation: u32,
    handles: u32,
    location: Location,
    security: u64,
    max_size: usize,
    usage: u16,
    reserved: [u8; 54],
}

/// `cudaMemLocation`, `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) kind: u32,
    pub(crate) id: i32,
}

impl Location {
    /// `cudaMemLocationTypeDevice` and, from it on, `Host`, `HostNuma` and `HostNumaCurrent`.
    pub(crate) const DEVICE: u32 = 1;
    pub(crate) const LAST: u32 = 4;
}

/// `cudaMemPoolCreate`: pools of device memory, for this process alone.
pub(crate) fn create(properties: &Properties) -> Result<u64> {
    /// `cudaMemAllocationTypePinned`
    const PINNED: u32 = 1;
    if properties.allocation != PINNED {
        return Err(error::INVALID_VALUE);
    }
    if properties.handles != 0 {
        return Err(error::unsupported("memory pools that are shared"));
    }
    if properties.location.kind != Location::DEVICE {
        return Err(error::unsupported("memory pools of host memory"));
    }
    let device = contexts::device(properties.location.id)?;
    let mut pools = POOLS.lock();
    let handle = CREATED + pools.created * 16;
    pools.created += 1;
    pools.by_handle.insert(handle, Pool::new(device.ordinal));
    Ok(handle)
}

/// `cudaMemPoolDestroy`: its allocations stay. A device's own pool cannot be destroyed; a device whose pool it was gets that
/// one back.
pub(crate) fn destroy(handle: u64) -> Result<()> {
    let mut pools = POOLS.lock();
    let pool = pools.pool(handle)?;
    if handle < CREATED {
        return Err(error::INVALID_VALUE);
    }
    pool.destroyed = true;
    if pool.used == 0 {
        pools.by_handle.remove(&handle);
    }
    pools.current.retain(|_, current| *current != handle);
    Ok(())
}

/// `cudaMemPoolTrimTo`: there is nothing beyond what is in use.
pub(crate) fn trim(handle: u64) -> Result<()> {
    POOLS.lock().pool(handle).map(drop)
}

/// `cudaMemPoolGetAttribute`
pub(crate) fn get(handle: u64, attribute: u32) -> Result<Value> {
    let mut pools = POOLS.lock();
    let pool = pools.pool(handle)?;
    Ok(match attribute {
        attribute::RELEASE_THRESHOLD => Value::Long(pool.release_threshold),
        attribute::RESERVED_CURRENT | attribute::USED_CURRENT => Value::Long(pool.used),
        attribute::RESERVED_HIGH => Value::Long(pool.reserved_high),
        attribute::USED_HIGH => Value::Long(pool.used_high),
        number => {
            let index = number.wrapping_sub(attribute::REUSE_FOLLOW_EVENT_DEPENDENCIES) as usize;
            Value::Int(*pool.reuse.get(index).ok_or(error::INVALID_VALUE)?)
        }
    })
}

/// `cudaMemPoolSetAttribute`. High water marks can only be set back, to 0.
pub(crate) fn set(handle: u64, attribute: u32, value: Value) -> Result<()> {
    let mut pools = POOLS.lock();
    let pool = pools.pool(handle)?;
    match (attribute, value) {
        (attribute::RELEASE_THRESHOLD, Value::Long(threshold)) => {
            pool.release_threshold = threshold
        }
        (attribute::RESERVED_HIGH, Value::Long(0)) => pool.reserved_high = pool.used,
        (attribute::USED_HIGH, Value::Long(0)) => pool.used_high = pool.used,
        (number, Value::Int(value)) => {
            let index = number.wrapping_sub(attribute::REUSE_FOLLOW_EVENT_DEPENDENCIES) as usize;
            *pool.reuse.get_mut(index).ok_or(error::INVALID_VALUE)? = value;
        }
        _ => return Err(error::INVALID_VALUE),
    }
    Ok(())
}

/// Allocates from a device's current pool (`cudaMallocAsync`).
pub(crate) fn allocate(device: &'static Device, stream: Stream, size: u64) -> Result<u64> {
    let handle = current_of(device);
    allocate_from(handle, stream, size)
}

/// Allocates from a pool (`cudaMallocFromPoolAsync`).
pub(crate) fn allocate_from(handle: u64, stream: Stream, size: u64) -> Result<u64> {
    let ordinal = POOLS.lock().pool(handle)?.ordinal;
    let address = memory::allocate_on(contexts::device(ordinal as i32)?, stream, size)?;
    let mut pools = POOLS.lock();
    if let Some(pool) = pools.by_handle.get_mut(&handle)
        && address != 0
    {
        pool.used += size;
        pool.used_high = pool.used_high.max(pool.used);
        pool.reserved_high = pool.reserved_high.max(pool.used);
        pools.allocations.insert(address, (handle, size));
    }
    Ok(address)
}

/// An allocation was freed, of a pool or not.
pub(crate) fn freed(address: u64) {
    let mut pools = POOLS.lock();
    let Some((handle, size)) = pools.allocations.remove(&address) else {
        return;
    };
    if let Some(pool) = pools.by_handle.get_mut(&handle) {
        pool.used = pool.used.saturating_sub(size);
        if pool.destroyed && pool.used == 0 {
            pools.by_handle.remove(&handle);
        }
    }
}

/// The device was reset: its pools are as they were at first.
pub(crate) fn forget(device: &Device) {
    let mut pools = POOLS.lock();
    let gone = |pool: &Pool| pool.ordinal == device.ordinal;
    let handles: Vec<u64> = (pools.by_handle.iter())
        .filter(|(_, pool)| gone(pool))
        .map(|(&handle, _)| handle)
        .collect();
    pools.by_handle.retain(|_, pool| !gone(pool));
    (pools.allocations).retain(|_, (handle, _)| !handles.contains(handle));
    pools.current.remove(&device.ordinal);
}
