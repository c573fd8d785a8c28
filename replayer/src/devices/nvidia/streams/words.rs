// SPDX-License-Identifier: MIT OR Apache-2.0
//! Words of pinned memory that streams write and wait for.

use std::sync::atomic::{AtomicU32, Ordering};

use vcuda_protocol::Status;

use super::super::machine::Machine;
use crate::status;

/// A word of pinned memory that the device writes or waits for. It is never given back to the
/// driver while its context lives.
#[derive(Clone, Copy)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) fn value(&self) -> &AtomicU32 {
        // SAFETY: the address is of an aligned word of pinned memory, which stays until the
        // context is destroyed; who holds a word is gone by then.
        unsafe { AtomicU32::from_ptr(self.0 as *mut u32) }
    }
}

/// Pinned words that are not in use.
#[derive(Default)]
pub(in crate::devices::nvidia) struct Words(pub(super) Vec<Word>);

impl Words {
    const PAGE: usize = 64 << 10;
    /// On cache lines of their own.
    const STRIDE: usize = 64;

    pub(super) fn take(&mut self, machine: &Machine) -> Result<Word, Status> {
        if self.0.is_empty() {
            let page = machine.host_memory(Self::PAGE)?;
            let words = (0..Self::PAGE).step_by(Self::STRIDE);
            self.0.extend(words.map(|at| Word(page + at as u64)));
        }
        let word = self.0.pop().ok_or(status::OUT_OF_MEMORY)?;
        word.value().store(0, Ordering::Relaxed);
        Ok(word)
    }
}
