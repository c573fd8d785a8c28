// SPDX-License-Identifier: MIT OR Apache-2.0
//! The queues: chains are taken, checked, answered, and returned.

use std::collections::{HashMap, VecDeque};
use std::io::Result;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringT};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::Args;
use crate::chain::op;
use crate::hostile::Hostile;
use crate::report::Report;
use crate::requests::State;
use crate::rings::{QUEUE_EVENT, Returned, Rings, Vring, pop, push, push_bogus, signal};
use crate::session::Session;

const QUEUE_TRANSFER: usize = 2;
const QUEUE_SIZE: usize = 1024;
const CONFIG_LEN: usize = 32;

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
