// SPDX-License-Identifier: MIT OR Apache-2.0
//! The virtqueues, as a vhost-user back end (QEMU's docs/interop/vhost-user.rst).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use vhost::vhost_user::Backend;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VringRwLock, VringT};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};
use virtio_queue::QueueT;
use vm_memory::{GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

use crate::chain::{self, Chain, Checked};
use crate::device::{Device, EventQueue, Events};
use crate::process::Launcher;
use crate::queue::{Memory, Order, Used};
use crate::wire::{self, EVENT_LEN, QUEUE_CONTROL, QUEUE_EVENT};

/// Control, events, and two for transfers.
const QUEUES: usize = 4;
const QUEUE_SIZE: usize = 1024;

type GuestMemoryHandle = GuestMemoryAtomic<GuestMemoryMmap>;

/// One virtqueue, once the monitor has set it up.
struct Queue {
    index: usize,
    vring: OnceLock<VringRwLock>,
    generation: AtomicU32,
}

impl Queue {
    /// Takes the next chain that the driver made available.
    fn next(&self, memory: &Memory) -> Option<(u16, Checked)> {
        let vring = self.vring.get()?;
        let mut state = vring.get_mut();
        let queue = state.get_queue_mut();
        if !queue.ready() {
            return None;
        }
        let chain = queue.pop_descriptor_chain(memory.clone())?;
        drop(state);
        Some((chain.head_index(), Chain::new(chain)))
    }
}

impl Used for Queue {
    fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    fn give_back(&self, head: u16, len: u32) {
        let Some(vring) = self.vring.get() else {
            return;
        };
        let given = vring
            .add_used(head, len)
            .and_then(|()| vring.needs_notification());
        match given {
            Ok(true) => {
                if let Err(error) = vring.signal_used_queue() {
                    tracing::debug!("The driver could not be signalled: {error}.");
                }
            }
            Ok(false) => {}
            Err(error) => tracing::warn!("Queue {} takes no used chain: {error}.", self.index),
        }
    }
}

/// The event queue, from any thread.
struct EventRing {
    queue: Arc<Queue>,
    memory: GuestMemoryHandle,
}

impl EventQueue for EventRing {
    fn push(&self, event: &[u8; EVENT_LEN]) -> bool {
        let memory = self.memory.memory();
        loop {
            let Some((head, (chain, checked))) = self.queue.next(&memory) else {
                return false;
            };
            let written = match checked {
                Ok(()) => chain::write(&*memory, &chain.writable, event),
                Err(_) => None,
            };
            // A buffer that is none is given back empty, and another is tried.
            let len = if written.is_some() { EVENT_LEN } else { 0 };
            self.queue.give_back(head, len as u32);
            if written.is_some() {
                return true;
            }
        }
    }
}

/// See the [module](self).
pub struct VcudaBackend {
    device: Device,
    queues: Vec<Arc<Queue>>,
    memory: GuestMemoryHandle,
    event_idx: AtomicBool,
    exit: Vec<(EventConsumer, EventNotifier)>,
    /// User-mode Linux takes interrupts only from a back end that keeps this.
    frontend: Mutex<Option<Backend>>,
}

impl VcudaBackend {
    pub fn new(
        memory: GuestMemoryHandle,
        max_sessions: u32,
        launcher: Arc<Launcher>,
    ) -> io::Result<Self> {
        let queues: Vec<_> = (0..QUEUES)
            .map(|index| {
                Arc::new(Queue {
                    index,
                    vring: OnceLock::new(),
                    generation: AtomicU32::new(0),
                })
            })
            .collect();
        let events = Events::new(Box::new(EventRing {
            queue: queues[QUEUE_EVENT].clone(),
            memory: memory.clone(),
        }));
        let exit = (0..QUEUES)
            .map(|_| new_event_consumer_and_notifier(EventFlag::NONBLOCK))
            .collect::<io::Result<_>>()?;
        Ok(VcudaBackend {
            device: Device::new(QUEUES, max_sessions, launcher, events),
            queues,
            memory,
            event_idx: AtomicBool::new(false),
            exit,
            frontend: Mutex::new(None),
        })
    }

    /// Ends all sessions: the monitor is gone, or the daemon is to end.
    pub fn end(&self) {
        for queue in &self.queues {
            queue.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.device.reset();
    }

    /// Executes all that is in a queue. Says whether there was anything.
    fn drain(&self, queue: &Arc<Queue>) -> bool {
        let memory = self.memory.memory();
        let mut any = false;
        while let Some((head, chain)) = queue.next(&memory) {
            any = true;
            let Some(order) = Order::take(queue.clone(), head, memory.clone(), chain) else {
                continue;
            };
            match queue.index {
                QUEUE_CONTROL => self.device.control(order),
                _ => self.device.transfer(order),
            }
        }
        any
    }
}

impl VhostUserBackend for VcudaBackend {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        QUEUES
    }

    fn max_queue_size(&self) -> usize {
        QUEUE_SIZE
    }

    fn features(&self) -> u64 {
        (1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_RING_F_INDIRECT_DESC)
            | (1 << VIRTIO_RING_F_EVENT_IDX)
            | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::REPLY_ACK
    }

    /// A driver begins. User-mode Linux does not say when it resets the device: what an earlier
    /// driver had ends here.
    fn acked_features(&self, _features: u64) {
        self.device.reset();
    }

    fn set_event_idx(&self, enabled: bool) {
        self.event_idx.store(enabled, Ordering::Relaxed);
    }

    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let config = wire::config(QUEUES);
        let start = (offset as usize).min(config.len());
        let end = start.saturating_add(size as usize).min(config.len());
        let mut bytes = config[start..end].to_vec();
        // A monitor may have a larger configuration space; what is not ours reads as zeros.
        bytes.resize((size as usize).min(256), 0);
        bytes
    }

    fn update_memory(&self, memory: GuestMemoryHandle) -> io::Result<()> {
        self.device.memory_changed(&memory.memory());
        Ok(())
    }

    fn set_backend_req_fd(&self, backend: Backend) {
        *self.frontend.lock() = Some(backend);
    }

    fn queues_per_thread(&self) -> Vec<u64> {
        (0..QUEUES).map(|queue| 1 << queue).collect()
    }

    fn exit_event(&self, thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        let (consumer, notifier) = self.exit.get(thread)?;
        Some((consumer.try_clone().ok()?, notifier.try_clone().ok()?))
    }

    /// The driver resets the device, or the virtual machine stops: the guest takes its memory back
    /// once this has returned.
    fn stop_vring(&self, index: u32) -> io::Result<()> {
        if let Some(queue) = self.queues.get(index as usize) {
            queue.generation.fetch_add(1, Ordering::AcqRel);
        }
        tracing::debug!("Queue {index} is stopped.");
        self.device.reset();
        Ok(())
    }

    fn handle_event(
        &self,
        _event: u16,
        _set: EventSet,
        vrings: &[VringRwLock],
        thread: usize,
    ) -> io::Result<()> {
        // Each thread has one queue.
        let (Some(queue), Some(vring)) = (self.queues.get(thread), vrings.first()) else {
            return Ok(());
        };
        let _ = queue.vring.set(vring.clone());
        if queue.index == QUEUE_EVENT {
            // Its buffers stay until there are events.
            self.device.events().buffers_came();
            return Ok(());
        }
        if !self.event_idx.load(Ordering::Relaxed) {
            self.drain(queue);
            return Ok(());
        }
        let mut fruitless = 0;
        loop {
            vring.disable_notification().map_err(io::Error::other)?;
            let any = self.drain(queue);
            if !vring.enable_notification().map_err(io::Error::other)? {
                return Ok(());
            }
            // A driver that announces chains which are none must not keep this thread busy: it
            // has to kick again.
            fruitless = if any { 0 } else { fruitless + 1 };
            if fruitless > 1 {
                tracing::warn!("Queue {} announces chains that are none.", queue.index);
                return Ok(());
            }
        }
    }
}
