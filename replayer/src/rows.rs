// SPDX-License-Identifier: MIT OR Apache-2.0
//! A box of bytes in memory: rows and slices at a pitch, checked once, then walked.

use vcuda_protocol::{Extent, Pitch};

/// Where the bytes of an [`Extent`] lie relative to an address, with arithmetic that is known not
/// to overflow and rows that are known not to overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    extent: Extent,
    pitch: Pitch,
}

impl Rows {
    /// `None` where rows would overlap or the box does not fit 64 bits. The pitch of a box of one
    /// row does not matter.
    pub fn new(extent: Extent, pitch: Pitch) -> Option<Rows> {
        extent.bytes()?;
        if extent.bytes() == Some(0) {
            return Some(Rows::linear(0));
        }
        let row = if extent.height > 1 {
            pitch.row
        } else {
            extent.width
        };
        let plane = (extent.height - 1)
            .checked_mul(row)?
            .checked_add(extent.width)?;
        let slice = if extent.depth > 1 { pitch.slice } else { plane };
        (extent.depth - 1).checked_mul(slice)?.checked_add(plane)?;
        (row >= extent.width && slice >= plane).then_some(Rows {
            extent,
            pitch: Pitch { row, slice },
        })
    }

    /// The same for a box at an address that is to be filled with elements of 1, 2 or 4 bytes: they
    /// are aligned, and make up whole rows.
    pub fn of_elements(element: u8, address: u64, extent: Extent, pitch: Pitch) -> Option<Rows> {
        let rows = Rows::new(extent, pitch)?;
        let size = u64::from(element);
        let strides = [address, rows.pitch.row, rows.pitch.slice, extent.width];
        let aligned = matches!(element, 1 | 2 | 4) && strides.iter().all(|n| n % size == 0);
        aligned.then_some(rows)
    }

    /// One row.
    pub fn linear(bytes: u64) -> Rows {
        Rows {
            extent: Extent::linear(bytes),
            pitch: Pitch {
                row: bytes,
                slice: bytes,
            },
        }
    }

    /// All rows of an extent without gaps.
    pub fn packed(extent: Extent) -> Option<Rows> {
        let row = extent.width;
        let slice = row.checked_mul(extent.height)?;
        Rows::new(extent, Pitch { row, slice })
    }

    /// Bytes between rows and slices.
    pub fn pitch(&self) -> Pitch {
        self.pitch
    }

    /// Bytes that the box holds.
    pub fn bytes(&self) -> u64 {
        self.extent.width * self.extent.height * self.extent.depth
    }

    /// Bytes from the first byte to behind the last, gaps included.
    pub fn span(&self) -> u64 {
        match self.bytes() {
            0 => 0,
            _ => {
                (self.extent.depth - 1) * self.pitch.slice
                    + (self.extent.height - 1) * self.pitch.row
                    + self.extent.width
            }
        }
    }

    /// The runs of bytes without gaps, as offset and length, in order.
    pub fn runs(self) -> impl Iterator<Item = (u64, u64)> {
        pairs(self, self).map(|(offset, _, len)| (offset, len))
    }

    fn merged(self) -> Rows {
        let Extent {
            width,
            height,
            depth,
        } = self.extent;
        Rows {
            extent: Extent {
                width: width * height,
                height: depth,
                depth: 1,
            },
            pitch: Pitch {
                row: self.pitch.slice,
                slice: 0,
            },
        }
    }

    fn is_gapless(&self) -> bool {
        self.extent.height == 1 || self.pitch.row == self.extent.width
    }
}

/// Walks two boxes of one extent together: offset in the first, offset in the second, and length
/// of each run that has no gap in either.
pub fn pairs(a: Rows, b: Rows) -> impl Iterator<Item = (u64, u64, u64)> {
    let (mut a, mut b) = (a, b);
    for _ in 0..2 {
        if a.is_gapless() && b.is_gapless() {
            (a, b) = (a.merged(), b.merged());
        }
    }
    let Extent {
        width,
        height,
        depth,
    } = a.extent;
    let rows = if width == 0 { 0 } else { height };
    (0..depth).flat_map(move |z| {
        (0..rows).map(move |y| {
            let at = |pitch: Pitch| z * pitch.slice + y * pitch.row;
            (at(a.pitch), at(b.pitch), width)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(width: u64, height: u64, depth: u64, row: u64, slice: u64) -> Option<Rows> {
        let extent = Extent {
            width,
            height,
            depth,
        };
        Rows::new(extent, Pitch { row, slice })
    }

    #[test]
    fn a_box_without_gaps_is_one_run() {
        let runs: Vec<_> = rows(4, 3, 2, 4, 12).unwrap().runs().collect();
        assert_eq!(runs, [(0, 24)]);
    }

    #[test]
    fn rows_with_gaps_are_a_run_each_and_end_with_the_last_row() {
        let rows = rows(4, 2, 2, 10, 100).unwrap();
        assert_eq!(
            rows.runs().collect::<Vec<_>>(),
            [(0, 4), (10, 4), (100, 4), (110, 4)]
        );
        assert_eq!((rows.bytes(), rows.span()), (16, 114));
    }

    #[test]
    fn slices_with_gaps_join_their_rows() {
        let runs: Vec<_> = rows(4, 2, 2, 4, 100).unwrap().runs().collect();
        assert_eq!(runs, [(0, 8), (100, 8)]);
    }

    #[test]
    fn the_pitch_of_one_row_does_not_matter() {
        assert_eq!(rows(9, 1, 1, 0, 0).unwrap().span(), 9);
    }

    #[test]
    fn overlapping_rows_are_refused() {
        assert_eq!(rows(4, 2, 1, 3, 0), None);
        assert_eq!(rows(4, 2, 2, 4, 7), None);
    }

    #[test]
    fn a_box_that_exceeds_64_bits_is_refused() {
        assert_eq!(rows(1 << 40, 1 << 40, 1, 1 << 40, 0), None);
        assert_eq!(rows(1, 2, 2, u64::MAX, u64::MAX), None);
    }

    #[test]
    fn an_empty_box_has_no_runs_whatever_its_other_sides() {
        for empty in [
            rows(0, 5, 5, 0, 0),
            rows(5, 0, 5, 0, 0),
            rows(5, 5, 0, 0, 0),
        ] {
            let empty = empty.unwrap();
            assert_eq!((empty.span(), empty.runs().count()), (0, 0));
        }
    }

    proptest! {
        #[test]
        fn runs_lie_within_the_span_and_add_up(w in any::<u64>(), h in 0..6u64, d in 0..6u64, row in any::<u64>(), slice in any::<u64>()) {
            if let Some(rows) = rows(w, h, d, row, slice) {
                let mut end = 0;
                let mut sum = 0;
                for (offset, len) in rows.runs() {
                    prop_assert!(offset >= end);
                    end = offset + len;
                    sum += len;
                }
                prop_assert_eq!(sum, rows.bytes());
                prop_assert_eq!(end, rows.span());
            }
        }
    }
}
