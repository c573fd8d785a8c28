// SPDX-License-Identifier: MIT OR Apache-2.0
//! Logic, shifts, bit fields and permutations of bytes.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::integer::{only_type, pick1, pick2, pick3};
use crate::exec::code::Width;
use crate::exec::lanes::{self, ops};
use crate::parse::ast::Operand;
use crate::parse::ast::Type::{B16, B32, B64, Pred, S16, S32, S64, U16, U32, U64};

ops! {
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

    Prmt(u32, u32, u32) -> u32 = |a, b, c| prmt(a, b, [c, c >> 4, c >> 8, c >> 12]);
    PrmtF4e(u32, u32, u32) -> u32 = |a, b, c| prmt(a, b, [c & 3, (c & 3) + 1, (c & 3) + 2, (c & 3) + 3]);
    PrmtB4e(u32, u32, u32) -> u32 = |a, b, c| {
        let c = c & 3;
        prmt(a, b, [c, c.wrapping_sub(1) & 7, c.wrapping_sub(2) & 7, c.wrapping_sub(3) & 7])
    };
    PrmtRc8(u32, u32, u32) -> u32 = |a, b, c| prmt(a, b, [c & 3; 4]);
    PrmtEcl(u32, u32, u32) -> u32 = |a, b, c| prmt(a, b, [0u32, 1, 2, 3].map(|i| i.max(c & 3)));
    PrmtEcr(u32, u32, u32) -> u32 = |a, b, c| prmt(a, b, [0u32, 1, 2, 3].map(|i| i.min(c & 3)));
    PrmtRc16(u32, u32, u32) -> u32 = |a, b, c| {
        let c = (c & 1) * 2;
        prmt(a, b, [c, c + 1, c, c + 1])
    };
    Bfi32(u32, u32, u32) -> u32 = |a, b, c| bfi(u64::from(a), u64::from(b), c & 0xff, c >> 8 & 0xff, 32) as u32;
    Bfi64(u64, u64, u32) -> u64 = |a, b, c| bfi(a, b, c & 0xff, c >> 8 & 0xff, 64);
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

/// Bytes of `b:a` chosen by the low four bits of each selector; bit 3 replicates the sign.
#[inline(always)]
fn prmt(a: u32, b: u32, selectors: [u32; 4]) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut result = 0;
    for (i, selector) in selectors.into_iter().enumerate() {
        let byte = (bytes >> ((selector & 7) * 8)) as u8;
        let byte = if selector & 8 != 0 {
            ((byte as i8) >> 7) as u8
        } else {
            byte
        };
        result |= u32::from(byte) << (i * 8);
    }
    result
}

/// `bfi`: the low `len` bits of `a` replace bits of `b` from `pos`.
#[inline(always)]
fn bfi(a: u64, b: u64, pos: u32, len: u32, bits: u32) -> u64 {
    if pos >= bits || len == 0 {
        return b;
    }
    let field = if len >= 64 { u64::MAX } else { (1 << len) - 1 } << pos;
    b & !field | a << pos & field
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

pub(crate) fn lop3(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    if form.modifiers != 0 {
        return super::rare::lop3_and_test(b, form, operands);
    }
    let [d, x, y, z, Operand::Int(table)] = operands else {
        return Err(Refusal::Unsupported);
    };
    if form.types[..] != [B32] || *table > 255 {
        return Err(Refusal::Unsupported);
    }
    let [x, y, z] = [
        b.source(x, Width::Word)?,
        b.source(y, Width::Word)?,
        b.source(z, Width::Word)?,
    ];
    let d = b.destination(d, Width::Word)?;
    let run = lanes::lop3(b.lanes);
    b.emit(run, &[d, x, y, z], &[0], 0, *table);
    Ok(())
}

pub(crate) fn prmt_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::*;
    let [d, x, y, z] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    match () {
        () if form.has(F4e) => b.rare3::<PrmtF4e>(d, x, y, z),
        () if form.has(B4e) => b.rare3::<PrmtB4e>(d, x, y, z),
        () if form.has(Rc8) => b.rare3::<PrmtRc8>(d, x, y, z),
        () if form.has(Ecl) => b.rare3::<PrmtEcl>(d, x, y, z),
        () if form.has(Ecr) => b.rare3::<PrmtEcr>(d, x, y, z),
        () if form.has(Rc16) => b.rare3::<PrmtRc16>(d, x, y, z),
        () => b.op3::<Prmt>(d, x, y, z),
    }
}

/// `bfi d, a, b, pos, len`: position and length are packed into one row.
pub(crate) fn bfi_(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, x, y, pos, len] = operands else {
        return Err(Refusal::invalid("another number of operands"));
    };
    let ty = only_type(form)?;
    let width = match ty {
        B32 => Width::Word,
        B64 => Width::Double,
        _ => return Err(Refusal::Unsupported),
    };
    let packed = match (pos, len) {
        (Operand::Int(pos), Operand::Int(len)) => b.constant(
            Width::Word,
            u64::from(place(width, *pos as u32, *len as u32)),
        )?,
        _ => {
            let (pos, len) = (b.source(pos, Width::Word)?, b.source(len, Width::Word)?);
            let packed = b.new_register(Width::Word)?;
            let run = match width {
                Width::Word => lanes::op2::<PackPlace>(b.lanes),
                _ => lanes::op2::<PackPlace64>(b.lanes),
            };
            b.unguarded(|b| {
                b.emit(run, &[packed, pos, len], &[0], 0, 0);
            });
            packed
        }
    };
    let (x, y) = (b.source(x, width)?, b.source(y, width)?);
    let d = b.destination(d, width)?;
    let run = match width {
        Width::Word => lanes::op3::<Bfi32>(b.lanes),
        _ => lanes::op3::<Bfi64>(b.lanes),
    };
    b.emit(run, &[d, x, y, packed], &[0], 0, 0);
    Ok(())
}

ops! {
    PackPlace(u32, u32) -> u32 = |pos, len| place(Width::Word, pos, len);
    PackPlace64(u32, u32) -> u32 = |pos, len| place(Width::Double, pos, len);
}

/// Position and length in one word. The hardware takes them modulo 256 for words, but not for
/// double words.
#[inline(always)]
fn place(width: Width, pos: u32, len: u32) -> u32 {
    if width == Width::Word {
        pos & 0xff | (len & 0xff) << 8
    } else {
        pos.min(255) | len.min(255) << 8
    }
}
