// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session shares with work that finishes later: the ways out, and the sticky errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use vcuda_protocol::{Header, Reply, Status};

use crate::devices::Faults;
use crate::observer::Observer;
use crate::outbox::Outbox;
use crate::status;

pub(super) struct Shared {
    pub(super) outbox: Arc<dyn Outbox>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    /// For each device, its sticky error or zero.
    sticky: Vec<AtomicU32>,
    finished: AtomicBool,
}

/// Which command is to be answered, and how.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    pub(super) sequence: u64,
    pub(super) slot: Option<u16>,
    pub(super) device: u32,
}

impl Ticket {
    pub(super) fn new(header: &Header, device: u32) -> Self {
        Ticket {
            sequence: header.sequence,
            slot: header.slot,
            device,
        }
    }
}

impl Shared {
    pub(super) fn new(
        devices: usize,
        outbox: Arc<dyn Outbox>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Arc<Self> {
        Arc::new(Shared {
            outbox,
            observer,
            sticky: (0..devices).map(|_| AtomicU32::new(0)).collect(),
            finished: AtomicBool::new(false),
        })
    }

    /// The sticky error of a device.
    pub(super) fn health(&self, device: u32) -> Result<(), Status> {
        match self.sticky.get(device as usize) {
            Some(word) => match word.load(Ordering::Acquire) {
                0 => Ok(()),
                status => Err(Status(status)),
            },
            None => Ok(()),
        }
    }

    pub(super) fn recover(&self, device: u32) {
        if let Some(word) = self.sticky.get(device as usize) {
            word.store(0, Ordering::Release);
        }
        self.outbox.well(device);
    }

    /// The command's outcome is known.
    pub(super) fn settle(&self, ticket: Ticket, outcome: Result<Reply, Status>) {
        if let Err(status) = outcome
            && status::is_sticky(status)
        {
            self.mark(ticket.device, status);
        }
        match (ticket.slot, outcome) {
            (Some(slot), outcome) => {
                let mut deliver = || self.outbox.answer(slot, &outcome);
                match &self.observer {
                    Some(observer) => observer.answering(ticket.sequence, &outcome, &mut deliver),
                    None => deliver(),
                }
            }
            (None, Ok(_)) => {}
            (None, Err(status)) => self.failed(ticket.device, ticket.sequence, status),
        }
    }

    /// Work that nobody waits for failed.
    pub(super) fn failed(&self, device: u32, sequence: u64, status: Status) {
        let sticky = status::is_sticky(status);
        if let Some(observer) = &self.observer {
            observer.answer(sequence, &Err(status));
        }
        if sticky {
            self.mark(device, status);
        } else {
            self.outbox.failed(device, status, false);
        }
    }

    fn mark(&self, device: u32, status: Status) {
        if let Some(word) = self.sticky.get(device as usize)
            && word
                .compare_exchange(0, status.0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            self.outbox.failed(device, status, true);
        }
    }

    /// Answers the last command, once the observer has finished with that answer.
    pub(super) fn farewell(&self, ticket: Ticket) {
        if let (Some(observer), Some(_)) = (&self.observer, ticket.slot) {
            observer.answer(ticket.sequence, &Ok(Reply::Done));
        }
        let finished = self.finish();
        if let Some(slot) = ticket.slot {
            self.outbox.answer(slot, &finished.map(|()| Reply::Done));
        }
    }

    /// Lets the observer finish, once.
    pub(super) fn finish(&self) -> Result<(), Status> {
        if self.finished.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        match self.observer.as_ref().map(|observer| observer.finish()) {
            // The observer has said why.
            Some(Err(_)) => Err(status::UNKNOWN),
            _ => Ok(()),
        }
    }
}

/// Tells faults of one device's work.
pub(super) struct DeviceFaults {
    pub(super) shared: Arc<Shared>,
    pub(super) device: u32,
}

impl Faults for DeviceFaults {
    fn fault(&self, tag: u64, status: Status) {
        self.shared.failed(self.device, tag, status);
    }
}
