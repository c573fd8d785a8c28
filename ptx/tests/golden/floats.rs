// SPDX-License-Identifier: MIT OR Apache-2.0
//! Single and double precision: arithmetic, approximations, comparisons.

use super::In::{self, Angle, F32, F32Wide, F64, P};
use super::{Check, Form, Out, plain};

const ROUND: [&str; 5] = ["", ".rn", ".rz", ".rm", ".rp"];
pub const TESTS: [&str; 14] = [
    "eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan",
];

pub fn forms(forms: &mut Vec<Form>) {
    single(forms);
    double(forms);
    approximate(forms);
    comparisons(forms);
}

fn single(forms: &mut Vec<Form>) {
    for round in ROUND {
        for ftz in ["", ".ftz"] {
            for sat in ["", ".sat"] {
                for op in ["add", "sub", "mul"] {
                    forms.push(plain(
                        &format!("{op}{round}{ftz}{sat}.f32"),
                        Out::W,
                        &[F32, F32],
                    ));
                }
                if !round.is_empty() {
                    forms.push(plain(
                        &format!("fma{round}{ftz}{sat}.f32"),
                        Out::W,
                        &[F32; 3],
                    ));
                    forms.push(plain(
                        &format!("mad{round}{ftz}{sat}.f32"),
                        Out::W,
                        &[F32; 3],
                    ));
                }
            }
            if !round.is_empty() {
                forms.push(plain(&format!("div{round}{ftz}.f32"), Out::W, &[F32, F32]));
                forms.push(plain(&format!("rcp{round}{ftz}.f32"), Out::W, &[F32]));
                forms.push(plain(&format!("sqrt{round}{ftz}.f32"), Out::W, &[F32]));
            }
        }
    }
    for ftz in ["", ".ftz"] {
        forms.push(plain(&format!("abs{ftz}.f32"), Out::W, &[F32]));
        forms.push(plain(&format!("neg{ftz}.f32"), Out::W, &[F32]));
        for op in ["min", "max"] {
            for nan in ["", ".NaN"] {
                for sign in ["", ".xorsign.abs"] {
                    forms.push(plain(
                        &format!("{op}{ftz}{nan}{sign}.f32"),
                        Out::W,
                        &[F32, F32],
                    ));
                }
            }
        }
    }
    // Results around the smallest normal number: flushed before or after they are rounded?
    for round in ROUND {
        for sat in ["", ".sat"] {
            let ops = [In::F32NearTiny, In::F32NearOne, In::F32NearTiny];
            forms.push(plain(
                &format!("mul{round}.ftz{sat}.f32"),
                Out::W,
                &ops[..2],
            ));
            if !round.is_empty() {
                forms.push(Form::new(
                    format!("fma{round}.ftz{sat}.f32 $0, $a, $b, 0f80000000;"),
                    &[Out::W],
                    &ops[..2],
                ));
                forms.push(plain(&format!("fma{round}.ftz{sat}.f32"), Out::W, &ops));
                forms.push(plain(&format!("div{round}.ftz.f32"), Out::W, &ops[..2]));
            }
        }
    }
    forms.push(plain("copysign.f32", Out::W, &[F32, F32]));
    for class in [
        "finite",
        "infinite",
        "number",
        "notanumber",
        "normal",
        "subnormal",
    ] {
        forms.push(plain(&format!("testp.{class}.f32"), Out::P, &[F32]));
        forms.push(plain(&format!("testp.{class}.f64"), Out::P, &[F64]));
    }
}

fn double(forms: &mut Vec<Form>) {
    for round in ROUND {
        for op in ["add", "sub", "mul"] {
            forms.push(plain(&format!("{op}{round}.f64"), Out::D, &[F64, F64]));
        }
        if !round.is_empty() {
            forms.push(plain(&format!("fma{round}.f64"), Out::D, &[F64; 3]));
            forms.push(plain(&format!("mad{round}.f64"), Out::D, &[F64; 3]));
            forms.push(plain(&format!("div{round}.f64"), Out::D, &[F64, F64]));
            forms.push(plain(&format!("rcp{round}.f64"), Out::D, &[F64]));
            forms.push(plain(&format!("sqrt{round}.f64"), Out::D, &[F64]));
        }
    }
    for op in ["abs", "neg"] {
        forms.push(plain(&format!("{op}.f64"), Out::D, &[F64]));
    }
    for op in ["min", "max", "copysign"] {
        forms.push(plain(&format!("{op}.f64"), Out::D, &[F64, F64]));
    }
}

/// Their bounds are those of the PTX ISA, twice: the GPU's result may be as far from the truth as
/// ours.
fn approximate(forms: &mut Vec<Form>) {
    let ulp = 2f64.powi(-23);
    let near = |relative: f64, absolute: f64| Check::Near32 { relative, absolute };
    for ftz in ["", ".ftz"] {
        // Flushed or not, a subnormal result is within this of zero.
        let tiny = 2f64.powi(-126);
        for (op, ins, check) in [
            ("div.approx", &[F32Wide, F32Wide][..], near(3.0 * ulp, tiny)),
            ("div.full", &[F32Wide, F32Wide], near(3.0 * ulp, tiny)),
            ("rcp.approx", &[F32], near(2.0 * ulp, tiny)),
            ("sqrt.approx", &[F32], near(2.0 * ulp, 0.0)),
            ("rsqrt.approx", &[F32], near(2.5 * ulp, 0.0)),
            ("sin.approx", &[Angle], near(0.0, 2f64.powi(-20))),
            ("cos.approx", &[Angle], near(0.0, 2f64.powi(-19))),
            ("ex2.approx", &[F32], near(3.0 * ulp, tiny)),
            ("ex2.approx", &[In::F32Mild], near(3.0 * ulp, tiny)),
            ("lg2.approx", &[F32], near(3.0 * ulp, 2f64.powi(-21))),
            (
                "lg2.approx",
                &[In::F32Mild],
                near(3.0 * ulp, 2f64.powi(-21)),
            ),
        ] {
            forms.push(plain(&format!("{op}{ftz}.f32"), Out::W, ins).near(check));
        }
    }
    // What they make of special values.
    let special =
        "{ .reg .f32 x; .reg .b32 i; mov.b32 i, $a; and.b32 i, i, 0xff800000; mov.b32 x, i; ";
    for op in ["sin.approx", "cos.approx", "sin.approx.ftz"] {
        forms.push(
            Form::new(
                format!("{special} .reg .pred p; testp.finite.f32 p, x; selp.f32 x, 0f00000000, x, p; {op}.f32 $0, x; }}"),
                &[Out::W],
                &[F32],
            ),
        );
    }
    for x in [F32, In::F32Mild] {
        forms.push(
            plain("tanh.approx.f32", Out::W, &[x]).near(near(2f64.powi(-10), 2f64.powi(-20))),
        );
    }
    let gross = Check::Near64 {
        relative: 2f64.powi(-19),
    };
    for op in [
        "rcp.approx.ftz.f64",
        "rsqrt.approx.f64",
        "rsqrt.approx.ftz.f64",
    ] {
        forms.push(plain(op, Out::D, &[F64]).near(gross));
        forms.push(plain(op, Out::D, &[In::F64Mild]).near(gross));
    }
}

fn comparisons(forms: &mut Vec<Form>) {
    for test in TESTS {
        forms.push(plain(&format!("setp.{test}.f32"), Out::P, &[F32, F32]));
        forms.push(plain(&format!("setp.{test}.ftz.f32"), Out::P, &[F32, F32]));
        forms.push(plain(&format!("setp.{test}.f64"), Out::P, &[F64, F64]));
        for combine in ["and", "or", "xor"] {
            forms.push(Form::new(
                format!("setp.{test}.{combine}.f32 $0|$1, $a, $b, $c;"),
                &[Out::P; 2],
                &[F32, F32, P],
            ));
        }
    }
    for test in ["eq", "ltu", "num"] {
        for (to, from, x) in [
            ("u32", "f32", F32),
            ("s32", "f32", F32),
            ("f32", "f32", F32),
            ("u32", "f64", F64),
            ("f32", "f64", F64),
        ] {
            forms.push(plain(&format!("set.{test}.{to}.{from}"), Out::W, &[x, x]));
            forms.push(plain(
                &format!("set.{test}.xor.{to}.{from}"),
                Out::W,
                &[x, x, P],
            ));
        }
        forms.push(plain(
            &format!("set.{test}.ftz.u32.f32"),
            Out::W,
            &[F32, F32],
        ));
    }
}
