// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that are rare, each a function of its operands.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::{Ne32, only_type};
use crate::exec::code::{Row, Width};
use crate::exec::lanes::{self, setp};
use crate::exec::stack;
use crate::numeric::flush32;
use crate::parse::ast::Operand;
use crate::parse::ast::Type::*;

const COUNT: &str = "another number of operands";

fn word(operand: &Operand) -> (&Operand, Width) {
    (operand, Width::Word)
}

const HI: u64 = 1;
const SAT: u64 = 2;
const A_SIGNED: u64 = 4;
const B_SIGNED: u64 = 8;

/// `mad24`: 24 bits of each factor; the lower or the upper 32 bits of the product.
fn mad24_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let factor = |x: u64| {
        if k & A_SIGNED != 0 {
            i64::from((x as i32) << 8 >> 8)
        } else {
            (x & 0xff_ffff) as i64
        }
    };
    let product = factor(a) * factor(b);
    let part = if k & HI != 0 { product >> 16 } else { product };
    if k & SAT != 0 {
        return (part as i32).saturating_add(c as i32) as u32 as u64;
    }
    (part as u64).wrapping_add(c)
}

pub(crate) fn mad24(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, c] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let ty = only_type(form)?;
    let sat = form.has(Modifier::Sat);
    if !matches!(ty, U32 | S32) || sat && (ty != S32 || !form.has(Modifier::Hi)) {
        return Err(Refusal::Unsupported);
    }
    let k = if ty == S32 { A_SIGNED } else { 0 }
        | if form.has(Modifier::Hi) { HI } else { 0 }
        | if sat { SAT } else { 0 };
    b.apply(mad24_, k, word(d), &[word(x), word(y), word(c)])
}

/// `dp2a`: two halves of `a` with the lower or the upper two bytes of `b`.
fn dp2a_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let b = if k & HI != 0 { b >> 16 } else { b };
    (0..2).fold(c as u32, |sum, i| {
        let (half, byte) = ((a >> (16 * i)) as u16, (b >> (8 * i)) as u8);
        let half = if k & A_SIGNED != 0 {
            i32::from(half as i16)
        } else {
            half.into()
        };
        let byte = if k & B_SIGNED != 0 {
            i32::from(byte as i8)
        } else {
            byte.into()
        };
        sum.wrapping_add((half * byte) as u32)
    }) as u64
}

pub(crate) fn dp2a(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([d, x, y, c], &[xt @ (U32 | S32), yt @ (U32 | S32)]) = (operands, &form.types[..]) else {
        return Err(Refusal::Unsupported);
    };
    let k = if xt == S32 { A_SIGNED } else { 0 }
        | if yt == S32 { B_SIGNED } else { 0 }
        | if form.has(Modifier::Hi) { HI } else { 0 };
    b.apply(dp2a_, k, word(d), &[word(x), word(y), word(c)])
}

/// `szext`: the low bits of `a`, extended.
fn szext_(k: u64, [a, b, _]: [u64; 3]) -> u64 {
    let bits = if k & HI != 0 { b as u32 & 31 } else { b as u32 };
    let a = a as u32;
    let value = match bits {
        0 => 0,
        1..=31 if k & A_SIGNED != 0 => ((a << (32 - bits)) as i32 >> (32 - bits)) as u32,
        1..=31 => a << (32 - bits) >> (32 - bits),
        _ => a,
    };
    value.into()
}

pub(crate) fn szext(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([d, x, y], ty @ (U32 | S32)) = (operands, only_type(form)?) else {
        return Err(Refusal::Unsupported);
    };
    let k = if ty == S32 { A_SIGNED } else { 0 } | if form.has(Modifier::Wrap) { HI } else { 0 };
    b.apply(szext_, k, word(d), &[word(x), word(y)])
}

/// `fns`: the `offset`-th bit that is set, from `base` on, up or down.
fn fns_(_: u64, [mask, base, offset]: [u64; 3]) -> u64 {
    let (mask, offset) = (mask as u32, offset as i32);
    let none = u64::from(u32::MAX);
    let set = |at: i64| mask >> at & 1 != 0;
    let base = i64::from(base as u32);
    if offset == 0 {
        return if base < 32 && set(base) {
            base as u64
        } else {
            none
        };
    }
    let step = if offset > 0 { 1 } else { -1 };
    let mut left = offset.unsigned_abs();
    let mut at = base;
    while (0..32).contains(&at) {
        if set(at) {
            left -= 1;
            if left == 0 {
                return at as u64;
            }
        }
        at += step;
    }
    none
}

pub(crate) fn fns(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([d, x, y, z], B32) = (operands, only_type(form)?) else {
        return Err(Refusal::Unsupported);
    };
    b.apply(fns_, 0, word(d), &[word(x), word(y), word(z)])
}

/// `lop3` with a second result: whether the first is not zero, combined with a predicate.
pub(crate) fn lop3_and_test(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [
        Operand::Pair(d, p),
        x,
        y,
        z,
        Operand::Int(table @ 0..256),
        q,
    ] = operands
    else {
        return Err(Refusal::Unsupported);
    };
    let combine = match (form.has(Modifier::And), form.has(Modifier::Or)) {
        (true, false) => setp::AND,
        (false, true) => setp::OR,
        _ => return Err(Refusal::Unsupported),
    };
    let rows = [
        b.source(x, Width::Word)?,
        b.source(y, Width::Word)?,
        b.source(z, Width::Word)?,
    ];
    let (q, negated) = match q {
        Operand::Not(name) => (Operand::Name(*name), setp::NEGATED),
        other => (other.clone(), 0),
    };
    let q = b.source(&q, Width::Predicate)?;
    let value = b.new_register(Width::Word)?;
    let zero = b.constant(Width::Word, 0)?;
    let (logic, test) = (lanes::lop3(b.lanes), lanes::setp_test::<Ne32>(b.lanes));
    b.unguarded(|b| {
        b.emit(logic, &[value, rows[0], rows[1], rows[2]], &[0], 0, *table);
    });
    let p = b.destination(&Operand::Name(*p), Width::Predicate)?;
    let d = b.destination(&Operand::Name(*d), Width::Word)?;
    b.emit(
        test,
        &[p, value, zero, Row::NONE, q],
        &[0],
        0,
        combine | negated,
    );
    b.copy(Width::Word, d, value)
}

const FTZ: u64 = 1;
const NAN: u64 = 2;
const MAX: u64 = 4;

/// `min.xorsign.abs` and `max.xorsign.abs`: of the magnitudes, with the product's sign.
fn xorsign_(k: u64, [a, b, _]: [u64; 3]) -> u64 {
    let sign = (a ^ b) as u32 & 0x8000_0000;
    let magnitude = |x: u64| {
        let x = f32::from_bits(x as u32 & 0x7fff_ffff);
        if k & FTZ != 0 { flush32(x) } else { x }
    };
    let (x, y) = (magnitude(a), magnitude(b));
    let none = if k & NAN != 0 {
        x.is_nan() || y.is_nan()
    } else {
        x.is_nan() && y.is_nan()
    };
    if none {
        return 0x7fff_ffff;
    }
    let result = if k & MAX != 0 { x.max(y) } else { x.min(y) };
    (result.to_bits() | sign).into()
}

/// `min` and `max` with `.xorsign.abs`.
pub(crate) fn xorsign(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    max: bool,
) -> Result<(), Refusal> {
    let ([d, x, y], true) = (operands, form.has(Modifier::Abs)) else {
        return Err(Refusal::Unsupported);
    };
    let k = if form.has(Modifier::Ftz) { FTZ } else { 0 }
        | if form.has(Modifier::PropagateNan) {
            NAN
        } else {
            0
        }
        | if max { MAX } else { 0 };
    b.apply(xorsign_, k, word(d), &[word(x), word(y)])
}

/// `cvt.pack`: two integers, clamped to a few bits each, below what there is already.
fn pack_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let bits = k >> 8;
    let (low, high) = if k & A_SIGNED != 0 {
        (-(1i64 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    };
    let keep = (1u64 << bits) - 1;
    let part = |x: u64| i64::from(x as i32).clamp(low, high) as u64 & keep;
    let above = if bits < 16 { c << (2 * bits) } else { 0 };
    above | part(a) << bits | part(b)
}

/// `cvt.pack.sat`
pub(crate) fn pack(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let (&[to, S32, ref more @ ..], true) = (&form.types[..], form.has(Modifier::Sat)) else {
        return Err(Refusal::Unsupported);
    };
    let (bits, signed) = match to {
        U16 => (16, 0),
        S16 => (16, A_SIGNED),
        U8 => (8, 0),
        S8 => (8, A_SIGNED),
        U4 => (4, 0),
        S4 => (4, A_SIGNED),
        U2 => (2, 0),
        S2 => (2, A_SIGNED),
        _ => return Err(Refusal::Unsupported),
    };
    let k = bits << 8 | signed;
    match (operands, more) {
        ([d, x, y], []) if bits == 16 => b.apply(pack_, k, word(d), &[word(x), word(y)]),
        ([d, x, y, c], [B32]) if bits < 16 => {
            b.apply(pack_, k, word(d), &[word(x), word(y), word(c)])
        }
        _ => Err(Refusal::invalid(COUNT)),
    }
}

/// Bytes of a frame for `alloca`, if its function has any.
pub(crate) const STACK: u64 = 32 << 10;

/// `alloca`, `stacksave` and `stackrestore`: a part of the frame, and how much of it is used.
pub(crate) fn alloca(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let Some((start, top)) = b.stack else {
        return Err(Refusal::Unsupported);
    };
    if form.types[..] != [U64] {
        return Err(Refusal::Unsupported);
    }
    let double = |operand| (operand, Width::Double);
    match (form.name.as_str(), operands) {
        ("alloca", [d, size, rest @ ..]) => {
            let align = match rest {
                [] => 8,
                [Operand::Int(align)] if align.is_power_of_two() && *align <= 256 => *align,
                _ => return Err(Refusal::invalid("another alignment than 1 to 256")),
            };
            let size = b.source(size, Width::Double)?;
            let d = b.destination(d, Width::Double)?;
            let run = stack::allocate(b.lanes);
            b.emit(
                run,
                &[d, size, top, top],
                &[0, 3],
                start as i64,
                STACK << 16 | align,
            );
            Ok(())
        }
        ("stacksave", [d]) => {
            let (d, width) = double(d);
            let d = b.destination(d, width)?;
            b.apply_rows(same_, 0, d, Width::Double, &[(top, Width::Word)]);
            Ok(())
        }
        ("stackrestore", [a]) => {
            let a = b.source(a, Width::Double)?;
            b.apply_rows(
                lower_,
                STACK,
                top,
                Width::Word,
                &[(a, Width::Double), (top, Width::Word)],
            );
            Ok(())
        }
        _ => Err(Refusal::invalid(COUNT)),
    }
}

fn same_(_: u64, [a, ..]: [u64; 3]) -> u64 {
    a
}

/// What was saved, which cannot be more than there is.
fn lower_(_: u64, [saved, top, _]: [u64; 3]) -> u64 {
    saved.min(top)
}

/// `createpolicy`: policies change no result.
pub(crate) fn policy(
    b: &mut Builder<'_>,
    _form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let Some(d) = operands.first() else {
        return Err(Refusal::invalid(COUNT));
    };
    let (d, zero) = (
        b.destination(d, Width::Double)?,
        b.constant(Width::Double, 0)?,
    );
    b.copy(Width::Double, d, zero)
}

/// The largest numbers of the small formats: `.satfinite` gives them in place of infinities.
fn finite_(k: u64, [a, ..]: [u64; 3]) -> u64 {
    let (x, most) = (f64::from_bits(a), f64::from_bits(k << 16));
    if x.is_nan() {
        a
    } else {
        x.clamp(-most, most).to_bits()
    }
}

/// Emits the clamping of a double, in a row, to what a type holds.
pub(crate) fn finite(b: &mut Builder<'_>, value: Row, most: f64) -> Result<Row, Refusal> {
    let d = b.new_register(Width::Double)?;
    // The upper 48 bits of these numbers are all there is.
    b.unguarded(|b| {
        b.apply_rows(
            finite_,
            most.to_bits() >> 16,
            d,
            Width::Double,
            &[(value, Width::Double)],
        );
    });
    Ok(d)
}
