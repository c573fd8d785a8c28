// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes that the processor copies, by several of its cores where there are many.

use std::num::NonZero;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Shorter parts are not worth a thread.
const PART: u64 = 1 << 20;

/// Most threads. Memory is not faster with more.
const THREADS: u64 = 8;

fn threads() -> u64 {
    static THREADS_HERE: OnceLock<u64> = OnceLock::new();
    *THREADS_HERE.get_or_init(|| {
        // Half of the processors are the program's.
        let processors = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        (processors / 2).clamp(1, THREADS)
    })
}

/// Calls `copy(from, len)` for parts of `0..len`, of which it is told once each, from any thread.
/// Gives whether all calls did.
pub(super) fn in_parts(len: u64, copy: impl Fn(u64, u64) -> bool + Sync) -> bool {
    in_so_many(len, (len / PART).clamp(1, threads()), &copy)
}

fn in_so_many(len: u64, parts: u64, copy: &(impl Fn(u64, u64) -> bool + Sync)) -> bool {
    let step = len.div_ceil(parts).next_multiple_of(4096);
    let well = AtomicBool::new(true);
    thread::scope(|scope| {
        let mut at = 0;
        while at < len {
            let (from, part) = (at, step.min(len - at));
            let well = &well;
            let copy = move || {
                if !copy(from, part) {
                    well.store(false, Ordering::Relaxed);
                }
            };
            at += part;
            // The last part is the caller's, and those that get no thread.
            if at == len || thread::Builder::new().spawn_scoped(scope, copy).is_err() {
                copy();
            }
        }
    });
    well.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    #[test]
    fn parts_are_all_there_is_and_do_not_overlap() {
        for (len, parts) in [(0, 1), (1, 1), (5000, 3), (10 << 20, 7), (8 << 20, 8)] {
            let seen = Mutex::new(Vec::new());
            let well = in_so_many(len, parts, &|from, part| {
                seen.lock().push((from, part));
                true
            });
            let mut seen = seen.into_inner();
            seen.sort();
            let end = seen.iter().fold(0, |end, &(from, part)| {
                assert_eq!(end, from);
                from + part
            });
            assert!(well && end == len && seen.len() as u64 <= parts);
        }
    }

    #[test]
    fn one_part_that_fails_is_enough() {
        assert!(!in_so_many(4 << 20, 4, &|from, _| from == 0));
    }
}
