// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring as a hostile client leaves it: any content, any tail.
#![no_main]

use std::sync::atomic::Ordering;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vcuda_protocol::layout::{CONTROL_LEN, RING, RING_TAIL, SLOTS};
use vcuda_protocol::notify::Yield;
use vcuda_protocol::ring::Consumer;
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{slots, wire};

fuzz_target!(|data: &[u8]| {
    let Some((tail, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    let memory = SharedMemory::anonymous(CONTROL_LEN);
    let _ = memory.write(RING, rest) && memory.write(SLOTS, rest);
    memory.u64(RING_TAIL).store(u64::from_le_bytes(*tail), Ordering::Release);
    let mut consumer = Consumer::new(memory.clone()).expect("the memory is large enough");
    let mut message = Vec::new();
    while let Ok(true) = consumer.pop(&mut message, &Yield) {
        let _ = wire::decode(&message);
    }
    let _ = wire::decode(rest);
    let _ = wire::decode_reply(rest);
    let _ = slots::wait(&memory, 0, &Yield, Duration::ZERO);
});
