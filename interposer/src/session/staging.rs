// SPDX-License-Identifier: MIT OR Apache-2.0
//! The staging area: chunks of the window through which pageable memory travels.

use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use vcuda_protocol::layout::*;

use super::{Session, wait_word};
use crate::Result;

/// Which chunks this process holds. One that it posted to the worker is free again when the
/// worker says so in the control memory.
pub(super) struct Staging(Mutex<Chunks>);

struct Chunks {
    held: [bool; STAGING_CHUNKS],
    next: usize,
}

/// One chunk, held by the calling thread.
pub(crate) struct Chunk {
    session: &'static Session,
    index: usize,
}

fn busy_word(index: usize) -> usize {
    STAGING_BUSY + index * STAGING_BUSY_STRIDE
}

impl Staging {
    pub(super) fn new() -> Self {
        Staging(Mutex::new(Chunks {
            held: [false; STAGING_CHUNKS],
            next: 0,
        }))
    }

    /// Takes the next chunk in turn; waits where all are in use.
    pub(super) fn take(&self, session: &'static Session) -> Result<Chunk> {
        loop {
            let mut chunks = self.0.lock();
            let start = chunks.next;
            let mut order = (0..STAGING_CHUNKS).map(|i| (start + i) % STAGING_CHUNKS);
            let free = order.find(|&index| {
                !chunks.held[index]
                    && session
                        .control
                        .u32(busy_word(index))
                        .load(Ordering::Acquire)
                        == 0
            });
            if let Some(index) = free {
                chunks.held[index] = true;
                chunks.next = (index + 1) % STAGING_CHUNKS;
                return Ok(Chunk { session, index });
            }
            drop(chunks);
            // Chunks are used in turn, so the next one is the first to be released.
            wait_word(session, busy_word(start), 1)?;
            std::thread::yield_now();
        }
    }
}

impl Chunk {
    /// Where the chunk lies in the window.
    pub(crate) fn offset(&self) -> u64 {
        self.index as u64 * STAGING_CHUNK_LEN
    }

    /// The chunk's memory. Its length is [`STAGING_CHUNK_LEN`].
    pub(crate) fn pointer(&self) -> *mut u8 {
        (self.session.window.address() + self.offset()) as *mut u8
    }

    /// Leaves the chunk to the worker, which releases it by this number once it has read it. The
    /// caller puts the number into the command that it posts next.
    pub(crate) fn lend(&self) -> u32 {
        self.session
            .control
            .u32(busy_word(self.index))
            .store(1, Ordering::Release);
        self.index as u32
    }

    /// Takes a chunk back that was lent in a command that could not be sent.
    pub(crate) fn take_back(&self) {
        self.session
            .control
            .u32(busy_word(self.index))
            .store(0, Ordering::Release);
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.session.staging.0.lock().held[self.index] = false;
    }
}
