// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which ranges of an address space are allocated, as of the last command that was issued.

use std::collections::BTreeMap;

/// Allocations that do not overlap, by address.
#[derive(Debug, Default)]
pub struct Allocations {
    sizes: BTreeMap<u64, u64>,
}

impl Allocations {
    /// False, and no effect, where the range is empty, overflows or overlaps another.
    #[must_use]
    pub fn insert(&mut self, address: u64, size: u64) -> bool {
        let Some(end) = address.checked_add(size) else {
            return false;
        };
        let free = match self.sizes.range(..end).next_back() {
            Some((&other, &len)) => other + len <= address,
            None => true,
        };
        if size == 0 || !free {
            return false;
        }
        self.sizes.insert(address, size);
        true
    }

    /// Removes the allocation that begins at `address` and gives its size.
    pub fn remove(&mut self, address: u64) -> Option<u64> {
        self.sizes.remove(&address)
    }

    /// Whether the range lies within one allocation.
    pub fn holds(&self, address: u64, len: u64) -> bool {
        let Some((&base, &size)) = self.sizes.range(..=address).next_back() else {
            return false;
        };
        address
            .checked_add(len)
            .is_some_and(|end| end <= base + size)
    }

    /// The end of the last allocation that overlaps the range, or the range's end.
    pub fn end_of_overlap(&self, address: u64, size: u64) -> u64 {
        let end = address.saturating_add(size);
        match self.sizes.range(..end).next_back() {
            Some((&other, &len)) if other + len > address => other + len,
            _ => end,
        }
    }

    /// The allocations that begin in `from..to`.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        self.sizes
            .range(from..to)
            .map(|(&address, &size)| (address, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_range_may_touch_but_not_overlap_another() {
        let mut table = Allocations::default();
        assert!(table.insert(100, 10));
        assert!(!table.insert(109, 1));
        assert!(!table.insert(95, 6));
        assert!(!table.insert(90, 100));
        assert!(table.insert(110, 5) && table.insert(90, 10));
    }

    #[test]
    fn empty_and_overflowing_ranges_are_refused() {
        let mut table = Allocations::default();
        assert!(!table.insert(5, 0));
        assert!(!table.insert(u64::MAX, 2));
        assert!(!table.holds(5, 0));
    }

    #[test]
    fn a_range_across_two_allocations_is_in_neither() {
        let mut table = Allocations::default();
        assert!(table.insert(0, 16) && table.insert(16, 16));
        assert!(table.holds(0, 16) && table.holds(20, 12));
        assert!(!table.holds(8, 16) && !table.holds(31, 2));
        assert_eq!(table.remove(16), Some(16));
        assert!(!table.holds(16, 1));
    }

    proptest! {
        #[test]
        fn agrees_with_a_map_of_bytes(steps in proptest::collection::vec((any::<bool>(), 0..64u64, 0..16u64), 0..60)) {
            let mut table = Allocations::default();
            let mut owner = [None; 96];
            for (insert, address, size) in steps {
                let range = address as usize..(address + size) as usize;
                if insert {
                    let free = size > 0 && owner[range.clone()].iter().all(Option::is_none);
                    prop_assert_eq!(table.insert(address, size), free);
                    if free { owner[range].fill(Some(address)); }
                } else {
                    prop_assert_eq!(table.remove(address).is_some(), owner[address as usize] == Some(address));
                    for byte in &mut owner { if *byte == Some(address) { *byte = None; } }
                }
            }
        }
    }
}
