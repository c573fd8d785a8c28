// SPDX-License-Identifier: MIT OR Apache-2.0
//! The 16-bit formats, one or two to a register.

use super::In::{self, BF16, BF16x2, F16, F16x2, P};
use super::{Check, Form, Out, plain};

const KINDS: [(&str, Out, In); 4] = [
    ("f16", Out::H, F16),
    ("f16x2", Out::W, F16x2),
    ("bf16", Out::H, BF16),
    ("bf16x2", Out::W, BF16x2),
];

pub fn forms(forms: &mut Vec<Form>) {
    for (ty, out, x) in KINDS {
        let half = ty.starts_with("f16");
        let flush: &[&str] = if half { &["", ".ftz"] } else { &[""] };
        for ftz in flush {
            for op in ["add", "sub", "mul"] {
                for round in ["", ".rn"] {
                    forms.push(plain(&format!("{op}{round}{ftz}.{ty}"), out, &[x, x]));
                }
                if half {
                    forms.push(plain(&format!("{op}{ftz}.sat.{ty}"), out, &[x, x]));
                }
            }
            forms.push(plain(&format!("fma.rn{ftz}.{ty}"), out, &[x; 3]));
            forms.push(plain(&format!("fma.rn{ftz}.relu.{ty}"), out, &[x; 3]));
            if half {
                forms.push(plain(&format!("fma.rn{ftz}.sat.{ty}"), out, &[x; 3]));
            }
            forms.push(plain(&format!("abs{ftz}.{ty}"), out, &[x]));
            forms.push(plain(&format!("neg{ftz}.{ty}"), out, &[x]));
            for op in ["min", "max"] {
                for nan in ["", ".NaN"] {
                    for sign in ["", ".xorsign.abs"] {
                        forms.push(plain(&format!("{op}{ftz}{nan}{sign}.{ty}"), out, &[x, x]));
                    }
                }
            }
        }
        if ty == "f16" {
            for op in ["mul.ftz", "mul.ftz.sat", "mul.rn.ftz"] {
                forms.push(plain(
                    &format!("{op}.f16"),
                    out,
                    &[In::F16NearTiny, In::F16NearOne],
                ));
            }
            for op in ["fma.rn.ftz", "fma.rn.ftz.sat", "fma.rn.ftz.relu"] {
                let ops = [In::F16NearTiny, In::F16NearOne, In::F16NearTiny];
                forms.push(plain(&format!("{op}.f16"), out, &ops));
                forms.push(Form::new(
                    format!("{{ .reg .b16 z; mov.b16 z, 0x8000; {op}.f16 $0, $a, $b, z; }}"),
                    &[out],
                    &ops[..2],
                ));
            }
        }
        forms.push(plain(&format!("fma.rn.oob.{ty}"), out, &[x; 3]));
        forms.push(plain(&format!("fma.rn.oob.relu.{ty}"), out, &[x; 3]));
        let check = if half {
            Check::NearHalves {
                relative: 2f64.powi(-9),
                absolute: 2f64.powi(-24),
            }
        } else {
            Check::NearBfloats {
                relative: 2f64.powi(-6),
                absolute: 2f64.powi(-126),
            }
        };
        let ftz = if half { "" } else { ".ftz" };
        forms.push(plain(&format!("ex2.approx{ftz}.{ty}"), out, &[x]).near(check));
        forms.push(plain(&format!("tanh.approx.{ty}"), out, &[x]).near(check));
        comparisons(forms, ty, out, x);
    }
}

fn comparisons(forms: &mut Vec<Form>, ty: &str, out: Out, x: In) {
    let flush: &[&str] = if ty.starts_with("f16") {
        &["", ".ftz"]
    } else {
        &[""]
    };
    for test in [
        "eq", "ne", "lt", "ge", "equ", "neu", "leu", "gtu", "num", "nan",
    ] {
        for ftz in flush {
            if out == Out::W {
                forms.push(Form::new(
                    format!("setp.{test}{ftz}.{ty} $0|$1, $a, $b;"),
                    &[Out::P; 2],
                    &[x, x],
                ));
                forms.push(plain(&format!("set.{test}{ftz}.{ty}.{ty}"), out, &[x, x]));
            } else {
                forms.push(plain(&format!("setp.{test}{ftz}.{ty}"), Out::P, &[x, x]));
                forms.push(plain(&format!("set.{test}{ftz}.{ty}.{ty}"), out, &[x, x]));
                forms.push(plain(&format!("set.{test}{ftz}.u32.{ty}"), Out::W, &[x, x]));
            }
        }
    }
    for combine in ["and", "or", "xor"] {
        if out == Out::W {
            forms.push(Form::new(
                format!("setp.lt.{combine}.{ty} $0|$1, $a, $b, $c;"),
                &[Out::P; 2],
                &[x, x, P],
            ));
        } else {
            forms.push(plain(
                &format!("setp.lt.{combine}.{ty}"),
                Out::P,
                &[x, x, P],
            ));
        }
    }
}
