// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix instructions: `mma`, `wmma`, `ldmatrix`, `movmatrix`, and `cp.async`.

use super::In::{self, *};
use super::{Check, Form, Out};

fn names(from: usize, count: usize) -> String {
    let names: Vec<String> = (from..from + count)
        .map(|o| format!("${}", (b'a' + o as u8) as char))
        .collect();
    format!("{{{}}}", names.join(", "))
}

fn results(count: usize) -> String {
    let names: Vec<String> = (0..count).map(|o| format!("${o}")).collect();
    format!("{{{}}}", names.join(", "))
}

/// `mma` with so many registers of each matrix.
fn mma(op: &str, out: Out, regs: [usize; 3], [a, b, c]: [In; 3]) -> Form {
    let [na, nb, nc] = regs;
    let ins: Vec<In> = [vec![a; na], vec![b; nb], vec![c; nc]].concat();
    Form::new(
        format!(
            "{op} {}, {}, {}, {};",
            results(nc),
            names(0, na),
            names(na, nb),
            names(na + nb, nc)
        ),
        &vec![out; nc],
        &ins,
    )
}

pub fn forms(forms: &mut Vec<Form>) {
    floats(forms);
    eighths(forms);
    integers(forms);
    sparse(forms);
    fragments(forms);
    moves(forms);
}

fn floats(forms: &mut Vec<Form>) {
    let near = Check::Near32 {
        relative: 2f64.powi(-18),
        absolute: 2f64.powi(-18),
    };
    let halves = Check::NearHalves {
        relative: 2f64.powi(-8),
        absolute: 2f64.powi(-8),
    };
    for (shape, regs, exact, mild) in [
        ("m16n8k8", [2, 1], F16x2Int, F16x2Mild),
        ("m16n8k16", [4, 2], F16x2Int, F16x2Mild),
    ] {
        let op = format!("mma.sync.aligned.{shape}.row.col");
        let [a, b] = regs;
        forms.push(mma(
            &format!("{op}.f32.f16.f16.f32"),
            Out::W,
            [a, b, 4],
            [exact, exact, F32Int],
        ));
        forms.push(mma(
            &format!("{op}.f16.f16.f16.f16"),
            Out::W,
            [a, b, 2],
            [exact, exact, F16x2Int],
        ));
        forms.push(
            mma(
                &format!("{op}.f32.f16.f16.f32"),
                Out::W,
                [a, b, 4],
                [mild, mild, F32Mild],
            )
            .near(near),
        );
        forms.push(
            mma(
                &format!("{op}.f16.f16.f16.f16"),
                Out::W,
                [a, b, 2],
                [mild, mild, F16x2Mild],
            )
            .near(halves),
        );
        forms.push(mma(
            &format!("{op}.f32.bf16.bf16.f32"),
            Out::W,
            [a, b, 4],
            [BF16x2Int, BF16x2Int, F32Int],
        ));
        forms.push(
            mma(
                &format!("{op}.f32.bf16.bf16.f32"),
                Out::W,
                [a, b, 4],
                [BF16x2Mild, BF16x2Mild, F32Mild],
            )
            .near(near),
        );
    }
    for (shape, a, b) in [("m16n8k4", 2, 1), ("m16n8k8", 4, 2)] {
        let op = format!("mma.sync.aligned.{shape}.row.col.f32.tf32.tf32.f32");
        forms.push(mma(&op, Out::W, [a, b, 4], [Tf32Int, Tf32Int, F32Int]));
        forms.push(mma(&op, Out::W, [a, b, 4], [Tf32Mild, Tf32Mild, F32Mild]).near(near));
    }
    let near64 = Check::Near64 { relative: 1e-12 };
    let op = "mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64";
    forms.push(mma(op, Out::D, [1, 1, 2], [F64Int, F64Int, F64Int]));
    forms.push(mma(op, Out::D, [1, 1, 2], [F64Mild, F64Mild, F64Int]).near(near64));
    for (a, b) in [
        ("row", "col"),
        ("row", "row"),
        ("col", "col"),
        ("col", "row"),
    ] {
        let op = format!("mma.sync.aligned.m8n8k4.{a}.{b}");
        forms.push(mma(
            &format!("{op}.f32.f16.f16.f32"),
            Out::W,
            [2, 2, 8],
            [F16x2Int, F16x2Int, F32Int],
        ));
        forms.push(mma(
            &format!("{op}.f16.f16.f16.f16"),
            Out::W,
            [2, 2, 4],
            [F16x2Int, F16x2Int, F16x2Int],
        ));
    }
    // What becomes of special values.
    forms.push(
        mma(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
            Out::W,
            [2, 1, 4],
            [F16x2, F16x2, F32],
        )
        .near(Check::Near32 {
            relative: f64::INFINITY,
            absolute: f64::INFINITY,
        }),
    );
}

/// Floating-point numbers of eight bits (sm_89).
fn eighths(forms: &mut Vec<Form>) {
    for (a, x) in [("e4m3", E4m3x4Int), ("e5m2", E5m2x4Int)] {
        for (b, y) in [("e4m3", E4m3x4Int), ("e5m2", E5m2x4Int)] {
            for (shape, regs) in [("m16n8k16", [2, 1]), ("m16n8k32", [4, 2])] {
                let op = format!("mma.sync.aligned.{shape}.row.col");
                forms.push(mma(
                    &format!("{op}.f32.{a}.{b}.f32"),
                    Out::W,
                    [regs[0], regs[1], 4],
                    [x, y, F32Int],
                ));
                forms.push(mma(
                    &format!("{op}.f16.{a}.{b}.f16"),
                    Out::W,
                    [regs[0], regs[1], 2],
                    [x, y, F16x2Int],
                ));
            }
        }
    }
}

/// `mma.sp`: a matrix of which every second element is stored, and which they are.
fn sparse(forms: &mut Vec<Form>) {
    let mut add = |types: &str, regs: [usize; 4], ins: [In; 4], selectors: u32| {
        let [na, nb, nc, _] = regs;
        let [a, b, c, e] = ins;
        let meta = (b'a' + (na + nb + nc) as u8) as char;
        for selector in 0..selectors {
            let op = match e {
                Unordered => "mma.sp",
                _ => "mma.sp::ordered_metadata",
            };
            forms.push(Form::new(
                format!(
                    "{op}.sync.aligned.{types} {}, {}, {}, {}, ${meta}, {selector};",
                    results(nc),
                    names(0, na),
                    names(na, nb),
                    names(na + nb, nc),
                ),
                &vec![Out::W; nc],
                &[vec![a; na], vec![b; nb], vec![c; nc], vec![e]].concat(),
            ));
        }
    };
    let (h, bf, t) = (F16x2Int, BF16x2Int, Tf32Int);
    let kinds = [
        ("f32.f16.f16.f32", [h, h, F32Int], 4),
        ("f16.f16.f16.f16", [h, h, F16x2Int], 2),
        ("f32.bf16.bf16.f32", [bf, bf, F32Int], 4),
    ];
    for (types, [a, b, c], sums) in kinds {
        for e in [Ordered, Unordered] {
            add(
                &format!("m16n8k16.row.col.{types}"),
                [2, 2, sums, 1],
                [a, b, c, e],
                4,
            );
            add(
                &format!("m16n8k32.row.col.{types}"),
                [4, 4, sums, 1],
                [a, b, c, e],
                2,
            );
        }
    }
    let tf32 = "row.col.f32.tf32.tf32.f32";
    add(
        &format!("m16n8k8.{tf32}"),
        [2, 2, 4, 1],
        [t, t, F32Int, OneOfTwo],
        4,
    );
    add(
        &format!("m16n8k16.{tf32}"),
        [4, 4, 4, 1],
        [t, t, F32Int, OneOfTwo],
        2,
    );
    for (a, b) in [("s8", "s8"), ("u8", "u8"), ("s8", "u8"), ("u8", "s8")] {
        for sat in ["", ".satfinite"] {
            let types = format!("row.col{sat}.s32.{a}.{b}.s32");
            let e = if a == "u8" { Unordered } else { Ordered };
            add(
                &format!("m16n8k32.{types}"),
                [2, 2, 4, 1],
                [U32, U32, U32, e],
                2,
            );
            add(
                &format!("m16n8k64.{types}"),
                [4, 4, 4, 1],
                [U32, U32, U32, e],
                1,
            );
        }
    }
    for (a, b) in [("s4", "s4"), ("u4", "u4"), ("s4", "u4"), ("u4", "s4")] {
        for sat in ["", ".satfinite"] {
            let types = format!("row.col{sat}.s32.{a}.{b}.s32");
            let ins = [U32, U32, U32, Ordered];
            add(&format!("m16n8k64.{types}"), [2, 2, 4, 1], ins, 2);
            add(&format!("m16n8k128.{types}"), [4, 4, 4, 1], ins, 1);
        }
    }
    for (a, x) in [("e4m3", E4m3x4Int), ("e5m2", E5m2x4Int)] {
        for (b, y) in [("e4m3", E4m3x4Int), ("e5m2", E5m2x4Int)] {
            add(
                &format!("m16n8k64.row.col.f32.{a}.{b}.f32"),
                [4, 4, 4, 1],
                [x, y, F32Int, Ordered],
                1,
            );
        }
    }
    let op = "mma.sp::ordered_metadata.sync.aligned.m16n8k32.row.col.f32.f16.f16.f32";
    let [a, b, c, d] = [names(0, 4), names(4, 4), names(8, 4), results(4)];
    forms.push(
        Form::new(
            format!("{op} {d}, {a}, {b}, {c}, $m, 0;"),
            &[Out::W; 4],
            &[
                [F16x2Mild; 8].as_slice(),
                [F32Mild; 4].as_slice(),
                &[Ordered],
            ]
            .concat(),
        )
        .near(Check::Near32 {
            relative: 2f64.powi(-18),
            absolute: 2f64.powi(-18),
        }),
    );
}

fn integers(forms: &mut Vec<Form>) {
    for (a, b) in [("s8", "s8"), ("u8", "u8"), ("s8", "u8"), ("u8", "s8")] {
        for sat in ["", ".satfinite"] {
            for (shape, x, y, z) in [
                ("m8n8k16", 1, 1, 2),
                ("m16n8k16", 2, 1, 4),
                ("m16n8k32", 4, 2, 4),
            ] {
                forms.push(mma(
                    &format!("mma.sync.aligned.{shape}.row.col{sat}.s32.{a}.{b}.s32"),
                    Out::W,
                    [x, y, z],
                    [U32, U32, U32],
                ));
            }
        }
    }
    for (a, b) in [("s4", "s4"), ("u4", "u4"), ("s4", "u4")] {
        for (shape, x, y, z) in [
            ("m8n8k32", 1, 1, 2),
            ("m16n8k32", 2, 1, 4),
            ("m16n8k64", 4, 2, 4),
        ] {
            forms.push(mma(
                &format!("mma.sync.aligned.{shape}.row.col.satfinite.s32.{a}.{b}.s32"),
                Out::W,
                [x, y, z],
                [U32, U32, U32],
            ));
        }
    }
    for op in ["xor", "and"] {
        for (shape, x, y, z) in [
            ("m8n8k128", 1, 1, 2),
            ("m16n8k128", 2, 1, 4),
            ("m16n8k256", 4, 2, 4),
        ] {
            forms.push(mma(
                &format!("mma.sync.aligned.{shape}.row.col.s32.b1.b1.s32.{op}.popc"),
                Out::W,
                [x, y, z],
                [U32, U32, U32],
            ));
        }
    }
}

/// `wmma`: matrices from the operands through shared memory, so that the unspecified fragments
/// do not matter.
fn fragments(forms: &mut Vec<Form>) {
    for (shape, rows, columns, depth) in [
        ("m16n16k16", 16, 16, 16),
        ("m32n8k16", 32, 8, 16),
        ("m8n32k16", 8, 32, 16),
    ] {
        for (la, lb, ld) in [
            ("row", "col", "row"),
            ("col", "row", "col"),
            ("row", "row", "row"),
        ] {
            for (kind, x, acc) in [
                ("f16", F16x2Int, "f32"),
                ("f16", F16x2Int, "f16"),
                ("bf16", BF16x2Int, "f32"),
                ("s8", U32, "s32"),
                ("u8", U32, "s32"),
            ] {
                let bytes = if kind.ends_with('8') { 1 } else { 2 };
                let (fa, fb) = match (kind, shape) {
                    ("f16", _) => (8, 8),
                    (_, "m16n16k16") => (4, 4),
                    (_, "m32n8k16") => (8, 2),
                    _ => (2, 8),
                };
                let (fa, fb) = if bytes == 1 {
                    match shape {
                        "m16n16k16" => (2, 2),
                        "m32n8k16" => (4, 1),
                        _ => (1, 4),
                    }
                } else {
                    (fa, fb)
                };
                let fd = if acc == "f16" { 4 } else { 8 };
                let regs = |name: &str, n: usize| {
                    (0..n)
                        .map(|i| format!("{name}{i}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                let lda = if la == "row" { depth } else { rows };
                let ldb = if lb == "row" { columns } else { depth };
                let ldd = if ld == "row" { columns } else { rows };
                let types = if kind == "f16" {
                    format!("{acc}.{acc}")
                } else {
                    format!("{acc}.{kind}.{kind}.{acc}")
                };
                // Each warp has 4 KiB: A in the first (32 lanes x 4 operands x 4 bytes), B in the second,
                // C and D in the others.
                let text = format!(
                    "{{ .shared .align 32 .b8 m[16384]; .reg .b32 p, q, a<8>, b<8>, c<8>, d<8>;
                     shr.u32 q, %thread, 5; shl.b32 q, q, 12; mov.u32 p, m; add.u32 p, p, q; shl.b32 q, %lane, 4; add.u32 q, q, p;
                     st.shared.b32 [q], $a; st.shared.b32 [q+4], $b; st.shared.b32 [q+8], $c; st.shared.b32 [q+12], $d;
                     st.shared.b32 [q+512], $e; st.shared.b32 [q+516], $f; st.shared.b32 [q+520], $g; st.shared.b32 [q+524], $h;
                     st.shared.b32 [q+1024], $i; st.shared.b32 [q+1028], $j; st.shared.b32 [q+1032], $k; st.shared.b32 [q+1036], $l;
                     st.shared.b32 [q+1536], $l; st.shared.b32 [q+1540], $k; st.shared.b32 [q+1544], $j; st.shared.b32 [q+1548], $i;
                     bar.warp.sync -1;
                     wmma.load.a.sync.aligned.{la}.{shape}.shared.{kind} {{{a}}}, [p], {lda};
                     wmma.load.b.sync.aligned.{lb}.{shape}.shared.{kind} {{{b}}}, [p+512], {ldb};
                     wmma.load.c.sync.aligned.{ld}.{shape}.shared.{acc} {{{c}}}, [p+1024], {ldd};
                     wmma.mma.sync.aligned.{la}.{lb}.{shape}.{types} {{{d}}}, {{{a}}}, {{{b}}}, {{{c}}};
                     wmma.store.d.sync.aligned.{ld}.{shape}.shared.{acc} [p+2048], {{{d}}}, {ldd};
                     bar.warp.sync -1;
                     ld.shared.b32 $0, [q+2048]; ld.shared.b32 $1, [q+2052]; ld.shared.b32 $2, [q+2056]; ld.shared.b32 $3, [q+2060]; }}",
                    a = regs("a", fa), b = regs("b", fb), c = regs("c", fd), d = regs("d", fd),
                );
                let c = match acc {
                    "f16" => F16x2Int,
                    "f32" => F32Int,
                    _ => U32,
                };
                let ins: Vec<In> = [vec![x; 8], vec![c; 4]].concat();
                forms.push(Form::new(text, &[Out::W; 4], &ins));
            }
        }
    }
    let tf32 = "{ .shared .align 32 .b8 m[16384]; .reg .b32 p, q, a<4>, b<4>, c<8>, d<8>;
         shr.u32 q, %thread, 5; shl.b32 q, q, 12; mov.u32 p, m; add.u32 p, p, q; shl.b32 q, %lane, 4; add.u32 q, q, p;
         st.shared.b32 [q], $a; st.shared.b32 [q+4], $b; st.shared.b32 [q+8], $c; st.shared.b32 [q+12], $d;
         st.shared.b32 [q+512], $e; st.shared.b32 [q+516], $f; st.shared.b32 [q+520], $g; st.shared.b32 [q+524], $h;
         bar.warp.sync -1;
         wmma.load.a.sync.aligned.row.m16n16k8.shared.tf32 {a0, a1, a2, a3}, [p], 8;
         wmma.load.b.sync.aligned.col.m16n16k8.shared.tf32 {b0, b1, b2, b3}, [p+512], 8;
         mov.b32 c0, 0; mov.b32 c1, 0; mov.b32 c2, 0; mov.b32 c3, 0; mov.b32 c4, 0; mov.b32 c5, 0; mov.b32 c6, 0; mov.b32 c7, 0;
         wmma.mma.sync.aligned.row.col.m16n16k8.f32.tf32.tf32.f32 {d0, d1, d2, d3, d4, d5, d6, d7}, {a0, a1, a2, a3}, {b0, b1, b2, b3}, {c0, c1, c2, c3, c4, c5, c6, c7};
         wmma.store.d.sync.aligned.row.m16n16k8.shared.f32 [p+1024], {d0, d1, d2, d3, d4, d5, d6, d7}, 16;
         bar.warp.sync -1;
         ld.shared.b32 $0, [q+1024]; ld.shared.b32 $1, [q+1028]; ld.shared.b32 $2, [q+1032]; ld.shared.b32 $3, [q+1036]; }";
    forms.push(Form::new(tf32, &[Out::W; 4], &[Tf32Int; 8]));
    let f64 = "{ .shared .align 32 .b8 m[16384]; .reg .b32 p, q; .reg .f64 a, b, c<2>, d<2>;
         shr.u32 q, %thread, 5; shl.b32 q, q, 12; mov.u32 p, m; add.u32 p, p, q; shl.b32 q, %lane, 3; add.u32 q, q, p;
         st.shared.b64 [q], $a; st.shared.b64 [q+256], $b; bar.warp.sync -1;
         wmma.load.a.sync.aligned.row.m8n8k4.shared.f64 {a}, [p], 4; wmma.load.b.sync.aligned.col.m8n8k4.shared.f64 {b}, [p+256], 4;
         mov.f64 c0, 0d0; mov.f64 c1, 0d3FF0000000000000;
         wmma.mma.sync.aligned.row.col.m8n8k4.f64.f64.f64.f64 {d0, d1}, {a}, {b}, {c0, c1};
         mov.f64 $0, d0; mov.f64 $1, d1; }"
        .replace("0d0;", "0d0000000000000000;");
    forms.push(Form::new(f64, &[Out::D; 2], &[F64Int; 2]));
}

fn moves(forms: &mut Vec<Form>) {
    let start = "{ .shared .align 16 .b8 m[2048]; .reg .b32 p, q; .reg .b64 g; shl.b32 q, %thread, 4; mov.u32 p, m; add.u32 p, p, q;";
    let store = "st.shared.v4.b32 [p], {$a, $b, $c, $d}; bar.warp.sync -1;";
    for transposed in ["", ".trans"] {
        for (count, results) in [
            ("x1", "{$0}"),
            ("x2", "{$0, $1}"),
            ("x4", "{$0, $1, $2, $3}"),
        ] {
            let n = results.matches('$').count();
            forms.push(Form::new(
                format!("{start} {store} ldmatrix.sync.aligned.m8n8.{count}{transposed}.shared.b16 {results}, [p]; }}"),
                &vec![Out::W; n],
                &[U32; 4],
            ));
            let values = ["{$a}", "{$a, $b}", "{$a, $b, $c, $d}"][n.ilog2() as usize];
            forms.push(Form::new(
                format!(
                    "{start} {store} stmatrix.sync.aligned.m8n8.{count}{transposed}.shared.b16 [p], {values}; bar.warp.sync -1;
                     ld.shared.v4.b32 {{$0, $1, $2, $3}}, [p]; }}"
                ),
                &[Out::W; 4],
                &[U32; 4],
            ));
        }
    }
    forms.push(Form::new(
        "movmatrix.sync.aligned.m8n8.trans.b16 $0, $a;",
        &[Out::W],
        &[U32],
    ));
    for (op, bytes) in [("ca", 4), ("ca", 8), ("ca", 16), ("cg", 16)] {
        for source in ["", ", 3", ", 0"] {
            // From this thread's operands: 16 bytes of the array, aligned.
            forms.push(Form::new(
                format!(
                    "{start} st.shared.v4.b32 [p], {{q, q, q, q}}; and.b64 g, %in, -16;
                     cp.async.{op}.shared.global [p], [g], {bytes}{source}; cp.async.commit_group; cp.async.wait_group 0;
                     ld.shared.v4.b32 {{$0, $1, $2, $3}}, [p]; }}"
                ),
                &[Out::W; 4],
                &[U64],
            ));
        }
    }
}
