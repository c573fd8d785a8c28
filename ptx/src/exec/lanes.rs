// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loops over lanes: how an operation on values becomes one on rows.
//!
//! Operands are read in pieces of 8 lanes before the piece of the result is written, so that a
//! result row may be an operand row and the compiler still vectorises the loop.

use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use core::array::from_fn;

/// Lanes per piece.
pub(crate) const PIECE: usize = 8;
const FULL: u32 = u32::MAX;

/// An operation of one operand.
pub(crate) trait Op1: 'static {
    type A: Copy;
    type D: Copy;
    fn apply(a: Self::A) -> Self::D;
}

/// An operation of two operands.
pub(crate) trait Op2: 'static {
    type A: Copy;
    type B: Copy;
    type D: Copy;
    fn apply(a: Self::A, b: Self::B) -> Self::D;
}

/// An operation of three operands.
pub(crate) trait Op3: 'static {
    type A: Copy;
    type B: Copy;
    type C: Copy;
    type D: Copy;
    fn apply(a: Self::A, b: Self::B, c: Self::C) -> Self::D;
}

/// A comparison.
pub(crate) trait Test: 'static {
    type A: Copy;
    fn test(a: Self::A, b: Self::A) -> bool;
}

/// An operation with a carry in and a carry out.
pub(crate) trait Carry: 'static {
    type A: Copy;
    fn apply(a: Self::A, b: Self::A, c: Self::A, carry: bool) -> (Self::A, bool);
}

/// One piece of a row.
///
/// # Safety
/// `row` has 32 values of `T`, and `piece * PIECE` is below 32.
#[inline(always)]
pub(crate) unsafe fn piece<T: Copy>(row: *const T, piece: usize) -> [T; PIECE] {
    // SAFETY: the caller vouches for it; an array of PIECE values has the alignment of one.
    unsafe { row.add(piece * PIECE).cast::<[T; PIECE]>().read() }
}

/// Writes the lanes of the mask in one piece of a row.
///
/// # Safety
/// As for [`piece`].
#[inline(always)]
pub(crate) unsafe fn put<T: Copy>(row: *mut T, index: usize, mask: u32, values: [T; PIECE]) {
    // SAFETY: the caller vouches for it.
    unsafe {
        let to = row.add(index * PIECE).cast::<[T; PIECE]>();
        if mask == FULL {
            to.write(values);
        } else {
            let old = to.read();
            let bits = mask >> (index * PIECE);
            to.write(from_fn(|i| {
                if bits & (1 << i) != 0 {
                    values[i]
                } else {
                    old[i]
                }
            }));
        }
    }
}

#[inline(always)]
unsafe fn op1_body<O: Op1, const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        cx.each(inst.first(), |[d, a], mask| {
            let (d, a) = (d.cast::<O::D>(), a.cast::<O::A>());
            for p in 0..LANES / PIECE {
                let a = piece(a, p);
                put(d, p, mask, from_fn(|i| O::apply(a[i])));
            }
        });
    }
    Flow::Next
}

#[inline(always)]
pub(crate) unsafe fn op2_body<O: Op2, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        cx.each(inst.first(), |[d, a, b], mask| {
            let (d, a, b) = (d.cast::<O::D>(), a.cast::<O::A>(), b.cast::<O::B>());
            if mask == FULL {
                for p in 0..LANES / PIECE {
                    let (a, b) = (piece(a, p), piece(b, p));
                    put(d, p, FULL, from_fn(|i| O::apply(a[i], b[i])));
                }
            } else {
                for p in 0..LANES / PIECE {
                    let (a, b) = (piece(a, p), piece(b, p));
                    put(d, p, mask, from_fn(|i| O::apply(a[i], b[i])));
                }
            }
        });
    }
    Flow::Next
}

#[inline(always)]
unsafe fn op3_body<O: Op3, const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        cx.each(inst.first(), |[d, a, b, c], mask| {
            let (d, a) = (d.cast::<O::D>(), a.cast::<O::A>());
            let (b, c) = (b.cast::<O::B>(), c.cast::<O::C>());
            if mask == FULL {
                for p in 0..LANES / PIECE {
                    let (a, b, c) = (piece(a, p), piece(b, p), piece(c, p));
                    put(d, p, FULL, from_fn(|i| O::apply(a[i], b[i], c[i])));
                }
            } else {
                for p in 0..LANES / PIECE {
                    let (a, b, c) = (piece(a, p), piece(b, p), piece(c, p));
                    put(d, p, mask, from_fn(|i| O::apply(a[i], b[i], c[i])));
                }
            }
        });
    }
    Flow::Next
}

/// Bits of `setp` in `Inst::aux`.
pub(crate) mod setp {
    /// How the comparison is combined with the predicate in row 4.
    pub const AND: u64 = 1;
    pub const OR: u64 = 2;
    pub const XOR: u64 = 3;
    /// The second result, in row 3, is written.
    pub const SECOND: u64 = 4;
    /// The predicate in row 4 is negated.
    pub const NEGATED: u64 = 8;
}

/// The comparison of two rows: a bit per lane.
///
/// # Safety
/// Both rows have 32 values. With an `ISA`, the host has AVX2.
#[inline(always)]
unsafe fn test_row<T: Test, const ISA: u8>(a: *const T::A, b: *const T::A) -> u32 {
    let mut bits = 0u32;
    for p in 0..LANES / PIECE {
        // SAFETY: the caller vouches for the rows.
        let (a, b) = unsafe { (piece(a, p), piece(b, p)) };
        let wide: [i32; PIECE] = from_fn(|i| -i32::from(T::test(a[i], b[i])));
        bits |= sign_bits::<ISA>(wide) << (p * PIECE);
    }
    bits
}

/// The signs of eight words as the low bits of a word.
#[inline(always)]
pub(crate) fn sign_bits<const ISA: u8>(words: [i32; PIECE]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if ISA > 0 {
        use core::arch::x86_64::{__m256, _mm256_movemask_ps};
        // SAFETY: AVX is only set in handlers for hosts that have it; any bits are valid floats.
        return unsafe {
            _mm256_movemask_ps(core::mem::transmute::<[i32; PIECE], __m256>(words)) as u32
        };
    }
    words
        .iter()
        .enumerate()
        .fold(0, |bits, (i, word)| bits | (*word as u32 >> 31) << i)
}

#[inline(always)]
unsafe fn setp_body<T: Test, const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        if inst.aux == 0 {
            cx.each(inst.first(), |[d, a, b], mask| {
                set(d, test_row::<T, ISA>(a.cast(), b.cast()), mask);
            });
            return Flow::Next;
        }
        let second = inst.aux & setp::SECOND != 0;
        let negate = if inst.aux & setp::NEGATED != 0 {
            FULL
        } else {
            0
        };
        let [d, a, b, e, c, _] = inst.rows;
        let rows = [
            d,
            a,
            b,
            if second { e } else { d },
            if inst.aux & 3 != 0 { c } else { d },
        ];
        cx.each(rows, |[d, a, b, e, c], mask| {
            let bits = test_row::<T, ISA>(a.cast(), b.cast());
            let c = *c.cast::<u32>() ^ negate;
            let combine = |bits: u32| match inst.aux & 3 {
                setp::AND => bits & c,
                setp::OR => bits | c,
                setp::XOR => bits ^ c,
                _ => bits,
            };
            set(d, combine(bits), mask);
            if second {
                set(e, combine(!bits), mask);
            }
        });
    }
    Flow::Next
}

/// Changes the bits of a predicate in the mask's lanes.
///
/// # Safety
/// It is the address of a predicate.
#[inline(always)]
unsafe fn set(predicate: *mut u8, bits: u32, mask: u32) {
    // SAFETY: the caller vouches for the address.
    unsafe {
        let word = predicate.cast::<u32>();
        *word = (*word & !mask) | (bits & mask);
    }
}

/// `set`: the comparison as a value: `aux` where it holds, else 0; combined as in `setp`, with the
/// combination in `imm`.
#[inline(always)]
unsafe fn set_body<T: Test, D: FromBits, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let (a, b) = (cx.row::<T::A>(inst.rows[1]), cx.row::<T::A>(inst.rows[2]));
        let d = cx.row::<D>(inst.rows[0]);
        let mut bits = 0u32;
        for i in 0..LANES {
            bits |= u32::from(T::test(*a.add(i), *b.add(i))) << i;
        }
        let mode = inst.imm as u64;
        if mode & 3 != 0 {
            let c = cx.predicate(inst.rows[4]) ^ if mode & setp::NEGATED != 0 { FULL } else { 0 };
            bits = match mode & 3 {
                setp::AND => bits & c,
                setp::OR => bits | c,
                _ => bits ^ c,
            };
        }
        let yes = D::from_bits(inst.aux);
        for i in 0..LANES {
            if mask & (1 << i) != 0 {
                *d.add(i) = if bits & (1 << i) != 0 {
                    yes
                } else {
                    D::from_bits(0)
                };
            }
        }
    }
    Flow::Next
}

/// A value made of the low bits of a word.
pub(crate) trait FromBits: Copy + 'static {
    fn from_bits(bits: u64) -> Self;
}

impl FromBits for u16 {
    fn from_bits(bits: u64) -> u16 {
        bits as u16
    }
}

impl FromBits for u32 {
    fn from_bits(bits: u64) -> u32 {
        bits as u32
    }
}

impl FromBits for u64 {
    fn from_bits(bits: u64) -> u64 {
        bits
    }
}

impl FromBits for u128 {
    fn from_bits(bits: u64) -> u128 {
        u128::from(bits)
    }
}

/// `selp`: row 1 where the predicate in row 3 holds, else row 2.
#[inline(always)]
unsafe fn select_body<T: FromBits, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        cx.each(inst.first(), |[d, a, b, c], mask| {
            let (d, a, b) = (d.cast::<T>(), a.cast(), b.cast());
            let bits = *c.cast::<u32>();
            for p in 0..LANES / PIECE {
                let (a, b) = (piece(a, p), piece(b, p));
                let bits = bits >> (p * PIECE);
                put(
                    d,
                    p,
                    mask,
                    from_fn(|i| if bits & (1 << i) != 0 { a[i] } else { b[i] }),
                );
            }
        });
    }
    Flow::Next
}

/// `mov` between rows of one width.
#[inline(always)]
unsafe fn copy_body<T: FromBits, const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        cx.each(inst.first(), |[d, a], mask| {
            for p in 0..LANES / PIECE {
                put::<T>(d.cast(), p, mask, piece(a.cast(), p));
            }
        });
    }
    Flow::Next
}

/// `d = a + b + carry` and its kin: carry in row 4, carry out row 5, either may be absent.
#[inline(always)]
unsafe fn carry_body<O: Carry, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let d = cx.row::<O::A>(inst.rows[0]);
        let [a, b, c] = [1, 2, 3].map(|i| cx.row::<O::A>(inst.rows[i]));
        let carry = cx.predicate(inst.rows[4]);
        let mut out = 0u32;
        for i in 0..LANES {
            let (value, carried) = O::apply(*a.add(i), *b.add(i), *c.add(i), carry & (1 << i) != 0);
            out |= u32::from(carried) << i;
            if mask & (1 << i) != 0 {
                *d.add(i) = value;
            }
        }
        if inst.aux != 0 {
            cx.set_predicate(inst.rows[5], out, mask);
        }
    }
    Flow::Next
}

/// Any function of two predicates: the truth table is in `aux`, bit `2a + b`.
#[inline(always)]
unsafe fn logic_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    let keep: [u32; 4] = from_fn(|i| if inst.aux >> i & 1 != 0 { FULL } else { 0 });
    // SAFETY: the rows are predicates.
    unsafe {
        cx.each(inst.first(), |[d, a, b], mask| {
            let (a, b) = (*a.cast::<u32>(), *b.cast::<u32>());
            let bits =
                (!a & !b & keep[0]) | (!a & b & keep[1]) | (a & !b & keep[2]) | (a & b & keep[3]);
            set(d, bits, mask);
        });
    }
    Flow::Next
}

/// `lop3.b32`: the truth table is in `aux`.
#[inline(always)]
unsafe fn lop3_body<const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, _: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let keep: [u32; 8] = from_fn(|i| if inst.aux >> i & 1 != 0 { FULL } else { 0 });
        cx.each(inst.first(), |[d, a, b, c], mask| {
            for p in 0..LANES / PIECE {
                let (a, b, c): ([u32; PIECE], [u32; PIECE], [u32; PIECE]) =
                    (piece(a.cast(), p), piece(b.cast(), p), piece(c.cast(), p));
                let result = from_fn(|i| {
                    let (a, b, c) = (a[i], b[i], c[i]);
                    (!a & !b & !c & keep[0])
                        | (!a & !b & c & keep[1])
                        | (!a & b & !c & keep[2])
                        | (!a & b & c & keep[3])
                        | (a & !b & !c & keep[4])
                        | (a & !b & c & keep[5])
                        | (a & b & !c & keep[6])
                        | (a & b & c & keep[7])
                });
                put::<u32>(d.cast(), p, mask, result);
            }
        });
    }
    Flow::Next
}

/// The same operations one lane after the other, for those that are rare or slow in themselves.
#[inline(always)]
unsafe fn rare1_body<O: Op1, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let (d, a) = (cx.row::<O::D>(inst.rows[0]), cx.row::<O::A>(inst.rows[1]));
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            *d.add(i) = O::apply(*a.add(i));
        }
    }
    Flow::Next
}

#[inline(always)]
unsafe fn rare2_body<O: Op2, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let d = cx.row::<O::D>(inst.rows[0]);
        let (a, b) = (cx.row::<O::A>(inst.rows[1]), cx.row::<O::B>(inst.rows[2]));
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            *d.add(i) = O::apply(*a.add(i), *b.add(i));
        }
    }
    Flow::Next
}

#[inline(always)]
unsafe fn rare3_body<O: Op3, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let d = cx.row::<O::D>(inst.rows[0]);
        let (a, b) = (cx.row::<O::A>(inst.rows[1]), cx.row::<O::B>(inst.rows[2]));
        let c = cx.row::<O::C>(inst.rows[3]);
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            *d.add(i) = O::apply(*a.add(i), *b.add(i), *c.add(i));
        }
    }
    Flow::Next
}

handlers! {
    one rare1<O: Op1> = rare1_body as Rows;
    one rare2<O: Op2> = rare2_body as Rows;
    one rare3<O: Op3> = rare3_body as Rows;
    all op1<O: Op1> = op1_body as Crowd;
    all op2<O: Op2> = op2_body as Crowd;
    all op3<O: Op3> = op3_body as Crowd;
    all setp_test<T: Test> = setp_body as Crowd;
    one set_test<T: Test, D: FromBits> = set_body as Rows;
    all select<T: FromBits> = select_body as Crowd;
    all copy<T: FromBits> = copy_body as Crowd;
    two carry<O: Carry> = carry_body as Rows;
    one logic = logic_body as Crowd;
    all lop3 = lop3_body as Crowd;
}

/// Defines operations: `Name(A) -> D = |a| expression;`, with one to three operands.
macro_rules! ops {
    ($($name:ident $(<$(const $constant:ident: $type:ty),*>)? ($($operand:ty),*) -> $result:ty = $function:expr;)*) => {
        $($crate::exec::lanes::ops!(@one $name $(<$(const $constant: $type),*>)? ($($operand),*) -> $result = $function);)*
    };
    (@one $name:ident $(<$(const $constant:ident: $type:ty),*>)? ($a:ty) -> $d:ty = $function:expr) => {
        pub(crate) struct $name$(<$(const $constant: $type),*>)?;
        impl$(<$(const $constant: $type),*>)? $crate::exec::lanes::Op1 for $name$(<$($constant),*>)? {
            type A = $a;
            type D = $d;
            #[inline(always)]
            fn apply(a: $a) -> $d { let f: fn($a) -> $d = $function; f(a) }
        }
    };
    (@one $name:ident $(<$(const $constant:ident: $type:ty),*>)? ($a:ty, $b:ty) -> $d:ty = $function:expr) => {
        pub(crate) struct $name$(<$(const $constant: $type),*>)?;
        impl$(<$(const $constant: $type),*>)? $crate::exec::lanes::Op2 for $name$(<$($constant),*>)? {
            type A = $a;
            type B = $b;
            type D = $d;
            #[inline(always)]
            fn apply(a: $a, b: $b) -> $d { let f: fn($a, $b) -> $d = $function; f(a, b) }
        }
    };
    (@one $name:ident $(<$(const $constant:ident: $type:ty),*>)? ($a:ty, $b:ty, $c:ty) -> $d:ty = $function:expr) => {
        pub(crate) struct $name$(<$(const $constant: $type),*>)?;
        impl$(<$(const $constant: $type),*>)? $crate::exec::lanes::Op3 for $name$(<$($constant),*>)? {
            type A = $a;
            type B = $b;
            type C = $c;
            type D = $d;
            #[inline(always)]
            fn apply(a: $a, b: $b, c: $c) -> $d { let f: fn($a, $b, $c) -> $d = $function; f(a, b, c) }
        }
    };
}
pub(crate) use ops;
