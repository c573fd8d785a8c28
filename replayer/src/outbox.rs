// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where answers and asynchronous errors go.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Condvar, Mutex};
use vcuda_protocol::layout::*;
use vcuda_protocol::notify::Notify;
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{Reply, Status, slots};

use crate::status;

/// The way back from a session to its client. Called from any thread.
pub trait Outbox: Send + Sync {
    /// Answers the command that named `slot`.
    fn answer(&self, slot: u16, reply: &Result<Reply, Status>);
    /// Work that nobody waits for failed. A sticky error stays until the device is reset.
    fn failed(&self, device: u32, status: Status, sticky: bool);
    /// A device was reset: it has no error any more.
    fn well(&self, device: u32);
    /// A staging chunk was read and may be used again.
    fn release(&self, chunk: u32);
}

/// Answers through the control memory that client and host share.
pub struct ControlOutbox {
    memory: SharedMemory,
    notify: Arc<dyn Notify>,
}

impl ControlOutbox {
    /// The memory holds [`CONTROL_LEN`] bytes; the ring's consumer has checked that.
    pub fn new(memory: SharedMemory, notify: Arc<dyn Notify>) -> Self {
        ControlOutbox { memory, notify }
    }

    fn word(&self, base: usize, stride: usize, index: u32, count: usize) -> Option<&AtomicU32> {
        let index = index as usize;
        (index < count).then(|| self.memory.u32(base + index * stride))
    }
}

impl Outbox for ControlOutbox {
    fn answer(&self, slot: u16, reply: &Result<Reply, Status>) {
        if let Err(error) = slots::answer(&self.memory, slot, reply, &*self.notify) {
            vcuda_transport::say!("{error}");
            // The client waits for something; it gets what surely fits.
            let _ = slots::answer(&self.memory, slot, &Err(status::UNKNOWN), &*self.notify);
        }
    }

    fn failed(&self, device: u32, status: Status, sticky: bool) {
        let base = if sticky {
            STICKY_ERRORS
        } else {
            PENDING_ERRORS
        };
        if let Some(word) = self.word(base, 4, device, MAX_DEVICES) {
            // The first error is the one that says what happened.
            let _ = word.compare_exchange(0, status.0, Ordering::Release, Ordering::Relaxed);
        }
    }

    fn well(&self, device: u32) {
        for base in [STICKY_ERRORS, PENDING_ERRORS] {
            if let Some(word) = self.word(base, 4, device, MAX_DEVICES) {
                word.store(0, Ordering::Release);
            }
        }
    }

    fn release(&self, chunk: u32) {
        if let Some(word) = self.word(STAGING_BUSY, STAGING_BUSY_STRIDE, chunk, STAGING_CHUNKS) {
            word.store(0, Ordering::Release);
            self.notify.wake(word);
        }
    }
}

/// Keeps answers and errors for a client in the same process: replay, tests.
#[derive(Default)]
pub struct Answers {
    inner: Mutex<Inbox>,
    arrived: Condvar,
}

#[derive(Default)]
struct Inbox {
    replies: HashMap<u16, Result<Reply, Status>>,
    failures: Vec<(u32, Status)>,
    released: Vec<u32>,
}

impl Answers {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Waits for the answer in a slot and takes it.
    pub fn wait(&self, slot: u16) -> Result<Reply, Status> {
        let mut inner = self.inner.lock();
        loop {
            if let Some(reply) = inner.replies.remove(&slot) {
                return reply;
            }
            self.arrived.wait(&mut inner);
        }
    }

    /// Takes the answer in a slot if it is there.
    pub fn poll(&self, slot: u16) -> Option<Result<Reply, Status>> {
        self.inner.lock().replies.remove(&slot)
    }

    /// Takes the asynchronous errors that came since the last call, with their devices.
    pub fn failures(&self) -> Vec<(u32, Status)> {
        std::mem::take(&mut self.inner.lock().failures)
    }

    /// Takes the numbers of the staging chunks that were released since the last call.
    pub fn released(&self) -> Vec<u32> {
        std::mem::take(&mut self.inner.lock().released)
    }
}

impl Outbox for Answers {
    fn answer(&self, slot: u16, reply: &Result<Reply, Status>) {
        self.inner.lock().replies.insert(slot, reply.clone());
        self.arrived.notify_all();
    }

    fn failed(&self, device: u32, status: Status, _sticky: bool) {
        self.inner.lock().failures.push((device, status));
    }

    fn well(&self, _device: u32) {}

    fn release(&self, chunk: u32) {
        self.inner.lock().released.push(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::Bytes;
    use vcuda_protocol::notify::Yield;

    fn control() -> (SharedMemory, ControlOutbox) {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        (memory.clone(), ControlOutbox::new(memory, Arc::new(Yield)))
    }

    #[test]
    fn the_first_error_of_a_kind_stays_until_the_device_is_well() {
        let (memory, outbox) = control();
        outbox.failed(2, Status(700), true);
        outbox.failed(2, Status(719), true);
        outbox.failed(2, Status(1), false);
        let word = |base: usize| memory.u32(base + 8).load(Ordering::Acquire);
        assert_eq!((word(STICKY_ERRORS), word(PENDING_ERRORS)), (700, 1));
        outbox.well(2);
        assert_eq!((word(STICKY_ERRORS), word(PENDING_ERRORS)), (0, 0));
    }

    #[test]
    fn devices_and_chunks_that_do_not_exist_are_ignored() {
        let (_, outbox) = control();
        outbox.failed(u32::MAX, Status(700), true);
        outbox.well(16);
        outbox.release(16);
        outbox.answer(u16::MAX, &Ok(Reply::Done));
    }

    #[test]
    fn a_reply_that_does_not_fit_its_slot_becomes_an_error() {
        let (memory, outbox) = control();
        slots::arm(&memory, 3).unwrap();
        outbox.answer(3, &Ok(Reply::Data(Bytes(vec![0; MAX_REPLY]))));
        let reply = slots::wait(&memory, 3, &Yield, std::time::Duration::from_secs(1)).unwrap();
        assert_eq!(reply, Some(Err(status::UNKNOWN)));
    }
}
