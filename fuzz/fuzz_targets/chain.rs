// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device whose driver is hostile: any descriptors, any requests, in any order. Workers cannot be started.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vcuda_daemon::Launcher;
use vcuda_daemon::chain::Chain;
use vcuda_daemon::device::{Device, EventQueue, Events};
use vcuda_daemon::queue::{Order, Used};
use vcuda_daemon::wire::EVENT_LEN;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap};

const LEN: usize = 1 << 20;
const SIZE: u16 = 16;

struct Nothing;

impl Used for Nothing {
    fn generation(&self) -> u32 {
        0
    }
    fn give_back(&self, _head: u16, _len: u32) {}
}

impl EventQueue for Nothing {
    fn push(&self, _event: &[u8; EVENT_LEN]) -> bool {
        true
    }
}

fuzz_target!(|data: &[u8]| {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), LEN)]).expect("memory");
    // Descriptor table, rings and buffers are all of the driver's making.
    let _ = memory.write(data, GuestAddress(0));
    let memory = GuestMemoryAtomic::new(memory).memory();
    let launcher = Launcher {
        command: "".into(),
        arguments: Vec::new(),
    };
    let device = Device::new(4, 4, Arc::new(launcher), Events::new(Box::new(Nothing)));
    let mut queue = Queue::new(SIZE).expect("a queue");
    queue.set_size(SIZE);
    queue.set_desc_table_address(Some(0), Some(0));
    queue.set_avail_ring_address(Some(0x100), Some(0));
    queue.set_used_ring_address(Some(0x200), Some(0));
    queue.set_ready(true);
    for turn in 0..SIZE {
        let Some(chain) = queue.pop_descriptor_chain(memory.clone()) else {
            break;
        };
        let head = chain.head_index();
        let order = Order::take(Arc::new(Nothing), head, memory.clone(), Chain::new(chain));
        match (order, turn % 4) {
            (Some(order), 3) => device.transfer(order),
            (Some(order), _) => device.control(order),
            (None, _) => {}
        }
    }
    device.reset();
});
