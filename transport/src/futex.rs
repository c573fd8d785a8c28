// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sleeping on a word of shared memory (futex(2)).

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;
use vcuda_protocol::notify::Notify;

/// Wakes across processes: the futexes are not private.
#[derive(Debug, Default, Clone, Copy)]
pub struct Futex;

impl Notify for Futex {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        let timeout = futex::Timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        // Every outcome (woken, changed already, interrupted, timed out) means: look again.
        let _ = futex::wait(word, futex::Flags::empty(), expected, Some(&timeout));
    }

    fn wake(&self, word: &AtomicU32) {
        let _ = futex::wake(word, futex::Flags::empty(), i32::MAX as u32);
    }
}
