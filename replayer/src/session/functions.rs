// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the program that streams call (`cudaLaunchHostFunc`): the client calls them, and
//! their streams are held meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vcuda_protocol::{Reply, Status, Stream};

use super::shared::Ticket;
use super::{Outcome, Session, room};
use crate::devices::Gate;
use crate::status;

/// The functions that have not returned, by token, and what holds their streams.
#[derive(Default)]
pub(super) struct HostFunctions(Arc<Mutex<HashMap<u32, Gate>>>);

impl Session {
    /// The answer says that the stream has got to the function, or why it is not to be called. In
    /// the latter case nothing is held, and nothing need be said of the function again.
    pub(super) fn host_function(&mut self, ticket: Ticket, stream: Stream, token: u32) -> Outcome {
        let handle = self.stream(stream)?;
        let device = self.device(stream.device)?.clone();
        let gate = Gate::new();
        {
            let mut held = self.host_functions.0.lock();
            if held.contains_key(&token) {
                return Err(status::INVALID_HANDLE);
            }
            room(held.len())?;
            held.insert(token, gate.clone());
        }
        let (shared, held) = (self.shared.clone(), self.host_functions.0.clone());
        let reached = move |health: Result<(), Status>| {
            if health.is_err() {
                let gate = held.lock().remove(&token);
                gate.inspect(Gate::open);
            }
            // Nobody waits for a posted command, and its device's error is told already.
            if ticket.slot.is_some() {
                shared.settle(ticket, health.map(|()| Reply::Done));
            }
        };
        let issued = device
            .host_function(handle, Box::new(reached), true)
            .and_then(|()| device.wait_for_gate(handle, gate));
        if issued.is_err() {
            self.host_functions.0.lock().remove(&token);
        }
        issued.map(|()| None)
    }

    pub(super) fn host_function_done(&mut self, token: u32) -> Outcome {
        let gate = self.host_functions.0.lock().remove(&token);
        gate.ok_or(status::INVALID_HANDLE)?.open();
        Ok(Some(Reply::Done))
    }
}
