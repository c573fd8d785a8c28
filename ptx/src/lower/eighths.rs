// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cvt` from and to floating-point numbers of eight bits, which come in pairs (PTX ISA,
//! "Alternate Floating-Point Data Formats").

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier, set};
use crate::exec::code::Width;
use crate::numeric::{
    HALF, NEAREST, decode_e4m3, decode_e5m2, decode_half, encode, encode_e4m3, encode_e5m2,
};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{E4m3x2, E5m2x2, F16x2, F32};

/// Five bits of exponent, not four.
const E5M2: u64 = 1;
const RELU: u64 = 2;

fn relu(k: u64, x: f64) -> f64 {
    if k & RELU != 0 && x <= 0.0 { 0.0 } else { x }
}

fn narrow(k: u64, x: f64) -> u64 {
    let x = relu(k, x);
    u64::from(match k & E5M2 != 0 {
        true => encode_e5m2(x),
        false => encode_e4m3(x),
    })
}

/// Of two numbers in single precision, the first becomes the upper one.
fn from_singles(k: u64, [a, b, _]: [u64; 3]) -> u64 {
    let one = |bits: u64| narrow(k, f64::from(f32::from_bits(bits as u32)));
    one(a) << 8 | one(b)
}

fn from_halves(k: u64, [a, ..]: [u64; 3]) -> u64 {
    let one = |bits: u64| narrow(k, f64::from(decode_half(bits as u16)));
    one(a >> 16) << 8 | one(a)
}

fn to_halves(k: u64, [a, ..]: [u64; 3]) -> u64 {
    let one = |bits: u64| {
        let x = match k & E5M2 != 0 {
            true => decode_e5m2(bits as u8),
            false => decode_e4m3(bits as u8),
        };
        u64::from(encode(relu(k, f64::from(x)), HALF, NEAREST))
    };
    one(a >> 8) << 16 | one(a)
}

/// Whether a conversion is one of these.
pub(crate) fn concerns(form: &Form) -> bool {
    form.types.iter().any(|ty| matches!(ty, E4m3x2 | E5m2x2))
}

pub(crate) fn cvt(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    const FINITE: super::form::Set = set(&[Modifier::Rn, Modifier::Satfinite]);
    const BACK: super::form::Set = set(&[Modifier::Rn]);
    let relu = if form.has(Modifier::Relu) { RELU } else { 0 };
    let k = |five: bool| if five { E5M2 | relu } else { relu };
    let (word, half) = (Width::Word, Width::Half);
    let rounding = form.modifiers & !Modifier::Relu.bit();
    match (&form.types[..], operands, rounding) {
        ([to @ (E4m3x2 | E5m2x2), F32], [d, x, y], FINITE) => {
            let k = k(*to == E5m2x2);
            b.apply(from_singles, k, (d, half), &[(x, word), (y, word)])
        }
        ([to @ (E4m3x2 | E5m2x2), F16x2], [d, x], FINITE) => {
            b.apply(from_halves, k(*to == E5m2x2), (d, half), &[(x, word)])
        }
        ([F16x2, from @ (E4m3x2 | E5m2x2)], [d, x], BACK) => {
            b.apply(to_halves, k(*from == E5m2x2), (d, word), &[(x, half)])
        }
        _ => Err(Refusal::Unsupported),
    }
}
