// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a client and a worker meet. On one machine: shared memory by memfd, futexes, and a Unix
//! socket over which they greet each other and by whose end each learns that the other is gone.
//! From a virtual machine: through the driver's device file on one side ([`link::DeviceFile`]),
//! pages of the guest's memory on the other ([`guest`]).
//!
//! This crate knows where memory comes from and how a side is woken; what lies in the memory is
//! `vcuda-protocol`'s affair.
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use vcuda_protocol::handshake::{Hello, Welcome};
//! use vcuda_transport::{Memory, accept, greet, layout};
//!
//! let (ours, theirs) = UnixStream::pair()?;
//! let worker = std::thread::spawn(move || {
//!     let guest = accept(&theirs).unwrap();
//!     guest.welcome(&theirs, 1).unwrap();
//!     guest.hello.program
//! });
//! let control = Memory::create("control", layout::CONTROL_LEN as u64)?;
//! let window = Memory::create("window", layout::STAGING_LEN)?;
//! let hello = Hello {
//!     protocol: vcuda_protocol::HASH,
//!     functions: 0,
//!     pid: 1,
//!     program: "a.out".into(),
//!     window_len: layout::STAGING_LEN,
//!     window_base: 0,
//!     record: None,
//! };
//! assert_eq!(greet(&ours, &hello, &control, &window)?, Welcome::accepted(1));
//! assert_eq!(worker.join().unwrap(), "a.out");
//! # Ok::<(), vcuda_transport::TransportError>(())
//! ```

mod frames;
mod futex;
pub mod guest;
pub mod link;
mod memory;
mod say;
mod socket;

pub use futex::Futex;
pub use memory::{Mapping, Memory};
pub use say::{is_redirected, print, print_error, redirect, say_line};
pub use socket::{Guest, accept, greet, hung_up, wait_for_hangup};
pub use vcuda_protocol::layout;

use std::io;

/// Why two processes could not meet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("Shared memory of {len} bytes could not be made: {source}.")]
    Create { len: u64, source: io::Error },
    #[error("Shared memory of {len} bytes could not be mapped{}: {source}.", at_address(*.at))]
    Map {
        len: u64,
        at: Option<u64>,
        source: io::Error,
    },
    #[error("Shared memory from the peer is not sealed against resizing, so it cannot be trusted.")]
    NotSealed,
    #[error("Shared memory from the peer has {found} bytes where {expected} were announced.")]
    WrongSize { found: u64, expected: u64 },
    #[error("The peer's socket failed: {0}.")]
    Socket(#[from] io::Error),
    #[error("The peer closed its socket before it said anything.")]
    Closed,
    #[error("The peer's first message is not understood: {0}")]
    Message(String),
    #[error("A message came or was to go with {0} file descriptors, which do not belong to it.")]
    Descriptors(usize),
    #[error(
        "The client speaks vcuda protocol {client:016x} and the worker {worker:016x}: the library and the worker come from different builds. Install both from one build."
    )]
    Protocol { client: u64, worker: u64 },
}

fn at_address(at: Option<u64>) -> String {
    at.map(|at| format!(" at {at:#x}")).unwrap_or_default()
}
