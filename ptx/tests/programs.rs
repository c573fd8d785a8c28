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

fn sum(values: &[i32]) -> i32 {
    values.iter().fold(0i32, |sum, v| sum.wrapping_add(*v))
}

#[test]
fn reduction_with_shuffles_adds_everything_once() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("reduce").unwrap();
    for n in [1usize, 100, 5000] {
        let data: Vec<i32> = random(n).map(|r| r as i32).collect();
        let (input, out) = (machine.put(&data), machine.put(&[0i32]));
        let args = [Arg::U64(input), Arg::U64(out), Arg::U32(n as u32)];
        machine.run(&kernel, [3, 1, 1], [256, 1, 1], &args).unwrap();
        assert_eq!(machine.get::<i32>(out, 1)[0], sum(&data));
    }
}

#[test]
fn histogram_counts_every_byte_in_shared_and_global_memory() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("histogram").unwrap();
    let data: Vec<u8> = random(10_000).map(|r| (r % 251) as u8).collect();
    let (input, bins) = (machine.put(&data), machine.put(&[0u32; 256]));
    let args = [Arg::U64(input), Arg::U64(bins), Arg::U32(data.len() as u32)];
    machine.run(&kernel, [5, 1, 1], [192, 1, 1], &args).unwrap();
    let mut expected = vec![0u32; 256];
    data.iter().for_each(|b| expected[*b as usize] += 1);
    assert_eq!(machine.get::<u32>(bins, 256), expected);
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
fn votes_matches_and_reductions_also_in_divergent_branches() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("votes").unwrap();
    let data: Vec<i32> = random(64).map(|r| (r % 40) as i32).collect();
    let (out, input) = (machine.alloc(64 * 4), machine.put(&data));
    machine
        .run(
            &kernel,
            [1, 1, 1],
            [64, 1, 1],
            &[Arg::U64(out), Arg::U64(input)],
        )
        .unwrap();
    let count = data.iter().filter(|v| **v & 2 != 0).count() as u32;
    let found = machine.get::<u32>(out, 64);
    for t in 0..64 {
        let warp = &data[t / 32 * 32..][..32];
        let bits =
            |f: &dyn Fn(i32) -> bool| (0..32).fold(0u32, |b, i| b | u32::from(f(warp[i])) << i);
        let ballot = bits(&|v| v & 1 != 0);
        let any = u32::from(warp.iter().any(|v| *v > 30));
        let matched = bits(&|v| v % 5 == data[t] % 5);
        let sum = if data[t] & 1 != 0 {
            warp.iter().filter(|v| **v & 1 != 0).sum::<i32>() as u32
        } else {
            // The lane read may be one of the other branch, whose value is then undefined.
            let from = t % 32 / 16 * 16;
            if ballot >> from & 1 != 0 {
                continue;
            }
            warp[from] as u32
        };
        let expected = ballot ^ (any << 1) ^ 1 ^ matched ^ (sum << 8) ^ count ^ u32::MAX;
        assert_eq!(found[t], expected, "thread {t}");
    }
}

#[test]
fn lanes_of_a_warp_take_turns_at_a_spin_lock() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("spinlock").unwrap();
    let (lock, total) = (machine.put(&[0i32]), machine.put(&[0i32]));
    machine
        .run(
            &kernel,
            [3, 1, 1],
            [70, 1, 1],
            &[Arg::U64(lock), Arg::U64(total)],
        )
        .unwrap();
    assert_eq!(machine.get::<i32>(total, 1), [210]);
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

#[test]
fn a_cooperative_grid_synchronizes_with_more_blocks_than_threads() {
    let machine = Machine::new();
    let kernel = machine
        .load(include_str!("ptx/grid_sm80.ptx"))
        .kernel("gridsync")
        .unwrap();
    let (blocks, threads, rounds) = (20usize, 64usize, 5);
    let n = blocks * threads;
    let data: Vec<i32> = (0..n as i32).collect();
    let addr = machine.put(&data);
    let params = common::pack(&kernel, &[Arg::U64(addr), Arg::U32(rounds)]);
    let launch = vcuda_ptx::Launch {
        grid: [blocks as u32, 1, 1],
        block: [threads as u32, 1, 1],
        dynamic_shared: 0,
        params: &params,
        cooperative: true,
    };
    let limits = vcuda_ptx::Limits {
        abort: None,
        time_limit: Some(std::time::Duration::from_secs(30)),
        ..vcuda_ptx::Limits::default()
    };
    machine
        .engine
        .run(&machine.space, &kernel, &launch, &limits)
        .unwrap();
    let expected: Vec<i32> = (0..n)
        .map(|i| ((i + rounds as usize) % n) as i32 + rounds as i32)
        .collect();
    assert_eq!(machine.get::<i32>(addr, n), expected);
    // Without the promise that all blocks run, there is no work space, and the kernel traps.
    let launch = vcuda_ptx::Launch {
        cooperative: false,
        ..launch
    };
    assert!(
        machine
            .engine
            .run(&machine.space, &kernel, &launch, &limits)
            .is_err()
    );
}

#[test]
fn several_threads_launch_on_one_engine_at_once() {
    let machine = Machine::new();
    let kernel = machine.load(BASIC).kernel("saxpy").unwrap();
    let n = 20_000u32;
    let buffers: Vec<(u64, u64)> = (0..8)
        .map(|_| {
            (
                machine.put(&vec![1f32; n as usize]),
                machine.put(&vec![0f32; n as usize]),
            )
        })
        .collect();
    let (space, engine) = (&machine.space, &machine.engine);
    std::thread::scope(|scope| {
        for (x, y) in &buffers {
            let kernel = kernel.clone();
            scope.spawn(move || {
                let params = common::pack(
                    &kernel,
                    &[Arg::F32(1.0), Arg::U64(*x), Arg::U64(*y), Arg::U32(n)],
                );
                let launch = vcuda_ptx::Launch {
                    grid: [n.div_ceil(128), 1, 1],
                    block: [128, 1, 1],
                    dynamic_shared: 0,
                    params: &params,
                    cooperative: false,
                };
                for _ in 0..20 {
                    engine
                        .run(space, &kernel, &launch, &vcuda_ptx::Limits::default())
                        .unwrap();
                }
            });
        }
    });
    for (_, y) in buffers {
        assert_eq!(machine.get::<f32>(y, n as usize), vec![20f32; n as usize]);
    }
}
