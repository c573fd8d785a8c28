// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operations that are rare: one handler calls a function for each lane. So an operation costs a
//! few nanoseconds more per lane, but next to nothing to compile.

use super::code::{Flow, Inst, Row, Width};
use super::context::Context;
use super::isa::handlers;

/// An operation on up to three operands, zero-extended to 64 bits, with a constant of its own: what
/// modifiers there are. Only the bits of the result's width count.
pub(crate) type Function = fn(u64, [u64; 3]) -> u64;

/// `Inst::aux` of a function.
pub(crate) fn aux(function: Function) -> u64 {
    function as *const () as usize as u64
}

/// `Inst::imm` of the widths of the result and of the operands, and the constant of up to 48 bits.
pub(crate) fn imm(widths: [Width; 4], constant: u64) -> i64 {
    debug_assert!(constant < 1 << 48);
    let code = |width| match width {
        Width::Predicate => 0,
        Width::Half => 1,
        Width::Word => 2,
        Width::Double | Width::Quad => 3,
    };
    let widths = widths
        .into_iter()
        .rev()
        .fold(0, |all, width| all << 4 | code(width));
    (constant << 16 | widths) as i64
}

/// # Safety
/// The row is of the width with this code, and the lane below 32.
unsafe fn read(cx: &Context<'_>, row: Row, code: i64, lane: usize) -> u64 {
    // SAFETY: the caller vouches for the row.
    unsafe {
        match code {
            0 => u64::from(cx.predicate(row) >> lane & 1),
            1 => (*cx.row::<u16>(row).add(lane)).into(),
            2 => (*cx.row::<u32>(row).add(lane)).into(),
            _ => *cx.row::<u64>(row).add(lane),
        }
    }
}

/// Row 0 is the result, rows 1 to 3 the operands; those that the function does not have are the
/// first operand again.
#[inline(always)]
unsafe fn apply_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage made `aux` of such a function.
    let function: Function = unsafe {
        core::mem::transmute::<*const (), Function>(core::ptr::with_exposed_provenance(
            inst.aux as usize,
        ))
    };
    let constant = inst.imm as u64 >> 16;
    let code = |i: usize| inst.imm >> (4 * i) & 15;
    let mut left = mask;
    let mut bits = 0;
    while left != 0 {
        let lane = left.trailing_zeros() as usize;
        left &= left - 1;
        // SAFETY: the lowering stage checked the widths of the rows.
        unsafe {
            let operands = [1, 2, 3].map(|i| read(cx, inst.rows[i], code(i), lane));
            let value = function(constant, operands);
            match code(0) {
                0 => bits |= ((value & 1) as u32) << lane,
                1 => *cx.row::<u16>(inst.rows[0]).add(lane) = value as u16,
                2 => *cx.row::<u32>(inst.rows[0]).add(lane) = value as u32,
                _ => *cx.row::<u64>(inst.rows[0]).add(lane) = value,
            }
        }
    }
    if code(0) == 0 {
        // SAFETY: the row is a predicate.
        unsafe { cx.set_predicate(inst.rows[0], bits, mask) };
    }
    Flow::Next
}

handlers! {
    one apply = apply_body as Rows;
}
