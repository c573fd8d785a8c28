// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic that PTX defines and Rust does not: directed rounding, small floating-point formats,
//! flushing and saturation (PTX ISA, "Floating Point Instructions").
//!
//! Single precision is computed in double precision with *rounding to odd*: the last bit of an
//! inexact result is set, which keeps enough of what was lost for the second rounding to be right.

use rustc_apfloat::ieee::Double;
use rustc_apfloat::{Float, Round};

/// Rounding modes.
pub(crate) const NEAREST: u8 = 0;
pub(crate) const ZERO: u8 = 1;
pub(crate) const DOWN: u8 = 2;
pub(crate) const UP: u8 = 3;
/// To nearest, ties away from zero.
pub(crate) const AWAY: u8 = 4;

/// Single-precision results that are not a number have one encoding.
#[inline(always)]
pub(crate) fn canonical32(x: f32) -> f32 {
    // On the bits, because the compiler may take any encoding for as good as another.
    let bits = x.to_bits();
    f32::from_bits(if bits & 0x7fff_ffff > 0x7f80_0000 {
        0x7fff_ffff
    } else {
        bits
    })
}

/// Subnormal numbers become zeros of the same sign.
#[inline(always)]
pub(crate) fn flush32(x: f32) -> f32 {
    let bits = x.to_bits();
    if bits & 0x7f80_0000 == 0 {
        f32::from_bits(bits & 0x8000_0000)
    } else {
        x
    }
}

/// Clamped to [0, 1]; not a number becomes 0.
#[inline(always)]
pub(crate) fn saturate32(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 1.0 { x } else { 1.0 }
}

#[inline(always)]
pub(crate) fn saturate64(x: f64) -> f64 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 1.0 { x } else { 1.0 }
}

/// The sum, and what its rounding lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// A rounded value and the sign of what it lost, rounded to odd instead.
fn odd(s: f64, lost: f64) -> f64 {
    if lost == 0.0 || !s.is_finite() || !lost.is_finite() {
        return s;
    }
    if s == 0.0 {
        return f64::from_bits(1 | if lost < 0.0 { 1 << 63 } else { 0 });
    }
    let outward = (lost > 0.0) == (s > 0.0);
    let truncated = if outward {
        s.to_bits()
    } else {
        s.to_bits() - 1
    };
    f64::from_bits(truncated | 1)
}

/// Rounds to single precision.
pub(crate) fn to_single(x: f64, mode: u8) -> f32 {
    let nearest = x as f32;
    let wide = f64::from(nearest);
    match mode {
        ZERO if wide.abs() > x.abs() => f32::from_bits(nearest.to_bits() - 1),
        DOWN if wide > x => nearest.next_down(),
        UP if wide < x => nearest.next_up(),
        _ => nearest,
    }
}

/// Rounds to nearest or to another integer, as the mode says.
pub(crate) fn to_integral(x: f64, mode: u8) -> f64 {
    match mode {
        NEAREST => x.round_ties_even(),
        ZERO => x.trunc(),
        DOWN => x.floor(),
        AWAY => x.round(),
        _ => x.ceil(),
    }
}

/// An exact zero sum of terms of different signs is negative when rounding down.
fn zero_sum(s: f64, a: f64, b: f64, mode: u8) -> f64 {
    let positive = |x: f64| x == 0.0 && x.is_sign_positive();
    if mode == DOWN && positive(s) && !(positive(a) && positive(b)) {
        -0.0
    } else {
        s
    }
}

#[inline(never)]
pub(crate) fn add32(a: f32, b: f32, mode: u8) -> f32 {
    fma32(a, 1.0, b, mode)
}

#[inline(never)]
pub(crate) fn mul32(a: f32, b: f32, mode: u8) -> f32 {
    to_single(f64::from(a) * f64::from(b), mode)
}

#[inline(never)]
pub(crate) fn fma32(a: f32, b: f32, c: f32, mode: u8) -> f32 {
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let (s, lost) = two_sum(p, c);
    if !s.is_finite() {
        return (p + c) as f32;
    }
    to_single(zero_sum(odd(s, lost), p, c, mode), mode)
}

#[inline(never)]
pub(crate) fn div32(a: f32, b: f32, mode: u8) -> f32 {
    let (a, b) = (f64::from(a), f64::from(b));
    let q = a / b;
    if !q.is_finite() || b.is_infinite() {
        return q as f32;
    }
    let rest = (-q).mul_add(b, a);
    to_single(odd(q, if b < 0.0 { -rest } else { rest }), mode)
}

#[inline(never)]
pub(crate) fn sqrt32(a: f32, mode: u8) -> f32 {
    let a = f64::from(a);
    let s = a.sqrt();
    if !s.is_finite() {
        return s as f32;
    }
    to_single(odd(s, (-s).mul_add(s, a)), mode)
}

fn round(mode: u8) -> Round {
    match mode {
        ZERO => Round::TowardZero,
        DOWN => Round::TowardNegative,
        UP => Round::TowardPositive,
        AWAY => Round::NearestTiesToAway,
        _ => Round::NearestTiesToEven,
    }
}

fn double(x: f64) -> Double {
    Double::from_bits(u128::from(x.to_bits()))
}

fn native(x: Double) -> f64 {
    f64::from_bits(x.to_bits() as u64)
}

#[inline(never)]
pub(crate) fn add64(a: f64, b: f64, mode: u8) -> f64 {
    native(double(a).add_r(double(b), round(mode)).value)
}

#[inline(never)]
pub(crate) fn mul64(a: f64, b: f64, mode: u8) -> f64 {
    native(double(a).mul_r(double(b), round(mode)).value)
}

#[inline(never)]
pub(crate) fn fma64(a: f64, b: f64, c: f64, mode: u8) -> f64 {
    native(double(a).mul_add_r(double(b), double(c), round(mode)).value)
}

#[inline(never)]
pub(crate) fn div64(a: f64, b: f64, mode: u8) -> f64 {
    native(double(a).div_r(double(b), round(mode)).value)
}

#[inline(never)]
pub(crate) fn sqrt64(a: f64, mode: u8) -> f64 {
    let s = a.sqrt();
    if !s.is_finite() || s == 0.0 {
        return s;
    }
    // Scaled so that the remainder does not underflow; the factors are powers of two.
    let (t, b) = if a < 1e-200 {
        (s * 2f64.powi(300), a * 2f64.powi(300) * 2f64.powi(300))
    } else {
        (s, a)
    };
    let rest = (-t).mul_add(t, b);
    match mode {
        ZERO | DOWN if rest < 0.0 => s.next_down(),
        UP if rest > 0.0 => s.next_up(),
        _ => s,
    }
}

/// A floating-point format of at most 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    pub fraction: u32,
    pub exponent: u32,
}

pub(crate) const HALF: Format = Format {
    fraction: 10,
    exponent: 5,
};
pub(crate) const BFLOAT: Format = Format {
    fraction: 7,
    exponent: 8,
};

/// Encodes a value (exact, or rounded to odd) in a format. Not a number becomes 0x7fff.
#[inline]
pub(crate) fn encode(x: f64, format: Format, mode: u8) -> u16 {
    let Format { fraction, exponent } = format;
    let bits = x.to_bits();
    let sign = (bits >> 63) as u32;
    let infinity = ((1u32 << exponent) - 1) << fraction;
    let place = |magnitude: u32| (sign << (fraction + exponent) | magnitude) as u16;
    if x.is_nan() {
        return 0x7fff;
    }
    if x.is_infinite() {
        return place(infinity);
    }
    let raw = (bits >> 52 & 0x7ff) as i32;
    let significand = bits & ((1 << 52) - 1) | if raw == 0 { 0 } else { 1 << 52 };
    if significand == 0 {
        return place(0);
    }
    let bias = (1i32 << (exponent - 1)) - 1;
    let power = raw.max(1) - 1023;
    let below = (1 - bias - power).max(0) as u32;
    let shift = (52 - fraction + below).min(62);
    let kept = significand >> shift;
    let rest = significand & ((1 << shift) - 1);
    let half = 1u64 << (shift - 1);
    let up = match mode {
        NEAREST => rest > half || rest == half && kept & 1 != 0,
        AWAY => rest >= half,
        ZERO => false,
        DOWN => rest != 0 && sign == 1,
        _ => rest != 0 && sign == 0,
    };
    let kept = kept as u32 + u32::from(up);
    let biased = if below > 0 {
        0
    } else {
        (power + bias - 1) as u32
    };
    let magnitude = (biased << fraction).saturating_add(kept);
    if biased >= 1 << exponent || magnitude >= infinity {
        let to_infinity = match mode {
            NEAREST | AWAY => true,
            ZERO => false,
            DOWN => sign == 1,
            _ => sign == 0,
        };
        return place(if to_infinity { infinity } else { infinity - 1 });
    }
    place(magnitude)
}

/// The value of an encoding.
#[inline(always)]
pub(crate) fn decode_half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let magnitude = u32::from(bits & 0x7fff);
    let exponent = magnitude >> 10;
    // Scaled by 2^112 the half's exponent becomes a single's, subnormal numbers included.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    let value = if exponent == 31 {
        0x7f80_0000 | magnitude << 13
    } else {
        scaled.to_bits()
    };
    f32::from_bits(sign | value)
}

/// Eight bits: a sign, four of exponent, three of fraction. There is no infinity.
#[inline(always)]
pub(crate) fn decode_e4m3(bits: u8) -> f32 {
    let magnitude = u16::from(bits & 0x7f);
    if magnitude == 0x7f {
        return f32::NAN;
    }
    // A half whose exponent is biased by 8 more.
    let half = u16::from(bits & 0x80) << 8 | magnitude << 7;
    decode_half(half) * 256.0
}

/// Eight bits: a sign, five of exponent, two of fraction.
#[inline(always)]
pub(crate) fn decode_e5m2(bits: u8) -> f32 {
    decode_half(u16::from(bits) << 8)
}

/// To nearest; what is larger than all numbers becomes the largest (`.satfinite`).
pub(crate) fn encode_e4m3(x: f64) -> u8 {
    const WIDER: Format = Format {
        fraction: 3,
        exponent: 5,
    };
    if x.is_nan() {
        return 0x7f;
    }
    // With a larger exponent there is room beyond the largest number, which looks like infinity.
    let bits = encode(x.clamp(-448.0, 448.0) / 256.0, WIDER, NEAREST);
    (bits >> 8 << 7 | bits & 0x7f) as u8
}

/// Likewise.
pub(crate) fn encode_e5m2(x: f64) -> u8 {
    const E5M2: Format = Format {
        fraction: 2,
        exponent: 5,
    };
    if x.is_nan() {
        return 0x7f;
    }
    encode(x.clamp(-57344.0, 57344.0), E5M2, NEAREST) as u8
}

#[inline(always)]
pub(crate) fn decode_bfloat(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The sum of two values of a 16-bit format, rounded to nearest.
pub(crate) fn add_half(a: u16, b: u16, format: Format) -> u16 {
    let decode = |bits| {
        if format.exponent == HALF.exponent {
            decode_half(bits)
        } else {
            decode_bfloat(bits)
        }
    };
    encode(fma_odd(decode(a), 1.0, decode(b)), format, NEAREST)
}

/// a * b + c of values with at most 24 significant bits, rounded to odd.
#[inline]
pub(crate) fn fma_odd(a: f32, b: f32, c: f32) -> f64 {
    let (p, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let (s, lost) = two_sum(p, c);
    if s.is_finite() { odd(s, lost) } else { p + c }
}

/// An integer as a double, rounded to odd.
pub(crate) fn integer_odd(value: i128) -> f64 {
    let s = value as f64;
    odd(s, (value - s as i128) as f64)
}

/// An integer as a double.
pub(crate) fn integer_to_double(value: i128, mode: u8) -> f64 {
    let s = value as f64;
    let lost = value - s as i128;
    match mode {
        ZERO if (lost < 0) == (value > 0) && lost != 0 => f64::from_bits(s.to_bits() - 1),
        DOWN if lost < 0 => s.next_down(),
        UP if lost > 0 => s.next_up(),
        _ => s,
    }
}

/// `cvt.rna.tf32.f32`: ten bits of fraction are kept, ties away from zero.
#[inline(always)]
pub(crate) fn to_tf32(x: f32, mode: u8) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() && mode != AWAY {
        return 0x7fff_e000;
    }
    if bits & 0x7f80_0000 == 0x7f80_0000 {
        return bits & 0xffff_e000;
    }
    let increment = match mode {
        AWAY => 0x1000,
        NEAREST => 0xfff + (bits >> 13 & 1),
        _ => 0,
    };
    bits.wrapping_add(increment) & 0xffff_e000
}
/// The reciprocal square root, within a hair of half a unit in the last place: that of the quotient has two roundings.
#[inline(always)]
pub(crate) fn rsqrt64(a: f64) -> f64 {
    let first = 1.0 / a.sqrt();
    if !(f64::MIN_POSITIVE..=f64::MAX).contains(&a) {
        return first;
    }
    // One step of Newton's method on the part of the number in 1..4, where nothing underflows.
    let exponent = ((a.to_bits() >> 52) as i64 - 1023) & !1;
    let power = |exponent: i64| f64::from_bits(((exponent + 1023) as u64) << 52);
    let part = f64::from_bits(a.to_bits().wrapping_sub((exponent as u64) << 52));
    let y = first * power(exponent / 2);
    let product = part * y;
    let rest = (-product).mul_add(y, 1.0) - part.mul_add(y, -product) * y;
    (0.5 * y).mul_add(rest, y) * power(-exponent / 2)
}
