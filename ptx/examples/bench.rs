// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast one thread of the engine is, beside the same loops compiled by `gcc -O3`:
//! `cargo run --release -p vcuda-ptx --example bench`.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcuda_ptx::{AddressSpace, Engine, Kernel, Lanes, Launch, Limits, Program, Region, parse};

const BASE: u64 = 0x10_0000_0000;
const PTX: &str = include_str!("../tests/ptx/basic_sm80.ptx");
const N: u32 = 1 << 22;
const M: u32 = 320;

/// The loops in C, with the timing in the program: prints ns per element of each.
const C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
__attribute__((noinline)) void saxpy(float a, const float *x, float *y, int n) { for (int i = 0; i < n; ++i) y[i] = a * x[i] + y[i]; }
__attribute__((noinline)) void matmul(const float *a, const float *b, float *restrict c, int n) {
    for (int i = 0; i < n; ++i)
        for (int k = 0; k < n; ++k)
            for (int j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
}
int main(int argc, char **argv) {
    int n = atoi(argv[1]), m = atoi(argv[2]);
    float *x = calloc(n, 4), *y = calloc(n, 4), *a = calloc(m * m, 4), *b = calloc(m * m, 4), *c = calloc(m * m, 4);
    for (int i = 0; i < n; ++i) x[i] = i, y[i] = 1;
    for (int i = 0; i < m * m; ++i) a[i] = i % 7, b[i] = i % 5;
    double best = 1e30, best2 = 1e30;
    for (int r = 0; r < 20; ++r) { double t = now(); saxpy(1.5f, x, y, n); t = now() - t; if (t < best) best = t; }
    for (int r = 0; r < 5; ++r) { double t = now(); matmul(a, b, c, m); t = now() - t; if (t < best2) best2 = t; }
    printf("%f %f\n", best / n, best2 / ((double)m * m * m));
    return c[1] + y[1] == 12345;
}
"#;

fn in_c() -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (source, program) = (folder.path().join("loops.c"), folder.path().join("loops"));
    std::fs::write(&source, C)?;
    let status = Command::new("gcc")
        .arg("-O3")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .status()?;
    if !status.success() {
        return Err("gcc failed".into());
    }
    let output = Command::new(&program)
        .arg(N.to_string())
        .arg(M.to_string())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Ok((
        numbers.next().ok_or("no output")??,
        numbers.next().ok_or("no output")??,
    ))
}

/// Time that this thread ran: other work on the machine does not count.
fn thread_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec that the call writes.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn best(rounds: usize, mut run: impl FnMut()) -> Duration {
    let time = |_| {
        let start = thread_time();
        run();
        thread_time() - start
    };
    (0..rounds).map(time).min().unwrap_or_default()
}

fn launch(
    engine: &Engine,
    space: &AddressSpace,
    kernel: &Arc<Kernel>,
    grid: [u32; 3],
    block: [u32; 3],
    params: &[u8],
) {
    let launch = Launch {
        grid,
        block,
        dynamic_shared: 0,
        params,
        cooperative: false,
    };
    if let Err(fault) = engine.run(space, kernel, &launch, &Limits::default()) {
        panic!("{fault}");
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = AddressSpace::new(vec![Region::anonymous(BASE, 1 << 30)?])?;
    let (x, y) = (BASE, BASE + (64 << 20));
    let (a, b, c) = (BASE + (128 << 20), BASE + (160 << 20), BASE + (192 << 20));
    let variables = BASE + (256 << 20);
    for (addr, len) in [
        (x, N * 4),
        (y, N * 4),
        (a, M * M * 4),
        (b, M * M * 4),
        (c, M * M * 4),
    ] {
        space.allocate(addr, u64::from(len))?;
        space.fill(addr, &1f32.to_le_bytes(), u64::from(len / 4))?;
    }

    let start = Instant::now();
    let module = parse(PTX.as_bytes())?;
    let parsed = start.elapsed();
    let mut next = variables;
    let mut place = |_: &str, size: u64, _: u64| {
        let addr = next;
        space.allocate(addr, size)?;
        next += size.next_multiple_of(256);
        Ok(addr)
    };
    let program = Program::load(module, &space, &mut place)?;
    let start = Instant::now();
    for name in program.kernel_names() {
        program.kernel(name)?;
    }
    let lowered = start.elapsed();
    let bytes = PTX.len() as f64;
    println!(
        "parse {:.1} MB/s, lower {:.1} MB/s, both {:.1} MB/s; lanes: {:?}",
        bytes / parsed.as_secs_f64() / 1e6,
        bytes / lowered.as_secs_f64() / 1e6,
        bytes / (parsed + lowered).as_secs_f64() / 1e6,
        Lanes::detect()
    );

    let engine = Engine::new(1);
    let empty = program.kernel("empty")?;
    let time = best(2000, || {
        launch(&engine, &space, &empty, [1; 3], [1; 3], &[])
    });
    println!("empty kernel, 1 thread: {:.2} us", time.as_secs_f64() * 1e6);
    let time = best(2000, || {
        launch(&engine, &space, &empty, [1; 3], [1024, 1, 1], &[])
    });
    println!(
        "empty kernel, 1024 threads: {:.2} us",
        time.as_secs_f64() * 1e6
    );

    let (c_saxpy, c_matmul) = in_c()?;
    let mut params = vec![];
    params.extend(1.5f32.to_le_bytes());
    params.extend([0; 4]);
    params.extend(x.to_le_bytes());
    params.extend(y.to_le_bytes());
    params.extend(N.to_le_bytes());
    let kernel = program.kernel("saxpy")?;
    let time = best(10, || {
        launch(
            &engine,
            &space,
            &kernel,
            [N / 256, 1, 1],
            [256, 1, 1],
            &params,
        )
    });
    let ns = time.as_secs_f64() * 1e9 / f64::from(N);
    println!(
        "saxpy: {ns:.2} ns/element, gcc -O3 {c_saxpy:.2}, ratio {:.1}",
        ns / c_saxpy
    );

    let mut params = vec![];
    for addr in [a, b, c] {
        params.extend(addr.to_le_bytes());
    }
    params.extend(M.to_le_bytes());
    let kernel = program.kernel("matmul")?;
    let time = best(5, || {
        launch(
            &engine,
            &space,
            &kernel,
            [M / 32, M / 32, 1],
            [32, 32, 1],
            &params,
        )
    });
    let ns = time.as_secs_f64() * 1e9 / f64::from(M).powi(3);
    println!(
        "tiled matmul: {ns:.3} ns/MAC, gcc -O3 {c_matmul:.3}, ratio {:.1}",
        ns / c_matmul
    );
    Ok(())
}
