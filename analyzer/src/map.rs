// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files as bytes, without reading them.

use std::fs::{self, File};
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;

use memmap2::{Advice, Mmap};

/// A regular file in memory. Only the pages that are looked at are ever read.
pub(crate) struct MappedFile {
    file: File,
    map: Mmap,
}

impl MappedFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        // Asked before it is opened, since opening a pipe waits for somebody to write into it.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is not a regular file",
            ));
        }
        let file = File::open(path)?;
        // SAFETY: the mapping is private and read-only, and lives as long as the value that is returned. What is asked of the
        // world is what every linker and loader asks: that nobody writes into a binary in place while it is looked at.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self { file, map })
    }

    /// Says that all of `part`, a slice of this file, will be read: its pages are then brought in together rather than with
    /// a fault each. Where the system cannot do that, nothing happens.
    pub fn will_scan(&self, part: &[u8]) {
        if let Some(range) = self.range_of(part) {
            let _ = self
                .map
                .advise_range(Advice::PopulateRead, range.start, range.len());
        }
    }

    /// A few bytes of `part`, a slice of this file, from `offset` on, read without touching the mapping. Zeros beyond its
    /// end, and where the file cannot be read.
    pub fn peek<const N: usize>(&self, part: &[u8], offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        let wanted = part.get(offset..).unwrap_or_default();
        let wanted = wanted.get(..N).unwrap_or(wanted);
        if let (Some(range), Some(buffer)) = (self.range_of(wanted), bytes.get_mut(..wanted.len()))
        {
            // A failure leaves zeros, which nothing takes for a header.
            let _ = self.file.read_exact_at(buffer, range.start as u64);
        }
        bytes
    }

    fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = (part.as_ptr() as usize).checked_sub(self.map.as_ptr() as usize)?;
        let end = start
            .checked_add(part.len())
            .filter(|end| *end <= self.map.len())?;
        Some(start..end)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}
