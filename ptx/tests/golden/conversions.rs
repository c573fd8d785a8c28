// SPDX-License-Identifier: MIT OR Apache-2.0
//! `cvt` between all types, with all roundings.

use super::In::{self, BF16, F16, F16x2, F32, F64, U16, U32, U64};
use super::{Form, Out, plain};

/// Types with the register that holds them, which is wider for bytes.
const INTEGERS: [(&str, Out, In); 8] = [
    ("u8", Out::W, U32),
    ("s8", Out::W, U32),
    ("u16", Out::H, U16),
    ("s16", Out::H, U16),
    ("u32", Out::W, U32),
    ("s32", Out::W, U32),
    ("u64", Out::D, U64),
    ("s64", Out::D, U64),
];
const FLOATS: [(&str, Out, In); 4] = [
    ("f16", Out::H, F16),
    ("bf16", Out::H, BF16),
    ("f32", Out::W, F32),
    ("f64", Out::D, F64),
];
const ROUND: [&str; 4] = [".rn", ".rz", ".rm", ".rp"];
const INTEGRAL: [&str; 4] = [".rni", ".rzi", ".rmi", ".rpi"];

pub fn forms(forms: &mut Vec<Form>) {
    integers(forms);
    between(forms);
    floats(forms);
    small(forms);
}

fn integers(forms: &mut Vec<Form>) {
    for (to, out, _) in INTEGERS {
        for (from, _, x) in INTEGERS {
            forms.push(plain(&format!("cvt.{to}.{from}"), out, &[x]));
            if !holds(to, from) {
                forms.push(plain(&format!("cvt.sat.{to}.{from}"), out, &[x]));
            }
        }
    }
    // Registers that are wider than the type.
    for (to, from, out, x) in [
        ("u16", "u32", Out::W, U32),
        ("s16", "s32", Out::W, U32),
        ("s16", "s16", Out::W, U32),
        ("u8", "u32", Out::H, U32),
        ("s8", "s64", Out::H, U64),
        ("s32", "s8", Out::W, U16),
        ("u64", "u16", Out::D, U32),
        ("s64", "s16", Out::D, U64),
        ("s16", "s8", Out::D, U64),
    ] {
        forms.push(plain(&format!("cvt.{to}.{from}"), out, &[x]));
    }
}

/// Whether an integer type has all values of another one.
fn holds(to: &str, from: &str) -> bool {
    let bits = |ty: &str| ty[1..].parse::<u32>().unwrap_or(0);
    match (&to[..1], &from[..1]) {
        ("u", "s") => false,
        ("s", "u") => bits(to) > bits(from),
        _ => bits(to) >= bits(from),
    }
}

fn between(forms: &mut Vec<Form>) {
    for (float, out, x) in FLOATS {
        for (integer, int_out, y) in INTEGERS {
            if float == "bf16" && integer.ends_with('8') {
                continue;
            }
            for round in ROUND {
                forms.push(plain(&format!("cvt{round}.{float}.{integer}"), out, &[y]));
            }
            if float != "bf16" {
                forms.push(plain(&format!("cvt.rn.sat.{float}.{integer}"), out, &[y]));
            }
            for round in INTEGRAL {
                forms.push(plain(
                    &format!("cvt{round}.{integer}.{float}"),
                    int_out,
                    &[x],
                ));
                if float == "f32" {
                    forms.push(plain(
                        &format!("cvt{round}.ftz.{integer}.{float}"),
                        int_out,
                        &[x],
                    ));
                }
            }
            if float != "bf16" {
                forms.push(plain(
                    &format!("cvt.rzi.sat.{integer}.{float}"),
                    int_out,
                    &[x],
                ));
            }
        }
    }
}

fn floats(forms: &mut Vec<Form>) {
    for round in ROUND {
        for op in ["f16.f32", "bf16.f32"] {
            forms.push(plain(&format!("cvt{round}.{op}"), Out::H, &[F32]));
        }
        forms.push(plain(&format!("cvt{round}.f16.f64"), Out::H, &[F64]));
        forms.push(plain(&format!("cvt{round}.bf16.f64"), Out::H, &[F64]));
        forms.push(plain(&format!("cvt{round}.bf16.f16"), Out::H, &[F16]));
        forms.push(plain(&format!("cvt{round}.f16.bf16"), Out::H, &[BF16]));
        for more in ["", ".ftz", ".sat", ".ftz.sat"] {
            forms.push(plain(&format!("cvt{round}{more}.f32.f64"), Out::W, &[F64]));
        }
        forms.push(plain(&format!("cvt{round}.sat.f16.f32"), Out::H, &[F32]));
    }
    forms.push(plain("cvt.rn.ftz.f16.f32", Out::H, &[F32]));
    for (op, out, x) in [
        ("f32.f16", Out::W, F16),
        ("ftz.f32.f16", Out::W, F16),
        ("sat.f32.f16", Out::W, F16),
        ("f64.f16", Out::D, F16),
        ("f32.bf16", Out::W, BF16),
        ("f64.bf16", Out::D, BF16),
        ("f64.f32", Out::D, F32),
        ("ftz.f64.f32", Out::D, F32),
        ("sat.f64.f32", Out::D, F32),
        ("sat.f32.f32", Out::W, F32),
        ("ftz.sat.f32.f32", Out::W, F32),
        ("ftz.f32.f32", Out::W, F32),
        ("f32.f32", Out::W, F32),
        ("sat.f64.f64", Out::D, F64),
        ("sat.f16.f16", Out::H, F16),
    ] {
        forms.push(plain(&format!("cvt.{op}"), out, &[x]));
    }
    for round in INTEGRAL {
        forms.push(plain(&format!("cvt{round}.f16.f16"), Out::H, &[F16]));
        forms.push(plain(&format!("cvt{round}.f64.f64"), Out::D, &[F64]));
        forms.push(plain(&format!("cvt{round}.f32.f32"), Out::W, &[F32]));
        forms.push(plain(&format!("cvt{round}.ftz.f32.f32"), Out::W, &[F32]));
        forms.push(plain(&format!("cvt{round}.sat.f32.f32"), Out::W, &[F32]));
    }
}

fn small(forms: &mut Vec<Form>) {
    for round in [".rn", ".rz"] {
        for relu in ["", ".relu"] {
            for to in ["f16", "bf16"] {
                forms.push(plain(&format!("cvt{round}{relu}.{to}.f32"), Out::H, &[F32]));
                forms.push(plain(
                    &format!("cvt{round}{relu}.{to}x2.f32"),
                    Out::W,
                    &[F32, F32],
                ));
                forms.push(plain(
                    &format!("cvt{round}{relu}.satfinite.{to}.f32"),
                    Out::H,
                    &[F32],
                ));
                forms.push(plain(
                    &format!("cvt{round}{relu}.satfinite.{to}x2.f32"),
                    Out::W,
                    &[F32, F32],
                ));
            }
            forms.push(plain(&format!("cvt{round}{relu}.tf32.f32"), Out::W, &[F32]));
        }
    }
    forms.push(plain("cvt.rna.tf32.f32", Out::W, &[F32]));
    forms.push(plain("cvt.rna.satfinite.tf32.f32", Out::W, &[F32]));
    for ty in ["e4m3x2", "e5m2x2"] {
        for relu in ["", ".relu"] {
            forms.push(plain(
                &format!("cvt.rn.satfinite{relu}.{ty}.f32"),
                Out::H,
                &[F32, F32],
            ));
            forms.push(plain(
                &format!("cvt.rn.satfinite{relu}.{ty}.f16x2"),
                Out::H,
                &[F16x2],
            ));
            forms.push(plain(&format!("cvt.rn{relu}.f16x2.{ty}"), Out::W, &[U16]));
        }
    }
    for ty in ["u16", "s16"] {
        forms.push(plain(
            &format!("cvt.pack.sat.{ty}.s32"),
            Out::W,
            &[U32, U32],
        ));
    }
    for ty in ["u8", "s8", "u4", "s4", "u2", "s2"] {
        forms.push(plain(
            &format!("cvt.pack.sat.{ty}.s32.b32"),
            Out::W,
            &[U32, U32, U32],
        ));
    }
}
