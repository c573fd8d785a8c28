// SPDX-License-Identifier: MIT OR Apache-2.0
//! Video instructions, on one part of a word and on all (PTX ISA, "Scalar Video Instructions" and
//! "SIMD Video Instructions").

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::code::Width;
use crate::parse::ast::{Operand, Type};

/// Fields of the constant of an operation: position and bits.
#[derive(Clone, Copy)]
struct Field(u32, u32);

impl Field {
    fn of(self, k: u64) -> u64 {
        k >> self.0 & ((1 << self.1) - 1)
    }

    fn put(self, value: u64) -> u64 {
        value << self.0
    }
}

const OP: Field = Field(0, 4);
const D_SIGNED: Field = Field(4, 1);
const A_SIGNED: Field = Field(5, 1);
const B_SIGNED: Field = Field(6, 1);
const SATURATE: Field = Field(7, 1);
const COMPARISON: Field = Field(8, 3);
/// What follows: nothing, an addition, the lesser, the greater of result and `c`.
const SECOND: Field = Field(11, 2);
// Of instructions on one part:
const A_PART: Field = Field(13, 3);
const B_PART: Field = Field(16, 3);
const D_PART: Field = Field(19, 3);
const NEGATED: Field = Field(22, 3);
const PLUS_ONE: Field = Field(25, 1);
const SHIFT: Field = Field(26, 4);
const WRAP: Field = Field(30, 1);
// Of those on all parts, which have none of those above: a digit of three bits for each lane, and a
// mask of lanes.
const A_LANES: Field = Field(13, 12);
const B_LANES: Field = Field(25, 12);
const MASK: Field = Field(37, 4);
const WORDS: Field = Field(41, 1);

const ADD: u64 = 0;
const SUB: u64 = 1;
const ABSDIFF: u64 = 2;
const MIN: u64 = 3;
const MAX: u64 = 4;
const SHL: u64 = 5;
const SHR: u64 = 6;
const SET: u64 = 7;
const AVERAGE: u64 = 8;

/// Parts of a word: all of it, `.b0` to `.b3`, `.h0` and `.h1`.
const ALL: u64 = 0;

fn part_bits(part: u64) -> (u32, u32) {
    match part {
        1..=4 => (8 * (part as u32 - 1), 8),
        5 | 6 => (16 * (part as u32 - 5), 16),
        _ => (0, 32),
    }
}

fn extend(word: u64, (shift, bits): (u32, u32), signed: bool) -> i64 {
    let value = (word as u32 >> shift) as u64 & (u64::MAX >> (64 - bits));
    if signed {
        (value << (64 - bits)) as i64 >> (64 - bits)
    } else {
        value as i64
    }
}

fn compare(code: u64, x: i64, y: i64) -> bool {
    match code {
        0 => x == y,
        1 => x != y,
        2 => x < y,
        3 => x <= y,
        4 => x > y,
        _ => x >= y,
    }
}

fn saturate(value: i128, bits: u32, signed: bool) -> i128 {
    let (low, high) = if signed {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    };
    value.clamp(low, high)
}

fn primary(k: u64, x: i64, y: i64) -> i128 {
    match OP.of(k) {
        ADD => (x + y).into(),
        SUB => (x - y).into(),
        ABSDIFF => (x - y).abs().into(),
        MIN => x.min(y).into(),
        MAX => x.max(y).into(),
        SET => compare(COMPARISON.of(k), x, y).into(),
        // Rounded away from zero where it is not negative.
        AVERAGE if x + y >= 0 => i128::from((x + y + 1) >> 1),
        AVERAGE => i128::from((x + y) >> 1),
        op => {
            let y = if WRAP.of(k) != 0 { y & 31 } else { y.min(32) };
            if op == SHL {
                i128::from(x) << y
            } else {
                i128::from(x >> y)
            }
        }
    }
}

/// The second operation, or the merging of a part into `c`.
fn finish(k: u64, value: i128, c: u64) -> u64 {
    let part = D_PART.of(k);
    let (shift, bits) = part_bits(part);
    let signed = D_SIGNED.of(k) != 0;
    let value = if SATURATE.of(k) != 0 {
        saturate(value, bits, signed)
    } else {
        value
    };
    if part != ALL {
        let mask = ((1u64 << bits) - 1) << shift;
        return c & !mask | (value as u64) << shift & mask;
    }
    let typed = |word: u32| {
        if signed {
            i64::from(word as i32)
        } else {
            i64::from(word)
        }
    };
    match SECOND.of(k) {
        1 => (value as u64).wrapping_add(c),
        2 => typed(value as u32).min(typed(c as u32)) as u64,
        3 => typed(value as u32).max(typed(c as u32)) as u64,
        _ => value as u64,
    }
}

fn scalar_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let x = extend(a, part_bits(A_PART.of(k)), A_SIGNED.of(k) != 0);
    let y = extend(b, part_bits(B_PART.of(k)), B_SIGNED.of(k) != 0);
    finish(k, primary(k, x, y), c)
}

fn multiply_add_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let x = extend(a, part_bits(A_PART.of(k)), A_SIGNED.of(k) != 0);
    let y = extend(b, part_bits(B_PART.of(k)), B_SIGNED.of(k) != 0);
    let negated = NEGATED.of(k);
    let (product, addend) = (negated & 1 != 0, negated & 2 != 0);
    let signed = A_SIGNED.of(k) != 0 || B_SIGNED.of(k) != 0 || product || addend;
    let mut value = i128::from(x) * i128::from(y);
    let c = if signed {
        i128::from(c as i32)
    } else {
        i128::from(c as u32)
    };
    if product {
        value = -value;
    }
    value += if addend { -c } else { c };
    value += i128::from(PLUS_ONE.of(k));
    value >>= SHIFT.of(k);
    let value = if SATURATE.of(k) != 0 {
        saturate(value, 32, signed)
    } else {
        value
    };
    value as u64
}

fn lanes_(k: u64, [a, b, c]: [u64; 3]) -> u64 {
    let (count, bits) = if WORDS.of(k) != 0 { (2, 16) } else { (4, 8) };
    let both = (b & 0xffff_ffff) << 32 | a & 0xffff_ffff;
    // Lanes of a are counted before those of b.
    let pick = |lanes: Field, lane: u32, signed: bool| {
        let number = (lanes.of(k) >> (3 * lane) & 7) as u32;
        extend(both >> (number * bits), (0, bits), signed)
    };
    let (mut sum, mut merged) = (c as u32, c);
    for lane in (0..count).filter(|lane| MASK.of(k) & (1 << lane) != 0) {
        let x = pick(A_LANES, lane, A_SIGNED.of(k) != 0);
        let y = pick(B_LANES, lane, B_SIGNED.of(k) != 0);
        let value = primary(k, x, y);
        let signed = D_SIGNED.of(k) != 0;
        let value = if SATURATE.of(k) != 0 {
            saturate(value, bits, signed)
        } else {
            value
        };
        sum = sum.wrapping_add(value as u32);
        let mask = ((1u64 << bits) - 1) << (bits * lane);
        merged = merged & !mask | (value as u64) << (bits * lane) & mask;
    }
    if SECOND.of(k) != 0 {
        sum.into()
    } else {
        merged
    }
}

/// A register with or without a selection behind it: `r.b3`.
fn selected(b: &Builder<'_>, operand: &Operand) -> Result<(Operand, String), Refusal> {
    let (Operand::Name(name) | Operand::Negated(name)) = operand else {
        return Ok((operand.clone(), String::new()));
    };
    let text = b.module.names.text(*name);
    let whole = || (Operand::Name(*name), String::new());
    let Some((register, selection)) = text.rsplit_once('.') else {
        return Ok(whole());
    };
    match b.module.names.get(register) {
        Some(register) if selection.starts_with(['b', 'h']) => {
            Ok((Operand::Name(register), selection.into()))
        }
        _ => Ok(whole()),
    }
}

fn part_of(selection: &str) -> Result<u64, Refusal> {
    Ok(match selection {
        "" => ALL,
        "b0" => 1,
        "b1" => 2,
        "b2" => 3,
        "b3" => 4,
        "h0" => 5,
        "h1" => 6,
        _ => return Err(Refusal::Unsupported),
    })
}

fn signed(ty: Type) -> Result<u64, Refusal> {
    match ty {
        Type::U32 => Ok(0),
        Type::S32 => Ok(1),
        _ => Err(Refusal::Unsupported),
    }
}

fn comparison(form: &Form) -> Result<u64, Refusal> {
    use Modifier::{Eq, Ge, Gt, Le, Lt, Ne};
    let code = [Eq, Ne, Lt, Le, Gt, Ge]
        .iter()
        .position(|modifier| form.has(*modifier));
    code.map(|code| code as u64).ok_or(Refusal::Unsupported)
}

/// The operation of a name without `v` and the number of lanes.
fn operation(name: &str) -> Result<u64, Refusal> {
    Ok(match name {
        "add" => ADD,
        "sub" => SUB,
        "absdiff" => ABSDIFF,
        "min" => MIN,
        "max" => MAX,
        "shl" => SHL,
        "shr" => SHR,
        "set" => SET,
        "avrg" => AVERAGE,
        _ => return Err(Refusal::Unsupported),
    })
}

/// What all have: operation, types, comparison, saturation.
fn common(form: &Form, name: &str) -> Result<u64, Refusal> {
    let op = operation(name)?;
    let (d, x, y) = match (op, &form.types[..]) {
        (SET, &[x, y]) => (0, signed(x)?, signed(y)?),
        (SET, _) => return Err(Refusal::Unsupported),
        (_, &[d, x, y]) => (signed(d)?, signed(x)?, signed(y)?),
        _ => return Err(Refusal::Unsupported),
    };
    let mut k = OP.put(op) | D_SIGNED.put(d) | A_SIGNED.put(x) | B_SIGNED.put(y);
    k |= SATURATE.put(form.has(Modifier::Sat).into());
    if op == SET {
        k |= COMPARISON.put(comparison(form)?);
    }
    Ok(k)
}

const COUNT: &str = "another number of operands";

/// `vadd`, `vsub`, `vabsdiff`, `vmin`, `vmax`, `vshl`, `vshr` and `vset`
pub(crate) fn scalar(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let mut k = common(form, form.name.trim_start_matches('v'))?;
    // In `vmin.u32.u32.u32.max`, the name says the first operation and the modifier the second.
    let second = [Modifier::Add, Modifier::Min, Modifier::Max];
    let second = second.iter().position(|modifier| form.has(*modifier));
    k |= SECOND.put(second.map_or(0, |second| second as u64 + 1));
    k |= WRAP.put(form.has(Modifier::Wrap).into());
    let [d, x, y, rest @ ..] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let ((d, d_part), (x, x_part)) = (selected(b, d)?, selected(b, x)?);
    let (y, y_part) = selected(b, y)?;
    k |= D_PART.put(part_of(&d_part)?)
        | A_PART.put(part_of(&x_part)?)
        | B_PART.put(part_of(&y_part)?);
    let third = second.is_some() || !d_part.is_empty();
    let word = |operand| (operand, Width::Word);
    match rest {
        [] if !third => b.apply(scalar_, k, word(&d), &[word(&x), word(&y)]),
        [c] if third => b.apply(scalar_, k, word(&d), &[word(&x), word(&y), word(c)]),
        _ => Err(Refusal::invalid(COUNT)),
    }
}

/// `vmad`
pub(crate) fn multiply_add(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let ([d, x, y, c], &[to, xt, yt]) = (operands, &form.types[..]) else {
        return Err(Refusal::invalid(COUNT));
    };
    let negated = |operand: &Operand| matches!(operand, Operand::Negated(_));
    let product = negated(x) != negated(y);
    let mut k = D_SIGNED.put(signed(to)?) | A_SIGNED.put(signed(xt)?) | B_SIGNED.put(signed(yt)?);
    k |= SATURATE.put(form.has(Modifier::Sat).into());
    k |= NEGATED.put(u64::from(product) | u64::from(negated(c)) << 1);
    k |= PLUS_ONE.put(form.says("po").into());
    k |= SHIFT.put(match () {
        () if form.says("shr7") => 7,
        () if form.says("shr15") => 15,
        () => 0,
    });
    let ((x, x_part), (y, y_part)) = (selected(b, x)?, selected(b, y)?);
    let (c, _) = selected(b, c)?;
    k |= A_PART.put(part_of(&x_part)?) | B_PART.put(part_of(&y_part)?);
    let word = |operand| (operand, Width::Word);
    b.apply(multiply_add_, k, word(d), &[word(&x), word(&y), word(&c)])
}

/// Three bits for each lane of a selection such as `b7531`, the last digit for the first lane.
fn lanes_of(selection: &str, words: bool, default: [u64; 4]) -> Result<u64, Refusal> {
    let count = if words { 2 } else { 4 };
    let mut lanes = default;
    if !selection.is_empty() {
        let digits: Vec<u64> = selection[1..]
            .bytes()
            .rev()
            .map(|digit| u64::from(digit.wrapping_sub(b'0')))
            .collect();
        let limit = 2 * count as u64;
        let fitting = digits.iter().all(|&digit| digit < limit);
        if digits.len() > count || !fitting || selection.starts_with('h') != words {
            return Err(Refusal::Unsupported);
        }
        // Fewer digits than lanes: the others stay as they are.
        lanes[..digits.len()].copy_from_slice(&digits);
    }
    Ok((0..4).fold(0, |all, i| all | lanes[i] << (3 * i)))
}

/// `vadd2`, `vadd4` and their like.
pub(crate) fn simd(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let words = form.name.ends_with('2');
    let name = form
        .name
        .trim_start_matches('v')
        .trim_end_matches(['2', '4']);
    let mut k = common(form, name)? | WORDS.put(words.into());
    k |= SECOND.put(form.has(Modifier::Add).into());
    let [d, x, y, c] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let ((d, mask), (x, x_lanes)) = (selected(b, d)?, selected(b, x)?);
    let (y, y_lanes) = selected(b, y)?;
    let [first, second] = if words {
        [[0, 1, 0, 0], [2, 3, 0, 0]]
    } else {
        [[0, 1, 2, 3], [4, 5, 6, 7]]
    };
    k |= A_LANES.put(lanes_of(&x_lanes, words, first)?);
    k |= B_LANES.put(lanes_of(&y_lanes, words, second)?);
    let mut lanes = 15;
    if !mask.is_empty() {
        if mask.starts_with('h') != words {
            return Err(Refusal::Unsupported);
        }
        lanes = mask[1..].bytes().fold(0, |lanes, digit| {
            lanes | 1u64 << (digit.wrapping_sub(b'0') & 3)
        });
    }
    k |= MASK.put(lanes);
    let word = |operand| (operand, Width::Word);
    b.apply(lanes_, k, word(&d), &[word(&x), word(&y), word(c)])
}
