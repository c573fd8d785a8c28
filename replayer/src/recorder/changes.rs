// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which pieces of host memory have changed since they were last looked at.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// What each piece held, by address and length, when the command with the highest sequence number
/// was shown it.
#[derive(Default)]
pub(super) struct Changes {
    pieces: HashMap<(u64, usize), (u64, u128)>,
}

impl Changes {
    /// Calls `changed` with the pieces of an allocation that a reader, who takes the commands in
    /// the order of their numbers, has to be told for this one.
    ///
    /// Streams show memory to their commands when they get there, so commands come here out of
    /// order. One that comes late is told everything.
    pub fn of(
        &mut self,
        sequence: u64,
        address: u64,
        bytes: &[u8],
        mut changed: impl FnMut(u64, &[u8]),
    ) {
        let pieces = bytes.chunks(PIECE);
        for (at, piece) in (address..).step_by(PIECE).zip(pieces) {
            let hash = xxh3_128(piece);
            let known = self.pieces.entry((at, piece.len()));
            let (last, held) = known.or_insert((0, !hash));
            let late = sequence < *last;
            if late || *held != hash {
                changed(at, piece);
            }
            if !late {
                (*last, *held) = (sequence, hash);
            }
        }
    }

    /// Everything is new again.
    pub fn forget(&mut self) {
        self.pieces.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &mut Changes, sequence: u64, bytes: &[u8]) -> Vec<(u64, usize)> {
        let mut found = Vec::new();
        changes.of(sequence, 0x1000, bytes, |at, piece| {
            found.push((at, piece.len()))
        });
        found
    }

    #[test]
    fn only_pieces_that_differ_from_the_last_look_are_changed() {
        let mut changes = Changes::default();
        let mut bytes = vec![0; 2 * PIECE + 5];
        let (first, second) = (0x1000, 0x1000 + PIECE as u64);
        let third = second + PIECE as u64;
        let all = [(first, PIECE), (second, PIECE), (third, 5)];
        assert_eq!(changed(&mut changes, 1, &bytes), all);
        assert_eq!(changed(&mut changes, 2, &bytes), []);
        bytes[PIECE] = 1;
        assert_eq!(changed(&mut changes, 3, &bytes), [(second, PIECE)]);
        bytes[PIECE] = 0;
        assert_eq!(changed(&mut changes, 4, &bytes), [(second, PIECE)]);
        changes.forget();
        assert_eq!(changed(&mut changes, 5, &bytes), all);
    }

    /// Streams run ahead of each other: command 6 is shown the memory before command 5 is.
    #[test]
    fn a_command_that_comes_late_is_told_what_a_later_one_was_told() {
        let mut changes = Changes::default();
        let all = [(0x1000, 8)];
        assert_eq!(changed(&mut changes, 6, &[1; 8]), all);
        assert_eq!(changed(&mut changes, 5, &[1; 8]), all);
        assert_eq!(changed(&mut changes, 7, &[1; 8]), []);
        assert_eq!(changed(&mut changes, 4, &[2; 8]), all);
        assert_eq!(changed(&mut changes, 8, &[1; 8]), []);
    }
}
