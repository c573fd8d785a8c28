// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control flow, barriers and faults.

#![allow(clippy::result_large_err)]

mod common;
use common::{Arg, Machine, kernel_error, wrap};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use vcuda_ptx::{Fault, KernelError, Launch, Limits};

fn run(body: &str, threads: u32) -> Result<Vec<u32>, Fault> {
    let machine = Machine::new();
    let kernel = machine.load(&wrap(body)).kernel("k").unwrap();
    let words = threads as usize * 4;
    let (out, input) = (
        machine.put(&vec![0u32; words]),
        machine.put(&vec![7u32; words]),
    );
    machine.run(
        &kernel,
        [1, 1, 1],
        [threads, 1, 1],
        &[Arg::U64(out), Arg::U64(input)],
    )?;
    Ok(machine
        .get::<u32>(out, words)
        .into_iter()
        .step_by(4)
        .collect())
}

#[test]
fn a_loop_runs_as_often_as_each_lane_needs() {
    let body = "mov.u32 %r2, 0; mov.u32 %r3, 0;
        L: add.u32 %r3, %r3, %r2; add.u32 %r2, %r2, 1; setp.le.u32 %p1, %r2, %r1; @%p1 bra L;
        st.global.u32 [%rd1], %r3;";
    let expected: Vec<u32> = (0..40).map(|t| (0..=t).sum()).collect();
    assert_eq!(run(body, 40).unwrap(), expected);
}

#[test]
fn nested_divergence_meets_again() {
    // The count of lanes that are together at the end is 32.
    let body = "mov.u32 %r2, 0; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0; @%p1 bra EVEN;
        and.b32 %r3, %r1, 2; setp.eq.u32 %p2, %r3, 0; @%p2 bra A; add.u32 %r2, %r2, 1; bra B;
        A: add.u32 %r2, %r2, 2; B: bra END; EVEN: add.u32 %r2, %r2, 4;
        END: activemask.b32 %r4; popc.b32 %r4, %r4; mad.lo.u32 %r2, %r4, 100, %r2; st.global.u32 [%rd1], %r2;";
    let expected: Vec<u32> = (0..32)
        .map(|t| {
            3200 + if t & 1 == 0 {
                4
            } else if t & 2 == 0 {
                2
            } else {
                1
            }
        })
        .collect();
    assert_eq!(run(body, 32).unwrap(), expected);
}

#[test]
fn indexed_branches_reach_every_target() {
    let body = "and.b32 %r2, %r1, 3; ts: .branchtargets A, B, C, D; brx.idx %r2, ts;
        A: mov.u32 %r3, 10; bra.uni E; B: mov.u32 %r3, 11; bra.uni E; C: mov.u32 %r3, 12; bra.uni E; D: mov.u32 %r3, 13;
        E: st.global.u32 [%rd1], %r3;";
    assert_eq!(
        run(body, 33).unwrap(),
        (0..33).map(|t| 10 + t % 4).collect::<Vec<_>>()
    );
    let beyond = run(
        "mov.u32 %r2, 9; ts: .branchtargets A; brx.idx %r2, ts; A:",
        1,
    );
    assert!(
        matches!(beyond, Err(Fault::InvalidTarget { target: 9, .. })),
        "{beyond:?}"
    );
}

#[test]
fn lanes_that_wait_for_each_other_in_different_functions_keep_their_registers() {
    // One lane waits in a function, with its registers full, for what another does after it called another function.
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.global .u32 flag;\n
        .func (.param .b64 r) waits(.param .b64 x) { .reg .b64 %w<9>; .reg .pred %p; .reg .b32 %f;
            ld.param.u64 %w1, [x]; add.u64 %w2, %w1, 1; add.u64 %w3, %w1, 2; add.u64 %w4, %w1, 3;
            L: ld.volatile.global.u32 %f, [flag]; setp.eq.u32 %p, %f, 0; @%p bra L;
            add.u64 %w1, %w1, %w2; add.u64 %w1, %w1, %w3; add.u64 %w1, %w1, %w4; st.param.b64 [r], %w1; ret; }
        .func sets() { .reg .pred %p<40>; .reg .b32 %r<40>; .reg .b32 %f; mov.u32 %r1, 7; setp.eq.u32 %p1, %r1, 7;
            setp.ne.u32 %p2, %r1, 7; setp.eq.u32 %p3, %r1, 7; setp.ne.u32 %p4, %r1, 7; add.u32 %r2, %r1, 1; add.u32 %r3, %r1, 2;
            add.u32 %r4, %r1, 3; mul.lo.u32 %r5, %r4, %r3; mul.lo.u32 %r6, %r5, %r2; selp.u32 %r7, %r6, %r5, %p1;
            selp.u32 %r8, %r7, %r4, %p2; selp.u32 %r9, %r8, %r3, %p3; selp.u32 %f, %r9, %r2, %p4; st.volatile.global.u32 [flag], %f;
            ret; }
        .visible .entry k(.param .u64 out) { .reg .b64 %rd<9>; .reg .b32 %r<9>; .reg .pred %p<3>; ld.param.u64 %rd1, [out];
            mov.u32 %r1, %tid.x; cvt.u64.u32 %rd2, %r1; mul.lo.u64 %rd3, %rd2, 1000; setp.eq.u32 %p1, %r1, 5; @%p1 bra SET;
            { .param .b64 a; .param .b64 b; st.param.b64 [a], %rd3; call.uni (b), waits, (a); ld.param.b64 %rd3, [b]; } bra.uni END;
            SET: call.uni sets; END: mad.lo.u64 %rd1, %rd2, 8, %rd1; st.global.u64 [%rd1], %rd3; ret; }";
    let machine = Machine::new();
    let kernel = machine.load(text).kernel("k").unwrap();
    let out = machine.put(&[0u64; 32]);
    (machine.run(&kernel, [1, 1, 1], [32, 1, 1], &[Arg::U64(out)])).unwrap();
    let expected: Vec<u64> = (0..32)
        .map(|i| if i == 5 { 5000 } else { 4000 * i + 6 })
        .collect();
    assert_eq!(machine.get::<u64>(out, 32), expected);
}

#[test]
fn parameters_of_functions_may_be_smaller_than_words() {
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n
        .func (.param .align 2 .b8 r[2]) f(.param .align 1 .b8 a[1], .param .align 2 .b8 b[2], .param .align 1 .b8 c[3],
            .param .align 1 .b8 d[1], .param .b64 e) { .reg .b16 %h<9>; .reg .b64 %e;
            ld.param.u8 %h1, [a]; ld.param.u16 %h2, [b]; ld.param.u8 %h3, [c+2]; ld.param.u8 %h4, [d]; ld.param.u64 %e, [e];
            mul.lo.u16 %h1, %h1, 2; add.u16 %h1, %h1, %h2; add.u16 %h1, %h1, %h3; add.u16 %h1, %h1, %h4; cvt.u16.u64 %h5, %e;
            add.u16 %h1, %h1, %h5; st.param.b16 [r], %h1; ret; }
        .visible .entry k(.param .u64 out) { .reg .b16 %h<9>; .reg .b64 %rd<9>; .reg .b32 %r<9>;
            { .param .align 1 .b8 a[1]; .param .align 2 .b8 b[2]; .param .align 1 .b8 c[3]; .param .align 1 .b8 d[1];
            .param .b64 e; .param .align 2 .b8 r[2]; mov.u16 %h1, 100; st.param.b8 [a], %h1; mov.u16 %h2, 2000;
            st.param.b16 [b], %h2; mov.u16 %h3, 30; st.param.b8 [c+2], %h3; mov.u16 %h4, 4; st.param.b8 [d], %h4;
            mov.u64 %rd2, 20000; st.param.b64 [e], %rd2; call.uni (r), f, (a, b, c, d, e); ld.param.u16 %h5, [r]; }
            cvt.u32.u16 %r1, %h5; ld.param.u64 %rd1, [out]; st.global.u32 [%rd1], %r1; ret; }";
    let machine = Machine::new();
    let kernel = machine.load(source).kernel("k").unwrap();
    let out = machine.put(&[0u32]);
    (machine.run(&kernel, [1, 1, 1], [1, 1, 1], &[Arg::U64(out)])).unwrap();
    assert_eq!(machine.get::<u32>(out, 1), [22234]);
}

#[test]
fn addresses_of_shared_memory_wrap_at_32_bits() {
    // nvcc keeps a row of a table below the table in a register, and reaches the table by the offset.
    let body = ".shared .align 4 .b32 t[40]; mov.u32 %r2, t; mad.lo.s32 %r3, %r1, 4, %r2; st.shared.u32 [%r3], %r1;
        bar.sync 0; mul.lo.u32 %r4, %r1, 68; sub.u32 %r4, %r2, %r4; sub.u32 %r4, %r4, 256; mad.lo.u32 %r4, %r1, 64, %r4;
        ld.shared.u32 %r5, [%r4+380]; atom.shared.add.u32 %r6, [%r4+380], 0; add.u32 %r5, %r5, %r6; st.global.u32 [%rd1], %r5;";
    let expected: Vec<u32> = (0..32).map(|t| 2 * (31 - t)).collect();
    assert_eq!(run(body, 32).unwrap(), expected);
}

#[test]
fn a_lane_that_exits_early_does_not_hold_up_a_barrier() {
    let body = "setp.ge.u32 %p1, %r1, 40; @%p1 exit; bar.sync 0; mov.u32 %r2, 1; st.global.u32 [%rd1], %r2;";
    assert_eq!(
        run(body, 100).unwrap(),
        (0..100).map(|t| u32::from(t < 40)).collect::<Vec<_>>()
    );
}

#[test]
fn a_barrier_that_cannot_complete_is_reported() {
    // Warp 0 waits at barrier 1, warp 1 at barrier 2.
    let body = "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.sync 2; bra B; A: bar.sync 1; B:";
    let fault = run(body, 64).unwrap_err();
    let text = fault.to_string();
    assert!(
        matches!(fault, Fault::BarrierDeadlock { barrier: 1, .. }),
        "{text}"
    );
    assert!(
        text.contains("Kernel k") && text.contains("32 of 64 threads arrived"),
        "{text}"
    );
}

#[test]
fn producers_arrive_and_consumers_wait() {
    // Warp 1 stores and arrives; warp 0 waits for 64 threads, then reads.
    let body = ".shared .b32 cell; setp.lt.u32 %p1, %r1, 32; @%p1 bra W;
        mov.u32 %r2, 99; st.shared.u32 [cell], %r2; bar.arrive 3, 64; bra E;
        W: bar.sync 3, 64; ld.shared.u32 %r3, [cell]; st.global.u32 [%rd1], %r3; E:";
    assert_eq!(run(body, 64).unwrap()[..32], [99; 32]);
}

#[test]
fn barrier_reductions_count_predicates() {
    let body = "setp.lt.u32 %p1, %r1, 20; barrier.red.popc.u32 %r2, 0, %p1;
        barrier.red.or.pred %p2, 0, %p1; barrier.red.and.pred %p3, 0, !%p1;
        selp.u32 %r3, 100, 0, %p2; selp.u32 %r4, 1000, 0, %p3; add.u32 %r2, %r2, %r3; add.u32 %r2, %r2, %r4;
        st.global.u32 [%rd1], %r2;";
    assert_eq!(run(body, 70).unwrap(), [120; 70]);
}

#[test]
fn a_shuffle_waits_for_the_lanes_of_its_mask() {
    // Odd lanes take a longer way to the shuffle.
    let body = "mov.u32 %r2, %r1; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0; @%p1 bra S;
        mov.u32 %r4, 0; L: add.u32 %r4, %r4, 1; setp.lt.u32 %p2, %r4, %r1; @%p2 bra L;
        S: shfl.sync.bfly.b32 %r5, %r2, 1, 31, -1; st.global.u32 [%rd1], %r5;";
    assert_eq!(
        run(body, 32).unwrap(),
        (0..32).map(|t| t ^ 1).collect::<Vec<_>>()
    );
}

#[test]
fn subwarps_shuffle_independently_in_one_branch() {
    let body = "mov.u32 %r9, 0; setp.lt.u32 %p1, %r1, 8; @!%p1 bra E;
        shfl.sync.down.b32 %r9|%p2, %r1, 1, 0x1f, 0xff; selp.u32 %r9, %r9, 77, %p2; E: st.global.u32 [%rd1], %r9;";
    let found = run(body, 32).unwrap();
    assert_eq!(found[..7], [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(found[8..], [0; 24]);
}

#[test]
fn a_shuffle_whose_partner_never_comes_is_reported() {
    // Lane 0 waits for all; the others wait at a barrier.
    let body = "setp.eq.u32 %p1, %r1, 0; @%p1 bra S; bar.sync 0; bra E;
        S: shfl.sync.idx.b32 %r2, %r1, 3, 31, -1; bar.sync 0; E:";
    let text = run(body, 32).unwrap_err().to_string();
    assert!(
        text.contains("never complete") && text.contains("wait for lanes 0xfffffffe"),
        "{text}"
    );
}

#[test]
fn warp_barriers_in_both_branches_meet() {
    let body = "setp.lt.u32 %p1, %r1, 16; @%p1 bra A; bar.warp.sync -1; mov.u32 %r2, 1; bra E;
        A: bar.warp.sync -1; mov.u32 %r2, 2; E: st.global.u32 [%rd1], %r2;";
    let expected: Vec<u32> = (0..32).map(|t| if t < 16 { 2 } else { 1 }).collect();
    assert_eq!(run(body, 32).unwrap(), expected);
}

#[test]
fn one_lane_waits_for_a_store_of_another() {
    // Lane 0 spins, at a lower address, until lane 1 has stored.
    let body = ".shared .b32 flag; mov.u32 %r9, 0; st.shared.u32 [flag], %r9; bar.warp.sync -1;
        setp.eq.u32 %p1, %r1, 1; @%p1 bra SET;
        SPIN: ld.volatile.shared.u32 %r2, [flag]; setp.eq.u32 %p2, %r2, 0; @%p2 bra SPIN; bra E;
        SET: mov.u32 %r2, 5; st.volatile.shared.u32 [flag], %r2; E: st.global.u32 [%rd1], %r2;";
    assert_eq!(run(body, 2).unwrap(), [5, 5]);
}

#[test]
fn one_block_waits_for_a_later_one() {
    let machine = Machine::new();
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 flag) {
        .reg .b32 %r<9>; .reg .b64 %rd<3>; .reg .pred %p<3>; ld.param.u64 %rd1, [flag]; mov.u32 %r1, %ctaid.x;
        setp.eq.u32 %p1, %r1, 5; @%p1 bra SET;
        SPIN: ld.acquire.gpu.global.u32 %r2, [%rd1]; setp.eq.u32 %p2, %r2, 0; @%p2 bra SPIN; ret;
        SET: mov.u32 %r2, 1; st.release.gpu.global.u32 [%rd1], %r2; ret; }";
    let kernel = machine.load(source).kernel("k").unwrap();
    let flag = machine.put(&[0u32]);
    machine
        .run(&kernel, [6, 1, 1], [1, 1, 1], &[Arg::U64(flag)])
        .unwrap();
}

#[test]
fn an_endless_loop_ends_at_the_time_limit_or_on_abort() {
    let machine = Machine::new();
    let kernel = machine.load(&wrap("L: bra L;")).kernel("k").unwrap();
    let params = [0u8; 16];
    let launch = Launch {
        grid: [4, 1, 1],
        block: [64, 1, 1],
        dynamic_shared: 0,
        params: &params,
        cooperative: false,
    };
    let limits = Limits {
        abort: None,
        time_limit: Some(Duration::from_millis(50)),
        ..Limits::default()
    };
    let fault = machine
        .engine
        .run(&machine.space, &kernel, &launch, &limits)
        .unwrap_err();
    assert!(matches!(fault, Fault::TimeLimit { .. }), "{fault}");
    let abort = AtomicBool::new(true);
    let limits = Limits {
        abort: Some(&abort),
        time_limit: None,
        ..Limits::default()
    };
    let fault = machine
        .engine
        .run(&machine.space, &kernel, &launch, &limits)
        .unwrap_err();
    assert!(matches!(fault, Fault::Aborted { .. }), "{fault}");
}

#[test]
fn endless_recursion_overflows_the_stack() {
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n
        .func f(.param .b32 a) { .reg .b32 %r<3>; .param .b32 p; ld.param.u32 %r1, [a];
        st.param.u32 [p], %r1; call.uni f, (p); ret; }
        .visible .entry k() { .reg .b32 %r<3>; .param .b32 p; mov.u32 %r1, 1; st.param.u32 [p], %r1; call.uni f, (p); ret; }";
    let machine = Machine::new();
    let kernel = machine.load(source).kernel("k").unwrap();
    let fault = machine
        .run(&kernel, [1, 1, 1], [32, 1, 1], &[])
        .unwrap_err();
    assert!(matches!(fault, Fault::StackOverflow { .. }), "{fault}");
}

#[test]
fn an_access_beyond_an_allocation_names_place_and_address() {
    let machine = Machine::new();
    let source = wrap("ld.global.u32 %r2, [%rd2+4096];");
    let kernel = machine.load(&source).kernel("k").unwrap();
    let input = machine.alloc(100);
    let fault = machine
        .run(
            &kernel,
            [1, 1, 1],
            [3, 1, 1],
            &[Arg::U64(input), Arg::U64(input)],
        )
        .unwrap_err();
    let Fault::IllegalAddress {
        place,
        address,
        size,
        access,
        space,
        ..
    } = &fault
    else {
        panic!("{fault}")
    };
    assert_eq!(
        (*address, *size, *access, *space),
        (input + 4096, 4, "load", "global")
    );
    assert_eq!(
        (place.line, place.thread, place.block),
        (10, [0, 0, 0], [0, 0, 0])
    );
    let text = fault.to_string();
    assert!(
        text.starts_with(
            "Kernel k, PTX line 10, block (0,0,0), thread (0,0,0): the load of 4 bytes"
        ),
        "{text}"
    );
}

/// The sentence about a load at an address, with the allocations 0x0..0x64 and 0x200..0x300 of the
/// region, and what was 0x400..0x500.
fn sentence_about(offset: u64) -> String {
    let machine = Machine::new();
    let kernel = machine.load(&wrap("ld.global.u8 %r2, [%rd2];"));
    let kernel = kernel.kernel("k").unwrap();
    for (at, len) in [(0, 100), (0x200, 256), (0x400, 256)] {
        machine.space.allocate(common::BASE + at, len).unwrap();
    }
    machine.space.free(common::BASE + 0x400).unwrap();
    let args = [Arg::U64(0), Arg::U64(common::BASE + offset)];
    machine
        .run(&kernel, [1, 1, 1], [1, 1, 1], &args)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_stray_address_is_described_by_what_lies_nearest() {
    for (offset, phrase) in [
        (
            100,
            "(directly behind the nearest allocation, of 100 bytes at 0x1000000000)",
        ),
        (
            0x1ff,
            "(1 bytes before the nearest allocation, of 256 bytes at 0x1000000200)",
        ),
        (
            0x310,
            "(16 bytes behind the nearest allocation, of 256 bytes at 0x1000000200)",
        ),
        (
            0x410,
            "(16 bytes into the 256 bytes at 0x1000000400, which were freed)",
        ),
    ] {
        let text = sentence_about(offset);
        assert!(text.contains(phrase), "{text}");
    }
}

#[test]
fn a_fault_names_the_line_of_the_source_where_the_text_says_it() {
    let source = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\n.reg .b32 %r<3>; .reg .b64 %rd<3>;\n\t.loc\t1 41 3\nmov.u64 %rd1, 0;\n\t.loc\t1 42 7, function_name $L__info_string0, inlined_at 1 9 1\nld.global.u32 %r1, [%rd1];\nret;\n}\n.visible .entry other()\n{\ntrap;\n}\n\t.file\t1 \"dir/a.cu\"\n";
    let machine = Machine::new();
    let program = machine.load(source);
    let fault = |name: &str| {
        let kernel = program.kernel(name).unwrap();
        machine
            .run(&kernel, [1, 1, 1], [1, 1, 1], &[])
            .unwrap_err()
            .to_string()
    };
    let text = fault("k");
    assert!(
        text.starts_with("Kernel k, dir/a.cu:42, PTX line 10, block"),
        "{text}"
    );
    // What the first kernel's lines say does not hold for the second.
    let text = fault("other");
    assert!(
        text.starts_with("Kernel other, PTX line 15, block"),
        "{text}"
    );
}

#[test]
fn bounds_are_exact_to_the_byte() {
    for (bytes, fits) in [(64, true), (63, false), (1024, true)] {
        let machine = Machine::new();
        let kernel = machine.load(&wrap("mov.u32 %r2, 1; mov.u32 %r3, 4; mul.wide.u32 %rd4, %r1, %r3; ld.param.u64 %rd5, [out]; add.u64 %rd4, %rd4, %rd5; st.global.u32 [%rd4], %r2;"));
        let kernel = kernel.kernel("k").unwrap();
        let out = machine.alloc(bytes);
        let result = machine.run(
            &kernel,
            [1, 1, 1],
            [16, 1, 1],
            &[Arg::U64(out), Arg::U64(out)],
        );
        assert_eq!(result.is_ok(), fits, "{bytes} bytes: {result:?}");
    }
}

#[test]
fn misaligned_accesses_fault() {
    let machine = Machine::new();
    let kernel = machine
        .load(&wrap("ld.global.v2.u32 {%r2, %r3}, [%rd2+4];"))
        .kernel("k")
        .unwrap();
    let input = machine.alloc(1024);
    let fault = machine
        .run(
            &kernel,
            [1, 1, 1],
            [3, 1, 1],
            &[Arg::U64(input), Arg::U64(input)],
        )
        .unwrap_err();
    assert!(
        matches!(fault, Fault::Misaligned { size: 8, .. }),
        "{fault}"
    );
}

#[test]
fn a_trap_names_its_thread() {
    let fault = run("setp.eq.u32 %p1, %r1, 37; @%p1 trap;", 64).unwrap_err();
    let Fault::Trap { place } = &fault else {
        panic!("{fault}")
    };
    assert_eq!(place.thread, [37, 0, 0]);
}

#[test]
fn unsupported_instructions_are_named_when_the_kernel_is_looked_up() {
    let source = wrap("wgmma.fence.sync.aligned;");
    let error = kernel_error(&source, "k");
    assert!(
        matches!(&error, KernelError::Unsupported { line: 10, instruction, .. } if instruction.starts_with("wgmma.fence")),
        "{error}"
    );
    let error = kernel_error(&wrap("add.oops.u32 %r2, %r1, %r1;"), "k").to_string();
    assert_eq!(
        error,
        "Kernel k: PTX line 10 in k: unsupported instruction `add.oops.u32 %r2, %r1, %r1`."
    );
    let error = kernel_error(&wrap("this is ] unknown;"), "k");
    assert!(matches!(error, KernelError::Unsupported { .. }), "{error}");
    assert!(matches!(
        kernel_error(&wrap(""), "other"),
        KernelError::NotFound { .. }
    ));
}

#[test]
fn registers_of_the_wrong_width_are_invalid() {
    for body in [
        "add.u32 %r2, %rd1, %r1;",
        "ld.global.u64 %r2, [%rd1];",
        "mov.u32 %r2, nowhere;",
        "bra NOWHERE;",
        "add.u32 %r99, %r1, %r1;",
    ] {
        let error = kernel_error(&wrap(body), "k");
        assert!(
            matches!(error, KernelError::Invalid { line: 10, .. }),
            "{body}: {error}"
        );
    }
}

#[test]
fn inner_scopes_shadow_outer_names() {
    let body = "mov.u32 %r2, 1; { .reg .b32 %r<9>; .reg .b32 t; mov.u32 %r2, 50; add.u32 t, %r2, 1; { .reg .b32 t; mov.u32 t, 9; } st.global.u32 [%rd1+4], t; }
        st.global.u32 [%rd1], %r2;";
    assert_eq!(run(body, 1).unwrap(), [1]);
}

#[test]
fn launches_that_do_not_fit_are_refused() {
    let machine = Machine::new();
    let kernel = machine.load(&wrap("")).kernel("k").unwrap();
    let args = [Arg::U64(0), Arg::U64(0)];
    for (grid, block) in [
        ([0, 1, 1], [1, 1, 1]),
        ([1, 1, 1], [0, 1, 1]),
        ([1, 1, 1], [1025, 1, 1]),
        ([1, 1, 1], [u32::MAX, 2, 1]),
    ] {
        let fault = machine.run(&kernel, grid, block, &args).unwrap_err();
        assert!(matches!(fault, Fault::InvalidLaunch { .. }), "{fault}");
    }
    let launch = Launch {
        grid: [1; 3],
        block: [1; 3],
        dynamic_shared: 0,
        params: &[],
        cooperative: false,
    };
    assert!(
        machine
            .engine
            .run(&machine.space, &kernel, &launch, &Limits::default())
            .is_err()
    );
}
