// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix products whose fragments come from memory and go there: `wmma`.

mod common;
use common::matrix::{bits, encode, fit, random, run};
use vcuda_ptx::Lanes;

/// A matrix in memory: rows or columns `stride` elements apart.
fn memory(
    ty: &str,
    rows: usize,
    cols: usize,
    by_column: bool,
    stride: usize,
    value: &dyn Fn(usize, usize) -> i32,
) -> Vec<u8> {
    let lines = if by_column { cols } else { rows };
    let mut bytes = vec![0u8; (lines * stride * bits(ty)).div_ceil(8)];
    for i in 0..rows {
        for j in 0..cols {
            let at = (if by_column {
                j * stride + i
            } else {
                i * stride + j
            }) * bits(ty);
            let code = encode(ty, value(i, j)) << (at % 8);
            for (byte, new) in bytes[at / 8..]
                .iter_mut()
                .zip(code.to_le_bytes())
                .take(bits(ty).div_ceil(8))
            {
                *byte |= new;
            }
        }
    }
    bytes
}

#[test]
fn wmma_loads_multiplies_and_stores_every_shape_and_layout() {
    let big: &[[usize; 3]] = &[[16, 16, 16], [8, 32, 16], [32, 8, 16]];
    let table: &[(&[[usize; 3]], &str, &str, bool)] = &[
        (big, "f16", "f32", true),
        (big, "f16", "f16", true),
        (big, "bf16", "f32", true),
        (big, "u8", "s32", true),
        (big, "s8", "s32", true),
        (&[[16, 16, 8]], "tf32", "f32", true),
        (&[[8, 8, 4]], "f64", "f64", true),
        (&[[8, 8, 32]], "u4", "s32", false),
        (&[[8, 8, 32]], "s4", "s32", false),
        (&[[8, 8, 128]], "b1", "s32", false),
    ];
    for &(shapes, ty, sum, any_layout) in table {
        for &[m, n, k] in shapes {
            let layouts: &[(bool, bool)] = if any_layout {
                &[(false, false), (false, true), (true, false), (true, true)]
            } else {
                &[(false, true)]
            };
            for &(col_a, col_b) in layouts {
                // With strides of their own, C by columns; or packed, C by rows.
                for strided in [true, false] {
                    let mut next = random((m * k) as u64 + 1);
                    let a: Vec<i32> = (0..m * k).map(|_| fit(ty, next())).collect();
                    let b: Vec<i32> = (0..k * n).map(|_| fit(ty, next())).collect();
                    let c: Vec<i32> = (0..m * n).map(|_| next()).collect();
                    let d = |i: usize, j: usize| {
                        let term = |l: usize| {
                            if ty == "b1" {
                                a[i * k + l] ^ b[l * n + j]
                            } else {
                                a[i * k + l] * b[l * n + j]
                            }
                        };
                        c[i * n + j] + (0..k).map(term).sum::<i32>()
                    };
                    let pad = if !strided {
                        0
                    } else if ty == "b1" {
                        32
                    } else if any_layout {
                        16
                    } else {
                        8
                    };
                    let sa = if col_a { m } else { k } + pad;
                    let sb = if col_b { k } else { n } + pad;
                    let sc = if strided { m + 8 } else { n };
                    let ma = memory(ty, m, k, col_a, sa, &|i, j| a[i * k + j]);
                    let mb = memory(ty, k, n, col_b, sb, &|i, j| b[i * n + j]);
                    let mc = memory(sum, m, n, strided, sc, &|i, j| c[i * n + j]);
                    let md = memory(sum, m, n, strided, sc, &d);
                    let name = |col: bool| if col { "col" } else { "row" };
                    let (la, lb, lc) = (name(col_a), name(col_b), name(strided));
                    let shape = format!("m{m}n{n}k{k}");
                    let r = |ty: &str, size: usize| {
                        if ty == "f64" {
                            size / 32
                        } else {
                            size * bits(ty) / 1024
                        }
                    };
                    let (na, nb) = if ty == "f16" {
                        (8, 8)
                    } else {
                        (r(ty, m * k), r(ty, k * n))
                    };
                    let nc = r(sum, m * n);
                    let list = |name: &str, n: usize| {
                        let all: Vec<String> = (0..n).map(|i| format!("%{name}{i}")).collect();
                        format!("{{{}}}", all.join(", "))
                    };
                    let (va, vb, vc, vd) =
                        (list("a", na), list("b", nb), list("c", nc), list("d", nc));
                    let stride = |s: usize| {
                        if strided {
                            format!(", {s}")
                        } else {
                            String::new()
                        }
                    };
                    let (ta, tc) = if ty == "f64" {
                        ("f64", "f64")
                    } else {
                        ("b32", "b32")
                    };
                    let (before, types) = match ty {
                        "f16" => ("", format!("{sum}.{sum}")),
                        "b1" => (".xor.popc", format!("{sum}.b1.b1.{sum}")),
                        _ => ("", format!("{sum}.{ty}.{ty}.{sum}")),
                    };
                    let source = format!(
                        ".version 8.7\n.target sm_86\n.address_size 64\n\
                         .visible .entry k(.param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d)\n{{\n\
                         .reg .b64 %rd<9>; .reg .{ta} %a<{na}>; .reg .{ta} %b<{nb}>; .reg .{tc} %c<{nc}>; .reg .{tc} %d<{nc}>;\n\
                         ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c]; ld.param.u64 %rd4, [d];\n\
                         wmma.load.a.sync.aligned.{la}.{shape}.global.{ty} {va}, [%rd1]{};\n\
                         wmma.load.b.sync.aligned.{lb}.{shape}.{ty} {vb}, [%rd2]{};\n\
                         wmma.load.c.sync.aligned.{lc}.{shape}.global.{sum} {vc}, [%rd3]{};\n\
                         wmma.mma{before}.sync.aligned.{la}.{lb}.{shape}.{types}{} {vd}, {va}, {vb}, {vc};\n\
                         wmma.store.d.sync.aligned.{lc}.{shape}.global.{sum} [%rd4], {vd}{};\nret;\n}}\n",
                        stride(sa),
                        stride(sb),
                        stride(sc),
                        if ty == "f64" { ".rn" } else { "" },
                        stride(sc)
                    );
                    for lanes in Lanes::available() {
                        let found = run(&source, lanes, [&ma, &mb, &mc], md.len());
                        // The space between the lines is left alone.
                        let written: Vec<u8> = found
                            .iter()
                            .zip(&memory(sum, m, n, strided, sc, &|_, _| -1))
                            .map(|(&byte, &ours)| if ours == 0 && byte == 0xee { 0 } else { byte })
                            .collect();
                        assert!(
                            written == md,
                            "{shape} {ty} {sum} {la} {lb} strided {strided}: {found:x?}\n{md:x?}"
                        );
                    }
                }
            }
        }
    }
}
