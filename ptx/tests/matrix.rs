// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix products: `mma`, `ldmatrix` and `movmatrix`, with the fragments as the PTX ISA describes
//! them ("Matrix Fragments for mma...").

mod common;
use common::matrix::{bits, encode, fit, random, run};
use vcuda_ptx::Lanes;

/// Row and column of element `i` of a lane (PTX ISA; `g` is the group, `t` the thread in it).
type Place = fn(usize, usize, usize) -> (usize, usize);

struct Case {
    shape: [usize; 3],
    layouts: &'static str,
    /// D, A, B, C.
    types: [&'static str; 4],
    suffix: &'static str,
    a: Place,
    b: Place,
    c: Place,
    /// Elements of a lane.
    counts: [usize; 3],
}

const C16: Place = |g, t, i| (g + 8 * (i / 2), t * 2 + i % 2);
const C8: Place = |g, t, i| (g, t * 2 + i);

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |shape, types: &[[&'static str; 4]], a, b, c, counts| {
        for &types in types {
            let suffix = if types[1] == "b1" { ".xor.popc" } else { "" };
            all.push(Case {
                shape,
                layouts: ".row.col",
                types,
                suffix,
                a,
                b,
                c,
                counts,
            });
        }
    };
    const F16: [[&str; 4]; 2] = [["f32", "f16", "f16", "f32"], ["f16", "f16", "f16", "f16"]];
    const BF16: [[&str; 4]; 1] = [["f32", "bf16", "bf16", "f32"]];
    const TF32: [[&str; 4]; 1] = [["f32", "tf32", "tf32", "f32"]];
    const INT8: [[&str; 4]; 4] = [
        ["s32", "u8", "u8", "s32"],
        ["s32", "s8", "s8", "s32"],
        ["s32", "u8", "s8", "s32"],
        ["s32", "s8", "u8", "s32"],
    ];
    const INT4: [[&str; 4]; 2] = [["s32", "u4", "s4", "s32"], ["s32", "s4", "s4", "s32"]];
    const B1: [[&str; 4]; 1] = [["s32", "b1", "b1", "s32"]];
    add(
        [8, 8, 4],
        &[["f64", "f64", "f64", "f64"]],
        |g, t, _| (g, t),
        |g, t, _| (t, g),
        C8,
        [1, 1, 2],
    );
    for types in [&F16[..], &BF16] {
        add(
            [16, 8, 8],
            types,
            |g, t, i| (if i < 2 { g } else { g + 8 }, t * 2 + i % 2),
            |g, t, i| (t * 2 + i, g),
            C16,
            [4, 2, 4],
        );
        add(
            [16, 8, 16],
            types,
            |g, t, i| {
                (
                    if i < 2 || (4..6).contains(&i) {
                        g
                    } else {
                        g + 8
                    },
                    t * 2 + i % 2 + if i >= 4 { 8 } else { 0 },
                )
            },
            |g, t, i| (t * 2 + i % 2 + if i >= 2 { 8 } else { 0 }, g),
            C16,
            [8, 4, 4],
        );
    }
    add(
        [16, 8, 4],
        &TF32,
        |g, t, i| (g + 8 * i, t),
        |g, t, _| (t, g),
        C16,
        [2, 1, 4],
    );
    add(
        [16, 8, 8],
        &TF32,
        |g, t, i| (g + 8 * (i % 2), t + 4 * (i / 2)),
        |g, t, i| (t + 4 * i, g),
        C16,
        [4, 2, 4],
    );
    add(
        [8, 8, 16],
        &INT8,
        |g, t, i| (g, t * 4 + i),
        |g, t, i| (t * 4 + i, g),
        C8,
        [4, 4, 2],
    );
    add(
        [16, 8, 16],
        &INT8,
        |g, t, i| (if i < 4 { g } else { g + 8 }, t * 4 + i % 4),
        |g, t, i| (t * 4 + i, g),
        C16,
        [8, 4, 4],
    );
    add(
        [16, 8, 32],
        &INT8,
        |g, t, i| {
            (
                if i < 4 || (8..12).contains(&i) {
                    g
                } else {
                    g + 8
                },
                t * 4 + i % 4 + if i >= 8 { 16 } else { 0 },
            )
        },
        |g, t, i| (t * 4 + i % 4 + if i >= 4 { 16 } else { 0 }, g),
        C16,
        [16, 8, 4],
    );
    add(
        [8, 8, 32],
        &INT4,
        |g, t, i| (g, t * 8 + i),
        |g, t, i| (t * 8 + i, g),
        C8,
        [8, 8, 2],
    );
    add(
        [16, 8, 32],
        &INT4,
        |g, t, i| (if i < 8 { g } else { g + 8 }, t * 8 + i % 8),
        |g, t, i| (t * 8 + i, g),
        C16,
        [16, 8, 4],
    );
    add(
        [16, 8, 64],
        &INT4,
        |g, t, i| {
            (
                if i < 8 || (16..24).contains(&i) {
                    g
                } else {
                    g + 8
                },
                t * 8 + i % 8 + if i >= 16 { 32 } else { 0 },
            )
        },
        |g, t, i| (t * 8 + i % 8 + if i >= 8 { 32 } else { 0 }, g),
        C16,
        [32, 16, 4],
    );
    add(
        [8, 8, 128],
        &B1,
        |g, t, i| (g, t * 32 + i),
        |g, t, i| (t * 32 + i, g),
        C8,
        [32, 32, 2],
    );
    add(
        [16, 8, 128],
        &B1,
        |g, t, i| (if i < 32 { g } else { g + 8 }, t * 32 + i % 32),
        |g, t, i| (t * 32 + i, g),
        C16,
        [64, 32, 4],
    );
    add(
        [16, 8, 256],
        &B1,
        |g, t, i| {
            (
                if i < 32 || (64..96).contains(&i) {
                    g
                } else {
                    g + 8
                },
                t * 32 + i % 32 + if i >= 64 { 128 } else { 0 },
            )
        },
        |g, t, i| (t * 32 + i % 32 + if i >= 32 { 128 } else { 0 }, g),
        C16,
        [128, 64, 4],
    );
    all
}

/// The registers of all lanes, one after the other, as 32-bit or 64-bit values.
fn fragment(ty: &str, count: usize, value: impl Fn(usize, usize) -> i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for lane in 0..32 {
        let size = bits(ty).max(if ty == "f64" { 64 } else { 32 });
        let per = size / bits(ty);
        for register in 0..count.div_ceil(per) {
            let word = (0..per).fold(0u64, |word, i| {
                word | encode(ty, value(lane, register * per + i)) << (i * bits(ty))
            });
            bytes.extend_from_slice(&word.to_le_bytes()[..size / 8]);
        }
    }
    bytes
}

/// A kernel that loads three fragments, multiplies and stores the result.
fn kernel(opcode: &str, types: [&str; 4], registers: [usize; 4]) -> String {
    let mut text = String::from(
        ".version 8.7\n.target sm_86\n.address_size 64\n\
         .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n{\n\
         .reg .b32 %r<4>; .reg .b64 %rd<9>;\nmov.u32 %r1, %tid.x;\n",
    );
    let mut operands = Vec::new();
    for (i, name) in ["d", "a", "b", "c"].into_iter().enumerate() {
        let (wide, n) = (types[i] == "f64", registers[i]);
        let (size, ty) = if wide { (8, "f64") } else { (4, "b32") };
        text += &format!(
            ".reg .{ty} %{name}<{n}>;\nld.param.u64 %rd1, [{name}];\nmul.wide.u32 %rd2, %r1, {};\nadd.u64 %rd{}, %rd1, %rd2;\n",
            n * size,
            i + 3
        );
        let list: Vec<String> = (0..n).map(|r| format!("%{name}{r}")).collect();
        if name != "d" {
            for r in 0..n {
                text += &format!("ld.global.{ty} %{name}{r}, [%rd{}+{}];\n", i + 3, r * size);
            }
        }
        operands.push(format!("{{{}}}", list.join(", ")));
    }
    text += &format!("{opcode} {};\n", operands.join(", "));
    let (size, ty) = if types[0] == "f64" {
        (8, "f64")
    } else {
        (4, "b32")
    };
    for r in 0..registers[0] {
        text += &format!("st.global.{ty} [%rd3+{}], %d{r};\n", r * size);
    }
    text + "ret;\n}\n"
}

fn registers(ty: &str, elements: usize) -> usize {
    if ty == "f64" {
        elements
    } else {
        (elements * bits(ty)).div_ceil(32)
    }
}

#[test]
fn mma_multiplies_fragments_as_the_isa_lays_them_out() {
    for case in cases() {
        let [m, n, k] = case.shape;
        let [dt, at, bt, ct] = case.types;
        let opcode = format!(
            "mma.sync.aligned.m{m}n{n}k{k}{}.{dt}.{at}.{bt}.{ct}{}",
            case.layouts, case.suffix
        );
        let mut next = random(m as u64 * 1000 + k as u64);
        let a: Vec<i32> = (0..m * k).map(|_| fit(at, next())).collect();
        let b: Vec<i32> = (0..k * n).map(|_| fit(bt, next())).collect();
        let c: Vec<i32> = (0..m * n).map(|_| next()).collect();
        let d = |i: usize, j: usize| {
            let terms = (0..k).map(|l| match at {
                "b1" => a[i * k + l] ^ b[l * n + j],
                _ => a[i * k + l] * b[l * n + j],
            });
            c[i * n + j] + terms.sum::<i32>()
        };
        let place = |place: Place, lane: usize, i: usize| place(lane / 4, lane % 4, i);
        let [na, nb, nc] = case.counts;
        let fa = fragment(at, na, |lane, i| {
            let (r, c) = place(case.a, lane, i);
            a[r * k + c]
        });
        let fb = fragment(bt, nb, |lane, i| {
            let (r, c) = place(case.b, lane, i);
            b[r * n + c]
        });
        let fc = fragment(ct, nc, |lane, i| {
            let (r, j) = place(case.c, lane, i);
            c[r * n + j]
        });
        let fd = fragment(dt, nc, |lane, i| {
            let (r, j) = place(case.c, lane, i);
            d(r, j)
        });
        let counts = [
            registers(dt, nc),
            registers(at, na),
            registers(bt, nb),
            registers(ct, nc),
        ];
        let source = kernel(&opcode, case.types, counts);
        for lanes in Lanes::available() {
            assert_eq!(
                run(&source, lanes, [&fa, &fb, &fc], fd.len()),
                fd,
                "{opcode} {lanes:?}"
            );
        }
    }
}

#[test]
fn mma_m8n8k4_makes_four_products() {
    for (layouts, col_a, col_b) in [
        (".row.col", false, true),
        (".col.row", true, false),
        (".row.row", false, false),
        (".col.col", true, true),
    ] {
        for (dt, ct) in [("f32", "f32"), ("f16", "f16"), ("f32", "f16")] {
            let opcode = format!("mma.sync.aligned.m8n8k4{layouts}.{dt}.f16.f16.{ct}");
            let mut next = random(77);
            let a: Vec<i32> = (0..4 * 32).map(|_| next()).collect();
            let b: Vec<i32> = (0..4 * 32).map(|_| next()).collect();
            let c: Vec<i32> = (0..4 * 64).map(|_| next()).collect();
            let quad = |lane: usize| lane % 16 / 4;
            let d = |q: usize, i: usize, j: usize| {
                c[q * 64 + i * 8 + j]
                    + (0..4)
                        .map(|l| a[q * 32 + i * 4 + l] * b[q * 32 + l * 8 + j])
                        .sum::<i32>()
            };
            // Rows of A and columns of B: the lane's if stored by them, else the element's.
            let fa = fragment("f16", 4, |lane, i| {
                let high = if lane < 16 { 0 } else { 4 };
                let (row, col) = if col_a {
                    (i % 4 + high, lane % 4)
                } else {
                    (lane % 4 + high, i)
                };
                a[quad(lane) * 32 + row * 4 + col]
            });
            let fb = fragment("f16", 4, |lane, i| {
                let high = if lane < 16 { 0 } else { 4 };
                let (row, col) = if col_b {
                    (i, lane % 4 + high)
                } else {
                    (lane % 4, i + high)
                };
                b[quad(lane) * 32 + row * 8 + col]
            });
            let sum = |ty: &str, value: &dyn Fn(usize, usize, usize) -> i32| {
                let half = ty == "f16";
                fragment(ty, 8, |lane, i| {
                    let high = if lane < 16 { 0 } else { 4 };
                    let (row, col) = if half {
                        (lane % 4 + high, i)
                    } else {
                        ((lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1))
                    };
                    value(quad(lane), row, col)
                })
            };
            let fc = sum(ct, &|q, i, j| c[q * 64 + i * 8 + j]);
            let fd = sum(dt, &d);
            let counts = [registers(dt, 8), 2, 2, registers(ct, 8)];
            let source = kernel(&opcode, [dt, "f16", "f16", ct], counts);
            for lanes in Lanes::available() {
                assert_eq!(
                    run(&source, lanes, [&fa, &fb, &fc], fd.len()),
                    fd,
                    "{opcode}"
                );
            }
        }
    }
}

#[test]
fn integer_sums_saturate_or_wrap() {
    for (suffix, expected) in [("", i32::MIN + 15), (".satfinite", i32::MAX)] {
        let opcode = format!("mma.sync.aligned.m8n8k16.row.col{suffix}.s32.s8.s8.s32");
        let source = kernel(&opcode, ["s32", "s8", "s8", "s32"], [2, 1, 1, 2]);
        let ones = [1u8; 128];
        let c: Vec<u8> = i32::MAX.to_le_bytes().repeat(64);
        let found = run(&source, Lanes::detect(), [&ones, &ones, &c], 256);
        assert_eq!(found, expected.to_le_bytes().repeat(64), "{opcode}");
    }
}

#[test]
fn ldmatrix_and_movmatrix_distribute_and_transpose() {
    let source = ".version 8.7\n.target sm_86\n.address_size 64\n\
        .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n{\n\
        .reg .b32 %r<20>; .reg .b64 %rd<9>; .shared .align 16 .b8 sm[512];\n\
        ld.param.u64 %rd1, [a]; ld.param.u64 %rd4, [d]; mov.u32 %r1, %tid.x;\n\
        mad.wide.u32 %rd1, %r1, 16, %rd1; mad.wide.u32 %rd4, %r1, 36, %rd4;\n\
        ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1]; mov.u32 %r6, sm; mad.lo.u32 %r6, %r1, 16, %r6;\n\
        st.shared.v4.u32 [%r6], {%r2, %r3, %r4, %r5}; bar.sync 0;\n\
        ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r7, %r8, %r9, %r10}, [%r6];\n\
        ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r11, %r12, %r13, %r14}, [%r6];\n\
        movmatrix.sync.aligned.m8n8.trans.b16 %r15, %r7;\n\
        st.global.u32 [%rd4], %r7; st.global.u32 [%rd4+4], %r8; st.global.u32 [%rd4+8], %r9; st.global.u32 [%rd4+12], %r10;\n\
        st.global.u32 [%rd4+16], %r11; st.global.u32 [%rd4+20], %r12; st.global.u32 [%rd4+24], %r13; st.global.u32 [%rd4+28], %r14;\n\
        st.global.u32 [%rd4+32], %r15; ret; }\n";
    // Element (row, column) of matrix q is 64 q + 8 row + column.
    let input: Vec<u8> = (0..256u16).flat_map(|value| value.to_le_bytes()).collect();
    let found = run(source, Lanes::detect(), [&input, &[0], &[0]], 32 * 36);
    let words: Vec<u32> = found
        .chunks(4)
        .map(|b| u32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let pair = |low: usize, high: usize| (high << 16 | low) as u32;
    for lane in 0..32 {
        let (g, t) = (lane / 4, lane % 4);
        for q in 0..4 {
            let (straight, first, second) = (
                64 * q + 8 * g + 2 * t,
                64 * q + 8 * (2 * t) + g,
                64 * q + 8 * (2 * t + 1) + g,
            );
            assert_eq!(words[lane * 9 + q], pair(straight, straight + 1));
            assert_eq!(words[lane * 9 + 4 + q], pair(first, second));
        }
        assert_eq!(words[lane * 9 + 8], words[lane * 9 + 4]);
    }
}
