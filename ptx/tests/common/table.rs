// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tables of instructions: text, operands, result.
#![allow(dead_code, clippy::result_large_err)]

use super::{Arg, Machine};
use vcuda_ptx::Lanes;

/// Instruction text, and operands with the expected result. The operands are in registers 11, 12
/// and 13 of every width (`%r11`, `%rd11`, `%rs11`, `%f11`, `%fd11`; `%p11` is operand & 1), the result
/// in register 10 of the width that the text names.
pub type Row<'a> = (&'a str, &'a [([u64; 3], u64)]);

pub fn check(rows: &[Row<'_>]) {
    for lanes in Lanes::available() {
        for (text, cases) in rows {
            check_row(lanes, text, cases);
        }
    }
}

fn check_row(lanes: Lanes, text: &str, cases: &[([u64; 3], u64)]) {
    let result = text
        .split_whitespace()
        .find(|word| word.starts_with('%'))
        .unwrap();
    let store = match result
        .trim_end_matches(|c: char| !c.is_ascii_alphabetic())
        .split('1')
        .next()
        .unwrap()
    {
        "%rd" => "mov.b64 %rd20, %rd10;",
        "%r" => "cvt.u64.u32 %rd20, %r10;",
        "%rs" => "cvt.u64.u16 %rd20, %rs10;",
        "%f" => "mov.b32 %r20, %f10; cvt.u64.u32 %rd20, %r20;",
        "%fd" => "mov.b64 %rd20, %fd10;",
        "%p" => "selp.b64 %rd20, 1, 0, %p10;",
        other => panic!("{other} in {text}"),
    };
    let mut load = String::new();
    for (i, offset) in [(11, 0), (12, 8), (13, 16)] {
        load.push_str(&format!(
            "ld.global.u64 %rd{i}, [%rd2+{offset}]; cvt.u32.u64 %r{i}, %rd{i}; cvt.u16.u64 %rs{i}, %rd{i};
             mov.b32 %f{i}, %r{i}; mov.b64 %fd{i}, %rd{i}; and.b64 %rd20, %rd{i}, 1; setp.ne.u64 %p{i}, %rd20, 0;\n"
        ));
    }
    let source = format!(
        ".version 8.7\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 in)\n{{
         .reg .pred %p<20>; .reg .b16 %rs<40>; .reg .b32 %r<60>; .reg .b64 %rd<60>; .reg .f32 %f<40>; .reg .f64 %fd<40>;
         ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; mov.u32 %r1, %tid.x;
         mad.wide.u32 %rd1, %r1, 8, %rd1; mad.wide.u32 %rd2, %r1, 24, %rd2;
         {load} mov.b64 %rd10, -1; mov.b32 %r10, -1;\n {text}\n {store} st.global.u64 [%rd1], %rd20; ret; }}"
    );
    let machine = Machine::new();
    let kernel = match machine.load_for(&source, lanes).kernel("k") {
        Ok(kernel) => kernel,
        Err(error) => panic!("{text}: {error}"),
    };
    for threads in [cases.len(), 64] {
        let used = |t: usize| &cases[t % cases.len()];
        let input: Vec<u64> = (0..threads).flat_map(|t| used(t).0).collect();
        let (out, input) = (machine.alloc(threads as u64 * 8), machine.put(&input));
        machine
            .run(
                &kernel,
                [1, 1, 1],
                [threads as u32, 1, 1],
                &[Arg::U64(out), Arg::U64(input)],
            )
            .unwrap();
        for (t, found) in machine.get::<u64>(out, threads).into_iter().enumerate() {
            let (operands, expected) = used(t);
            assert_eq!(
                found, *expected,
                "{text} of {operands:#x?} gives {found:#x}, not {expected:#x} ({lanes:?})"
            );
        }
    }
}

/// The operand that is a number of single precision.
pub fn f(x: f32) -> u64 {
    u64::from(x.to_bits())
}

/// The operand that is a number of double precision.
pub fn d(x: f64) -> u64 {
    x.to_bits()
}
