// SPDX-License-Identifier: MIT OR Apache-2.0
//! Events: what the program records, and what later work waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use vcuda_protocol::Status;

use super::super::driver::{CUevent, Driver, call};
use super::super::machine::{Machine, State};
use crate::devices::{EventHandle, Gate, StreamHandle};
use crate::status;

/// `CU_EVENT_DISABLE_TIMING`
const DISABLE_TIMING: u32 = 2;

/// An event of the driver, destroyed when nothing uses it any more.
pub(in crate::devices::nvidia) struct Event {
    pub(in crate::devices::nvidia) cu: u64,
    driver: &'static Driver,
}

impl Drop for Event {
    fn drop(&mut self) {
        // The context may be gone, and the event with it.
        let _ = call!(self.driver, cuEventDestroy_v2(self.cu as CUevent));
    }
}

/// An event of the session.
pub(in crate::devices::nvidia) struct Recorded {
    pub(in crate::devices::nvidia) device: usize,
    timing: bool,
    pub(super) event: Arc<Event>,
    /// The stream and the position in it, once it is recorded.
    pub(super) at: Option<(u32, u32, u64)>,
    /// The gate that it was recorded behind.
    held: Option<Gate>,
}

impl Machine {
    pub(in crate::devices::nvidia) fn new_event(
        &self,
        device: usize,
        timing: bool,
    ) -> Result<Arc<Event>, Status> {
        self.enter(device)?;
        let flags = if timing { 0 } else { DISABLE_TIMING };
        let mut cu: CUevent = std::ptr::null_mut();
        call!(self.driver, cuEventCreate(&mut cu, flags))?;
        Ok(Arc::new(Event {
            cu: cu as u64,
            driver: self.driver,
        }))
    }
}

impl State {
    pub(in crate::devices::nvidia) fn create_event(
        &mut self,
        machine: &Machine,
        device: usize,
        timing: bool,
    ) -> Result<EventHandle, Status> {
        let event = machine.new_event(device, timing)?;
        self.next_event += 1;
        let recorded = Recorded {
            device,
            timing,
            event,
            at: None,
            held: None,
        };
        self.events.insert(self.next_event, recorded);
        Ok(EventHandle(self.next_event))
    }

    pub(in crate::devices::nvidia) fn destroy_event(
        &mut self,
        event: EventHandle,
    ) -> Result<(), Status> {
        let gone = self.events.remove(&event.0);
        gone.map(drop).ok_or(status::INVALID_HANDLE)
    }

    pub(in crate::devices::nvidia) fn record_event(
        &mut self,
        machine: &Machine,
        event: EventHandle,
        handle: StreamHandle,
    ) -> Result<(), Status> {
        // The record itself is work of the stream, and what waits for it waits for it.
        let (_, cu) = self.issue(machine, handle)?;
        let (slot, stream) = self.streams.by_handle(handle)?;
        let at = stream.issued;
        let held = stream.holder();
        let recorded = self.events.get_mut(&event.0);
        let recorded = recorded.ok_or(status::INVALID_HANDLE)?;
        if Arc::strong_count(&recorded.event) > 1 {
            // Something waits for the record before this one.
            recorded.event = machine.new_event(recorded.device, recorded.timing)?;
        }
        call!(
            machine.driver,
            cuEventRecord(recorded.event.cu as CUevent, cu)
        )?;
        recorded.at = Some((slot, (handle.0 >> 32) as u32, at));
        recorded.held = held;
        Ok(())
    }

    /// Whether an event has happened, as far as is known without asking the driver.
    pub(super) fn happened(&mut self, at: (u32, u32, u64)) -> bool {
        let (slot, generation, position) = at;
        match self.streams.get(slot, generation) {
            Some(stream) => {
                stream.look();
                stream.done >= position
            }
            None => false,
        }
    }

    pub(in crate::devices::nvidia) fn query_event(
        &mut self,
        machine: &Machine,
        event: EventHandle,
    ) -> Result<bool, Status> {
        let recorded = self.events.get(&event.0).ok_or(status::INVALID_HANDLE)?;
        let (device, cu) = (recorded.device, recorded.event.cu);
        let Some(at) = recorded.at else {
            return Ok(true);
        };
        if self.happened(at) {
            return Ok(true);
        }
        machine.enter(device)?;
        match call!(machine.driver, cuEventQuery(cu as CUevent)) {
            Ok(()) => Ok(true),
            Err(status::NOT_READY) => Ok(false),
            Err(status) => Err(status),
        }
    }

    pub(in crate::devices::nvidia) fn stream_wait_event(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        event: EventHandle,
    ) -> Result<(), Status> {
        let recorded = self.events.get(&event.0).ok_or(status::INVALID_HANDLE)?;
        let cu = recorded.event.cu;
        let held = recorded.held.clone().filter(|gate| !gate.is_open());
        if let Some(gate) = held {
            self.hold(machine, handle, gate)?;
        }
        let (_, stream) = self.issue(machine, handle)?;
        call!(machine.driver, cuStreamWaitEvent(stream, cu as CUevent, 0))
    }

    pub(in crate::devices::nvidia) fn elapsed(
        &mut self,
        machine: &Machine,
        start: EventHandle,
        end: EventHandle,
    ) -> Result<f32, Status> {
        let event = |event: EventHandle| {
            let recorded = self.events.get(&event.0).ok_or(status::INVALID_HANDLE)?;
            Ok((recorded.device, recorded.event.cu))
        };
        let ((device, start), (_, end)) = (event(start)?, event(end)?);
        machine.enter(device)?;
        let mut milliseconds = 0.0;
        call!(
            machine.driver,
            cuEventElapsedTime(&mut milliseconds, start as CUevent, end as CUevent)
        )?;
        Ok(milliseconds)
    }
}

/// What all work waits for that is issued from some time on, on every stream.
#[derive(Default)]
pub(in crate::devices::nvidia) struct Fences {
    list: VecDeque<(u32, Arc<Event>)>,
    /// How many came before those in the list.
    gone: u64,
}

impl Fences {
    pub(super) fn end(&self) -> u64 {
        self.gone + self.list.len() as u64
    }

    pub(super) fn since(&self, seen: u64) -> impl Iterator<Item = (u32, &Arc<Event>)> {
        let skipped = seen.saturating_sub(self.gone) as usize;
        self.list
            .iter()
            .skip(skipped)
            .map(|(slot, event)| (*slot, event))
    }

    pub(in crate::devices::nvidia) fn add(
        &mut self,
        machine: &Machine,
        events: &[(u32, Arc<Event>)],
    ) {
        while let Some((_, event)) = self.list.front()
            && call!(machine.driver, cuEventQuery(event.cu as CUevent)).is_ok()
        {
            self.list.pop_front();
            self.gone += 1;
        }
        self.list.extend(events.iter().cloned());
    }
}

/// Whether the work before an event has finished. An error counts as that: nothing comes after it.
pub(in crate::devices::nvidia) fn has_happened(machine: &Machine, event: &Event) -> bool {
    call!(machine.driver, cuEventQuery(event.cu as CUevent)) != Err(status::NOT_READY)
}
