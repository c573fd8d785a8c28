// SPDX-License-Identifier: MIT OR Apache-2.0
//! Floating-point arithmetic in single and double precision. The 16-bit formats are in `packed`.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::{only_type, pick2};
use super::packed;
use crate::exec::lanes::ops;
use crate::numeric::{self, DOWN, NEAREST, UP, ZERO, canonical32, flush32, saturate32};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{F32, F64};

/// Flags of a single-precision operation, as a constant of its type: the rounding mode in the two
/// low bits, then `.ftz` and `.sat`.
const FTZ: u8 = 4;
const SAT: u8 = 8;

#[inline(always)]
fn input<const F: u8>(x: f32) -> f32 {
    if F & FTZ != 0 { flush32(x) } else { x }
}

/// Saturates, or gives what is not a number its one encoding.
#[inline(always)]
fn output<const F: u8>(x: f32) -> f32 {
    let x = if F & FTZ != 0 { flush32(x) } else { x };
    saturated::<F>(x)
}

/// The same for the result of a multiplication or division. One that is subnormal before it is rounded to so
/// many bits is flushed, even if rounding makes it normal; `scaled` is the result times 2^64.
#[inline(always)]
fn product<const F: u8>(x: f32, scaled: f32) -> f32 {
    const SMALLEST: f32 = f32::from_bits((127 - 126 + 64) << 23);
    if F & FTZ != 0 && scaled.abs() < SMALLEST {
        return saturated::<F>(0f32.copysign(x));
    }
    saturated::<F>(x)
}

const SCALE: f32 = (1u128 << 64) as f32;

#[inline(always)]
fn saturated<const F: u8>(x: f32) -> f32 {
    if F & SAT != 0 {
        saturate32(x)
    } else {
        canonical32(x)
    }
}

/// Flags of the multiply-adds that are most common.
pub(crate) const FMA: u8 = NEAREST;
pub(crate) const FMA_FTZ: u8 = NEAREST | FTZ;

const fn mode(flags: u8) -> u8 {
    flags & 3
}

ops! {
    AddF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        output::<F>(if mode(F) == NEAREST { a + b } else { numeric::add32(a, b, mode(F)) })
    };
    SubF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        output::<F>(if mode(F) == NEAREST { a - b } else { numeric::add32(a, -b, mode(F)) })
    };
    MulF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        let mul = |a: f32, b: f32| if mode(F) == NEAREST { a * b } else { numeric::mul32(a, b, mode(F)) };
        product::<F>(mul(a, b), if F & FTZ != 0 { mul(a * SCALE, b) } else { 0.0 })
    };
    FmaF32<const F: u8>(f32, f32, f32) -> f32 = |a, b, c| {
        let (a, b, c) = (input::<F>(a), input::<F>(b), input::<F>(c));
        let fma = |a: f32, b: f32, c: f32| {
            if mode(F) == NEAREST { a.mul_add(b, c) } else { numeric::fma32(a, b, c, mode(F)) }
        };
        product::<F>(fma(a, b, c), if F & FTZ != 0 { fma(a * SCALE, b, c * SCALE) } else { 0.0 })
    };
    DivF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        let div = |a: f32, b: f32| if mode(F) == NEAREST { a / b } else { numeric::div32(a, b, mode(F)) };
        product::<F>(div(a, b), if F & FTZ != 0 { div(a * SCALE, b) } else { 0.0 })
    };
    DivApproxF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        // The reciprocal of a larger divisor is 0.
        const LARGEST: f32 = f32::from_bits((127 + 126) << 23);
        let (a, b) = (input::<F>(a), input::<F>(b));
        let quotient = if b.abs() > LARGEST { a * 0f32.copysign(b) } else { a / b };
        product::<F>(quotient, if F & FTZ != 0 { a * SCALE / b } else { 0.0 })
    };
    RcpF32<const F: u8>(f32) -> f32 = |a| {
        let a = input::<F>(a);
        output::<F>(if mode(F) == NEAREST { 1.0 / a } else { numeric::div32(1.0, a, mode(F)) })
    };
    SqrtF32<const F: u8>(f32) -> f32 = |a| {
        let a = input::<F>(a);
        output::<F>(if mode(F) == NEAREST { a.sqrt() } else { numeric::sqrt32(a, mode(F)) })
    };
    RsqrtF32<const F: u8>(f32) -> f32 = |a| output::<F>((1.0 / f64::from(input::<F>(a)).sqrt()) as f32);
    SinF32<const F: u8>(f32) -> f32 = |a| output::<F>(f64::from(input::<F>(a)).sin() as f32);
    CosF32<const F: u8>(f32) -> f32 = |a| output::<F>(f64::from(input::<F>(a)).cos() as f32);
    Ex2F32<const F: u8>(f32) -> f32 = |a| output::<F>(input::<F>(a).exp2());
    Lg2F32<const F: u8>(f32) -> f32 = |a| output::<F>(input::<F>(a).log2());
    TanhF32<const F: u8>(f32) -> f32 = |a| output::<F>(input::<F>(a).tanh());
    AbsF32<const F: u8>(f32) -> f32 = |a| canonical32(input::<F>(a).abs());
    NegF32<const F: u8>(f32) -> f32 = |a| canonical32(-input::<F>(a));
    MinF32<const F: u8>(f32, f32) -> f32 = |a, b| canonical32(min32(input::<F>(a), input::<F>(b)));
    MaxF32<const F: u8>(f32, f32) -> f32 = |a, b| canonical32(max32(input::<F>(a), input::<F>(b)));
    MinNanF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        if a.is_nan() || b.is_nan() { f32::from_bits(0x7fff_ffff) } else { min32(a, b) }
    };
    MaxNanF32<const F: u8>(f32, f32) -> f32 = |a, b| {
        let (a, b) = (input::<F>(a), input::<F>(b));
        if a.is_nan() || b.is_nan() { f32::from_bits(0x7fff_ffff) } else { max32(a, b) }
    };
    CopysignF32(f32, f32) -> f32 = |a, b| b.copysign(a);

    AddF64<const M: u8>(f64, f64) -> f64 = |a, b| nan64(a, b, if M == NEAREST { a + b } else { numeric::add64(a, b, M) });
    SubF64<const M: u8>(f64, f64) -> f64 = |a, b| nan64(a, b, if M == NEAREST { a - b } else { numeric::add64(a, -b, M) });
    MulF64<const M: u8>(f64, f64) -> f64 = |a, b| nan64(a, b, if M == NEAREST { a * b } else { numeric::mul64(a, b, M) });
    FmaF64<const M: u8>(f64, f64, f64) -> f64 = |a, b, c| {
        let x = if M == NEAREST { a.mul_add(b, c) } else { numeric::fma64(a, b, c, M) };
        let x = nan64(a, c, x);
        if b.is_nan() { quiet(b) } else { x }
    };
    DivF64<const M: u8>(f64, f64) -> f64 = |a, b| {
        let x = if M == NEAREST { a / b } else { numeric::div64(a, b, M) };
        nan64(b, a, x)
    };
    RcpF64<const M: u8>(f64) -> f64 = |a| if M == NEAREST { 1.0 / a } else { numeric::div64(1.0, a, M) };
    SqrtF64<const M: u8>(f64) -> f64 = |a| if M == NEAREST { a.sqrt() } else { numeric::sqrt64(a, M) };
    // These two have neither more bits than a word of their operand, nor of their result.
    RcpApproxF64(f64) -> f64 = |a| upper(flush64(1.0 / flush64(upper(a))));
    RsqrtApproxFtzF64(f64) -> f64 = |a| upper(1.0 / flush64(upper(a)).sqrt());
    RsqrtApproxF64(f64) -> f64 = |a| numeric::rsqrt64(a);
    AbsF64(f64) -> f64 = |a| if a.is_nan() { quiet(a) } else { a.abs() };
    NegF64(f64) -> f64 = |a| if a.is_nan() { quiet(a) } else { -a };
    MinF64(f64, f64) -> f64 = |a, b| min64(a, b);
    MaxF64(f64, f64) -> f64 = |a, b| max64(a, b);
    CopysignF64(f64, f64) -> f64 = |a, b| b.copysign(a);
}

/// A signaling one becomes a quiet one.
#[inline(always)]
fn quiet(nan: f64) -> f64 {
    f64::from_bits(nan.to_bits() | 1 << 51)
}

/// Which of two operands that are not numbers becomes the result: the second, as in the hardware.
/// (Of three it is the second, or else the third.)
#[inline(always)]
fn nan64(a: f64, b: f64, x: f64) -> f64 {
    let x = if a.is_nan() { quiet(a) } else { x };
    if b.is_nan() {
        quiet(b)
    } else if x.is_nan() && !a.is_nan() {
        f64::from_bits(0xfff8 << 48)
    } else {
        x
    }
}

#[inline(always)]
fn upper(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & !0xffff_ffff)
}

#[inline(always)]
fn flush64(x: f64) -> f64 {
    if x.abs() < f64::MIN_POSITIVE {
        0.0f64.copysign(x)
    } else {
        x
    }
}

/// The number if one of the two is none; -0 is less than +0.
#[inline(always)]
fn min32(a: f32, b: f32) -> f32 {
    let less = if a == b {
        f32::from_bits(a.to_bits() | b.to_bits())
    } else if a < b {
        a
    } else {
        b
    };
    if b.is_nan() { a } else { less }
}

#[inline(always)]
fn max32(a: f32, b: f32) -> f32 {
    let more = if a == b {
        f32::from_bits(a.to_bits() & b.to_bits())
    } else if a > b {
        a
    } else {
        b
    };
    if b.is_nan() { a } else { more }
}

#[inline(always)]
fn min64(a: f64, b: f64) -> f64 {
    let less = if a == b {
        f64::from_bits(a.to_bits() | b.to_bits())
    } else if a < b {
        a
    } else {
        b
    };
    one_number(a, b, less)
}

#[inline(always)]
fn one_number(a: f64, b: f64, x: f64) -> f64 {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => quiet(b),
        (false, true) => a,
        _ => x,
    }
}

#[inline(always)]
fn max64(a: f64, b: f64) -> f64 {
    let more = if a == b {
        f64::from_bits(a.to_bits() & b.to_bits())
    } else if a > b {
        a
    } else {
        b
    };
    one_number(a, b, more)
}

/// The rounding mode that the modifiers name; to nearest without one.
pub(crate) fn rounding(form: &Form) -> u8 {
    match () {
        () if form.has(Modifier::Rz) => ZERO,
        () if form.has(Modifier::Rm) => DOWN,
        () if form.has(Modifier::Rp) => UP,
        () => NEAREST,
    }
}

pub(crate) fn flags(form: &Form) -> u8 {
    let bit = |modifier, bit| if form.has(modifier) { bit } else { 0 };
    rounding(form) | bit(Modifier::Ftz, FTZ) | bit(Modifier::Sat, SAT)
}

/// Emits the variant of an operation whose flags are these; the common ones are the fast ones.
macro_rules! flagged {
    ($flags:expr, $b:ident, $fast:ident, $rare:ident, $op:ident($($operand:expr),*)) => {
        match $flags {
            0 => $b.$fast::<$op<0>>($($operand),*),
            1 => $b.$rare::<$op<1>>($($operand),*),
            2 => $b.$rare::<$op<2>>($($operand),*),
            3 => $b.$rare::<$op<3>>($($operand),*),
            4 => $b.$fast::<$op<4>>($($operand),*),
            5 => $b.$rare::<$op<5>>($($operand),*),
            6 => $b.$rare::<$op<6>>($($operand),*),
            7 => $b.$rare::<$op<7>>($($operand),*),
            8 => $b.$rare::<$op<8>>($($operand),*),
            9 => $b.$rare::<$op<9>>($($operand),*),
            10 => $b.$rare::<$op<10>>($($operand),*),
            11 => $b.$rare::<$op<11>>($($operand),*),
            12 => $b.$rare::<$op<12>>($($operand),*),
            13 => $b.$rare::<$op<13>>($($operand),*),
            14 => $b.$rare::<$op<14>>($($operand),*),
            _ => $b.$rare::<$op<15>>($($operand),*),
        }
    };
}

/// Emits the variant for `.ftz` or not.
macro_rules! flushed {
    ($form:expr, $b:ident, $method:ident, $op:ident($($operand:expr),*)) => {
        if $form.has(Modifier::Ftz) { $b.$method::<$op<4>>($($operand),*) } else { $b.$method::<$op<0>>($($operand),*) }
    };
}

/// Emits the variant of a double-precision operation with this rounding mode.
macro_rules! rounded {
    ($form:expr, $b:ident, $fast:ident, $rare:ident, $op:ident($($operand:expr),*)) => {
        match rounding($form) {
            NEAREST => $b.$fast::<$op<0>>($($operand),*),
            ZERO => $b.$rare::<$op<1>>($($operand),*),
            DOWN => $b.$rare::<$op<2>>($($operand),*),
            _ => $b.$rare::<$op<3>>($($operand),*),
        }
    };
}

const COUNT: &str = "another number of operands";

pub(crate) fn add(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op2, rare2, AddF32(d, x, y)),
        F64 => rounded!(form, b, op2, rare2, AddF64(d, x, y)),
        _ => packed::add(b, form, operands),
    }
}

pub(crate) fn sub(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op2, rare2, SubF32(d, x, y)),
        F64 => rounded!(form, b, op2, rare2, SubF64(d, x, y)),
        _ => packed::sub(b, form, operands),
    }
}

pub(crate) fn mul(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op2, rare2, MulF32(d, x, y)),
        F64 => rounded!(form, b, op2, rare2, MulF64(d, x, y)),
        _ => packed::mul(b, form, operands),
    }
}

pub(crate) fn fma(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if super::mixed::concerns(form) {
        return super::mixed::emit(b, form, operands);
    }
    let [d, x, y, z] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op3, rare3, FmaF32(d, x, y, z)),
        F64 => rounded!(form, b, op3, rare3, FmaF64(d, x, y, z)),
        _ => packed::fma(b, form, operands),
    }
}

/// `div`: `.approx` and `.full` are computed exactly where the ISA bounds their errors.
pub(crate) fn div(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 if form.has(Modifier::Approx) => flushed!(form, b, op2, DivApproxF32(d, x, y)),
        F32 => flagged!(flags(form), b, op2, rare2, DivF32(d, x, y)),
        F64 => rounded!(form, b, op2, rare2, DivF64(d, x, y)),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn rcp(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op1, rare1, RcpF32(d, x)),
        F64 if form.has(Modifier::Approx) => b.rare1::<RcpApproxF64>(d, x),
        F64 => rounded!(form, b, op1, rare1, RcpF64(d, x)),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn sqrt(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flagged!(flags(form), b, op1, rare1, SqrtF32(d, x)),
        F64 => rounded!(form, b, op1, rare1, SqrtF64(d, x)),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn rsqrt(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flushed!(form, b, op1, RsqrtF32(d, x)),
        F64 if form.has(Modifier::Ftz) => b.rare1::<RsqrtApproxFtzF64>(d, x),
        F64 => b.op1::<RsqrtApproxF64>(d, x),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn sin(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    single(form)?;
    flushed!(form, b, rare1, SinF32(d, x))
}

pub(crate) fn cos(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    single(form)?;
    flushed!(form, b, rare1, CosF32(d, x))
}

pub(crate) fn ex2(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    if only_type(form)? != F32 {
        return packed::ex2(b, form, operands);
    }
    flushed!(form, b, rare1, Ex2F32(d, x))
}

pub(crate) fn lg2(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    single(form)?;
    flushed!(form, b, rare1, Lg2F32(d, x))
}

pub(crate) fn tanh(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    if only_type(form)? != F32 {
        return packed::tanh(b, form, operands);
    }
    b.rare1::<TanhF32<0>>(d, x)
}

fn single(form: &Form) -> Result<(), Refusal> {
    if only_type(form)? == F32 {
        Ok(())
    } else {
        Err(Refusal::Unsupported)
    }
}

pub(crate) fn abs(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flushed!(form, b, op1, AbsF32(d, x)),
        F64 => b.op1::<AbsF64>(d, x),
        _ => packed::abs(b, form, operands),
    }
}

pub(crate) fn neg(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    match only_type(form)? {
        F32 => flushed!(form, b, op1, NegF32(d, x)),
        F64 => b.op1::<NegF64>(d, x),
        _ => packed::neg(b, form, operands),
    }
}

pub(crate) fn min(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return super::mixed::extreme_of_three(b, form, operands, false);
    };
    match only_type(form)? {
        F32 if form.has(Modifier::Xorsign) => super::rare::xorsign(b, form, operands, false),
        F32 if form.has(Modifier::PropagateNan) => flushed!(form, b, rare2, MinNanF32(d, x, y)),
        F32 => flushed!(form, b, op2, MinF32(d, x, y)),
        F64 => b.op2::<MinF64>(d, x, y),
        _ => packed::min(b, form, operands),
    }
}

pub(crate) fn max(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y] = operands else {
        return super::mixed::extreme_of_three(b, form, operands, true);
    };
    match only_type(form)? {
        F32 if form.has(Modifier::Xorsign) => super::rare::xorsign(b, form, operands, true),
        F32 if form.has(Modifier::PropagateNan) => flushed!(form, b, rare2, MaxNanF32(d, x, y)),
        F32 => flushed!(form, b, op2, MaxF32(d, x, y)),
        F64 => b.op2::<MaxF64>(d, x, y),
        _ => packed::max(b, form, operands),
    }
}

pub(crate) fn copysign(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    pick2!(b, only_type(form)?, operands; F32 => CopysignF32, F64 => CopysignF64,)
}
