// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic in the 16-bit formats, one or two to a register. Each operation is computed exactly
//! in wider formats and rounded once.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::only_type;
use crate::exec::apply::Function;
use crate::exec::code::Width;
use crate::numeric::{BFLOAT, HALF, NEAREST, decode_bfloat, decode_half, encode, fma_odd};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{Bf16, Bf16x2, F16, F16x2};

/// What an operation has to know: the format, and modifiers.
const BF: u64 = 1;
const FTZ: u64 = 2;
const SAT: u64 = 4;
const RELU: u64 = 8;
const NAN: u64 = 16;
const XORSIGN: u64 = 32;
/// Two values to a register.
const PAIR: u64 = 64;

const SIGN: u16 = 0x8000;
const CANONICAL: u16 = 0x7fff;

fn flush(k: u64, bits: u16) -> u16 {
    if k & FTZ != 0 && k & BF == 0 && bits & 0x7c00 == 0 {
        bits & SIGN
    } else {
        bits
    }
}

fn decode(k: u64, bits: u16) -> f32 {
    if k & BF != 0 {
        return decode_bfloat(bits);
    }
    decode_half(flush(k, bits))
}

fn finish(k: u64, x: f64) -> u16 {
    let x = if k & SAT != 0 {
        crate::numeric::saturate64(x)
    } else {
        x
    };
    let x = if k & RELU != 0 && x <= 0.0 { 0.0 } else { x };
    let format = if k & BF != 0 { BFLOAT } else { HALF };
    let bits = encode(x, format, NEAREST);
    // What is below the normal numbers before it is rounded is flushed, even if rounding makes it
    // normal.
    const TINY: f64 = f64::from_bits(((1023 - 14) << 52) - (1 << 40));
    if k & FTZ != 0 && k & BF == 0 && x.abs() < TINY {
        bits & SIGN
    } else {
        bits
    }
}

/// Applies an operation to the one value of each operand, or to both.
#[inline(always)]
fn each(k: u64, [a, b, c]: [u64; 3], f: impl Fn(u16, u16, u16) -> u16) -> u64 {
    let low = f(a as u16, b as u16, c as u16);
    if k & PAIR == 0 {
        return low.into();
    }
    let high = f((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16);
    u64::from(high) << 16 | u64::from(low)
}

fn add_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, _| {
        finish(k, fma_odd(decode(k, a), 1.0, decode(k, b)))
    })
}

fn sub_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, _| {
        finish(k, fma_odd(decode(k, a), 1.0, decode(k, b ^ SIGN)))
    })
}

fn mul_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, _| {
        finish(k, f64::from(decode(k, a)) * f64::from(decode(k, b)))
    })
}

fn fma_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, c| {
        finish(k, fma_odd(decode(k, a), decode(k, b), decode(k, c)))
    })
}

/// The lesser or the greater (PTX ISA, "min" and "max" of half precision).
fn extreme(k: u64, a: u16, b: u16, max: bool) -> u16 {
    let sign = (a ^ b) & SIGN;
    let (a, b) = if k & XORSIGN != 0 {
        (a & !SIGN, b & !SIGN)
    } else {
        (a, b)
    };
    let (a, b) = (flush(k, a), flush(k, b));
    let (x, y) = (decode(k, a), decode(k, b));
    let none = if k & NAN != 0 {
        x.is_nan() || y.is_nan()
    } else {
        x.is_nan() && y.is_nan()
    };
    if none {
        return CANONICAL;
    }
    let first = if x.is_nan() {
        false
    } else if y.is_nan() {
        true
    } else if x == y {
        (a & SIGN != 0) != max
    } else {
        (x < y) != max
    };
    let result = if first { a } else { b };
    if k & XORSIGN != 0 {
        result & !SIGN | sign
    } else {
        result
    }
}

fn min_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, _| extreme(k, a, b, false))
}

fn max_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b, _| extreme(k, a, b, true))
}

/// Negates, or takes the sign away. What is not a number gets its one encoding.
fn sign(k: u64, a: u16, negate: bool) -> u16 {
    let infinity = if k & BF != 0 { 0x7f80 } else { 0x7c00 };
    let magnitude = flush(k, a) & !SIGN;
    match magnitude > infinity {
        true => CANONICAL,
        false if negate => magnitude | !a & SIGN,
        false => magnitude,
    }
}

fn neg_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, _, _| sign(k, a, true))
}

fn abs_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, _, _| sign(k, a, false))
}

fn ex2_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, _, _| {
        finish(k, f64::from(decode(k, a)).exp2())
    })
}

fn tanh_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, _, _| {
        finish(k, f64::from(decode(k, a)).tanh())
    })
}

/// Emits an operation of one to three operands.
fn emit(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    count: usize,
    function: Function,
) -> Result<(), Refusal> {
    let (mut k, width) = match only_type(form)? {
        F16 => (0, Width::Half),
        F16x2 => (PAIR, Width::Word),
        Bf16 => (BF, Width::Half),
        Bf16x2 => (BF | PAIR, Width::Word),
        _ => return Err(Refusal::Unsupported),
    };
    // The 16-bit formats only round to nearest.
    if super::float::rounding(form) != NEAREST {
        return Err(Refusal::Unsupported);
    }
    for (modifier, bit) in [
        (Modifier::Ftz, FTZ),
        (Modifier::Sat, SAT),
        (Modifier::Relu, RELU),
        (Modifier::PropagateNan, NAN),
        (Modifier::Xorsign, XORSIGN),
    ] {
        if form.has(modifier) {
            k |= bit;
        }
    }
    let Some((d, sources)) = operands.split_first().filter(|(_, s)| s.len() == count) else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let sources: Vec<_> = sources.iter().map(|source| (source, width)).collect();
    b.apply(function, k, (d, width), &sources)
}

macro_rules! operations {
    ($($name:ident: $count:literal $function:ident;)*) => {$(
        pub(crate) fn $name(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
            emit(b, form, operands, $count, $function)
        }
    )*};
}

operations! {
    add: 2 add_;
    sub: 2 sub_;
    mul: 2 mul_;
    fma: 3 fma_;
    min: 2 min_;
    max: 2 max_;
    neg: 1 neg_;
    abs: 1 abs_;
    ex2: 1 ex2_;
    tanh: 1 tanh_;
}

/// A comparison of two halves: the bits of the relations that it holds for.
const LESS: u64 = 1;
const EQUAL: u64 = 2;
const GREATER: u64 = 4;
const UNORDERED: u64 = 8;
/// The upper halves are compared.
const UPPER: u64 = 16;
const BFLOATS: u64 = 32;
/// What the result is combined with: 1 and, 2 or, 3 xor, and whether that is negated.
const COMBINE: u32 = 6;
const NEGATE: u64 = 1 << 8;
const FLUSH: u64 = 1 << 9;

/// The result of a comparison, combined with the predicate `c`.
fn compare_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let shift = if k & UPPER != 0 { 16 } else { 0 };
    let format = if k & BFLOATS != 0 { BF } else { 0 } | if k & FLUSH != 0 { FTZ } else { 0 };
    let x = decode(format, (a >> shift) as u16);
    let y = decode(format, (b >> shift) as u16);
    let relation = match x.partial_cmp(&y) {
        Some(core::cmp::Ordering::Less) => LESS,
        Some(core::cmp::Ordering::Equal) => EQUAL,
        Some(core::cmp::Ordering::Greater) => GREATER,
        None => UNORDERED,
    };
    let holds = u64::from(k & relation != 0);
    let other = c & 1 ^ u64::from(k & NEGATE != 0);
    match k >> COMBINE & 3 {
        1 => holds & other,
        2 => holds | other,
        3 => holds ^ other,
        _ => holds,
    }
}

/// The comparison that the modifiers name.
fn relations(form: &Form) -> Result<u64, Refusal> {
    use Modifier::*;
    let known = [
        (Eq, EQUAL),
        (Ne, LESS | GREATER),
        (Lt, LESS),
        (Le, LESS | EQUAL),
        (Gt, GREATER),
        (Ge, GREATER | EQUAL),
        (Equ, EQUAL | UNORDERED),
        (Neu, LESS | GREATER | UNORDERED),
        (Ltu, LESS | UNORDERED),
        (Leu, LESS | EQUAL | UNORDERED),
        (Gtu, GREATER | UNORDERED),
        (Geu, GREATER | EQUAL | UNORDERED),
        (Num, LESS | EQUAL | GREATER),
        (Nan, UNORDERED),
    ];
    let found = known.into_iter().find(|(modifier, _)| form.has(*modifier));
    found
        .map(|(_, relations)| relations)
        .ok_or(Refusal::Unsupported)
}

/// The constant of a comparison of pairs.
fn constant(form: &Form, bfloats: bool) -> Result<u64, Refusal> {
    let mut k = relations(form)? | if bfloats { BFLOATS } else { 0 };
    for (modifier, bits) in [
        (Modifier::And, 1 << COMBINE),
        (Modifier::Or, 2 << COMBINE),
        (Modifier::Xor, 3 << COMBINE),
        (Modifier::Ftz, FLUSH),
    ] {
        if form.has(modifier) {
            k |= bits;
        }
    }
    Ok(k)
}

/// Compares both halves of two registers: the results of the lower and the upper ones.
pub(crate) fn compare_pairs(
    b: &mut Builder<'_>,
    form: &Form,
    bfloats: bool,
    results: [&Operand; 2],
    sources: &[Operand],
) -> Result<(), Refusal> {
    let mut k = constant(form, bfloats)?;
    let combined = k >> COMBINE & 3 != 0;
    let mut operands: Vec<(Operand, Width)> = Vec::new();
    for (i, source) in sources.iter().enumerate() {
        operands.push(match (i, source) {
            (0 | 1, source) => (source.clone(), Width::Word),
            (_, Operand::Not(name)) => {
                k |= NEGATE;
                (Operand::Name(*name), Width::Predicate)
            }
            (_, source) => (source.clone(), Width::Predicate),
        });
    }
    if operands.len() != if combined { 3 } else { 2 } {
        return Err(Refusal::invalid("another number of operands"));
    }
    let operands: Vec<_> = operands
        .iter()
        .map(|(operand, width)| (operand, *width))
        .collect();
    // The first result may be an operand of the second comparison.
    let [low, high] = results;
    let first = b.apply_to_new(compare_, k, Width::Predicate, &operands)?;
    b.apply(compare_, k | UPPER, (high, Width::Predicate), &operands)?;
    let low = b.destination(low, Width::Predicate)?;
    b.copy(Width::Predicate, low, first)
}

/// `set` of both halves: ones or all bits where the comparison holds.
pub(crate) fn set_pairs(
    b: &mut Builder<'_>,
    form: &Form,
    bfloats: bool,
    yes: u32,
    d: &Operand,
    sources: &[Operand],
) -> Result<(), Refusal> {
    let mut rows = [crate::exec::code::Row::NONE; 2];
    let k = constant(form, bfloats)?;
    let widths = [Width::Word, Width::Word, Width::Predicate];
    let expected = if k >> COMBINE & 3 != 0 { 3 } else { 2 };
    if sources.len() != expected {
        return Err(Refusal::invalid("another number of operands"));
    }
    let operands: Vec<_> = sources.iter().zip(widths).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        let half = if i == 1 { UPPER } else { 0 };
        *row = b.apply_to_new(compare_, k | half, Width::Predicate, &operands)?;
    }
    let d = b.destination(d, Width::Word)?;
    b.apply_rows(
        join_,
        yes.into(),
        d,
        Width::Word,
        &[(rows[0], Width::Predicate), (rows[1], Width::Predicate)],
    );
    Ok(())
}

/// The halves of `yes` where the results hold.
fn join_(yes: u64, [low, high, _]: [u64; 3]) -> u64 {
    let low = if low != 0 { yes & 0xffff } else { 0 };
    let high = if high != 0 { yes & 0xffff_0000 } else { 0 };
    low | high
}
