// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device memory at addresses that the client chooses.
//!
//! A range of addresses is reserved for each GPU. Physical memory is mapped into it in slabs, which
//! stay when what was in them is freed: an allocation that finds its slabs mapped costs no call of
//! the driver. A freed range may be allocated again at once; work that is issued then waits for
//! the work that was issued before the free.

use std::collections::BTreeMap;
use std::sync::Arc;

use vcuda_protocol::{MemoryInfo, Status};

use super::driver::{
    Access, AllocationType, CUdeviceptr, CUmemAccessDesc, CUmemAllocationProp, CUmemLocation,
    Driver, HandleType, LocationType, call,
};
use super::machine::{Machine, State};
use super::streams::{Event, has_happened};
use crate::devices::Order;
use crate::devices::allocations::Allocations;
use crate::status;

/// Slabs begin and end at multiples of this, where there is room. A small one costs as much time.
const UNIT: u64 = 32 << 20;
/// The largest slab: only whole slabs can be given back.
const LARGEST: u64 = 1 << 30;
/// So much may stay mapped without being allocated.
const KEPT: u64 = 4 << 30;

/// Each GPU's addresses begin at its multiple of this, as the CPU devices' do, so that recordings
/// of one can be replayed on the other without moving addresses.
const STRIDE: u64 = 1 << 40;
const RANGE: u64 = 128 << 30;
/// Addresses for each byte of memory, at least: they are fragmented when memory is not.
const RANGE_PER_MEMORY: u64 = 2;

struct Slab {
    len: u64,
    handle: u64,
    /// Allocations that lie in it, also in part.
    used: u32,
}

/// A range that was freed, while work that was issued before may still use it.
struct Leaving {
    address: u64,
    size: u64,
    behind: Vec<(u32, Arc<Event>)>,
}

/// The memory of one GPU.
pub(super) struct Memory {
    pub(super) base: u64,
    pub(super) len: u64,
    device: i32,
    /// Bytes that the GPU has, or that the session may have of them.
    pub(super) total: u64,
    /// The latter, if the session may not have all.
    limit: Option<u64>,
    in_arrays: u64,
    granularity: u64,
    allocations: Allocations,
    slabs: BTreeMap<u64, Slab>,
    leaving: Vec<Leaving>,
    mapped: u64,
    allocated: u64,
    /// Other GPUs that it is mapped for.
    readers: Vec<usize>,
    /// Variables of modules that were asked for.
    pub(super) globals: BTreeMap<u64, u64>,
}

fn properties(device: i32) -> CUmemAllocationProp {
    CUmemAllocationProp {
        type_: AllocationType::CU_MEM_ALLOCATION_TYPE_PINNED,
        requestedHandleTypes: HandleType::CU_MEM_HANDLE_TYPE_NONE,
        location: location(device),
        win32HandleMetaData: std::ptr::null_mut(),
        // SAFETY: the flags are numbers, and zero stands for none.
        allocFlags: unsafe { std::mem::zeroed() },
    }
}

fn location(device: i32) -> CUmemLocation {
    CUmemLocation {
        type_: LocationType::CU_MEM_LOCATION_TYPE_DEVICE,
        id: device,
    }
}

/// Leave for a GPU to use mapped memory.
fn access(device: i32) -> CUmemAccessDesc {
    CUmemAccessDesc {
        location: location(device),
        flags: Access::CU_MEM_ACCESS_FLAGS_PROT_READWRITE,
    }
}

impl Memory {
    /// Reserves addresses for a GPU's memory, of which the session may have `limit` bytes. Needs no context.
    pub(super) fn reserve(
        driver: &Driver,
        device: i32,
        index: usize,
        limit: Option<u64>,
    ) -> Result<Memory, Status> {
        let mut total = 0;
        call!(driver, cuDeviceTotalMem_v2(&mut total, device))?;
        let total = (total as u64).min(limit.unwrap_or(u64::MAX));
        let mut granularity = 0;
        call!(
            driver,
            cuMemGetAllocationGranularity(&mut granularity, &properties(device), 0)
        )?;
        let granularity = (granularity as u64).max(4096);
        let least = total.saturating_mul(RANGE_PER_MEMORY);
        let len = least.max(RANGE).next_multiple_of(UNIT);
        let wish = (index as u64 + 1) * STRIDE;
        let mut base: CUdeviceptr = 0;
        let wished = call!(
            driver,
            cuMemAddressReserve(&mut base, len as usize, UNIT as usize, wish, 0)
        );
        if wished.is_err() {
            call!(
                driver,
                cuMemAddressReserve(&mut base, len as usize, 0, 0, 0)
            )?;
        }
        Ok(Memory {
            base,
            len,
            device,
            total,
            limit,
            in_arrays: 0,
            granularity,
            allocations: Allocations::default(),
            slabs: BTreeMap::new(),
            leaving: Vec::new(),
            mapped: 0,
            allocated: 0,
            readers: Vec::new(),
            globals: BTreeMap::new(),
        })
    }

    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        if self.allocations.holds(address, len) {
            return true;
        }
        let global = self.globals.range(..=address).next_back();
        global.is_some_and(|(&start, &size)| {
            let offset = address - start;
            offset <= size && len <= size - offset
        })
    }

    /// The slabs that a range touches, by address.
    fn touched(&self, address: u64, size: u64) -> impl Iterator<Item = u64> {
        let first = self.slabs.range(..=address).next_back();
        let first = first.filter(|(at, slab)| *at + slab.len > address);
        let from = first.map_or(address, |(&at, _)| at);
        self.slabs.range(from..address + size).map(|(&at, _)| at)
    }

    /// Sees that there is memory behind a range.
    fn back(&mut self, machine: &Machine, address: u64, size: u64) -> Result<(), Status> {
        let mut at = address;
        let end = address + size;
        while at < end {
            let below = self.slabs.range(..=at).next_back();
            let below = below.map_or(self.base, |(&start, slab)| start + slab.len);
            if below > at {
                at = below;
                continue;
            }
            let above = self.slabs.range(at..).next();
            let above = above.map_or(self.base + self.len, |(&start, _)| start);
            let need = (
                below.max(down(at, self.granularity)),
                above.min(up(end, self.granularity)),
            );
            let wish = (below.max(down(at, UNIT)), above.min(up(end, UNIT)));
            // The slab begins at or below `at`, so that this gets on.
            at = match self.map(machine, wish) {
                Err(status::OUT_OF_MEMORY) => {
                    self.give_back(machine);
                    match self.map(machine, wish) {
                        Err(status::OUT_OF_MEMORY) => self.map(machine, need)?,
                        other => other?,
                    }
                }
                other => other?,
            };
        }
        Ok(())
    }

    /// Maps a slab at the beginning of a range; gives its end.
    fn map(&mut self, machine: &Machine, (from, to): (u64, u64)) -> Result<u64, Status> {
        let driver = machine.driver;
        let len = (to - from).min(LARGEST);
        if len > self.left() {
            return Err(status::OUT_OF_MEMORY);
        }
        let bytes = len as usize;
        let mut handle = 0;
        call!(
            driver,
            cuMemCreate(&mut handle, bytes, &properties(self.device), 0)
        )?;
        let readers = self
            .readers
            .iter()
            .map(|&reader| machine.gpus[reader].device);
        let access: Vec<_> = std::iter::once(self.device)
            .chain(readers)
            .map(access)
            .collect();
        let mapped = call!(driver, cuMemMap(from, bytes, 0, handle, 0)).and_then(|()| {
            call!(
                driver,
                cuMemSetAccess(from, bytes, access.as_ptr(), access.len())
            )
            .inspect_err(|_| {
                let _ = call!(driver, cuMemUnmap(from, bytes));
            })
        });
        if let Err(status) = mapped {
            let _ = call!(driver, cuMemRelease(handle));
            return Err(status);
        }
        let used = 0;
        self.slabs.insert(from, Slab { len, handle, used });
        self.mapped += len;
        Ok(from + len)
    }

    /// Bytes that the session may take yet.
    fn left(&self) -> u64 {
        let taken = self.mapped.saturating_add(self.in_arrays);
        self.limit.unwrap_or(u64::MAX).saturating_sub(taken)
    }

    /// An array of so many bytes is about to be made.
    pub(super) fn take_for_array(&mut self, bytes: u64) -> Result<(), Status> {
        if bytes > self.left() {
            return Err(status::OUT_OF_MEMORY);
        }
        self.in_arrays += bytes;
        Ok(())
    }

    /// There is no such array.
    pub(super) fn return_of_array(&mut self, bytes: u64) {
        self.in_arrays = self.in_arrays.saturating_sub(bytes);
    }

    /// Maps it for another GPU too, now and in future.
    pub(super) fn share(&mut self, machine: &Machine, reader: usize) -> Result<(), Status> {
        if self.readers.contains(&reader) {
            return Ok(());
        }
        let access = access(machine.gpus[reader].device);
        for (&at, slab) in &self.slabs {
            call!(
                machine.driver,
                cuMemSetAccess(at, slab.len as usize, &access, 1)
            )?;
        }
        self.readers.push(reader);
        Ok(())
    }

    /// Gives back slabs that nothing is in, and that no work uses any more.
    pub(super) fn give_back(&mut self, machine: &Machine) {
        self.see_off(machine);
        let leaving = &self.leaving;
        let is_left = |at: u64, len: u64| {
            !leaving
                .iter()
                .any(|range| range.address < at + len && at < range.address + range.size)
        };
        let gone = self
            .slabs
            .extract_if(.., |&at, slab| slab.used == 0 && is_left(at, slab.len));
        for (at, slab) in gone {
            self.mapped -= slab.len;
            unmap(machine, at, &slab);
        }
    }

    /// Forgets ranges whose work has ended.
    fn see_off(&mut self, machine: &Machine) {
        self.leaving.retain_mut(|range| {
            range
                .behind
                .retain(|(_, event)| !has_happened(machine, event));
            !range.behind.is_empty()
        });
    }

    /// All that was allocated is gone, with the context that used it.
    pub(super) fn clear(&mut self, machine: &Machine) {
        for (at, slab) in std::mem::take(&mut self.slabs) {
            unmap(machine, at, &slab);
        }
        self.allocations = Allocations::default();
        self.leaving.clear();
        self.readers.clear();
        self.globals.clear();
        self.mapped = 0;
        self.allocated = 0;
        self.in_arrays = 0;
    }

    pub(super) fn info(&self, machine: &Machine) -> Result<MemoryInfo, Status> {
        let (mut free, mut total) = (0, 0);
        call!(machine.driver, cuMemGetInfo_v2(&mut free, &mut total))?;
        let unused = self.mapped.saturating_sub(self.allocated);
        Ok(MemoryInfo {
            free: (free as u64).min(self.left()) + unused,
            total: self.total.min(total as u64),
        })
    }
}

fn unmap(machine: &Machine, at: u64, slab: &Slab) {
    // What cannot be unmapped stays until the process ends.
    let _ = call!(machine.driver, cuMemUnmap(at, slab.len as usize));
    let _ = call!(machine.driver, cuMemRelease(slab.handle));
}

fn down(address: u64, unit: u64) -> u64 {
    address / unit * unit
}

fn up(address: u64, unit: u64) -> u64 {
    address.div_ceil(unit) * unit
}

impl State {
    pub(super) fn allocate(
        &mut self,
        machine: &Machine,
        device: usize,
        (address, size): (u64, u64),
        order: Order,
    ) -> Result<(), Status> {
        machine.enter(device)?;
        let memory = &mut self.devices[device].memory;
        let offset = address.checked_sub(memory.base);
        let end = offset.and_then(|offset| offset.checked_add(size));
        let fits = end.is_some_and(|end| end <= memory.len);
        if !fits || !memory.allocations.insert(address, size) {
            return Err(status::INVALID_VALUE);
        }
        let mut backed = memory.back(machine, address, size);
        if backed == Err(status::OUT_OF_MEMORY) && self.bury_arrays(machine, device) {
            let memory = &mut self.devices[device].memory;
            backed = memory.back(machine, address, size);
        }
        let memory = &mut self.devices[device].memory;
        if let Err(status) = backed {
            memory.allocations.remove(address);
            return Err(status);
        }
        memory.allocated += size;
        let touched: Vec<u64> = memory.touched(address, size).collect();
        for at in touched {
            if let Some(slab) = memory.slabs.get_mut(&at) {
                slab.used += 1;
            }
        }
        let overlaps = |range: &Leaving| {
            range.address < address + size && address < range.address + range.size
        };
        if !memory.leaving.iter().any(overlaps) {
            return Ok(());
        }
        memory.see_off(machine);
        let behind: Vec<_> = (memory.leaving.iter())
            .filter(|range| overlaps(range))
            .flat_map(|range| range.behind.iter().cloned())
            .collect();
        match order {
            Order::Device => {
                self.fences.add(machine, &behind);
                Ok(())
            }
            Order::Stream(stream) => self.wait_behind(machine, stream, &behind),
        }
    }

    pub(super) fn free(
        &mut self,
        machine: &Machine,
        device: usize,
        address: u64,
        order: Order,
    ) -> Result<(), Status> {
        let behind = match order {
            Order::Device => self.unfinished(machine)?,
            Order::Stream(stream) => self.end_of(machine, stream)?,
        };
        machine.enter(device)?;
        let memory = &mut self.devices[device].memory;
        let size = memory.allocations.remove(address);
        let size = size.ok_or(status::INVALID_VALUE)?;
        memory.allocated -= size;
        let touched: Vec<u64> = memory.touched(address, size).collect();
        for at in touched {
            if let Some(slab) = memory.slabs.get_mut(&at) {
                slab.used -= 1;
            }
        }
        if !behind.is_empty() {
            memory.leaving.push(Leaving {
                address,
                size,
                behind,
            });
            // Doubling keeps the cost of looking through them small.
            if memory.leaving.len() == memory.leaving.capacity() {
                memory.see_off(machine);
                memory.leaving.reserve(memory.leaving.len().max(64));
            }
        }
        if memory.mapped.saturating_sub(memory.allocated) > KEPT {
            memory.give_back(machine);
        }
        Ok(())
    }
}
