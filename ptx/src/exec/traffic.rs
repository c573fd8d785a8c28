// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the blocks of a launch do with global memory, in kernels that are watched for races.

use super::knowledge::{Access, History, Known, Others};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use parking_lot::Mutex;
use std::collections::HashMap;

/// Bytes of a page.
const PAGE: u64 = 256;
/// Bytes that share a history, in pages whose accesses are all as long and as aligned.
const WORD: u64 = 4;
/// Histories that are kept, about a gigabyte; memory beyond is not watched.
const LIMIT: u64 = (1 << 30) / size_of::<History>() as u64;
/// Locks.
const SHARDS: usize = 64;

/// The histories of a page: one for each word, or one for each byte.
#[derive(Debug)]
struct Page(Vec<History>);

impl Page {
    fn unit(&self) -> u64 {
        PAGE / self.0.len() as u64
    }

    /// Gives each byte a history of its own.
    fn refine(&mut self) {
        self.0 = self.0.iter().flat_map(|&h| [h; WORD as usize]).collect();
    }
}

/// What is known of a launch while it runs.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Goes on whenever a warp tells others what it knows.
    clock: AtomicU32,
    pages: [Mutex<HashMap<u64, Page>>; SHARDS],
    histories: AtomicU64,
    /// Histories at most.
    limit: u64,
    left_out: AtomicU64,
    places: Mutex<Places>,
}

/// What atomic operations on an address pass on.
#[derive(Debug, Default)]
struct Places {
    each: HashMap<u64, Others>,
    /// That of all addresses for which there is no room: what was up to then is taken for over.
    rest: Others,
}

impl Places {
    const LIMIT: usize = 1 << 15;

    fn at(&mut self, address: u64) -> &mut Others {
        if self.each.len() >= Self::LIMIT && !self.each.contains_key(&address) {
            return &mut self.rest;
        }
        self.each.entry(address).or_default()
    }
}

impl Default for Traffic {
    fn default() -> Traffic {
        Traffic {
            clock: AtomicU32::new(1),
            pages: core::array::from_fn(|_| Mutex::default()),
            histories: AtomicU64::new(0),
            limit: LIMIT,
            left_out: AtomicU64::new(0),
            places: Mutex::default(),
        }
    }
}

impl Traffic {
    pub fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed)
    }

    /// Accesses that could not be watched because there were too many places.
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    fn shard(&self, page: u64) -> &Mutex<HashMap<u64, Page>> {
        &self.pages[(page / PAGE) as usize % SHARDS]
    }

    /// Room for so many histories more.
    fn room(&self, histories: u64) -> bool {
        let before = self.histories.fetch_add(histories, Ordering::Relaxed);
        let room = before + histories <= self.limit;
        if !room {
            self.histories.fetch_sub(histories, Ordering::Relaxed);
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// A thread accesses some bytes: the access that it races with.
    pub fn access(&self, this: Access, known: &Known, address: u64, len: u64) -> Option<Access> {
        let mut race = None;
        let mut at = address;
        while at < address.saturating_add(len) {
            let page = at & !(PAGE - 1);
            let end = (address + len).min(page.saturating_add(PAGE));
            let mut pages = self.shard(page).lock();
            if !pages.contains_key(&page) && self.room(PAGE / WORD) {
                let page_of_words = Page(vec![History::default(); (PAGE / WORD) as usize]);
                pages.insert(page, page_of_words);
            }
            if let Some(histories) = pages.get_mut(&page) {
                let words = at.is_multiple_of(WORD) && end.is_multiple_of(WORD);
                if !words && histories.unit() == WORD && self.room(PAGE - PAGE / WORD) {
                    histories.refine();
                }
                let unit = histories.unit();
                let (first, last) = ((at - page) / unit, (end - page).div_ceil(unit));
                // Where there is no room for bytes, neighbours would seem to meet.
                if words || unit == 1 {
                    // A loop around a compare-and-swap begins with a plain load.
                    for history in &mut histories.0[first as usize..last as usize] {
                        race = history.add(this, known, true).or(race);
                    }
                }
            }
            at = end;
        }
        race
    }

    /// Memory is somebody else's from now on.
    pub fn forget(&self, address: u64, len: u64) {
        let first = address & !(PAGE - 1);
        let pages = (first..address.saturating_add(len)).step_by(PAGE as usize);
        for page in pages {
            self.shard(page).lock().remove(&page);
        }
    }

    /// A warp of a block is about to change what others may look at: it tells what it knows.
    pub fn tell(&self, known: &Known, block: u32, address: u64) {
        let mut places = self.places.lock();
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        known.tell(block, places.at(address), now);
    }

    /// A warp of a block has looked at such a place.
    pub fn learn(&self, known: &mut Known, block: u32, address: u64) {
        known.learn(block, self.places.lock().at(address), self.now());
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::STORE;
    use super::*;

    /// Whether a store by a block races with what was there before.
    fn races(traffic: &Traffic, block: u32, address: u64, len: u64) -> bool {
        let this = Access {
            block,
            time: traffic.now(),
            segment: 1,
            kind: STORE as u8,
            ..Access::default()
        };
        traffic.access(this, &Known::new(1), address, len).is_some()
    }

    #[test]
    fn accesses_meet_where_they_share_a_byte() {
        let traffic = Traffic::default();
        assert!(!races(&traffic, 0, 0x1000, 4));
        assert!(!races(&traffic, 1, 0x1004, 4));
        assert!(!races(&traffic, 2, 0x1008, 1));
        assert!(!races(&traffic, 3, 0x1009, 3));
        assert!(races(&traffic, 4, 0x1003, 1));
        assert!(races(&traffic, 5, 0x1008, 4));
        // Over the end of a page.
        assert!(!races(&traffic, 6, 0x10f8, 16));
        assert!(races(&traffic, 7, 0x1100, 8));
    }

    #[test]
    fn memory_that_is_allocated_anew_has_no_history() {
        let traffic = Traffic::default();
        assert!(!races(&traffic, 0, 0x1200, 4));
        traffic.forget(0x1200, 64);
        assert!(!races(&traffic, 1, 0x1200, 4));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let traffic = Traffic {
            limit: 2 * PAGE / WORD,
            ..Traffic::default()
        };
        for page in 0..3 {
            assert!(!races(&traffic, 0, page * PAGE, 4));
        }
        // No room for the bytes of a page either.
        assert!(!races(&traffic, 1, 1, 1));
        assert_eq!(traffic.left_out(), 2);
        assert!(races(&traffic, 1, 0, 4));
    }

    #[test]
    fn beyond_many_places_one_stands_for_all_others() {
        let traffic = Traffic::default();
        for address in 0..=Places::LIMIT as u64 {
            traffic.tell(&Known::new(1), 0, address * 4);
        }
        assert_eq!(traffic.places.lock().each.len(), Places::LIMIT);
    }
}
