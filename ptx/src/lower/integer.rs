// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integer arithmetic, and comparisons of integers.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::code::{Handler, Row, Width};
use crate::exec::lanes::{self, Carry, Test, ops};
use crate::parse::ast::{Operand, Type};

ops! {
    WidenU32(u32) -> u64 = |a| u64::from(a);
    TruncateU32(u32) -> u16 = |a| a as u16;
    TruncateU64(u64) -> u32 = |a| a as u32;

    Add16(u16, u16) -> u16 = |a, b| a.wrapping_add(b);
    Add32(u32, u32) -> u32 = |a, b| a.wrapping_add(b);
    Add64(u64, u64) -> u64 = |a, b| a.wrapping_add(b);
    AddSat32(i32, i32) -> i32 = |a, b| a.saturating_add(b);
    Sub16(u16, u16) -> u16 = |a, b| a.wrapping_sub(b);
    Sub32(u32, u32) -> u32 = |a, b| a.wrapping_sub(b);
    Sub64(u64, u64) -> u64 = |a, b| a.wrapping_sub(b);
    SubSat32(i32, i32) -> i32 = |a, b| a.saturating_sub(b);

    MulLo16(u16, u16) -> u16 = |a, b| a.wrapping_mul(b);
    MulLo32(u32, u32) -> u32 = |a, b| a.wrapping_mul(b);
    MulLo64(u64, u64) -> u64 = |a, b| a.wrapping_mul(b);
    MulHiU16(u16, u16) -> u16 = |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16;
    MulHiS16(i16, i16) -> i16 = |a, b| ((i32::from(a) * i32::from(b)) >> 16) as i16;
    MulHiU32(u32, u32) -> u32 = |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32;
    MulHiS32(i32, i32) -> i32 = |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32;
    MulHiU64(u64, u64) -> u64 = |a, b| ((u128::from(a) * u128::from(b)) >> 64) as u64;
    MulHiS64(i64, i64) -> i64 = |a, b| ((i128::from(a) * i128::from(b)) >> 64) as i64;
    MulWideU16(u16, u16) -> u32 = |a, b| u32::from(a) * u32::from(b);
    MulWideS16(i16, i16) -> i32 = |a, b| i32::from(a) * i32::from(b);
    MulWideU32(u32, u32) -> u64 = |a, b| u64::from(a) * u64::from(b);
    MulWideS32(i32, i32) -> i64 = |a, b| i64::from(a) * i64::from(b);

    MadLo16(u16, u16, u16) -> u16 = |a, b, c| a.wrapping_mul(b).wrapping_add(c);
    MadLo32(u32, u32, u32) -> u32 = |a, b, c| a.wrapping_mul(b).wrapping_add(c);
    MadLo64(u64, u64, u64) -> u64 = |a, b, c| a.wrapping_mul(b).wrapping_add(c);
    MadHiU16(u16, u16, u16) -> u16 = |a, b, c| (((u32::from(a) * u32::from(b)) >> 16) as u16).wrapping_add(c);
    MadHiS16(i16, i16, i16) -> i16 = |a, b, c| (((i32::from(a) * i32::from(b)) >> 16) as i16).wrapping_add(c);
    MadHiU32(u32, u32, u32) -> u32 = |a, b, c| (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c);
    MadHiS32(i32, i32, i32) -> i32 = |a, b, c| (((i64::from(a) * i64::from(b)) >> 32) as i32).wrapping_add(c);
    MadHiSatS32(i32, i32, i32) -> i32 = |a, b, c| (((i64::from(a) * i64::from(b)) >> 32) as i32).saturating_add(c);
    MadHiU64(u64, u64, u64) -> u64 = |a, b, c| (((u128::from(a) * u128::from(b)) >> 64) as u64).wrapping_add(c);
    MadHiS64(i64, i64, i64) -> i64 = |a, b, c| (((i128::from(a) * i128::from(b)) >> 64) as i64).wrapping_add(c);
    MadWideU16(u16, u16, u32) -> u32 = |a, b, c| (u32::from(a) * u32::from(b)).wrapping_add(c);
    MadWideS16(i16, i16, i32) -> i32 = |a, b, c| (i32::from(a) * i32::from(b)).wrapping_add(c);
    MadWideU32(u32, u32, u64) -> u64 = |a, b, c| (u64::from(a) * u64::from(b)).wrapping_add(c);
    MadWideS32(i32, i32, i64) -> i64 = |a, b, c| (i64::from(a) * i64::from(b)).wrapping_add(c);
    Mul24LoU(u32, u32) -> u32 = |a, b| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff);
    Mul24LoS(i32, i32) -> i32 = |a, b| (a << 8 >> 8).wrapping_mul(b << 8 >> 8);
    Mul24HiU(u32, u32) -> u32 = |a, b| ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32;
    Mul24HiS(i32, i32) -> i32 = |a, b| ((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> 16) as i32;
    SadU32(u32, u32, u32) -> u32 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadS32(i32, i32, u32) -> u32 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadU16(u16, u16, u16) -> u16 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadS16(i16, i16, u16) -> u16 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadU64(u64, u64, u64) -> u64 = |a, b, c| a.abs_diff(b).wrapping_add(c);
    SadS64(i64, i64, u64) -> u64 = |a, b, c| a.abs_diff(b).wrapping_add(c);

    // Division by zero gives all ones, and so does the remainder, as the hardware does.
    DivU16(u16, u16) -> u16 = |a, b| a.checked_div(b).unwrap_or(u16::MAX);
    DivS16(i16, i16) -> i16 = |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
    DivU32(u32, u32) -> u32 = |a, b| a.checked_div(b).unwrap_or(u32::MAX);
    DivS32(i32, i32) -> i32 = |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
    DivU64(u64, u64) -> u64 = |a, b| a.checked_div(b).unwrap_or(u64::MAX);
    DivS64(i64, i64) -> i64 = |a, b| if b == 0 { -1 } else { a.wrapping_div(b) };
    RemU16(u16, u16) -> u16 = |a, b| a.checked_rem(b).unwrap_or(!0);
    RemS16(i16, i16) -> i16 = |a, b| if b == 0 { -1 } else { a.wrapping_rem(b) };
    RemU32(u32, u32) -> u32 = |a, b| a.checked_rem(b).unwrap_or(!0);
    RemS32(i32, i32) -> i32 = |a, b| if b == 0 { -1 } else { a.wrapping_rem(b) };
    RemU64(u64, u64) -> u64 = |a, b| a.checked_rem(b).unwrap_or(!0);
    RemS64(i64, i64) -> i64 = |a, b| if b == 0 { -1 } else { a.wrapping_rem(b) };

    Abs16(i16) -> i16 = |a| a.wrapping_abs();
    Abs32(i32) -> i32 = |a| a.wrapping_abs();
    Abs64(i64) -> i64 = |a| a.wrapping_abs();
    Neg16(i16) -> i16 = |a| a.wrapping_neg();
    Neg32(i32) -> i32 = |a| a.wrapping_neg();
    Neg64(i64) -> i64 = |a| a.wrapping_neg();
    MinU16(u16, u16) -> u16 = |a, b| a.min(b);
    MinS16(i16, i16) -> i16 = |a, b| a.min(b);
    MinU32(u32, u32) -> u32 = |a, b| a.min(b);
    MinS32(i32, i32) -> i32 = |a, b| a.min(b);
    MinReluS32(i32, i32) -> i32 = |a, b| a.min(b).max(0);
    MinU64(u64, u64) -> u64 = |a, b| a.min(b);
    MinS64(i64, i64) -> i64 = |a, b| a.min(b);
    MaxU16(u16, u16) -> u16 = |a, b| a.max(b);
    MaxS16(i16, i16) -> i16 = |a, b| a.max(b);
    MaxU32(u32, u32) -> u32 = |a, b| a.max(b);
    MaxS32(i32, i32) -> i32 = |a, b| a.max(b);
    MaxReluS32(i32, i32) -> i32 = |a, b| a.max(b).max(0);
    MaxU64(u64, u64) -> u64 = |a, b| a.max(b);
    MaxS64(i64, i64) -> i64 = |a, b| a.max(b);

    Dp4aUU(u32, u32, u32) -> u32 = |a, b, c| dp4a(a, b, c, false, false);
    Dp4aUS(u32, u32, u32) -> u32 = |a, b, c| dp4a(a, b, c, false, true);
    Dp4aSU(u32, u32, u32) -> u32 = |a, b, c| dp4a(a, b, c, true, false);
    Dp4aSS(u32, u32, u32) -> u32 = |a, b, c| dp4a(a, b, c, true, true);

    SlctS16(u16, u16, i32) -> u16 = |a, b, c| if c >= 0 { a } else { b };
    SlctS32(u32, u32, i32) -> u32 = |a, b, c| if c >= 0 { a } else { b };
    SlctS64(u64, u64, i32) -> u64 = |a, b, c| if c >= 0 { a } else { b };
    SlctF16(u16, u16, f32) -> u16 = |a, b, c| if c >= 0.0 { a } else { b };
    SlctF32(u32, u32, f32) -> u32 = |a, b, c| if c >= 0.0 { a } else { b };
    SlctF64(u64, u64, f32) -> u64 = |a, b, c| if c >= 0.0 { a } else { b };
}

#[inline(always)]
fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    let byte = |word: u32, i: u32, signed: bool| {
        let byte = (word >> (8 * i)) as u8;
        if signed {
            i32::from(byte as i8)
        } else {
            i32::from(byte)
        }
    };
    (0..4).fold(c, |sum, i| {
        sum.wrapping_add((byte(a, i, a_signed) * byte(b, i, b_signed)) as u32)
    })
}

macro_rules! tests {
    ($($name:ident($type:ty) = $function:expr;)*) => {$(
        pub(crate) struct $name;
        impl Test for $name {
            type A = $type;
            #[inline(always)]
            fn test(a: $type, b: $type) -> bool { let f: fn($type, $type) -> bool = $function; f(a, b) }
        }
    )*};
}
pub(crate) use tests;

tests! {
    Eq16(u16) = |a, b| a == b;
    Ne16(u16) = |a, b| a != b;
    LtU16(u16) = |a, b| a < b;
    LeU16(u16) = |a, b| a <= b;
    LtS16(i16) = |a, b| a < b;
    LeS16(i16) = |a, b| a <= b;
    Eq32(u32) = |a, b| a == b;
    Ne32(u32) = |a, b| a != b;
    LtU32(u32) = |a, b| a < b;
    LeU32(u32) = |a, b| a <= b;
    LtS32(i32) = |a, b| a < b;
    LeS32(i32) = |a, b| a <= b;
    Eq64(u64) = |a, b| a == b;
    Ne64(u64) = |a, b| a != b;
    LtU64(u64) = |a, b| a < b;
    LeU64(u64) = |a, b| a <= b;
    LtS64(i64) = |a, b| a < b;
    LeS64(i64) = |a, b| a <= b;
}

macro_rules! carries {
    ($($name:ident($type:ty) = $function:expr;)*) => {$(
        pub(crate) struct $name;
        impl Carry for $name {
            type A = $type;
            #[inline(always)]
            fn apply(a: $type, b: $type, c: $type, carry: bool) -> ($type, bool) {
                let f: fn($type, $type, $type, bool) -> ($type, bool) = $function;
                f(a, b, c, carry)
            }
        }
    )*};
}

carries! {
    AddCarry32(u32) = |a, b, _, carry| add_carry32(a, b, carry);
    AddCarry64(u64) = |a, b, _, carry| add_carry64(a, b, carry);
    SubCarry32(u32) = |a, b, _, carry| add_carry32(a, !b, carry);
    SubCarry64(u64) = |a, b, _, carry| add_carry64(a, !b, carry);
    MadLoCarry32(u32) = |a, b, c, carry| add_carry32(a.wrapping_mul(b), c, carry);
    MadLoCarry64(u64) = |a, b, c, carry| add_carry64(a.wrapping_mul(b), c, carry);
    MadHiCarryU32(u32) = |a, b, c, carry| add_carry32(((u64::from(a) * u64::from(b)) >> 32) as u32, c, carry);
    MadHiCarryS32(u32) = |a, b, c, carry| {
        add_carry32(((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32, c, carry)
    };
    MadHiCarryU64(u64) = |a, b, c, carry| add_carry64(((u128::from(a) * u128::from(b)) >> 64) as u64, c, carry);
    MadHiCarryS64(u64) = |a, b, c, carry| {
        add_carry64(((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64, c, carry)
    };
}

#[inline(always)]
fn add_carry32(a: u32, b: u32, carry: bool) -> (u32, bool) {
    let sum = u64::from(a) + u64::from(b) + u64::from(carry);
    (sum as u32, sum >> 32 != 0)
}

#[inline(always)]
fn add_carry64(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let sum = u128::from(a) + u128::from(b) + u128::from(carry);
    (sum as u64, sum >> 64 != 0)
}

/// Emits the operation whose types match; with `rare` the variant for rare or slow operations.
macro_rules! pick1 {
    (rare $b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a] = $operands else { return Err(Refusal::invalid("another number of operands than 2")) };
        match $ty { $($types => $b.rare1::<$op>(d, a),)* _ => Err(Refusal::Unsupported) }
    }};
    ($b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a] = $operands else { return Err(Refusal::invalid("another number of operands than 2")) };
        match $ty { $($types => $b.op1::<$op>(d, a),)* _ => Err(Refusal::Unsupported) }
    }};
}
macro_rules! pick2 {
    (rare $b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a, b] = $operands else { return Err(Refusal::invalid("another number of operands than 3")) };
        match $ty { $($types => $b.rare2::<$op>(d, a, b),)* _ => Err(Refusal::Unsupported) }
    }};
    ($b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a, b] = $operands else { return Err(Refusal::invalid("another number of operands than 3")) };
        match $ty { $($types => $b.op2::<$op>(d, a, b),)* _ => Err(Refusal::Unsupported) }
    }};
}
macro_rules! pick3 {
    (rare $b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a, b, c] = $operands else { return Err(Refusal::invalid("another number of operands than 4")) };
        match $ty { $($types => $b.rare3::<$op>(d, a, b, c),)* _ => Err(Refusal::Unsupported) }
    }};
    ($b:expr, $ty:expr, $operands:expr; $($types:pat => $op:ty,)*) => {{
        let [d, a, b, c] = $operands else { return Err(Refusal::invalid("another number of operands than 4")) };
        match $ty { $($types => $b.op3::<$op>(d, a, b, c),)* _ => Err(Refusal::Unsupported) }
    }};
}
pub(crate) use {pick1, pick2, pick3};

use Type::{B32, B64, F32, F64, S16, S32, S64, U16, U32, U64};

/// The type of an instruction that has one.
pub(crate) fn only_type(form: &Form) -> Result<Type, Refusal> {
    match form.types[..] {
        [ty] => Ok(ty),
        _ => Err(Refusal::invalid("another number of types than one")),
    }
}

fn is_float(ty: Type) -> bool {
    matches!(
        ty,
        F32 | F64 | Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2
    )
}

pub(crate) fn add(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if super::mixed::concerns(form) {
        return super::mixed::emit(b, form, operands);
    }
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::add(b, form, operands);
    }
    if matches!(ty, Type::U16x2 | Type::S16x2) {
        return super::halves::add(b, form, operands);
    }
    if form.has(Modifier::Cc) {
        return carried(b, form, operands, false);
    }
    if form.has(Modifier::Sat) {
        return pick2!(rare b, ty, operands; S32 => AddSat32,);
    }
    pick2!(b, ty, operands; U16 | S16 => Add16, U32 | S32 => Add32, U64 | S64 => Add64,)
}

pub(crate) fn sub(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if super::mixed::concerns(form) {
        return super::mixed::emit(b, form, operands);
    }
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::sub(b, form, operands);
    }
    if form.has(Modifier::Cc) {
        return carried(b, form, operands, false);
    }
    if form.has(Modifier::Sat) {
        return pick2!(rare b, ty, operands; S32 => SubSat32,);
    }
    pick2!(b, ty, operands; U16 | S16 => Sub16, U32 | S32 => Sub32, U64 | S64 => Sub64,)
}

/// `addc`, `subc`, `madc`: they read the carry flag. A subtraction adds the complement and 1, and leaves the carry of that:
/// 0 where it borrows. Compilers rely on this when they read the flag of a subtraction with `addc`.
pub(crate) fn with_carry(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    carried(b, form, operands, true)
}

fn carried(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    carry_in: bool,
) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    let wide = match ty {
        U32 | S32 | B32 => false,
        U64 | S64 | B64 => true,
        _ => return Err(Refusal::Unsupported),
    };
    let (lanes, signed) = (b.lanes, matches!(ty, S32 | S64));
    let kind = form.name.trim_end_matches('c');
    let high = form.has(Modifier::Hi);
    let run: Handler = match (kind, wide, high, signed) {
        ("add", false, ..) => lanes::carry::<AddCarry32>(lanes),
        ("add", true, ..) => lanes::carry::<AddCarry64>(lanes),
        ("sub", false, ..) => lanes::carry::<SubCarry32>(lanes),
        ("sub", true, ..) => lanes::carry::<SubCarry64>(lanes),
        ("mad", false, false, _) => lanes::carry::<MadLoCarry32>(lanes),
        ("mad", true, false, _) => lanes::carry::<MadLoCarry64>(lanes),
        ("mad", false, true, false) => lanes::carry::<MadHiCarryU32>(lanes),
        ("mad", false, true, true) => lanes::carry::<MadHiCarryS32>(lanes),
        ("mad", true, true, false) => lanes::carry::<MadHiCarryU64>(lanes),
        ("mad", true, true, true) => lanes::carry::<MadHiCarryS64>(lanes),
        _ => return Err(Refusal::Unsupported),
    };
    let (d, sources) = operands
        .split_first()
        .ok_or(Refusal::invalid("another number of operands"))?;
    if sources.len() != if kind == "mad" { 3 } else { 2 } {
        return Err(Refusal::invalid("another number of operands"));
    }
    let width = Builder::type_width(ty);
    let mut rows = [Row::NONE; 6];
    for (row, operand) in rows[1..].iter_mut().zip(sources) {
        *row = b.source(operand, width)?;
    }
    if sources.len() == 2 {
        rows[3] = rows[1];
    }
    let flag = match b.carry {
        Some(flag) => flag,
        None => {
            let flag = b.new_register(Width::Predicate)?;
            b.carry = Some(flag);
            flag
        }
    };
    rows[4] = if carry_in {
        flag
    } else {
        let first = if kind == "sub" { u32::MAX } else { 0 };
        b.constant(Width::Predicate, u64::from(first))?
    };
    rows[0] = b.destination(d, width)?;
    if form.has(Modifier::Cc) {
        rows[5] = flag;
        b.emit(run, &rows, &[0, 5], 0, 1);
    } else {
        b.emit(run, &rows[..5], &[0], 0, 0);
    }
    Ok(())
}

pub(crate) fn mul(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if super::mixed::concerns(form) {
        return super::mixed::emit(b, form, operands);
    }
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::mul(b, form, operands);
    }
    if form.has(Modifier::Wide) {
        return pick2!(b, ty, operands; U16 => MulWideU16, S16 => MulWideS16, U32 => MulWideU32, S32 => MulWideS32,);
    }
    if form.has(Modifier::Hi) {
        return pick2!(b, ty, operands; U16 => MulHiU16, S16 => MulHiS16, U32 => MulHiU32, S32 => MulHiS32,
            U64 => MulHiU64, S64 => MulHiS64,);
    }
    pick2!(b, ty, operands; U16 | S16 => MulLo16, U32 | S32 => MulLo32, U64 | S64 => MulLo64,)
}

pub(crate) fn mad(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::fma(b, form, operands);
    }
    if form.has(Modifier::Cc) {
        return carried(b, form, operands, false);
    }
    if form.has(Modifier::Wide) {
        return pick3!(b, ty, operands; U16 => MadWideU16, S16 => MadWideS16, U32 => MadWideU32, S32 => MadWideS32,);
    }
    if form.has(Modifier::Hi) {
        if form.has(Modifier::Sat) {
            return pick3!(rare b, ty, operands; S32 => MadHiSatS32,);
        }
        return pick3!(b, ty, operands; U16 => MadHiU16, S16 => MadHiS16, U32 => MadHiU32, S32 => MadHiS32,
            U64 => MadHiU64, S64 => MadHiS64,);
    }
    if form.has(Modifier::Sat) {
        return Err(Refusal::Unsupported);
    }
    pick3!(b, ty, operands; U16 | S16 => MadLo16, U32 | S32 => MadLo32, U64 | S64 => MadLo64,)
}

pub(crate) fn mul24(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if form.has(Modifier::Hi) {
        return pick2!(rare b, ty, operands; U32 => Mul24HiU, S32 => Mul24HiS,);
    }
    pick2!(rare b, ty, operands; U32 => Mul24LoU, S32 => Mul24LoS,)
}

pub(crate) fn sad(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick3!(rare b, only_type(form)?, operands; U16 => SadU16, S16 => SadS16, U32 => SadU32, S32 => SadS32,
        U64 => SadU64, S64 => SadS64,)
}

pub(crate) fn div(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::div(b, form, operands);
    }
    pick2!(rare b, ty, operands; U16 => DivU16, S16 => DivS16, U32 => DivU32, S32 => DivS32, U64 => DivU64, S64 => DivS64,)
}

pub(crate) fn rem(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick2!(rare b, only_type(form)?, operands; U16 => RemU16, S16 => RemS16, U32 => RemU32, S32 => RemS32,
        U64 => RemU64, S64 => RemS64,)
}

pub(crate) fn abs(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::abs(b, form, operands);
    }
    pick1!(b, ty, operands; S16 => Abs16, S32 => Abs32, S64 => Abs64,)
}

pub(crate) fn neg(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::neg(b, form, operands);
    }
    pick1!(b, ty, operands; S16 => Neg16, S32 => Neg32, S64 => Neg64,)
}

pub(crate) fn min(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::min(b, form, operands);
    }
    if matches!(ty, Type::U16x2 | Type::S16x2) {
        return super::halves::min(b, form, operands);
    }
    if form.has(Modifier::Relu) {
        return pick2!(b, ty, operands; S32 => MinReluS32,);
    }
    pick2!(b, ty, operands; U16 => MinU16, S16 => MinS16, U32 => MinU32, S32 => MinS32, U64 => MinU64, S64 => MinS64,)
}

pub(crate) fn max(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::max(b, form, operands);
    }
    if matches!(ty, Type::U16x2 | Type::S16x2) {
        return super::halves::max(b, form, operands);
    }
    if form.has(Modifier::Relu) {
        return pick2!(b, ty, operands; S32 => MaxReluS32,);
    }
    pick2!(b, ty, operands; U16 => MaxU16, S16 => MaxS16, U32 => MaxU32, S32 => MaxS32, U64 => MaxU64, S64 => MaxS64,)
}

pub(crate) fn dp4a_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, c] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    match form.types[..] {
        [U32, U32] => b.rare3::<Dp4aUU>(d, x, y, c),
        [U32, S32] => b.rare3::<Dp4aUS>(d, x, y, c),
        [S32, U32] => b.rare3::<Dp4aSU>(d, x, y, c),
        [S32, S32] => b.rare3::<Dp4aSS>(d, x, y, c),
        _ => Err(Refusal::Unsupported),
    }
}
