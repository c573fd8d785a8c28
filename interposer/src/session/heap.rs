// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hands out ranges of an address space: device addresses, and offsets in the shared window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the allocations of all heaps.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Counts those that were freed.
pub(crate) static FREED: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug)]
struct Allocation {
    /// As it was asked for.
    len: u64,
    identity: u64,
}

/// A range of addresses, best fit, with the live allocations in it, by address.
#[derive(Debug)]
pub(crate) struct Heap {
    align: u64,
    /// Free ranges by address, and the same by length.
    free: BTreeMap<u64, u64>,
    by_len: BTreeSet<(u64, u64)>,
    live: BTreeMap<u64, Allocation>,
    used: u64,
    limit: u64,
}

impl Heap {
    /// Addresses from `base`, `len` of them, of which at most `limit` are in use at once.
    pub(crate) fn new(base: u64, len: u64, align: u64, limit: u64) -> Self {
        let mut heap = Heap {
            align,
            free: BTreeMap::new(),
            by_len: BTreeSet::new(),
            live: BTreeMap::new(),
            used: 0,
            limit,
        };
        heap.add_free(base, len);
        heap
    }

    fn add_free(&mut self, address: u64, len: u64) {
        if len != 0 {
            self.free.insert(address, len);
            self.by_len.insert((len, address));
        }
    }

    fn remove_free(&mut self, address: u64) -> Option<u64> {
        let len = self.free.remove(&address)?;
        self.by_len.remove(&(len, address));
        Some(len)
    }

    fn footprint(&self, len: u64) -> Option<u64> {
        len.max(1).checked_next_multiple_of(self.align)
    }

    /// An address for `len` bytes, or `None` where they do not fit.
    pub(crate) fn allocate(&mut self, len: u64) -> Option<u64> {
        let need = self.footprint(len)?;
        if need > self.limit - self.used {
            return None;
        }
        let &(found, address) = self.by_len.range((need, 0)..).next()?;
        self.remove_free(address);
        self.add_free(address + need, found - need);
        let identity = ALLOCATIONS.fetch_add(1, Ordering::Relaxed) + 1;
        self.live.insert(address, Allocation { len, identity });
        self.used += need;
        Some(address)
    }

    /// Frees what starts at `address`; returns its length. `None`: nothing starts there.
    pub(crate) fn free(&mut self, address: u64) -> Option<u64> {
        let len = self.live.remove(&address)?.len;
        let mut size = self.footprint(len)?;
        let mut start = address;
        self.used -= size;
        if let Some(next) = self.remove_free(address + size) {
            size += next;
        }
        let before = self.free.range(..address).next_back();
        if let Some((&previous, &previous_len)) = before
            && previous + previous_len == address
        {
            self.remove_free(previous);
            start = previous;
            size += previous_len;
        }
        self.add_free(start, size);
        FREED.fetch_add(1, Ordering::Release);
        Some(len)
    }

    /// The live allocation that holds `address`: its start and length.
    pub(crate) fn find(&self, address: u64) -> Option<(u64, u64)> {
        let (start, allocation) = self.holding(address)?;
        Some((start, allocation.len))
    }

    /// The number of the live allocation that holds `address`, which no other ever has.
    pub(crate) fn identity(&self, address: u64) -> Option<u64> {
        Some(self.holding(address)?.1.identity)
    }

    fn holding(&self, address: u64) -> Option<(u64, Allocation)> {
        let (&start, &allocation) = self.live.range(..=address).next_back()?;
        (address - start < allocation.len.max(1)).then_some((start, allocation))
    }

    /// Forgets all allocations; returns where they were.
    pub(crate) fn clear(&mut self) -> Vec<u64> {
        let live: Vec<u64> = self.live.keys().copied().collect();
        for &address in &live {
            self.free(address);
        }
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn freed_neighbours_become_one_range_again() {
        let mut heap = Heap::new(0x1000, 0x1000, 256, 0x1000);
        let all: Vec<u64> = (0..16).map(|_| heap.allocate(200).unwrap()).collect();
        assert_eq!(heap.allocate(1), None);
        for index in [3, 1, 2, 0, 15, 14, 13, 5, 4, 6, 7, 8, 9, 10, 11, 12] {
            assert_eq!(heap.free(all[index]), Some(200));
        }
        assert_eq!(heap.allocate(0x1000), Some(0x1000));
    }

    #[test]
    fn a_limit_below_the_range_is_kept() {
        let mut heap = Heap::new(0, 1 << 40, 512, 1024);
        assert!(heap.allocate(1025).is_none());
        assert!(heap.allocate(u64::MAX).is_none());
        assert!(heap.allocate(1024).is_some());
        assert!(heap.allocate(0).is_none());
    }

    #[test]
    fn an_inner_address_finds_its_allocation_and_does_not_free_it() {
        let mut heap = Heap::new(0, 1 << 20, 512, 1 << 20);
        let a = heap.allocate(700).unwrap();
        assert_eq!(heap.find(a + 699), Some((a, 700)));
        assert_eq!(heap.find(a + 700), None);
        assert_eq!(heap.free(a + 1), None);
    }

    #[test]
    fn an_address_that_is_used_again_is_another_allocation() {
        let mut heap = Heap::new(0, 1 << 20, 512, 1 << 20);
        let a = heap.allocate(100).unwrap();
        let first = heap.identity(a + 50);
        heap.free(a);
        assert_eq!(heap.identity(a + 50), None);
        assert_eq!(heap.allocate(100), Some(a));
        assert_ne!(heap.identity(a + 50), first);
    }

    proptest! {
        #[test]
        fn allocations_never_overlap(steps in proptest::collection::vec((0u64..3000, any::<bool>()), 1..200)) {
            let mut heap = Heap::new(4096, 1 << 16, 256, 1 << 16);
            let mut live: Vec<(u64, u64)> = Vec::new();
            for (len, free) in steps {
                if free && !live.is_empty() {
                    let (address, size) = live.swap_remove(len as usize % live.len());
                    prop_assert_eq!(heap.free(address), Some(size));
                } else if let Some(address) = heap.allocate(len) {
                    for &(other, size) in &live {
                        prop_assert!(address + len <= other || other + size <= address);
                    }
                    live.push((address, len));
                }
            }
        }
    }
}
