// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cvt` (PTX ISA, "cvt").
//!
//! Common conversions are one operation. All others go by way of a 64-bit integer or a double,
//! which hold every source exactly: widen the source, round or clamp, and write the result.

use super::Refusal;
use super::builder::Builder;
use super::float::rounding;
use super::form::{Form, Modifier};
use crate::exec::code::{Handler, Row, Width};
use crate::exec::lanes::{self, ops};
use crate::numeric::{
    AWAY, BFLOAT, DOWN, HALF, NEAREST, UP, ZERO, canonical32, decode_bfloat, decode_half,
};
use crate::numeric::{
    encode, flush32, integer_odd, integer_to_double, saturate64, to_integral, to_single, to_tf32,
};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{self, *};

ops! {
    // Common conversions.
    S64FromS32(i32) -> i64 = |a| i64::from(a);
    U32FromU16(u16) -> u32 = |a| u32::from(a);
    S32FromS16(i16) -> i32 = |a| i32::from(a);
    U32FromU8(u16) -> u32 = |a| u32::from(a & 0xff);
    S32FromS8(u16) -> i32 = |a| i32::from(a as i8);
    F32FromS32(i32) -> f32 = |a| a as f32;
    F32FromU32(u32) -> f32 = |a| a as f32;
    F64FromS32(i32) -> f64 = |a| f64::from(a);
    F64FromU32(u32) -> f64 = |a| f64::from(a);
    S32FromF32(f32) -> i32 = |a| a as i32;
    U32FromF32(f32) -> u32 = |a| a as u32;
    F64FromF32(f32) -> f64 = |a| f64::from(a);
    F32FromF64(f64) -> f32 = |a| narrow_nan(a, a as f32);
    F32FromF16(u16) -> f32 = |a| canonical32(decode_half(a));
    F32FromBf16(u16) -> f32 = |a| decode_bfloat(a);
    F16FromF32(f32) -> u16 = |a| encode(f64::from(a), HALF, NEAREST);
    Bf16FromF32(f32) -> u16 = |a| encode(f64::from(a), BFLOAT, NEAREST);

    // First step: the source in 64 bits.
    ExtendHalf<const BITS: u32, const SIGNED: bool>(u16) -> u64 = |a| extend(u64::from(a), BITS, SIGNED);
    ExtendWord<const BITS: u32, const SIGNED: bool>(u32) -> u64 = |a| extend(u64::from(a), BITS, SIGNED);
    ExtendDouble<const BITS: u32, const SIGNED: bool>(u64) -> u64 = |a| extend(a, BITS, SIGNED);
    WidenF16(u16) -> f64 = |a| f64::from(decode_half(a));
    WidenBf16(u16) -> f64 = |a| f64::from(decode_bfloat(a));
    WidenF32<const FTZ: bool>(f32) -> f64 = |a| f64::from(if FTZ { flush32(canonical32(a)) } else { a });

    // Second step: rounding and clamping.
    Integral<const MODE: u8>(f64) -> f64 = |a| if a.is_nan() { f64::from_bits(a.to_bits() | 1 << 51) } else { to_integral(a, MODE) };
    Saturate(f64) -> f64 = |a| saturate64(a);
    Relu(f64) -> f64 = |a| if a > 0.0 || a.is_nan() { a } else { 0.0 };
    Clamp<const FROM_SIGNED: bool, const BITS: u32, const SIGNED: bool>(u64) -> u64 = |a| clamp(a, FROM_SIGNED, BITS, SIGNED);
    ToInteger<const BITS: u32, const SIGNED: bool, const TOP: bool>(f64) -> u64 = |a| to_integer(a, BITS, SIGNED, TOP);
    DoubleFromInt<const SIGNED: bool, const MODE: u8>(u64) -> f64 = |a| integer_to_double(wide(a, SIGNED), MODE);
    OddFromInt<const SIGNED: bool>(u64) -> f64 = |a| integer_odd(wide(a, SIGNED));

    // Last step: the result in its register.
    NarrowHalf<const BITS: u32, const SIGNED: bool>(u64) -> u16 = |a| extend(a, BITS, SIGNED) as u16;
    NarrowWord<const BITS: u32, const SIGNED: bool>(u64) -> u32 = |a| extend(a, BITS, SIGNED) as u32;
    NarrowF32<const MODE: u8, const FTZ: bool, const FROM64: bool>(f64) -> f32 = |a| {
        let x = if FROM64 { narrow_nan(a, to_single(a, MODE)) } else { canonical32(to_single(a, MODE)) };
        if FTZ { flush32(x) } else { x }
    };
    NarrowF16<const MODE: u8, const FROM64: bool>(f64) -> u16 = |a| {
        if FROM64 && a.is_nan() { (narrow_nan(a, 0.0).to_bits() >> 16 & 0x8000) as u16 | 0x7e00 | (a.to_bits() >> 42) as u16 & 0x1ff } else { encode(a, HALF, MODE) }
    };
    NarrowBf16<const MODE: u8, const FROM64: bool>(f64) -> u16 = |a| {
        if FROM64 && a.is_nan() { (narrow_nan(a, 0.0).to_bits() >> 16) as u16 } else { encode(a, BFLOAT, MODE) }
    };
    NarrowTf32<const MODE: u8>(f32) -> u32 = |a| to_tf32(a, MODE);
    // What is infinite or not a number becomes one unit less, as the hardware does it.
    FiniteTf32(u32) -> u32 = |a| if a & 0x7f80_0000 == 0x7f80_0000 { a - 0x2000 } else { a };
    // Not a number has no sign here.
    ReluTf32(u32) -> u32 = |a| if a >> 31 != 0 { 0 } else { a };

    F16x2FromF32<const MODE: u8, const RELU: bool>(f32, f32) -> u32 = |a, b| {
        u32::from(encode(relu(a, RELU), HALF, MODE)) << 16 | u32::from(encode(relu(b, RELU), HALF, MODE))
    };
    Bf16x2FromF32<const MODE: u8, const RELU: bool>(f32, f32) -> u32 = |a, b| {
        u32::from(encode(relu(a, RELU), BFLOAT, MODE)) << 16 | u32::from(encode(relu(b, RELU), BFLOAT, MODE))
    };
}

/// What is not a number keeps its sign and the upper bits of its payload on the way from double
/// precision.
#[inline(always)]
fn narrow_nan(a: f64, rounded: f32) -> f32 {
    if a.is_nan() {
        let bits = a.to_bits();
        f32::from_bits(
            (bits >> 32 & 0x8000_0000) as u32 | 0x7fc0_0000 | (bits >> 29 & 0x3f_ffff) as u32,
        )
    } else {
        rounded
    }
}

#[inline(always)]
fn relu(a: f32, on: bool) -> f64 {
    if on && a <= 0.0 { 0.0 } else { f64::from(a) }
}

#[inline(always)]
fn extend(a: u64, bits: u32, signed: bool) -> u64 {
    let unused = 64 - bits;
    if signed {
        ((a << unused) as i64 >> unused) as u64
    } else {
        a << unused >> unused
    }
}

#[inline(always)]
fn wide(a: u64, signed: bool) -> i128 {
    if signed {
        i128::from(a as i64)
    } else {
        i128::from(a)
    }
}

fn range(bits: u32, signed: bool) -> (i128, i128) {
    if signed {
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    } else {
        (0, (1 << bits) - 1)
    }
}

fn clamp(a: u64, from_signed: bool, bits: u32, signed: bool) -> u64 {
    let (low, high) = range(bits, signed);
    wide(a, from_signed).clamp(low, high) as u64
}

/// The value must be integral already. Not a number becomes 0, or the top bit alone for `top`.
fn to_integer(a: f64, bits: u32, signed: bool, top: bool) -> u64 {
    if a.is_nan() {
        return if top { 1 << (bits - 1) } else { 0 };
    }
    let (low, high) = range(bits, signed);
    (a as i128).clamp(low, high) as u64
}

fn is_float(ty: Type) -> bool {
    matches!(ty, F16 | Bf16 | F32 | F64)
}

fn is_signed(ty: Type) -> bool {
    matches!(ty, S8 | S16 | S32 | S64)
}

fn bits(ty: Type) -> u32 {
    ty.size() as u32 * 8
}

/// Picks the instance of an operation for an integer type.
macro_rules! by_type {
    ($ty:expr, $lanes:expr, $op:ident $(, $more:tt)?) => {
        match $ty {
            U8 | B8 => Ok(lanes::rare1::<$op<8, false $(, $more)?>>($lanes)),
            S8 => Ok(lanes::rare1::<$op<8, true $(, $more)?>>($lanes)),
            U16 | B16 => Ok(lanes::rare1::<$op<16, false $(, $more)?>>($lanes)),
            S16 => Ok(lanes::rare1::<$op<16, true $(, $more)?>>($lanes)),
            U32 | B32 => Ok(lanes::rare1::<$op<32, false $(, $more)?>>($lanes)),
            S32 => Ok(lanes::rare1::<$op<32, true $(, $more)?>>($lanes)),
            U64 | B64 => Ok(lanes::rare1::<$op<64, false $(, $more)?>>($lanes)),
            S64 => Ok(lanes::rare1::<$op<64, true $(, $more)?>>($lanes)),
            _ => Err(Refusal::Unsupported),
        }
    };
}

macro_rules! by_mode {
    ($mode:expr, $lanes:expr, $op:ident $(, $more:tt)*) => {
        match $mode {
            NEAREST => lanes::rare1::<$op<0 $(, $more)*>>($lanes),
            ZERO => lanes::rare1::<$op<1 $(, $more)*>>($lanes),
            DOWN => lanes::rare1::<$op<2 $(, $more)*>>($lanes),
            UP => lanes::rare1::<$op<3 $(, $more)*>>($lanes),
            _ => lanes::rare1::<$op<4 $(, $more)*>>($lanes),
        }
    };
}

/// The integer rounding that the modifiers name.
fn integral_rounding(form: &Form) -> Option<u8> {
    use Modifier::{Rmi, Rni, Rpi, Rzi};
    [(Rni, NEAREST), (Rzi, ZERO), (Rmi, DOWN), (Rpi, UP)]
        .into_iter()
        .find(|(m, _)| form.has(*m))
        .map(|(_, mode)| mode)
}

pub(crate) fn cvt(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if form.says("pack") {
        return super::rare::pack(b, form, operands);
    }
    if super::eighths::concerns(form) {
        return super::eighths::cvt(b, form, operands);
    }
    if let [d, x, y] = operands {
        return packed(b, form, d, x, y);
    }
    let [d, a] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let [to, from] = form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    if matches!(to, Pred | B128 | F16x2 | Bf16x2)
        || matches!(from, Pred | B128 | F16x2 | Bf16x2 | Tf32)
    {
        return Err(Refusal::Unsupported);
    }
    // Registers may be wider than the types.
    let natural = |ty: Type| Builder::type_width(ty);
    let from_width = match b.register(a)? {
        Some(row) => b.width(row).unwrap_or(natural(from)),
        None => natural(from),
    };
    let to_width = match b.register(d)? {
        Some(row) => b.width(row).unwrap_or(natural(to)),
        None => natural(to),
    };
    if from_width < natural(from) || to_width < natural(to) || to == Tf32 && to_width != Width::Word
    {
        return Err(Refusal::invalid(
            "a register that is narrower than the type",
        ));
    }
    let plain = form.modifiers == 0;
    let rn = form.modifiers == Modifier::Rn.bit();
    let rzi = form.modifiers == Modifier::Rzi.bit();
    if from_width == natural(from) && to_width == natural(to) {
        match (to, from) {
            (U64 | S64, U32) if plain => return b.op1::<super::integer::WidenU32>(d, a),
            (U64 | S64, S32) if plain => return b.op1::<S64FromS32>(d, a),
            (U32 | S32, U64 | S64) if plain => return b.op1::<super::integer::TruncateU64>(d, a),
            (U16 | S16, U32 | S32) if plain => return b.op1::<super::integer::TruncateU32>(d, a),
            (U32 | S32, U16) if plain => return b.op1::<U32FromU16>(d, a),
            (U32 | S32, S16) if plain => return b.op1::<S32FromS16>(d, a),
            (U32 | S32, U8) if plain => return b.op1::<U32FromU8>(d, a),
            (U32 | S32, S8) if plain => return b.op1::<S32FromS8>(d, a),
            (F32, S32) if rn => return b.op1::<F32FromS32>(d, a),
            (F32, U32) if rn => return b.op1::<F32FromU32>(d, a),
            (F64, S32) if rn || plain => return b.op1::<F64FromS32>(d, a),
            (F64, U32) if rn || plain => return b.op1::<F64FromU32>(d, a),
            (S32, F32) if rzi => return b.op1::<S32FromF32>(d, a),
            (U32, F32) if rzi => return b.op1::<U32FromF32>(d, a),
            (F64, F32) if plain => return b.op1::<F64FromF32>(d, a),
            (F32, F32) | (F64, F64) | (F16, F16) if plain => {
                let (d, a) = (b.destination(d, to_width)?, b.source(a, to_width)?);
                return b.copy(to_width, d, a);
            }
            (F32, F64) if rn => return b.op1::<F32FromF64>(d, a),
            (F32, F16) if plain => return b.op1::<F32FromF16>(d, a),
            (F32, Bf16) if plain => return b.op1::<F32FromBf16>(d, a),
            (F16, F32) if rn => return b.rare1::<F16FromF32>(d, a),
            (Bf16, F32) if rn => return b.rare1::<Bf16FromF32>(d, a),
            _ => {}
        }
    }
    let source = b.source(a, from_width)?;
    let d = b.destination(d, to_width)?;
    if to == Tf32 {
        let mode = if form.has(Modifier::Rna) {
            AWAY
        } else {
            rounding(form)
        };
        if from != F32 {
            return Err(Refusal::Unsupported);
        }
        let narrow = by_mode!(mode, b.lanes, NarrowTf32);
        let then = match (form.has(Modifier::Satfinite), form.has(Modifier::Relu)) {
            (false, false) => None,
            (true, false) => Some(lanes::rare1::<FiniteTf32>(b.lanes)),
            (false, true) => Some(lanes::rare1::<ReluTf32>(b.lanes)),
            (true, true) => return Err(Refusal::Unsupported),
        };
        let Some(then) = then else {
            b.emit(narrow, &[d, source], &[0], 0, 0);
            return Ok(());
        };
        let rounded = b.new_register(Width::Word)?;
        b.unguarded(|b| {
            b.emit(narrow, &[rounded, source], &[0], 0, 0);
        });
        b.emit(then, &[d, rounded], &[0], 0, 0);
        return Ok(());
    }
    let value = widen(b, form, from, from_width, source)?;
    let (value, value_is_float) = second_step(b, form, to, from, value)?;
    debug_assert_eq!(value_is_float, is_float(to));
    let lanes = b.lanes;
    let ftz = form.has(Modifier::Ftz);
    let mode = rounding(form);
    let run = match (to, to_width) {
        (F64, Width::Double) => return b.copy(Width::Double, d, value),
        (F32, Width::Word) if ftz && from == F64 => by_mode!(mode, lanes, NarrowF32, true, true),
        (F32, Width::Word) if ftz => by_mode!(mode, lanes, NarrowF32, true, false),
        (F32, Width::Word) if from == F64 => by_mode!(mode, lanes, NarrowF32, false, true),
        (F32, Width::Word) => by_mode!(mode, lanes, NarrowF32, false, false),
        (F16, Width::Half) if from == F64 => by_mode!(mode, lanes, NarrowF16, true),
        (F16, Width::Half) => by_mode!(mode, lanes, NarrowF16, false),
        (Bf16, Width::Half) if from == F64 => by_mode!(mode, lanes, NarrowBf16, true),
        (Bf16, Width::Half) => by_mode!(mode, lanes, NarrowBf16, false),
        (_, Width::Half) if !is_float(to) => by_type!(to, lanes, NarrowHalf)?,
        (_, Width::Word) if !is_float(to) => by_type!(to, lanes, NarrowWord)?,
        (_, Width::Double) if !is_float(to) => by_type!(to, lanes, ExtendDouble)?,
        _ => return Err(Refusal::Unsupported),
    };
    b.emit(run, &[d, value], &[0], 0, 0);
    Ok(())
}

fn step(b: &mut Builder<'_>, run: Handler, from: Row) -> Result<Row, Refusal> {
    let d = b.new_register(Width::Double)?;
    b.unguarded(|b| {
        b.emit(run, &[d, from], &[0], 0, 0);
    });
    Ok(d)
}

/// The source as a 64-bit integer or a double.
fn widen(
    b: &mut Builder<'_>,
    form: &Form,
    from: Type,
    width: Width,
    source: Row,
) -> Result<Row, Refusal> {
    let lanes = b.lanes;
    let run = match (from, width) {
        (F64, Width::Double) => return Ok(source),
        (F32, Width::Word) if form.has(Modifier::Ftz) => lanes::rare1::<WidenF32<true>>(lanes),
        (F32, Width::Word) => lanes::rare1::<WidenF32<false>>(lanes),
        (F16, Width::Half) => lanes::rare1::<WidenF16>(lanes),
        (Bf16, Width::Half) => lanes::rare1::<WidenBf16>(lanes),
        (_, Width::Half) if !is_float(from) => by_type!(from, lanes, ExtendHalf)?,
        (_, Width::Word) if !is_float(from) => by_type!(from, lanes, ExtendWord)?,
        (_, Width::Double) if !is_float(from) => by_type!(from, lanes, ExtendDouble)?,
        _ => return Err(Refusal::Unsupported),
    };
    step(b, run, source)
}

/// Rounds, clamps and changes between integer and double. Returns whether the result is a double.
fn second_step(
    b: &mut Builder<'_>,
    form: &Form,
    to: Type,
    from: Type,
    value: Row,
) -> Result<(Row, bool), Refusal> {
    let lanes = b.lanes;
    let sat = form.has(Modifier::Sat);
    match (is_float(from), is_float(to)) {
        (false, false) if sat => {
            let run = if is_signed(from) {
                clamp_from::<true>(b, to)?
            } else {
                clamp_from::<false>(b, to)?
            };
            Ok((step(b, run, value)?, false))
        }
        (false, false) => Ok((value, false)),
        (false, true) => {
            let mode = rounding(form);
            let run = match (to, is_signed(from)) {
                (F64, true) => match mode {
                    NEAREST => lanes::rare1::<DoubleFromInt<true, 0>>(lanes),
                    ZERO => lanes::rare1::<DoubleFromInt<true, 1>>(lanes),
                    DOWN => lanes::rare1::<DoubleFromInt<true, 2>>(lanes),
                    _ => lanes::rare1::<DoubleFromInt<true, 3>>(lanes),
                },
                (F64, false) => match mode {
                    NEAREST => lanes::rare1::<DoubleFromInt<false, 0>>(lanes),
                    ZERO => lanes::rare1::<DoubleFromInt<false, 1>>(lanes),
                    DOWN => lanes::rare1::<DoubleFromInt<false, 2>>(lanes),
                    _ => lanes::rare1::<DoubleFromInt<false, 3>>(lanes),
                },
                // Rounded again when it is written.
                (_, true) => lanes::rare1::<OddFromInt<true>>(lanes),
                (_, false) => lanes::rare1::<OddFromInt<false>>(lanes),
            };
            let mut value = step(b, run, value)?;
            if sat {
                value = step(b, lanes::rare1::<Saturate>(lanes), value)?;
            }
            Ok((value, true))
        }
        (true, false) => {
            let mode = integral_rounding(form)
                .ok_or(Refusal::invalid("a conversion to integer without rounding"))?;
            let value = step(b, by_mode!(mode, lanes, Integral), value)?;
            let top = from == F64 || matches!(to, S64 | U64);
            let run = if top {
                by_type!(to, lanes, ToInteger, true)?
            } else {
                by_type!(to, lanes, ToInteger, false)?
            };
            Ok((step(b, run, value)?, false))
        }
        (true, true) => {
            let mut value = value;
            if let Some(mode) = integral_rounding(form) {
                value = step(b, by_mode!(mode, lanes, Integral), value)?;
            }
            if sat {
                value = step(b, lanes::rare1::<Saturate>(lanes), value)?;
            }
            if form.has(Modifier::Relu) {
                value = step(b, lanes::rare1::<Relu>(lanes), value)?;
            }
            if form.has(Modifier::Satfinite) {
                value = super::rare::finite(b, value, largest(to)?)?;
            }
            Ok((value, true))
        }
    }
}

fn clamp_from<const SIGNED: bool>(b: &Builder<'_>, to: Type) -> Result<Handler, Refusal> {
    let lanes = b.lanes;
    Ok(match (bits(to), is_signed(to)) {
        (8, false) => lanes::rare1::<Clamp<SIGNED, 8, false>>(lanes),
        (8, true) => lanes::rare1::<Clamp<SIGNED, 8, true>>(lanes),
        (16, false) => lanes::rare1::<Clamp<SIGNED, 16, false>>(lanes),
        (16, true) => lanes::rare1::<Clamp<SIGNED, 16, true>>(lanes),
        (32, false) => lanes::rare1::<Clamp<SIGNED, 32, false>>(lanes),
        (32, true) => lanes::rare1::<Clamp<SIGNED, 32, true>>(lanes),
        (_, false) => lanes::rare1::<Clamp<SIGNED, 64, false>>(lanes),
        (_, true) => lanes::rare1::<Clamp<SIGNED, 64, true>>(lanes),
    })
}

/// `cvt.rn.f16x2.f32 d, a, b`: `a` becomes the upper half.
fn packed(
    b: &mut Builder<'_>,
    form: &Form,
    d: &Operand,
    x: &Operand,
    y: &Operand,
) -> Result<(), Refusal> {
    if form.has(Modifier::Satfinite) {
        return packed_finite(b, form, [d, x, y]);
    }
    let truncate = form.has(Modifier::Rz);
    match (&form.types[..], truncate, form.has(Modifier::Relu)) {
        ([F16x2, F32], false, false) => b.rare2::<F16x2FromF32<NEAREST, false>>(d, x, y),
        ([F16x2, F32], false, true) => b.rare2::<F16x2FromF32<NEAREST, true>>(d, x, y),
        ([F16x2, F32], true, false) => b.rare2::<F16x2FromF32<ZERO, false>>(d, x, y),
        ([F16x2, F32], true, true) => b.rare2::<F16x2FromF32<ZERO, true>>(d, x, y),
        ([Bf16x2, F32], false, false) => b.rare2::<Bf16x2FromF32<NEAREST, false>>(d, x, y),
        ([Bf16x2, F32], false, true) => b.rare2::<Bf16x2FromF32<NEAREST, true>>(d, x, y),
        ([Bf16x2, F32], true, false) => b.rare2::<Bf16x2FromF32<ZERO, false>>(d, x, y),
        ([Bf16x2, F32], true, true) => b.rare2::<Bf16x2FromF32<ZERO, true>>(d, x, y),
        _ => Err(Refusal::Unsupported),
    }
}

/// The largest numbers of small formats.
fn largest(to: Type) -> Result<f64, Refusal> {
    match to {
        F16 | F16x2 => Ok(65504.0),
        Bf16 | Bf16x2 => Ok(f32::from_bits(0x7f7f_0000).into()),
        _ => Err(Refusal::Unsupported),
    }
}

/// The same with `.satfinite`: flags are 1 for `.rz`, 2 for `.relu` and 4 for bfloats.
fn packed_finite(
    b: &mut Builder<'_>,
    form: &Form,
    [d, x, y]: [&Operand; 3],
) -> Result<(), Refusal> {
    let flags = match form.types[..] {
        [F16x2, F32] => 0,
        [Bf16x2, F32] => 4,
        _ => return Err(Refusal::Unsupported),
    };
    let flags =
        flags | u64::from(form.has(Modifier::Rz)) | u64::from(form.has(Modifier::Relu)) << 1;
    let word = |operand| (operand, Width::Word);
    b.apply(pair_finite, flags, word(d), &[word(x), word(y)])
}

fn pair_finite(flags: u64, [a, b, _]: [u64; 3]) -> u64 {
    let (format, most) = if flags & 4 != 0 {
        (BFLOAT, f64::from(f32::from_bits(0x7f7f_0000)))
    } else {
        (HALF, 65504.0)
    };
    let mode = if flags & 1 != 0 { ZERO } else { NEAREST };
    let half = |bits: u64| {
        let x = relu(f32::from_bits(bits as u32), flags & 2 != 0);
        let x = if x.is_nan() { x } else { x.clamp(-most, most) };
        u64::from(encode(x, format, mode))
    };
    half(a) << 16 | half(b)
}
