// SPDX-License-Identifier: MIT OR Apache-2.0
//! How one side sleeps on a word of shared memory and the other wakes it.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use crate::ring;

/// Sleeping and waking on a word that both sides see. On one machine this is a futex; in a virtual
/// machine, the driver's doorbell. Spurious wake-ups are allowed, lost ones are not.
pub trait Notify: Send + Sync {
    /// Sleeps while `word` holds `expected`, at most for `timeout`.
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration);
    /// Wakes whoever sleeps on `word`.
    fn wake(&self, word: &AtomicU32);
    /// How long it is worth looking before sleeping.
    fn spin(&self) -> Duration {
        ring::spin()
    }
}

/// Waits by yielding. For tests, where both sides are threads of one process.
#[derive(Debug, Default, Clone, Copy)]
pub struct Yield;

impl Notify for Yield {
    fn wait(&self, _word: &AtomicU32, _expected: u32, _timeout: Duration) {
        std::thread::yield_now();
    }
    fn wake(&self, _word: &AtomicU32) {}
}
