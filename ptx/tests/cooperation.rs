// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernels that nvcc compiled (tests/cuda) whose threads work together: shuffles, votes, atomics,
//! locks, grid synchronization.

mod common;
use common::{Arg, Machine, random};

const BASIC: &str = include_str!("ptx/basic_sm80.ptx");

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
