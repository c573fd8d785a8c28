// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams, events, and what waits for them.
//!
//! Each stream has a word of pinned memory and counts what is issued on it. Where something waits,
//! the stream is told to write its count into the word (`cuStreamWriteValue32`), so that looking
//! whether work has finished is reading memory: it takes no call of the driver, whose queries cost
//! more than a microsecond and would hold up the thread that launches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use vcuda_protocol::Status;

use super::driver::{CUevent, CUstream, call};
use super::machine::{Jobs, Machine, State};
use crate::devices::{Completion, EventHandle, Gate, StreamHandle};
use crate::status;

/// `CU_STREAM_LEGACY`
const LEGACY: u64 = 1;
/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: u32 = 1;
/// `CU_EVENT_DISABLE_TIMING`
const DISABLE_TIMING: u32 = 2;
/// `CU_STREAM_WAIT_VALUE_EQ`
const WAIT_VALUE_EQ: u32 = 1;

/// Launches that are remembered for each stream, to say which one failed.
const LAUNCHES: usize = 1024;

pub(super) struct Stream {
    pub(super) device: usize,
    cu: u64,
    kind: Kind,
    word: Word,
    /// How much was issued, how much of it the word will tell of, and how much has finished.
    issued: u64,
    marked: u64,
    done: u64,
    /// Fences that later work waits for already.
    fenced: u64,
    waits: VecDeque<(u64, Completion)>,
    /// Position and tag of launches that may not have finished.
    launches: VecDeque<(u64, u64)>,
    /// The latest event that was recorded for what waits behind this stream, and where.
    tail: Option<(u64, Arc<Event>)>,
    /// Gates that hold it, with the position that it gets to before each.
    holds: VecDeque<(u64, Gate)>,
    destroyed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Legacy,
    Blocking,
    NonBlocking,
}

/// Streams by slot, with a generation in the handle so that a slot can be used again.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<(u32, Option<Stream>)>,
    free: Vec<u32>,
    /// Slots of streams that something waits for.
    awaited: Vec<u32>,
    /// Gates that streams wait at, and the words by which they do, with the place behind each.
    gates: Vec<Gate>,
    flags: VecDeque<((u32, u32, u64), Word)>,
}

/// An event of the driver, destroyed when nothing uses it any more.
pub(super) struct Event {
    cu: u64,
    machine: &'static super::driver::Driver,
}

impl Drop for Event {
    fn drop(&mut self) {
        // The context may be gone, and the event with it.
        let _ = call!(self.machine, cuEventDestroy_v2(self.cu as CUevent));
    }
}

/// An event of the session.
pub(super) struct Recorded {
    pub(super) device: usize,
    timing: bool,
    event: Arc<Event>,
    /// The stream and the position in it, once it is recorded.
    at: Option<(u32, u32, u64)>,
    /// The gate that it was recorded behind.
    held: Option<Gate>,
}

/// Something waits for an event, whose stream goes on meanwhile.
pub(super) struct EventWait {
    device: usize,
    event: Arc<Event>,
    job: Completion,
}

/// A word of pinned memory that the device writes or waits for. It is never given back to the
/// driver while its context lives.
#[derive(Clone, Copy)]
pub(super) struct Word(u64);

impl Word {
    fn value(&self) -> &AtomicU32 {
        // SAFETY: the address is of an aligned word of pinned memory, which stays until the
        // context is destroyed; who holds a word is gone by then.
        unsafe { AtomicU32::from_ptr(self.0 as *mut u32) }
    }
}

/// Pinned words that are not in use.
#[derive(Default)]
pub(super) struct Words(Vec<Word>);

impl Words {
    const PAGE: usize = 64 << 10;
    /// On cache lines of their own.
    const STRIDE: usize = 64;

    fn take(&mut self, machine: &Machine) -> Result<Word, Status> {
        if self.0.is_empty() {
            let page = machine.host_memory(Self::PAGE)?;
            let words = (0..Self::PAGE).step_by(Self::STRIDE);
            self.0.extend(words.map(|at| Word(page + at as u64)));
        }
        let word = self.0.pop().ok_or(status::OUT_OF_MEMORY)?;
        word.value().store(0, Ordering::Relaxed);
        Ok(word)
    }
}

impl Stream {
    fn raw(&self) -> CUstream {
        self.cu as CUstream
    }

    fn is_busy(&self) -> bool {
        self.done < self.issued
    }

    /// How far it gets before a closed gate holds it.
    fn held(&mut self) -> Option<u64> {
        while self
            .holds
            .pop_front_if(|(_, gate)| gate.is_open())
            .is_some()
        {}
        Some(self.holds.front()?.0)
    }

    /// The gate that holds what is issued now.
    fn holder(&self) -> Option<Gate> {
        let last = self.holds.iter().rev().find(|(_, gate)| !gate.is_open());
        last.map(|(_, gate)| gate.clone())
    }

    /// Takes note of how far the device has got.
    fn look(&mut self) {
        let far = self.word.value().load(Ordering::Acquire);
        let more = u64::from(far.wrapping_sub(self.done as u32));
        if more <= self.marked - self.done {
            self.reach(self.done + more);
        }
    }

    fn reach(&mut self, position: u64) {
        self.done = self.done.max(position);
        while self
            .launches
            .front()
            .is_some_and(|&(at, _)| at <= self.done)
        {
            self.launches.pop_front();
        }
    }

    /// What need not wait any more.
    fn take_ready(&mut self, jobs: &mut Jobs) {
        while let Some((_, job)) = self.waits.pop_front_if(|(at, _)| *at <= self.done) {
            jobs.push((job, Ok(())));
        }
    }

    /// Has the word tell when all that is issued so far has finished.
    fn mark(&mut self, machine: &Machine) -> Result<u64, Status> {
        if self.marked < self.issued {
            machine.enter(self.device)?;
            let count = self.issued as u32;
            call!(
                machine.driver,
                cuStreamWriteValue32_v2(self.raw(), self.word.0, count, 0)
            )?;
            self.marked = self.issued;
        }
        Ok(self.marked)
    }

    fn end(&mut self, machine: &Machine) -> Result<Arc<Event>, Status> {
        if let Some((at, event)) = &self.tail
            && *at == self.issued
        {
            return Ok(event.clone());
        }
        machine.enter(self.device)?;
        let event = machine.new_event(self.device, DISABLE_TIMING)?;
        call!(
            machine.driver,
            cuEventRecord(event.cu as CUevent, self.raw())
        )?;
        self.tail = Some((self.issued, event.clone()));
        Ok(event)
    }
}

impl Machine {
    fn new_event(&self, device: usize, flags: u32) -> Result<Arc<Event>, Status> {
        self.enter(device)?;
        let mut cu: CUevent = std::ptr::null_mut();
        call!(self.driver, cuEventCreate(&mut cu, flags))?;
        Ok(Arc::new(Event {
            cu: cu as u64,
            machine: self.driver,
        }))
    }
}

impl Streams {
    fn insert(&mut self, stream: Stream) -> StreamHandle {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(stream);
        StreamHandle(u64::from(*generation) << 32 | u64::from(slot))
    }

    fn get(&mut self, slot: u32, generation: u32) -> Option<&mut Stream> {
        match self.slots.get_mut(slot as usize) {
            Some((found, stream)) if *found == generation => stream.as_mut(),
            _ => None,
        }
    }

    fn by_handle(&mut self, handle: StreamHandle) -> Result<(u32, &mut Stream), Status> {
        let (slot, generation) = (handle.0 as u32, (handle.0 >> 32) as u32);
        match self.get(slot, generation) {
            Some(stream) if !stream.destroyed => Ok((slot, stream)),
            _ => Err(status::INVALID_HANDLE),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, (_, stream))| Some((slot as u32, stream.as_mut()?)))
    }

    /// Streams with unfinished work, of one device or all.
    fn busy(&mut self, device: Option<usize>) -> Vec<u32> {
        self.all()
            .filter(|(_, stream)| device.is_none_or(|device| stream.device == device))
            .filter_map(|(slot, stream)| {
                stream.look();
                stream.is_busy().then_some(slot)
            })
            .collect()
    }

    /// Takes what need not wait any more: it comes before what is asked for now.
    fn take_ready(&mut self, jobs: &mut Jobs) {
        for index in 0..self.awaited.len() {
            let slot = self.awaited[index] as usize;
            if let Some((_, Some(stream))) = self.slots.get_mut(slot) {
                stream.look();
                stream.take_ready(jobs);
            }
        }
    }

    fn remove(&mut self, slot: u32) -> Option<Stream> {
        let (generation, stream) = self.slots.get_mut(slot as usize)?;
        *generation = generation.wrapping_add(1);
        self.free.push(slot);
        self.awaited.retain(|&awaited| awaited != slot);
        stream.take()
    }

    fn has_closed_gates(&mut self) -> bool {
        self.gates.retain(|gate| !gate.is_open());
        !self.gates.is_empty()
    }
}

impl State {
    pub(super) fn add_legacy(&mut self, machine: &Machine, device: usize) -> Result<(), Status> {
        if self.devices[device].legacy.is_none() {
            let handle = self.add_stream(machine, device, LEGACY, Kind::Legacy)?;
            self.devices[device].legacy = Some(handle);
        }
        Ok(())
    }

    fn add_stream(
        &mut self,
        machine: &Machine,
        device: usize,
        cu: u64,
        kind: Kind,
    ) -> Result<StreamHandle, Status> {
        let word = self.words.take(machine)?;
        Ok(self.streams.insert(Stream {
            device,
            cu,
            kind,
            word,
            issued: 0,
            marked: 0,
            done: 0,
            fenced: 0,
            waits: VecDeque::new(),
            launches: VecDeque::new(),
            tail: None,
            holds: VecDeque::new(),
            destroyed: false,
        }))
    }

    pub(super) fn create_stream(
        &mut self,
        machine: &Machine,
        device: usize,
        blocking: bool,
        priority: i32,
    ) -> Result<StreamHandle, Status> {
        self.sweep();
        machine.enter(device)?;
        let mut cu: CUstream = std::ptr::null_mut();
        let (flags, kind) = match blocking {
            true => (0, Kind::Blocking),
            false => (NON_BLOCKING, Kind::NonBlocking),
        };
        call!(
            machine.driver,
            cuStreamCreateWithPriority(&mut cu, flags, priority)
        )?;
        let added = self.add_stream(machine, device, cu as u64, kind);
        if added.is_err() {
            let _ = call!(machine.driver, cuStreamDestroy_v2(cu));
        }
        added
    }

    pub(super) fn destroy_stream(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
    ) -> Result<(), Status> {
        let (slot, stream) = self.streams.by_handle(handle)?;
        if stream.kind == Kind::Legacy {
            return Err(status::INVALID_HANDLE);
        }
        stream.destroyed = true;
        stream.look();
        let marked = match stream.is_busy() {
            true => stream
                .mark(machine)
                .and_then(|_| stream.end(machine))
                .map(drop),
            false => Ok(()),
        };
        let (cu, idle) = (stream.raw(), !stream.is_busy());
        machine.enter(stream.device)?;
        let destroyed = call!(machine.driver, cuStreamDestroy_v2(cu));
        if idle {
            self.drop_stream(slot);
        }
        marked.and(destroyed)
    }

    /// Forgets destroyed streams whose work has finished.
    fn sweep(&mut self) {
        let gone = self.streams.all().filter_map(|(slot, stream)| {
            stream.look();
            let gone = stream.destroyed && !stream.is_busy() && stream.waits.is_empty();
            gone.then_some(slot)
        });
        for slot in gone.collect::<Vec<_>>() {
            self.drop_stream(slot);
        }
    }

    fn drop_stream(&mut self, slot: u32) {
        if let Some(stream) = self.streams.remove(slot) {
            self.words.0.push(stream.word);
        }
    }

    /// The stream, for work that is issued now: behind what it has to wait for, and counted.
    pub(super) fn issue(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
    ) -> Result<(usize, CUstream), Status> {
        if !self.streams.gates.is_empty() {
            self.spread_hold(machine, handle)?;
        }
        let (slot, stream) = self.streams.by_handle(handle)?;
        machine.enter(stream.device)?;
        if stream.fenced < self.fences.end() {
            for (of, event) in self.fences.since(stream.fenced) {
                if of != slot {
                    let event = event.cu as CUevent;
                    call!(machine.driver, cuStreamWaitEvent(stream.raw(), event, 0))?;
                }
            }
            stream.fenced = self.fences.end();
        }
        stream.issued += 1;
        Ok((stream.device, stream.raw()))
    }

    /// A launch was issued, by its tag.
    pub(super) fn launched(&mut self, handle: StreamHandle, tag: u64) {
        if let Ok((_, stream)) = self.streams.by_handle(handle)
            && stream.launches.len() < LAUNCHES
        {
            stream.launches.push_back((stream.issued, tag));
        }
    }

    /// The tag of the launch that failed, as far as that can be told: the first that is not known
    /// to have finished.
    pub(super) fn first_unfinished_launch(&mut self, device: usize) -> Option<u64> {
        let streams = self.streams.all();
        let of_device = streams.filter(|(_, stream)| stream.device == device);
        of_device
            .filter_map(|(_, stream)| {
                stream.look();
                Some(stream.launches.front()?.1)
            })
            .min()
    }

    /// The legacy stream and the blocking streams of a device hold each other back.
    fn spread_hold(&mut self, machine: &Machine, handle: StreamHandle) -> Result<(), Status> {
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
    fn hold(&mut self, machine: &Machine, handle: StreamHandle, gate: Gate) -> Result<(), Status> {
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

    pub(super) fn wait_for_gate(
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
    pub(super) fn open_gates(&mut self) -> Vec<Gate> {
        std::mem::take(&mut self.streams.gates)
    }

    pub(super) fn wait_for_stream(
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

    /// Calls back when all work of a device, or of all, has finished.
    pub(super) fn when_idle(
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
    pub(super) fn when_at_rest(&mut self, machine: &Machine, job: Completion, jobs: &mut Jobs) {
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
        let mut wait = |slot: u32, until: u64, job: Completion, jobs: &mut Jobs| {
            let Some((_, Some(stream))) = self.streams.slots.get_mut(slot as usize) else {
                jobs.push((job, Ok(())));
                return;
            };
            // A stream behind a gate was marked before it.
            if stream.marked < until
                && let Err(status) = stream.mark(machine)
            {
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
        machine.wake_watcher();
    }

    /// Looks what has finished. True: something is still waited for.
    pub(super) fn look(&mut self, machine: &Machine, jobs: &mut Jobs) -> bool {
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
    pub(super) fn ask(&mut self, machine: &Machine) -> Result<(), (usize, Status)> {
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
    pub(super) fn fail_waits(&mut self, device: Option<usize>, status: Status, jobs: &mut Jobs) {
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

    /// The streams and events of a device are gone with its context.
    pub(super) fn forget_streams(&mut self, device: usize) {
        let gone: Vec<u32> = (self.streams.all())
            .filter(|(_, stream)| stream.device == device)
            .map(|(slot, _)| slot)
            .collect();
        for slot in gone {
            self.drop_stream(slot);
        }
        self.devices[device].legacy = None;
        self.events.retain(|_, event| event.device != device);
    }

    pub(super) fn query_stream(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
    ) -> Result<bool, Status> {
        let (_, stream) = self.streams.by_handle(handle)?;
        stream.look();
        if !stream.is_busy() && stream.kind != Kind::Legacy {
            return Ok(true);
        }
        machine.enter(stream.device)?;
        match call!(machine.driver, cuStreamQuery(stream.raw())) {
            Ok(()) => {
                stream.reach(stream.issued);
                stream.marked = stream.issued;
                let count = stream.issued as u32;
                stream.word.value().store(count, Ordering::Relaxed);
                Ok(true)
            }
            Err(status::NOT_READY) => Ok(false),
            Err(status) => Err(status),
        }
    }

    /// What work that is issued now leaves unfinished behind it: an event of each busy stream.
    pub(super) fn unfinished(
        &mut self,
        machine: &Machine,
    ) -> Result<Vec<(u32, Arc<Event>)>, Status> {
        let busy = self.streams.busy(None);
        let ends = busy.into_iter().filter_map(|slot| {
            let stream = self.streams.slots.get_mut(slot as usize)?.1.as_mut()?;
            Some(stream.end(machine).map(|event| (slot, event)))
        });
        ends.collect()
    }

    /// The same, of one stream.
    pub(super) fn end_of(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
    ) -> Result<Vec<(u32, Arc<Event>)>, Status> {
        let (slot, stream) = self.streams.by_handle(handle)?;
        stream.look();
        match stream.is_busy() {
            true => Ok(vec![(slot, stream.end(machine)?)]),
            false => Ok(Vec::new()),
        }
    }

    /// Later work of a stream waits for events.
    pub(super) fn wait_behind(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        events: &[(u32, Arc<Event>)],
    ) -> Result<(), Status> {
        let (slot, stream) = self.streams.by_handle(handle)?;
        machine.enter(stream.device)?;
        for (of, event) in events {
            if *of != slot {
                let event = event.cu as CUevent;
                call!(machine.driver, cuStreamWaitEvent(stream.raw(), event, 0))?;
            }
        }
        Ok(())
    }

    pub(super) fn create_event(
        &mut self,
        machine: &Machine,
        device: usize,
        timing: bool,
    ) -> Result<EventHandle, Status> {
        let flags = if timing { 0 } else { DISABLE_TIMING };
        let event = machine.new_event(device, flags)?;
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

    pub(super) fn destroy_event(&mut self, event: EventHandle) -> Result<(), Status> {
        let gone = self.events.remove(&event.0);
        gone.map(drop).ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn record_event(
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
            let flags = if recorded.timing { 0 } else { DISABLE_TIMING };
            recorded.event = machine.new_event(recorded.device, flags)?;
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
    fn happened(&mut self, at: (u32, u32, u64)) -> bool {
        let (slot, generation, position) = at;
        match self.streams.get(slot, generation) {
            Some(stream) => {
                stream.look();
                stream.done >= position
            }
            None => false,
        }
    }

    pub(super) fn query_event(
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

    pub(super) fn wait_for_event(
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
                self.event_waits.push(EventWait { device, event, job });
                machine.wake_watcher();
            }
        }
        Ok(())
    }

    pub(super) fn stream_wait_event(
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

    pub(super) fn elapsed(
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
pub(super) struct Fences {
    list: VecDeque<(u32, Arc<Event>)>,
    /// How many came before those in the list.
    gone: u64,
}

impl Fences {
    fn end(&self) -> u64 {
        self.gone + self.list.len() as u64
    }

    fn since(&self, seen: u64) -> impl Iterator<Item = (u32, &Arc<Event>)> {
        let skipped = seen.saturating_sub(self.gone) as usize;
        self.list
            .iter()
            .skip(skipped)
            .map(|(slot, event)| (*slot, event))
    }

    pub(super) fn add(&mut self, machine: &Machine, events: &[(u32, Arc<Event>)]) {
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
pub(super) fn has_happened(machine: &Machine, event: &Event) -> bool {
    call!(machine.driver, cuEventQuery(event.cu as CUevent)) != Err(status::NOT_READY)
}
