// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integer arithmetic, logic, shifts, comparisons and moves.

use super::In::{Count, F32, F64, P, U16, U32, U64};
use super::{Form, In, Out, plain};

/// An integer type: register and operand.
pub fn of(ty: &str) -> (Out, In) {
    match &ty[1..] {
        "16" => (Out::H, U16),
        "64" => (Out::D, U64),
        _ => (Out::W, U32),
    }
}

pub const INTEGERS: [&str; 6] = ["s16", "u16", "s32", "u32", "s64", "u64"];
const WIDE: [&str; 4] = ["s32", "u32", "s64", "u64"];

pub fn forms(forms: &mut Vec<Form>) {
    arithmetic(forms);
    carry(forms);
    bits(forms);
    comparisons(forms);
    moves(forms);
}

fn arithmetic(forms: &mut Vec<Form>) {
    for ty in INTEGERS {
        let (out, x) = of(ty);
        for op in ["add", "sub", "min", "max", "mul.lo", "mul.hi", "div", "rem"] {
            forms.push(plain(&format!("{op}.{ty}"), out, &[x, x]));
        }
        for op in ["mad.lo", "mad.hi", "sad"] {
            forms.push(plain(&format!("{op}.{ty}"), out, &[x, x, x]));
        }
        if ty.starts_with('s') {
            forms.push(plain(&format!("abs.{ty}"), out, &[x]));
            forms.push(plain(&format!("neg.{ty}"), out, &[x]));
        }
    }
    for (ty, out, x, sum) in [
        ("s16", Out::W, U16, U32),
        ("u16", Out::W, U16, U32),
        ("s32", Out::D, U32, U64),
        ("u32", Out::D, U32, U64),
    ] {
        forms.push(plain(&format!("mul.wide.{ty}"), out, &[x, x]));
        forms.push(plain(&format!("mad.wide.{ty}"), out, &[x, x, sum]));
    }
    for op in [
        "add.sat.s32",
        "sub.sat.s32",
        "mul24.lo.s32",
        "mul24.hi.s32",
        "mul24.lo.u32",
        "mul24.hi.u32",
        "min.relu.s32",
        "max.relu.s32",
        "add.s16x2",
        "add.u16x2",
        "min.s16x2",
        "max.s16x2",
        "min.u16x2",
        "max.u16x2",
        "min.relu.s16x2",
        "max.relu.s16x2",
    ] {
        forms.push(plain(op, Out::W, &[U32, U32]));
    }
    for op in [
        "mad.hi.sat.s32",
        "mad24.lo.s32",
        "mad24.hi.s32",
        "mad24.lo.u32",
        "mad24.hi.u32",
        "mad24.hi.sat.s32",
        "dp4a.u32.u32",
        "dp4a.u32.s32",
        "dp4a.s32.u32",
        "dp4a.s32.s32",
        "dp2a.lo.u32.u32",
        "dp2a.lo.u32.s32",
        "dp2a.lo.s32.u32",
        "dp2a.lo.s32.s32",
        "dp2a.hi.u32.u32",
        "dp2a.hi.u32.s32",
        "dp2a.hi.s32.u32",
        "dp2a.hi.s32.s32",
    ] {
        forms.push(plain(op, Out::W, &[U32, U32, U32]));
    }
    // Bits of the numbers that stand for variables of these types.
    for op in ["istypep.texref", "istypep.samplerref", "istypep.surfref"] {
        forms.push(plain(op, Out::P, &[U64]));
    }
}

fn carry(forms: &mut Vec<Form>) {
    for ty in WIDE {
        let (out, x) = of(ty);
        for op in ["add", "sub"] {
            forms.push(Form::new(
                format!(
                    "{op}.cc.{ty} $0, $a, $b; {op}c.cc.{ty} $1, $c, $d; {op}c.{ty} $2, $a, $d;"
                ),
                &[out; 3],
                &[x; 4],
            ));
        }
        for half in ["lo", "hi"] {
            forms.push(Form::new(
                format!(
                    "mad.{half}.cc.{ty} $0, $a, $b, $c; madc.{half}.cc.{ty} $1, $b, $c, $d; addc.{ty} $2, $a, $d;"
                ),
                &[out; 3],
                &[x; 4],
            ));
            forms.push(Form::new(
                format!("add.cc.{ty} $0, $a, $b; madc.{half}.{ty} $1, $b, $c, $d;"),
                &[out; 2],
                &[x; 4],
            ));
        }
    }
}

fn bits(forms: &mut Vec<Form>) {
    for ty in ["b16", "b32", "b64"] {
        let (out, x) = of(ty);
        for op in ["and", "or", "xor"] {
            forms.push(plain(&format!("{op}.{ty}"), out, &[x, x]));
        }
        forms.push(plain(&format!("not.{ty}"), out, &[x]));
        forms.push(plain(&format!("cnot.{ty}"), out, &[x]));
        forms.push(plain(&format!("shl.{ty}"), out, &[x, Count]));
        forms.push(plain(&format!("shr.{ty}"), out, &[x, Count]));
    }
    for ty in INTEGERS {
        let (out, x) = of(ty);
        forms.push(plain(&format!("shr.{ty}"), out, &[x, Count]));
    }
    for op in ["and.pred", "or.pred", "xor.pred"] {
        forms.push(plain(op, Out::P, &[P, P]));
    }
    forms.push(plain("not.pred", Out::P, &[P]));
    for mode in ["l.wrap", "l.clamp", "r.wrap", "r.clamp"] {
        forms.push(plain(
            &format!("shf.{mode}.b32"),
            Out::W,
            &[U32, U32, Count],
        ));
    }
    for ty in ["b32", "b64"] {
        let (out, x) = of(ty);
        forms.push(plain(&format!("popc.{ty}"), Out::W, &[x]));
        forms.push(plain(&format!("clz.{ty}"), Out::W, &[x]));
        forms.push(plain(&format!("brev.{ty}"), out, &[x]));
        forms.push(plain(&format!("bfi.{ty}"), out, &[x, x, Count, Count]));
    }
    for ty in WIDE {
        let (out, x) = of(ty);
        forms.push(plain(&format!("bfind.{ty}"), Out::W, &[x]));
        forms.push(plain(&format!("bfind.shiftamt.{ty}"), Out::W, &[x]));
        forms.push(plain(&format!("bfe.{ty}"), out, &[x, Count, Count]));
    }
    for op in ["bmsk.clamp.b32", "bmsk.wrap.b32"] {
        forms.push(plain(op, Out::W, &[Count, Count]));
    }
    for op in [
        "szext.clamp.u32",
        "szext.clamp.s32",
        "szext.wrap.u32",
        "szext.wrap.s32",
    ] {
        forms.push(plain(op, Out::W, &[U32, Count]));
    }
    // The base must be below 32.
    forms.push(Form::new(
        "{ .reg .b32 base, n; and.b32 base, $b, 31; and.b32 n, $c, 63; sub.s32 n, n, 32; fns.b32 $0, $a, base, n; }",
        &[Out::W],
        &[U32, Count, U32],
    ));
    for table in [
        0x00, 0x01, 0x17, 0x1e, 0x2d, 0x40, 0x5a, 0x78, 0x80, 0x96, 0xac, 0xca, 0xe8, 0xf8, 0xfe,
        0xff,
    ] {
        forms.push(Form::new(
            format!("lop3.b32 $0, $a, $b, $c, {table};"),
            &[Out::W],
            &[U32; 3],
        ));
    }
    for op in ["or", "and"] {
        forms.push(Form::new(
            format!("lop3.{op}.b32 $0|$1, $a, $b, $c, 0x96, $d;"),
            &[Out::W, Out::P],
            &[U32, U32, U32, P],
        ));
    }
    for mode in ["", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"] {
        forms.push(plain(&format!("prmt.b32{mode}"), Out::W, &[U32, U32, U32]));
    }
}

fn comparisons(forms: &mut Vec<Form>) {
    let signed = ["eq", "ne", "lt", "le", "gt", "ge"];
    let unsigned = ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];
    for ty in [
        "s16", "u16", "b16", "s32", "u32", "b32", "s64", "u64", "b64",
    ] {
        let (_, x) = of(ty);
        let tests: &[&str] = match &ty[..1] {
            "b" => &signed[..2],
            "u" => &unsigned,
            _ => &signed,
        };
        for test in tests {
            forms.push(plain(&format!("setp.{test}.{ty}"), Out::P, &[x, x]));
        }
        forms.push(plain(
            &format!("set.{}.u32.{ty}", tests[1]),
            Out::W,
            &[x, x],
        ));
        forms.push(plain(
            &format!("set.{}.f32.{ty}", tests[0]),
            Out::W,
            &[x, x],
        ));
    }
    for combine in ["and", "or", "xor"] {
        forms.push(Form::new(
            format!("setp.lt.{combine}.s32 $0|$1, $a, $b, $c;"),
            &[Out::P; 2],
            &[U32, U32, P],
        ));
        forms.push(Form::new(
            format!("setp.gt.{combine}.u64 $0|$1, $a, $b, !$c;"),
            &[Out::P; 2],
            &[U64, U64, P],
        ));
        forms.push(plain(
            &format!("set.ge.{combine}.s32.s32"),
            Out::W,
            &[U32, U32, P],
        ));
    }
    for ty in [
        "b16", "u16", "s16", "b32", "u32", "s32", "b64", "u64", "s64",
    ] {
        let (out, x) = of(ty);
        forms.push(plain(&format!("selp.{ty}"), out, &[x, x, P]));
        forms.push(plain(&format!("slct.{ty}.s32"), out, &[x, x, U32]));
        forms.push(plain(&format!("slct.{ty}.f32"), out, &[x, x, F32]));
        forms.push(plain(&format!("slct.ftz.{ty}.f32"), out, &[x, x, F32]));
    }
    for (ty, out, x) in [("f32", Out::W, F32), ("f64", Out::D, F64)] {
        forms.push(plain(&format!("selp.{ty}"), out, &[x, x, P]));
        forms.push(plain(&format!("slct.{ty}.s32"), out, &[x, x, U32]));
        forms.push(plain(&format!("slct.{ty}.f32"), out, &[x, x, F32]));
    }
}

fn moves(forms: &mut Vec<Form>) {
    forms.push(Form::new("mov.b64 $0, {$a, $b};", &[Out::D], &[U32, U32]));
    forms.push(Form::new("mov.b64 {$0, $1}, $a;", &[Out::W; 2], &[U64]));
    forms.push(Form::new("mov.b32 $0, {$a, $b};", &[Out::W], &[U16, U16]));
    forms.push(Form::new("mov.b32 {$0, $1}, $a;", &[Out::H; 2], &[U32]));
    forms.push(Form::new(
        "mov.b64 $0, {$a, $b, $c, $d};",
        &[Out::D],
        &[U16; 4],
    ));
    forms.push(Form::new(
        "mov.b64 {$0, $1, $2, $3}, $a;",
        &[Out::H; 4],
        &[U64],
    ));
    forms.push(Form::new(
        "{ .reg .b8 b<4>; cvt.u8.u32 b0, $a; cvt.u8.u32 b1, $b; mov.b16 $0, {b0, b1}; }",
        &[Out::H],
        &[U32; 2],
    ));
    // Narrow loads into wider registers, through local and shared memory.
    for space in ["local", "shared"] {
        for (ty, out) in [
            ("s8", Out::H),
            ("u8", Out::H),
            ("s8", Out::W),
            ("u8", Out::W),
            ("b8", Out::D),
            ("s8", Out::D),
            ("u16", Out::W),
            ("s16", Out::W),
            ("s16", Out::D),
            ("u16", Out::D),
            ("s32", Out::D),
            ("u32", Out::D),
        ] {
            let place = if space == "local" {
                "{ .local .align 8 .b8 m[8]; .reg .b32 p; mov.u32 p, m;"
            } else {
                "{ .shared .align 8 .b8 m[1024]; .reg .b32 p, q; shl.b32 q, %thread, 3; mov.u32 p, m; add.u32 p, p, q;"
            };
            forms.push(Form::new(
                format!(
                    "{place} st.{space}.b64 [p], $a; ld.{space}.{ty} $0, [p+{}]; }}",
                    if ty.ends_with('8') { 3 } else { 4 }
                ),
                &[out],
                &[U64],
            ));
        }
        forms.push(Form::new(
            format!(
                "{{ .{space} .align 16 .b8 m[{}]; .reg .b32 p, q; shl.b32 q, %thread, 4; mov.u32 p, m; {}
                 st.{space}.v4.b16 [p], {{$a, $b, $c, $d}}; ld.{space}.v2.u32 {{$0, $1}}, [p]; st.{space}.v2.b16 [p+8], {{$c, $a}};
                 st.{space}.v4.b8 [p+12], {{$a, $b, $c, $d}}; ld.{space}.v4.s8 {{$2, $3, $4, $5}}, [p+8]; ld.{space}.u32 $6, [p+12]; }}",
                if space == "local" { 16 } else { 2048 },
                if space == "local" { "" } else { "add.u32 p, p, q;" },
            ),
            &[Out::W, Out::W, Out::H, Out::H, Out::H, Out::H, Out::W],
            &[U16; 4],
        ));
    }
}
