// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses to global memory whose address the instruction before them computes: one handler adds,
//! sees on the way whether the sums are regular, and moves the values.
//!
//! If not all lanes run or the sums are not regular, it only adds, and the access follows as an
//! instruction of its own.

use super::access::{InGlobal, Whole, whole_at};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::convoy::WARPS;
use super::isa::handlers;
use super::lanes::{PIECE, piece, put};
use super::load::load_whole;
use super::store::store_whole;
use super::value::Transfer;
use core::array::from_fn;

const FULL: u32 = u32::MAX;

/// Adds whole rows, and says whether lane `i` of the sum is `first + i * size` for all lanes, or
/// `first` without `step`.
///
/// # Safety
/// All rows have 32 values, and are the same or do not overlap. With an `ISA`, the host has AVX2.
#[inline(always)]
unsafe fn sums<const ISA: u8>(
    d: *mut u64,
    a: *const u64,
    b: *const u64,
    first: u64,
    size: usize,
    step: bool,
) -> bool {
    let keep = if step { u64::MAX } else { 0 };
    #[cfg(target_arch = "x86_64")]
    if ISA > 0 {
        use core::arch::x86_64::*;
        let offsets: [u64; LANES] = from_fn(|i| (i * size) as u64);
        // SAFETY: the caller vouches for the host and the rows, of 8 vectors each.
        unsafe {
            let (base, keep) = (
                _mm256_set1_epi64x(first as i64),
                _mm256_set1_epi64x(keep as i64),
            );
            let mut different = _mm256_setzero_si256();
            for at in (0..LANES).step_by(4) {
                let a = _mm256_loadu_si256(a.add(at).cast());
                let b = _mm256_loadu_si256(b.add(at).cast());
                let offset = _mm256_loadu_si256(offsets.as_ptr().add(at).cast());
                let sum = _mm256_add_epi64(a, b);
                _mm256_storeu_si256(d.add(at).cast(), sum);
                let expected = _mm256_add_epi64(base, _mm256_and_si256(offset, keep));
                different = _mm256_or_si256(different, _mm256_xor_si256(sum, expected));
            }
            return _mm256_testz_si256(different, different) != 0;
        }
    }
    let mut regular = true;
    for i in 0..LANES {
        // SAFETY: the caller vouches for the rows.
        let sum = unsafe { (*a.add(i)).wrapping_add(*b.add(i)) };
        regular &= sum == first.wrapping_add((i * size) as u64 & keep);
        // SAFETY: as above.
        unsafe { *d.add(i) = sum };
    }
    regular
}

/// Adds, and finds what lies at the sums: for each warp that runs, `Whole::Other` for the others.
/// None if that is not regular for one of them.
///
/// # Safety
/// As for the handler of a 64-bit addition that an access of `size` bytes follows.
#[inline(always)]
unsafe fn add<const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    access: &Inst,
    (size, store): (usize, bool),
) -> Option<[Whole; WARPS]> {
    let mut places = [const { Whole::Other }; WARPS];
    let mut regular = true;
    // SAFETY: the lowering stage checked the widths of the rows; there is a mask for each warp.
    unsafe {
        let mut at = inst.first::<3>().map(|row| cx.row::<u8>(row));
        let steps = inst.first::<3>().map(|row| cx.step(row));
        for (warp, place) in places.iter_mut().enumerate().take(cx.crowd) {
            let mask = *cx.masks.add(warp);
            let [d, a, b] = at.map(|at| at.cast::<u64>());
            for (at, step) in at.iter_mut().zip(steps) {
                *at = at.wrapping_add(step);
            }
            if mask != FULL {
                for p in 0..LANES / PIECE {
                    let (a, b) = (piece(a, p), piece(b, p));
                    put(d, p, mask, from_fn(|i| a[i].wrapping_add(b[i])));
                }
                regular &= mask == 0;
                continue;
            }
            let first = (*a).wrapping_add(*b);
            let second = (*a.add(1)).wrapping_add(*b.add(1));
            let step = second == first.wrapping_add(size as u64);
            if !sums::<ISA>(d, a, b, first, size, step) || store && !step {
                regular = false;
            } else if regular {
                *place = whole_at::<InGlobal>(cx, access, first, size, step);
                regular = !matches!(place, Whole::Other);
            }
        }
    }
    regular.then_some(places)
}

#[inline(always)]
unsafe fn add_load_body<T: Transfer, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    // SAFETY: the lowering stage chose this handler for such an addition and load.
    unsafe {
        if let Some(load) = cx.code.insts.get(cx.pc as usize + 1)
            && let Some(places) = add::<ISA>(cx, inst, load, (size_of::<T::Memory>(), false))
        {
            let (row, step) = (cx.row::<u8>(load.rows[0]), cx.step(load.rows[0]));
            for (warp, place) in places.into_iter().enumerate().take(cx.crowd) {
                load_whole::<T, ISA>(row.wrapping_add(warp * step).cast(), place);
            }
            cx.pc += 2;
            return Flow::Jump;
        }
    }
    Flow::Next
}

#[inline(always)]
unsafe fn add_store_body<T: Transfer, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    // SAFETY: the lowering stage chose this handler for such an addition and store.
    unsafe {
        if let Some(store) = cx.code.insts.get(cx.pc as usize + 1)
            && let Some(places) = add::<ISA>(cx, inst, store, (size_of::<T::Memory>(), true))
        {
            let (row, step) = (cx.row::<u8>(store.rows[0]), cx.step(store.rows[0]));
            for (warp, place) in places.into_iter().enumerate().take(cx.crowd) {
                if let Whole::Contiguous(host) = place {
                    store_whole::<T, ISA>(row.wrapping_add(warp * step).cast(), host);
                }
            }
            cx.pc += 2;
            return Flow::Jump;
        }
    }
    Flow::Next
}

handlers! {
    all add_load<T: Transfer> = add_load_body as Procession;
    all add_store<T: Transfer> = add_store_body as Procession;
}
