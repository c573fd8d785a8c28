// SPDX-License-Identifier: MIT OR Apache-2.0
//! One session of a guest: what its driver has made known, its worker, and the requests that wait
//! for it.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, mpsc};

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vcuda_protocol::layout::{CONSUMER_ASLEEP, CONTROL_LEN};
use vcuda_protocol::notify::Notify;
use vcuda_transport::Futex;
use vcuda_transport::guest::{FromWorker, Purpose, RamRegion, Segment, ToWorker};
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion, VolatileMemory};

use crate::chain;
use crate::device::Events;
use crate::process::{Launcher, Worker};
use crate::queue::{Memory, Order, Ticket};
use crate::wire::{self, MAX_GREETING, MAX_SEGMENTS, SEGMENT_LEN, Status};

/// Most segments that one session may make known: 4 GiB of scattered pages.
const MAX_PAGES: usize = 1 << 20;
/// Most memories and transfers that one session may have at once.
const MAX_MEMORIES: usize = 1 << 15;
const MAX_TRANSFERS: usize = 4096;
const PAGE: u64 = 4096;

/// A session of a guest's driver: one open file of a process.
pub struct Session {
    pub id: u32,
    events: Arc<Events>,
    launcher: Arc<Launcher>,
    workers: Arc<Workers>,
    state: Mutex<State>,
}

/// Counts the workers that run or are about to.
#[derive(Default)]
pub struct Workers {
    count: Mutex<usize>,
    ended: Condvar,
}

impl Workers {
    /// Waits until there is none, but not forever.
    pub fn wait_for_none(&self, patience: Duration) {
        let late = Instant::now() + patience;
        let mut count = self.count.lock();
        while *count > 0 && !self.ended.wait_until(&mut count, late).timed_out() {}
    }
}

#[derive(Default)]
struct State {
    memories: HashMap<u64, Known>,
    /// Segments of all memories.
    pages: usize,
    transfers: HashMap<u64, Transfer>,
    /// Requests that wait for the worker, by token.
    waiting: HashMap<u64, Waiting>,
    next_token: u64,
    worker: Life,
    /// Answered when the worker is gone.
    closing: Option<Ticket>,
    /// The guest's memory that the control memory lies in.
    control: Option<(Memory, GuestAddress)>,
}

#[derive(Default)]
enum Life {
    #[default]
    NotStarted,
    Running(mpsc::Sender<Message>),
    Ended,
}

struct Message {
    content: ToWorker,
    /// Where the message is of the guest's memory, that memory.
    memory: Option<Memory>,
}

struct Known {
    purpose: Purpose,
    len: u64,
    /// Until they are complete, when they go to the worker.
    segments: Vec<Segment>,
    pages: usize,
    /// Bytes of the segments so far.
    so_far: u64,
}

struct Transfer {
    len: u64,
    so_far: u64,
    kind: u32,
    /// By offset.
    parts: BTreeMap<u64, (Vec<Segment>, Ticket)>,
}

enum Waiting {
    Greeting(Ticket),
    One(Ticket),
    Chains(Vec<Ticket>),
    Removal(Ticket, u64),
}

impl Waiting {
    fn refuse(self, status: Status) {
        match self {
            Waiting::Greeting(ticket) | Waiting::One(ticket) | Waiting::Removal(ticket, _) => {
                ticket.refuse(status)
            }
            Waiting::Chains(tickets) => {
                for ticket in tickets {
                    ticket.refuse(status);
                }
            }
        }
    }
}

impl State {
    fn wait(&mut self, waiting: Waiting) -> u64 {
        self.next_token += 1;
        self.waiting.insert(self.next_token, waiting);
        self.next_token
    }
}

impl Session {
    pub fn new(
        id: u32,
        events: Arc<Events>,
        launcher: Arc<Launcher>,
        workers: Arc<Workers>,
    ) -> Arc<Session> {
        Arc::new(Session {
            id,
            events,
            launcher,
            workers,
            state: Mutex::default(),
        })
    }

    /// Executes a request of the session.
    pub fn execute(self: &Arc<Self>, order: Order) {
        match order.request.op {
            wire::OP_START => self.start(order),
            wire::OP_KICK => self.kick(order.ticket),
            wire::OP_MEMORY_ADD => self.add(order),
            wire::OP_MEMORY_REMOVE => self.remove(order),
            wire::OP_TRANSFER => self.transfer(order),
            _ => order.ticket.refuse(Status::Invalid),
        }
    }

    /// Passes a message to the worker, which is started for the first. Called with the state held,
    /// so that messages keep their order.
    fn tell(self: &Arc<Self>, state: &mut State, memory: &Memory, content: ToWorker) {
        if matches!(state.worker, Life::NotStarted) {
            let (sender, receiver) = mpsc::channel();
            let session = self.clone();
            *self.workers.count.lock() += 1;
            let spawned = std::thread::Builder::new()
                .name(format!("session-{}", self.id))
                .spawn(move || session.run_worker(receiver));
            if let Err(error) = spawned {
                tracing::error!("A thread could not be started: {error}.");
                state.worker = Life::Ended;
                self.no_worker();
            } else {
                let _ = sender.send(Message {
                    content: ToWorker::Ram(Vec::new()),
                    memory: Some(memory.clone()),
                });
                state.worker = Life::Running(sender);
            }
        }
        if let Life::Running(sender) = &state.worker {
            // A worker that is gone answers all that waits, soon.
            let _ = sender.send(Message {
                content,
                memory: None,
            });
        }
    }

    /// The guest has other memory than before.
    pub fn memory_changed(&self, memory: &Memory) {
        if let Life::Running(sender) = &self.state.lock().worker {
            let _ = sender.send(Message {
                content: ToWorker::Ram(Vec::new()),
                memory: Some(memory.clone()),
            });
        }
    }

    fn start(self: &Arc<Self>, order: Order) {
        let Some(greeting) = order.payload(MAX_GREETING) else {
            return order.ticket.refuse(Status::Invalid);
        };
        let state = &mut *self.state.lock();
        if state.control.is_none() {
            return order.ticket.refuse(Status::Invalid);
        }
        if matches!(state.worker, Life::Ended) {
            return order.ticket.refuse(Status::Ended);
        }
        let memory = order.ticket.memory().clone();
        let token = state.wait(Waiting::Greeting(order.ticket));
        self.tell(state, &memory, ToWorker::Start { token, greeting });
    }

    /// The worker sleeps on a word of memory that this process has too.
    fn kick(&self, ticket: Ticket) {
        let state = self.state.lock();
        let woken = state.control.as_ref().and_then(|(memory, start)| {
            let address = GuestAddress(start.0.checked_add(CONSUMER_ASLEEP as u64)?);
            let slice = GuestMemoryBackend::get_slice(&**memory, address, 4).ok()?;
            Futex.wake(slice.get_atomic_ref::<AtomicU32>(0).ok()?);
            Some(())
        });
        drop(state);
        match woken {
            Some(()) => ticket.done(),
            None => ticket.refuse(Status::Invalid),
        }
    }

    fn add(self: &Arc<Self>, order: Order) {
        let state = &mut *self.state.lock();
        if matches!(state.worker, Life::Ended) {
            return order.ticket.refuse(Status::Ended);
        }
        let added = self.add_part(state, &order);
        let (purpose, complete) = match added {
            Ok(added) => added,
            Err(status) => {
                return order.ticket.refuse(status);
            }
        };
        if !complete {
            return order.ticket.done();
        }
        let id = order.request.id;
        let segments = state
            .memories
            .get_mut(&id)
            .map(|known| std::mem::take(&mut known.segments))
            .unwrap_or_default();
        let memory = order.ticket.memory().clone();
        if purpose == Purpose::Control {
            let first = segments.first().map(|s| GuestAddress(s.address));
            state.control = first.map(|first| (memory.clone(), first));
        }
        let token = state.wait(Waiting::One(order.ticket));
        let message = ToWorker::Add {
            token,
            id,
            purpose,
            segments,
        };
        self.tell(state, &memory, message);
    }

    /// Adds one part of a memory; says whether it is complete.
    fn add_part(&self, state: &mut State, order: &Order) -> Result<(Purpose, bool), Status> {
        let request = &order.request;
        let table = order
            .payload(MAX_SEGMENTS * SEGMENT_LEN)
            .filter(|bytes| bytes.len().is_multiple_of(SEGMENT_LEN))
            .ok_or(Status::Invalid)?;
        let purpose = match request.kind {
            wire::MEMORY_CONTROL => Purpose::Control,
            wire::MEMORY_WINDOW => Purpose::Window(request.address),
            wire::MEMORY_USER => Purpose::User,
            _ => return Err(Status::Invalid),
        };
        let is_first = request.offset == 0;
        if is_first {
            let fits = match purpose {
                Purpose::Control => request.len == CONTROL_LEN as u64 && state.control.is_none(),
                _ => request.len > 0 && request.len.is_multiple_of(PAGE),
            };
            if !fits || state.memories.contains_key(&request.id) {
                return Err(Status::Invalid);
            }
            if state.memories.len() >= MAX_MEMORIES {
                return Err(Status::NoMemory);
            }
        }
        let count = table.len() / SEGMENT_LEN;
        if count > MAX_PAGES - state.pages {
            return Err(Status::NoMemory);
        }
        let mut segments = Vec::with_capacity(count);
        let mut bytes = 0u64;
        for (address, len) in wire::segments(&table) {
            let whole = len > 0 && len.is_multiple_of(PAGE) && address.is_multiple_of(PAGE);
            let size = usize::try_from(len).map_err(|_| Status::Invalid)?;
            if !whole
                || !GuestMemoryBackend::check_range(
                    &**order.ticket.memory(),
                    GuestAddress(address),
                    size,
                )
            {
                return Err(Status::Invalid);
            }
            bytes = bytes.checked_add(len).ok_or(Status::Invalid)?;
            segments.push(Segment { address, len });
        }
        let known = match is_first {
            true => state.memories.entry(request.id).or_insert(Known {
                purpose,
                len: request.len,
                segments: Vec::new(),
                pages: 0,
                so_far: 0,
            }),
            false => state.memories.get_mut(&request.id).ok_or(Status::Invalid)?,
        };
        let so_far = known.so_far.checked_add(bytes).ok_or(Status::Invalid)?;
        let continues = known.purpose == purpose
            && known.len == request.len
            && known.so_far == request.offset
            && known.so_far < known.len;
        if !continues || count == 0 || so_far > known.len {
            if is_first {
                state.memories.remove(&request.id);
            }
            return Err(Status::Invalid);
        }
        known.so_far = so_far;
        known.segments.extend(segments);
        known.pages += count;
        state.pages += count;
        Ok((purpose, so_far == request.len))
    }

    fn remove(self: &Arc<Self>, order: Order) {
        let id = order.request.id;
        let state = &mut *self.state.lock();
        if matches!(state.worker, Life::Ended) {
            // No worker, no use.
            return order.ticket.done();
        }
        match state.memories.get(&id) {
            None => order.ticket.refuse(Status::Invalid),
            // The worker was not told of it.
            Some(known) if known.so_far < known.len => {
                state.pages -= known.pages;
                state.memories.remove(&id);
                order.ticket.done();
            }
            Some(_) => {
                let memory = order.ticket.memory().clone();
                let token = state.wait(Waiting::Removal(order.ticket, id));
                self.tell(state, &memory, ToWorker::Remove { token, id });
            }
        }
    }

    fn transfer(self: &Arc<Self>, order: Order) {
        let request = order.request;
        let segments = match request.kind {
            wire::TO_DEVICE => order.brought,
            wire::FROM_DEVICE => order.ticket.asked().to_vec(),
            _ => return order.ticket.refuse(Status::Invalid),
        };
        let bytes = chain::total(&segments);
        let state = &mut *self.state.lock();
        if matches!(state.worker, Life::Ended) {
            return order.ticket.refuse(Status::Ended);
        }
        if state.transfers.len() >= MAX_TRANSFERS {
            return order.ticket.refuse(Status::NoMemory);
        }
        let end = request.offset.checked_add(bytes);
        if bytes == 0 || segments.len() > MAX_SEGMENTS || end.is_none_or(|end| end > request.len) {
            return order.ticket.refuse(Status::Invalid);
        }
        let transfer = state.transfers.entry(request.id).or_insert(Transfer {
            len: request.len,
            so_far: 0,
            kind: request.kind,
            parts: BTreeMap::new(),
        });
        let fits = transfer.len == request.len
            && transfer.kind == request.kind
            && !transfer.parts.contains_key(&request.offset)
            && bytes <= transfer.len - transfer.so_far;
        if !fits {
            return order.ticket.refuse(Status::Invalid);
        }
        transfer.so_far += bytes;
        let memory = order.ticket.memory().clone();
        transfer
            .parts
            .insert(request.offset, (segments, order.ticket));
        if transfer.so_far < transfer.len {
            return;
        }
        let Some(complete) = state.transfers.remove(&request.id) else {
            return;
        };
        // Parts that overlap leave a gap elsewhere.
        let mut expected = 0;
        let gapless = complete.parts.iter().all(|(&offset, (segments, _))| {
            let here = offset == expected;
            expected = offset + chain::total(segments);
            here
        });
        let (lists, tickets): (Vec<_>, Vec<_>) = complete.parts.into_values().unzip();
        if !gapless {
            return Waiting::Chains(tickets).refuse(Status::Invalid);
        }
        let token = state.wait(Waiting::Chains(tickets));
        let message = ToWorker::Transfer {
            token,
            id: request.id,
            segments: lists.concat(),
        };
        self.tell(state, &memory, message);
    }

    /// Ends the session. Answered, if there is somebody to answer, when all that it held is free.
    pub fn close(&self, ticket: Option<Ticket>) {
        let state = &mut *self.state.lock();
        match std::mem::replace(&mut state.worker, Life::Ended) {
            // Dropping the sender closes the worker's socket.
            Life::Running(_) => state.closing = ticket,
            Life::NotStarted | Life::Ended => {
                if let Some(ticket) = ticket {
                    ticket.done();
                }
            }
        }
    }

    /// The life of a worker, from its start to its end.
    fn run_worker(self: Arc<Self>, messages: mpsc::Receiver<Message>) {
        let started = UnixStream::pair().and_then(|(ours, theirs)| {
            let worker = self.launcher.start(theirs, &["--guest"])?;
            Ok((ours.try_clone()?, ours, worker))
        });
        let (other, socket, worker) = match started {
            Ok(started) => started,
            Err(error) => {
                let command = self.launcher.command.display();
                tracing::error!("The worker {command} could not be started: {error}.");
                return self.ended(Status::Failed);
            }
        };
        tracing::info!(session = self.id, worker = worker.id(), "A session begins.");
        let session = self.clone();
        let listener = std::thread::Builder::new()
            .name(format!("answers-{}", self.id))
            .spawn(move || session.listen(other, worker));
        if let Err(error) = listener {
            tracing::error!("A thread could not be started: {error}.");
            return self.ended(Status::Failed);
        }
        for message in messages {
            if let Err(error) = send(&socket, message) {
                tracing::debug!(session = self.id, "The worker takes no more: {error}");
                break;
            }
        }
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }

    /// Takes the worker's answers until it ends.
    fn listen(self: Arc<Self>, socket: UnixStream, worker: Worker) {
        while let Ok(message) = FromWorker::receive(&socket) {
            match message {
                FromWorker::Wake => self.events.tell(wire::EVENT_WAKE, self.id),
                FromWorker::Answer { token, done } => self.answered(token, done),
                FromWorker::Started { token, answer } => {
                    let waiting = self.state.lock().waiting.remove(&token);
                    if let Some(Waiting::Greeting(ticket)) = waiting {
                        ticket.answer(Status::Ok, self.id, answer.len() as u64, &answer);
                    }
                }
            }
        }
        let _ = socket.shutdown(std::net::Shutdown::Both);
        let id = worker.id();
        let how = worker.reap();
        tracing::info!(session = self.id, worker = id, "The worker {how}.");
        self.ended(Status::Ended);
    }

    fn answered(&self, token: u64, done: bool) {
        let mut state = self.state.lock();
        let waiting = state.waiting.remove(&token);
        if let (Some(Waiting::Removal(_, id)), true) = (&waiting, done)
            && let Some(known) = state.memories.remove(id)
        {
            state.pages -= known.pages;
        }
        drop(state);
        match (waiting, done) {
            (None, _) => {}
            (Some(waiting), false) => waiting.refuse(Status::Invalid),
            (Some(Waiting::Chains(tickets)), true) => {
                for ticket in tickets {
                    ticket.filled(Status::Ok);
                }
            }
            (Some(Waiting::Greeting(ticket)), true) => ticket.refuse(Status::Failed),
            (Some(Waiting::One(ticket) | Waiting::Removal(ticket, _)), true) => ticket.done(),
        }
    }

    fn no_worker(&self) {
        *self.workers.count.lock() -= 1;
        self.workers.ended.notify_all();
    }

    /// The worker is gone: everybody who waits for it learns so.
    fn ended(&self, status: Status) {
        self.no_worker();
        let mut state = self.state.lock();
        let closed = matches!(state.worker, Life::Ended);
        state.worker = Life::Ended;
        let waiting = std::mem::take(&mut state.waiting);
        let transfers = std::mem::take(&mut state.transfers);
        let closing = state.closing.take();
        drop(state);
        for waiting in waiting.into_values() {
            waiting.refuse(status);
        }
        for transfer in transfers.into_values() {
            for (_, ticket) in transfer.parts.into_values() {
                ticket.refuse(status);
            }
        }
        match closing {
            Some(ticket) => ticket.done(),
            None if closed => {}
            None => self.events.tell(wire::EVENT_ENDED, self.id),
        }
    }
}

/// Sends a message; one of the guest's memory with that memory's files.
fn send(socket: &UnixStream, message: Message) -> Result<(), vcuda_transport::TransportError> {
    let Some(memory) = message.memory else {
        return message.content.send(socket, &[]);
    };
    let (mut regions, mut files) = (Vec::new(), Vec::new());
    for region in memory.iter() {
        if let Some(place) = region.file_offset() {
            regions.push(RamRegion {
                address: region.start_addr().0,
                len: region.len(),
                file_offset: place.start(),
            });
            files.push(place.file().as_fd());
        }
    }
    ToWorker::Ram(regions).send(socket, &files)
}
