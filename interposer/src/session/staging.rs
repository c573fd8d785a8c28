// SPDX-License-Identifier: MIT OR Apache-2.0
//! The staging area: chunks of the window through which pageable memory travels.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use parking_lot::{Condvar, Mutex, MutexGuard};
use vcuda_protocol::layout::*;

use super::{HEARTBEAT, Session, parallel_copy, wait_word};
use crate::Result;

/// Chunks in use where one thread copies: it would run far ahead of the worker, through more memory
/// than the caches hold, and both sides would move a third less.
const FEW_CHUNKS: usize = 4;

/// Which chunks this process holds. One that it lent to the worker is free again when the worker
/// says so in the control memory.
pub(super) struct Staging {
    chunks: Mutex<Chunks>,
    returned: Condvar,
}

struct Chunks {
    held: [bool; STAGING_CHUNKS],
    /// Those that there is memory behind.
    backed: [bool; STAGING_CHUNKS],
    /// Chunks that were lent, the oldest first. Those at the front may be free again.
    lent: VecDeque<usize>,
}

/// One chunk, held by the calling thread.
pub(crate) struct Chunk {
    session: &'static Session,
    index: usize,
}

fn busy_word(index: usize) -> usize {
    STAGING_BUSY + index * STAGING_BUSY_STRIDE
}

fn is_busy(session: &Session, index: usize) -> bool {
    let word = session.control.u32(busy_word(index));
    word.load(Ordering::Acquire) != 0
}

impl Staging {
    pub(super) fn new() -> Self {
        Staging {
            chunks: Mutex::new(Chunks {
                held: [false; STAGING_CHUNKS],
                backed: [false; STAGING_CHUNKS],
                lent: VecDeque::new(),
            }),
            returned: Condvar::new(),
        }
    }

    /// Takes the first free chunk, so that few pages are touched; waits where all are in use.
    pub(super) fn take(&self, session: &'static Session) -> Result<Chunk> {
        let mut chunks = self.chunks.lock();
        loop {
            if let Some(chunk) = chunks.take(session)? {
                return Ok(chunk);
            }
            match chunks.lent.front().copied() {
                // The worker releases them in about this order.
                Some(oldest) => {
                    MutexGuard::unlocked(&mut chunks, || wait_word(session, busy_word(oldest), 1))?;
                }
                None => {
                    self.returned.wait_for(&mut chunks, HEARTBEAT);
                    session.check_alive()?;
                }
            }
        }
    }

    /// The same without waiting. For a thread that holds some already: if several waited for more,
    /// none would get any.
    pub(super) fn take_free(&self, session: &'static Session) -> Result<Option<Chunk>> {
        self.chunks.lock().take(session)
    }
}

impl Chunks {
    fn take(&mut self, session: &'static Session) -> Result<Option<Chunk>> {
        while self.lent.front().is_some_and(|&i| !is_busy(session, i)) {
            self.lent.pop_front();
        }
        // The threads of several processors keep more of them busy.
        let usable = match parallel_copy::is_parallel() {
            true => STAGING_CHUNKS,
            false => FEW_CHUNKS,
        };
        let free = (0..usable).find(|&i| !self.held[i] && !is_busy(session, i));
        let Some(index) = free else {
            return Ok(None);
        };
        if !self.backed[index] {
            session.back(index as u64 * STAGING_CHUNK_LEN, STAGING_CHUNK_LEN)?;
            self.backed[index] = true;
        }
        self.held[index] = true;
        Ok(Some(Chunk { session, index }))
    }
}

impl Chunk {
    /// Where the chunk lies in the window.
    pub(crate) fn offset(&self) -> u64 {
        self.index as u64 * STAGING_CHUNK_LEN
    }

    /// The chunk's memory. Its length is [`STAGING_CHUNK_LEN`].
    pub(crate) fn pointer(&self) -> *mut u8 {
        (self.session.window_base + self.offset()) as *mut u8
    }

    /// Leaves the chunk to the worker, which releases it by this number once it has read it. The
    /// caller puts the number into the command that it posts next.
    pub(crate) fn lend(&self) -> u32 {
        self.session
            .control
            .u32(busy_word(self.index))
            .store(1, Ordering::Release);
        let mut chunks = self.session.staging.chunks.lock();
        chunks.lent.retain(|&i| i != self.index);
        chunks.lent.push_back(self.index);
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
        let staging = &self.session.staging;
        staging.chunks.lock().held[self.index] = false;
        staging.returned.notify_one();
    }
}
