// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory in place of a recorded client's own, for copies to write to.

use parking_lot::Mutex;
use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{Extent, Pitch};

use crate::rows::Rows;
use crate::session::GuestMemory;

/// More than one copy of a client takes; a damaged recording may claim anything.
const MOST: u64 = 1 << 30;

/// Gives fresh memory, as much as was expected last.
#[derive(Default)]
pub(super) struct FreshMemory(Mutex<u64>);

impl FreshMemory {
    /// The next copy writes a box here.
    pub(super) fn expect(&self, offset: u64, pitch: Pitch, extent: Extent) {
        let span = Rows::new(extent, pitch).map(|rows| rows.span());
        let len = span.and_then(|span| offset.checked_add(span));
        *self.0.lock() = len.filter(|&len| len <= MOST).unwrap_or(0);
    }
}

impl GuestMemory for FreshMemory {
    fn memory(&self, _id: u64) -> Option<Scattered> {
        let len = *self.0.lock() as usize;
        Some(SharedMemory::anonymous(len).into())
    }
}
