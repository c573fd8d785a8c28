// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands, replies, ring, handshake and trace format of vcuda.
//!
//! A CUDA program's calls become [`Command`]s at about the level of the Driver API. The client
//! writes them, in one order per session, into a [`ring`] in memory that it shares with a worker;
//! answers come back through reply [`slots`]; bulk data lies in a second piece of shared memory,
//! the window. A recording is the same stream in a file.
//!
//! This crate knows no transport (who maps the memory, who wakes whom is behind
//! [`notify::Notify`]) and no CUDA library (a status is a number, a function name is an index).
//!
//! ```
//! use vcuda_protocol::{Command, Header, Stream, wire};
//! let header = Header { sequence: 1, api: 7, thread: 1, time: 0, slot: None };
//! let command = Command::EventRecord { event: 3, stream: Stream { device: 0, id: 0 } };
//! let mut bytes = Vec::new();
//! wire::encode(&mut bytes, &header, &command).unwrap();
//! assert_eq!(wire::decode(&bytes).unwrap(), (header, command));
//! ```

pub mod array;
pub mod command;
pub mod handshake;
pub mod layout;
pub mod notify;
pub mod output;
pub mod ring;
pub mod scattered;
pub mod shared;
mod short;
pub mod slots;
pub mod trace;
pub mod types;
pub mod wire;

pub use array::{Array, texel_bytes};
pub use command::{Answer, Command, Header, NO_FUNCTION};
pub use types::*;

/// FNV-1a over the sources that decide what the bytes mean. Client and worker compare it when they
/// meet, so that a stale library beside a new worker is an error that says so.
pub const HASH: u64 = {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    hash = fnv(hash, include_bytes!("types.rs"));
    hash = fnv(hash, include_bytes!("array.rs"));
    hash = fnv(hash, include_bytes!("command.rs"));
    hash = fnv(hash, include_bytes!("wire.rs"));
    hash = fnv(hash, include_bytes!("layout.rs"));
    hash = fnv(hash, include_bytes!("output.rs"));
    hash = fnv(hash, include_bytes!("ring.rs"));
    fnv(hash, include_bytes!("slots.rs"))
};

const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        i += 1;
    }
    hash
}
