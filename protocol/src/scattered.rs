// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory in pieces, seen as one: what a scatterlist describes.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use crate::shared::SharedMemory;

/// Pieces of shared memory, one behind the other.
#[derive(Clone, Default)]
pub struct Scattered {
    /// Comes first, as fields are dropped in their order: what is attached knows the pieces.
    attached: Option<Arc<OnceLock<Attached>>>,
    pieces: Vec<Piece>,
    len: u64,
    /// Dropped when nobody uses the memory any more.
    _guard: Option<Arc<dyn Send + Sync>>,
}

/// What a user of memory keeps with it, and is dropped with its last user, before the memory goes.
pub type Attached = Box<dyn Any + Send + Sync>;

#[derive(Clone)]
struct Piece {
    /// Where the piece begins in the whole.
    start: u64,
    memory: SharedMemory,
    offset: usize,
    len: usize,
}

/// A range without gaps, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub address: *mut u8,
    pub len: usize,
}

impl Scattered {
    pub fn new() -> Self {
        Scattered::default()
    }

    /// Adds a range at the end. False, and nothing is added, if it does not lie in the memory.
    #[must_use]
    pub fn push(&mut self, memory: SharedMemory, offset: usize, len: usize) -> bool {
        let end = self.len.checked_add(len as u64);
        let (Some(end), Some(_)) = (end, memory.range(offset, len)) else {
            return false;
        };
        if len > 0 {
            self.pieces.push(Piece {
                start: self.len,
                memory,
                offset,
                len,
            });
            self.len = end;
        }
        true
    }

    /// The same memory, which keeps `guard` as long as anybody uses it.
    pub fn guarded_by(mut self, guard: Arc<dyn Send + Sync>) -> Self {
        self._guard = Some(guard);
        self
    }

    /// The same memory, which is there for many copies: it is worth making ready for them.
    pub fn lasting(mut self) -> Self {
        self.attached = Some(Arc::default());
        self
    }

    /// A place for what makes [lasting](Self::lasting) memory ready.
    pub fn attached(&self) -> Option<&OnceLock<Attached>> {
        self.attached.as_deref()
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a range lies within.
    pub fn holds(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }

    /// The runs that make up a range, in order. They stay mapped as long as self. A range that does
    /// not lie within has none.
    pub fn runs(&self, offset: u64, len: u64) -> impl Iterator<Item = Run> + '_ {
        let len = if self.holds(offset, len) { len } else { 0 };
        let end = offset.saturating_add(len);
        let first = self
            .pieces
            .partition_point(|p| p.start + p.len as u64 <= offset);
        self.pieces[first..]
            .iter()
            .take_while(move |p| len > 0 && p.start < end)
            .filter_map(move |p| {
                let from = offset.saturating_sub(p.start) as usize;
                let to = (end - p.start).min(p.len as u64) as usize;
                let address = p.memory.range(p.offset + from, to - from)?;
                Some(Run {
                    address,
                    len: to - from,
                })
            })
    }

    /// The address of a range that lies in one piece.
    pub fn contiguous(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let first = self.runs(offset, len).next()?;
        (first.len as u64 == len).then_some(first.address)
    }

    /// Copies bytes out. False if the range does not lie within.
    #[must_use]
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        if !self.holds(offset, out.len() as u64) {
            return false;
        }
        let mut rest = out;
        for run in self.runs(offset, rest.len() as u64) {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(run.len);
            // SAFETY: the run is mapped; `now` is our own memory of the same length and does not
            // overlap it.
            unsafe { std::ptr::copy_nonoverlapping(run.address, now.as_mut_ptr(), run.len) };
            rest = later;
        }
        true
    }

    /// Copies bytes in. False if the range does not lie within.
    #[must_use]
    pub fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        if !self.holds(offset, bytes.len() as u64) {
            return false;
        }
        let mut rest = bytes;
        for run in self.runs(offset, bytes.len() as u64) {
            let (now, later) = rest.split_at(run.len);
            // SAFETY: the run is mapped; `now` is our own memory of the same length and does not
            // overlap it.
            unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), run.address, run.len) };
            rest = later;
        }
        true
    }
}

impl From<SharedMemory> for Scattered {
    fn from(memory: SharedMemory) -> Self {
        let mut all = Scattered::new();
        let len = memory.len();
        // All of a memory lies in it.
        let _ = all.push(memory, 0, len);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scattered(lens: &[usize]) -> Scattered {
        let mut all = Scattered::new();
        for &len in lens {
            assert!(all.push(SharedMemory::anonymous(len + 64), 7, len));
        }
        all
    }

    #[test]
    fn bytes_cross_from_piece_to_piece() {
        let all = scattered(&[3, 0, 5, 8]);
        assert_eq!(all.len(), 16);
        let bytes: Vec<u8> = (0..16).collect();
        assert!(all.write(0, &bytes));
        let mut seen = [0; 9];
        assert!(all.read(2, &mut seen));
        assert_eq!(seen, bytes[2..11]);
        let lens: Vec<usize> = all.runs(2, 9).map(|run| run.len).collect();
        assert_eq!(lens, [1, 5, 3]);
    }

    #[test]
    fn a_range_beyond_the_end_has_no_runs() {
        let all = scattered(&[3, 5]);
        for (offset, len) in [(0, 9), (8, 1), (9, 0), (u64::MAX, 2)] {
            assert_eq!(all.runs(offset, len).count(), 0, "{offset} {len}");
        }
        assert!(!all.read(8, &mut [0]));
        assert!(!all.write(u64::MAX, &[0]));
    }

    #[test]
    fn what_is_attached_goes_with_the_last_user_before_the_guard() {
        struct Says(&'static str, Arc<std::sync::Mutex<Vec<&'static str>>>);
        impl Drop for Says {
            fn drop(&mut self) {
                self.1.lock().unwrap().push(self.0);
            }
        }
        let said = Arc::default();
        assert!(scattered(&[4]).attached().is_none());
        let guard = Arc::new(Says("guard", Arc::clone(&said)));
        let all = scattered(&[4]).lasting().guarded_by(guard);
        let other = all.clone();
        let attached = Box::new(Says("attached", Arc::clone(&said)));
        assert!(all.attached().unwrap().set(attached).is_ok());
        drop(all);
        assert!(other.attached().unwrap().get().is_some() && said.lock().unwrap().is_empty());
        drop(other);
        assert_eq!(*said.lock().unwrap(), ["attached", "guard"]);
    }

    #[test]
    fn only_a_range_in_one_piece_is_contiguous() {
        let all = scattered(&[4, 4]);
        assert!(all.contiguous(4, 4).is_some());
        assert!(all.contiguous(3, 2).is_none());
    }

    #[test]
    fn a_piece_outside_its_memory_is_refused() {
        let mut all = Scattered::new();
        assert!(!all.push(SharedMemory::anonymous(64), 60, 5));
        assert!(all.is_empty());
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(lens in proptest::collection::vec(0usize..40, 1..8), offset in 0u64..200, bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let all = scattered(&lens);
            let written = all.write(offset, &bytes);
            prop_assert_eq!(written, all.holds(offset, bytes.len() as u64));
            if written {
                let mut seen = vec![0; bytes.len()];
                prop_assert!(all.read(offset, &mut seen));
                prop_assert_eq!(seen, bytes);
            }
        }
    }
}
