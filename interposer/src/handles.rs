// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables by handle.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// A table by handle or address, which are numbers that differ in their middle bits. The standard
/// hasher, which withstands chosen keys, takes longer than everything else about a small call; here
/// the keys are chosen by this library, or by the program against itself.
pub(crate) type Handles<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// Spreads the bits of a number (Fibonacci hashing).
#[derive(Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// What a thread found last in a table whose entries come, stay as they are, and go: it holds until
/// something has gone, so that asking for it again takes no lock.
pub(crate) struct Recent<T>(Cell<Option<(u64, T)>>);

impl<T: Copy> Recent<T> {
    pub(crate) const fn new() -> Self {
        Recent(Cell::new(None))
    }

    /// What `is_it` holds for: what was found last, or what `look_up` finds. `gone` counts the
    /// entries that have left the table, each after it had left.
    pub(crate) fn get(
        &self,
        gone: &AtomicU64,
        is_it: impl FnOnce(&T) -> bool,
        look_up: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let gone = gone.load(Ordering::Acquire);
        if let Some((then, last)) = self.0.get()
            && then == gone
            && is_it(&last)
        {
            return Some(last);
        }
        let found = look_up()?;
        self.0.set(Some((gone, found)));
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_holds_until_something_has_gone() {
        let gone = AtomicU64::new(0);
        let recent = Recent::new();
        let get = |wanted: u32, now: Option<u32>| recent.get(&gone, |&it| it == wanted, || now);
        assert_eq!(get(1, None), None);
        assert_eq!(get(1, Some(1)), Some(1));
        assert_eq!(get(1, None), Some(1));
        assert_eq!(get(2, None), None);
        gone.fetch_add(1, Ordering::Release);
        assert_eq!(get(1, None), None);
    }

    #[test]
    fn handles_sixteen_apart_spread_over_a_table() {
        let mut seen = std::collections::HashSet::new();
        for index in 0..4096u64 {
            let mut hasher = Spread::default();
            hasher.write_u64(0x7763_0000_0000 + index * 16);
            // The table looks at the lowest and the seven highest bits.
            seen.insert(hasher.finish() & 0xffff);
        }
        assert!(seen.len() > 3500, "{}", seen.len());
    }
}
