// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels that nvcc compiled (tests/cuda), against the same computation on the host.

mod common;
use common::{Arg, Machine, random};
use vcuda_ptx::Lanes;

const BASIC: &str = include_str!("ptx/basic_sm80.ptx");

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

#[test]
fn stencil_uses_dynamic_shared_memory() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("stencil").unwrap();
    assert!(kernel.uses_dynamic_shared());
    let n = 1000usize;
    let data: Vec<f32> = random(n).map(|r| (r % 1000) as f32).collect();
    let (input, out) = (machine.put(&data), machine.alloc(n as u64 * 4));
    let args = [Arg::U64(input), Arg::U64(out), Arg::U32(n as u32)];
    machine
        .run_with(&kernel, [8, 1, 1], [128, 1, 1], 130 * 4, &args)
        .unwrap();
    let at = |i: isize| data.get(i as usize).copied().unwrap_or(0.0);
    for (i, v) in machine.get::<f32>(out, n).into_iter().enumerate() {
        let i = i as isize;
        assert_eq!(
            v,
            0.25 * at(i - 1) + 0.5 * at(i) + 0.25 * at(i + 1),
            "element {i}"
        );
    }
    // Without the dynamic shared memory the first store is out of bounds.
    let fault = machine
        .run(&kernel, [8, 1, 1], [128, 1, 1], &args)
        .unwrap_err()
        .to_string();
    assert!(
        fault.contains("stencil") && fault.contains("shared"),
        "{fault}"
    );
}

#[test]
fn nbody_reads_vectors_and_takes_reciprocal_roots() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("nbody").unwrap();
    let n = 70usize;
    let p: Vec<f32> = random(n * 4).map(|r| (r % 1000) as f32 / 100.0).collect();
    let (input, out) = (machine.put(&p), machine.alloc(n as u64 * 12));
    machine
        .run(
            &kernel,
            [2, 1, 1],
            [64, 1, 1],
            &[Arg::U64(input), Arg::U64(out), Arg::U32(n as u32)],
        )
        .unwrap();
    let acc = machine.get::<f32>(out, n * 3);
    for i in 0..n {
        let mut expected = [0f64; 3];
        for j in 0..n {
            let d: Vec<f64> = (0..3)
                .map(|k| f64::from(p[j * 4 + k]) - f64::from(p[i * 4 + k]))
                .collect();
            let inv = 1.0 / (d.iter().map(|x| x * x).sum::<f64>() + 0.01).sqrt();
            for k in 0..3 {
                expected[k] += f64::from(p[j * 4 + 3]) * inv * inv * inv * d[k];
            }
        }
        for k in 0..3 {
            let found = f64::from(acc[i * 3 + k]);
            assert!(
                (found - expected[k]).abs() < 1e-2 + 1e-3 * expected[k].abs(),
                "{found} {}",
                expected[k]
            );
        }
    }
}

#[test]
fn mandelbrot_loops_diverge_and_meet_again() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("mandelbrot").unwrap();
    let (w, h, limit) = (70usize, 40usize, 200);
    let out = machine.alloc((w * h * 4) as u64);
    let args = [
        Arg::U64(out),
        Arg::U32(w as u32),
        Arg::U32(h as u32),
        Arg::U32(limit),
    ];
    machine.run(&kernel, [5, 5, 1], [16, 8, 1], &args).unwrap();
    let found = machine.get::<i32>(out, w * h);
    for y in 0..h {
        for x in 0..w {
            // nvcc contracts products and sums into fused operations, as here.
            let (cr, ci) = (
                3.0 * x as f64 / w as f64 - 2.0,
                2.0 * y as f64 / h as f64 - 1.0,
            );
            let (mut zr, mut zi, mut n) = (0f64, 0f64, 0);
            while n < limit as i32 && zr.mul_add(zr, zi * zi) < 4.0 {
                let t = zr.mul_add(zr, -(zi * zi)) + cr;
                zi = (2.0 * zr).mul_add(zi, ci);
                zr = t;
                n += 1;
            }
            assert!(
                (found[y * w + x] - n).abs() <= 1,
                "({x},{y}): {} {n}",
                found[y * w + x]
            );
        }
    }
}

#[test]
fn constant_and_device_variables_have_their_first_values() {
    let machine = Machine::new();
    let program = machine.load(BASIC);
    let kernel = program.kernel("variables").unwrap();
    let (out, dout) = (machine.alloc(64 * 4), machine.alloc(64 * 8));
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [64, 1, 1],
            &[Arg::U64(out), Arg::U64(dout)],
        )
        .unwrap();
    let weights = [1, 10, 100, 1000];
    assert_eq!(
        machine.get::<i32>(out, 64),
        (0..64).map(|i| weights[i % 4]).collect::<Vec<_>>()
    );
    let table = [0.5, 1.5, 2.5];
    assert_eq!(
        machine.get::<f64>(dout, 64),
        (0..64).map(|i| table[i % 3] / 3.0).collect::<Vec<f64>>()
    );
    let (counter, size) = program.global("counter").unwrap();
    assert_eq!((machine.get::<i32>(counter, 1)[0], size), (5 + 64, 4));
    assert_eq!(program.global("no_such_variable"), None);
}

#[test]
fn arrays_in_local_memory_are_each_threads_own() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("locals").unwrap();
    assert!(kernel.local_bytes() >= 128);
    let out = machine.alloc(96 * 4);
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [96, 1, 1],
            &[Arg::U64(out), Arg::U32(32), Arg::U32(5)],
        )
        .unwrap();
    for (t, v) in machine.get::<i32>(out, 96).into_iter().enumerate() {
        let mut a: Vec<i32> = (0..32).map(|i| ((t * 7 + i * 13) % 61) as i32).collect();
        a.sort();
        assert_eq!(v, a[(5 + t) & 31], "thread {t}");
    }
}

#[test]
fn recursion_to_different_depths_in_one_warp() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("recursion").unwrap();
    let out = machine.alloc(64 * 4);
    machine
        .run(&kernel, [1, 1, 1], [64, 1, 1], &[Arg::U64(out)])
        .unwrap();
    let fib = |n: i32| (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0;
    assert_eq!(
        machine.get::<i32>(out, 64),
        (0..64).map(|t| fib(t % 12)).collect::<Vec<_>>()
    );
}

#[test]
fn indirect_calls_go_where_each_lane_wants() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("indirect").unwrap();
    let data: Vec<i64> = random(64)
        .map(|r| i64::from(r as i32) * 1_000_003)
        .collect();
    let (out, input) = (machine.alloc(64 * 8), machine.put(&data));
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [64, 1, 1],
            &[Arg::U64(out), Arg::U64(input)],
        )
        .unwrap();
    let expected: Vec<i64> = (0..64usize)
        .map(|t| {
            let (a, b) = (data[t], 7 - (t % 5) as i64);
            [a.wrapping_add(b), a / b, a % b][t % 3]
        })
        .collect();
    assert_eq!(machine.get::<i64>(out, 64), expected);
}

#[test]
fn a_switch_takes_every_lane_to_its_case() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("choose").unwrap();
    let data: Vec<i32> = (0..64).map(|i| (i * 5) % 9).collect();
    let (out, input) = (machine.alloc(64 * 4), machine.put(&data));
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [64, 1, 1],
            &[Arg::U64(out), Arg::U64(input)],
        )
        .unwrap();
    let expected: Vec<i32> = data
        .iter()
        .map(|&v| match v {
            0 => 1,
            1 => 77777u32.count_ones() as i32,
            2 => 1002i32.leading_zeros() as i32,
            3 => 3u32.reverse_bits() as i32,
            4 => 9,
            5 => 5 ^ 0x5555,
            6 => {
                let bytes = [
                    &(6 * 0x0102_0304u32).to_le_bytes()[..],
                    &0x5566_7788u32.to_le_bytes()[..],
                ]
                .concat();
                i32::from_le_bytes([2, 4, 1, 5].map(|i: usize| bytes[i]))
            }
            v => -v,
        })
        .collect();
    assert_eq!(machine.get::<i32>(out, 64), expected);
}

#[test]
fn structures_are_passed_and_returned_by_value() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("structs").unwrap();
    let mut big = vec![0u8; 56];
    for i in 0..10i32 {
        big[i as usize * 4..][..4].copy_from_slice(&(i * 3).to_le_bytes());
    }
    big[40..48].copy_from_slice(&2.25f64.to_le_bytes());
    big[48] = 200;
    let out = machine.alloc(40 * 8);
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [40, 1, 1],
            &[Arg::Bytes(big), Arg::U64(out)],
        )
        .unwrap();
    let expected: Vec<f64> = (0..40i32)
        .map(|t| 4.5 + f64::from((200 + t % 10) as u8 as i8) + 135.0 + 100.0)
        .collect();
    assert_eq!(machine.get::<f64>(out, 40), expected);
}

#[test]
fn half_precision_rounds_once_per_operation() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("halves").unwrap();
    let data: Vec<f32> = (0..32).map(|i| i as f32 * 0.25).collect();
    let (input, out) = (machine.put(&data), machine.alloc(64 * 4));
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [32, 1, 1],
            &[Arg::U64(input), Arg::U64(out)],
        )
        .unwrap();
    let found = machine.get::<f32>(out, 64);
    for i in 0..32usize {
        let (a, b) = (data[i], data[i] * 3.0);
        let (low, high) = (a * a + 0.25, b * b + 0.25 + 1.0);
        assert!(
            (found[2 * i] - low).abs() <= low / 1024.0,
            "{} {low}",
            found[2 * i]
        );
        assert!(
            (found[2 * i + 1] - high).abs() <= high / 512.0,
            "{} {high}",
            found[2 * i + 1]
        );
    }
}

#[test]
fn double_precision_functions_of_the_device_library() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("doubles").unwrap();
    let mut data: Vec<f64> = (0..100).map(|i| f64::from(i) * 0.37).collect();
    data.push(1e7); // large arguments take the slow path of sin
    let n = data.len();
    let (input, out) = (machine.put(&data), machine.alloc(n as u64 * 8));
    machine
        .run(
            &kernel,
            [4, 1, 1],
            [32, 1, 1],
            &[Arg::U64(input), Arg::U64(out), Arg::U32(n as u32)],
        )
        .unwrap();
    for (v, x) in machine.get::<f64>(out, n).into_iter().zip(&data) {
        let expected = x.sqrt()
            + (-x).exp() * x.sin() / (1.0 + x)
            + f64::from(*x as f32)
            + x.floor()
            + (x * 1e3).trunc();
        assert!(
            (v - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            "{x}: {v} {expected}"
        );
    }
}

#[test]
fn programs_of_clang_run_too() {
    let machine = Machine::new();
    let program = machine.load(include_str!("ptx/clang_sm70.ptx"));
    assert_eq!((program.version().0, program.target()), (6, 70));
    let x: Vec<f32> = random(100).map(|r| r as f32 / 1e6).collect();
    let (dx, dy) = (machine.put(&x), machine.put(&x));
    let args = [Arg::U32(100), Arg::F32(0.5), Arg::U64(dx), Arg::U64(dy)];
    machine
        .run(
            &program.kernel("saxpy").unwrap(),
            [4, 1, 1],
            [32, 1, 1],
            &args,
        )
        .unwrap();
    assert_eq!(
        machine.get::<f32>(dy, 100),
        x.iter().map(|x| 0.5f32.mul_add(*x, *x)).collect::<Vec<_>>()
    );

    let n = 32usize;
    let (a, b): (Vec<f32>, Vec<f32>) = random(n * n)
        .map(|r| (r as f32 / 1e9, r as f32 / 7e8))
        .unzip();
    let (da, db, dc) = (
        machine.put(&a),
        machine.put(&b),
        machine.alloc((n * n * 4) as u64),
    );
    let args = [Arg::U64(da), Arg::U64(db), Arg::U64(dc), Arg::U32(n as u32)];
    machine
        .run(
            &program.kernel("matmul").unwrap(),
            [2, 2, 1],
            [16, 16, 1],
            &args,
        )
        .unwrap();
    for (i, found) in machine.get::<f32>(dc, n * n).into_iter().enumerate() {
        assert_eq!(
            found,
            (0..n).fold(0f32, |sum, k| a[i / n * n + k]
                .mul_add(b[k * n + i % n], sum))
        );
    }

    fn ackermann(m: i32, n: i32) -> i32 {
        match (m, n) {
            (0, n) => n + 1,
            (m, 0) => ackermann(m - 1, 1),
            (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
        }
    }
    let out = machine.alloc(32 * 4);
    machine
        .run(
            &program.kernel("recursive").unwrap(),
            [1, 1, 1],
            [32, 1, 1],
            &[Arg::U64(out)],
        )
        .unwrap();
    assert_eq!(
        machine.get::<i32>(out, 32),
        (0..32).map(|t| ackermann(t % 3, t % 4)).collect::<Vec<_>>()
    );
}
