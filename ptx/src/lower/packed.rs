// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic in the 16-bit formats, one or two to a register. Each operation is computed exactly
//! in wider formats and rounded once.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::only_type;
use crate::exec::lanes::ops;
use crate::numeric::{BFLOAT, HALF, NEAREST, decode_bfloat, decode_half, encode, fma_odd};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{self, Bf16, Bf16x2, F16, F16x2};

/// Flags of an operation: the format, then `.ftz`, `.sat`, `.relu`.
const BF: u8 = 1;
const FTZ: u8 = 2;
const SAT: u8 = 4;
const RELU: u8 = 8;

#[inline(always)]
fn decode<const F: u8>(bits: u16) -> f32 {
    if F & BF != 0 {
        return decode_bfloat(bits);
    }
    let flushed = if F & FTZ != 0 && bits & 0x7c00 == 0 {
        bits & 0x8000
    } else {
        bits
    };
    decode_half(flushed)
}

#[inline(always)]
fn finish<const F: u8>(x: f64) -> u16 {
    let x = if F & SAT != 0 {
        crate::numeric::saturate64(x)
    } else {
        x
    };
    let x = if F & RELU != 0 && x <= 0.0 { 0.0 } else { x };
    let bits = encode(x, if F & BF != 0 { BFLOAT } else { HALF }, NEAREST);
    // What is below the normal numbers before it is rounded is flushed, even if rounding makes it
    // normal.
    const TINY: f64 = f64::from_bits(((1023 - 14) << 52) - (1 << 40));
    if F & FTZ != 0 && F & BF == 0 && x.abs() < TINY {
        bits & 0x8000
    } else {
        bits
    }
}

#[inline(always)]
fn pair(d: [u16; 2]) -> u32 {
    u32::from(d[1]) << 16 | u32::from(d[0])
}

#[inline(always)]
fn halves(a: u32) -> [u16; 2] {
    [a as u16, (a >> 16) as u16]
}

#[inline(always)]
fn fma1<const F: u8>(a: u16, b: u16, c: u16) -> u16 {
    finish::<F>(fma_odd(decode::<F>(a), decode::<F>(b), decode::<F>(c)))
}

#[inline(always)]
fn add1<const F: u8>(a: u16, b: u16) -> u16 {
    finish::<F>(fma_odd(decode::<F>(a), 1.0, decode::<F>(b)))
}

#[inline(always)]
fn mul1<const F: u8>(a: u16, b: u16) -> u16 {
    finish::<F>(f64::from(decode::<F>(a)) * f64::from(decode::<F>(b)))
}

#[inline(always)]
fn min1<const F: u8>(a: u16, b: u16, max: bool) -> u16 {
    let flush = |a: u16| {
        if F & FTZ != 0 && F & BF == 0 && a & 0x7c00 == 0 {
            a & 0x8000
        } else {
            a
        }
    };
    let (a, b) = (flush(a), flush(b));
    let (x, y) = (decode::<F>(a), decode::<F>(b));
    if x.is_nan() && y.is_nan() {
        return 0x7fff;
    }
    let first = if x.is_nan() {
        false
    } else if y.is_nan() {
        true
    } else if x == y {
        (a & 0x8000 != 0) != max
    } else {
        (x < y) != max
    };
    if first { a } else { b }
}

/// Negates, or takes the sign away. What is not a number gets its one encoding.
#[inline(always)]
fn sign<const F: u8>(a: u16, negate: bool) -> u16 {
    let (magnitude, infinity) = (a & 0x7fff, if F & BF != 0 { 0x7f80 } else { 0x7c00 });
    let magnitude = if F & FTZ != 0 && magnitude & infinity == 0 {
        0
    } else {
        magnitude
    };
    match magnitude > infinity {
        true => 0x7fff,
        false if negate => magnitude | !a & 0x8000,
        false => magnitude,
    }
}

ops! {
    Add1<const F: u8>(u16, u16) -> u16 = |a, b| add1::<F>(a, b);
    Sub1<const F: u8>(u16, u16) -> u16 = |a, b| add1::<F>(a, b ^ 0x8000);
    Mul1<const F: u8>(u16, u16) -> u16 = |a, b| mul1::<F>(a, b);
    Fma1<const F: u8>(u16, u16, u16) -> u16 = |a, b, c| fma1::<F>(a, b, c);
    Min1<const F: u8>(u16, u16) -> u16 = |a, b| min1::<F>(a, b, false);
    Max1<const F: u8>(u16, u16) -> u16 = |a, b| min1::<F>(a, b, true);
    Neg1<const F: u8>(u16) -> u16 = |a| sign::<F>(a, true);
    Abs1<const F: u8>(u16) -> u16 = |a| sign::<F>(a, false);
    Neg2<const F: u8>(u32) -> u32 = |a| pair(halves(a).map(|a| sign::<F>(a, true)));
    Abs2<const F: u8>(u32) -> u32 = |a| pair(halves(a).map(|a| sign::<F>(a, false)));
    Add2<const F: u8>(u32, u32) -> u32 = |a, b| {
        let (a, b) = (halves(a), halves(b));
        pair([add1::<F>(a[0], b[0]), add1::<F>(a[1], b[1])])
    };
    Sub2<const F: u8>(u32, u32) -> u32 = |a, b| {
        let (a, b) = (halves(a), halves(b ^ 0x8000_8000));
        pair([add1::<F>(a[0], b[0]), add1::<F>(a[1], b[1])])
    };
    Mul2<const F: u8>(u32, u32) -> u32 = |a, b| {
        let (a, b) = (halves(a), halves(b));
        pair([mul1::<F>(a[0], b[0]), mul1::<F>(a[1], b[1])])
    };
    Fma2<const F: u8>(u32, u32, u32) -> u32 = |a, b, c| {
        let (a, b, c) = (halves(a), halves(b), halves(c));
        pair([fma1::<F>(a[0], b[0], c[0]), fma1::<F>(a[1], b[1], c[1])])
    };
    Min2<const F: u8>(u32, u32) -> u32 = |a, b| {
        let (a, b) = (halves(a), halves(b));
        pair([min1::<F>(a[0], b[0], false), min1::<F>(a[1], b[1], false)])
    };
    Max2<const F: u8>(u32, u32) -> u32 = |a, b| {
        let (a, b) = (halves(a), halves(b));
        pair([min1::<F>(a[0], b[0], true), min1::<F>(a[1], b[1], true)])
    };
    Ex2<const F: u8>(u16) -> u16 = |a| finish::<F>(f64::from(decode::<F>(a)).exp2());
    Tanh<const F: u8>(u16) -> u16 = |a| finish::<F>(f64::from(decode::<F>(a)).tanh());
}

fn flags(form: &Form, ty: Type) -> Result<u8, Refusal> {
    let mut flags = match ty {
        F16 | F16x2 => 0,
        Bf16 | Bf16x2 => BF,
        _ => return Err(Refusal::Unsupported),
    };
    for (modifier, bit) in [
        (Modifier::Ftz, FTZ),
        (Modifier::Sat, SAT),
        (Modifier::Relu, RELU),
    ] {
        if form.has(modifier) {
            flags |= bit;
        }
    }
    Ok(flags)
}

/// Emits the variant of an operation for one value or for two.
macro_rules! variant {
    ($b:ident, $form:ident, $method:ident, $one:ident, $two:ident, ($($operand:expr),*)) => {{
        let ty = only_type($form)?;
        let flags = flags($form, ty)?;
        match (matches!(ty, F16x2 | Bf16x2), flags) {
            (false, 0) => $b.$method::<$one<0>>($($operand),*),
            (false, 1) => $b.$method::<$one<1>>($($operand),*),
            (false, 2) => $b.$method::<$one<2>>($($operand),*),
            (false, 4) => $b.$method::<$one<4>>($($operand),*),
            (false, 5) => $b.$method::<$one<5>>($($operand),*),
            (false, 6) => $b.$method::<$one<6>>($($operand),*),
            (false, 8) => $b.$method::<$one<8>>($($operand),*),
            (false, 9) => $b.$method::<$one<9>>($($operand),*),
            (false, 10) => $b.$method::<$one<10>>($($operand),*),
            (true, 0) => $b.$method::<$two<0>>($($operand),*),
            (true, 1) => $b.$method::<$two<1>>($($operand),*),
            (true, 2) => $b.$method::<$two<2>>($($operand),*),
            (true, 4) => $b.$method::<$two<4>>($($operand),*),
            (true, 5) => $b.$method::<$two<5>>($($operand),*),
            (true, 6) => $b.$method::<$two<6>>($($operand),*),
            (true, 8) => $b.$method::<$two<8>>($($operand),*),
            (true, 9) => $b.$method::<$two<9>>($($operand),*),
            (true, 10) => $b.$method::<$two<10>>($($operand),*),
            _ => Err(Refusal::Unsupported),
        }
    }};
}

const COUNT: &str = "another number of operands";

pub(crate) fn add(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    nearest(form)?;
    variant!(b, form, rare2, Add1, Add2, (d, x, y))
}

pub(crate) fn sub(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    nearest(form)?;
    variant!(b, form, rare2, Sub1, Sub2, (d, x, y))
}

pub(crate) fn mul(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    nearest(form)?;
    variant!(b, form, rare2, Mul1, Mul2, (d, x, y))
}

pub(crate) fn fma(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, z] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    nearest(form)?;
    variant!(b, form, rare3, Fma1, Fma2, (d, x, y, z))
}

pub(crate) fn min(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    if form.has(Modifier::PropagateNan) {
        return Err(Refusal::Unsupported);
    }
    variant!(b, form, rare2, Min1, Min2, (d, x, y))
}

pub(crate) fn max(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    if form.has(Modifier::PropagateNan) {
        return Err(Refusal::Unsupported);
    }
    variant!(b, form, rare2, Max1, Max2, (d, x, y))
}

pub(crate) fn neg(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match (only_type(form)?, form.has(Modifier::Ftz)) {
        (F16, false) => b.op1::<Neg1<0>>(d, x),
        (F16, true) => b.op1::<Neg1<FTZ>>(d, x),
        (F16x2, false) => b.op1::<Neg2<0>>(d, x),
        (F16x2, true) => b.op1::<Neg2<FTZ>>(d, x),
        (Bf16, false) => b.op1::<Neg1<BF>>(d, x),
        (Bf16x2, false) => b.op1::<Neg2<BF>>(d, x),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn abs(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match (only_type(form)?, form.has(Modifier::Ftz)) {
        (F16, false) => b.op1::<Abs1<0>>(d, x),
        (F16, true) => b.op1::<Abs1<FTZ>>(d, x),
        (F16x2, false) => b.op1::<Abs2<0>>(d, x),
        (F16x2, true) => b.op1::<Abs2<FTZ>>(d, x),
        (Bf16, false) => b.op1::<Abs1<BF>>(d, x),
        (Bf16x2, false) => b.op1::<Abs2<BF>>(d, x),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn ex2(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match (only_type(form)?, form.has(Modifier::Ftz)) {
        (F16, false) => b.rare1::<Ex2<0>>(d, x),
        (Bf16, _) => b.rare1::<Ex2<1>>(d, x),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn tanh(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F16 => b.rare1::<Tanh<0>>(d, x),
        Bf16 => b.rare1::<Tanh<1>>(d, x),
        _ => Err(Refusal::Unsupported),
    }
}

/// The 16-bit formats only round to nearest.
fn nearest(form: &Form) -> Result<(), Refusal> {
    if super::float::rounding(form) == NEAREST {
        Ok(())
    } else {
        Err(Refusal::Unsupported)
    }
}
