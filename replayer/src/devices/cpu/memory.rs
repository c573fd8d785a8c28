// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device memory: which addresses there are, what is allocated, and what is on its way out.
//!
//! Device `i` has the TiB of addresses from `(i + 1) << 40` on: the heap and the arrays, from which
//! the client chooses addresses, and from the middle on the variables of modules. No address is a
//! small number or fits 32 bits, and the window, which the client places, is far above.

use std::collections::VecDeque;

use vcuda_protocol::layout::{ARRAYS_OFFSET, MAX_ARRAYS_LEN};

use super::options::{CpuOptions, MAX_MEMORY};
use super::streams::WorkPoint;
use crate::devices::allocations::Allocations;

const DEVICE_STRIDE: u64 = 1 << 40;
const GLOBALS_OFFSET: u64 = DEVICE_STRIDE / 2;
const MAX_GLOBALS_LEN: u64 = 4 << 30;
const KERNEL_HEAP_OFFSET: u64 = DEVICE_STRIDE / 4 * 3;
const MAX_KERNEL_HEAP_LEN: u64 = 4 << 30;
/// Allocations begin at multiples of this (CUDA Programming Guide, "Device Memory Accesses").
pub(super) const ALIGNMENT: u64 = 256;

const _: () = assert!(MAX_MEMORY * HEAP_PER_MEMORY <= GLOBALS_OFFSET);
const _: () = assert!(GLOBALS_OFFSET + MAX_GLOBALS_LEN <= ARRAYS_OFFSET);
const _: () = assert!(ARRAYS_OFFSET + MAX_ARRAYS_LEN <= KERNEL_HEAP_OFFSET);
const HEAP_PER_MEMORY: u64 = 4;

/// First address and length of a device's heap.
pub(super) fn heap(index: u32, options: &CpuOptions) -> (u64, u64) {
    let len = options.memory.min(MAX_MEMORY) * HEAP_PER_MEMORY;
    (
        (u64::from(index) + 1) * DEVICE_STRIDE,
        len.next_multiple_of(4096),
    )
}

/// First address and length of a device's range for arrays.
pub(super) fn arrays(index: u32, options: &CpuOptions) -> (u64, u64) {
    let (base, len) = heap(index, options);
    (base + ARRAYS_OFFSET, len.min(MAX_ARRAYS_LEN))
}

/// First address and length of the range for a device's module variables, which is smaller where
/// the device is small: address space may be what there is little of.
pub(super) fn globals(index: u32, options: &CpuOptions) -> (u64, u64) {
    (
        (u64::from(index) + 1) * DEVICE_STRIDE + GLOBALS_OFFSET,
        heap(index, options).1.min(MAX_GLOBALS_LEN),
    )
}

/// First address and length of the range from which a device's kernels allocate.
pub(super) fn kernel_heap(index: u32, options: &CpuOptions) -> (u64, u64) {
    (
        (u64::from(index) + 1) * DEVICE_STRIDE + KERNEL_HEAP_OFFSET,
        options
            .memory
            .min(MAX_KERNEL_HEAP_LEN)
            .next_multiple_of(4096),
    )
}

/// Why memory could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Invalid,
    Full,
}

/// The memory of all devices and the window's allocations, as of the last command issued.
pub(super) struct Memory {
    allocated: Allocations,
    /// Freed, but work that was issued before may still use it.
    leaving: VecDeque<Leaving>,
    devices: Vec<DeviceMemory>,
}

struct DeviceMemory {
    heap: (u64, u64),
    arrays: (u64, u64),
    globals: (u64, u64),
    /// Where to look for room for the next variable.
    next_global: u64,
    limit: u64,
    used: u64,
}

struct Leaving {
    address: u64,
    size: u64,
    gone: WorkPoint,
}

impl DeviceMemory {
    /// Whether the client chooses the addresses of a range.
    fn is_clients(&self, address: u64, size: u64) -> bool {
        within(self.heap, address, size) || within(self.arrays, address, size)
    }
}

fn within((base, len): (u64, u64), address: u64, size: u64) -> bool {
    let Some(offset) = address.checked_sub(base) else {
        return false;
    };
    offset.checked_add(size).is_some_and(|end| end <= len)
}

impl Memory {
    pub(super) fn new(options: &CpuOptions) -> Self {
        let devices = (0..options.devices).map(|index| DeviceMemory {
            heap: heap(index, options),
            arrays: arrays(index, options),
            globals: globals(index, options),
            next_global: globals(index, options).0,
            limit: options.memory,
            used: 0,
        });
        Memory {
            allocated: Allocations::default(),
            leaving: VecDeque::new(),
            devices: devices.collect(),
        }
    }

    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        self.allocated.holds(address, len)
    }

    pub(super) fn free_bytes(&self, device: u32) -> u64 {
        self.devices
            .get(device as usize)
            .map_or(0, |device| device.limit - device.used)
    }

    /// Allocates from the heap, or an array. The points are those after which the range is really
    /// free.
    pub(super) fn allocate(
        &mut self,
        device: u32,
        address: u64,
        size: u64,
    ) -> Result<Vec<WorkPoint>, Refusal> {
        let device = self
            .devices
            .get_mut(device as usize)
            .ok_or(Refusal::Invalid)?;
        let fits = address.is_multiple_of(ALIGNMENT) && device.is_clients(address, size);
        if size == 0 || !fits {
            return Err(Refusal::Invalid);
        }
        if size > device.limit - device.used {
            return Err(Refusal::Full);
        }
        if !self.allocated.insert(address, size) {
            return Err(Refusal::Invalid);
        }
        device.used += size;
        Ok(self.wait_for(address, size))
    }

    /// Frees from the heap, or an array; then call [`Self::leave`] with where that will happen.
    pub(super) fn free(&mut self, device: u32, address: u64) -> Option<u64> {
        let device = self.devices.get_mut(device as usize)?;
        if !device.is_clients(address, 1) {
            return None;
        }
        let size = self.allocated.remove(address)?;
        device.used -= size;
        Some(size)
    }

    pub(super) fn leave(&mut self, address: u64, size: u64, gone: WorkPoint) {
        self.prune();
        if !gone.is_reached() {
            self.leaving.push_back(Leaving {
                address,
                size,
                gone,
            });
        }
    }

    fn prune(&mut self) {
        // Mostly they go in the order in which they came.
        while self.leaving.front().is_some_and(|l| l.gone.is_reached()) {
            self.leaving.pop_front();
        }
    }

    fn wait_for(&mut self, address: u64, size: u64) -> Vec<WorkPoint> {
        self.prune();
        self.leaving
            .iter()
            .filter(|leaving| {
                leaving.address < address + size
                    && address < leaving.address + leaving.size
                    && !leaving.gone.is_reached()
            })
            .map(|leaving| leaving.gone.clone())
            .collect()
    }

    /// Notes a range of the window.
    pub(super) fn add_host(&mut self, address: u64, size: u64) -> bool {
        self.allocated.insert(address, size)
    }

    pub(super) fn remove_host(&mut self, address: u64) {
        self.allocated.remove(address);
    }

    /// Finds room for a variable.
    pub(super) fn allocate_global(
        &mut self,
        device: u32,
        size: u64,
        align: u64,
    ) -> Result<u64, Refusal> {
        self.prune();
        let size = size.max(1);
        let device = self
            .devices
            .get_mut(device as usize)
            .ok_or(Refusal::Invalid)?;
        if size > device.limit - device.used {
            return Err(Refusal::Full);
        }
        let align = align.max(ALIGNMENT);
        if !align.is_power_of_two() || align > 1 << 20 {
            return Err(Refusal::Invalid);
        }
        let (base, len) = device.globals;
        let leaving = |address: u64| {
            let taken = |l: &&Leaving| {
                let overlaps = l.address < address + size && address < l.address + l.size;
                overlaps && !l.gone.is_reached()
            };
            self.leaving.iter().find(taken).map(|l| l.address + l.size)
        };
        // Once from the end of the last one on, then from the start.
        for start in [device.next_global, base] {
            let mut address = start;
            loop {
                address = address.next_multiple_of(align);
                if !within((base, len), address, size) {
                    break;
                }
                if let Some(end) = leaving(address) {
                    address = end;
                } else if self.allocated.insert(address, size) {
                    device.next_global = address + size;
                    device.used += size;
                    return Ok(address);
                } else {
                    address = self.allocated.end_of_overlap(address, size);
                }
            }
        }
        Err(Refusal::Full)
    }

    /// Forgets a variable and gives its size.
    pub(super) fn remove_global(&mut self, device: u32, address: u64) -> Option<u64> {
        let device = self.devices.get_mut(device as usize)?;
        if !within(device.globals, address, 1) {
            return None;
        }
        let size = self.allocated.remove(address)?;
        device.used -= size;
        Some(size)
    }

    /// Forgets all that a device has, and gives addresses and sizes.
    pub(super) fn reset(&mut self, device: u32) -> Vec<(u64, u64)> {
        let Some(device) = self.devices.get_mut(device as usize) else {
            return Vec::new();
        };
        let (base, _) = device.heap;
        let all: Vec<_> = self.allocated.range(base, base + DEVICE_STRIDE).collect();
        for &(address, _) in &all {
            self.allocated.remove(address);
        }
        device.used = 0;
        all
    }
}
