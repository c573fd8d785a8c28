// SPDX-License-Identifier: MIT OR Apache-2.0
//! Giving chains back to the driver, from whatever thread has finished with them.

use std::sync::Arc;

use vm_memory::{GuestMemoryLoadGuard, GuestMemoryMmap};

use crate::chain::{self, Checked, Reject, Segment};
use crate::wire::{self, RESPONSE_LEN, Request, Status};

/// The guest's memory as it was when a chain was taken.
pub type Memory = GuestMemoryLoadGuard<GuestMemoryMmap>;

/// A virtqueue, as far as finished chains go.
pub trait Used: Send + Sync {
    /// Counts how often the queue was stopped. Chains of an earlier time are not the device's any
    /// more.
    fn generation(&self) -> u32;
    /// The chain is the driver's again; `len` bytes of its writable part were written.
    fn give_back(&self, head: u16, len: u32);
}

/// A chain that is to be answered. Dropped without an answer it is given back unanswered, so that no
/// request is lost.
pub struct Ticket {
    queue: Arc<dyn Used>,
    head: u16,
    generation: u32,
    memory: Memory,
    response: Vec<Segment>,
    /// The writable part behind the response.
    asked: Vec<Segment>,
    open: bool,
}

/// A chain that passed all checks that need no session.
pub struct Order {
    pub request: Request,
    /// The readable part behind the request.
    pub brought: Vec<Segment>,
    pub ticket: Ticket,
}

impl Order {
    /// Reads a chain's request. A chain that breaks the rules is answered here.
    pub fn take(
        queue: Arc<dyn Used>,
        head: u16,
        memory: Memory,
        (chain, checked): Checked,
    ) -> Option<Order> {
        let room = chain.response();
        let refused = |reason: Reject| {
            tracing::warn!("A request is refused: {reason}.");
            None
        };
        let (response, asked) = match (checked.is_ok(), room) {
            (_, Ok(room)) => room,
            (_, Err(reason)) => {
                queue.give_back(head, 0);
                return refused(checked.err().unwrap_or(reason));
            }
        };
        let ticket = Ticket {
            generation: queue.generation(),
            queue,
            head,
            memory,
            response,
            asked,
            open: true,
        };
        match checked.and_then(|()| chain.request(&*ticket.memory)) {
            Ok((request, brought)) => Some(Order {
                request,
                brought,
                ticket,
            }),
            Err(reason) => {
                ticket.refuse(Status::Invalid);
                refused(reason)
            }
        }
    }

    /// What the request brings along, which may be `limit` bytes long.
    pub fn payload(&self, limit: usize) -> Option<Vec<u8>> {
        let len = chain::total(&self.brought);
        if len > limit as u64 {
            return None;
        }
        let mut bytes = vec![0; len as usize];
        chain::read(&*self.ticket.memory, &self.brought, &mut bytes)?;
        Some(bytes)
    }
}

impl Ticket {
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    pub fn asked(&self) -> &[Segment] {
        &self.asked
    }

    pub fn done(self) {
        self.answer(Status::Ok, 0, 0, &[]);
    }

    pub fn refuse(self, status: Status) {
        self.answer(status, 0, 0, &[]);
    }

    /// Answers, and writes what was asked for. What does not fit is refused as a whole.
    pub fn answer(mut self, status: Status, session: u32, value: u64, content: &[u8]) {
        if self.queue.generation() != self.generation {
            self.open = false;
            return;
        }
        let written = chain::write(&*self.memory, &self.asked, content);
        let (status, content) = match written {
            Some(()) => (status, content.len()),
            None => (Status::Invalid, 0),
        };
        self.close(status, session, value, content as u64);
    }

    /// Answers a request whose writable part was written by the worker.
    pub fn filled(mut self, status: Status) {
        let bytes = match status {
            Status::Ok => chain::total(&self.asked),
            _ => 0,
        };
        self.close(status, 0, 0, bytes);
    }

    fn close(&mut self, status: Status, session: u32, value: u64, content: u64) {
        self.open = false;
        if self.queue.generation() != self.generation {
            return;
        }
        if status != Status::Ok {
            tracing::debug!("A request is answered with {status:?}.");
        }
        let response = wire::response(status, session, value);
        // The segments were found to be the guest's memory.
        let _ = chain::write(&*self.memory, &self.response, &response);
        let len = RESPONSE_LEN as u64 + content;
        self.queue
            .give_back(self.head, len.min(u32::MAX.into()) as u32);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.close(Status::Ended, 0, 0, 0);
        }
    }
}
