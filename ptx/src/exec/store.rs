// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stores.

use super::access::{
    Pattern, Place, Whole, addresses, copy_row, flags, illegal, misaligned, whole_warp, writable,
};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use super::lanes::{PIECE, piece, put};
use super::local::{local_fits, local_offset, local_write};
use super::value::{Address, Transfer, Value};
use core::array::from_fn;
use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::{Ordering, fence};

const FULL: u32 = u32::MAX;

#[inline(always)]
unsafe fn store_body<T: Transfer, A: Address, P: Place, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    let size = size_of::<T::Memory>();
    let first = cx.warp;
    // SAFETY: as in `load_body`.
    unsafe {
        let [mut from, mut to] = [0, 4].map(|i| cx.row::<u8>(inst.rows[i]));
        let [from_step, to_step] = [0, 4].map(|i| cx.step(inst.rows[i]));
        for warp in 0..cx.crowd {
            let mask = *cx.masks.add(warp);
            let (values, row) = (from.cast::<T::Register>(), to.cast::<A>());
            from = from.wrapping_add(from_step);
            to = to.wrapping_add(to_step);
            if mask == 0 {
                continue;
            }
            let plain = P::KNOWN.is_some()
                || flags::elements(inst.aux) == 1 && inst.aux & flags::RELEASE == 0;
            if mask == FULL
                && plain
                && let Whole::Contiguous(host) = whole_warp::<A, P, ISA>(cx, inst, row, size, true)
            {
                store_whole::<T, ISA>(values, host);
                continue;
            }
            match cx.as_warp(first, warp, |cx| store_slowly::<T, A>(cx, inst, mask)) {
                Flow::Next => {}
                other => return other,
            }
        }
    }
    Flow::Next
}

/// Stores the values of a whole warp side by side.
///
/// # Safety
/// `values` is a row of registers; `host` comes from `locate`, for a whole row.
#[inline(always)]
pub(crate) unsafe fn store_whole<T: Transfer, const ISA: u8>(
    values: *const T::Register,
    host: *mut u8,
) {
    let size = size_of::<T::Memory>();
    // SAFETY: the caller vouches for the row and the address.
    unsafe {
        if ISA > 0 && size_of::<T::Register>() == size {
            copy_row(values.cast(), host, size * LANES);
        } else if ISA > 0 {
            let mut narrow = MaybeUninit::<[T::Memory; LANES]>::uninit();
            let to = narrow.as_mut_ptr().cast::<T::Memory>();
            for p in 0..LANES / PIECE {
                let values = piece(values, p);
                put(to, p, FULL, from_fn(|i| T::narrow(values[i])));
            }
            copy_row(to.cast(), host, size * LANES);
        } else {
            for i in 0..LANES {
                T::narrow(*values.add(i)).store(host.add(i * size));
            }
        }
    }
}

/// A store whose lanes are not all active, not side by side, or that is a vector.
///
/// # Safety
/// As for a handler.
#[inline(never)]
unsafe fn store_slowly<T: Transfer, A: Address>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let (space, elements) = (flags::space(inst.aux), flags::elements(inst.aux));
    let size = size_of::<T::Memory>() as u64;
    let whole = size * elements as u64;
    let first = mask.trailing_zeros() as usize;
    if inst.aux & flags::RELEASE != 0 {
        fence(Ordering::Release);
    }
    // SAFETY: as in `load_body`.
    unsafe {
        let (addrs, pattern) = addresses::<A>(cx, inst.rows[4], inst.imm, mask, first, size);
        let base = addrs[first];
        if base & (whole - 1) != 0 {
            return misaligned(cx, first, base, whole, "store", space);
        }
        if let Pattern::Contiguous = pattern
            && elements == 1
            && local_offset(space, base).is_none()
        {
            let last = 31 - mask.leading_zeros() as usize;
            if writable(space, base)
                && let Some(host) = cx.locate(space, base, (last - first + 1) as u64 * size)
            {
                let values = cx.row::<T::Register>(inst.rows[0]);
                let origin = host.wrapping_sub(first * size as usize);
                for i in first..=last {
                    if mask & (1 << i) != 0 {
                        T::narrow(*values.add(i)).store(origin.wrapping_add(i * size as usize));
                    }
                }
                return Flow::Next;
            }
        }
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let addr = addrs[i];
            if addr & (whole - 1) != 0 {
                return misaligned(cx, i, addr, whole, "store", space);
            }
            if let Some(offset) = local_offset(space, addr) {
                if !local_fits(cx, offset, whole) {
                    return illegal(cx, i, addr, whole, "store", space);
                }
                for e in 0..elements {
                    let value = T::narrow(*cx.row::<T::Register>(inst.rows[e]).add(i));
                    local_write(cx, i, offset + e as u64 * size, size, value.bits());
                }
                continue;
            }
            if !writable(space, addr) {
                return illegal(cx, i, addr, whole, "store", space);
            }
            let Some(host) = cx.locate(space, addr, whole) else {
                return illegal(cx, i, addr, whole, "store", space);
            };
            for e in 0..elements {
                let value = T::narrow(*cx.row::<T::Register>(inst.rows[e]).add(i));
                value.store(host.add(e * size as usize));
            }
        }
    }
    Flow::Next
}

handlers! {
    all store<T: Transfer, A: Address, P: Place> = store_body as Procession if P::KNOWN.is_some();
}
