// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams, events, and what waits for them.
//!
//! Each stream has a word of pinned memory and counts what is issued on it. Where something waits,
//! the stream is told to write its count into the word (`cuStreamWriteValue32`), so that looking
//! whether work has finished is reading memory: it takes no call of the driver, whose queries cost
//! more than a microsecond and would hold up the thread that launches.
//!
//! Here are the streams themselves, and how work is issued on them.

mod events;
mod gates;
mod waits;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vcuda_protocol::Status;

pub(super) use events::{Event, Fences, Recorded, has_happened};
pub(super) use waits::EventWait;
use words::Word;
pub(super) use words::Words;

use super::driver::{CUevent, CUstream, call};
use super::machine::{Jobs, Machine, State};
use crate::devices::{Completion, Gate, StreamHandle};
use crate::status;

/// `CU_STREAM_LEGACY`
const LEGACY: u64 = 1;
/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: u32 = 1;

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
    /// Streams on other GPUs, on which parts of its work run.
    helpers: Vec<(usize, u64)>,
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
        let event = machine.new_event(self.device, false)?;
        call!(
            machine.driver,
            cuEventRecord(event.cu as CUevent, self.raw())
        )?;
        self.tail = Some((self.issued, event.clone()));
        Ok(event)
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
            helpers: Vec::new(),
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
        let (device, helpers) = (stream.device, std::mem::take(&mut stream.helpers));
        destroy_helpers(machine, helpers);
        machine.enter(device)?;
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

    /// The stream on another GPU on which parts of this one's work run. Its GPU's context is the
    /// current one then.
    pub(in crate::devices::nvidia) fn helper(
        &mut self,
        machine: &Machine,
        handle: StreamHandle,
        on: usize,
    ) -> Result<CUstream, Status> {
        let (_, stream) = self.streams.by_handle(handle)?;
        machine.enter(on)?;
        if let Some(&(_, cu)) = stream.helpers.iter().find(|helper| helper.0 == on) {
            return Ok(cu as CUstream);
        }
        let mut cu: CUstream = std::ptr::null_mut();
        call!(
            machine.driver,
            cuStreamCreateWithPriority(&mut cu, NON_BLOCKING, 0)
        )?;
        stream.helpers.push((on, cu as u64));
        Ok(cu)
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

    /// The streams and events of a device are gone with its context.
    pub(super) fn forget_streams(&mut self, machine: &Machine, device: usize) {
        let gone: Vec<u32> = (self.streams.all())
            .filter(|(_, stream)| stream.device == device)
            .map(|(slot, _)| slot)
            .collect();
        for (_, stream) in self.streams.all() {
            // Those on the device are gone with its context.
            stream.helpers.retain(|&(on, _)| on != device);
            if stream.device == device {
                destroy_helpers(machine, std::mem::take(&mut stream.helpers));
            }
        }
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
}

/// What is on them still ends.
fn destroy_helpers(machine: &Machine, helpers: Vec<(usize, u64)>) {
    for (on, cu) in helpers {
        if machine.enter(on).is_ok() {
            // A context that failed has no streams to destroy.
            let _ = call!(machine.driver, cuStreamDestroy_v2(cu as CUstream));
        }
    }
}
