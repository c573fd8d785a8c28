// SPDX-License-Identifier: MIT OR Apache-2.0
//! Gates: streams that wait for functions of the program.

use std::sync::atomic::Ordering;

use vcuda_protocol::Status;

use super::super::driver::call;
use super::super::machine::{Machine, State};
use super::Kind;
use crate::devices::{Gate, StreamHandle};

/// `CU_STREAM_WAIT_VALUE_EQ`
const WAIT_VALUE_EQ: u32 = 1;

impl State {
    /// The legacy stream and the blocking streams of a device hold each other back.
    pub(super) fn spread_hold(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
    ) -> Result<(), Status> {
        if !self.streams.has_closed_gates() {
            self.streams
                .all()
                .for_each(|(_, stream)| stream.holds.clear());
            return Ok(());
        }
        let (slot, stream) = self.streams.by_handle(handle)?;
        if stream.holder().is_some() {
            return Ok(());
        }
        let (device, kind) = (stream.device, stream.kind);
        let holds = |other: Kind| match kind {
            Kind::Legacy => other == Kind::Blocking,
            Kind::Blocking => other == Kind::Legacy,
            Kind::NonBlocking => false,
        };
        let behind = self.streams.all().find_map(|(at, other)| {
            let related = at != slot && other.device == device && holds(other.kind);
            other.holder().filter(|_| related)
        });
        match behind {
            Some(gate) => self.hold(machine, handle, gate),
            None => Ok(()),
        }
    }

    /// What the stream is given from here on is behind a closed gate. Streams are marked first,
    /// because a mark that is made later may be behind it too.
    pub(super) fn hold(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        gate: Gate,
    ) -> Result<(), Status> {
        let (own, _) = self.streams.by_handle(handle)?;
        for (slot, stream) in self.streams.all() {
            let free = slot == own || stream.holder().is_none();
            if free && !stream.destroyed && stream.is_busy() {
                stream.mark(machine)?;
            }
        }
        let (_, stream) = self.streams.by_handle(handle)?;
        stream.holds.push_back((stream.issued, gate));
        Ok(())
    }

    pub(in crate::devices::nvidia) fn wait_for_gate(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        gate: Gate,
    ) -> Result<(), Status> {
        self.take_flags_back();
        let word = self.words.take(machine)?;
        self.hold(machine, handle, gate.clone())?;
        let (_, cu) = self.issue(machine, handle)?;
        call!(
            machine.driver,
            cuStreamWaitValue32_v2(cu, word.0, 1, WAIT_VALUE_EQ)
        )?;
        self.streams.gates.push(gate.clone());
        gate.when_open(move || word.value().store(1, Ordering::Release));
        if self.over {
            gate.open();
        }
        let (slot, stream) = self.streams.by_handle(handle)?;
        let passed = (slot, (handle.0 >> 32) as u32, stream.issued);
        self.streams.flags.push_back((passed, word));
        Ok(())
    }

    /// The words of gates that their streams have passed can be used again.
    fn take_flags_back(&mut self) {
        while let Some(&((slot, generation, position), word)) = self.streams.flags.front() {
            // A stream that is gone has passed all of them.
            if self.streams.get(slot, generation).is_some()
                && !self.happened((slot, generation, position))
            {
                break;
            }
            self.words.0.push(word);
            self.streams.flags.pop_front();
        }
    }

    /// Opens all gates: the session is over.
    pub(in crate::devices::nvidia) fn open_gates(&mut self) -> Vec<Gate> {
        std::mem::take(&mut self.streams.gates)
    }
}
