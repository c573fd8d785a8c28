// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arithmetic on two 16-bit integers in a register: `add`, `min` and `max` of `.u16x2` and `.s16x2`.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::apply::Function;
use crate::exec::code::Width;
use crate::parse::ast::{Operand, Type};

const SIGNED: u64 = 1;
const RELU: u64 = 2;

/// Applies an operation to both halves, as the numbers that they stand for.
fn each(k: u64, [a, b, _]: [u64; 3], f: impl Fn(i32, i32) -> i32) -> u64 {
    let one = |shift: u32| {
        let value = |bits: u64| match k & SIGNED != 0 {
            true => i32::from((bits >> shift) as i16),
            false => i32::from((bits >> shift) as u16),
        };
        let result = f(value(a), value(b));
        let result = if k & RELU != 0 { result.max(0) } else { result };
        u64::from(result as u16)
    };
    one(16) << 16 | one(0)
}

fn add_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, |a, b| a + b)
}

fn min_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, i32::min)
}

fn max_(k: u64, operands: [u64; 3]) -> u64 {
    each(k, operands, i32::max)
}

fn emit(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    function: Function,
    relu: bool,
) -> Result<(), Refusal> {
    let allowed = if relu { Modifier::Relu.bit() } else { 0 };
    let signed = form.ty(0) == Some(Type::S16x2);
    if form.modifiers & !allowed != 0 || form.has(Modifier::Relu) && !signed {
        return Err(Refusal::Unsupported);
    }
    let [d, x, y] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let relu = if form.has(Modifier::Relu) { RELU } else { 0 };
    let k = if signed { SIGNED | relu } else { relu };
    let word = |operand| (operand, Width::Word);
    b.apply(function, k, word(d), &[word(x), word(y)])
}

pub(crate) fn add(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    emit(b, form, operands, add_, false)
}

pub(crate) fn min(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    emit(b, form, operands, min_, true)
}

pub(crate) fn max(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    emit(b, form, operands, max_, true)
}
