// SPDX-License-Identifier: MIT OR Apache-2.0
//! The queues: chains are taken, checked, answered, and returned.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringMutex, VringT};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::Args;
use crate::chain::{self, Chain, Memory, Status, op};
use crate::hostile::{Fault, Hostile};
use crate::session::{self, Effect, Session};

const QUEUE_EVENT: usize = 1;
const QUEUE_TRANSFER: usize = 2;
const QUEUE_SIZE: usize = 1024;
const CONFIG_LEN: usize = 32;
const EVENT_WAKE: u32 = 1;
const EVENT_ENDED: u32 = 2;

type Vring = VringMutex<GuestMemoryAtomic<GuestMemoryMmap<()>>>;

/// What the device saw of the driver.
#[derive(Clone, Debug, Default)]
pub struct Report {
    requests: u64,
    transferred: u64,
    /// Rules that the driver broke.
    violations: Vec<String>,
    /// What it left behind.
    sessions: usize,
    memories: usize,
    chains: usize,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.sessions == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} bytes transferred, {} violations; left are {} sessions, {} memories, {} chains",
            self.requests,
            self.transferred,
            self.violations.len(),
            self.sessions,
            self.memories,
            self.chains
        )
    }
}

/// A chain on its way back: queue, head, and the length used.
#[derive(Debug)]
struct Returned {
    queue: usize,
    head: u16,
    used: u32,
}

struct State {
    memory: Option<GuestMemoryAtomic<GuestMemoryMmap<()>>>,
    backend: Option<Backend>,
    hostile: Option<Hostile>,
    event_idx: bool,
    mute: bool,
    sessions: HashMap<u32, Session>,
    next_session: u32,
    events: VecDeque<(u32, u32, u32)>,
    delayed: Vec<Returned>,
    /// Held back for ever by a mute or hostile device.
    report: Report,
}

pub struct TestDevice {
    queues: usize,
    direct: bool,
    refuse: Option<u64>,
    state: Mutex<State>,
}

impl TestDevice {
    pub fn new(args: &Args) -> Self {
        Self {
            queues: usize::from(args.queues),
            direct: args.direct,
            refuse: args.refuse,
            state: Mutex::new(State {
                memory: None,
                backend: None,
                hostile: args.hostile.map(Hostile::new),
                event_idx: false,
                mute: false,
                sessions: HashMap::new(),
                next_session: 1,
                events: VecDeque::new(),
                delayed: Vec::new(),
                report: Report::default(),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn report(&self) -> Report {
        let state = self.state();
        Report {
            sessions: state.sessions.len(),
            memories: state
                .sessions
                .values()
                .map(|session| session.regions.len())
                .sum(),
            chains: state.sessions.values().map(Session::holds).sum(),
            ..state.report.clone()
        }
    }

    /// Takes one chain from a queue, and returns what there is to return. False when there is none.
    fn serve(&self, state: &mut State, rings: &mut Rings<'_>, queue: usize) -> bool {
        if state.mute {
            return false;
        }
        let Some((head, parsed)) = pop(&rings.memory, &rings.vrings[queue], queue) else {
            return false;
        };
        state.report.requests += 1;
        let mut back = match parsed {
            Ok(chain) => {
                // A command may name transfers that were submitted before its kick: those are in
                // their queues by now, but this device may not have heard of them.
                if chain.header.op == op::KICK {
                    for transfers in QUEUE_TRANSFER..rings.vrings.len() {
                        while self.serve(state, rings, transfers) {}
                    }
                }
                let refuse = self.refuse.is_some_and(|every| {
                    chain.header.session != 0 && state.report.requests.is_multiple_of(every)
                });
                state.answer(&rings.memory.memory(), chain, &self.config(), refuse)
            }
            Err(what) => {
                state.violation(what);
                vec![Returned {
                    queue,
                    head,
                    used: 0,
                }]
            }
        };
        while state.hostile.as_mut().is_some_and(Hostile::releases) {
            let Some(delayed) = state.delayed.pop() else {
                break;
            };
            back.push(delayed);
        }
        for returned in &back {
            let vring = &rings.vrings[returned.queue];
            if returned.head == u16::MAX {
                push_bogus(&rings.memory.memory(), vring, returned.used);
            } else {
                push(vring, returned);
            }
            rings.touched[returned.queue] = true;
        }
        if let Some(hostile) = state.hostile.as_mut()
            && hostile.interrupts()
        {
            let event = hostile.event();
            state.events.push_back(event);
            rings.touched.fill(true);
        }
        state.send_events(rings);
        true
    }

    fn config(&self) -> Vec<u8> {
        let mut config = vec![0; CONFIG_LEN];
        config[0..4].copy_from_slice(b"CUDA");
        config[4..8].copy_from_slice(&1u32.to_le_bytes());
        config[8..12].copy_from_slice(&(self.queues as u32).to_le_bytes());
        config
    }
}

/// What a queue's event comes with.
struct Rings<'a> {
    memory: GuestMemoryAtomic<GuestMemoryMmap<()>>,
    vrings: &'a [Vring],
    /// Where something was put into the used ring.
    touched: Vec<bool>,
}

/// The next chain that the driver has made available.
fn pop(
    memory: &GuestMemoryAtomic<GuestMemoryMmap<()>>,
    vring: &Vring,
    queue: usize,
) -> Option<(u16, std::result::Result<Chain, String>)> {
    let guard = memory.memory();
    let mut ring = vring.get_mut();
    if !ring.is_enabled() || !ring.get_queue().ready() {
        return None;
    }
    let descriptors = ring.get_queue_mut().pop_descriptor_chain(guard.clone())?;
    let head = descriptors.head_index();
    let list = descriptors.map(|descriptor| {
        (
            descriptor.addr(),
            descriptor.len(),
            descriptor.is_write_only(),
        )
    });
    Some((head, Chain::parse(&guard, queue, head, list)))
}

/// Puts a chain into the used ring.
fn push(vring: &Vring, returned: &Returned) {
    let mut ring = vring.get_mut();
    // A driver that has stopped the device uses the ring's memory for other things.
    if ring.is_enabled() && ring.get_queue().ready() {
        let _ = ring.add_used(returned.head, returned.used);
    }
}

/// Puts something into the used ring that is no chain.
fn push_bogus(memory: &Memory, vring: &Vring, id: u32) {
    let mut ring = vring.get_mut();
    if !ring.is_enabled() || !ring.get_queue().ready() {
        return;
    }
    let queue = ring.get_queue_mut();
    let (at, next, size) = (queue.used_ring(), queue.next_used(), queue.size());
    let entry = at + 4 + 8 * u64::from(next % size);
    let _ = memory.write_obj(id, GuestAddress(entry));
    let _ = memory.write_obj(16u32, GuestAddress(entry + 4));
    queue.set_next_used(next.wrapping_add(1));
    let _ = memory.write_obj(next.wrapping_add(1), GuestAddress(at + 2));
}

fn signal(vring: &Vring) {
    if vring.needs_notification().unwrap_or(true) {
        let _ = vring.signal_used_queue();
    }
}

impl State {
    fn violation(&mut self, what: String) {
        eprintln!("vcuda-test-device: VIOLATION: {what}");
        self.report.violations.push(what);
    }

    fn event(&mut self, kind: u32, session: u32) {
        self.events.push_back((kind, session, 8));
    }

    /// Answers a request; the chains that go back.
    fn answer(
        &mut self,
        memory: &Memory,
        chain: Chain,
        config: &[u8],
        refuse: bool,
    ) -> Vec<Returned> {
        let mut back = Vec::new();
        let header = chain.header.clone();
        let fault = self.hostile.as_mut().map_or(Fault::None, Hostile::fault);
        let (mut status, mut session, mut value, mut written) = (Status::Ok, header.session, 0, 0);
        let known = self.sessions.contains_key(&header.session);
        let ended = self
            .sessions
            .get(&header.session)
            .is_some_and(|session| session.ended);
        match header.op {
            op::HELLO => {
                let mut answer = config.to_vec();
                if let Some(hostile) = self.hostile.as_mut()
                    && hostile.hello_lies
                {
                    answer = hostile.configuration(&answer);
                }
                if chain::total(&chain.writable) == answer.len() as u64 {
                    chain::write(memory, &chain.writable, &answer);
                    written = answer.len() as u64;
                } else {
                    self.violation(format!("room for the configuration: {:?}", chain.writable));
                }
            }
            op::SESSION_OPEN => {
                if header.id == 0 {
                    self.violation("a session of no process".into());
                }
                session = self.next_session;
                self.next_session += 1;
                self.sessions.insert(session, Session::default());
            }
            _ if !known => status = Status::NoSession,
            op::SESSION_CLOSE => {
                let chains = self
                    .sessions
                    .remove(&header.session)
                    .map(|mut session| session.take_chains());
                back.extend(
                    chains
                        .into_iter()
                        .flatten()
                        .map(|held| give(memory, &held, Status::Ended, 0)),
                );
            }
            op::MEMORY_REMOVE => {
                let gone = self
                    .sessions
                    .get_mut(&header.session)
                    .and_then(|session| session.regions.remove(&header.id));
                if gone.is_none() && !refuse {
                    status = Status::Invalid;
                }
            }
            _ if ended => status = Status::Ended,
            _ if refuse => status = Status::NoMemory,
            op::START => {
                let mut answer = chain.payload(memory);
                if answer.len() as u64 != header.len {
                    self.violation(format!("a greeting of {} bytes: {header:?}", answer.len()));
                }
                answer.reverse();
                answer.truncate(chain::total(&chain.writable) as usize);
                chain::write(memory, &chain.writable, &answer);
                (value, written) = (answer.len() as u64, answer.len() as u64);
                if let Some(hostile) = self.hostile.as_mut() {
                    value = if hostile.lies() {
                        u64::from(hostile.event().2)
                    } else {
                        value
                    };
                }
            }
            op::KICK => {
                let effects = self
                    .sessions
                    .get_mut(&header.session)
                    .map(|session| session.run(memory))
                    .unwrap_or_default();
                self.apply(memory, header.session, effects, &mut back);
            }
            op::MEMORY_ADD => {
                let added = self
                    .sessions
                    .get_mut(&header.session)
                    .map(|session| session::add(session, memory, &chain));
                if let Some(Err(what)) = added {
                    self.violation(what);
                    status = Status::Invalid;
                }
            }
            op::TRANSFER => {
                self.report.transferred +=
                    chain::total(&chain.readable) + chain::total(&chain.writable);
                let held = self
                    .sessions
                    .get_mut(&header.session)
                    .map(|session| session::hold(session, chain));
                match held {
                    Some(Err(what)) => self.violation(what),
                    _ => return back,
                }
                return back;
            }
            _ => {
                self.violation(format!("operation {}", header.op));
                status = Status::Invalid;
            }
        }
        let mut code = status as u32;
        match fault {
            Fault::Status(other) => code = other,
            Fault::Session(other) => session = other,
            _ => {}
        }
        let used = if fault == Fault::Silent {
            chain::RESPONSE_LEN as u32
        } else {
            chain.respond(memory, code, session, value, written)
        };
        let returned = Returned {
            queue: chain.queue,
            head: chain.head,
            used,
        };
        self.misuse(fault, returned, &mut back);
        back
    }

    /// Returns a chain in the way of the fault; those that need no ring.
    fn misuse(&mut self, fault: Fault, mut returned: Returned, back: &mut Vec<Returned>) {
        match fault {
            Fault::Drop => return,
            Fault::Delay => {
                self.delayed.push(returned);
                return;
            }
            Fault::Length(len) => returned.used = len,
            Fault::Twice => back.push(Returned { ..returned }),
            Fault::Bogus(id) => back.push(Returned {
                queue: returned.queue,
                head: u16::MAX,
                used: id,
            }),
            _ => {}
        }
        back.push(returned);
    }

    fn apply(&mut self, memory: &Memory, id: u32, effects: Vec<Effect>, back: &mut Vec<Returned>) {
        for effect in effects {
            match effect {
                Effect::Wake(count) => {
                    (0..count.min(10_000)).for_each(|_| self.event(EVENT_WAKE, id))
                }
                Effect::Return(chain, written) => {
                    let fault = self.hostile.as_mut().map_or(Fault::None, Hostile::fault);
                    let status = if let Fault::Status(_) = fault {
                        Status::Invalid
                    } else {
                        Status::Ok
                    };
                    let returned = give(memory, &chain, status, written);
                    self.misuse(fault, returned, back);
                }
                Effect::End => {
                    let chains = self
                        .sessions
                        .get_mut(&id)
                        .map(Session::take_chains)
                        .unwrap_or_default();
                    back.extend(
                        chains
                            .iter()
                            .map(|chain| give(memory, chain, Status::Ended, 0)),
                    );
                    self.event(EVENT_ENDED, id);
                }
                Effect::Mute => self.mute = true,
            }
        }
    }

    /// Fills event buffers, as far as there are some.
    fn send_events(&mut self, rings: &Rings<'_>) {
        let (guard, vring) = (rings.memory.memory(), &rings.vrings[QUEUE_EVENT]);
        let mut any = false;
        while let Some((kind, session, used)) = self.events.pop_front() {
            let mut ring = vring.get_mut();
            let ready = ring.is_enabled() && ring.get_queue().ready() && !self.mute;
            let buffer = ready.then(|| ring.get_queue_mut().pop_descriptor_chain(guard.clone()));
            let Some(mut descriptors) = buffer.flatten() else {
                self.events.push_front((kind, session, used));
                break;
            };
            let head = descriptors.head_index();
            match descriptors.next() {
                Some(buffer) if buffer.is_write_only() && buffer.len() == 8 => {
                    let _ = guard.write_obj(kind, buffer.addr());
                    let _ = guard.write_obj(session, GuestAddress(buffer.addr().0 + 4));
                }
                other => {
                    drop(ring);
                    self.violation(format!("an event buffer {other:?}"));
                    continue;
                }
            }
            let _ = ring.add_used(head, used);
            any = true;
        }
        if any {
            signal(vring);
        }
    }
}

/// Answers a held chain.
fn give(memory: &Memory, chain: &Chain, status: Status, written: u64) -> Returned {
    let used = chain.respond(memory, status as u32, chain.header.session, 0, written);
    Returned {
        queue: chain.queue,
        head: chain.head,
        used,
    }
}

impl VhostUserBackend for TestDevice {
    type Bitmap = ();
    type Vring = Vring;

    fn num_queues(&self) -> usize {
        self.queues
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        let indirect = if self.direct {
            0
        } else {
            1 << VIRTIO_RING_F_INDIRECT_DESC
        };
        1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_EVENT_IDX
            | indirect
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        // User-mode Linux needs BACKEND_REQ.
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
    }

    /// A driver starts: whatever an earlier one had is gone.
    fn acked_features(&self, _features: u64) {
        let mut state = self.state();
        let left: usize = state.sessions.len();
        if left > 0 {
            eprintln!("vcuda-test-device: the driver was stopped with {left} sessions open");
        }
        state.sessions.clear();
        state.events.clear();
        state.delayed.clear();
        state.mute = false;
        if let Some(hostile) = state.hostile.as_mut() {
            hostile.draw();
        }
    }

    fn set_event_idx(&self, enabled: bool) {
        self.state().event_idx = enabled;
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut config = self.config();
        if let Some(hostile) = self.state().hostile.as_mut()
            && hostile.config_lies
        {
            config = hostile.configuration(&config);
        }
        let from = (offset as usize).min(config.len());
        let mut part = config.split_off(from);
        part.resize(size as usize, 0);
        part
    }

    fn set_backend_req_fd(&self, backend: Backend) {
        self.state().backend = Some(backend);
    }

    fn update_memory(&self, memory: GuestMemoryAtomic<GuestMemoryMmap<()>>) -> Result<()> {
        self.state().memory = Some(memory);
        Ok(())
    }

    fn handle_event(
        &self,
        queue: u16,
        _events: EventSet,
        vrings: &[Vring],
        _thread: usize,
    ) -> Result<()> {
        let queue = usize::from(queue);
        let mut state = self.state();
        let (Some(memory), Some(vring)) = (state.memory.clone(), vrings.get(queue)) else {
            return Ok(());
        };
        let mut rings = Rings {
            memory,
            vrings,
            touched: vec![false; vrings.len()],
        };
        // Something may have come between looking and asking to be told; but a ring that says so
        // twice, and has nothing, is broken or stopped.
        let mut idle = 0;
        while idle < 2 {
            let _ = vring.disable_notification();
            idle += 1;
            if queue == QUEUE_EVENT {
                state.send_events(&rings);
            } else {
                while self.serve(&mut state, &mut rings, queue) {
                    idle = 0;
                }
            }
            if state.mute || !vring.enable_notification().unwrap_or(false) {
                break;
            }
        }
        for (vring, touched) in vrings.iter().zip(rings.touched) {
            if touched {
                signal(vring);
            }
        }
        Ok(())
    }
}
