// SPDX-License-Identifier: MIT OR Apache-2.0
//! How fast the engine is: one thread beside the same loops compiled by `gcc -O3`
//! (`cargo run --release -p vcuda-ptx --example bench`), or, given a program that runs the same
//! kernels (`bench/pocl.cpp`) and its arguments, all cores beside that.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcuda_ptx::{AddressSpace, Engine, Kernel, Lanes, Launch, Limits, Program, Region, parse};

const BASE: u64 = 0x10_0000_0000;
const PTX: &str = include_str!("../tests/ptx/basic_sm80.ptx");
const N: u32 = 1 << 22;
const M: u32 = 320;
const BODIES: u32 = 2048;
const WIDTH: u32 = 512;
const DOUBLES: u32 = 1 << 18;

/// The loops in C, with the timing in the program: prints a name and nanoseconds per item for each.
const C: &str = r#"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static double now(void) { struct timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
#define LOOP __attribute__((noinline)) static
LOOP void saxpy(float a, const float *x, float *y, int n) { for (int i = 0; i < n; ++i) y[i] = a * x[i] + y[i]; }
LOOP void matmul(const float *a, const float *b, float *restrict c, int n) {
    for (int i = 0; i < n; ++i)
        for (int k = 0; k < n; ++k)
            for (int j = 0; j < n; ++j) c[i * n + j] += a[i * n + k] * b[k * n + j];
}
LOOP int reduce(const int *x, int n) { int s = 0; for (int i = 0; i < n; ++i) s += x[i]; return s; }
LOOP void histogram(const unsigned char *x, unsigned *bins, int n) { for (int i = 0; i < n; ++i) ++bins[x[i]]; }
LOOP void stencil(const float *x, float *restrict y, int n) {
    for (int i = 0; i < n; ++i) y[i] = 0.25f * (i ? x[i - 1] : 0) + 0.5f * x[i] + 0.25f * (i + 1 < n ? x[i + 1] : 0);
}
LOOP void nbody(const float (*p)[4], float (*restrict f)[3], int n) {
    for (int i = 0; i < n; ++i) {
        float s[3] = {0, 0, 0};
        for (int j = 0; j < n; ++j) {
            float dx = p[j][0] - p[i][0], dy = p[j][1] - p[i][1], dz = p[j][2] - p[i][2];
            float r = 1 / sqrtf(dx * dx + dy * dy + dz * dz + 0.01f), k = p[j][3] * r * r * r;
            s[0] += k * dx, s[1] += k * dy, s[2] += k * dz;
        }
        memcpy(f[i], s, sizeof s);
    }
}
LOOP void mandelbrot(int *out, int w, int h, int limit) {
    for (int y = 0; y < h; ++y)
        for (int x = 0; x < w; ++x) {
            double cr = 3.0 * x / w - 2, ci = 2.0 * y / h - 1, zr = 0, zi = 0;
            int n = 0;
            while (n < limit && zr * zr + zi * zi < 4) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci, zr = t, ++n;
            }
            out[y * w + x] = n;
        }
}
LOOP void doubles(const double *x, double *y, int n) {
    for (int i = 0; i < n; ++i) y[i] = sqrt(x[i]) + exp(-x[i]) * sin(x[i]) / (1 + x[i]) + (float)x[i] + floor(x[i]) + (double)(long)(x[i] * 1e3);
}
#define BEST(name, items, call) do { double best = 1e30; for (int r = 0; r < 7; ++r) { double t = now(); call; t = now() - t; if (t < best) best = t; } \
    printf("%s %f\n", name, best / (double)(items)); } while (0)
int main(int argc, char **argv) {
    int n = atoi(argv[1]), m = atoi(argv[2]), b = atoi(argv[3]), w = atoi(argv[4]), d = atoi(argv[5]);
    float *x = calloc(n, 4), *y = calloc(n, 4), *p = calloc(b, 16), *f = calloc(b, 12);
    float *ma = calloc(m * m, 4), *mb = calloc(m * m, 4), *mc = calloc(m * m, 4);
    unsigned char *bytes = calloc(n, 1);
    unsigned bins[256] = {0};
    int *image = calloc(w * w, 4), sum = 0;
    double *dx = calloc(d, 8), *dy = calloc(d, 8);
    for (int i = 0; i < n; ++i) x[i] = i, y[i] = 1, bytes[i] = i * 7;
    for (int i = 0; i < m * m; ++i) ma[i] = i % 7, mb[i] = i % 5;
    for (int i = 0; i < 4 * b; ++i) p[i] = i * 37 % 101 / 10.0f;
    for (int i = 0; i < d; ++i) dx[i] = i * 0.001;
    BEST("saxpy", n, saxpy(1.5f, x, y, n));
    BEST("matmul", (double)m * m * m, matmul(ma, mb, mc, m));
    BEST("reduce", n, sum += reduce((int *)x, n));
    BEST("histogram", n, histogram(bytes, bins, n));
    BEST("stencil", n, stencil(x, y, n));
    BEST("nbody", (double)b * b, nbody((const float (*)[4])p, (float (*)[3])f, b));
    BEST("mandelbrot", (double)w * w, mandelbrot(image, w, w, 200));
    BEST("doubles", d, doubles(dx, dy, d));
    return mc[1] + y[1] + sum + bins[3] + f[1] + image[5] + dy[1] == 12345;
}
"#;

/// Nanoseconds per item of each loop, as a program printed them: of its only thread, or those that
/// passed and those of all its threads.
type Times = HashMap<String, Vec<f64>>;

fn run(program: &mut Command) -> Result<Times, Box<dyn std::error::Error>> {
    let sizes = [N, M, BODIES, WIDTH, DOUBLES];
    let output = program
        .args(sizes.map(|size| size.to_string()))
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{program:?} failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let times: Result<_, _> = words.map(str::parse).collect();
        Some((name, times.ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// The loops in C.
fn in_c() -> Result<Times, Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (source, program) = (folder.path().join("loops.c"), folder.path().join("loops"));
    std::fs::write(&source, C)?;
    let status = Command::new("gcc")
        .args(["-O3", "-o"])
        .arg(&program)
        .arg(&source)
        .arg("-lm")
        .status()?;
    if !status.success() {
        return Err("gcc failed".into());
    }
    run(&mut Command::new(program))
}

/// Time that a thread ran: other work on the machine does not count.
const THREAD: libc::clockid_t = libc::CLOCK_THREAD_CPUTIME_ID;
/// The same for all threads of the process.
const PROCESS: libc::clockid_t = libc::CLOCK_PROCESS_CPUTIME_ID;
const WALL: libc::clockid_t = libc::CLOCK_MONOTONIC;

fn now(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a timespec that the call writes.
    unsafe { libc::clock_gettime(clock, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The shortest time by each of the clocks.
fn best<const N: usize>(
    rounds: usize,
    clocks: [libc::clockid_t; N],
    mut run: impl FnMut(),
) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..rounds {
        let start = clocks.map(now);
        run();
        for ((best, clock), start) in best.iter_mut().zip(clocks).zip(start) {
            *best = (*best).min(now(clock) - start);
        }
    }
    best
}

fn launch(
    engine: &Engine,
    space: &AddressSpace,
    kernel: &Arc<Kernel>,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    params: &[u8],
) {
    let launch = Launch {
        grid,
        block,
        dynamic_shared,
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
    let [time] = best(2000, [THREAD], || {
        launch(&engine, &space, &empty, [1; 3], [1; 3], 0, &[])
    });
    println!("empty kernel, 1 thread: {:.2} us", time.as_secs_f64() * 1e6);
    let [time] = best(2000, [THREAD], || {
        launch(&engine, &space, &empty, [1; 3], [1024, 1, 1], 0, &[])
    });
    println!(
        "empty kernel, 1024 threads: {:.2} us",
        time.as_secs_f64() * 1e6
    );

    // What the others took, by which clocks, and who they are.
    let mut arguments = std::env::args_os().skip(1);
    let (others, clocks, engine, whose) = match arguments.next() {
        None => (in_c()?, vec![THREAD], engine, "gcc -O3"),
        Some(program) => {
            let others = run(Command::new(program).args(arguments))?;
            let cores = std::thread::available_parallelism()?.get();
            (others, vec![WALL, PROCESS], Engine::new(cores), "the other")
        }
    };
    let params = |parts: &[&[u8]]| parts.concat();
    let [px, py, pa, pb, pc] = [x, y, a, b, c].map(u64::to_le_bytes);
    let [n, m, bodies, width, doubles, limit, padding] =
        [N, M, BODIES, WIDTH, DOUBLES, 200, 0].map(u32::to_le_bytes);
    let line = |threads: u32, of: u32| [of / threads, 1, 1];
    let kernels = [
        (
            "saxpy",
            0,
            line(256, N),
            [256, 1, 1],
            f64::from(N),
            params(&[&1.5f32.to_le_bytes(), &padding, &px, &py, &n]),
        ),
        (
            "matmul",
            0,
            [M / 32, M / 32, 1],
            [32, 32, 1],
            f64::from(M).powi(3),
            params(&[&pa, &pb, &pc, &m]),
        ),
        (
            "reduce",
            0,
            [256, 1, 1],
            [256, 1, 1],
            f64::from(N),
            params(&[&px, &py, &n]),
        ),
        (
            "histogram",
            0,
            [256, 1, 1],
            [256, 1, 1],
            f64::from(N),
            params(&[&px, &py, &n]),
        ),
        (
            "stencil",
            258 * 4,
            line(256, N),
            [256, 1, 1],
            f64::from(N),
            params(&[&px, &py, &n]),
        ),
        (
            "nbody",
            0,
            line(256, BODIES),
            [256, 1, 1],
            f64::from(BODIES).powi(2),
            params(&[&px, &py, &bodies]),
        ),
        (
            "mandelbrot",
            0,
            [WIDTH / 16, WIDTH / 16, 1],
            [16, 16, 1],
            f64::from(WIDTH).powi(2),
            params(&[&py, &width, &width, &limit]),
        ),
        (
            "doubles",
            0,
            line(256, DOUBLES),
            [256, 1, 1],
            f64::from(DOUBLES),
            params(&[&px, &py, &doubles]),
        ),
    ];
    let mut products = [1.0; 2];
    for (name, shared, grid, block, items, params) in &kernels {
        let kernel = program.kernel(name)?;
        // Values of each kernel's own kind.
        let mut values: Vec<u8> = Vec::new();
        match *name {
            "doubles" => {
                (0..DOUBLES).for_each(|i| values.extend((f64::from(i) * 0.001).to_le_bytes()))
            }
            "histogram" => values.extend((0..N).map(|i| (i.wrapping_mul(7)) as u8)),
            "nbody" => (0..4 * BODIES)
                .for_each(|i| values.extend(((i * 37 % 101) as f32 / 10.0).to_le_bytes())),
            _ => (0..N).for_each(|i| values.extend((i as f32).to_le_bytes())),
        }
        space.write(x, &values)?;
        let times = best(7, [THREAD, WALL, PROCESS], || {
            launch(&engine, &space, &kernel, *grid, *block, *shared, params)
        });
        let theirs = others.get(*name).ok_or("a loop of the other is missing")?;
        print!("{name:<11}");
        for ((clock, product), theirs) in clocks.iter().zip(&mut products).zip(theirs) {
            let (time, what) = match *clock {
                THREAD => (times[0], ""),
                WALL => (times[1], " passing"),
                _ => (times[2], " of all threads"),
            };
            let ns = time.as_secs_f64() * 1e9 / items;
            *product *= ns / theirs;
            let ratio = ns / theirs;
            print!(" {ns:8.3} ns/item{what}, {whose} {theirs:7.3}, ratio {ratio:5.2};");
        }
        println!();
    }
    print!("geometric mean of the ratios:");
    for (_, product) in clocks.iter().zip(products) {
        print!(" {:.2}", product.powf(1.0 / kernels.len() as f64));
    }
    println!();
    Ok(())
}
