// SPDX-License-Identifier: MIT OR Apache-2.0
//! What waits for streams and events, and the looking whether they have got there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use vcuda_protocol::Status;

use super::super::driver::{CUevent, call};
use super::super::machine::{Jobs, Machine, State};
use super::{Event, Kind};
use crate::devices::{Completion, EventHandle, StreamHandle};
use crate::status;

/// Something waits for an event, whose stream goes on meanwhile.
pub(in crate::devices::nvidia) struct EventWait {
    device: usize,
    event: Arc<Event>,
    job: Completion,
}

impl State {
    pub(in crate::devices::nvidia) fn wait_for_stream(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        job: Completion,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        let (slot, stream) = self.streams.by_handle(handle)?;
        let mut slots = vec![slot];
        if stream.kind == Kind::Legacy {
            // The legacy stream is as far as the streams are that it waits for.
            let device = stream.device;
            let blocking = self.streams.all().filter(|(_, other)| {
                other.device == device && other.kind == Kind::Blocking && other.is_busy()
            });
            slots.extend(blocking.map(|(slot, _)| slot));
        }
        self.when_done(machine, slots, job, jobs);
        Ok(())
    }

    pub(in crate::devices::nvidia) fn wait_for_event(
        &mut self,
        machine: &Machine,
        event: EventHandle,
        job: Completion,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        let recorded = self.events.get(&event.0).ok_or(status::INVALID_HANDLE)?;
        let (device, event) = (recorded.device, recorded.event.clone());
        let Some(at) = recorded.at else {
            jobs.push((job, Ok(())));
            return Ok(());
        };
        if self.happened(at) {
            jobs.push((job, Ok(())));
            return Ok(());
        }
        let (slot, generation, position) = at;
        // Where the record is the last that was issued, the stream's word tells of it.
        match self.streams.get(slot, generation) {
            Some(stream) if stream.issued == position && !stream.destroyed => {
                self.when_reached(machine, vec![(slot, position)], job, jobs);
            }
            _ => {
                machine.watch()?;
                self.event_waits.push(EventWait { device, event, job });
            }
        }
        Ok(())
    }

    /// Calls back when all work of a device, or of all, has finished.
    pub(in crate::devices::nvidia) fn when_idle(
        &mut self,
        machine: &Machine,
        device: Option<usize>,
        job: Completion,
        jobs: &mut Jobs,
    ) {
        let busy = self.streams.busy(device);
        self.when_done(machine, busy, job, jobs);
    }

    /// Calls back when all work has finished or is behind a closed gate.
    pub(in crate::devices::nvidia) fn when_at_rest(
        &mut self,
        machine: &Machine,
        job: Completion,
        jobs: &mut Jobs,
    ) {
        let gated = self.streams.has_closed_gates();
        let mut waiting = Vec::new();
        for (slot, stream) in self.streams.all() {
            stream.look();
            let held = stream.held().filter(|_| gated);
            let until = held.unwrap_or(stream.issued);
            if stream.done < until {
                waiting.push((slot, until));
            }
        }
        self.when_reached(machine, waiting, job, jobs);
    }

    fn when_done(&mut self, machine: &Machine, slots: Vec<u32>, job: Completion, jobs: &mut Jobs) {
        let ends = slots.into_iter().filter_map(|slot| {
            let stream = self.streams.slots.get_mut(slot as usize)?.1.as_mut()?;
            stream.look();
            stream.is_busy().then_some((slot, stream.issued))
        });
        let ends = ends.collect();
        self.when_reached(machine, ends, job, jobs);
    }

    fn when_reached(
        &mut self,
        machine: &Machine,
        places: Vec<(u32, u64)>,
        job: Completion,
        jobs: &mut Jobs,
    ) {
        if self.over {
            jobs.push((job, Err(status::DEINITIALIZED)));
            return;
        }
        self.streams.take_ready(jobs);
        if !places.is_empty()
            && let Err(status) = machine.watch()
        {
            jobs.push((job, Err(status)));
            return;
        }
        let mut failed = None;
        let mut wait = |slot: u32, until: u64, job: Completion, jobs: &mut Jobs| {
            let Some((_, Some(stream))) = self.streams.slots.get_mut(slot as usize) else {
                jobs.push((job, Ok(())));
                return;
            };
            // A stream behind a gate was marked before it.
            if stream.marked < until
                && let Err(status) = stream.mark(machine)
            {
                failed = Some((stream.device, status));
                jobs.push((job, Err(status)));
                return;
            }
            stream.waits.push_back((until, job));
            if !self.streams.awaited.contains(&slot) {
                self.streams.awaited.push(slot);
            }
        };
        match places[..] {
            [] => {
                let outcome = Ok(());
                jobs.push((job, outcome));
            }
            [(slot, until)] => wait(slot, until, job, jobs),
            _ => {
                let together = Arc::new(Mutex::new((places.len(), Some(job), Ok(()))));
                for (slot, until) in places {
                    let together = together.clone();
                    let part: Completion = Box::new(move |outcome| {
                        let mut all = together.lock();
                        all.0 -= 1;
                        all.2 = all.2.and(outcome);
                        let job = if all.0 == 0 { all.1.take() } else { None };
                        let outcome = all.2;
                        drop(all);
                        if let Some(job) = job {
                            job(outcome);
                        }
                    });
                    wait(slot, until, part, jobs);
                }
            }
        }
        if let Some((device, status)) = failed.filter(|&(_, status)| status::is_sticky(status)) {
            self.fail(machine, device, status, jobs);
        }
    }

    /// Looks what has finished. True: something is still waited for.
    pub(in crate::devices::nvidia) fn look(&mut self, machine: &Machine, jobs: &mut Jobs) -> bool {
        let mut gone = Vec::new();
        let mut index = 0;
        while let Some(&slot) = self.streams.awaited.get(index) {
            let Some((_, Some(stream))) = self.streams.slots.get_mut(slot as usize) else {
                self.streams.awaited.swap_remove(index);
                continue;
            };
            stream.look();
            let first = jobs.len();
            stream.take_ready(jobs);
            if jobs.len() > first && self.devices[stream.device].prints {
                machine.flush(stream.device, (!stream.is_busy()).then_some(stream.raw()));
            }
            if stream.waits.is_empty() {
                if stream.destroyed && !stream.is_busy() {
                    gone.push(slot);
                }
                self.streams.awaited.swap_remove(index);
            } else {
                index += 1;
            }
        }
        for slot in gone {
            self.drop_stream(slot);
        }
        let mut index = 0;
        while let Some(wait) = self.event_waits.get(index) {
            let outcome = machine
                .enter(wait.device)
                .and_then(|()| call!(machine.driver, cuEventQuery(wait.event.cu as CUevent)));
            if outcome == Err(status::NOT_READY) {
                index += 1;
                continue;
            }
            if self.devices[wait.device].prints {
                let event = wait.event.cu as CUevent;
                let _ = call!(machine.driver, cuEventSynchronize(event));
                machine.printed.flush();
            }
            let wait = self.event_waits.swap_remove(index);
            jobs.push((wait.job, outcome));
        }
        !self.streams.awaited.is_empty() || !self.event_waits.is_empty()
    }

    /// Asks the driver whether the devices that are waited for are well. A device that failed does
    /// not write its words any more.
    pub(in crate::devices::nvidia) fn ask(
        &mut self,
        machine: &Machine,
    ) -> Result<(), (usize, Status)> {
        for &slot in &self.streams.awaited {
            if let Some((_, Some(stream))) = self.streams.slots.get_mut(slot as usize)
                && !stream.destroyed
            {
                let device = stream.device;
                let asked = machine
                    .enter(device)
                    .and_then(|()| call!(machine.driver, cuStreamQuery(stream.raw())));
                match asked {
                    Ok(()) | Err(status::NOT_READY) => {}
                    Err(status) => return Err((device, status)),
                }
            }
        }
        Ok(())
    }

    /// All that waits for a device (for any, where none is named) is told.
    pub(in crate::devices::nvidia) fn fail_waits(
        &mut self,
        device: Option<usize>,
        status: Status,
        jobs: &mut Jobs,
    ) {
        let here = |of: usize| device.is_none_or(|device| device == of);
        let mut gone = Vec::new();
        for (slot, stream) in self.streams.all().filter(|(_, s)| here(s.device)) {
            stream.done = stream.issued;
            stream.marked = stream.issued;
            stream
                .word
                .value()
                .store(stream.issued as u32, Ordering::Relaxed);
            stream.launches.clear();
            jobs.extend(stream.waits.drain(..).map(|(_, job)| (job, Err(status))));
            if stream.destroyed {
                gone.push(slot);
            }
        }
        // Their words may still be written by a device that goes on.
        for slot in gone {
            self.streams.remove(slot);
        }
        let waits = std::mem::take(&mut self.event_waits);
        for wait in waits {
            match here(wait.device) {
                true => jobs.push((wait.job, Err(status))),
                false => self.event_waits.push(wait),
            }
        }
    }
}
