// SPDX-License-Identifier: MIT OR Apache-2.0
//! Orders in which warps and lanes get their turns, other than the usual one: a kernel whose
//! threads meet as they should gives the same results in all of them.

/// An order of turns. The same one runs a block in the same way each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Which warps and lanes go first, and for how long, is random; this is the seed.
    pub seed: u64,
    /// Lanes at the same instruction do not join: each runs by itself, until they meet in an
    /// instruction that demands it.
    pub lanes_apart: bool,
}

/// Random numbers that decide what is next.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choices(u64);

impl Choices {
    pub fn new(schedule: Schedule, which: u64) -> Choices {
        Choices(
            schedule
                .seed
                .wrapping_add(which.wrapping_mul(0x2545_f491_4f6c_dd1d)),
        )
    }

    /// Any number below `n`, which is not 0. (splitmix64)
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n.max(1) as u64) as usize
    }
}
