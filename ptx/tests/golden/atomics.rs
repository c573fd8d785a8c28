// SPDX-License-Identifier: MIT OR Apache-2.0
//! Atomic operations and reductions. Each thread has a place in memory of its own, so that the
//! order does not matter; then some that all threads of a block share, whose order does not matter
//! either.

use super::In::{self, BF16, BF16x2, F16, F16x2, F32, F64, U16, U32, U64};
use super::{Form, Out};

pub fn forms(forms: &mut Vec<Form>) {
    for (op, out, x) in [
        ("add.u32", Out::W, U32),
        ("add.s32", Out::W, U32),
        ("add.u64", Out::D, U64),
        ("add.f32", Out::W, F32),
        ("add.f64", Out::D, F64),
        ("add.noftz.f16", Out::H, F16),
        ("add.noftz.f16x2", Out::W, F16x2),
        ("add.noftz.bf16", Out::H, BF16),
        ("add.noftz.bf16x2", Out::W, BF16x2),
        ("min.u32", Out::W, U32),
        ("min.s32", Out::W, U32),
        ("min.u64", Out::D, U64),
        ("min.s64", Out::D, U64),
        ("max.u32", Out::W, U32),
        ("max.s32", Out::W, U32),
        ("max.u64", Out::D, U64),
        ("max.s64", Out::D, U64),
        ("inc.u32", Out::W, U32),
        ("dec.u32", Out::W, U32),
        ("and.b32", Out::W, U32),
        ("or.b32", Out::W, U32),
        ("xor.b32", Out::W, U32),
        ("and.b64", Out::D, U64),
        ("or.b64", Out::D, U64),
        ("xor.b64", Out::D, U64),
    ] {
        for space in ["global", "shared", ""] {
            if space.is_empty() && out == Out::H {
                continue;
            }
            atomic(forms, "atom", op, space, out, x, 1);
            atomic(forms, "red", op, space, out, x, 1);
        }
    }
    for (op, out, x) in [("exch.b32", Out::W, U32), ("exch.b64", Out::D, U64)] {
        for space in ["global", "shared", ""] {
            atomic(forms, "atom", op, space, out, x, 1);
        }
    }
    for (op, out, x) in [
        ("cas.b16", Out::H, U16),
        ("cas.b32", Out::W, U32),
        ("cas.b64", Out::D, U64),
    ] {
        for space in ["global", "shared", ""] {
            atomic(forms, "atom", op, space, out, x, 2);
        }
    }
    for scope in ["relaxed.gpu", "acquire.cta", "release.sys", "acq_rel.gpu"] {
        atomic(
            forms,
            "atom",
            &format!("{scope}.global.add.u32"),
            "",
            Out::W,
            U32,
            1,
        );
    }
    // All threads of a block at one place.
    for (op, initial) in [
        ("add.u32", 0),
        ("min.s32", 0),
        ("max.u32", 0),
        ("and.b32", -1),
        ("or.b32", 0),
        ("xor.b32", 0),
    ] {
        let ty = op.split_once('.').map_or("", |(_, ty)| ty);
        let _ = ty;
        forms.push(Form::new(
            format!(
                "{{ .shared .align 4 .b32 cell; .reg .pred first; setp.eq.u32 first, %thread, 0; @first st.shared.b32 [cell], {initial};
                 bar.sync 0; red.shared.{op} [cell], $a; bar.sync 0; ld.shared.b32 $0, [cell]; }}"
            ),
            &[Out::W],
            &[U32],
        ));
    }
}

/// A place with the value of `$a`, then the operation, then the old value and the new one. The
/// place in global memory is the thread's own first operand.
fn atomic(
    forms: &mut Vec<Form>,
    kind: &str,
    op: &str,
    space: &str,
    out: Out,
    x: In,
    operands: usize,
) {
    let bits = out.bytes() * 8;
    let list = if operands == 2 { "$b, $c" } else { "$b" };
    let dot = if space.is_empty() {
        String::new()
    } else {
        format!(".{space}")
    };
    let (setup, base) = match space {
        "shared" => (
            ".shared .align 8 .b8 m[1024]; .reg .b32 p, q; shl.b32 q, %thread, 3; mov.u32 p, m; add.u32 p, p, q;".to_owned(),
            "p",
        ),
        _ => ("".to_owned(), "%in"),
    };
    let store = if space == "shared" {
        format!("st.shared.b{bits} [p], $a;")
    } else {
        String::new()
    };
    // `$a` is read from there by the kernel; all three are equal in one case of four or so for cas.
    let (at, load) = if space == "shared" {
        (base.to_owned(), format!("ld.shared.b{bits}"))
    } else {
        (base.to_owned(), format!("ld.volatile.global.b{bits}"))
    };
    let (outs, run): (&[Out], String) = if kind == "atom" {
        (
            &[out, out],
            format!("{kind}{dot}.{op} $0, [{at}], {list}; {load} $1, [{at}];"),
        )
    } else {
        (
            &[out],
            format!("{kind}{dot}.{op} [{at}], {list}; {load} $0, [{at}];"),
        )
    };
    let mut ins = vec![x; operands + 1];
    ins[0] = x;
    forms.push(Form::new(
        format!("{{ {setup} {store} {run} }}"),
        outs,
        &ins,
    ));
}
