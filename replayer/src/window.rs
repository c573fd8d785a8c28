// SPDX-License-Identifier: MIT OR Apache-2.0
//! The window: bulk memory that client and host share, at one address on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::shared::SharedMemory;

use crate::rows::Rows;

/// The shared window of a session and its address.
#[derive(Clone)]
pub struct Window {
    pub base: u64,
    pub memory: SharedMemory,
    /// The parts that there is memory behind, where that is not all of it.
    pub backing: Option<Arc<Backing>>,
}

/// Parts of a window that there is memory behind, by offset. They come and go while the session
/// runs; what is not backed reads as zeros and is not written.
#[derive(Default)]
pub struct Backing(RwLock<BTreeMap<u64, u64>>);

impl Backing {
    /// There is memory behind a range, which was not backed before.
    pub fn add(&self, offset: u64, len: u64) {
        self.0.write().insert(offset, len);
    }

    /// There is none any more behind a range that was added. `None`: no range begins there.
    pub fn remove(&self, offset: u64) -> Option<u64> {
        self.0.write().remove(&offset)
    }

    /// Whether a range touches what is backed.
    pub fn touches(&self, offset: u64, len: u64) -> bool {
        let end = offset.saturating_add(len);
        let before = self.0.read().range(..end).next_back().map(|(&o, &l)| o + l);
        before.is_some_and(|behind| behind > offset)
    }

    /// Whether all of a range is backed.
    fn holds(&self, offset: u64, len: u64) -> bool {
        let parts = self.0.read();
        let mut at = offset;
        let end = offset.saturating_add(len);
        while at < end {
            match parts.range(..=at).next_back() {
                Some((&start, &len)) if start + len > at => at = start + len,
                _ => return false,
            }
        }
        true
    }
}

impl Window {
    /// Bytes of the window.
    pub fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// The offset of an address of the window.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        address
            .checked_sub(self.base)
            .filter(|&offset| offset < self.len())
    }

    /// Whether `len` bytes from `offset` lie within, with memory behind them.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        let backed = |backing: &Arc<Backing>| backing.holds(offset, len);
        offset.checked_add(len).is_some_and(|end| end <= self.len())
            && self.backing.as_ref().is_none_or(backed)
    }
}

/// Reads the box at `offset`, packed, in pieces of at most 1 MiB: `take(position, bytes)`.
/// Stops where the box leaves the memory.
pub fn read_in_pieces(
    memory: &Scattered,
    offset: u64,
    rows: Rows,
    mut take: impl FnMut(u64, &[u8]),
) {
    const PIECE: u64 = 1 << 20;
    let mut buffer = vec![0; rows.bytes().min(PIECE) as usize];
    let mut filled = 0;
    let mut position = 0;
    for (at, len) in rows.runs() {
        let mut done = 0;
        while done < len {
            let room = (buffer.len() - filled) as u64;
            let step = room.min(len - done) as usize;
            let Some(from) = offset.checked_add(at + done) else {
                return;
            };
            if !memory.read(from, &mut buffer[filled..filled + step]) {
                return;
            }
            filled += step;
            done += step as u64;
            if filled == buffer.len() {
                take(position, &buffer);
                position += filled as u64;
                filled = 0;
            }
        }
    }
    if filled > 0 {
        take(position, &buffer[..filled]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::{Extent, Pitch};

    #[test]
    fn only_what_is_backed_is_held() {
        let window = Window {
            base: 0x1000_0000,
            memory: SharedMemory::anonymous(1 << 20),
            backing: Some(Arc::default()),
        };
        let backing = window.backing.as_deref().unwrap();
        backing.add(4096, 4096);
        backing.add(8192, 8192);
        assert!(window.holds(4096, 12288) && window.holds(5000, 1) && window.holds(16383, 1));
        assert!(!window.holds(4095, 1) && !window.holds(4096, 12289) && !window.holds(0, 8192));
        assert!(backing.touches(0, 4097) && !backing.touches(0, 4096));
        assert!(backing.touches(16383, 1) && !backing.touches(16384, 1));
        assert_eq!(backing.remove(8192), Some(8192));
        assert!(!window.holds(8192, 1));
        assert_eq!(backing.remove(8192), None);
    }

    #[test]
    fn a_pitched_box_is_read_packed() {
        let memory = SharedMemory::anonymous(64);
        let bytes: Vec<u8> = (0..64).collect();
        assert!(memory.write(0, &bytes));
        let extent = Extent {
            width: 2,
            height: 3,
            depth: 1,
        };
        let rows = Rows::new(extent, Pitch { row: 10, slice: 0 }).unwrap();
        let mut seen = Vec::new();
        read_in_pieces(&memory.into(), 5, rows, |position, bytes| {
            seen.push((position, bytes.to_vec()));
        });
        assert_eq!(seen, [(0, vec![5, 6, 15, 16, 25, 26])]);
    }

    #[test]
    fn large_boxes_come_in_pieces() {
        let memory = SharedMemory::anonymous(3 << 20);
        let mut sizes = Vec::new();
        let rows = Rows::linear((2 << 20) + 5);
        read_in_pieces(&memory.into(), 64, rows, |at, bytes| {
            sizes.push((at, bytes.len()));
        });
        assert_eq!(sizes, [(0, 1 << 20), (1 << 20, 1 << 20), (2 << 20, 5)]);
    }
}
