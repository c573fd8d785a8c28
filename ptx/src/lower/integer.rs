// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integer arithmetic, logic, shifts and bit fields, comparisons, `mov` and `selp`.

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

    And16(u16, u16) -> u16 = |a, b| a & b;
    And32(u32, u32) -> u32 = |a, b| a & b;
    And64(u64, u64) -> u64 = |a, b| a & b;
    Or16(u16, u16) -> u16 = |a, b| a | b;
    Or32(u32, u32) -> u32 = |a, b| a | b;
    Or64(u64, u64) -> u64 = |a, b| a | b;
    Xor16(u16, u16) -> u16 = |a, b| a ^ b;
    Xor32(u32, u32) -> u32 = |a, b| a ^ b;
    Xor64(u64, u64) -> u64 = |a, b| a ^ b;
    Not16(u16) -> u16 = |a| !a;
    Not32(u32) -> u32 = |a| !a;
    Not64(u64) -> u64 = |a| !a;
    Cnot16(u16) -> u16 = |a| u16::from(a == 0);
    Cnot32(u32) -> u32 = |a| u32::from(a == 0);
    Cnot64(u64) -> u64 = |a| u64::from(a == 0);

    // Shift amounts beyond the width shift everything out.
    Shl16(u16, u32) -> u16 = |a, b| if b > 15 { 0 } else { a << b };
    Shl32(u32, u32) -> u32 = |a, b| if b > 31 { 0 } else { a << b };
    Shl64(u64, u32) -> u64 = |a, b| if b > 63 { 0 } else { a << b };
    ShrU16(u16, u32) -> u16 = |a, b| if b > 15 { 0 } else { a >> b };
    ShrU32(u32, u32) -> u32 = |a, b| if b > 31 { 0 } else { a >> b };
    ShrU64(u64, u32) -> u64 = |a, b| if b > 63 { 0 } else { a >> b };
    ShrS16(i16, u32) -> i16 = |a, b| a >> b.min(15);
    ShrS32(i32, u32) -> i32 = |a, b| a >> b.min(31);
    ShrS64(i64, u32) -> i64 = |a, b| a >> b.min(63);
    ShfLWrap(u32, u32, u32) -> u32 = |a, b, c| ((u64::from(b) << 32 | u64::from(a)) << (c & 31) >> 32) as u32;
    ShfLClamp(u32, u32, u32) -> u32 = |a, b, c| ((u64::from(b) << 32 | u64::from(a)) << c.min(32) >> 32) as u32;
    ShfRWrap(u32, u32, u32) -> u32 = |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32;
    ShfRClamp(u32, u32, u32) -> u32 = |a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32;

    Popc32(u32) -> u32 = |a| a.count_ones();
    Popc64(u64) -> u32 = |a| a.count_ones();
    Clz32(u32) -> u32 = |a| a.leading_zeros();
    Clz64(u64) -> u32 = |a| a.leading_zeros();
    Brev32(u32) -> u32 = |a| a.reverse_bits();
    Brev64(u64) -> u64 = |a| a.reverse_bits();
    // The highest bit that differs from the sign; all ones if there is none.
    BfindU32<const SHIFT: bool>(u32) -> u32 = |a| bfind(u64::from(a), 32, SHIFT);
    BfindS32<const SHIFT: bool>(i32) -> u32 = |a| bfind(u64::from(if a < 0 { !a } else { a } as u32), 32, SHIFT);
    BfindU64<const SHIFT: bool>(u64) -> u32 = |a| bfind(a, 64, SHIFT);
    BfindS64<const SHIFT: bool>(i64) -> u32 = |a| bfind(if a < 0 { !a } else { a } as u64, 64, SHIFT);
    BfeU32(u32, u32, u32) -> u32 = |a, b, c| bfe(u64::from(a), b, c, 32, false) as u32;
    BfeS32(u32, u32, u32) -> u32 = |a, b, c| bfe(u64::from(a), b, c, 32, true) as u32;
    BfeU64(u64, u32, u32) -> u64 = |a, b, c| bfe(a, b, c, 64, false);
    BfeS64(u64, u32, u32) -> u64 = |a, b, c| bfe(a, b, c, 64, true);
    BmskClamp(u32, u32) -> u32 = |a, b| bmsk(a.min(32), b.min(32));
    BmskWrap(u32, u32) -> u32 = |a, b| bmsk(a & 31, b & 31);

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
fn bfind(a: u64, bits: u32, shift: bool) -> u32 {
    if a == 0 {
        return u32::MAX;
    }
    let zeros = a.leading_zeros() - (64 - bits);
    if shift { zeros } else { bits - 1 - zeros }
}

/// `bfe`: `len` bits of `a` from `pos`, sign extended from the top bit if signed. The hardware takes
/// both modulo 256 for words, but not for double words.
#[inline(always)]
fn bfe(a: u64, pos: u32, len: u32, bits: u32, signed: bool) -> u64 {
    let (pos, len) = if bits == 32 {
        (pos & 0xff, len & 0xff)
    } else {
        (pos.min(255), len.min(255))
    };
    let top = bits - 1;
    let sign = if !signed || len == 0 {
        0
    } else {
        a >> (pos + len - 1).min(top) & 1
    };
    let field = if pos > top { 0 } else { a >> pos };
    let keep = if len >= 64 {
        u64::MAX
    } else {
        (1u64 << len) - 1
    };
    // Bits that lie beyond the top of the operand are copies of the sign, too.
    let have = if pos > top {
        0
    } else {
        u64::MAX >> (63 - top) >> pos
    };
    let keep = keep & have;
    let result = field & keep | if sign != 0 { !keep } else { 0 };
    if bits == 32 {
        result & 0xffff_ffff
    } else {
        result
    }
}

#[inline(always)]
fn bmsk(pos: u32, len: u32) -> u32 {
    let ones = if len >= 32 {
        u64::from(u32::MAX)
    } else {
        (1u64 << len) - 1
    };
    (ones << pos) as u32
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
pub(crate) use {pick2, pick3};

use Type::{B16, B32, B64, F32, F64, Pred, S16, S32, S64, U16, U32, U64};

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
    let ty = only_type(form)?;
    if is_float(ty) {
        return super::float::add(b, form, operands);
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
    if form.has(Modifier::Relu) {
        return pick2!(b, ty, operands; S32 => MaxReluS32,);
    }
    pick2!(b, ty, operands; U16 => MaxU16, S16 => MaxS16, U32 => MaxU32, S32 => MaxS32, U64 => MaxU64, S64 => MaxS64,)
}

/// Emits a function of two predicates by its truth table, bit `2a + b`.
fn logic(b: &mut Builder<'_>, operands: &[Operand], table: u64) -> Result<(), Refusal> {
    let [d, x, rest @ ..] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let x = b.source(x, Width::Predicate)?;
    let y = match rest {
        [] => x,
        [y] => b.source(y, Width::Predicate)?,
        _ => return Err(Refusal::invalid("another number of operands")),
    };
    let d = b.destination(d, Width::Predicate)?;
    let run = lanes::logic(b.lanes);
    b.emit(run, &[d, x, y], &[0], 0, table);
    Ok(())
}

pub(crate) fn and(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    match only_type(form)? {
        Pred => logic(b, operands, 0b1000),
        ty => pick2!(b, ty, operands; B16 => And16, B32 => And32, B64 => And64,),
    }
}

pub(crate) fn or(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    match only_type(form)? {
        Pred => logic(b, operands, 0b1110),
        ty => pick2!(b, ty, operands; B16 => Or16, B32 => Or32, B64 => Or64,),
    }
}

pub(crate) fn xor(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    match only_type(form)? {
        Pred => logic(b, operands, 0b0110),
        ty => pick2!(b, ty, operands; B16 => Xor16, B32 => Xor32, B64 => Xor64,),
    }
}

pub(crate) fn not(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    match only_type(form)? {
        Pred => logic(b, operands, 0b0011),
        ty => pick1!(b, ty, operands; B16 => Not16, B32 => Not32, B64 => Not64,),
    }
}

pub(crate) fn cnot(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick1!(rare b, only_type(form)?, operands; B16 => Cnot16, B32 => Cnot32, B64 => Cnot64,)
}

pub(crate) fn shl(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick2!(b, only_type(form)?, operands; B16 => Shl16, B32 => Shl32, B64 => Shl64,)
}

pub(crate) fn shr(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick2!(b, only_type(form)?, operands; B16 | U16 => ShrU16, B32 | U32 => ShrU32, B64 | U64 => ShrU64,
        S16 => ShrS16, S32 => ShrS32, S64 => ShrS64,)
}

pub(crate) fn shf(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, c] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    match (form.has(Modifier::L), form.has(Modifier::Wrap)) {
        (true, true) => b.op3::<ShfLWrap>(d, x, y, c),
        (true, false) => b.op3::<ShfLClamp>(d, x, y, c),
        (false, true) => b.op3::<ShfRWrap>(d, x, y, c),
        (false, false) => b.op3::<ShfRClamp>(d, x, y, c),
    }
}

pub(crate) fn popc(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick1!(b, only_type(form)?, operands; B32 => Popc32, B64 => Popc64,)
}

pub(crate) fn clz(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick1!(b, only_type(form)?, operands; B32 => Clz32, B64 => Clz64,)
}

pub(crate) fn brev(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick1!(b, only_type(form)?, operands; B32 => Brev32, B64 => Brev64,)
}

pub(crate) fn bfind_(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    if form.has(Modifier::Shiftamt) {
        return pick1!(b, only_type(form)?, operands; U32 => BfindU32<true>, S32 => BfindS32<true>,
            U64 => BfindU64<true>, S64 => BfindS64<true>,);
    }
    pick1!(b, only_type(form)?, operands; U32 => BfindU32<false>, S32 => BfindS32<false>,
        U64 => BfindU64<false>, S64 => BfindS64<false>,)
}

pub(crate) fn bfe_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    pick3!(b, only_type(form)?, operands; U32 => BfeU32, S32 => BfeS32, U64 => BfeU64, S64 => BfeS64,)
}

pub(crate) fn bmsk_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if form.has(Modifier::Wrap) {
        return pick2!(rare b, only_type(form)?, operands; B32 => BmskWrap,);
    }
    pick2!(rare b, only_type(form)?, operands; B32 => BmskClamp,)
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
