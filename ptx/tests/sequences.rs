// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sequences that one handler executes together give what their instructions give one by one.

#![allow(clippy::result_large_err)]

mod common;
use common::{Arg, BASE, Machine, wrap};
use vcuda_ptx::{Fault, Lanes};

/// Four words per thread.
fn input() -> Vec<u32> {
    (0..128u32)
        .map(|i| match i % 37 {
            5 => 0x7f80_0000,
            11 => 0xff80_0000,
            17 => 0x7fc0_1234,
            23 => 3,
            _ => ((i * 7919 % 1000) as f32 / 8.0 - 60.0).to_bits(),
        })
        .collect()
}

/// Runs a body that finds word `k` of thread `t`'s input in word `32 k + t` of `s`, whose address
/// is `%r3`; `%r4` is that of word `t`. All instruction sets give the same.
fn run(body: &str, threads: u32) -> Result<Vec<u32>, Fault> {
    let head = ".shared .align 16 .b8 s[512];
        mov.u32 %r3, s; shl.b32 %r2, %r1, 2; add.u32 %r4, %r3, %r2; mov.f32 %f1, 0f3F800000;
        ld.global.v4.b32 {%r5, %r6, %r7, %r8}, [%rd2];
        st.shared.b32 [%r4], %r5; st.shared.b32 [%r4+128], %r6;
        st.shared.b32 [%r4+256], %r7; st.shared.b32 [%r4+384], %r8; bar.sync 0;";
    let source = wrap(&format!("{}\n{body}", head.replace('\n', " ")));
    let mut results = Lanes::available().into_iter().map(|lanes| {
        let machine = Machine::new();
        let kernel = machine.load_for(&source, lanes).kernel("k").unwrap();
        let (out, input) = (machine.put(&[0u32; 128]), machine.put(&input()));
        let args = [Arg::U64(out), Arg::U64(input)];
        machine.run(&kernel, [1, 1, 1], [threads, 1, 1], &args)?;
        Ok(machine.get::<u32>(out, 4 * threads as usize))
    });
    let first = results.next().unwrap();
    for other in results {
        assert_eq!(format!("{first:?}"), format!("{other:?}"));
    }
    first
}

/// What thread `t` gets from steps that multiply word `x` and its own word of row `k`.
fn sums(t: usize, steps: &[(usize, usize)]) -> Vec<u32> {
    let input = input();
    let word = |index: usize| f32::from_bits(input[index % 32 * 4 + index / 32]);
    let mut sum = 1.0f32;
    let next = steps.iter().map(|&(x, k)| {
        sum = word(x).mul_add(word(32 * k + t), sum);
        if sum.is_nan() {
            0x7fff_ffff
        } else {
            sum.to_bits()
        }
    });
    next.collect()
}

const STEPS: [(usize, usize); 3] = [(2, 1), (36, 3), (70, 0)];
const CHAIN: &str =
    "ld.shared.f32 %f2, [%r3+8]; ld.shared.f32 %f3, [%r4+128]; fma.rn.f32 %f4, %f2, %f3, %f1;
    ld.shared.f32 %f5, [%r3+144]; ld.shared.f32 %f6, [%r4+384]; fma.rn.f32 %f7, %f6, %f5, %f4;
    ld.shared.f32 %f8, [%r3+280]; ld.shared.f32 %f9, [%r4]; fma.rn.f32 %f10, %f8, %f9, %f7;";

#[test]
fn a_chain_rounds_once_per_step_and_makes_the_one_nan() {
    for threads in [31, 32] {
        let result = run(&format!("{CHAIN} st.global.f32 [%rd1], %f10;"), threads).unwrap();
        for t in 0..threads as usize {
            assert_eq!(result[4 * t], sums(t, &STEPS)[2], "thread {t} of {threads}");
        }
    }
}

#[test]
fn either_load_of_a_chain_may_be_the_uniform_one() {
    let swapped = CHAIN
        .replace("%r3", "%r9")
        .replace("%r4", "%r3")
        .replace("%r9", "%r4");
    // Now the lanes' own words come first: of rows 0, 1 and 2, each with an offset in words.
    let body = format!(
        "{} st.global.f32 [%rd1], %f10;",
        swapped
            .replace("+8]", "]")
            .replace("+144", "+128")
            .replace("+280", "+256")
    );
    let result = run(&body, 32).unwrap();
    for t in 0..32 {
        assert_eq!(
            result[4 * t],
            sums(t, &[(32, 0), (96, 1), (0, 2)])[2],
            "thread {t}"
        );
    }
}

#[test]
fn what_is_read_after_a_chain_is_there() {
    let body = format!("{CHAIN} st.global.v4.f32 [%rd1], {{%f4, %f7, %f10, %f6}};");
    let result = run(&body, 32).unwrap();
    for t in 0..32 {
        let expected = [sums(t, &STEPS), vec![input()[4 * t + 3]]].concat();
        assert_eq!(result[4 * t..][..4], expected, "thread {t}");
    }
}

#[test]
fn a_sum_may_stay_in_one_register() {
    let body = CHAIN
        .replace("%f4", "%f1")
        .replace("%f7", "%f1")
        .replace("%f10", "%f1");
    let result = run(&format!("{body} st.global.f32 [%rd1], %f1;"), 32).unwrap();
    for t in 0..32 {
        assert_eq!(result[4 * t], sums(t, &STEPS)[2], "thread {t}");
    }
}

#[test]
fn a_jump_may_lead_into_a_chain() {
    // Odd threads skip the first step; then all go on together.
    let (first, rest) = CHAIN.split_once('\n').unwrap();
    let body = format!(
        "and.b32 %r9, %r1, 1; setp.ne.u32 %p1, %r9, 0; mov.f32 %f4, %f1; @%p1 bra L; {first} L: {rest} st.global.f32 [%rd1], %f10;"
    );
    let result = run(&body, 32).unwrap();
    for t in 0..32 {
        assert_eq!(
            result[4 * t],
            sums(t, &STEPS[t % 2..])[2 - t % 2],
            "thread {t}"
        );
    }
}

#[test]
fn a_chain_with_scattered_factors_is_as_good() {
    // Thread t reads the words of thread 31 - t.
    let body = format!(
        "sub.u32 %r9, 31, %r1; shl.b32 %r9, %r9, 2; add.u32 %r4, %r3, %r9; {CHAIN} st.global.f32 [%rd1], %f10;"
    );
    let result = run(&body, 32).unwrap();
    for t in 0..32 {
        assert_eq!(result[4 * t], sums(31 - t, &STEPS)[2], "thread {t}");
    }
}

#[test]
fn a_step_out_of_bounds_is_the_one_that_faults() {
    for (offset, address) in [(388, 516 - 4), (-4, u64::MAX - 3)] {
        let body = CHAIN.replace("[%r4+384]", &format!("[%r4+{offset}]"));
        match run(&format!("{body} st.global.f32 [%rd1], %f10;"), 32) {
            // Line 12 is the second of the chain.
            Err(Fault::IllegalAddress {
                place,
                address: found,
                ..
            }) => {
                assert_eq!((place.line, found), (12, address));
                assert_eq!(place.thread[0], if offset > 0 { 31 } else { 0 });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_misaligned_step_faults() {
    let body = CHAIN.replace("[%r4+384]", "[%r4+382]");
    let fault = run(&format!("{body} st.global.f32 [%rd1], %f10;"), 32).unwrap_err();
    assert!(
        matches!(&fault, Fault::Misaligned { place, .. } if place.line == 12),
        "{fault}"
    );
}

/// Each thread's address is the sum of two registers right before the access.
fn computed(access: &str, index: &str) -> Result<Vec<u32>, Fault> {
    let body = format!(
        "ld.param.u64 %rd10, [in]; ld.param.u64 %rd11, [out]; {index} mul.wide.u32 %rd12, %r9, 4;\n{access}"
    );
    run(&body, 32)
}

#[test]
fn computed_addresses_reach_what_they_name() {
    type Word = fn(usize) -> usize;
    let cases: [(&str, Word); 3] = [
        ("mov.u32 %r9, %r1;", |t| t),
        ("mov.u32 %r9, 9;", |_| 9),
        ("mul.lo.u32 %r9, %r1, 3;", |t| 3 * t),
    ];
    for (index, word) in cases {
        let access = "add.s64 %rd13, %rd10, %rd12; ld.global.u32 %r10, [%rd13+4];
            xor.b32 %r10, %r10, 1; add.s64 %rd14, %rd11, %rd12; st.global.u32 [%rd14], %r10;";
        let result = computed(access, index).unwrap();
        for t in 0..32 {
            assert_eq!(
                result[word(t)],
                input()[word(t) + 1] ^ 1,
                "{index} thread {t}"
            );
        }
    }
}

#[test]
fn a_computed_address_is_still_there_afterwards() {
    let access = "add.s64 %rd13, %rd10, %rd12; ld.global.u32 %r10, [%rd13];
        sub.s64 %rd13, %rd13, %rd10; cvt.u32.u64 %r10, %rd13; st.global.u32 [%rd1], %r10;";
    let result = computed(access, "mov.u32 %r9, %r1;").unwrap();
    assert!((0..32).all(|t| result[4 * t] == 4 * t as u32));
}

#[test]
fn a_computed_address_out_of_bounds_faults_at_the_access() {
    for instruction in [
        "ld.global.u32 %r10, [%rd13];",
        "st.global.u32 [%rd13], %r1;",
    ] {
        let access = format!("add.s64 %rd13, %rd10, %rd12;\n{instruction}");
        match computed(&access, "add.u32 %r9, %r1, 97;") {
            Err(Fault::IllegalAddress { place, address, .. }) => {
                assert_eq!((place.line, place.thread[0]), (13, 31));
                assert!(address > BASE);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// `out[i] = in[i] - out[i]` for a 32-bit index, with offsets in bytes for the last two accesses.
fn arrays(index: &str, loads: i32, store: i32, threads: u32) -> Result<Vec<u32>, Fault> {
    let body = format!(
        "ld.param.u64 %rd10, [in]; ld.param.u64 %rd11, [out]; {index} mul.wide.s32 %rd12, %r9, 4;
        add.s64 %rd13, %rd10, %rd12; ld.global.u32 %r10, [%rd13+{loads}]; add.s64 %rd14, %rd12, %rd11;
        ld.global.u32 %r11, [%rd14+{loads}]; sub.s32 %r12, %r10, %r11;
        st.global.u32 [%rd14+{store}], %r12;"
    );
    run(&body, threads)
}

#[test]
fn elements_at_consecutive_indices_are_each_threads_own() {
    for threads in [31, 32] {
        for (index, bytes) in [
            ("mov.u32 %r9, %r1;", 0),
            ("sub.s32 %r9, %r1, 16;", 64),
            ("add.s32 %r9, %r1, 16;", -64),
        ] {
            let result = arrays(index, bytes, bytes, threads).unwrap();
            for (t, &word) in result.iter().enumerate() {
                let expected = if t < threads as usize { input()[t] } else { 0 };
                assert_eq!(
                    word, expected,
                    "word {t} with {threads} threads and {index}"
                );
            }
        }
    }
}

#[test]
fn elements_out_of_bounds_fault_at_their_access() {
    let cases = [
        (400, 0, 12, 28),
        (0, 400, 14, 28),
        (-4, 0, 12, 0),
        (0, 512, 14, 0),
    ];
    for (loads, store, line, thread) in cases {
        match arrays("mov.u32 %r9, %r1;", loads, store, 32) {
            Err(Fault::IllegalAddress { place, .. }) => {
                assert_eq!((place.line, place.thread[0]), (line, thread));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_is_read_after_accesses_to_arrays_is_there() {
    let body = "ld.param.u64 %rd10, [in]; mul.wide.u32 %rd12, %r1, 4; add.s64 %rd13, %rd10, %rd12;
        ld.global.u32 %r10, [%rd13]; cvt.u32.u64 %r11, %rd12; sub.s64 %rd13, %rd13, %rd10; cvt.u32.u64 %r12, %rd13;
        st.global.v4.u32 [%rd1], {%r10, %r11, %r12, %r1};";
    let result = run(body, 32).unwrap();
    for t in 0..32u32 {
        let found = &result[4 * t as usize..][..4];
        assert_eq!(found, [input()[t as usize], 4 * t, 4 * t, t]);
    }
}
