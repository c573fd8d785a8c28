// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operands: random bits, random numbers of ordinary size, numbers that nearly cancel the operand
//! before, and the values at which arithmetic goes wrong.

use super::CASES;

/// What an operand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum In {
    P,
    U16,
    U32,
    U64,
    F16,
    BF16,
    F16x2,
    BF16x2,
    F32,
    F64,
    /// A word that is mostly below 80: a count of bits.
    Count,
    /// Single precision between -2 pi and 2 pi.
    Angle,
    /// Small integers in a floating-point format, whose sums and products are exact.
    F16x2Int,
    BF16x2Int,
    Tf32Int,
    F32Int,
    F64Int,
    /// Numbers of ordinary size.
    F16x2Mild,
    BF16x2Mild,
    Tf32Mild,
    F32Mild,
    F64Mild,
    /// Full-range single precision between 2^-100 and 2^100.
    F32Wide,
    /// Just below and above 1, and just above the smallest normal number: products around the
    /// border of the subnormal numbers.
    F32NearOne,
    F32NearTiny,
    F16NearOne,
    F16NearTiny,
    /// Small integers in numbers of eight bits.
    E4m3x4Int,
    E5m2x4Int,
    /// Which two of four elements are stored, eight times; in their order, and in any.
    Ordered,
    Unordered,
    /// Which of two elements is stored, eight times.
    OneOfTwo,
}

impl In {
    pub fn bytes(self) -> usize {
        match self {
            In::P => 1,
            In::U16 | In::F16 | In::BF16 | In::F16NearOne | In::F16NearTiny => 2,
            In::U64 | In::F64 | In::F64Int | In::F64Mild => 8,
            _ => 4,
        }
    }
}

pub struct Random(pub u64);

impl Random {
    /// splitmix64
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick(&mut self, list: &[u64]) -> u64 {
        list[self.below(list.len() as u64) as usize]
    }
}

const INTEGERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
];

/// A binary format: bits of fraction and exponent.
#[derive(Clone, Copy)]
struct Format {
    fraction: u32,
    exponent: u32,
}

const E4M3: Format = Format {
    fraction: 3,
    exponent: 4,
};
const E5M2: Format = Format {
    fraction: 2,
    exponent: 5,
};
const F16: Format = Format {
    fraction: 10,
    exponent: 5,
};
const BF16: Format = Format {
    fraction: 7,
    exponent: 8,
};
const F32: Format = Format {
    fraction: 23,
    exponent: 8,
};
const F64: Format = Format {
    fraction: 52,
    exponent: 11,
};

fn float(random: &mut Random, format: Format, before: Option<u64>) -> u64 {
    let Format { fraction, exponent } = format;
    let total = fraction + exponent + 1;
    let all = u64::MAX >> (64 - total);
    let sign = 1u64 << (total - 1);
    let infinity = ((1u64 << exponent) - 1) << fraction;
    let one = ((1u64 << (exponent - 1)) - 1) << fraction;
    let unit = 1u64 << fraction;
    let special = [
        0,
        1,
        2,
        unit / 2,
        unit - 1,
        unit,
        unit + 1,
        one,
        one - 1,
        one + 1,
        one + unit,
        one - unit,
        one + unit / 2,
        one + fraction as u64 * unit,
        one + (fraction as u64 + 1) * unit,
        infinity - 1,
        infinity,
        infinity | (unit / 2),
        infinity | (unit / 2) | 5,
        infinity | 1,
        infinity | (unit - 1),
        // 2^31, 2^32, 2^63 or so, and a half below.
        (one + 31 * unit).min(infinity - 1),
        (one + 31 * unit - 1).min(infinity - 1),
        (one + 32 * unit).min(infinity - 1),
        (one + 63 * unit).min(infinity - 1),
        (one + 64 * unit).min(infinity - 1),
        (one + 15 * unit).min(infinity - 1),
        (one + 16 * unit - 1).min(infinity - 1),
        one + 7 * unit,
        one + 8 * unit - unit / 8,
    ];
    let bits = random.next();
    match random.below(8) {
        0 | 1 => random.pick(&special) | if bits & 1 != 0 { sign } else { 0 },
        2 | 3 => bits & all,
        4 => {
            // Near the operand before, of either sign.
            let near = before.unwrap_or(one);
            (near ^ (bits & sign))
                .wrapping_add(random.below(5))
                .wrapping_sub(2)
                & all
        }
        5 => {
            // Few significant bits.
            let keep = random.below(u64::from(fraction.min(12))) as u32;
            bits & all & !((1u64 << (fraction - keep)) - 1)
        }
        6 => {
            // Subnormal.
            bits & (sign | (unit - 1))
        }
        _ => {
            // Of ordinary size.
            let power = random.below(16) * unit;
            let magnitude = (one + 8 * unit).saturating_sub(power);
            (magnitude + (bits & (unit - 1))) | (bits & sign)
        }
    }
}

fn mild(random: &mut Random, format: Format) -> u64 {
    let Format { fraction, exponent } = format;
    let unit = 1u64 << fraction;
    let one = ((1u64 << (exponent - 1)) - 1) << fraction;
    let bits = random.next();
    let sign = (bits >> 63) << (fraction + exponent);
    sign | (one - random.below(6) * unit + (bits & (unit - 1)))
}

/// A small integer in a format, exactly.
fn whole(random: &mut Random, format: Format) -> u64 {
    let value = random.below(17) as i64 - 8;
    encode_integer(value, format)
}

fn encode_integer(value: i64, format: Format) -> u64 {
    let Format { fraction, exponent } = format;
    if value == 0 {
        return 0;
    }
    let magnitude = value.unsigned_abs();
    let power = magnitude.ilog2();
    let bias = (1u64 << (exponent - 1)) - 1;
    let mantissa = (magnitude << fraction >> power) & ((1 << fraction) - 1);
    u64::from(value < 0) << (fraction + exponent) | (bias + u64::from(power)) << fraction | mantissa
}

/// A value within a few of another one, of either sign.
fn near(random: &mut Random, value: u64, sign: u64) -> u64 {
    let distance = random.below(9).wrapping_sub(5);
    let scaled = distance.wrapping_mul(1 + random.below(3));
    value.wrapping_add(scaled) & (2 * sign - 1) | if random.below(2) == 0 { sign } else { 0 }
}

pub fn half_value(bits: u16) -> f64 {
    let magnitude = u64::from(bits & 0x7fff);
    let value = match magnitude >> 10 {
        31 if magnitude & 0x3ff != 0 => f64::NAN,
        31 => f64::INFINITY,
        0 => magnitude as f64 * 2f64.powi(-24),
        power => (0x400 | magnitude & 0x3ff) as f64 * 2f64.powi(power as i32 - 25),
    };
    if bits & 0x8000 != 0 { -value } else { value }
}

fn two(
    random: &mut Random,
    before: Option<u64>,
    mut one: impl FnMut(&mut Random, Option<u64>) -> u64,
) -> u64 {
    let low = one(random, before.map(|b| b & 0xffff));
    let high = one(random, before.map(|b| b >> 16 & 0xffff));
    low | high << 16
}

/// A word of parts.
fn times(count: u32, bits: u32, mut part: impl FnMut() -> u64) -> u64 {
    (0..count).fold(0, |word, i| word | part() << (i * bits))
}

fn value(random: &mut Random, input: In, before: Option<u64>) -> u64 {
    match input {
        In::P => random.below(2),
        In::U16 | In::U32 | In::U64 => {
            let bits = random.next();
            let value = match random.below(5) {
                0 => random.pick(&INTEGERS) ^ if bits & 1 != 0 { u64::MAX } else { 0 },
                1 => random
                    .pick(&INTEGERS)
                    .wrapping_add(random.below(5))
                    .wrapping_sub(2),
                2 => bits >> random.below(64),
                3 => before
                    .unwrap_or(bits)
                    .wrapping_add(random.below(3))
                    .wrapping_sub(1),
                _ => bits,
            };
            value & (u64::MAX >> (64 - input.bytes() * 8))
        }
        In::Count => match random.below(8) {
            0 => random.next() & 0xffff_ffff,
            1 => random.pick(&[0, 1, 31, 32, 33, 63, 64, 65, 255, 256, 0xffff_ffff]),
            _ => random.below(80),
        },
        In::F16 => float(random, F16, before),
        In::BF16 => float(random, BF16, before),
        In::F32 => float(random, F32, before),
        In::F64 => float(random, F64, before),
        In::F16x2 => two(random, before, |r, b| float(r, F16, b)),
        In::BF16x2 => two(random, before, |r, b| float(r, BF16, b)),
        In::F16x2Int => two(random, before, |r, _| whole(r, F16)),
        In::BF16x2Int => two(random, before, |r, _| whole(r, BF16)),
        In::Tf32Int | In::F32Int => whole(random, F32),
        In::F64Int => whole(random, F64),
        In::F16x2Mild => two(random, before, |r, _| mild(r, F16)),
        In::BF16x2Mild => two(random, before, |r, _| mild(r, BF16)),
        In::F32Mild => mild(random, F32),
        In::Tf32Mild => mild(random, F32) & !0x1fff,
        In::F64Mild => mild(random, F64),
        In::F32NearOne => near(random, 127 << 23, 1 << 31),
        In::F32NearTiny => near(random, 1 << 23, 1 << 31),
        In::F16NearOne => near(random, 15 << 10, 1 << 15),
        In::F16NearTiny => near(random, 1 << 10, 1 << 15),
        In::E4m3x4Int => times(4, 8, || whole(random, E4M3)),
        In::E5m2x4Int => times(4, 8, || whole(random, E5M2)),
        In::Ordered => times(8, 4, || {
            random.pick(&[0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110])
        }),
        In::Unordered => times(8, 4, || {
            let first = random.below(4);
            let second = (first + 1 + random.below(3)) % 4;
            second << 2 | first
        }),
        In::OneOfTwo => times(8, 4, || random.pick(&[0b0100, 0b1110])),
        In::Angle => {
            let x = (random.next() >> 40) as f32 / (1 << 24) as f32;
            u64::from(((x - 0.5) * 12.5).to_bits())
        }
        In::F32Wide => {
            let bits = random.next() & 0x807f_ffff;
            bits | (27 + random.below(200)) << 23
        }
    }
}

/// Operand `o` of case `c` is word `o * CASES + c`.
pub fn generate(ins: &[In], seed: u32) -> Vec<u64> {
    let mut random = Random(u64::from(seed));
    let mut words = vec![0; ins.len() * CASES];
    for case in 0..CASES {
        let mut before = None;
        for (o, &input) in ins.iter().enumerate() {
            let word = value(&mut random, input, before);
            words[o * CASES + case] = word;
            before = Some(word);
        }
    }
    words
}
