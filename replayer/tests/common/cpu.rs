// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client of a CPU device, with kernels loaded.

use vcuda_protocol::*;
use vcuda_replayer::Window;
use vcuda_replayer::devices::cpu::{CpuDevice, CpuOptions};

use super::*;

pub const KERNELS: &[u8] = include_bytes!("kernels.ptx");

pub const NOTHING: u32 = 1;
pub const WAIT: u32 = 2;
pub const SET: u32 = 3;
pub const CARRY: u32 = 4;
pub const STRAY: u32 = 5;
pub const SMALL: u32 = 6;
pub const ROOMY: u32 = 7;

/// A pinned word that holds kernels back, and its address.
pub const FLAG: u64 = HOST;
pub const FLAG_ADDRESS: u64 = WINDOW_BASE + HOST;
/// Another one, which kernels write.
pub const SEEN: u64 = HOST + 256;
pub const SEEN_ADDRESS: u64 = WINDOW_BASE + SEEN;

pub const MEMORY: u64 = 64 << 20;

pub fn options() -> CpuOptions {
    let mut options = CpuOptions::default();
    options.memory = MEMORY;
    options.threads = 2;
    options
}

/// A client with the kernels loaded and a pinned page for flags.
pub fn client_with(options: CpuOptions) -> (Client, u64) {
    let window: Window = window();
    let devices = CpuDevice::create(options, Some(&window)).unwrap();
    let mut client = Client::new(devices, window, None);
    prepare(&mut client);
    let heap = client.info(0).heap_base;
    (client, heap)
}

pub fn client() -> (Client, u64) {
    client_with(options())
}

pub fn prepare(client: &mut Client) {
    let info = client.load(1, KERNELS);
    assert_eq!(info.status, Status::SUCCESS, "{}", info.error_log);
    assert_eq!(info.kernels, 7);
    for (function, name) in [
        (NOTHING, "nothing"),
        (WAIT, "wait"),
        (SET, "set"),
        (CARRY, "carry"),
        (STRAY, "stray"),
        (SMALL, "small"),
        (ROOMY, "roomy"),
    ] {
        client.function(1, function, name).unwrap();
    }
    client.host_alloc(HOST, 4096);
}
