// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads.

use super::access::{
    Pattern, Place, Whole, addresses, ahead, copy_row, flags, illegal, misaligned, whole_warp,
};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use super::lanes::{PIECE, piece, put};
use super::local::{local_fits, local_offset, local_read};
use super::value::{Address, Transfer, Value};
use super::warp::SPIN_COST;
use core::array::from_fn;
use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::{Ordering, fence};

const FULL: u32 = u32::MAX;

#[inline(always)]
pub(crate) unsafe fn load_body<T: Transfer, A: Address, P: Place, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    let size = size_of::<T::Memory>();
    let first = cx.warp;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`;
    // there is a mask for each warp.
    unsafe {
        let [mut to, mut from] = [0, 4].map(|i| cx.row::<u8>(inst.rows[i]));
        let [to_step, from_step] = [0, 4].map(|i| cx.step(inst.rows[i]));
        for warp in 0..cx.crowd {
            let mask = *cx.masks.add(warp);
            let (d, row) = (to.cast::<T::Register>(), from.cast::<A>());
            to = to.wrapping_add(to_step);
            from = from.wrapping_add(from_step);
            if mask == 0 {
                continue;
            }
            if mask == FULL && (P::KNOWN.is_some() || flags::elements(inst.aux) == 1) {
                let whole = whole_warp::<A, P, ISA>(cx, inst, row, size, false);
                if load_whole::<T, ISA>(d, whole) {
                    if P::KNOWN.is_some() {
                        continue;
                    }
                    return finish_load(cx, inst);
                }
            }
            match cx.as_warp(first, warp, |cx| load_slowly::<T, A>(cx, inst, mask)) {
                Flow::Next => {}
                other => return other,
            }
        }
    }
    Flow::Next
}

/// Loads the values of a whole warp; false if they are not regular.
///
/// # Safety
/// `d` is a row of registers, and `whole` was made for such values.
#[inline(always)]
pub(crate) unsafe fn load_whole<T: Transfer, const ISA: u8>(
    d: *mut T::Register,
    whole: Whole,
) -> bool {
    let size = size_of::<T::Memory>();
    // SAFETY: the caller vouches for the row; host addresses come from `locate`.
    unsafe {
        match whole {
            Whole::Contiguous(host) if ISA > 0 && size_of::<T::Register>() == size => {
                ahead(host);
                copy_row(host, d.cast(), size * LANES);
            }
            Whole::Contiguous(host) if ISA > 0 => {
                let mut values = MaybeUninit::<[T::Memory; LANES]>::uninit();
                ahead(host);
                copy_row(host, values.as_mut_ptr().cast(), size * LANES);
                let values = values.assume_init();
                for p in 0..LANES / PIECE {
                    let values = piece(values.as_ptr(), p);
                    put(d, p, FULL, from_fn(|i| T::widen(values[i])));
                }
            }
            Whole::Contiguous(host) => {
                for i in 0..LANES {
                    *d.add(i) = T::widen(T::Memory::load(host.add(i * size)));
                }
            }
            Whole::Equal(host) => {
                let value = T::widen(T::Memory::load(host));
                d.cast::<[T::Register; LANES]>().write([value; LANES]);
            }
            Whole::Other => return false,
        }
    }
    true
}

/// A load whose lanes are not all active, not all at one place, or that is a vector.
///
/// # Safety
/// As for a handler.
#[inline(never)]
unsafe fn load_slowly<T: Transfer, A: Address>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let (space, elements) = (flags::space(inst.aux), flags::elements(inst.aux));
    let size = size_of::<T::Memory>() as u64;
    let whole = size * elements as u64;
    let first = mask.trailing_zeros() as usize;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`
    // or are checked local addresses.
    unsafe {
        let (addrs, pattern) = addresses::<A>(cx, inst.rows[4], inst.imm, mask, first, size);
        let base = addrs[first];
        if base & (whole - 1) != 0 {
            return misaligned(cx, first, base, whole, "load", space);
        }
        match pattern {
            Pattern::Contiguous if elements == 1 && local_offset(space, base).is_none() => {
                let last = 31 - mask.leading_zeros() as usize;
                if let Some(host) = cx.locate(space, base, (last - first + 1) as u64 * size) {
                    let d = cx.row::<T::Register>(inst.rows[0]);
                    let origin = host.wrapping_sub(first * size as usize);
                    for i in first..=last {
                        if mask & (1 << i) != 0 {
                            *d.add(i) =
                                T::widen(T::Memory::load(origin.wrapping_add(i * size as usize)));
                        }
                    }
                    return finish_load(cx, inst);
                }
            }
            Pattern::Equal if local_offset(space, base).is_none() => {
                let Some(host) = cx.locate(space, base, whole) else {
                    return illegal(cx, first, base, whole, "load", space);
                };
                for e in 0..elements {
                    let value = T::widen(T::Memory::load(host.add(e * size as usize)));
                    let d = cx.row::<T::Register>(inst.rows[e]);
                    if mask == FULL {
                        d.cast::<[T::Register; LANES]>().write([value; LANES]);
                    } else {
                        for i in 0..LANES {
                            if mask & (1 << i) != 0 {
                                *d.add(i) = value;
                            }
                        }
                    }
                }
                return finish_load(cx, inst);
            }
            _ => {}
        }
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let addr = addrs[i];
            if addr & (whole - 1) != 0 {
                return misaligned(cx, i, addr, whole, "load", space);
            }
            if let Some(offset) = local_offset(space, addr) {
                if !local_fits(cx, offset, whole) {
                    return illegal(cx, i, addr, whole, "load", space);
                }
                for e in 0..elements {
                    let bits = local_read(cx, i, offset + e as u64 * size, size);
                    *cx.row::<T::Register>(inst.rows[e]).add(i) =
                        T::widen(T::Memory::from_bits(bits));
                }
                continue;
            }
            let Some(host) = cx.locate(space, addr, whole) else {
                return illegal(cx, i, addr, whole, "load", space);
            };
            for e in 0..elements {
                let value = T::widen(T::Memory::load(host.add(e * size as usize)));
                *cx.row::<T::Register>(inst.rows[e]).add(i) = value;
            }
        }
    }
    finish_load(cx, inst)
}

#[inline(always)]
fn finish_load(cx: &mut Context<'_>, inst: &Inst) -> Flow {
    if inst.aux & (flags::ACQUIRE | flags::SPIN) != 0 {
        if inst.aux & flags::ACQUIRE != 0 {
            fence(Ordering::Acquire);
        }
        cx.budget -= SPIN_COST;
    }
    Flow::Next
}

handlers! {
    all load<T: Transfer, A: Address, P: Place> = load_body as Procession if P::KNOWN.is_some();
}
