// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pinned and managed memory: allocations in the window, known to every device.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use vcuda_protocol::layout::STAGING_LEN;
use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{HostMemory, Reply, Status};

use super::copy::QUICK_BYTES;
use super::shared::Ticket;
use super::{Outcome, Session};
use crate::devices::StreamHandle;
use crate::rows::Rows;
use crate::status;
use crate::window::read_in_pieces;

/// The host allocations of a session, by offset in the window.
#[derive(Default)]
pub(super) struct HostTable {
    /// Also those that are being freed: their range is not free yet.
    taken: Arc<Mutex<BTreeMap<u64, u64>>>,
    live: BTreeMap<u64, u64>,
    /// What an observer is shown before a launch; made anew when `live` changes.
    shown: Option<Arc<[(u64, u64)]>>,
}

impl Session {
    pub(super) fn host_alloc(&mut self, _kind: HostMemory, offset: u64, size: u64) -> Outcome {
        let end = offset.checked_add(size).ok_or(status::INVALID_VALUE)?;
        if size == 0 || offset < STAGING_LEN {
            return Err(status::INVALID_VALUE);
        }
        let mut taken = self.host.taken.lock();
        let free = match taken.range(..end).next_back() {
            Some((&other, &len)) => other + len <= offset,
            None => true,
        };
        if !free || !self.window.claim(offset, size) {
            return Err(status::INVALID_VALUE);
        }
        let address = self.window.base + offset;
        for (index, device) in self.devices.iter().enumerate() {
            if let Err(status) = device.host_allocate(address, size) {
                for device in &self.devices[..index] {
                    device.host_free(address);
                }
                self.window.release(offset);
                return Err(status);
            }
        }
        taken.insert(offset, size);
        self.host.live.insert(offset, size);
        self.host.shown = None;
        Ok(Some(Reply::Done))
    }

    pub(super) fn host_free(&mut self, ticket: Ticket, offset: u64) -> Outcome {
        if self.host.live.remove(&offset).is_none() {
            return Err(status::INVALID_VALUE);
        }
        self.host.shown = None;
        let address = self.window.base + offset;
        let left = Arc::new(AtomicUsize::new(self.devices.len()));
        for device in self.devices.iter() {
            let (left, devices) = (left.clone(), self.devices.clone());
            let (taken, shared) = (self.host.taken.clone(), self.shared.clone());
            let window = self.window.clone();
            device.synchronize(Box::new(move |_| {
                if left.fetch_sub(1, Ordering::AcqRel) > 1 {
                    return;
                }
                for device in devices.iter() {
                    device.host_free(address);
                }
                taken.lock().remove(&offset);
                window.release(offset);
                shared.settle(ticket, Ok(Reply::Done));
            }));
        }
        Ok(None)
    }

    /// Shows the observer, when the stream gets there, all host memory that a kernel could see.
    pub(super) fn show_host_memory(
        &mut self,
        device: u32,
        stream: StreamHandle,
        sequence: u64,
    ) -> Result<(), Status> {
        let Some(observer) = self.shared.observer.clone() else {
            return Ok(());
        };
        if self.host.live.is_empty() {
            return Ok(());
        }
        let live = &self.host.live;
        let shown = self
            .host
            .shown
            .get_or_insert_with(|| live.iter().map(|(&offset, &size)| (offset, size)).collect())
            .clone();
        let shown_bytes: u64 = shown.iter().map(|&(_, size)| size).sum();
        let window = self.window.clone();
        let memory = Scattered::from(window.memory.clone());
        let show = move |health: Result<(), Status>| {
            if health.is_err() {
                return;
            }
            for &(offset, size) in shown.iter() {
                let mut bytes = Vec::new();
                if bytes.try_reserve_exact(size as usize).is_err() {
                    vcuda_transport::say!(
                        "{size} bytes of host memory could not be recorded: out of memory."
                    );
                    continue;
                }
                read_in_pieces(&memory, offset, Rows::linear(size), |_, piece| {
                    bytes.extend_from_slice(piece);
                });
                observer.host_memory(sequence, window.base + offset, &bytes);
            }
        };
        let quick = shown_bytes <= QUICK_BYTES;
        self.device(device)?
            .host_function(stream, Box::new(show), quick)
    }
}
