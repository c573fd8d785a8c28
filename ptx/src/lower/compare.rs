// SPDX-License-Identifier: MIT OR Apache-2.0
//! `setp`, `set`, `selp`, `slct`, `testp` and `mov`.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::{self, only_type, pick3, tests};
use super::packed;
use crate::exec::Lanes;
use crate::exec::code::{Handler, Row, Width};
use crate::exec::lanes::{self, Op1, Test, ops, setp as bits};
use crate::numeric::{decode_bfloat, decode_half, flush32};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{
    self, B16, B32, B64, Bf16, Bf16x2, F16, F16x2, F32, F64, S16, S32, S64, U16, U32, U64,
};

tests! {
    EqF32(f32) = |a, b| a == b;
    NeF32(f32) = |a, b| a != b && !a.is_nan() && !b.is_nan();
    LtF32(f32) = |a, b| a < b;
    LeF32(f32) = |a, b| a <= b;
    EquF32(f32) = |a, b| a == b || a.is_nan() || b.is_nan();
    NeuF32(f32) = |a, b| a != b;
    LtuF32(f32) = |a, b| a < b || a.is_nan() || b.is_nan();
    LeuF32(f32) = |a, b| a <= b || a.is_nan() || b.is_nan();
    NumF32(f32) = |a, b| !(a.is_nan() || b.is_nan());
    NanF32(f32) = |a, b| a.is_nan() || b.is_nan();
    EqF64(f64) = |a, b| a == b;
    NeF64(f64) = |a, b| a != b && !a.is_nan() && !b.is_nan();
    LtF64(f64) = |a, b| a < b;
    LeF64(f64) = |a, b| a <= b;
    EquF64(f64) = |a, b| a == b || a.is_nan() || b.is_nan();
    NeuF64(f64) = |a, b| a != b;
    LtuF64(f64) = |a, b| a < b || a.is_nan() || b.is_nan();
    LeuF64(f64) = |a, b| a <= b || a.is_nan() || b.is_nan();
    NumF64(f64) = |a, b| !(a.is_nan() || b.is_nan());
    NanF64(f64) = |a, b| a.is_nan() || b.is_nan();
}

ops! {
    FlushF32(f32) -> f32 = |a| flush32(a);
    WidenHalf(u16) -> f32 = |a| decode_half(a);
    WidenHalfFlushed(u16) -> f32 = |a| decode_half(if a & 0x7c00 == 0 { a & 0x8000 } else { a });
    WidenBfloat(u16) -> f32 = |a| decode_bfloat(a);
}

/// Whether `setp` swaps its operands to use a test the other way round.
type Choice = (Handler, bool);

fn integer_test(form: &Form, ty: Type, lanes: Lanes, set: Option<Type>) -> Result<Choice, Refusal> {
    use Modifier::*;
    let has = |m: Modifier| form.has(m);
    // `lo`, `ls`, `hi`, `hs` compare without sign.
    let unsigned = has(Lo) || has(Ls) || has(Hi) || has(Hs);
    let ty = match (ty, unsigned) {
        (B16 | S16, true) => U16,
        (B32 | S32, true) => U32,
        (B64 | S64, true) => U64,
        (ty, _) => ty,
    };
    macro_rules! pick {
        ($eq:ident $ne:ident $lt:ident $le:ident) => {
            match () {
                () if has(Eq) => Ok((test::<integer::$eq>(lanes, set)?, false)),
                () if has(Ne) => Ok((test::<integer::$ne>(lanes, set)?, false)),
                () if has(Lt) || has(Lo) => Ok((test::<integer::$lt>(lanes, set)?, false)),
                () if has(Le) || has(Ls) => Ok((test::<integer::$le>(lanes, set)?, false)),
                () if has(Gt) || has(Hi) => Ok((test::<integer::$lt>(lanes, set)?, true)),
                () if has(Ge) || has(Hs) => Ok((test::<integer::$le>(lanes, set)?, true)),
                () => Err(Refusal::Unsupported),
            }
        };
    }
    match ty {
        U16 | B16 => pick!(Eq16 Ne16 LtU16 LeU16),
        S16 => pick!(Eq16 Ne16 LtS16 LeS16),
        U32 | B32 => pick!(Eq32 Ne32 LtU32 LeU32),
        S32 => pick!(Eq32 Ne32 LtS32 LeS32),
        U64 | B64 => pick!(Eq64 Ne64 LtU64 LeU64),
        S64 => pick!(Eq64 Ne64 LtS64 LeS64),
        _ => Err(Refusal::Unsupported),
    }
}

fn float_test(form: &Form, ty: Type, lanes: Lanes, set: Option<Type>) -> Result<Choice, Refusal> {
    use Modifier::*;
    let has = |m: Modifier| form.has(m);
    macro_rules! pick {
        ($eq:ident $ne:ident $lt:ident $le:ident $equ:ident $neu:ident $ltu:ident $leu:ident $num:ident $nan:ident) => {
            match () {
                () if has(Eq) => Ok((test::<$eq>(lanes, set)?, false)),
                () if has(Ne) => Ok((test::<$ne>(lanes, set)?, false)),
                () if has(Lt) => Ok((test::<$lt>(lanes, set)?, false)),
                () if has(Le) => Ok((test::<$le>(lanes, set)?, false)),
                () if has(Gt) => Ok((test::<$lt>(lanes, set)?, true)),
                () if has(Ge) => Ok((test::<$le>(lanes, set)?, true)),
                () if has(Equ) => Ok((test::<$equ>(lanes, set)?, false)),
                () if has(Neu) => Ok((test::<$neu>(lanes, set)?, false)),
                () if has(Ltu) => Ok((test::<$ltu>(lanes, set)?, false)),
                () if has(Leu) => Ok((test::<$leu>(lanes, set)?, false)),
                () if has(Gtu) => Ok((test::<$ltu>(lanes, set)?, true)),
                () if has(Geu) => Ok((test::<$leu>(lanes, set)?, true)),
                () if has(Num) => Ok((test::<$num>(lanes, set)?, false)),
                () if has(Nan) => Ok((test::<$nan>(lanes, set)?, false)),
                () => Err(Refusal::Unsupported),
            }
        };
    }
    match ty {
        F32 => pick!(EqF32 NeF32 LtF32 LeF32 EquF32 NeuF32 LtuF32 LeuF32 NumF32 NanF32),
        _ => pick!(EqF64 NeF64 LtF64 LeF64 EquF64 NeuF64 LtuF64 LeuF64 NumF64 NanF64),
    }
}

/// The handler of `setp`, or of `set` with this result type.
fn test<T: Test>(lanes: Lanes, set: Option<Type>) -> Result<Handler, Refusal> {
    Ok(match set {
        None => lanes::setp_test::<T>(lanes),
        Some(U32 | S32 | F32 | B32) => lanes::set_test::<T, u32>(lanes),
        _ => return Err(Refusal::Unsupported),
    })
}

/// The operands of a comparison, widened to a type that is compared.
fn compared(b: &mut Builder<'_>, form: &Form, ty: Type, operand: &Operand) -> Result<Row, Refusal> {
    let row = b.source(operand, Builder::type_width(ty))?;
    let convert = |b: &mut Builder<'_>, run: Handler| {
        let d = b.new_register(Width::Word)?;
        b.unguarded(|b| {
            b.emit(run, &[d, row], &[0], 0, 0);
        });
        Ok(d)
    };
    match ty {
        F16 if form.has(Modifier::Ftz) => convert(b, lanes::op1::<WidenHalfFlushed>(b.lanes)),
        F16 => convert(b, lanes::op1::<WidenHalf>(b.lanes)),
        Bf16 => convert(b, lanes::op1::<WidenBfloat>(b.lanes)),
        F32 if form.has(Modifier::Ftz) => convert(b, lanes::op1::<FlushF32>(b.lanes)),
        _ => Ok(row),
    }
}

fn combination(form: &Form) -> u64 {
    match () {
        () if form.has(Modifier::And) => bits::AND,
        () if form.has(Modifier::Or) => bits::OR,
        () if form.has(Modifier::Xor) => bits::XOR,
        () => 0,
    }
}

/// The rows of a comparison: operands 1 and 2, and the predicate in 4 with its flags.
fn comparison(
    b: &mut Builder<'_>,
    form: &Form,
    ty: Type,
    sources: &[Operand],
    set: Option<Type>,
) -> Result<(Handler, [Row; 5], u64), Refusal> {
    let (run, swap) = match ty {
        F32 | F16 | Bf16 => float_test(form, F32, b.lanes, set)?,
        F64 => float_test(form, F64, b.lanes, set)?,
        _ => integer_test(form, ty, b.lanes, set)?,
    };
    let combine = combination(form);
    let (x, y) = match (sources, combine) {
        ([x, y], 0) | ([x, y, _], 1..) => (compared(b, form, ty, x)?, compared(b, form, ty, y)?),
        _ => return Err(Refusal::invalid("another number of operands")),
    };
    let mut aux = combine;
    let mut rows = [Row::NONE, x, y, Row::NONE, Row::NONE];
    if swap {
        rows.swap(1, 2);
    }
    if let Some(c) = sources.get(2) {
        match c {
            Operand::Not(name) => {
                rows[4] = b.source(&Operand::Name(*name), Width::Predicate)?;
                aux |= bits::NEGATED;
            }
            c => rows[4] = b.source(c, Width::Predicate)?,
        }
    }
    Ok((run, rows, aux))
}

pub(crate) fn setp(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ty = only_type(form)?;
    let (d, sources) = operands
        .split_first()
        .ok_or(Refusal::invalid("another number of operands"))?;
    if let (F16x2 | Bf16x2, Operand::Pair(p, q)) = (ty, d) {
        let results = [&Operand::Name(*p), &Operand::Name(*q)];
        return packed::compare_pairs(b, form, ty == Bf16x2, results, sources);
    }
    let (run, mut rows, mut aux) = comparison(b, form, ty, sources, None)?;
    if let Operand::Pair(p, q) = d {
        rows[0] = b.destination(&Operand::Name(*p), Width::Predicate)?;
        rows[3] = b.destination(&Operand::Name(*q), Width::Predicate)?;
        aux |= bits::SECOND;
        b.emit(run, &rows, &[0, 3], 0, aux);
    } else {
        rows[0] = b.destination(d, Width::Predicate)?;
        b.emit(run, &rows, &[0], 0, aux);
    }
    Ok(())
}

pub(crate) fn set(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [result, ty] = form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    let (d, sources) = operands
        .split_first()
        .ok_or(Refusal::invalid("another number of operands"))?;
    let yes = match result {
        F32 => 1f32.to_bits(),
        F16 => 0x3c00,
        Bf16 => 0x3f80,
        F16x2 => 0x3c00_3c00,
        Bf16x2 => 0x3f80_3f80,
        U16 | S16 => 0xffff,
        _ => u32::MAX,
    };
    if matches!(ty, F16x2 | Bf16x2) {
        return packed::set_pairs(b, form, ty == Bf16x2, yes, d, sources);
    }
    if Builder::type_width(result) == Width::Half {
        let (run, mut rows, aux) = comparison(b, form, ty, sources, None)?;
        let holds = b.new_register(Width::Predicate)?;
        rows[0] = holds;
        b.unguarded(|b| {
            b.emit(run, &rows, &[0], 0, aux);
        });
        let (yes, no) = (
            b.constant(Width::Half, yes.into())?,
            b.constant(Width::Half, 0)?,
        );
        let d = b.destination(d, Width::Half)?;
        let run = lanes::select::<u16>(b.lanes);
        b.emit(run, &[d, yes, no, holds], &[0], 0, 0);
        return Ok(());
    }
    let (run, mut rows, aux) = comparison(b, form, ty, sources, Some(result))?;
    rows[0] = b.destination(d, Builder::type_width(result))?;
    b.emit(run, &rows, &[0], aux as i64, yes.into());
    Ok(())
}

pub(crate) fn selp(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, p] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let ty = only_type(form)?;
    let width = Builder::type_width(ty);
    let run = match width {
        Width::Half => lanes::select::<u16>(b.lanes),
        Width::Word => lanes::select::<u32>(b.lanes),
        Width::Double => lanes::select::<u64>(b.lanes),
        _ => return Err(Refusal::Unsupported),
    };
    let rows = [
        b.source(x, width)?,
        b.source(y, width)?,
        b.source(p, Width::Predicate)?,
    ];
    let d = b.destination(d, width)?;
    b.emit(run, &[d, rows[0], rows[1], rows[2]], &[0], 0, 0);
    Ok(())
}

pub(crate) fn slct(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [ty, chooser] = form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    let flush = form.has(Modifier::Ftz);
    match chooser {
        S32 => {
            pick3!(rare b, ty, operands; B16 | U16 | S16 => integer::SlctS16, B32 | U32 | S32 | F32 => integer::SlctS32,
            B64 | U64 | S64 | F64 => integer::SlctS64,)
        }
        F32 if flush => {
            // A subnormal number becomes a zero, which counts as not negative.
            let [d, x, y, c] = operands else {
                return Err(Refusal::invalid("another number of operands"));
            };
            let width = Builder::type_width(ty);
            let run = match width {
                Width::Half => lanes::rare3::<integer::SlctF16>(b.lanes),
                Width::Word => lanes::rare3::<integer::SlctF32>(b.lanes),
                Width::Double => lanes::rare3::<integer::SlctF64>(b.lanes),
                _ => return Err(Refusal::Unsupported),
            };
            let (x, y) = (b.source(x, width)?, b.source(y, width)?);
            let c = compared(b, form, F32, c)?;
            let d = b.destination(d, width)?;
            b.emit(run, &[d, x, y, c], &[0], 0, 0);
            Ok(())
        }
        F32 => pick3!(rare b, ty, operands; B16 | U16 | S16 => integer::SlctF16,
            B32 | U32 | S32 | F32 => integer::SlctF32, B64 | U64 | S64 | F64 => integer::SlctF64,),
        _ => Err(Refusal::Unsupported),
    }
}

pub(crate) fn mov(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, a] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let ty = only_type(form)?;
    let width = Builder::type_width(ty);
    match (d, a) {
        (Operand::Vector(parts), _) => {
            let parts = b.list(parts);
            unpack(b, width, parts, a)
        }
        (_, Operand::Vector(parts)) => {
            let parts = b.list(parts);
            pack(b, width, d, parts)
        }
        _ => {
            let a = b.source(a, width)?;
            if b.alias(d, width, a)? {
                return Ok(());
            }
            let d = b.destination(d, width)?;
            b.copy(width, d, a)
        }
    }
}

ops! {
    PackHalves(u16, u16) -> u32 = |a, b| u32::from(b) << 16 | u32::from(a);
    PackWords(u32, u32) -> u64 = |a, b| u64::from(b) << 32 | u64::from(a);
    PackDoubles(u64, u64) -> u128 = |a, b| u128::from(b) << 64 | u128::from(a);
    LowHalf(u32) -> u16 = |a| a as u16;
    HighHalf(u32) -> u16 = |a| (a >> 16) as u16;
    LowWord(u64) -> u32 = |a| a as u32;
    HighWord(u64) -> u32 = |a| (a >> 32) as u32;
    LowDouble(u128) -> u64 = |a| a as u64;
    HighDouble(u128) -> u64 = |a| (a >> 64) as u64;
    PackBytes(u16, u16) -> u16 = |a, b| b << 8 | a & 0xff;
    LowByte(u16) -> u16 = |a| a & 0xff;
    HighByte(u16) -> u16 = |a| a >> 8;
}

/// `mov.b64 d, {a, b}`: two halves, or four quarters by way of two halves.
fn pack(b: &mut Builder<'_>, width: Width, d: &Operand, parts: &[Operand]) -> Result<(), Refusal> {
    let wrong = || Refusal::invalid("a vector that does not fit the type");
    match (width, parts) {
        (Width::Half, [x, y]) => b.op2::<PackBytes>(d, x, y),
        (Width::Word, [x, y]) => b.op2::<PackHalves>(d, x, y),
        (Width::Double, [x, y]) => b.op2::<PackWords>(d, x, y),
        (Width::Quad, [x, y]) => b.op2::<PackDoubles>(d, x, y),
        (Width::Word | Width::Double, [x, y, z, w]) => {
            let half = if width == Width::Double {
                Width::Word
            } else {
                Width::Half
            };
            let (low, high) = (b.new_register(half)?, b.new_register(half)?);
            for (row, first, second) in [(low, x, y), (high, z, w)] {
                let (first, second) = (
                    b.source(first, Width::Half)?,
                    b.source(second, Width::Half)?,
                );
                let run = match half {
                    Width::Word => lanes::op2::<PackHalves>(b.lanes),
                    _ => lanes::op2::<PackBytes>(b.lanes),
                };
                b.unguarded(|b| {
                    b.emit(run, &[row, first, second], &[0], 0, 0);
                });
            }
            let d = b.destination(d, width)?;
            let run = match width {
                Width::Double => lanes::op2::<PackWords>(b.lanes),
                _ => lanes::op2::<PackHalves>(b.lanes),
            };
            b.emit(run, &[d, low, high], &[0], 0, 0);
            Ok(())
        }
        _ => Err(wrong()),
    }
}

fn unpack(
    b: &mut Builder<'_>,
    width: Width,
    parts: &[Operand],
    a: &Operand,
) -> Result<(), Refusal> {
    // The source may be one of the destinations.
    let source = b.source(a, width)?;
    let copy = b.new_register(width)?;
    b.unguarded(|b| b.copy(width, copy, source))?;
    let one = |b: &mut Builder<'_>, d: &Operand, width: Width, from: Row, run: Handler| {
        let d = b.destination(d, width)?;
        b.emit(run, &[d, from], &[0], 0, 0);
        Ok(())
    };
    fn run<O: Op1>(b: &Builder<'_>) -> Handler {
        lanes::op1::<O>(b.lanes)
    }
    let (half, low, high) = match width {
        Width::Half => (Width::Half, run::<LowByte>(b), run::<HighByte>(b)),
        Width::Word => (Width::Half, run::<LowHalf>(b), run::<HighHalf>(b)),
        Width::Double => (Width::Word, run::<LowWord>(b), run::<HighWord>(b)),
        Width::Quad => (Width::Double, run::<LowDouble>(b), run::<HighDouble>(b)),
        Width::Predicate => return Err(Refusal::invalid("a vector of predicates")),
    };
    match parts {
        [x, y] => {
            one(b, x, half, copy, low)?;
            one(b, y, half, copy, high)
        }
        [x, y, z, w] if matches!(width, Width::Word | Width::Double | Width::Quad) => {
            for (first, second, take) in [(x, y, low), (z, w, high)] {
                let middle = b.new_register(half)?;
                b.unguarded(|b| {
                    b.emit(take, &[middle, copy], &[0], 0, 0);
                });
                let (quarter, low, high) = match half {
                    Width::Half => (Width::Half, run::<LowByte>(b), run::<HighByte>(b)),
                    Width::Word => (Width::Half, run::<LowHalf>(b), run::<HighHalf>(b)),
                    _ => (Width::Word, run::<LowWord>(b), run::<HighWord>(b)),
                };
                one(b, first, quarter, middle, low)?;
                one(b, second, quarter, middle, high)?;
            }
            Ok(())
        }
        _ => Err(Refusal::invalid("a vector that does not fit the type")),
    }
}

/// `testp`: classes of floating-point numbers.
pub(crate) fn testp(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::*;
    let [d, a] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let lanes = b.lanes;
    macro_rules! pick {
        ($finite:ident $infinite:ident $number:ident $nan:ident $normal:ident $subnormal:ident) => {
            match () {
                () if form.has(Finite) => lanes::setp_test::<$finite>(lanes),
                () if form.has(Infinite) => lanes::setp_test::<$infinite>(lanes),
                () if form.has(Number) => lanes::setp_test::<$number>(lanes),
                () if form.has(Notanumber) => lanes::setp_test::<$nan>(lanes),
                () if form.has(Normal) => lanes::setp_test::<$normal>(lanes),
                () if form.has(Subnormal) => lanes::setp_test::<$subnormal>(lanes),
                () => return Err(Refusal::Unsupported),
            }
        };
    }
    let (run, width) = match only_type(form)? {
        F32 => (
            pick!(FiniteF32 InfiniteF32 NumberF32 NanF32 NormalF32 SubnormalF32),
            Width::Word,
        ),
        F64 => (
            pick!(FiniteF64 InfiniteF64 NumberF64 NanF64 NormalF64 SubnormalF64),
            Width::Double,
        ),
        _ => return Err(Refusal::Unsupported),
    };
    let a = b.source(a, width)?;
    let d = b.destination(d, Width::Predicate)?;
    b.emit(run, &[d, a, a], &[0], 0, 0);
    Ok(())
}

tests! {
    FiniteF32(f32) = |a, _| a.is_finite();
    InfiniteF32(f32) = |a, _| a.is_infinite();
    NumberF32(f32) = |a, _| !a.is_nan();
    // Zero counts as normal, as the hardware does.
    NormalF32(f32) = |a, _| a.is_normal() || a == 0.0;
    SubnormalF32(f32) = |a, _| a.is_subnormal();
    FiniteF64(f64) = |a, _| a.is_finite();
    InfiniteF64(f64) = |a, _| a.is_infinite();
    NumberF64(f64) = |a, _| !a.is_nan();
    NormalF64(f64) = |a, _| a.is_normal() || a == 0.0;
    SubnormalF64(f64) = |a, _| a.is_subnormal();
}
