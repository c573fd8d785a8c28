// SPDX-License-Identifier: MIT OR Apache-2.0
//! Scalar and SIMD video instructions.

use super::In::U32;
use super::{Form, Out};

pub fn forms(forms: &mut Vec<Form>) {
    let mut three = |text: String| forms.push(Form::new(text, &[Out::W], &[U32; 3]));
    for op in ["vadd", "vsub", "vabsdiff", "vmin", "vmax"] {
        for types in ["s32.s32.s32", "u32.u32.u32", "s32.u32.s32", "u32.s32.u32"] {
            three(format!("{op}.{types} $0, $a, $b;"));
            three(format!("{op}.{types}.sat $0, $a.b1, $b.h1;"));
            three(format!("{op}.{types}.sat.add $0, $a, $b.b3, $c;"));
        }
        three(format!("{op}.s32.s32.s32.min $0, $a.h0, $b.h1, $c;"));
        three(format!("{op}.u32.u32.u32.max $0, $a.b2, $b.b0, $c;"));
        three(format!("{op}.s32.s32.s32.sat $0.b2, $a, $b, $c;"));
        three(format!("{op}.u32.u32.u32 $0.h1, $a, $b.h0, $c;"));
    }
    for op in ["vshl", "vshr"] {
        for types in ["u32.u32.u32", "s32.s32.u32"] {
            for mode in ["clamp", "wrap"] {
                three(format!("{op}.{types}.{mode} $0, $a, $b;"));
                three(format!("{op}.{types}.sat.{mode} $0, $a, $b.b0;"));
                three(format!("{op}.{types}.{mode}.add $0, $a.h1, $b.b1, $c;"));
                three(format!("{op}.{types}.{mode} $0.b1, $a, $b.b2, $c;"));
            }
        }
    }
    for types in ["u32.u32.u32", "s32.s32.s32", "s32.u32.s32"] {
        for shift in ["", ".shr7", ".shr15"] {
            three(format!("vmad.{types}{shift} $0, $a.h0, $b.h1, $c;"));
            three(format!("vmad.{types}.sat{shift} $0, $a.b0, $b.b3, $c;"));
        }
    }
    three("vmad.s32.s32.s32.shr7 $0, $a.h0, -$b.h1, $c;".into());
    three("vmad.u32.u32.u32.po $0, $a.h0, $b.h1, $c;".into());
    for test in ["eq", "ne", "lt", "le", "gt", "ge"] {
        three(format!("vset.s32.u32.{test} $0, $a, $b;"));
        three(format!("vset.u32.u32.{test}.add $0, $a.b1, $b.b2, $c;"));
        three(format!("vset.s32.s32.{test} $0.h1, $a.h0, $b.h0, $c;"));
        three(format!("vset2.u32.u32.{test} $0, $a, $b, $c;"));
        three(format!("vset2.s32.s32.{test}.add $0, $a, $b, $c;"));
        three(format!("vset4.u32.u32.{test} $0, $a, $b, $c;"));
        three(format!("vset4.s32.s32.{test}.add $0, $a, $b, $c;"));
    }
    for op in [
        "vadd2",
        "vsub2",
        "vavrg2",
        "vabsdiff2",
        "vmin2",
        "vmax2",
        "vadd4",
        "vsub4",
        "vavrg4",
        "vabsdiff4",
        "vmin4",
        "vmax4",
    ] {
        for types in ["s32.s32.s32", "u32.u32.u32", "s32.u32.s32"] {
            three(format!("{op}.{types} $0, $a, $b, $c;"));
            three(format!("{op}.{types}.sat $0, $a, $b, $c;"));
            three(format!("{op}.{types}.add $0, $a, $b, $c;"));
        }
        let (mask, select) = if op.ends_with('2') {
            ("h0", "h13")
        } else {
            ("b20", "b7160")
        };
        three(format!("{op}.u32.u32.u32 $0.{mask}, $a.{select}, $b, $c;"));
    }
}
