// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions in which threads meet: barriers of the block, and shuffles, votes, matches and
//! reductions within a warp.

use super::block::Reduction;
use super::code::{Flow, Inst, LANES, Row};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::lanes::{FromBits, PIECE, piece, put, sign_bits};
use super::warp::Wait;
use core::array::from_fn;

const FULL: u32 = u32::MAX;

/// Kinds of `bar` and `barrier` in `Inst::aux`.
pub(crate) mod barrier {
    pub const SYNC: u64 = 0;
    pub const ARRIVE: u64 = 1;
    pub const POPC: u64 = 2;
    pub const AND: u64 = 3;
    pub const OR: u64 = 4;
    /// A thread count is in row 2.
    pub const COUNTED: u64 = 8;
    /// The predicate in row 3 is negated.
    pub const NEGATED: u64 = 16;
}

/// `bar` and `barrier`: row 1 is the barrier, row 2 the thread count, row 3 the predicate, row 0
/// the result.
#[inline(always)]
unsafe fn barrier_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let kind = inst.aux & 7;
    let lane = mask.trailing_zeros();
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let number = *cx.row::<u32>(inst.rows[1]).add(lane as usize);
        if number >= super::block::BARRIERS as u32 {
            return cx.fail(Trouble::InvalidTarget {
                lane,
                what: "a barrier",
                target: number.into(),
            });
        }
        if core::mem::take(&mut cx.resumed) {
            // The barrier completed while this group waited: only the result is missing.
            let generation = *cx.row::<u32>(inst.rows[5]).add(lane as usize);
            let result = cx.block.barriers.result(number, generation);
            write_reduction(cx, inst, kind, result, mask);
            return Flow::Next;
        }
        let expected = if inst.aux & barrier::COUNTED != 0 {
            *cx.row::<u32>(inst.rows[2]).add(lane as usize)
        } else {
            0
        };
        let threads = mask.count_ones();
        let mut given = Reduction::default();
        if kind >= barrier::POPC {
            let negate = if inst.aux & barrier::NEGATED != 0 {
                FULL
            } else {
                0
            };
            given.count = ((cx.predicate(inst.rows[3]) ^ negate) & mask).count_ones();
            given.threads = threads;
        }
        let rounded = if mask == cx.live {
            LANES as u32
        } else {
            threads
        };
        let generation = cx.block.barriers.generation(number);
        let live = cx.block.live;
        if let Some(watch) = &mut cx.block.watch {
            watch.arrive(number, cx.warp, kind != barrier::ARRIVE);
        }
        let done = cx
            .block
            .barriers
            .arrive(number, threads, rounded, expected, given, live);
        if done && let Some(watch) = &mut cx.block.watch {
            watch.complete(number);
        }
        if kind == barrier::ARRIVE {
            return Flow::Next;
        }
        if done {
            if kind >= barrier::POPC {
                let result = cx.block.barriers.result(number, generation);
                write_reduction(cx, inst, kind, result, mask);
            }
            return Flow::Next;
        }
        let again = kind >= barrier::POPC;
        if again {
            let seen = cx.row::<u32>(inst.rows[5]);
            (0..LANES)
                .filter(|i| mask & (1 << i) != 0)
                .for_each(|i| *seen.add(i) = generation);
        }
        let pc = cx.pc;
        cx.split(
            mask,
            pc,
            Wait::Barrier {
                barrier: number,
                generation,
                again,
            },
        );
        resume_rest(cx)
    }
}

/// After lanes were split off to wait: the others go on with the next instruction.
pub(super) fn resume_rest(cx: &mut Context<'_>) -> Flow {
    if cx.active == 0 {
        return Flow::Regroup;
    }
    cx.pc += 1;
    Flow::Jump
}

/// # Safety
/// Row 0 is a predicate or holds words, as the kind demands.
unsafe fn write_reduction(
    cx: &mut Context<'_>,
    inst: &Inst,
    kind: u64,
    result: Reduction,
    mask: u32,
) {
    // SAFETY: the caller vouches for the row.
    unsafe {
        match kind {
            barrier::POPC => {
                let d = cx.row::<u32>(inst.rows[0]);
                (0..LANES)
                    .filter(|i| mask & (1 << i) != 0)
                    .for_each(|i| *d.add(i) = result.count);
            }
            barrier::AND => {
                cx.set_predicate(
                    inst.rows[0],
                    if result.count == result.threads {
                        FULL
                    } else {
                        0
                    },
                    mask,
                );
            }
            _ => cx.set_predicate(inst.rows[0], if result.count > 0 { FULL } else { 0 }, mask),
        }
    }
}

/// Waits until the lanes of the member masks are here. Returns the lanes that can run now; the
/// others wait as a group of their own. `plain` is set for `bar.warp.sync`, whose lanes may come
/// from different places.
///
/// # Safety
/// The row holds words.
#[inline(always)]
pub(super) unsafe fn gather(cx: &mut Context<'_>, members: Row, mask: u32, plain: bool) -> u32 {
    if let Some(watch) = &mut cx.block.watch {
        watch.meet(cx.warp);
    }
    // SAFETY: the caller vouches for the row.
    let members: [u32; LANES] = unsafe { cx.row::<[u32; LANES]>(members).read() };
    let first = members[mask.trailing_zeros() as usize];
    if first & cx.live & !mask == 0
        && (0..LANES).all(|i| members[i] == first || mask & (1 << i) == 0)
    {
        return mask;
    }
    // SAFETY: as above.
    unsafe { gather_slowly(cx, &members, mask, plain) }
}

#[cold]
unsafe fn gather_slowly(
    cx: &mut Context<'_>,
    members: &[u32; LANES],
    mask: u32,
    plain: bool,
) -> u32 {
    let mut here = mask;
    let mut elsewhere = 0;
    let (pc, frame, local) = (cx.pc, cx.frame, cx.local);
    // Lanes that wait at this very instruction join.
    cx.groups.retain(|group| {
        let Wait::Lanes { plain: other, .. } = group.wait else {
            return true;
        };
        if (group.pc, group.frame, group.local) == (pc, frame, local) {
            here |= group.mask;
            return false;
        }
        if plain && other {
            elsewhere |= group.mask;
        }
        true
    });
    cx.active |= here;
    let present = here | elsewhere;
    let live = cx.live;
    let ready = (0..LANES)
        .filter(|&i| here & (1 << i) != 0 && members[i] & live & !present == 0)
        .fold(0, |ready, i| ready | 1 << i);
    if plain && ready != 0 {
        // Those who wait elsewhere for lanes that are all present go on, too.
        for group in cx.groups.iter_mut() {
            if let Wait::Lanes {
                members,
                plain: true,
                ..
            } = group.wait
                && members & live & !present == 0
            {
                group.wait = Wait::Ready;
                group.pc += 1;
            }
        }
    }
    let waiting = here & !ready;
    if waiting != 0 {
        let wanted = (0..LANES)
            .filter(|&i| waiting & (1 << i) != 0)
            .fold(0, |all, i| all | members[i]);
        cx.split(
            waiting,
            pc,
            Wait::Lanes {
                live,
                members: wanted,
                plain,
            },
        );
    }
    ready
}

/// `bar.warp.sync`: row 1 is the member mask.
#[inline(always)]
unsafe fn warp_barrier_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the width of the row.
    let _ready = unsafe { gather(cx, inst.rows[1], mask, true) };
    // Groups elsewhere may have become ready at a lower PC.
    if cx.groups.is_empty() {
        return Flow::Next;
    }
    cx.pc += 1;
    Flow::Regroup
}

/// Modes of `shfl` in `Inst::aux`.
pub(crate) mod shuffle {
    pub const UP: u64 = 0;
    pub const DOWN: u64 = 1;
    pub const BFLY: u64 = 2;
    pub const IDX: u64 = 3;
    /// The predicate in row 1 is written.
    pub const PREDICATE: u64 = 4;
}

/// Which lane each lane reads, and, as -1 or 0, whether that is within its segment; else it reads
/// its own value. `pick` is given the lane, the operand, the bound and the segment mask.
#[inline(always)]
fn sources(
    b: &[u32; LANES],
    c: &[u32; LANES],
    pick: impl Fn(i32, i32, i32, i32) -> (i32, bool),
) -> ([i32; LANES], [i32; LANES]) {
    let (mut from, mut ok) = ([0; LANES], [0; LANES]);
    for i in 0..LANES {
        let lane = i as i32;
        let (offset, clamp) = ((b[i] & 31) as i32, (c[i] & 31) as i32);
        let segment = (c[i] >> 8 & 31) as i32;
        let (source, within) = pick(lane, offset, (lane & segment) | (clamp & !segment), segment);
        ok[i] = -i32::from(within);
        from[i] = if within { source } else { lane };
    }
    (from, ok)
}

/// `shfl`: row 0 result, 1 predicate, 2 value, 3 lane or offset, 4 clamp and segment mask, 5 member
/// mask (PTX ISA, "shfl.sync").
#[inline(always)]
unsafe fn shuffle_body<const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let [a, b, c] = [2, 3, 4].map(|i| cx.row::<[u32; LANES]>(inst.rows[i]).read());
        let d = cx.row::<u32>(inst.rows[0]);
        let (from, ok) = match inst.aux & 3 {
            shuffle::UP => sources(&b, &c, |lane, offset, max, _| {
                (lane - offset, lane - offset >= max)
            }),
            shuffle::DOWN => sources(&b, &c, |lane, offset, max, _| {
                (lane + offset, lane + offset <= max)
            }),
            shuffle::BFLY => sources(&b, &c, |lane, offset, max, _| {
                (lane ^ offset, lane ^ offset <= max)
            }),
            _ => sources(&b, &c, |lane, offset, max, segment| {
                let from = (lane & segment) | (offset & !segment);
                (from, from <= max)
            }),
        };
        let values: [u32; LANES] = from_fn(|i| a[from[i] as usize % LANES]);
        for p in 0..LANES / PIECE {
            put(d, p, mask, piece(values.as_ptr(), p));
        }
        if inst.aux & shuffle::PREDICATE != 0 {
            let valid = (0..LANES / PIECE).fold(0, |valid, p| {
                valid | sign_bits::<ISA>(piece(ok.as_ptr(), p)) << (p * PIECE)
            });
            cx.set_predicate(inst.rows[1], valid, mask);
        }
        finish(cx, mask)
    }
}

/// After an instruction ran for some lanes of the group: lanes that wait were split off already, so
/// the group goes on.
#[inline(always)]
fn finish(_cx: &mut Context<'_>, _ran: u32) -> Flow {
    Flow::Next
}

/// Modes of `vote` in `Inst::aux`.
pub(crate) mod vote {
    pub const ALL: u64 = 0;
    pub const ANY: u64 = 1;
    pub const UNI: u64 = 2;
    pub const BALLOT: u64 = 3;
    pub const NEGATED: u64 = 4;
}

/// `vote`: row 0 result, 1 predicate, 2 member mask.
#[inline(always)]
unsafe fn vote_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[2], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let members: [u32; LANES] = cx.row::<[u32; LANES]>(inst.rows[2]).read();
        let negate = if inst.aux & vote::NEGATED != 0 {
            FULL
        } else {
            0
        };
        let given = cx.predicate(inst.rows[1]) ^ negate;
        let mode = inst.aux & 3;
        let mut bits = 0u32;
        for (i, &members) in members
            .iter()
            .enumerate()
            .filter(|(i, _)| mask & (1 << i) != 0)
        {
            let asked = members & mask;
            let yes = given & asked;
            match mode {
                vote::BALLOT => *cx.row::<u32>(inst.rows[0]).add(i) = yes,
                vote::ALL => bits |= u32::from(yes == asked) << i,
                vote::ANY => bits |= u32::from(yes != 0) << i,
                _ => bits |= u32::from(yes == asked || yes == 0) << i,
            }
        }
        if mode != vote::BALLOT {
            cx.set_predicate(inst.rows[0], bits, mask);
        }
        finish(cx, mask)
    }
}

/// A value that `match` compares.
pub(crate) trait Comparable: FromBits + PartialEq {}
impl Comparable for u32 {}
impl Comparable for u64 {}

/// `match`: row 0 result, 1 predicate, 2 value, 3 member mask; `aux` is 1 for `.all`, 3 if it also
/// writes the predicate.
#[inline(always)]
unsafe fn match_body<T: Comparable, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[3], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let values: [T; LANES] = cx.row::<[T; LANES]>(inst.rows[2]).read();
        let members: [u32; LANES] = cx.row::<[u32; LANES]>(inst.rows[3]).read();
        let d = cx.row::<u32>(inst.rows[0]);
        let mut agreed = 0u32;
        for i in (0..LANES).filter(|i| mask & (1 << i) != 0) {
            let asked = members[i] & mask;
            let same =
                (0..LANES).fold(0, |same, j| same | u32::from(values[j] == values[i]) << j) & asked;
            let all = same == asked;
            agreed |= u32::from(all) << i;
            *d.add(i) = match inst.aux & 1 {
                0 => same,
                _ if all => asked,
                _ => 0,
            };
        }
        if inst.aux & 2 != 0 {
            cx.set_predicate(inst.rows[1], agreed, mask);
        }
        finish(cx, mask)
    }
}

/// Operations of `redux.sync` in `Inst::aux`.
pub(crate) mod redux {
    pub const ADD: u64 = 0;
    pub const MIN_U: u64 = 1;
    pub const MAX_U: u64 = 2;
    pub const MIN_S: u64 = 3;
    pub const MAX_S: u64 = 4;
    pub const AND: u64 = 5;
    pub const OR: u64 = 6;
    pub const XOR: u64 = 7;
    /// The least number in single precision; with bits for what else.
    pub const FLOAT: u64 = 8;
    pub const MAX: u64 = 16;
    pub const ABS: u64 = 32;
    pub const NAN: u64 = 64;

    /// One step of a reduction of numbers in single precision.
    pub fn extreme(aux: u64, a: u32, b: u32) -> u32 {
        let [a, b] = [a, b].map(|bits| match aux & ABS {
            0 => f32::from_bits(bits),
            _ => f32::from_bits(bits).abs(),
        });
        let x = match (a.is_nan(), b.is_nan()) {
            (true, true) => f32::NAN,
            (true, false) if aux & NAN == 0 => b,
            (false, true) if aux & NAN == 0 => a,
            (false, false) if (a.total_cmp(&b).is_lt()) == (aux & MAX == 0) => a,
            (false, false) => b,
            _ => f32::NAN,
        };
        crate::numeric::canonical32(x).to_bits()
    }
}

/// `redux.sync`: row 0 result, 1 value, 2 member mask.
#[inline(always)]
unsafe fn redux_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[2], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let values: [u32; LANES] = cx.row::<[u32; LANES]>(inst.rows[1]).read();
        let members: [u32; LANES] = cx.row::<[u32; LANES]>(inst.rows[2]).read();
        let d = cx.row::<u32>(inst.rows[0]);
        let combine = |a: u32, b: u32| match inst.aux {
            redux::ADD => a.wrapping_add(b),
            redux::MIN_U => a.min(b),
            redux::MAX_U => a.max(b),
            redux::MIN_S => (a as i32).min(b as i32) as u32,
            redux::MAX_S => (a as i32).max(b as i32) as u32,
            redux::AND => a & b,
            redux::OR => a | b,
            redux::XOR => a ^ b,
            aux => redux::extreme(aux, a, b),
        };
        for i in (0..LANES).filter(|i| mask & (1 << i) != 0) {
            let asked = members[i] & mask;
            let lanes = (0..LANES)
                .filter(|j| asked & (1 << j) != 0)
                .map(|j| values[j]);
            let mut result = lanes.reduce(combine).unwrap_or(0);
            if inst.aux & redux::FLOAT != 0 {
                // A single number has no other to be compared with.
                result = redux::extreme(inst.aux, result, result);
            }
            *d.add(i) = result;
        }
        finish(cx, mask)
    }
}

/// `activemask`
#[inline(always)]
unsafe fn active_mask_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the width of the row.
    unsafe {
        let d = cx.row::<u32>(inst.rows[0]);
        (0..LANES)
            .filter(|i| mask & (1 << i) != 0)
            .for_each(|i| *d.add(i) = mask);
    }
    Flow::Next
}

/// `elect.sync`: row 0 the elected lane, 1 whether this is it, 2 member mask.
#[inline(always)]
unsafe fn elect_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[2], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let members: [u32; LANES] = cx.row::<[u32; LANES]>(inst.rows[2]).read();
        let d = cx.row::<u32>(inst.rows[0]);
        let mut leaders = 0;
        for i in (0..LANES).filter(|i| mask & (1 << i) != 0) {
            let leader = (members[i] & mask).trailing_zeros();
            *d.add(i) = leader;
            leaders |= u32::from(leader == i as u32) << i;
        }
        cx.set_predicate(inst.rows[1], leaders, mask);
        finish(cx, mask)
    }
}

handlers! {
    one block_barrier = barrier_body as Barrier;
    one warp_barrier = warp_barrier_body as Meeting;
    all shuffle_lanes = shuffle_body as Meeting;
    one vote_lanes = vote_body as Meeting;
    one match_lanes<T: Comparable> = match_body as Meeting;
    one redux_lanes = redux_body as Meeting;
    one active_mask = active_mask_body as Rows;
    one elect = elect_body as Meeting;
}

#[cfg(test)]
mod tests {
    use super::redux::{ABS, FLOAT, MAX, NAN, extreme};

    #[test]
    fn floats_are_reduced_without_those_that_are_no_numbers() {
        let of =
            |aux, a: f32, b: f32| f32::from_bits(extreme(FLOAT | aux, a.to_bits(), b.to_bits()));
        assert_eq!(of(0, 2.0, -3.0), -3.0);
        assert_eq!(of(MAX, 2.0, -3.0), 2.0);
        assert_eq!(of(MAX | ABS, 2.0, -3.0), 3.0);
        assert_eq!(of(0, f32::NAN, 1.0), 1.0);
        assert_eq!(of(MAX, 1.0, f32::NAN), 1.0);
        assert!(of(NAN, 1.0, f32::NAN).is_nan() && of(0, f32::NAN, f32::NAN).is_nan());
        assert!(of(0, 0.0, -0.0).is_sign_negative() && of(MAX, -0.0, 0.0).is_sign_positive());
    }
}
