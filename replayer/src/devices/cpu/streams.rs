// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams over queues: what work of a stream waits for besides its own stream.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use vcuda_protocol::Status;

use super::scheduler::{Point, Queue};
use super::work::Work;
use crate::devices::{EventHandle, StreamHandle};
use crate::status;

pub(super) type WorkQueue = Queue<Work>;
pub(super) type WorkPoint = Point<Work>;

struct Stream {
    device: u32,
    /// Ordered with the device's legacy stream.
    blocking: bool,
    queue: Arc<WorkQueue>,
    /// How much of the legacy stream this one is behind, and the other way round: what has been
    /// waited for once need not be again.
    behind_legacy: u64,
    legacy_behind: u64,
    /// The last fence that this one is behind.
    fence: u64,
}

impl Stream {
    fn new(device: u32, blocking: bool) -> Self {
        Stream {
            device,
            blocking,
            queue: Queue::new(),
            behind_legacy: 0,
            legacy_behind: 0,
            fence: 0,
        }
    }
}

/// The streams and events of all devices. The legacy stream of a device has its number as handle.
pub(super) struct Streams {
    devices: u32,
    live: HashMap<u64, Stream>,
    /// Destroyed, with work that has not finished.
    retired: Vec<Stream>,
    /// Frees and what must come behind them.
    housekeeping: Arc<WorkQueue>,
    /// What all work that is issued from now on waits for, and its number.
    fence: Option<WorkPoint>,
    fences: u64,
    events: HashMap<u64, Event>,
    named: u64,
}

struct Event {
    timing: bool,
    record: Option<Record>,
    device: u32,
}

struct Record {
    point: WorkPoint,
    time: Arc<OnceLock<Instant>>,
}

/// Where a piece of work goes, and what it waits for there.
pub(super) struct Place {
    pub(super) queue: Arc<WorkQueue>,
    pub(super) behind: Vec<WorkPoint>,
}

impl Streams {
    pub(super) fn new(devices: u32) -> Self {
        let live = (0..devices).map(|device| (device.into(), Stream::new(device, false)));
        Streams {
            devices,
            live: live.collect(),
            retired: Vec::new(),
            housekeeping: Queue::new(),
            fence: None,
            fences: 0,
            events: HashMap::new(),
            named: devices.into(),
        }
    }

    fn name(&mut self) -> u64 {
        self.named += 1;
        self.named
    }

    pub(super) fn create(&mut self, device: u32, blocking: bool) -> StreamHandle {
        let name = self.name();
        self.live.insert(name, Stream::new(device, blocking));
        StreamHandle(name)
    }

    pub(super) fn destroy(&mut self, stream: StreamHandle) -> Result<(), Status> {
        if stream.0 < u64::from(self.devices) {
            return Err(status::INVALID_HANDLE);
        }
        let stream = self.live.remove(&stream.0).ok_or(status::INVALID_HANDLE)?;
        self.retired.push(stream);
        self.prune();
        Ok(())
    }

    fn prune(&mut self) {
        self.retired.retain(|stream| !stream.queue.is_drained());
    }

    pub(super) fn queue(&self, stream: StreamHandle) -> Result<&Arc<WorkQueue>, Status> {
        let stream = self.live.get(&stream.0).ok_or(status::INVALID_HANDLE)?;
        Ok(&stream.queue)
    }

    /// Where the next work of a stream goes. Call it once for each piece of work: it notes that
    /// the stream is behind what is returned.
    ///
    /// Work of the legacy stream waits for all blocking streams of its device, and they wait for
    /// it (CUDA Runtime API, "Stream synchronization behavior").
    pub(super) fn place(&mut self, stream: StreamHandle) -> Result<Place, Status> {
        if !self.retired.is_empty() {
            self.prune();
        }
        let mut behind = Vec::new();
        let (queue, device, blocking) = {
            let stream = self.live.get_mut(&stream.0).ok_or(status::INVALID_HANDLE)?;
            if let Some(fence) = &self.fence
                && std::mem::replace(&mut stream.fence, self.fences) < self.fences
            {
                behind.push(fence.clone());
            }
            (stream.queue.clone(), stream.device, stream.blocking)
        };
        if stream.0 == u64::from(device) {
            let others = self.live.values_mut().chain(&mut self.retired);
            for other in others.filter(|other| other.blocking && other.device == device) {
                let issued = other.queue.issued();
                if std::mem::replace(&mut other.legacy_behind, issued) < issued {
                    behind.push(other.queue.end());
                }
            }
        } else if blocking && let Some(legacy) = self.live.get(&u64::from(device)) {
            let end = legacy.queue.end();
            let issued = legacy.queue.issued();
            if let Some(stream) = self.live.get_mut(&stream.0)
                && std::mem::replace(&mut stream.behind_legacy, issued) < issued
            {
                behind.push(end);
            }
        }
        Ok(Place { queue, behind })
    }

    /// The unfinished work of a device, or of all.
    pub(super) fn unfinished(&self, device: Option<u32>) -> Vec<WorkPoint> {
        self.live
            .values()
            .chain(&self.retired)
            .filter(|stream| device.is_none_or(|device| device == stream.device))
            .filter(|stream| !stream.queue.is_drained())
            .map(|stream| stream.queue.end())
            .collect()
    }

    /// A place behind all work of all devices that was issued so far.
    pub(super) fn last_place(&mut self) -> Place {
        self.prune();
        Place {
            queue: self.housekeeping.clone(),
            behind: self.unfinished(None),
        }
    }

    /// A place for housekeeping that waits for less.
    pub(super) fn housekeeping(&self, behind: Vec<WorkPoint>) -> Place {
        Place {
            queue: self.housekeeping.clone(),
            behind,
        }
    }

    /// All work that is issued from now on waits for `point`.
    pub(super) fn set_fence(&mut self, point: WorkPoint) {
        self.fences += 1;
        self.fence = Some(point);
    }

    /// Forgets the streams and events of a device, except for its legacy stream.
    pub(super) fn reset(&mut self, device: u32) {
        let devices = u64::from(self.devices);
        let gone = self
            .live
            .extract_if(|&name, stream| name >= devices && stream.device == device);
        self.retired.extend(gone.map(|(_, stream)| stream));
        self.prune();
        self.events.retain(|_, event| event.device != device);
    }

    pub(super) fn create_event(&mut self, device: u32, timing: bool) -> EventHandle {
        let name = self.name();
        let event = Event {
            timing,
            record: None,
            device,
        };
        self.events.insert(name, event);
        EventHandle(name)
    }

    pub(super) fn destroy_event(&mut self, event: EventHandle) -> Result<(), Status> {
        match self.events.remove(&event.0) {
            Some(_) => Ok(()),
            None => Err(status::INVALID_HANDLE),
        }
    }

    fn event(&self, event: EventHandle) -> Result<&Event, Status> {
        self.events.get(&event.0).ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn has_event(&self, event: EventHandle) -> Result<(), Status> {
        self.event(event).map(|_| ())
    }

    /// The event now stands for `point`, whose time is noted in `time`.
    pub(super) fn record(
        &mut self,
        event: EventHandle,
        point: WorkPoint,
        time: Arc<OnceLock<Instant>>,
    ) {
        if let Some(event) = self.events.get_mut(&event.0) {
            event.record = Some(Record { point, time });
        }
    }

    /// What an event stands for. `None`: it was never recorded.
    pub(super) fn recorded(&self, event: EventHandle) -> Result<Option<WorkPoint>, Status> {
        let record = self.event(event)?.record.as_ref();
        Ok(record.map(|record| record.point.clone()))
    }

    /// When an event happened (`cuEventElapsedTime`).
    pub(super) fn time(&self, event: EventHandle) -> Result<Instant, Status> {
        let event = self.event(event)?;
        let record = event.record.as_ref().filter(|_| event.timing);
        let record = record.ok_or(status::INVALID_HANDLE)?;
        if !record.point.is_reached() {
            return Err(status::NOT_READY);
        }
        record.time.get().copied().ok_or(status::NOT_READY)
    }
}
