// SPDX-License-Identifier: MIT OR Apache-2.0
//! Warps of a block that execute each instruction together compute what they compute alone, also
//! where they part, wait for each other, end or fail. Each program runs in the usual order, in which
//! warps go together, and in others, in which they have turns of their own.

#![allow(clippy::result_large_err)]

mod common;
use common::{Arg, Machine, pack, wrap};
use vcuda_ptx::{Engine, Fault, Launch, Limits, Schedule};

/// Four warps, the last of which is not full.
const THREADS: u32 = 100;

/// Runs a body with `input` in a word per thread, and returns a word per thread.
fn run_in(body: &str, input: &[u32], schedule: Option<Schedule>) -> Result<Vec<u32>, Fault> {
    let machine = Machine::new();
    let kernel = machine.load(&wrap(body)).kernel("k").unwrap();
    let words = THREADS as usize * 4;
    let mut values = vec![0; words];
    for (slot, &value) in values.chunks_mut(4).zip(input) {
        slot[0] = value;
    }
    let (out, input) = (machine.put(&vec![0u32; words]), machine.put(&values));
    let params = pack(&kernel, &[Arg::U64(out), Arg::U64(input)]);
    let launch = Launch {
        grid: [1, 1, 1],
        block: [THREADS, 1, 1],
        dynamic_shared: 0,
        params: &params,
        cooperative: false,
    };
    let limits = Limits {
        schedule,
        ..Limits::default()
    };
    Engine::new(1).run(&machine.space, &kernel, &launch, &limits)?;
    let found = machine.get::<u32>(out, words);
    Ok(found.into_iter().step_by(4).collect())
}

#[track_caller]
fn check(body: &str, input: &[u32], expected: impl Fn(u32) -> u32) {
    let expected: Vec<u32> = (0..THREADS).map(expected).collect();
    assert_eq!(run_in(body, input, None).unwrap(), expected, "together");
    for seed in 0..2 {
        for lanes_apart in [false, true] {
            let schedule = Schedule { seed, lanes_apart };
            let found = run_in(body, input, Some(schedule)).unwrap();
            assert_eq!(found, expected, "{schedule:?}");
        }
    }
}

#[test]
fn warps_that_part_at_a_branch_meet_at_the_barrier() {
    // As in a stencil: the first and the last thread also store the borders.
    let body =
        ".shared .align 4 .b32 s[102]; mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.u32 %r2, %r2, %r3;
        mul.lo.u32 %r4, %r1, %r1; st.shared.u32 [%r2+4], %r4;
        setp.ne.u32 %p1, %r1, 0; @%p1 bra A; mov.u32 %r5, 1000; st.shared.u32 [s], %r5;
        A: setp.ne.u32 %p2, %r1, 99; @%p2 bra B; mov.u32 %r5, 2000; st.shared.u32 [%r2+8], %r5;
        B: bar.sync 0; ld.shared.u32 %r6, [%r2]; ld.shared.u32 %r7, [%r2+8]; add.u32 %r6, %r6, %r7;
        st.global.u32 [%rd1], %r6;";
    let at = |i: i64| match i {
        -1 => 1000,
        100 => 2000,
        i => (i * i) as u32,
    };
    check(body, &[], |t| at(i64::from(t) - 1) + at(i64::from(t) + 1));
}

#[test]
fn loops_end_for_each_lane_when_it_is_done() {
    let body = "ld.global.u32 %r2, [%rd2]; mov.u32 %r3, 0; setp.eq.u32 %p1, %r2, 0; @%p1 bra E;
        L: add.u32 %r3, %r3, %r2; add.u32 %r2, %r2, -1; setp.ne.u32 %p2, %r2, 0; @%p2 bra L;
        E: st.global.u32 [%rd1], %r3;";
    let input: Vec<u32> = (0..THREADS).map(|t| t * 7 % 31).collect();
    check(body, &input, |t| (0..=t * 7 % 31).sum());
}

#[test]
fn whole_warps_go_different_ways() {
    let body = "shr.u32 %r2, %r1, 5; setp.eq.u32 %p1, %r2, 1; @%p1 bra ONE; setp.gt.u32 %p2, %r2, 1; @%p2 bra MORE;
        mov.u32 %r3, 10; bra E; ONE: mov.u32 %r3, 20; bra E; MORE: add.u32 %r3, %r2, 100;
        E: st.global.u32 [%rd1], %r3;";
    check(body, &[], |t| match t / 32 {
        0 => 10,
        1 => 20,
        w => 100 + w,
    });
}

#[test]
fn threads_that_exited_do_not_hold_up_a_barrier() {
    let body = ".shared .align 4 .b32 s; mov.u32 %r2, 0; setp.ne.u32 %p1, %r1, 99; @!%p1 st.shared.u32 [s], %r2;
        bar.sync 0; shr.u32 %r3, %r1, 5; setp.eq.u32 %p2, %r3, 1; @%p2 exit; setp.eq.u32 %p3, %r1, 3; @%p3 exit;
        atom.shared.add.u32 %r4, [s], 1; bar.sync 0; ld.shared.u32 %r5, [s]; st.global.u32 [%rd1], %r5;";
    check(body, &[], |t| if t / 32 == 1 || t == 3 { 0 } else { 67 });
}

#[test]
fn a_lock_between_warps_is_passed_on() {
    let body = ".shared .align 4 .b32 lock; .shared .align 4 .b32 n; mov.u32 %r9, 0;
        setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [lock], %r9; @%p1 st.shared.u32 [n], %r9; bar.sync 0;
        and.b32 %r2, %r1, 7; setp.ne.u32 %p2, %r2, 0; @%p2 bra E;
        L: atom.shared.cas.b32 %r3, [lock], 0, 1; setp.ne.u32 %p3, %r3, 0; @%p3 bra L;
        ld.volatile.shared.u32 %r4, [n]; add.u32 %r4, %r4, 1; st.volatile.shared.u32 [n], %r4;
        membar.cta; atom.shared.exch.b32 %r5, [lock], 0;
        E: bar.sync 0; ld.shared.u32 %r6, [n]; st.global.u32 [%rd1], %r6;";
    check(body, &[], |_| 13);
}

#[test]
fn a_warp_waits_for_what_a_later_one_stores() {
    let body = ".shared .align 4 .b32 flag; mov.u32 %r9, 0; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [flag], %r9; bar.sync 0;
        setp.eq.u32 %p2, %r1, 99; @%p2 bra GIVE;
        L: ld.volatile.shared.u32 %r2, [flag]; setp.eq.u32 %p3, %r2, 0; @%p3 bra L; bra E;
        GIVE: mov.u32 %r2, 5; st.volatile.shared.u32 [flag], %r2;
        E: st.global.u32 [%rd1], %r2;";
    check(body, &[], |_| 5);
}

#[test]
fn some_warps_have_a_barrier_of_their_own() {
    let body = ".shared .align 4 .b32 s[128]; mov.u32 %r2, s; shl.b32 %r3, %r1, 2; add.u32 %r2, %r2, %r3;
        st.shared.u32 [%r2], %r1; mov.u32 %r7, 0; setp.ge.u32 %p1, %r1, 64; @%p1 bra E; bar.sync 3, 64;
        xor.b32 %r5, %r3, 128; mov.u32 %r6, s; add.u32 %r6, %r6, %r5; ld.shared.u32 %r7, [%r6];
        E: st.global.u32 [%rd1], %r7;";
    check(body, &[], |t| if t < 64 { t ^ 32 } else { 0 });
}

#[test]
fn shuffles_stay_within_their_warp() {
    let body = "setp.ge.u32 %p9, %r1, 96; @%p9 exit;
        shfl.sync.bfly.b32 %r2|%p1, %r1, 1, 31, -1; shfl.sync.down.b32 %r3|%p2, %r1, 2, 31, -1;
        shfl.sync.up.b32 %r4|%p3, %r1, 3, 0, -1; shfl.sync.idx.b32 %r5|%p4, %r1, 9, 0x181f, -1;
        mad.lo.u32 %r2, %r3, 1000, %r2; selp.b32 %r4, %r4, 0, %p3; mad.lo.u32 %r2, %r4, 7, %r2;
        mad.lo.u32 %r2, %r5, 100000, %r2; st.global.u32 [%rd1], %r2;";
    check(body, &[], |t| {
        let (warp, lane) = (t & !31, t & 31);
        let down = if lane < 30 { lane + 2 } else { lane };
        let up = if lane >= 3 { warp + lane - 3 } else { 0 };
        let indexed = warp + (lane & 24 | 9 & 7);
        match warp {
            96 => 0,
            _ => indexed * 100_000 + up * 7 + (warp + down) * 1000 + warp + (lane ^ 1),
        }
    });
}

#[test]
fn local_memory_is_each_threads_own() {
    let body = ".local .align 4 .b8 a[64]; mov.u64 %rd10, a; and.b32 %r2, %r1, 15; mul.wide.u32 %rd11, %r2, 4;
        add.u64 %rd12, %rd10, %rd11; st.local.u32 [%rd12], %r1; bar.sync 0; ld.local.u32 %r3, [%rd12];
        st.global.u32 [%rd1], %r3;";
    check(body, &[], |t| t);
}

#[test]
fn an_address_may_be_loaded_over() {
    // Each thread follows two pointers; the second of some warps is irregular.
    let body = "mul.wide.u32 %rd5, %r1, 16; ld.param.u64 %rd6, [in]; st.global.u64 [%rd2+8], %rd2;
        add.u64 %rd7, %rd6, %rd5; add.u64 %rd7, %rd7, 8; ld.global.u64 %rd7, [%rd7]; ld.global.u32 %r2, [%rd7];
        st.global.u32 [%rd1], %r2;";
    let input: Vec<u32> = (0..THREADS).map(|t| t * 3 + 1).collect();
    check(body, &input, |t| t * 3 + 1);
}

#[test]
fn a_fault_names_the_thread_whose_it_is() {
    for thread in [0, 37, 70, 99] {
        let body = format!(
            "setp.eq.u32 %p1, %r1, {thread}; @%p1 add.u64 %rd1, %rd1, 0x10000000; st.global.u32 [%rd1], %r1;"
        );
        let fault = run_in(&body, &[], None).unwrap_err();
        let Fault::IllegalAddress { place, access, .. } = &fault else {
            panic!("{fault}");
        };
        assert_eq!((place.thread, *access), ([thread, 0, 0], "store"));
    }
}
