// SPDX-License-Identifier: MIT OR Apache-2.0
//! `alloca`: memory of a frame whose size is not known before.

use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;

/// Row 0 is the address, row 1 the size, row 2 how much is used before and row 3 after; `imm` is
/// where in the frame the memory begins, `aux` its size and, in the low 16 bits, the alignment.
#[inline(always)]
unsafe fn allocate_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let (limit, align) = (inst.aux >> 16, inst.aux & 0xffff);
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        unsafe {
            let size = *cx.row::<u64>(inst.rows[1]).add(lane);
            let used = u64::from(*cx.row::<u32>(inst.rows[2]).add(lane));
            let start = used.next_multiple_of(align);
            let Some(end) = start.checked_add(size).filter(|&end| end <= limit) else {
                let lane = lane as u32;
                return cx.fail(Trouble::StackOverflow { lane, limit });
            };
            let address = u64::from(cx.local) + inst.imm as u64 + start;
            *cx.row::<u64>(inst.rows[0]).add(lane) = address;
            *cx.row::<u32>(inst.rows[3]).add(lane) = end as u32;
        }
    }
    Flow::Next
}

handlers! {
    one allocate = allocate_body;
}
