// SPDX-License-Identifier: MIT OR Apache-2.0
//! Local memory: where the words of each lane are, and whether an address is one of them.

use super::code::LANES;
use super::context::Context;
use super::window;
use crate::parse::ast::Space;

/// The host address of a word of a lane's local memory.
#[inline(always)]
fn local_word(cx: &mut Context<'_>, lane: usize, addr: u64) -> *mut u32 {
    debug_assert!(addr / 4 * 4 + 4 <= u64::from(cx.stacks.local_bytes));
    // SAFETY: callers checked that the address is below local_bytes, a multiple of 4; each word
    // has one place per lane.
    unsafe {
        cx.stacks
            .local
            .as_mut_ptr()
            .cast::<u32>()
            .add((addr / 4) as usize * LANES + lane)
    }
}

pub(crate) fn local_fits(cx: &Context<'_>, addr: u64, size: u64) -> bool {
    let limit = u64::from(cx.stacks.local_bytes);
    addr < limit && size <= limit - addr
}

/// Reads an aligned value of local memory; the caller checked that it fits.
#[inline(always)]
pub(crate) fn local_read(cx: &mut Context<'_>, lane: usize, addr: u64, size: u64) -> u64 {
    // SAFETY: the caller checked the address.
    unsafe {
        let word = *local_word(cx, lane, addr);
        if size == 8 {
            let high = *local_word(cx, lane, addr + 4);
            return u64::from(word) | u64::from(high) << 32;
        }
        let value = u64::from(word >> (addr % 4 * 8));
        value & (u64::MAX >> (64 - size * 8))
    }
}

/// Writes an aligned value of local memory; the caller checked that it fits.
#[inline(always)]
pub(crate) fn local_write(cx: &mut Context<'_>, lane: usize, addr: u64, size: u64, bits: u64) {
    // SAFETY: the caller checked the address.
    unsafe {
        let word = local_word(cx, lane, addr);
        match size {
            8 => {
                *word = bits as u32;
                *local_word(cx, lane, addr + 4) = (bits >> 32) as u32;
            }
            4 => *word = bits as u32,
            _ => {
                let shift = addr % 4 * 8;
                let keep = !(((1u32 << (size * 8)) - 1) << shift);
                *word = *word & keep | (bits as u32) << shift & !keep;
            }
        }
    }
}

/// Whether a generic or local address is in local memory, and its offset there.
#[inline(always)]
pub(crate) fn local_offset(space: Space, addr: u64) -> Option<u64> {
    match space {
        Space::Local => Some(window::narrow(addr)),
        Space::Generic if window::of(addr) == window::LOCAL => Some(window::offset(addr)),
        _ => None,
    }
}
