// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic that sm_100 adds: two numbers in single precision side by side (`.f32x2`), sums of a
//! 16-bit number and one in single precision (`.f32.f16`), and the extreme of three.

use super::Refusal;
use super::builder::Builder;
use super::float::{AddF32, FmaF32, MaxF32, MaxNanF32, MinF32, MinNanF32, MulF32, SubF32, flags};
use super::form::{Form, Modifier, set};
use crate::exec::apply::Function;
use crate::exec::code::Width;
use crate::exec::lanes::{Op2, Op3};
use crate::numeric::{decode_bfloat, decode_half};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{Bf16, F16, F32, F32x2};

/// The 16-bit operand is a bfloat; beyond the flags of `float`.
const BFLOAT: u64 = 16;

/// The variant of an operation whose flags are these.
macro_rules! by_flags {
    (@one $op:ident $flags:literal $kind:ident ($($x:expr),*)) => {
        <$op<$flags> as $kind>::apply($($x),*)
    };
    (@all $k:expr, $op:ident $kind:ident $x:tt $($flags:literal)*) => {
        match $k & 15 {
            $($flags => by_flags!(@one $op $flags $kind $x),)*
            _ => by_flags!(@one $op 15 $kind $x),
        }
    };
    ($k:expr, $op:ident as $kind:ident ($($x:expr),*)) => {
        by_flags!(@all $k, $op $kind ($($x),*) 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14)
    };
}

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

/// Applies an operation to the lower and to the upper numbers.
fn both(operands: [u64; 3], f: impl Fn([f32; 3]) -> f32) -> u64 {
    let low = f(operands.map(single));
    let high = f(operands.map(|bits| single(bits >> 32)));
    u64::from(high.to_bits()) << 32 | u64::from(low.to_bits())
}

fn pair_add(k: u64, operands: [u64; 3]) -> u64 {
    both(operands, |[a, b, _]| by_flags!(k, AddF32 as Op2(a, b)))
}

fn pair_sub(k: u64, operands: [u64; 3]) -> u64 {
    both(operands, |[a, b, _]| by_flags!(k, SubF32 as Op2(a, b)))
}

fn pair_mul(k: u64, operands: [u64; 3]) -> u64 {
    both(operands, |[a, b, _]| by_flags!(k, MulF32 as Op2(a, b)))
}

fn pair_fma(k: u64, operands: [u64; 3]) -> u64 {
    both(operands, |[a, b, c]| by_flags!(k, FmaF32 as Op3(a, b, c)))
}

fn widened(k: u64, bits: u64) -> f32 {
    match k & BFLOAT != 0 {
        true => decode_bfloat(bits as u16),
        false => decode_half(bits as u16),
    }
}

fn mixed_add(k: u64, [a, c, _]: [u64; 3]) -> u64 {
    let (a, c) = (widened(k, a), single(c));
    by_flags!(k, AddF32 as Op2(a, c)).to_bits().into()
}

fn mixed_sub(k: u64, [a, c, _]: [u64; 3]) -> u64 {
    let (a, c) = (widened(k, a), single(c));
    by_flags!(k, SubF32 as Op2(a, c)).to_bits().into()
}

fn mixed_fma(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let (a, b, c) = (widened(k, a), widened(k, b), single(c));
    by_flags!(k, FmaF32 as Op3(a, b, c)).to_bits().into()
}

/// Whether an instruction is one of these, by its types.
pub(crate) fn concerns(form: &Form) -> bool {
    matches!(form.types[..], [F32x2] | [F32, F16 | Bf16])
}

/// Emits `add`, `sub`, `mul` or `fma`.
pub(crate) fn emit(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let k = u64::from(flags(form));
    let pairs = form.types[..] == [F32x2];
    let function: Function = match (form.name.as_str(), pairs) {
        ("add", true) => pair_add,
        ("sub", true) => pair_sub,
        ("mul", true) => pair_mul,
        ("fma", true) => pair_fma,
        ("add", false) => mixed_add,
        ("sub", false) => mixed_sub,
        ("fma", false) => mixed_fma,
        _ => return Err(Refusal::Unsupported),
    };
    const ROUND: super::form::Set = set(&[Modifier::Rn, Modifier::Rz, Modifier::Rm, Modifier::Rp]);
    let more = if pairs { Modifier::Ftz } else { Modifier::Sat };
    if form.modifiers & !(ROUND | more.bit()) != 0 {
        return Err(Refusal::Unsupported);
    }
    let count = if form.name == "fma" { 3 } else { 2 };
    let Some((d, sources)) = operands.split_first().filter(|(_, s)| s.len() == count) else {
        return Err(Refusal::invalid("another number of operands"));
    };
    if pairs {
        let sources: Vec<_> = sources.iter().map(|s| (s, Width::Double)).collect();
        return b.apply(function, k, (d, Width::Double), &sources);
    }
    // All but the last are 16-bit numbers.
    let bfloat = if form.ty(1) == Some(Bf16) { BFLOAT } else { 0 };
    let width = |i| {
        if i + 1 < count {
            Width::Half
        } else {
            Width::Word
        }
    };
    let sources: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(i, source)| (source, width(i)))
        .collect();
    b.apply(function, k | bfloat, (d, Width::Word), &sources)
}

const FTZ: u64 = 1;
const NAN: u64 = 2;
const ABS: u64 = 4;
const MAX: u64 = 8;

/// The lesser or the greater of two numbers, as `min` and `max` have it.
fn extreme(max: bool, nan: bool, ftz: bool, a: f32, b: f32) -> f32 {
    match (max, nan, ftz) {
        (false, false, false) => <MinF32<0> as Op2>::apply(a, b),
        (false, false, true) => <MinF32<4> as Op2>::apply(a, b),
        (false, true, false) => <MinNanF32<0> as Op2>::apply(a, b),
        (false, true, true) => <MinNanF32<4> as Op2>::apply(a, b),
        (true, false, false) => <MaxF32<0> as Op2>::apply(a, b),
        (true, false, true) => <MaxF32<4> as Op2>::apply(a, b),
        (true, true, false) => <MaxNanF32<0> as Op2>::apply(a, b),
        (true, true, true) => <MaxNanF32<4> as Op2>::apply(a, b),
    }
}

fn of_three(k: u64, operands: [u64; 3]) -> u64 {
    let [a, b, c] = operands.map(|bits| match k & ABS {
        0 => single(bits),
        _ => single(bits).abs(),
    });
    let one = |a, b| extreme(k & MAX != 0, k & NAN != 0, k & FTZ != 0, a, b);
    one(one(a, b), c).to_bits().into()
}

/// `min` and `max` of three numbers.
pub(crate) fn extreme_of_three(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    max: bool,
) -> Result<(), Refusal> {
    let ([d, x, y, z], &[F32], false) = (operands, &form.types[..], form.has(Modifier::Xorsign))
    else {
        return Err(Refusal::Unsupported);
    };
    let bit = |modifier, bit| if form.has(modifier) { bit } else { 0 };
    let k = bit(Modifier::Ftz, FTZ)
        | bit(Modifier::PropagateNan, NAN)
        | bit(Modifier::Abs, ABS)
        | if max { MAX } else { 0 };
    let word = |operand| (operand, Width::Word);
    b.apply(of_three, k, word(d), &[word(x), word(y), word(z)])
}
