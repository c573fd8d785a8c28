// SPDX-License-Identifier: MIT OR Apache-2.0
//! A view of memory that another process may change at any time.
//!
//! No Rust reference to the bytes ever exists: words are atomics, and bulk bytes are copied in and
//! out, once, before anything looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// A range of memory shared with another process, kept mapped by whatever owns it.
#[derive(Clone)]
pub struct SharedMemory {
    base: *mut u8,
    len: usize,
    /// Keeps the mapping alive.
    _owner: Arc<dyn Send + Sync>,
}

// SAFETY: all access goes through atomics and byte copies between raw pointers.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// # Safety
    /// `base` is 64-aligned, and `base..base + len` stays mapped for reading and writing, and is
    /// used only as shared memory, as long as `owner` lives.
    pub unsafe fn new(base: *mut u8, len: usize, owner: Arc<dyn Send + Sync>) -> Self {
        assert!(base.addr().is_multiple_of(64));
        SharedMemory {
            base,
            len,
            _owner: owner,
        }
    }

    /// Zeroed memory of this process, for tests and in-process sessions.
    pub fn anonymous(len: usize) -> Self {
        #[repr(align(64))]
        struct Line(#[allow(dead_code)] std::cell::UnsafeCell<[u8; 64]>);
        // SAFETY: the cells are only reached through the SharedMemory made below.
        unsafe impl Sync for Line {}
        let lines: Arc<Vec<Line>> = Arc::new(
            (0..len.div_ceil(64))
                .map(|_| Line(std::cell::UnsafeCell::new([0; 64])))
                .collect(),
        );
        let base = lines.as_ptr().cast_mut().cast();
        // SAFETY: the vector is never resized and lives as long as the Arc; UnsafeCell allows the
        // writes.
        unsafe { SharedMemory::new(base, len, lines) }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of a range, if it lies within.
    #[inline]
    pub fn range(&self, offset: usize, len: usize) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        // SAFETY: the offset lies within the mapping, by the check.
        (end <= self.len).then(|| unsafe { self.base.add(offset) })
    }

    /// A word. Panics unless it lies within and is aligned: offsets of words are constants.
    #[inline]
    pub fn u32(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4));
        let word = self.range(offset, 4).expect("the word lies in the memory");
        // SAFETY: in range and aligned, by the checks; mapped as long as self.
        unsafe { AtomicU32::from_ptr(word.cast()) }
    }

    /// A double word. Panics like [`Self::u32`].
    #[inline]
    pub fn u64(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8));
        let word = self.range(offset, 8).expect("the word lies in the memory");
        // SAFETY: in range and aligned, by the checks; mapped as long as self.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// Copies bytes out. False if the range does not lie within.
    #[inline]
    #[must_use]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> bool {
        let Some(from) = self.range(offset, out.len()) else {
            return false;
        };
        // SAFETY: in range; `out` is our own memory and does not overlap the mapping.
        unsafe { std::ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
        true
    }

    /// Copies bytes in. False if the range does not lie within.
    #[inline]
    #[must_use]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> bool {
        let Some(to) = self.range(offset, bytes.len()) else {
            return false;
        };
        // SAFETY: in range; `bytes` is our own memory and does not overlap the mapping.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        true
    }
}
