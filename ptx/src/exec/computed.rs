// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses to global memory whose address the instruction before them computes: one handler adds,
//! sees on the way whether the sums are regular, and moves the values.
//!
//! If not all lanes run or the sums are not regular, it only adds, and the access follows as an
//! instruction of its own.

use super::access::{InGlobal, Whole, load_whole, store_whole, whole_at};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use super::lanes::{PIECE, piece, put};
use super::value::Transfer;
use core::array::from_fn;

const FULL: u32 = u32::MAX;

/// Adds; for a whole warp with regular sums, the instruction that follows and where its values are.
///
/// # Safety
/// As for the handler of a 64-bit addition that an access of `size` bytes follows.
#[inline(always)]
unsafe fn add<'a>(
    cx: &mut Context<'a>,
    inst: &Inst,
    mask: u32,
    size: usize,
) -> Option<(&'a Inst, Whole)> {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let [d, a, b] = [0, 1, 2].map(|i| cx.row::<u64>(inst.rows[i]));
        if mask != FULL {
            for p in 0..LANES / PIECE {
                let (a, b) = (piece(a, p), piece(b, p));
                put(d, p, mask, from_fn(|i| a[i].wrapping_add(b[i])));
            }
            return None;
        }
        let first = (*a).wrapping_add(*b);
        let second = (*a.add(1)).wrapping_add(*b.add(1));
        let step = second == first.wrapping_add(size as u64);
        let keep = if step { u64::MAX } else { 0 };
        let mut different = [0; PIECE];
        for p in 0..LANES / PIECE {
            let (a, b) = (piece(a, p), piece(b, p));
            let sum: [u64; PIECE] = from_fn(|i| a[i].wrapping_add(b[i]));
            put(d, p, FULL, sum);
            different = from_fn(|i| {
                let offset = ((p * PIECE + i) * size) as u64;
                different[i] | sum[i] ^ first.wrapping_add(offset & keep)
            });
        }
        if different.iter().fold(0, |all, one| all | one) != 0 {
            return None;
        }
        let next = cx.code.insts.get(cx.pc as usize + 1)?;
        let whole = whole_at::<InGlobal>(cx, next, first, size, step);
        Some((next, whole))
    }
}

#[inline(always)]
unsafe fn add_load_body<T: Transfer, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage chose this handler for such an addition and load.
    unsafe {
        if let Some((load, whole)) = add(cx, inst, mask, size_of::<T::Memory>())
            && load_whole::<T, AVX>(cx, load, whole)
        {
            cx.pc += 2;
            return Flow::Jump;
        }
    }
    Flow::Next
}

#[inline(always)]
unsafe fn add_store_body<T: Transfer, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage chose this handler for such an addition and store.
    unsafe {
        if let Some((store, Whole::Contiguous(host))) = add(cx, inst, mask, size_of::<T::Memory>())
        {
            store_whole::<T, AVX>(cx, store, host);
            cx.pc += 2;
            return Flow::Jump;
        }
    }
    Flow::Next
}

handlers! {
    two add_load<T: Transfer> = add_load_body;
    two add_store<T: Transfer> = add_store_body;
}
