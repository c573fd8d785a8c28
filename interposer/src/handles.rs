// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables by handle.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

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

#[cfg(test)]
mod tests {
    use super::*;

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
