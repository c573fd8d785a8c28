// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which line of which source file a line of PTX was made from: `.file` and `.loc` (PTX ISA,
//! "Debugging Directives"), as `nvcc -lineinfo` writes them.

use std::collections::HashMap;

/// The source lines of a module.
#[derive(Debug, Default)]
pub struct Sources {
    files: HashMap<u64, String>,
    /// Line of the text, number of the file, and line in it, in the order of the text. A file
    /// number of `NOWHERE` marks the start of a function.
    places: Vec<(u32, u64, u32)>,
    /// What is added to the numbers of files, which each module counts from 1.
    files_from: u64,
}

const NOWHERE: u64 = u64::MAX;

impl Sources {
    pub(super) fn file(&mut self, number: u64, name: &str) {
        self.files
            .insert(self.files_from.wrapping_add(number), name.to_owned());
    }

    pub(super) fn place(&mut self, line: u32, file: u64, source_line: u64) {
        // Line 0 is code that no line of the source stands for.
        if let Ok(source_line @ 1..) = u32::try_from(source_line) {
            let file = self.files_from.wrapping_add(file);
            self.places.push((line, file, source_line));
        }
    }

    /// Another module begins.
    pub(super) fn module(&mut self) {
        self.files_from += 1 << 32;
    }

    /// What comes before this line does not hold after it.
    pub(super) fn function(&mut self, line: u32) {
        self.places.push((line, NOWHERE, 0));
    }

    /// File and line that this line of the text was made from.
    pub fn find(&self, line: u32) -> Option<(&str, u32)> {
        let next = self.places.partition_point(|place| place.0 <= line);
        let &(_, file, source_line) = self.places.get(next.checked_sub(1)?)?;
        Some((self.files.get(&file)?, source_line))
    }
}
