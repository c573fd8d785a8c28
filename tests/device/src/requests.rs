// SPDX-License-Identifier: MIT OR Apache-2.0
//! What requests do, and how they are answered.

use std::collections::{HashMap, VecDeque};

use vhost::vhost_user::Backend;
use vhost_user_backend::VringT;
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

use crate::chain::{self, Chain, Memory, Status, op};
use crate::hostile::{Fault, Hostile};
use crate::report::Report;
use crate::rings::{QUEUE_EVENT, Returned, Rings, signal};
use crate::session::{self, Effect, Session};

const EVENT_WAKE: u32 = 1;
const EVENT_ENDED: u32 = 2;

/// What the device knows of the driver, and what it owes it.
pub struct State {
    pub memory: Option<GuestMemoryAtomic<GuestMemoryMmap<()>>>,
    pub backend: Option<Backend>,
    pub hostile: Option<Hostile>,
    pub event_idx: bool,
    pub mute: bool,
    pub sessions: HashMap<u32, Session>,
    pub next_session: u32,
    pub events: VecDeque<(u32, u32, u32)>,
    /// Held back by a hostile device.
    pub delayed: Vec<Returned>,
    pub report: Report,
}

impl State {
    pub fn violation(&mut self, what: String) {
        eprintln!("vcuda-test-device: VIOLATION: {what}");
        self.report.violations.push(what);
    }

    fn event(&mut self, kind: u32, session: u32) {
        self.events.push_back((kind, session, 8));
    }

    /// Answers a request; the chains that go back.
    pub fn answer(
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
    pub fn send_events(&mut self, rings: &Rings<'_>) {
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
