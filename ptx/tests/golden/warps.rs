// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions in which the lanes of a warp meet.

use super::In::{Count, P, U32, U64};
use super::{Form, Out};

/// Runs the statement with all lanes, and with the lanes of a mask alone.
fn both(forms: &mut Vec<Form>, statement: &str, outs: &[Out], ins: &[super::In]) {
    forms.push(Form::new(statement.replace("MASK", "-1"), outs, ins));
    let mut initial = String::new();
    for (o, out) in outs.iter().enumerate() {
        initial += &match out {
            Out::P => format!("setp.ne.u32 ${o}, %lane, %lane; "),
            Out::D => format!("mov.b64 ${o}, 7; "),
            _ => format!("mov.b32 ${o}, 7; "),
        };
    }
    forms.push(Form::new(
        format!(
            "{{ .reg .pred on; .reg .b32 m; mov.b32 m, 0x5ff0f3a6; shr.u32 m, m, %lane; and.b32 m, m, 1; setp.ne.u32 on, m, 0;
             {initial} @!on bra OVER; {} OVER: }}",
            statement.replace("MASK", "0x5ff0f3a6")
        ),
        outs,
        ins,
    ));
}

pub fn forms(forms: &mut Vec<Form>) {
    for (mode, clamp) in [
        ("up", [0, 0x1800, 0x1000]),
        ("down", [31, 0x181f, 0x100f]),
        ("bfly", [31, 0x181f, 0x100f]),
        ("idx", [31, 0x181f, 0x1003]),
    ] {
        for clamp in clamp {
            // Lanes that are read must be in the mask: all are.
            forms.push(Form::new(
                format!("shfl.sync.{mode}.b32 $0|$1, $a, $b, {clamp}, -1;"),
                &[Out::W, Out::P],
                &[U32, Count],
            ));
        }
    }
    for mode in ["all", "any", "uni"] {
        both(
            forms,
            &format!("vote.sync.{mode}.pred $0, $a, MASK;"),
            &[Out::P],
            &[P],
        );
        both(
            forms,
            &format!("vote.sync.{mode}.pred $0, !$a, MASK;"),
            &[Out::P],
            &[P],
        );
    }
    both(forms, "vote.sync.ballot.b32 $0, $a, MASK;", &[Out::W], &[P]);
    both(
        forms,
        "{ .reg .b32 x; and.b32 x, $a, 3; match.any.sync.b32 $0, x, MASK; }",
        &[Out::W],
        &[U32],
    );
    both(
        forms,
        "{ .reg .b64 x; and.b64 x, $a, 5; match.any.sync.b64 $0, x, MASK; }",
        &[Out::W],
        &[U64],
    );
    for ty in ["b32", "b64"] {
        let x = if ty == "b32" { U32 } else { U64 };
        both(
            forms,
            &format!(
                "{{ .reg .{ty} x; .reg .pred same; and.{ty} x, $a, 64; match.all.sync.{ty} $0|$1, x, MASK; }}"
            ),
            &[Out::W, Out::P],
            &[x],
        );
        both(
            forms,
            &format!("{{ .reg .{ty} x; mov.{ty} x, 9; match.all.sync.{ty} $0|$1, x, MASK; }}"),
            &[Out::W, Out::P],
            &[x],
        );
    }
    for op in [
        "add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32",
        "xor.b32",
    ] {
        both(
            forms,
            &format!("redux.sync.{op} $0, $a, MASK;"),
            &[Out::W],
            &[U32],
        );
    }
    both(
        forms,
        "{ .reg .b32 leader; elect.sync leader|$0, MASK; mov.b32 $1, leader; }",
        &[Out::P, Out::W],
        &[],
    );
    forms.push(Form::new(
        "barrier.red.popc.u32 $0, 0, $a;",
        &[Out::W],
        &[P],
    ));
    for op in ["and.pred", "or.pred"] {
        forms.push(Form::new(
            format!("barrier.red.{op} $0, 1, $a;"),
            &[Out::P],
            &[P],
        ));
        forms.push(Form::new(
            format!("bar.red.{op} $0, 2, !$a;"),
            &[Out::P],
            &[P],
        ));
    }
}
