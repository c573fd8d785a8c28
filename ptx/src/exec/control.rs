// SPDX-License-Identifier: MIT OR Apache-2.0
//! Branches, calls, exits, fences and clocks.

use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::warp::{SPIN_COST, Wait};
use super::window;
use core::sync::atomic::{Ordering, fence};

/// Bytes at the start of a function's frame: return PC, caller's frame, caller's local memory.
pub(crate) const FRAME_HEADER: u32 = 3 * 128;
/// Registers of the frames of a warp.
const REGISTER_STACK: u64 = 32 << 20;
/// Local memory of a thread.
const LOCAL_STACK: u64 = 512 << 10;

/// `bra` to the PC in `imm`.
#[inline(always)]
unsafe fn branch_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let target = inst.imm as u32;
    if mask == cx.active {
        cx.pc = target;
        return Flow::Jump;
    }
    let next = cx.pc + 1;
    if target < next {
        let rest = cx.active & !mask;
        cx.split(rest, next, Wait::Ready);
        cx.pc = target;
    } else {
        cx.split(mask, target, Wait::Ready);
        cx.pc = next;
    }
    Flow::Jump
}

/// `brx.idx`: row 1 is the index into jump table `imm`.
#[inline(always)]
unsafe fn indexed_branch_body<const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let code = cx.code;
    let table = code
        .tables
        .get(inst.imm as usize)
        .map_or(&[][..], |table| table);
    // SAFETY: the lowering stage checked the width of the row.
    let indices: [u32; LANES] = unsafe { cx.row::<[u32; LANES]>(inst.rows[1]).read() };
    let next = cx.pc + 1;
    let rest = cx.active & !mask;
    let mut left = mask;
    while left != 0 {
        let lane = left.trailing_zeros();
        let index = indices[lane as usize];
        let same = (0..LANES).fold(0, |same, i| same | u32::from(indices[i] == index) << i) & left;
        let Some(&target) = table.get(index as usize) else {
            return cx.fail(Trouble::InvalidTarget {
                lane,
                what: "an indexed branch",
                target: index.into(),
            });
        };
        left &= !same;
        if left == 0 && rest == 0 && cx.active == same {
            cx.pc = target;
            return Flow::Jump;
        }
        cx.split(same, target, Wait::Ready);
    }
    if rest != 0 {
        cx.split(rest, next, Wait::Ready);
    }
    Flow::Regroup
}

/// Enters a function: `entry` is its index in the code; `aux` has the caller's frame size in the
/// high half and its local memory in the low half.
#[inline(always)]
unsafe fn enter(cx: &mut Context<'_>, inst: &Inst, mask: u32, function: usize) -> Flow {
    let code = cx.code;
    let lane = mask.trailing_zeros();
    let number = function;
    let Some(function) = code.functions.get(number) else {
        return cx.fail(Trouble::InvalidTarget {
            lane,
            what: "a call",
            target: number as u64,
        });
    };
    let (frame, local, back) = (cx.frame, cx.local, cx.pc + 1);
    let new_frame = u64::from(frame) + (inst.aux >> 32);
    let new_local = u64::from(local) + (inst.aux & 0xffff_ffff);
    let bytes = u64::from(function.frame_bytes);
    let frames = &mut cx.stacks.frames;
    let new_frame = if cx.groups.is_empty() && cx.active == mask {
        frames.enter_together(new_frame, bytes, number, mask)
    } else {
        frames.enter(new_frame, bytes, number, mask, cx.live)
    };
    let frame_end = new_frame + bytes;
    let local_end = (new_local + u64::from(function.local_bytes)).next_multiple_of(4);
    if frame_end > REGISTER_STACK {
        return cx.fail(Trouble::StackOverflow {
            lane,
            limit: REGISTER_STACK,
        });
    }
    if local_end > LOCAL_STACK {
        return cx.fail(Trouble::StackOverflow {
            lane,
            limit: LOCAL_STACK,
        });
    }
    if frame_end as usize > cx.stacks.registers.len() {
        cx.stacks
            .registers
            .grow((frame_end as usize).max(2 * cx.stacks.registers.len()));
    }
    if local_end > u64::from(cx.stacks.local_bytes) {
        let bytes = local_end
            .max(2 * u64::from(cx.stacks.local_bytes))
            .min(LOCAL_STACK);
        cx.stacks.local.grow(bytes as usize * LANES);
        cx.stacks.local_bytes = bytes as u32;
    }
    let rest = cx.active & !mask;
    if rest != 0 {
        cx.split(rest, back, Wait::Ready);
    }
    cx.frame = new_frame as u32;
    cx.local = new_local as u32;
    cx.rebase();
    // SAFETY: frames of functions begin with a header of three rows of words.
    unsafe {
        let header = cx.bases[0].cast::<u32>();
        for i in 0..LANES {
            if mask & (1 << i) != 0 {
                *header.add(i) = back;
                *header.add(LANES + i) = frame;
                *header.add(2 * LANES + i) = local;
            }
        }
    }
    cx.pc = function.entry;
    cx.budget -= 1;
    if cx.groups.is_empty() && cx.budget > 0 {
        Flow::Jump
    } else {
        Flow::Regroup
    }
}

/// `call` of the function with index `imm`.
#[inline(always)]
unsafe fn call_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: as for this function.
    unsafe { enter(cx, inst, mask, inst.imm as usize) }
}

/// `call` of the function whose address is in row 1.
#[inline(always)]
unsafe fn indirect_call_body<const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the width of the row.
    let targets: [u64; LANES] = unsafe { cx.row::<[u64; LANES]>(inst.rows[1]).read() };
    let lane = mask.trailing_zeros() as usize;
    let target = targets[lane];
    let same = (0..LANES).fold(0, |same, i| same | u32::from(targets[i] == target) << i) & mask;
    let number = window::offset(target) / 16;
    let valid = window::of(target) == window::FUNCTION && target.is_multiple_of(16);
    let function = cx
        .code
        .callable
        .get(number as usize)
        .copied()
        .flatten()
        .filter(|_| valid);
    let Some(function) = function else {
        return cx.fail(Trouble::InvalidTarget {
            lane: lane as u32,
            what: "an indirect call",
            target,
        });
    };
    let others = mask & !same;
    if others != 0 {
        // They run this instruction themselves, when their turn comes.
        let pc = cx.pc;
        cx.split(others, pc, Wait::Ready);
    }
    // SAFETY: as for this function.
    unsafe { enter(cx, inst, same, function as usize) }
}

/// `ret` of a function.
#[inline(always)]
unsafe fn return_body<const AVX: bool>(cx: &mut Context<'_>, _inst: &Inst, mask: u32) -> Flow {
    let rest = cx.active & !mask;
    let next = cx.pc + 1;
    if rest != 0 {
        cx.split(rest, next, Wait::Ready);
    }
    cx.stacks.frames.leave(u64::from(cx.frame), mask);
    let mut left = mask;
    loop {
        // SAFETY: frames of functions begin with a header of three rows of words, written by
        // `enter`; splitting does not move it.
        let [pcs, frames, locals] = unsafe { cx.bases[0].cast::<[[u32; LANES]; 3]>().read() };
        let lane = left.trailing_zeros() as usize;
        let back = (pcs[lane], frames[lane], locals[lane]);
        let same = (0..LANES).fold(0, |same, i| {
            same | u32::from((pcs[i], frames[i], locals[i]) == back) << i
        }) & left;
        left &= !same;
        if left == 0 {
            cx.active = same;
            (cx.pc, cx.frame, cx.local) = back;
            cx.rebase();
            return if cx.groups.is_empty() {
                Flow::Jump
            } else {
                Flow::Regroup
            };
        }
        cx.groups.push(super::warp::Group {
            pc: back.0,
            mask: same,
            frame: back.1,
            local: back.2,
            wait: Wait::Ready,
            stamp: 0,
        });
    }
}

/// `exit`, and `ret` of a kernel.
#[inline(always)]
unsafe fn exit_body<const AVX: bool>(cx: &mut Context<'_>, _inst: &Inst, mask: u32) -> Flow {
    cx.active &= !mask;
    cx.live &= !mask;
    cx.block.live -= mask.count_ones();
    let live = cx.block.live;
    let completed = cx.block.barriers.exited(live);
    if let Some(watch) = &mut cx.block.watch {
        (0..super::block::BARRIERS as u32)
            .filter(|barrier| completed & (1 << barrier) != 0)
            .for_each(|barrier| watch.complete(barrier));
    }
    if cx.active == 0 {
        Flow::Regroup
    } else {
        Flow::Next
    }
}

#[inline(always)]
unsafe fn trap_body<const AVX: bool>(cx: &mut Context<'_>, _inst: &Inst, mask: u32) -> Flow {
    cx.fail(Trouble::Trap {
        lane: mask.trailing_zeros(),
    })
}

/// `membar` and `fence`.
#[inline(always)]
unsafe fn fence_body<const AVX: bool>(_cx: &mut Context<'_>, _inst: &Inst, _mask: u32) -> Flow {
    fence(Ordering::SeqCst);
    Flow::Next
}

/// `nanosleep`: the rest of the warp's turn goes to others.
#[inline(always)]
unsafe fn sleep_body<const AVX: bool>(cx: &mut Context<'_>, _inst: &Inst, _mask: u32) -> Flow {
    cx.budget -= SPIN_COST * 16;
    Flow::Next
}

/// Does nothing: hints.
#[inline(always)]
unsafe fn nothing_body<const AVX: bool>(_cx: &mut Context<'_>, _inst: &Inst, _mask: u32) -> Flow {
    Flow::Next
}

/// Nanoseconds, for `%clock`, `%clock64` (as if at 1 GHz) and `%globaltimer`.
#[inline(always)]
unsafe fn clock_body<D: super::lanes::FromBits, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let value = D::from_bits((now.as_nanos() as u64) >> inst.imm);
    cx.budget -= 1;
    // SAFETY: the lowering stage checked the width of the row.
    unsafe {
        let d = cx.row::<D>(inst.rows[0]);
        (0..LANES)
            .filter(|i| mask & (1 << i) != 0)
            .for_each(|i| *d.add(i) = value);
    }
    Flow::Next
}

handlers! {
    one branch = branch_body as Branch;
    one indexed_branch = indexed_branch_body;
    one call = call_body;
    one indirect_call = indirect_call_body;
    one function_return = return_body;
    one exit = exit_body as Exit;
    one trap = trap_body;
    one memory_fence = fence_body as Memory;
    one sleep = sleep_body;
    one nothing = nothing_body as Memory;
    one clock<D: super::lanes::FromBits> = clock_body;
}
