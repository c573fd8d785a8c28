// SPDX-License-Identifier: MIT OR Apache-2.0
//! What host memory held in the recording, and putting it there again.

use std::collections::BTreeMap;

use crate::window::Window;

/// The contents of pinned and managed memory, as the commands so far were shown it.
///
/// Before a command that could see it, host memory is made to be exactly this: a program may have
/// put back what a kernel had changed, which a recording of changes does not tell.
#[derive(Default)]
pub(super) struct HostMemory {
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl HostMemory {
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn set(&mut self, address: u64, bytes: Vec<u8>) {
        self.pieces.insert(address, bytes);
    }

    /// An allocation is gone.
    pub fn forget(&mut self, address: u64, size: u64) {
        let end = address.saturating_add(size);
        self.pieces.retain(|&at, _| at < address || at >= end);
    }

    /// Writes everything into the window. What lies elsewhere is left out.
    pub fn put(&self, window: &Window) {
        for (&address, bytes) in &self.pieces {
            if let Some(offset) = window.offset_of(address) {
                let _ = window.memory.write(offset as usize, bytes);
            }
        }
    }
}
