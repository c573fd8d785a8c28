// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels that nvcc compiled (tests/cuda), against the same computation on the host.

mod common;
use common::{Arg, Machine};
use vcuda_ptx::Lanes;

const BASIC: &str = include_str!("ptx/basic_sm80.ptx");

fn random(n: usize) -> impl Iterator<Item = u32> {
    let mut state = 0x1234_5678_u64;
    (0..n).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    })
}

#[test]
fn every_kernel_of_the_module_lowers() {
    let machine = Machine::new();
    let program = machine.load(BASIC);
    for name in program.kernel_names() {
        if let Err(error) = program.kernel(name) {
            panic!("{error}");
        }
    }
}

#[test]
fn saxpy_computes_fused_results_for_every_lane_width() {
    for lanes in Lanes::available() {
        let machine = Machine::new();
        let program = machine.load_for(BASIC, lanes);
        let kernel = program.kernel("saxpy").unwrap();
        for n in [1usize, 31, 33, 1000, 4096] {
            let x: Vec<f32> = random(n).map(|r| r as f32 / 1e6).collect();
            let y: Vec<f32> = random(n).map(|r| r as f32 / 7e8).collect();
            let (dx, dy) = (machine.put(&x), machine.put(&y));
            let args = [
                Arg::F32(1.7),
                Arg::U64(dx),
                Arg::U64(dy),
                Arg::U32(n as u32),
            ];
            machine
                .run(
                    &kernel,
                    [(n as u32).div_ceil(256), 1, 1],
                    [256, 1, 1],
                    &args,
                )
                .unwrap();
            let expected: Vec<f32> = x
                .iter()
                .zip(&y)
                .map(|(x, y)| 1.7f32.mul_add(*x, *y))
                .collect();
            assert_eq!(
                machine.get::<f32>(dy, n),
                expected,
                "{lanes:?}, {n} elements"
            );
        }
    }
}

#[test]
fn tiled_matmul_gives_the_sums_in_order() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("matmul").unwrap();
    let n = 64usize;
    let a: Vec<f32> = random(n * n).map(|r| r as f32 / 1e9).collect();
    let b: Vec<f32> = random(n * n).map(|r| r as f32 / 3e9).collect();
    let (da, db, dc) = (
        machine.put(&a),
        machine.put(&b),
        machine.alloc((n * n * 4) as u64),
    );
    let args = [Arg::U64(da), Arg::U64(db), Arg::U64(dc), Arg::U32(n as u32)];
    machine.run(&kernel, [2, 2, 1], [32, 32, 1], &args).unwrap();
    let c = machine.get::<f32>(dc, n * n);
    for row in 0..n {
        for column in 0..n {
            let sum = (0..n).fold(0f32, |sum, k| {
                a[row * n + k].mul_add(b[k * n + column], sum)
            });
            assert_eq!(c[row * n + column], sum, "row {row}, column {column}");
        }
    }
}
