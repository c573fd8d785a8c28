// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker is a process of this machine: memory by memfd, futexes, a Unix socket.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use vcuda_protocol::notify::Notify;

use super::{InPlace, Link};
use crate::{Futex, Memory, hung_up};

/// See the [module](self).
pub struct LocalLink {
    socket: UnixStream,
    window: Memory,
}

impl LocalLink {
    /// The socket that the worker was greeted on, and the window that it was given.
    pub fn new(socket: UnixStream, window: Memory) -> Self {
        LocalLink { socket, window }
    }
}

impl Notify for LocalLink {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        Futex.wait(word, expected, timeout);
    }

    fn wake(&self, word: &AtomicU32) {
        Futex.wake(word);
    }
}

impl Link for LocalLink {
    fn has_ended(&self) -> bool {
        hung_up(&self.socket)
    }

    /// Pages of the window come into being when they are touched.
    fn back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        self.window.discard(offset, len)
    }

    fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn in_place(&self) -> Option<&dyn InPlace> {
        None
    }
}
