// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host memory that the GPUs use: ranges of the window, pinned at the client's own addresses, and
//! buffers for memory that is not.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use vcuda_protocol::Status;
use vcuda_protocol::layout::{STAGING_CHUNK_LEN, STAGING_LEN};
use vcuda_protocol::scattered::Scattered;

use super::machine::{Jobs, Machine, State};
use crate::devices::allocations::Allocations;
use crate::devices::{Operand, StreamHandle};
use crate::status;

const PAGE: u64 = 4096;

/// The smallest buffer, and how many are made at once.
const SMALL: u64 = 16 << 10;
const SMALL_COUNT: u64 = 64;

#[derive(Default)]
pub(super) struct Host {
    /// Pinned and managed memory of the session.
    allocations: Allocations,
    sizes: BTreeMap<u64, u64>,
    /// Staging chunks that are pinned, by address, and those whose memory stays.
    chunks: Vec<u64>,
    claimed: Vec<u64>,
    /// Buffers that are not in use, by size.
    buffers: BTreeMap<u64, Vec<u64>>,
    /// How often all that was pinned had to be pinned again.
    age: u64,
}

/// Memory of a client in a virtual machine, pinned from its first copy on. Attached to that memory:
/// its last user, who is never a function that the driver calls, gives it back.
struct Lasting {
    machine: Weak<Machine>,
    address: u64,
    size: usize,
    /// As of which age it is pinned, and whether that worked.
    pinned: Mutex<Option<(u64, bool)>>,
}

impl Lasting {
    fn is_pinned(&self, machine: &Machine, age: u64) -> bool {
        let mut pinned = self.pinned.lock();
        match *pinned {
            Some((of, is_pinned)) if of == age => is_pinned,
            before => {
                // A context that lives may have it pinned still.
                let was_pinned = before.is_some_and(|(_, was_pinned)| was_pinned);
                let result = machine
                    .enter_any()
                    .and_then(|_| machine.register(self.address, self.size));
                let is_pinned = match result {
                    Ok(()) => true,
                    Err(status) => was_pinned && status == status::HOST_MEMORY_ALREADY_REGISTERED,
                };
                *pinned = Some((age, is_pinned));
                is_pinned
            }
        }
    }
}

/// The memory of operands that may be used after a copy of them was issued.
pub(super) fn lasting(operands: [&Operand; 2]) -> Vec<Scattered> {
    let lasting = |operand: &Operand| match operand {
        Operand::Host { memory, .. } => memory.attached().is_some().then(|| memory.clone()),
        Operand::Device { .. } => None,
    };
    operands.into_iter().filter_map(lasting).collect()
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let is_pinned = self.pinned.get_mut().is_some_and(|(_, pinned)| pinned);
        if is_pinned
            && let Some(machine) = self.machine.upgrade()
            && machine.enter_any().is_ok()
        {
            machine.unregister(self.address);
        }
    }
}

/// Pinned memory for a copy.
pub(super) struct Buffer {
    pub(super) address: u64,
    size: u64,
}

impl State {
    pub(super) fn host_allocate(
        &mut self,
        machine: &Machine,
        address: u64,
        size: u64,
    ) -> Result<(), Status> {
        if !machine.maps(address, size) || !self.host.allocations.insert(address, size) {
            return Err(status::INVALID_VALUE);
        }
        let pinned = machine.enter_any().and_then(|_| {
            let bytes = size.next_multiple_of(PAGE) as usize;
            machine.register(address, bytes)
        });
        match pinned {
            Ok(()) => {
                self.host.sizes.insert(address, size);
            }
            Err(_) => {
                self.host.allocations.remove(address);
            }
        }
        pinned
    }

    pub(super) fn host_free(&mut self, machine: &Machine, address: u64) {
        self.host.allocations.remove(address);
        if self.host.sizes.remove(&address).is_some() && machine.enter_any().is_ok() {
            machine.unregister(address);
        }
    }

    /// Keeps memory until a stream has done what was issued on it so far.
    pub(super) fn keep(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        memory: Vec<Scattered>,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        match memory.is_empty() {
            true => Ok(()),
            false => self.wait_for_stream(machine, stream, Box::new(|_| drop(memory)), jobs),
        }
    }

    /// Whether memory of a client that lasts is pinned. It is when it is first asked for.
    pub(super) fn is_lasting(&self, machine: &Machine, memory: &Scattered) -> bool {
        let Some(place) = memory.attached() else {
            return false;
        };
        let size = memory.len();
        let Some(address) = memory.contiguous(0, size) else {
            return false;
        };
        let lasting = place.get_or_init(|| {
            Box::new(Lasting {
                machine: Arc::downgrade(&machine.this()),
                address: address as u64,
                size: size as usize,
                pinned: Mutex::default(),
            })
        });
        let lasting = lasting.downcast_ref::<Lasting>();
        lasting.is_some_and(|lasting| lasting.is_pinned(machine, self.host.age))
    }

    pub(super) fn host_holds(&self, address: u64, len: u64) -> bool {
        self.host.allocations.holds(address, len)
    }

    /// Whether a range of this process is of the window, pinned as far as it is not yet.
    pub(super) fn is_staging(&mut self, machine: &Machine, address: u64, len: u64) -> bool {
        let Some(window) = &machine.window else {
            return false;
        };
        let offset = address.wrapping_sub(window.base);
        if !machine.maps(address, len) || offset + len > STAGING_LEN {
            return false;
        }
        let first = offset / STAGING_CHUNK_LEN;
        let last = (offset + len.max(1) - 1) / STAGING_CHUNK_LEN;
        if first != last {
            return false;
        }
        let start = first * STAGING_CHUNK_LEN;
        let chunk = window.base + start;
        if !self.host.chunks.contains(&chunk) {
            // For as long as the session lasts.
            if !self.host.claimed.contains(&chunk) {
                if !window.claim(start, STAGING_CHUNK_LEN) {
                    return false;
                }
                self.host.claimed.push(chunk);
            }
            let pinned = machine
                .enter_any()
                .and_then(|_| machine.register(chunk, STAGING_CHUNK_LEN as usize));
            if pinned.is_err() {
                return false;
            }
            self.host.chunks.push(chunk);
        }
        true
    }

    /// A buffer of at least so many bytes.
    pub(super) fn buffer(&mut self, machine: &Machine, bytes: u64) -> Result<Buffer, Status> {
        let size = bytes.max(SMALL).next_power_of_two();
        let free = self.host.buffers.entry(size).or_default();
        if free.is_empty() {
            let count = if size == SMALL { SMALL_COUNT } else { 1 };
            let memory = machine.host_memory((size * count) as usize)?;
            free.extend((0..count).map(|index| memory + index * size));
        }
        let address = free.pop().ok_or(status::OUT_OF_MEMORY)?;
        Ok(Buffer { address, size })
    }

    pub(super) fn put_back(&mut self, buffer: Buffer) {
        let free = self.host.buffers.entry(buffer.size).or_default();
        free.push(buffer.address);
    }

    /// Pins everything again: the context that had done it is gone.
    pub(super) fn pin_again(&mut self, machine: &Machine) {
        self.host.chunks.clear();
        self.host.age += 1;
        let allocated = self.host.sizes.iter();
        let allocated = allocated.map(|(&at, &size)| (at, size.next_multiple_of(PAGE) as usize));
        for (address, size) in machine.own_memory().into_iter().chain(allocated) {
            // What another context has pinned still is.
            let _ = machine.register(address, size);
        }
    }
}

impl Machine {
    /// Whether a range is of the window, which is mapped here at the client's addresses.
    fn maps(&self, address: u64, len: u64) -> bool {
        let Some(window) = &self.window else {
            return false;
        };
        let Some(offset) = window.offset_of(address) else {
            return false;
        };
        let here = window.memory.range(offset as usize, len as usize);
        here.is_some_and(|here| here as u64 == address)
    }
}
