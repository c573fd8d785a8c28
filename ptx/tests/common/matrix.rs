// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of matrices in every format, and the kernels that multiply them.
#![allow(dead_code)]

use super::{Arg, Machine};
use vcuda_ptx::Lanes;

/// Small integers, which every format holds exactly.
pub fn random(seed: u64) -> impl FnMut() -> i32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 7) as i32 - 3
    }
}

/// The half-precision encoding of a small integer.
fn half(value: i32) -> u32 {
    if value == 0 {
        return 0;
    }
    let magnitude = value.unsigned_abs();
    let exponent = magnitude.ilog2();
    let sign = if value < 0 { 0x8000 } else { 0 };
    sign | (exponent + 15) << 10 | (magnitude << (10 - exponent)) & 0x3ff
}

pub fn encode(ty: &str, value: i32) -> u64 {
    match ty {
        "f16" => half(value).into(),
        "bf16" => u64::from((value as f32).to_bits() >> 16),
        "tf32" | "f32" => (value as f32).to_bits().into(),
        "f64" => (value as f64).to_bits(),
        "u4" | "s4" => (value & 15) as u64,
        "u8" | "s8" => (value & 255) as u64,
        "b1" => (value & 1) as u64,
        _ => value as u32 as u64,
    }
}

pub fn bits(ty: &str) -> usize {
    match ty {
        "f16" | "bf16" => 16,
        "f64" => 64,
        "u4" | "s4" => 4,
        "u8" | "s8" => 8,
        "b1" => 1,
        _ => 32,
    }
}

/// What an element counts as: unsigned ones are not negative.
pub fn fit(ty: &str, value: i32) -> i32 {
    match ty {
        "u4" | "u8" => value.abs(),
        "b1" => value & 1,
        _ => value,
    }
}

pub fn run(source: &str, lanes: Lanes, inputs: [&[u8]; 3], bytes: usize) -> Vec<u8> {
    let machine = Machine::new();
    let program = machine.load_for(source, lanes);
    let kernel = program
        .kernel("k")
        .unwrap_or_else(|error| panic!("{error}\n{source}"));
    let [a, b, c] = inputs.map(|bytes| machine.put(bytes));
    let d = machine.put(&vec![0xeeu8; bytes]);
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [32, 1, 1],
            &[Arg::U64(a), Arg::U64(b), Arg::U64(c), Arg::U64(d)],
        )
        .unwrap();
    machine.get::<u8>(d, bytes)
}
