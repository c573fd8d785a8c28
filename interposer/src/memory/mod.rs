// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device memory and device-visible host memory, as the program sees them.
//!
//! This side chooses the addresses: device memory from the range that the device offers, pinned
//! and managed memory from the window, which the worker has mapped at the same address. So an
//! allocation needs no round trip, and any address can be classified without asking.

mod device;
mod host;
mod registered;

use vcuda_protocol::HostMemory;

use crate::contexts::{self, Device};
use crate::session::heap::FREED;
use crate::{session, thread};

pub(crate) use device::{
    DeviceMemory, allocate, allocate_array, allocate_on, allocate_pitched, free, free_array,
    free_on, info,
};
pub(crate) use host::{
    allocate_host, allocate_managed, free_host, host_flags, with_bytes_in_window,
};
pub(crate) use registered::{register, registered, registered_in_place, unregister};

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
    if let Some(found) = host::look_up(address) {
        return found;
    }
    if session::running().is_none() {
        return Memory::Pageable;
    }
    let mut devices = contexts::devices().unwrap_or_default().iter();
    let found = devices.find_map(|device| device::look_up(device, address));
    found.unwrap_or(Memory::Pageable)
}

/// A number that no other allocation of the process has or had; of memory that is not allocated
/// (variables, registered memory) its address.
pub(crate) fn identity(address: u64) -> u64 {
    let found = match classify(address) {
        Memory::Device { device, .. } => device.memory.identity(address),
        Memory::Window { .. } => host::identity(address),
        Memory::Stray | Memory::Pageable => None,
    };
    found.unwrap_or(address)
}
