// SPDX-License-Identifier: MIT OR Apache-2.0
//! Accesses at constant offsets: kernel parameters, local memory of the frame, and `cp.async`.

use super::access::{flags, illegal, misaligned};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use super::local::{local_fits, local_read, local_write};
use super::value::{Transfer, Value};
use crate::parse::ast::Space;
use core::mem::size_of;

const FULL: u32 = u32::MAX;

/// `ld.param` of a kernel parameter at the constant offset `imm`.
#[inline(always)]
unsafe fn load_param_body<T: Transfer, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let size = size_of::<T::Memory>();
    for e in 0..flags::elements(inst.aux) {
        let at = inst.imm as usize + e * size;
        let mut bits = [0; 8];
        // The launch was checked to have the parameters that the lowering stage counted on.
        let Some(bytes) = cx.params.get(at..at + size) else {
            return illegal(
                cx,
                mask.trailing_zeros() as usize,
                at as u64,
                size as u64,
                "load",
                Space::Param,
            );
        };
        bits[..size].copy_from_slice(bytes);
        let value = T::widen(T::Memory::from_bits(u64::from_le_bytes(bits)));
        // SAFETY: the lowering stage checked the width of the row.
        unsafe {
            let d = cx.row::<T::Register>(inst.rows[e]);
            if mask == FULL {
                d.cast::<[T::Register; LANES]>().write([value; LANES]);
            } else {
                (0..LANES)
                    .filter(|i| mask & (1 << i) != 0)
                    .for_each(|i| *d.add(i) = value);
            }
        }
    }
    Flow::Next
}

/// Visits the elements of the active lanes at the constant offset `imm` of the frame: lane, element
/// and address, which fits.
#[inline(always)]
fn each_in_frame(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
    size: u64,
    access: &'static str,
    mut visit: impl FnMut(&mut Context<'_>, usize, usize, u64),
) -> Flow {
    for e in 0..flags::elements(inst.aux) {
        let addr = u64::from(cx.local) + inst.imm as u64 + e as u64 * size;
        if !local_fits(cx, addr, size) {
            return illegal(
                cx,
                mask.trailing_zeros() as usize,
                addr,
                size,
                access,
                Space::Local,
            );
        }
        for i in 0..LANES {
            if mask & (1 << i) != 0 {
                visit(cx, i, e, addr);
            }
        }
    }
    Flow::Next
}

/// A load from local memory at the constant offset `imm` of the frame.
#[inline(always)]
unsafe fn load_frame_body<T: Transfer, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let size = size_of::<T::Memory>() as u64;
    each_in_frame(cx, inst, mask, size, "load", |cx, i, e, addr| {
        let value = T::widen(T::Memory::from_bits(local_read(cx, i, addr, size)));
        // SAFETY: the lowering stage checked the width of the row.
        unsafe { *cx.row::<T::Register>(inst.rows[e]).add(i) = value };
    })
}

/// A store to local memory at the constant offset `imm` of the frame.
#[inline(always)]
unsafe fn store_frame_body<T: Transfer, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let size = size_of::<T::Memory>() as u64;
    each_in_frame(cx, inst, mask, size, "store", |cx, i, e, addr| {
        // SAFETY: the lowering stage checked the width of the row.
        let value = unsafe { *cx.row::<T::Register>(inst.rows[e]).add(i) };
        local_write(cx, i, addr, size, T::narrow(value).bits());
    })
}

/// Copies `aux` bytes of local memory within the frame: from `imm >> 32` to the low half of `imm`,
/// both multiples of 4.
#[inline(always)]
unsafe fn copy_frame_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let from = u64::from(cx.local) + (inst.imm as u64 >> 32);
    let to = u64::from(cx.local) + (inst.imm as u64 & 0xffff_ffff);
    let bytes = inst.aux.next_multiple_of(4);
    if !local_fits(cx, from, bytes) || !local_fits(cx, to, bytes) {
        return illegal(
            cx,
            mask.trailing_zeros() as usize,
            from,
            bytes,
            "load",
            Space::Local,
        );
    }
    for word in (0..bytes).step_by(4) {
        for i in 0..LANES {
            if mask & (1 << i) != 0 {
                let bits = local_read(cx, i, from + word, 4);
                local_write(cx, i, to + word, 4, bits);
            }
        }
    }
    Flow::Next
}

/// `cp.async`: row 0 is the address in shared memory, row 1 that in global memory, row 2 how many
/// bytes are copied; up to `aux` bytes the rest is zero. The offsets are in the halves of `imm`.
#[inline(always)]
unsafe fn copy_to_shared_body<const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let size = inst.aux;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`.
    unsafe {
        for i in (0..LANES).filter(|i| mask & (1 << i) != 0) {
            let to = (*cx.row::<u64>(inst.rows[0]).add(i)).wrapping_add((inst.imm >> 32) as u64);
            let from = (*cx.row::<u64>(inst.rows[1]).add(i)).wrapping_add(inst.imm as i32 as u64);
            let have = u64::from(*cx.row::<u32>(inst.rows[2]).add(i)).min(size);
            if to & (size - 1) != 0 {
                return misaligned(cx, i, to, size, "store", Space::Shared);
            }
            if from & (size - 1) != 0 {
                return misaligned(cx, i, from, size, "load", Space::Global);
            }
            let Some(to_host) = cx.locate(Space::Shared, to, size) else {
                return illegal(cx, i, to, size, "store", Space::Shared);
            };
            let mut from_host = core::ptr::null_mut();
            if have > 0 {
                match cx.locate(Space::Global, from, have) {
                    Some(host) => from_host = host,
                    None => return illegal(cx, i, from, have, "load", Space::Global),
                }
            }
            if have == size {
                for at in (0..size as usize).step_by(4) {
                    u32::load(from_host.add(at)).store(to_host.add(at));
                }
                continue;
            }
            for at in 0..size as usize {
                let byte = if (at as u64) < have {
                    u8::load(from_host.add(at))
                } else {
                    0
                };
                byte.store(to_host.add(at));
            }
        }
    }
    Flow::Next
}

/// The address of a variable in local memory: the frame's offset plus `imm`.
#[inline(always)]
unsafe fn frame_address_body<A: super::lanes::FromBits, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let value = A::from_bits(u64::from(cx.local).wrapping_add(inst.imm as u64));
    // SAFETY: the lowering stage checked the width of the row.
    unsafe {
        let d = cx.row::<A>(inst.rows[0]);
        (0..LANES)
            .filter(|i| mask & (1 << i) != 0)
            .for_each(|i| *d.add(i) = value);
    }
    Flow::Next
}

handlers! {
    two load_param<T: Transfer> = load_param_body as Memory;
    two load_frame<T: Transfer> = load_frame_body as Memory;
    two store_frame<T: Transfer> = store_frame_body as Memory;
    one copy_frame = copy_frame_body as Memory;
    one frame_address<A: super::lanes::FromBits> = frame_address_body as Rows;
    one copy_to_shared = copy_to_shared_body as Memory;
}
