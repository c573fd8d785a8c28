// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device: sessions by number, requests to the session that they are for, events to the driver.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::process::Launcher;
use crate::queue::{Memory, Order};
use crate::session::{Session, Workers};
use crate::wire::{self, Status};

/// How long a reset waits for workers, which may still write to the guest's memory.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where events for the driver go.
pub trait EventQueue: Send + Sync {
    /// Writes an event into a buffer of the driver. False: it has provided none.
    fn push(&self, event: &[u8; wire::EVENT_LEN]) -> bool;
}

/// Events, kept while the driver has provided no buffer. One of a kind and session says as much as
/// many.
pub struct Events {
    queue: Box<dyn EventQueue>,
    kept: Mutex<VecDeque<(u32, u32)>>,
}

impl Events {
    pub fn new(queue: Box<dyn EventQueue>) -> Arc<Self> {
        Arc::new(Events {
            queue,
            kept: Mutex::default(),
        })
    }

    pub fn tell(&self, kind: u32, session: u32) {
        tracing::trace!(session, kind, "An event.");
        let mut kept = self.kept.lock();
        if !kept.contains(&(kind, session)) {
            kept.push_back((kind, session));
        }
        self.deliver(&mut kept);
    }

    /// The driver has provided buffers.
    pub fn buffers_came(&self) {
        self.deliver(&mut self.kept.lock());
    }

    fn deliver(&self, kept: &mut VecDeque<(u32, u32)>) {
        while let Some(&(kind, session)) = kept.front() {
            if !self.queue.push(&wire::event(kind, session)) {
                return;
            }
            kept.pop_front();
        }
    }

    fn forget(&self) {
        self.kept.lock().clear();
    }
}

/// The device of one virtual machine.
pub struct Device {
    queues: usize,
    max_sessions: u32,
    launcher: Arc<Launcher>,
    events: Arc<Events>,
    sessions: Mutex<Sessions>,
    workers: Arc<Workers>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<u32, Arc<Session>>,
    last: u32,
}

impl Device {
    pub fn new(
        queues: usize,
        max_sessions: u32,
        launcher: Arc<Launcher>,
        events: Arc<Events>,
    ) -> Self {
        Device {
            queues,
            max_sessions,
            launcher,
            events,
            sessions: Mutex::default(),
            workers: Arc::default(),
        }
    }

    pub fn events(&self) -> &Events {
        &self.events
    }

    /// A request of the control queue.
    pub fn control(&self, order: Order) {
        match order.request.op {
            wire::OP_HELLO => self.hello(order),
            wire::OP_SESSION_OPEN => self.open(order),
            wire::OP_SESSION_CLOSE => self.close(order),
            wire::OP_TRANSFER => order.ticket.refuse(Status::Invalid),
            _ => self.pass_on(order),
        }
    }

    /// A request of a transfer queue.
    pub fn transfer(&self, order: Order) {
        match order.request.op {
            wire::OP_TRANSFER => self.pass_on(order),
            _ => order.ticket.refuse(Status::Invalid),
        }
    }

    fn pass_on(&self, order: Order) {
        let session = self.session(order.request.session);
        match session {
            Some(session) => session.execute(order),
            None => order.ticket.refuse(Status::NoSession),
        }
    }

    fn session(&self, id: u32) -> Option<Arc<Session>> {
        self.sessions.lock().by_id.get(&id).cloned()
    }

    /// A driver asks whether this is the device that it knows, when it begins, and later whether it
    /// is still there.
    fn hello(&self, order: Order) {
        let config = wire::config(self.queues);
        order.ticket.answer(Status::Ok, 0, 0, &config);
    }

    fn open(&self, order: Order) {
        let mut sessions = self.sessions.lock();
        if sessions.by_id.len() >= self.max_sessions as usize {
            drop(sessions);
            tracing::warn!(
                "A session is refused: there are {} already.",
                self.max_sessions
            );
            return order.ticket.refuse(Status::NoMemory);
        }
        let id = loop {
            sessions.last = sessions.last.wrapping_add(1);
            let id = sessions.last;
            if id != 0 && !sessions.by_id.contains_key(&id) {
                break id;
            }
        };
        let (events, launcher) = (self.events.clone(), self.launcher.clone());
        let session = Session::new(id, events, launcher, self.workers.clone());
        sessions.by_id.insert(id, session);
        drop(sessions);
        tracing::debug!(
            session = id,
            process = order.request.id,
            "A file is opened."
        );
        order.ticket.answer(Status::Ok, id, 0, &[]);
    }

    fn close(&self, order: Order) {
        let session = self.sessions.lock().by_id.remove(&order.request.session);
        tracing::debug!(session = order.request.session, "A file is closed.");
        match session {
            Some(session) => session.close(Some(order.ticket)),
            None => order.ticket.refuse(Status::NoSession),
        }
    }

    /// Ends all sessions, and waits until no worker touches the guest's memory any more.
    pub fn reset(&self) {
        let sessions = std::mem::take(&mut self.sessions.lock().by_id);
        for session in sessions.into_values() {
            session.close(None);
        }
        self.workers.wait_for_none(PATIENCE);
        self.events.forget();
    }

    pub fn memory_changed(&self, memory: &Memory) {
        let sessions: Vec<_> = self.sessions.lock().by_id.values().cloned().collect();
        for session in sessions {
            session.memory_changed(memory);
        }
    }
}
