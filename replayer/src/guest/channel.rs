// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's end of the socket to the daemon.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout::{CONTROL_LEN, STAGING_LEN};
use vcuda_protocol::notify::Notify;
use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::shared::SharedMemory;
use vcuda_transport::guest::{
    FromWorker, Purpose, Ram, RamError, Reservation, Segment, ToWorker, decode_hello,
    encode_welcome,
};
use vcuda_transport::{Futex, TransportError};

use super::GuestTable;
use crate::window::{Backing, Window};
use crate::worker::Hangup;

/// Address space of a window, at most: a guest may ask for anything.
const MAX_WINDOW: u64 = 1 << 40;

/// Most memories that are mapped at once. Each takes some of the kernel's mappings.
const MAX_MEMORIES: usize = 1 << 15;

/// Most pieces of one memory that are mapped one behind the other: a process has 65530 mappings.
const MAX_PIECES: usize = 1 << 12;

/// Why a worker cannot serve a client in a virtual machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Ram(#[from] RamError),
    #[error("The client started before its control memory was known.")]
    NoControl,
    #[error("The client's window of {0} bytes is not larger than its staging area, or too large.")]
    Window(u64),
    #[error("The client greeted twice.")]
    SecondGreeting,
}

/// The socket's other direction, for any thread.
struct Writer(Mutex<UnixStream>);

impl Writer {
    fn send(&self, message: &FromWorker) {
        // A daemon that is gone needs no answer; the reading side notices.
        let _ = message.send(&self.0.lock());
    }
}

/// Answers a request when it is dropped.
struct Answer {
    writer: Arc<Writer>,
    /// Zero: there is no request yet.
    token: AtomicU64,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let token = *self.token.get_mut();
        if token != 0 {
            self.writer.send(&FromWorker::Answer { token, done: true });
        }
    }
}

/// Wakes the client through the daemon and the guest's driver.
struct GuestNotify(Arc<Writer>);

impl Notify for GuestNotify {
    /// The daemon wakes by futex: it has the same memory.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        Futex.wait(word, expected, timeout);
    }

    fn wake(&self, _word: &AtomicU32) {
        self.0.send(&FromWorker::Wake);
    }
}

/// What a memory's pages are in this process.
enum Mapped {
    Control,
    Window { offset: u64 },
    User(Arc<Answer>),
}

/// See the [module](self).
pub struct Channel {
    socket: UnixStream,
    writer: Arc<Writer>,
    ram: Ram,
    control: Option<Reservation>,
    window: Option<(Arc<Reservation>, Arc<Backing>)>,
    table: Arc<GuestTable>,
    memories: HashMap<u64, Mapped>,
}

/// A client that has greeted.
pub struct Greeted {
    pub hello: Hello,
    pub control: SharedMemory,
    pub window: Window,
    pub notify: Arc<dyn Notify>,
    pub memory: Arc<GuestTable>,
    token: u64,
}

impl Channel {
    pub fn new(socket: UnixStream) -> Result<Self, ChannelError> {
        let other = socket.try_clone().map_err(TransportError::from)?;
        Ok(Channel {
            writer: Arc::new(Writer(Mutex::new(other))),
            socket,
            ram: Ram::default(),
            control: None,
            window: None,
            table: GuestTable::new(),
            memories: HashMap::new(),
        })
    }

    /// Waits for the client's greeting. One that cannot be served is refused with the reason.
    pub fn greeting(&mut self) -> Result<Greeted, ChannelError> {
        loop {
            if let Some((token, greeting)) = self.next()? {
                return self.meet(token, &greeting).inspect_err(|error| {
                    let reason = error.to_string();
                    self.answer_greeting(token, &Welcome::Refused { reason });
                });
            }
        }
    }

    fn meet(&mut self, token: u64, greeting: &[u8]) -> Result<Greeted, ChannelError> {
        let hello = decode_hello(greeting)?;
        let control = self.control.as_ref().ok_or(ChannelError::NoControl)?;
        let len = hello.window_len;
        if len <= STAGING_LEN || len > MAX_WINDOW {
            return Err(ChannelError::Window(len));
        }
        let reservation = Reservation::new(Some(hello.window_base), len)?;
        let backing = Arc::<Backing>::default();
        let window = Window {
            base: hello.window_base,
            memory: reservation.memory(),
            backing: Some(backing.clone()),
        };
        let control = control.memory();
        self.window = Some((Arc::new(reservation), backing));
        Ok(Greeted {
            hello,
            control,
            window,
            notify: Arc::new(GuestNotify(self.writer.clone())),
            memory: self.table.clone(),
            token,
        })
    }

    /// Tells a client whether it is served.
    pub fn welcome(&self, greeted: &Greeted, welcome: &Welcome) {
        self.answer_greeting(greeted.token, welcome);
    }

    fn answer_greeting(&self, token: u64, welcome: &Welcome) {
        match encode_welcome(welcome) {
            Ok(answer) => self.writer.send(&FromWorker::Started { token, answer }),
            Err(_) => self.answer(token, false),
        }
    }

    /// Takes what the daemon says until it leaves, which ends the session.
    pub fn run(mut self, hangup: &Hangup) {
        let ended = loop {
            match self.next() {
                Ok(None) => {}
                Ok(Some((token, _))) => {
                    self.answer(token, false);
                    break ChannelError::SecondGreeting;
                }
                Err(error) => break error,
            }
        };
        if !matches!(ended, ChannelError::Transport(TransportError::Closed)) {
            vcuda_transport::say!("{ended}");
        }
        self.table.end();
        hangup.hang_up();
    }

    fn answer(&self, token: u64, done: bool) {
        self.writer.send(&FromWorker::Answer { token, done });
    }

    /// One message. Gives a greeting, if it is one.
    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, ChannelError> {
        let (message, files) = ToWorker::receive(&self.socket)?;
        match message {
            ToWorker::Ram(regions) => self.ram = Ram::map(&regions, files)?,
            ToWorker::Start { token, greeting } => return Ok(Some((token, greeting))),
            ToWorker::Add {
                token,
                id,
                purpose,
                segments,
            } => {
                let added = self.add(id, purpose, &segments);
                self.answer(token, added.is_some());
            }
            ToWorker::Remove { token, id } => self.remove(token, id),
            ToWorker::Transfer {
                token,
                id,
                segments,
            } => self.lend(token, id, &segments),
        }
        Ok(None)
    }

    /// Says why pages are refused, in the log of whoever runs the daemon.
    fn refuse(error: RamError) {
        vcuda_transport::say!("{error}");
    }

    fn scattered(&self, segments: &[Segment]) -> Option<Scattered> {
        self.ram.scattered(segments).map_err(Self::refuse).ok()
    }

    /// Pages of the guest one behind the other, as long as that takes few mappings.
    fn gathered(&self, len: u64, segments: &[Segment]) -> Option<Scattered> {
        if segments.len() > MAX_PIECES {
            return None;
        }
        let room = Reservation::new(None, len).map_err(Self::refuse).ok()?;
        let mapped = self.ram.map_into(&room, 0, segments);
        mapped.map_err(Self::refuse).ok()?;
        Some(room.memory().into())
    }

    fn add(&mut self, id: u64, purpose: Purpose, segments: &[Segment]) -> Option<()> {
        if self.memories.contains_key(&id) || self.memories.len() >= MAX_MEMORIES {
            return None;
        }
        let len = segments
            .iter()
            .try_fold(0u64, |sum, s| sum.checked_add(s.len))?;
        let mapped = match purpose {
            Purpose::Control => {
                if self.control.is_some() || len != CONTROL_LEN as u64 {
                    return None;
                }
                let control = Reservation::new(None, len).map_err(Self::refuse).ok()?;
                self.ram
                    .map_into(&control, 0, segments)
                    .map_err(Self::refuse)
                    .ok()?;
                self.control = Some(control);
                Mapped::Control
            }
            Purpose::Window(offset) => {
                let (window, backing) = self.window.as_ref()?;
                if !backing.is_free(offset, len) {
                    return None;
                }
                if let Err(error) = self.ram.map_into(window, offset, segments) {
                    Self::refuse(error);
                    // What lies outside was not mapped.
                    let _ = window.clear(offset, len);
                    return None;
                }
                backing.add(offset, len);
                Mapped::Window { offset }
            }
            Purpose::User => {
                let guard = Arc::new(Answer {
                    writer: self.writer.clone(),
                    token: AtomicU64::new(0),
                });
                let memory = self
                    .gathered(len, segments)
                    .or_else(|| self.scattered(segments))?;
                let memory = memory.lasting().guarded_by(guard.clone());
                self.table.register(id, memory).then_some(())?;
                Mapped::User(guard)
            }
        };
        self.memories.insert(id, mapped);
        Some(())
    }

    fn remove(&mut self, token: u64, id: u64) {
        let removed = match self.memories.remove(&id) {
            // Until the session ends.
            Some(Mapped::Control) => {
                self.memories.insert(id, Mapped::Control);
                false
            }
            Some(Mapped::Window { offset }) => match &self.window {
                Some((window, backing)) => {
                    let (window, writer) = (window.clone(), self.writer.clone());
                    // At once, unless a device uses it still.
                    let left = move |len| {
                        let done = window.clear(offset, len).map_err(Self::refuse).is_ok();
                        writer.send(&FromWorker::Answer { token, done });
                    };
                    if backing.remove(offset, left) {
                        return;
                    }
                    false
                }
                None => false,
            },
            Some(Mapped::User(guard)) => {
                guard.token.store(token, Ordering::Release);
                // Answered when the last copy that uses it is done.
                let _ = self.table.forget(id);
                return;
            }
            None => false,
        };
        self.answer(token, removed);
    }

    fn lend(&mut self, token: u64, id: u64, segments: &[Segment]) {
        let Some(memory) = self.scattered(segments) else {
            return self.answer(token, false);
        };
        let guard = Answer {
            writer: self.writer.clone(),
            token: AtomicU64::new(token),
        };
        // Memory that is not taken is dropped here, which answers.
        let _ = self.table.lend(id, memory.guarded_by(Arc::new(guard)));
    }
}
