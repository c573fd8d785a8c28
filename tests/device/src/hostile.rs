// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that breaks the rules: which one, and when, follows from a seed.
//!
//! Each time that a driver starts the device, it draws anew which faults it will show, and how often:
//! a device that always did everything wrong would never get past the greeting.

/// What to do wrong with a chain that is to be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Say that so many bytes were written.
    Length(u32),
    /// Answer with this status.
    Status(u32),
    /// Name this session.
    Session(u32),
    /// Return no answer, only the chain.
    Silent,
    /// Keep the chain.
    Drop,
    /// Keep it for a while.
    Delay,
    /// Return it twice.
    Twice,
    /// Return a chain that there is not.
    Bogus(u32),
}

/// xorshift64*: enough to choose faults, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

const KINDS: u64 = 8;

#[derive(Debug)]
pub struct Hostile {
    random: Random,
    /// Which kinds of faults are shown.
    kinds: u64,
    /// One chain in so many is returned wrongly.
    rarity: u64,
    /// Whether the configuration space is garbage, and the answer to the greeting.
    pub config_lies: bool,
    pub hello_lies: bool,
}

impl Hostile {
    pub fn new(seed: u64) -> Self {
        let mut hostile = Self {
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            kinds: 0,
            rarity: 1,
            config_lies: false,
            hello_lies: false,
        };
        hostile.draw();
        hostile
    }

    /// A driver has started the device.
    pub fn draw(&mut self) {
        self.kinds = self.random.next() >> 20;
        self.rarity = [3, 10, 30, 100, 300][self.random.below(5) as usize];
        self.config_lies = self.random.one_in(8);
        self.hello_lies = self.random.one_in(8);
    }

    /// Whether to tell a lie.
    pub fn lies(&mut self) -> bool {
        self.random.one_in(4)
    }

    /// A configuration with a field that is wrong. (A number of queues that there are not would make
    /// User-mode Linux complain, before the driver can.)
    pub fn configuration(&self, right: &[u8]) -> Vec<u8> {
        let mut wrong = right.to_vec();
        let field = self.kinds as usize % 3 * 4;
        let lie = (self.kinds as u32 >> 2 & 1) * 0xdead_beef;
        let lie = if field == 8 { lie % 3 } else { lie };
        if let Some(bytes) = wrong.get_mut(field..field + 4) {
            bytes.copy_from_slice(&lie.to_le_bytes());
        }
        wrong
    }

    /// Whether to interrupt or send an event for no reason.
    pub fn interrupts(&mut self) -> bool {
        let rarity = self.rarity;
        self.random.one_in(rarity)
    }

    /// An event that means nothing, or something else: kind, session, and the length to claim.
    pub fn event(&mut self) -> (u32, u32, u32) {
        let kind = self.random.below(4) as u32;
        let session = if self.random.one_in(2) {
            self.random.below(8) as u32
        } else {
            self.random.next() as u32
        };
        let len = [8, 8, 8, 0, 4, 4096, u32::MAX][self.random.below(7) as usize];
        (kind, session, len)
    }

    pub fn fault(&mut self) -> Fault {
        let rarity = self.rarity;
        if !self.random.one_in(rarity) {
            return Fault::None;
        }
        let kind = self.random.below(KINDS);
        if self.kinds & (1 << kind) == 0 {
            return Fault::None;
        }
        match kind {
            0 => Fault::Length(
                [0, 3, 15, 17, 4096, 1 << 20, u32::MAX][self.random.below(7) as usize],
            ),
            1 => Fault::Status([1, 2, 3, 4, 5, 6, 0xffff_ffff][self.random.below(7) as usize]),
            2 => Fault::Session(self.random.below(4) as u32),
            3 => Fault::Silent,
            4 => Fault::Drop,
            5 => Fault::Twice,
            6 => Fault::Bogus([256, 0xffff, 1, 100, u32::MAX][self.random.below(5) as usize]),
            _ => Fault::Delay,
        }
    }

    /// Whether it is time for a delayed chain.
    pub fn releases(&mut self) -> bool {
        self.random.one_in(3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults = |seed| {
            let mut hostile = Hostile::new(seed);
            (0..1000).map(|_| hostile.fault()).collect::<Vec<_>>()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
    }

    #[test]
    fn every_fault_is_shown_to_somebody() {
        let mut seen = std::collections::HashSet::new();
        for seed in 0..64 {
            let mut hostile = Hostile::new(seed);
            seen.extend((0..2000).map(|_| std::mem::discriminant(&hostile.fault())));
        }
        assert_eq!(seen.len() as u64, KINDS + 1);
    }
}
