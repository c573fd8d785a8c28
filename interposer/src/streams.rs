// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams and events: handles of the program, and what they are on the wire.
//!
//! A handle is a number that looks like a pointer; it is looked up, never followed, so that a wrong
//! one is an error.

use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use vcuda_protocol::{Command, Reply, Stream};

use crate::contexts::{self, Device, unexpected};
use crate::graph::{self, Operation, capture};
use crate::handles::Handles;
use crate::thread::{self, DefaultStream};
use crate::{Result, error, session};

/// `cudaStreamLegacy` and `cudaStreamPerThread` (CUDA Runtime API, "Stream management").
const LEGACY: u64 = 1;
const PER_THREAD: u64 = 2;

/// `cudaStreamNonBlocking`, `CU_STREAM_NON_BLOCKING`.
pub(crate) const NON_BLOCKING: u32 = 1;
/// `cudaEventBlockingSync`, `cudaEventDisableTiming`, `cudaEventInterprocess`.
pub(crate) const EVENT_FLAGS: u32 = 7;
pub(crate) const DISABLE_TIMING: u32 = 2;
pub(crate) const INTERPROCESS: u32 = 4;

/// Streams are handed out 16 apart from here, events from there.
const STREAM_HANDLES: u64 = 0x7763_0000_0000;
const EVENT_HANDLES: u64 = 0x7765_0000_0000;

#[derive(Clone, Copy)]
pub(crate) struct StreamEntry {
    pub(crate) stream: Stream,
    /// The device's number for the program.
    pub(crate) ordinal: u32,
    pub(crate) flags: u32,
    pub(crate) priority: i32,
}

#[derive(Clone, Copy)]
pub(crate) struct EventEntry {
    pub(crate) event: u32,
    pub(crate) ordinal: u32,
    pub(crate) wire: u32,
    pub(crate) flags: u32,
}

static STREAMS: LazyLock<RwLock<Handles<StreamEntry>>> = LazyLock::new(RwLock::default);
static EVENTS: LazyLock<RwLock<Handles<EventEntry>>> = LazyLock::new(RwLock::default);
/// How many have left these tables.
static GONE_STREAMS: AtomicU64 = AtomicU64::new(0);
static GONE_EVENTS: AtomicU64 = AtomicU64::new(0);
/// There is, or was, a stream that does not wait for the default stream.
static SOME_RUN_AHEAD: AtomicBool = AtomicBool::new(false);
/// A bit for each device whose default stream has synchronous copies that nobody has waited for.
static UPLOADED: AtomicU32 = AtomicU32::new(0);
static NEXT_STREAM: AtomicU32 = AtomicU32::new(1);
static NEXT_EVENT: AtomicU32 = AtomicU32::new(1);

/// The priorities that streams of a device can have (`cudaDeviceGetStreamPriorityRange`), from the
/// highest to the lowest, which is 0.
pub(crate) fn priorities(device: &Device) -> Result<RangeInclusive<i32>> {
    let count = match device.priorities.get() {
        Some(&count) => count,
        None => {
            let command = Command::StreamPriorities {
                device: device.wire,
            };
            match session::get()?.call(&command)? {
                Reply::Count(count) => *device.priorities.get_or_init(|| count),
                other => return Err(unexpected("StreamPriorities", &other)),
            }
        }
    };
    Ok(1i32.saturating_sub_unsigned(count.max(1))..=0)
}

/// `cudaStreamCreateWithPriority`.
pub(crate) fn create(device: &Device, flags: u32, priority: i32) -> Result<u64> {
    if flags & !NON_BLOCKING != 0 {
        return Err(error::INVALID_VALUE);
    }
    // What is out of range is taken for the nearest priority (cudaStreamCreateWithPriority).
    let priority = match priority {
        0 => 0,
        other => {
            let range = priorities(device)?;
            other.clamp(*range.start(), *range.end())
        }
    };
    let id = NEXT_STREAM.fetch_add(1, Ordering::Relaxed);
    let stream = Stream {
        device: device.wire,
        id,
    };
    if flags & NON_BLOCKING != 0 {
        SOME_RUN_AHEAD.store(true, Ordering::SeqCst);
        let bit = 1 << device.wire;
        if UPLOADED.fetch_and(!bit, Ordering::SeqCst) & bit != 0 {
            session::get()?.call(&Command::StreamSynchronize {
                stream: Stream {
                    device: device.wire,
                    id: Stream::LEGACY,
                },
            })?;
        }
    }
    session::get()?.post(&Command::StreamCreate {
        stream,
        blocking: flags & NON_BLOCKING == 0,
        priority,
    })?;
    let handle = STREAM_HANDLES + u64::from(id) * 16;
    STREAMS.write().insert(
        handle,
        StreamEntry {
            stream,
            ordinal: device.ordinal,
            flags,
            priority,
        },
    );
    Ok(handle)
}

/// Called when a synchronous copy from pageable memory has been posted on a stream. Programs take it
/// for done when it returns, and launch on any stream. As long as every stream waits for the default
/// stream that needs no waiting here.
pub(crate) fn order_upload(stream: Stream) -> Result<()> {
    if stream.id == Stream::LEGACY {
        // In this order: who creates the first stream that runs ahead does it the other way round.
        UPLOADED.fetch_or(1 << stream.device, Ordering::SeqCst);
        if !SOME_RUN_AHEAD.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
    session::get()?
        .call(&Command::StreamSynchronize { stream })
        .map(drop)
}

/// `cudaStreamDestroy`. The default streams cannot be destroyed.
pub(crate) fn destroy(handle: u64) -> Result<()> {
    let removed = STREAMS.write().remove(&handle);
    let entry = removed.ok_or(error::INVALID_HANDLE)?;
    GONE_STREAMS.fetch_add(1, Ordering::Release);
    capture::stream_is_gone(entry.stream);
    session::get()?.post(&Command::StreamDestroy {
        stream: entry.stream,
    })
}

/// What a handle means to the calling thread.
pub(crate) fn entry(handle: u64) -> Result<StreamEntry> {
    let legacy = match handle {
        0 => thread::with(|t| t.default_stream.get()) == DefaultStream::Legacy,
        LEGACY => true,
        PER_THREAD => false,
        _ => {
            let look_up = || Some((handle, STREAMS.read().get(&handle).copied()?));
            let found = thread::with(|t| {
                t.stream
                    .get(&GONE_STREAMS, |&(last, _)| last == handle, look_up)
            });
            return found.map(|(_, entry)| entry).ok_or(error::INVALID_HANDLE);
        }
    };
    let device = contexts::current()?;
    let id = match legacy {
        true => Stream::LEGACY,
        false => own_stream(device)?,
    };
    Ok(StreamEntry {
        stream: Stream {
            device: device.wire,
            id,
        },
        ordinal: device.ordinal,
        flags: 0,
        priority: 0,
    })
}

/// Where work for a stream goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Stream(Stream),
    /// Into a graph: the stream is being captured.
    Capture(Stream),
}

/// Where work for the stream of a handle goes: errors that earlier work left are reported here.
/// Work that cannot be captured ends a capture that it would be in.
#[inline]
pub(crate) fn target(handle: u64, can_be_captured: bool) -> Result<Target> {
    let entry = entry(handle)?;
    let stream = entry.stream;
    session::get()?.asynchronous_error(stream.device)?;
    match capture::any() && capture::takes_in(&entry, can_be_captured)? {
        true => Ok(Target::Capture(stream)),
        false => Ok(Target::Stream(stream)),
    }
}

/// The stream of a handle, for work that cannot be captured.
pub(crate) fn resolve(handle: u64) -> Result<Stream> {
    match target(handle, false)? {
        Target::Stream(stream) | Target::Capture(stream) => Ok(stream),
    }
}

/// The calling thread's own default stream, made when it is first used. It lives as long as the
/// process: the thread's end is no reason to wait for its work.
fn own_stream(device: &Device) -> Result<u32> {
    let gone = device.gone_streams.load(Ordering::Relaxed);
    let known = thread::with(|t| {
        let mut own = t.own_streams.borrow_mut();
        own.retain(|&(d, id)| d != device.wire || id > gone);
        own.iter()
            .find(|&&(d, _)| d == device.wire)
            .map(|&(_, id)| id)
    });
    if let Some(id) = known {
        return Ok(id);
    }
    let id = NEXT_STREAM.fetch_add(1, Ordering::Relaxed);
    session::get()?.post(&Command::StreamCreate {
        stream: Stream {
            device: device.wire,
            id,
        },
        blocking: true,
        priority: 0,
    })?;
    thread::with(|t| t.own_streams.borrow_mut().push((device.wire, id)));
    Ok(id)
}

/// Waits for a stream's work.
pub(crate) fn synchronize(handle: u64) -> Result<()> {
    let stream = resolve(handle)?;
    let session = session::get()?;
    // A recording shows also what needed no waiting.
    if !session.used.take(stream) && !session.recording {
        return Ok(());
    }
    session.call(&Command::StreamSynchronize { stream })?;
    session.asynchronous_error(stream.device)
}

/// Success, or `NOT_READY` while work remains.
pub(crate) fn query(handle: u64) -> Result<()> {
    let stream = resolve(handle)?;
    session::get()?.call(&Command::StreamQuery { stream })?;
    Ok(())
}

/// `cudaEventWaitExternal`, `cudaEventRecordExternal`: in a stream that is being captured, a node of
/// the graph.
const EXTERNAL: u32 = 1;

/// Later work of the stream waits for the event. An event that was recorded in a capture brings the
/// stream into it.
pub(crate) fn wait_event(handle: u64, event: u64, flags: u32) -> Result<()> {
    let recorded = event_entry(event)?;
    if flags & !EXTERNAL != 0 {
        return Err(error::INVALID_VALUE);
    }
    let stream = entry(handle)?;
    if capture::any() || capture::any_events() {
        let waits = match flags {
            EXTERNAL => match target(handle, true)? {
                Target::Capture(stream) => {
                    return graph::capture(stream, Operation::WaitEvent(event));
                }
                Target::Stream(_) => false,
            },
            _ => capture::wait(&stream, event)?,
        };
        if waits {
            return Ok(());
        }
    }
    match flags {
        0 => issue_wait(resolve(handle)?, recorded),
        _ => Err(error::INVALID_VALUE),
    }
}

/// Has a stream wait for an event, as it is on the wire.
pub(crate) fn issue_wait(stream: Stream, event: EventEntry) -> Result<()> {
    let event = event.event;
    session::get()?.post(&Command::StreamWaitEvent { stream, event })
}

/// Waits for all work of a device.
pub(crate) fn synchronize_device(device: &Device) -> Result<()> {
    capture::refuse_device(device)?;
    let session = session::get()?;
    let used = match session.devices {
        1 => session.used.take_all(),
        _ => session.used.any(),
    };
    if !used && !session.recording {
        return session.asynchronous_error(device.wire);
    }
    session.call(&Command::DeviceSynchronize {
        device: device.wire,
    })?;
    session.asynchronous_error(device.wire)
}

/// `cudaEventCreateWithFlags`.
pub(crate) fn create_event(device: &Device, flags: u32) -> Result<u64> {
    // An event for other processes has no timing (CUDA Runtime API, cudaEventCreateWithFlags).
    if flags & !EVENT_FLAGS != 0 || flags & (DISABLE_TIMING | INTERPROCESS) == INTERPROCESS {
        return Err(error::INVALID_VALUE);
    }
    let event = NEXT_EVENT.fetch_add(1, Ordering::Relaxed);
    session::get()?.post(&Command::EventCreate {
        event,
        timing: flags & DISABLE_TIMING == 0,
    })?;
    let handle = EVENT_HANDLES + u64::from(event) * 16;
    EVENTS.write().insert(
        handle,
        EventEntry {
            event,
            ordinal: device.ordinal,
            wire: device.wire,
            flags,
        },
    );
    Ok(handle)
}

pub(crate) fn destroy_event(handle: u64) -> Result<()> {
    let removed = EVENTS.write().remove(&handle);
    let entry = removed.ok_or(error::INVALID_HANDLE)?;
    GONE_EVENTS.fetch_add(1, Ordering::Release);
    capture::event_is_free(handle);
    session::get()?.post(&Command::EventDestroy { event: entry.event })
}

pub(crate) fn event_entry(handle: u64) -> Result<EventEntry> {
    let look_up = || Some((handle, EVENTS.read().get(&handle).copied()?));
    let found = thread::with(|t| {
        t.event
            .get(&GONE_EVENTS, |&(last, _)| last == handle, look_up)
    });
    found.map(|(_, entry)| entry).ok_or(error::INVALID_HANDLE)
}

/// `cudaEventRecord`. In a stream that is being captured, the event stands for what was captured.
pub(crate) fn record_event(handle: u64, stream: u64) -> Result<()> {
    let event = event_entry(handle)?;
    match target(stream, true)? {
        Target::Capture(stream) => capture::record(handle, stream),
        Target::Stream(stream) => issue_record(stream, handle, event),
    }
}

/// `cudaEventRecordWithFlags`
pub(crate) fn record_event_with(handle: u64, stream: u64, flags: u32) -> Result<()> {
    match flags {
        0 => record_event(handle, stream),
        EXTERNAL => {
            event_entry(handle)?;
            match target(stream, true)? {
                Target::Capture(stream) => graph::capture(stream, Operation::RecordEvent(handle)),
                Target::Stream(_) => Err(error::ILLEGAL_STATE),
            }
        }
        _ => Err(error::INVALID_VALUE),
    }
}

/// Records an event on a stream as it is on the wire. It stands for captured work no longer.
pub(crate) fn issue_record(stream: Stream, handle: u64, event: EventEntry) -> Result<()> {
    if event.wire != stream.device {
        return Err(error::INVALID_HANDLE);
    }
    session::get()?.post(&Command::EventRecord {
        event: event.event,
        stream,
    })?;
    capture::event_is_free(handle);
    Ok(())
}

pub(crate) fn synchronize_event(handle: u64) -> Result<()> {
    let entry = event_entry(handle)?;
    capture::refuse_event(handle)?;
    let session = session::get()?;
    session.call(&Command::EventSynchronize { event: entry.event })?;
    session.asynchronous_error(entry.wire)
}

pub(crate) fn query_event(handle: u64) -> Result<()> {
    let entry = event_entry(handle)?;
    capture::refuse_event(handle)?;
    capture::refuse_unsafe()?;
    let session = session::get()?;
    session.asynchronous_error(entry.wire)?;
    session.call(&Command::EventQuery { event: entry.event })?;
    Ok(())
}

/// Milliseconds between two recorded events.
pub(crate) fn elapsed(start: u64, end: u64) -> Result<f32> {
    capture::refuse_event(start)?;
    capture::refuse_event(end)?;
    let (start, end) = (event_entry(start)?, event_entry(end)?);
    if (start.flags | end.flags) & DISABLE_TIMING != 0 {
        return Err(error::INVALID_HANDLE);
    }
    let command = Command::EventElapsed {
        start: start.event,
        end: end.event,
    };
    match session::get()?.call(&command)? {
        Reply::Milliseconds(elapsed) => Ok(elapsed),
        other => Err(unexpected("EventElapsed", &other)),
    }
}

/// The device was reset: its streams and events are gone.
pub(crate) fn forget(device: &Device) {
    capture::forget(device);
    STREAMS.write().retain(|_, s| s.ordinal != device.ordinal);
    EVENTS.write().retain(|_, e| e.ordinal != device.ordinal);
    GONE_STREAMS.fetch_add(1, Ordering::Release);
    GONE_EVENTS.fetch_add(1, Ordering::Release);
    // Other threads look when they next use theirs.
    let newest = NEXT_STREAM.load(Ordering::Relaxed) - 1;
    device.gone_streams.store(newest, Ordering::Relaxed);
}
