// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mbarrier`: barriers that are objects in shared memory (PTX ISA, "mbarrier").
//!
//! The object is one 64-bit word, changed atomically: arrivals that are pending in the present
//! phase, arrivals that are expected in the next, and the number of the phase. A token of
//! `mbarrier.arrive` is the word as it was before.

use super::access::{flags, illegal, misaligned};
use super::atomic::AtomicValue;
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::isa::handlers;
use super::value::Value;
use super::warp::SPIN_COST;
use super::watch;
use core::sync::atomic::{Ordering, fence};

const COUNT: u64 = (1 << 20) - 1;
const EXPECTED: u32 = 20;
const PHASE: u32 = 40;
const SIZE: u64 = 8;

/// What is done, in the low byte of `Inst::aux`; the state space is in the next one.
pub(crate) mod op {
    pub const INIT: u64 = 0;
    pub const INVALIDATE: u64 = 1;
    pub const ARRIVE: u64 = 2;
    pub const ARRIVE_DROP: u64 = 3;
    /// Whether the phase of a token is over.
    pub const TEST: u64 = 4;
    /// Whether a phase of this parity is over.
    pub const TEST_PARITY: u64 = 5;
    /// Copies have been made when they were asked for: their arrival changes nothing.
    pub const COPIES: u64 = 6;
}

fn pending(word: u64) -> u64 {
    word & COUNT
}

fn expected(word: u64) -> u64 {
    word >> EXPECTED & COUNT
}

fn phase(word: u64) -> u64 {
    word >> PHASE
}

fn word(pending: u64, expected: u64, phase: u64) -> u64 {
    pending | expected << EXPECTED | phase << PHASE
}

/// The word after `count` arrivals, `dropped` of which will not come again.
fn arrived(old: u64, count: u64, dropped: u64) -> u64 {
    let expected = expected(old).saturating_sub(dropped);
    match pending(old).saturating_sub(count) {
        0 => word(expected, expected, phase(old) + 1),
        left => word(left, expected, phase(old)),
    }
}

/// Row 0 is the result (a token, or a predicate), row 1 the address, row 2 the count, token or
/// parity.
#[inline(always)]
unsafe fn barrier_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let (op, space) = (inst.aux & 0xff, flags::space(inst.aux >> 8));
    let mut passed = 0;
    fence(Ordering::SeqCst);
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let address = unsafe { *cx.row::<u64>(inst.rows[1]).add(lane) };
        let address = address.wrapping_add(inst.imm as u64);
        if !address.is_multiple_of(SIZE) {
            return misaligned(cx, lane, address, SIZE, "mbarrier operation", space);
        }
        let Some(host) = cx.locate(space, address, SIZE) else {
            return illegal(cx, lane, address, SIZE, "mbarrier operation", space);
        };
        let kind = if op == op::INIT {
            watch::STORE
        } else {
            watch::LOAD
        };
        cx.watch(
            kind | watch::STORE | watch::ORDERED,
            space,
            lane,
            address,
            SIZE,
        );
        // SAFETY: as above; `locate` vouches for an aligned word.
        unsafe {
            let count = || u64::from(*cx.row::<u32>(inst.rows[2]).add(lane)) & COUNT;
            match op {
                op::INIT => word(count(), count(), 0).store(host),
                op::INVALIDATE => 0u64.store(host),
                op::ARRIVE | op::ARRIVE_DROP => {
                    let count = count();
                    let dropped = if op == op::ARRIVE_DROP { count } else { 0 };
                    let token = u64::update(host, |old| arrived(old, count, dropped));
                    *cx.row::<u64>(inst.rows[0]).add(lane) = token;
                }
                op::TEST => {
                    let token = *cx.row::<u64>(inst.rows[2]).add(lane);
                    let over = phase(u64::load(host)) != phase(token);
                    passed |= u32::from(over) << lane;
                }
                op::TEST_PARITY => {
                    let parity = u64::from(*cx.row::<u32>(inst.rows[2]).add(lane));
                    let over = phase(u64::load(host)) & 1 != parity & 1;
                    passed |= u32::from(over) << lane;
                }
                _ => {}
            }
        }
    }
    fence(Ordering::SeqCst);
    if matches!(op, op::TEST | op::TEST_PARITY) {
        // SAFETY: the row is a predicate.
        unsafe { cx.set_predicate(inst.rows[0], passed, mask) };
        cx.budget -= SPIN_COST;
    }
    Flow::Next
}

/// `mbarrier.pending_count`: row 0 the count, row 1 the token.
pub(crate) fn pending_count(_: u64, [token, ..]: [u64; 3]) -> u64 {
    pending(token)
}

handlers! {
    one barrier = barrier_body as Memory;
}
