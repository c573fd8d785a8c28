// SPDX-License-Identifier: MIT OR Apache-2.0
//! The window: bulk memory that client and host share, at one address on both sides.

use vcuda_protocol::shared::SharedMemory;

use crate::rows::Rows;

/// The shared window of a session and its address.
#[derive(Clone)]
pub struct Window {
    pub base: u64,
    pub memory: SharedMemory,
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

    /// Whether `len` bytes from `offset` lie within.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len())
    }
}

/// Reads the box at `offset`, packed, in pieces of at most 1 MiB: `take(position, bytes)`.
/// Stops where the box leaves the memory.
pub fn read_in_pieces(
    memory: &SharedMemory,
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
            if !memory.read(from as usize, &mut buffer[filled..filled + step]) {
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
        read_in_pieces(&memory, 5, rows, |position, bytes| {
            seen.push((position, bytes.to_vec()));
        });
        assert_eq!(seen, [(0, vec![5, 6, 15, 16, 25, 26])]);
    }

    #[test]
    fn large_boxes_come_in_pieces() {
        let memory = SharedMemory::anonymous(3 << 20);
        let mut sizes = Vec::new();
        read_in_pieces(&memory, 64, Rows::linear((2 << 20) + 5), |at, bytes| {
            sizes.push((at, bytes.len()));
        });
        assert_eq!(sizes, [(0, 1 << 20), (1 << 20, 1 << 20), (2 << 20, 5)]);
    }
}
