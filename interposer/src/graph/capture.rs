// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream capture (CUDA Programming Guide, "Creating a Graph Using Stream Capture"; CUDA Runtime
//! API, cudaStreamBeginCapture and cudaThreadExchangeStreamCaptureMode).
//!
//! What is given to a stream that is being captured becomes a node, which comes after what was
//! captured there before. An event that is recorded in such a stream stands for these nodes, and a
//! stream that waits for it is captured too. Where no stream is being captured, all of this costs one
//! load of [`ANY`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use vcuda_protocol::Stream;

use super::Operation;
use super::table::{self, Graphs};
use crate::contexts::Device;
use crate::streams::{self, NON_BLOCKING, StreamEntry, Target};
use crate::{Result, error, thread};

/// `cudaStreamCaptureMode`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

impl Mode {
    pub(super) fn of(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(error::INVALID_VALUE),
        }
    }
}

/// Some stream is being captured.
static ANY: AtomicBool = AtomicBool::new(false);
/// Some event was last recorded in a capture.
static ANY_EVENTS: AtomicBool = AtomicBool::new(false);

pub(crate) fn any() -> bool {
    ANY.load(Ordering::Relaxed)
}

pub(crate) fn any_events() -> bool {
    ANY_EVENTS.load(Ordering::Relaxed)
}

/// What is being captured.
pub(super) struct Captures {
    by_id: BTreeMap<u64, Capture>,
    streams: BTreeMap<(u32, u32), Member>,
    /// Events that were last recorded in a capture, which may have ended.
    events: BTreeMap<u64, Recorded>,
    next: u64,
}

struct Capture {
    graph: u64,
    /// The program's own graph, which it captures into.
    into: bool,
    origin: Stream,
    mode: Mode,
    thread: u32,
    valid: bool,
}

/// A stream that is being captured.
struct Member {
    capture: u64,
    /// What its next node comes after.
    last: BTreeSet<u64>,
    /// `last` as the program was shown it, and as many zeros: the data of plain edges.
    shown: Vec<u64>,
    /// The default stream waits for it, and it for the default stream.
    blocking: bool,
}

struct Recorded {
    capture: u64,
    nodes: BTreeSet<u64>,
}

/// What a stream's capture is, for the program.
pub(super) struct Info {
    pub(super) status: u32,
    pub(super) id: u64,
    pub(super) graph: u64,
    /// Nodes that the next one comes after; they stay there until the stream is used again.
    pub(super) last: *const u64,
    /// The data of the edges from there.
    pub(super) edges: *const u64,
    pub(super) count: usize,
}

/// `cudaStreamCaptureStatus`
const NONE: u32 = 0;
const ACTIVE: u32 = 1;
const INVALIDATED: u32 = 2;

fn key(stream: Stream) -> (u32, u32) {
    (stream.device, stream.id)
}

impl Captures {
    pub(super) const fn new() -> Self {
        Captures {
            by_id: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 1,
        }
    }

    /// Tells those who look without the lock.
    fn publish(&self) {
        ANY.store(!self.by_id.is_empty(), Ordering::Relaxed);
        ANY_EVENTS.store(!self.events.is_empty(), Ordering::Relaxed);
    }

    fn invalidate(&mut self, capture: u64) {
        if let Some(capture) = self.by_id.get_mut(&capture) {
            capture.valid = false;
        }
    }

    /// Invalidates the captures that `involved` holds for; whether there are any.
    fn invalidate_those(&mut self, involved: impl Fn(&Capture, &[&Member]) -> bool) -> bool {
        let mut found = false;
        for (id, capture) in &mut self.by_id {
            let members = self.streams.values().filter(|m| m.capture == *id);
            if involved(capture, &members.collect::<Vec<_>>()) {
                capture.valid = false;
                found = true;
            }
        }
        found
    }

    fn is_valid(&self, capture: u64) -> bool {
        self.by_id.get(&capture).is_some_and(|c| c.valid)
    }

    /// The capture that a stream is in.
    fn of(&self, stream: Stream) -> Option<u64> {
        self.streams.get(&key(stream)).map(|m| m.capture)
    }

    fn of_valid(&mut self, stream: Stream) -> Result<&mut Member> {
        let capture = self.of(stream).ok_or(error::ILLEGAL_STATE)?;
        if !self.is_valid(capture) {
            return Err(error::STREAM_CAPTURE_INVALIDATED);
        }
        self.streams.get_mut(&key(stream)).ok_or(error::UNKNOWN)
    }

    fn is_legacy_blocked(&self, stream: Stream) -> bool {
        let of_device = |(device, _): &(u32, u32)| *device == stream.device;
        let mut members = self.streams.iter().filter(|(key, _)| of_device(key));
        stream.id == Stream::LEGACY && members.any(|(_, member)| member.blocking)
    }

    /// The capture is over. Its events stay what they are: nothing can wait for them.
    fn end(&mut self, capture: u64) -> Option<Capture> {
        self.streams.retain(|_, member| member.capture != capture);
        for recorded in self.events.values_mut() {
            if recorded.capture == capture {
                recorded.nodes.clear();
            }
        }
        let ended = self.by_id.remove(&capture);
        self.publish();
        ended
    }
}

impl Graphs {
    /// Ends a capture that came to nothing.
    fn abandon(&mut self, capture: u64) {
        if let Some(ended) = self.captures.end(capture)
            && !ended.into
        {
            // The program may have destroyed it.
            let _ = self.destroy(ended.graph);
        }
    }

    fn begin(
        &mut self,
        stream: &StreamEntry,
        mode: Mode,
        thread: u32,
        into: Option<(u64, BTreeSet<u64>)>,
    ) -> Result<()> {
        if stream.stream.id == Stream::LEGACY {
            return Err(error::STREAM_CAPTURE_UNSUPPORTED);
        }
        if let Some(capture) = self.captures.of(stream.stream) {
            self.captures.invalidate(capture);
            return Err(error::ILLEGAL_STATE);
        }
        let (graph, last, into) = match into {
            Some((graph, last)) => {
                let nodes = &self.graph(graph)?.nodes;
                if !last.iter().all(|&node| nodes.contains(node)) {
                    return Err(error::INVALID_VALUE);
                }
                (graph, last, true)
            }
            None => (self.create(), BTreeSet::new(), false),
        };
        let captures = &mut self.captures;
        let id = captures.next;
        captures.next += 1;
        let capture = Capture {
            graph,
            into,
            origin: stream.stream,
            mode,
            thread,
            valid: true,
        };
        captures.by_id.insert(id, capture);
        captures.join(stream, id, last);
        captures.publish();
        Ok(())
    }

    /// The graph that was captured, once all streams have come together again.
    fn end(&mut self, stream: Stream, thread: u32) -> Result<u64> {
        let id = self.captures.of(stream).ok_or(error::ILLEGAL_STATE)?;
        let capture = self.captures.by_id.get(&id).ok_or(error::UNKNOWN)?;
        if capture.mode != Mode::Relaxed && capture.thread != thread {
            return Err(error::STREAM_CAPTURE_WRONG_THREAD);
        }
        if capture.origin != stream {
            self.captures.invalidate(id);
            return Err(error::STREAM_CAPTURE_UNMATCHED);
        }
        let graph = capture.graph;
        let outcome = match capture.valid {
            true => self.check_joined(id, graph, stream),
            false => Err(error::STREAM_CAPTURE_INVALIDATED),
        };
        match outcome {
            Ok(()) => {
                self.captures.end(id);
                Ok(graph)
            }
            Err(status) => {
                self.abandon(id);
                Err(status)
            }
        }
    }

    /// What the streams of a capture did last must come before what its origin did last.
    fn check_joined(&self, id: u64, graph: u64, origin: Stream) -> Result<()> {
        let streams = &self.captures.streams;
        let last = &streams.get(&key(origin)).ok_or(error::UNKNOWN)?.last;
        let joined = self.graph(graph)?.nodes.up_to(last);
        let mut members = streams.values().filter(|m| m.capture == id);
        match members.all(|member| member.last.is_subset(&joined)) {
            true => Ok(()),
            false => Err(error::STREAM_CAPTURE_UNJOINED),
        }
    }

    /// Adds a node behind what was captured in a stream.
    fn capture(
        &mut self,
        stream: Stream,
        add: impl FnOnce(&mut Self, u64, BTreeSet<u64>) -> Result<u64>,
    ) -> Result<()> {
        let member = self.captures.of_valid(stream)?;
        let (id, last) = (member.capture, member.last.clone());
        let graph = self.captures.by_id.get(&id).ok_or(error::UNKNOWN)?.graph;
        match add(self, graph, last) {
            Ok(node) => {
                self.captures.of_valid(stream)?.last = BTreeSet::from([node]);
                Ok(())
            }
            Err(status) => {
                // The program has destroyed the graph, or a node.
                self.captures.invalidate(id);
                Err(status)
            }
        }
    }
}

impl Captures {
    fn join(&mut self, stream: &StreamEntry, capture: u64, last: BTreeSet<u64>) {
        let member = Member {
            capture,
            last,
            shown: Vec::new(),
            blocking: stream.flags & NON_BLOCKING == 0,
        };
        self.streams.insert(key(stream.stream), member);
    }

    /// Whether work for a stream is captured.
    fn takes_in(&mut self, stream: Stream, can_be_captured: bool) -> Result<bool> {
        match self.of(stream) {
            Some(capture) if !self.is_valid(capture) => Err(error::STREAM_CAPTURE_INVALIDATED),
            Some(_) if can_be_captured => Ok(true),
            Some(capture) => {
                self.invalidate(capture);
                Err(error::STREAM_CAPTURE_UNSUPPORTED)
            }
            None if self.is_legacy_blocked(stream) => {
                self.invalidate_those(|_, members| members.iter().any(|m| m.blocking));
                Err(error::STREAM_CAPTURE_IMPLICIT)
            }
            None => Ok(false),
        }
    }

    /// A stream waits for an event. Whether that is all there is to do.
    fn wait(&mut self, stream: &StreamEntry, event: u64) -> Result<bool> {
        let member = self.of(stream.stream);
        let Some(recorded) = self.events.get(&event) else {
            return match member {
                Some(capture) if !self.is_valid(capture) => Err(error::STREAM_CAPTURE_INVALIDATED),
                Some(capture) => {
                    self.invalidate(capture);
                    Err(error::STREAM_CAPTURE_ISOLATION)
                }
                None => Ok(false),
            };
        };
        let (capture, nodes) = (recorded.capture, recorded.nodes.clone());
        if !self.by_id.contains_key(&capture) {
            member.inspect(|&capture| self.invalidate(capture));
            return Err(error::CAPTURED_EVENT);
        }
        if !self.is_valid(capture) {
            return Err(error::STREAM_CAPTURE_INVALIDATED);
        }
        match member {
            Some(own) if own != capture => {
                self.invalidate(own);
                self.invalidate(capture);
                return Err(error::STREAM_CAPTURE_MERGE);
            }
            Some(_) => self.of_valid(stream.stream)?.last.extend(nodes),
            None if stream.stream.id == Stream::LEGACY => {
                self.invalidate(capture);
                return Err(error::STREAM_CAPTURE_IMPLICIT);
            }
            None => self.join(stream, capture, nodes),
        }
        Ok(true)
    }

    /// Whether captures keep a thread from calls that may be unsafe; those that do are invalidated.
    fn refuse_unsafe(&mut self, thread: u32, mode: Mode) -> bool {
        self.invalidate_those(|capture, _| match mode {
            Mode::Relaxed => false,
            _ if capture.thread == thread => capture.mode != Mode::Relaxed,
            Mode::Global => capture.mode == Mode::Global,
            Mode::ThreadLocal => false,
        })
    }
}

/// `cudaStreamBeginCapture`, and `cudaStreamBeginCaptureToGraph` with a graph and the nodes that
/// the first one comes after.
pub(super) fn begin(handle: u64, mode: u32, into: Option<(u64, BTreeSet<u64>)>) -> Result<()> {
    let mode = Mode::of(mode)?;
    let stream = streams::entry(handle)?;
    let (_, thread) = thread::caller();
    table::lock().begin(&stream, mode, thread, into)
}

/// `cudaStreamEndCapture`: the graph.
pub(super) fn end(handle: u64) -> Result<u64> {
    let stream = streams::entry(handle)?.stream;
    let (_, thread) = thread::caller();
    table::lock().end(stream, thread)
}

/// `cudaStreamGetCaptureInfo`
pub(super) fn info(handle: u64) -> Result<Info> {
    let stream = streams::entry(handle)?.stream;
    let mut graphs = table::lock();
    let captures = &mut graphs.captures;
    if captures.is_legacy_blocked(stream) {
        return Err(error::STREAM_CAPTURE_IMPLICIT);
    }
    let mut info = Info {
        status: NONE,
        id: 0,
        graph: 0,
        last: std::ptr::null(),
        edges: std::ptr::null(),
        count: 0,
    };
    if let Some(member) = captures.streams.get_mut(&key(stream))
        && let Some(capture) = captures.by_id.get(&member.capture)
    {
        info.status = if capture.valid { ACTIVE } else { INVALIDATED };
        info.id = member.capture;
        if capture.valid {
            let count = member.last.len();
            member.shown = member.last.iter().copied().collect();
            member.shown.resize(2 * count, 0);
            info.graph = capture.graph;
            info.last = member.shown.as_ptr();
            info.edges = info.last.wrapping_add(count);
            info.count = count;
        }
    }
    Ok(info)
}

/// `cudaStreamUpdateCaptureDependencies`: what the next node of the stream comes after, besides
/// what it does already or in its place.
pub(super) fn update(handle: u64, nodes: BTreeSet<u64>, flags: u32) -> Result<()> {
    /// `cudaStreamAddCaptureDependencies`, `cudaStreamSetCaptureDependencies`
    const ADD: u32 = 0;
    const SET: u32 = 1;
    let stream = streams::entry(handle)?.stream;
    let mut graphs = table::lock();
    let capture = graphs.captures.of_valid(stream)?.capture;
    let graph = graphs.captures.by_id.get(&capture).map(|c| c.graph);
    let graph = graphs.graph(graph.ok_or(error::UNKNOWN)?)?;
    if !nodes.iter().all(|&node| graph.nodes.contains(node)) {
        return Err(error::INVALID_VALUE);
    }
    let member = graphs.captures.of_valid(stream)?;
    match flags {
        ADD => member.last.extend(nodes),
        SET => member.last = nodes,
        _ => return Err(error::INVALID_VALUE),
    }
    Ok(())
}

/// Whether work for a stream is captured. If it cannot be, or if it would make the default stream
/// wait for a capture, that ends the capture.
#[cold]
pub(crate) fn takes_in(stream: &StreamEntry, can_be_captured: bool) -> Result<bool> {
    let mut graphs = table::lock();
    graphs.captures.takes_in(stream.stream, can_be_captured)
}

/// Adds an operation of a stream that is being captured.
#[cold]
pub(crate) fn add(stream: Stream, operation: Operation) -> Result<()> {
    table::lock().capture(stream, |graphs, graph, last| {
        graphs.add(graph, last, operation)
    })
}

/// Adds the launch of a graph: as a graph within the one that is being captured.
pub(super) fn add_launch(stream: Stream, operations: Vec<Operation>) -> Result<()> {
    table::lock().capture(stream, |graphs, graph, last| {
        let child = graphs.chain(operations.into_iter())?;
        graphs.adopt(graph, last, child)
    })
}

/// An event is recorded in a stream that is being captured.
#[cold]
pub(crate) fn record(event: u64, stream: Stream) -> Result<()> {
    let mut graphs = table::lock();
    let captures = &mut graphs.captures;
    let member = captures.of_valid(stream)?;
    let recorded = Recorded {
        capture: member.capture,
        nodes: member.last.clone(),
    };
    captures.events.insert(event, recorded);
    captures.publish();
    Ok(())
}

/// An event does not stand for captured work any more.
pub(crate) fn event_is_free(event: u64) {
    if any_events() {
        forget_event(event);
    }
}

#[cold]
fn forget_event(event: u64) {
    let mut graphs = table::lock();
    graphs.captures.events.remove(&event);
    graphs.captures.publish();
}

/// A stream waits for an event. `false`: neither has to do with a capture.
pub(crate) fn wait(stream: &StreamEntry, event: u64) -> Result<bool> {
    table::lock().captures.wait(stream, event)
}

/// Nothing can wait for an event that stands for captured work.
pub(crate) fn refuse_event(event: u64) -> Result<()> {
    if !any_events() {
        return Ok(());
    }
    let mut graphs = table::lock();
    let captures = &mut graphs.captures;
    match captures.events.get(&event).map(|recorded| recorded.capture) {
        Some(capture) => {
            captures.invalidate(capture);
            Err(error::CAPTURED_EVENT)
        }
        None => Ok(()),
    }
}

fn unless(refused: bool) -> Result<()> {
    match refused {
        true => Err(error::STREAM_CAPTURE_UNSUPPORTED),
        false => Ok(()),
    }
}

/// Nothing can wait for a device with a stream that is being captured.
pub(crate) fn refuse_device(device: &Device) -> Result<()> {
    if !any() {
        return Ok(());
    }
    let mut graphs = table::lock();
    let captures = &mut graphs.captures;
    let of_device: BTreeSet<u64> = (captures.streams.iter())
        .filter(|((on, _), _)| *on == device.wire)
        .map(|(_, member)| member.capture)
        .collect();
    for &capture in &of_device {
        captures.invalidate(capture);
    }
    unless(!of_device.is_empty())
}

/// Calls whose effect a capture would not see, and which a graph could depend on: they are refused
/// as the modes of captures and of the calling thread say (CUDA Runtime API,
/// cudaThreadExchangeStreamCaptureMode).
pub(crate) fn refuse_unsafe() -> Result<()> {
    match any() {
        true => refuse_unsafe_while_capturing(),
        false => Ok(()),
    }
}

#[cold]
fn refuse_unsafe_while_capturing() -> Result<()> {
    let mode = thread::with(|t| t.capture_mode.get());
    let (_, thread) = thread::caller();
    unless(table::lock().captures.refuse_unsafe(thread, mode))
}

/// Whether a stream is being captured, for calls that have nodes which are not implemented: they
/// say so, and the capture, which lacks them, is invalid.
pub(crate) fn refuse_nodes(handle: u64, of: &str) -> Result<()> {
    match any() && matches!(streams::target(handle, true)?, Target::Capture(_)) {
        true => {
            let stream = streams::entry(handle)?.stream;
            let mut graphs = table::lock();
            if let Some(capture) = graphs.captures.of(stream) {
                graphs.captures.invalidate(capture);
            }
            Err(error::unsupported(of))
        }
        false => Ok(()),
    }
}

/// A stream was destroyed. What was captured in it must still be joined; a capture that began in it
/// cannot be ended any more.
pub(crate) fn stream_is_gone(stream: Stream) {
    if any() {
        let mut graphs = table::lock();
        let captures = &graphs.captures;
        let began = captures.by_id.iter().find(|(_, c)| c.origin == stream);
        if let Some((&capture, _)) = began {
            graphs.abandon(capture);
        }
    }
}

/// The device was reset: its streams are gone, and its events.
pub(crate) fn forget(device: &Device) {
    if any() {
        let mut graphs = table::lock();
        let captures = &graphs.captures;
        let of_device: BTreeSet<u64> = (captures.streams.iter())
            .filter(|((on, _), _)| *on == device.wire)
            .map(|(_, member)| member.capture)
            .collect();
        for capture in of_device {
            graphs.abandon(capture);
        }
    }
}

#[cfg(test)]
mod tests;
