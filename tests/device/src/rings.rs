// SPDX-License-Identifier: MIT OR Apache-2.0
//! How chains come from the driver's rings and go back.

use vhost_user_backend::{VringMutex, VringT};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

use crate::chain::{Chain, Memory};

/// The queue whose chains are filled with events.
pub const QUEUE_EVENT: usize = 1;

pub type Vring = VringMutex<GuestMemoryAtomic<GuestMemoryMmap<()>>>;

/// A chain on its way back: queue, head, and the length used.
#[derive(Debug)]
pub struct Returned {
    pub queue: usize,
    pub head: u16,
    pub used: u32,
}

/// What a queue's event comes with.
pub struct Rings<'a> {
    pub memory: GuestMemoryAtomic<GuestMemoryMmap<()>>,
    pub vrings: &'a [Vring],
    /// Where something was put into the used ring.
    pub touched: Vec<bool>,
}

/// The next chain that the driver has made available.
pub fn pop(
    memory: &GuestMemoryAtomic<GuestMemoryMmap<()>>,
    vring: &Vring,
    queue: usize,
) -> Option<(u16, std::result::Result<Chain, String>)> {
    let guard = memory.memory();
    let mut ring = vring.get_mut();
    if !ring.is_enabled() || !ring.get_queue().ready() {
        return None;
    }
    let descriptors = ring.get_queue_mut().pop_descriptor_chain(guard.clone())?;
    let head = descriptors.head_index();
    let list = descriptors.map(|descriptor| {
        (
            descriptor.addr(),
            descriptor.len(),
            descriptor.is_write_only(),
        )
    });
    Some((head, Chain::parse(&guard, queue, head, list)))
}

/// Puts a chain into the used ring.
pub fn push(vring: &Vring, returned: &Returned) {
    let mut ring = vring.get_mut();
    // A driver that has stopped the device uses the ring's memory for other things.
    if ring.is_enabled() && ring.get_queue().ready() {
        let _ = ring.add_used(returned.head, returned.used);
    }
}

/// Puts something into the used ring that is no chain.
pub fn push_bogus(memory: &Memory, vring: &Vring, id: u32) {
    let mut ring = vring.get_mut();
    if !ring.is_enabled() || !ring.get_queue().ready() {
        return;
    }
    let queue = ring.get_queue_mut();
    let (at, next, size) = (queue.used_ring(), queue.next_used(), queue.size());
    let entry = at + 4 + 8 * u64::from(next % size);
    let _ = memory.write_obj(id, GuestAddress(entry));
    let _ = memory.write_obj(16u32, GuestAddress(entry + 4));
    queue.set_next_used(next.wrapping_add(1));
    let _ = memory.write_obj(next.wrapping_add(1), GuestAddress(at + 2));
}

pub fn signal(vring: &Vring) {
    if vring.needs_notification().unwrap_or(true) {
        let _ = vring.signal_used_queue();
    }
}
