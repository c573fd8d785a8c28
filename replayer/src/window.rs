// SPDX-License-Identifier: MIT OR Apache-2.0
//! The window: bulk memory that client and host share, at one address on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
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
pub struct Backing(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    backed: Ranges,
    /// What a device may use at any time, as the driver of a GPU has pinned it.
    claimed: Ranges,
    /// Removed, but claimed still; what is to be done when it is not.
    leaving: Vec<(u64, u64, Left)>,
}

/// A client that removes what its device uses does so by mistake or in bad faith.
const MOST_LEAVING: usize = 1024;

/// Called when no device uses a range any more.
pub type Left = Box<dyn FnOnce() + Send>;

/// Lengths by offset, of ranges that do not overlap.
type Ranges = BTreeMap<u64, u64>;

fn touches(ranges: &Ranges, offset: u64, len: u64) -> bool {
    let end = offset.saturating_add(len);
    let before = ranges.range(..end).next_back().map(|(&o, &l)| o + l);
    before.is_some_and(|behind| behind > offset)
}

fn holds(ranges: &Ranges, offset: u64, len: u64) -> bool {
    let mut at = offset;
    let end = offset.saturating_add(len);
    while at < end {
        match ranges.range(..=at).next_back() {
            Some((&start, &len)) if start + len > at => at = start + len,
            _ => return false,
        }
    }
    true
}

impl Backing {
    /// Whether there is no memory behind any of a range.
    pub fn is_free(&self, offset: u64, len: u64) -> bool {
        let parts = self.0.lock();
        let end = offset.saturating_add(len);
        let leaves = |&(start, len, _): &(u64, u64, Left)| start < end && offset < start + len;
        parts.leaving.len() < MOST_LEAVING
            && !touches(&parts.backed, offset, len)
            && !parts.leaving.iter().any(leaves)
    }

    /// There is memory behind a range that was free.
    pub fn add(&self, offset: u64, len: u64) {
        self.0.lock().backed.insert(offset, len);
    }

    /// A range that was added is not to be used any more. `left` is called when nothing of it is
    /// claimed. False, and it is not called: no range begins there.
    #[must_use]
    pub fn remove(&self, offset: u64, left: impl FnOnce(u64) + Send + 'static) -> bool {
        let mut parts = self.0.lock();
        let Some(len) = parts.backed.remove(&offset) else {
            return false;
        };
        let left = move || left(len);
        match touches(&parts.claimed, offset, len) {
            true => parts.leaving.push((offset, len, Box::new(left))),
            false => {
                drop(parts);
                left();
            }
        }
        true
    }

    fn holds(&self, offset: u64, len: u64) -> bool {
        holds(&self.0.lock().backed, offset, len)
    }

    fn claim(&self, offset: u64, len: u64) -> bool {
        let parts = &mut *self.0.lock();
        let free = holds(&parts.backed, offset, len) && !touches(&parts.claimed, offset, len);
        if free {
            parts.claimed.insert(offset, len);
        }
        free
    }

    fn release(&self, offset: u64) {
        let mut parts = self.0.lock();
        parts.claimed.remove(&offset);
        let Parts {
            claimed, leaving, ..
        } = &mut *parts;
        let gone = leaving.extract_if(.., |(start, len, _)| !touches(claimed, *start, *len));
        let gone: Vec<_> = gone.collect();
        drop(parts);
        for (_, _, left) in gone {
            left();
        }
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

    /// A device is about to use a range by itself: the memory behind it stays until it is released.
    /// False: there is none behind all of it, or a part is claimed already.
    #[must_use]
    pub fn claim(&self, offset: u64, len: u64) -> bool {
        let claim = |backing: &Arc<Backing>| backing.claim(offset, len);
        self.holds(offset, len) && self.backing.as_ref().is_none_or(claim)
    }

    /// No device uses the range that was claimed from `offset` on.
    pub fn release(&self, offset: u64) {
        if let Some(backing) = &self.backing {
            backing.release(offset);
        }
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
    use std::sync::atomic::{AtomicU64, Ordering};
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
        assert!(!backing.is_free(0, 4097) && !backing.is_free(16383, 1));
        assert!(backing.is_free(0, 4096) && backing.is_free(16384, 1));
        let left = Arc::new(AtomicU64::new(0));
        let note = left.clone();
        assert!(backing.remove(8192, move |len| note.store(len, Ordering::Relaxed)));
        assert_eq!(left.load(Ordering::Relaxed), 8192);
        assert!(!window.holds(8192, 1));
        assert!(!backing.remove(8192, |_| panic!("it is gone")));
    }

    #[test]
    fn what_a_device_uses_stays_until_it_is_released() {
        let window = Window {
            base: 0x1000_0000,
            memory: SharedMemory::anonymous(1 << 20),
            backing: Some(Arc::default()),
        };
        let backing = window.backing.as_deref().unwrap();
        backing.add(0, 8192);
        assert!(window.claim(0, 100) && window.claim(4096, 4096));
        assert!(!window.claim(50, 10) && !window.claim(4000, 97) && !window.claim(8192, 1));
        let left = Arc::new(AtomicU64::new(0));
        let note = left.clone();
        assert!(backing.remove(0, move |len| note.store(len, Ordering::Relaxed)));
        assert!(!window.holds(0, 1) && !window.claim(200, 1) && !backing.is_free(0, 4096));
        window.release(0);
        assert_eq!(left.load(Ordering::Relaxed), 0);
        window.release(4096);
        assert_eq!(left.load(Ordering::Relaxed), 8192);
        assert!(backing.is_free(0, 4096));
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
