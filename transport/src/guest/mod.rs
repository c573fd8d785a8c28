// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client in a virtual machine: what the daemon that serves its device and the client's worker
//! say to each other over a Unix socket, and the guest's memory in the worker.
//!
//! The daemon passes the guest's memory on by file descriptor ([`ToWorker::Ram`]) and says which
//! pages of it are what. It looks at none of the client's bytes; the worker trusts none.

mod ram;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};
use vcuda_protocol::handshake::{Hello, Welcome};

use crate::{TransportError, frames};

pub use ram::{Ram, RamError, Reservation};

/// Guest-physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub address: u64,
    pub len: u64,
}

/// A piece of the guest's memory, and where it begins in the file that comes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RamRegion {
    pub address: u64,
    pub len: u64,
    pub file_offset: u64,
}

/// What pages are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    Control,
    /// From this offset of the window on.
    Window(u64),
    /// Memory that the program registered.
    User,
}

/// Daemon to worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The guest's memory, with a file descriptor for each region. Comes first, and again when it
    /// changes.
    Ram(Vec<RamRegion>),
    /// Memory `id` is complete. Answered with [`FromWorker::Answer`].
    Add {
        token: u64,
        id: u64,
        purpose: Purpose,
        segments: Vec<Segment>,
    },
    /// Answered with [`FromWorker::Answer`] when nothing uses it any more.
    Remove { token: u64, id: u64 },
    /// The client's greeting, as it sent it. Answered with [`FromWorker::Started`].
    Start { token: u64, greeting: Vec<u8> },
    /// Memory for one copy. Answered with [`FromWorker::Answer`] when the copy is done.
    Transfer {
        token: u64,
        id: u64,
        segments: Vec<Segment>,
    },
}

/// Worker to daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// What was asked for is done, or cannot be.
    Answer {
        token: u64,
        done: bool,
    },
    Started {
        token: u64,
        answer: Vec<u8>,
    },
    /// A word of the control memory has changed that the client sleeps on.
    Wake,
}

/// A list of pages is long; a greeting is short.
const MAX_MESSAGE: usize = 64 << 20;

impl ToWorker {
    pub fn send(&self, stream: &UnixStream, fds: &[BorrowedFd<'_>]) -> Result<(), TransportError> {
        frames::send(stream, self, fds)
    }

    pub fn receive(stream: &UnixStream) -> Result<(Self, Vec<OwnedFd>), TransportError> {
        frames::receive(stream, MAX_MESSAGE)
    }
}

impl FromWorker {
    pub fn send(&self, stream: &UnixStream) -> Result<(), TransportError> {
        frames::send(stream, self, &[])
    }

    pub fn receive(stream: &UnixStream) -> Result<Self, TransportError> {
        Ok(frames::receive(stream, MAX_MESSAGE)?.0)
    }
}

/// A client's greeting as bytes, for a driver that passes it on.
pub fn encode_hello(hello: &Hello) -> Result<Vec<u8>, TransportError> {
    frames::encode(hello)
}

/// Worker: reads a greeting. One of another build is an error that says so.
pub fn decode_hello(bytes: &[u8]) -> Result<Hello, TransportError> {
    let hello: Hello = frames::decode(bytes)?;
    match hello.protocol == vcuda_protocol::HASH {
        true => Ok(hello),
        false => Err(TransportError::Protocol {
            client: hello.protocol,
            worker: vcuda_protocol::HASH,
        }),
    }
}

pub fn encode_welcome(welcome: &Welcome) -> Result<Vec<u8>, TransportError> {
    frames::encode(welcome)
}

pub fn decode_welcome(bytes: &[u8]) -> Result<Welcome, TransportError> {
    frames::decode(bytes)
}
