// SPDX-License-Identifier: MIT OR Apache-2.0
//! The results of `tests/golden/` beside those of a GPU (`scripts/goldens.sh`).

mod golden;
#[path = "golden/machine.rs"]
mod machine;

use golden::{CASES, CHUNK, Check, Form, agrees, forms, hash};
use machine::Machine;
use std::collections::HashMap;
use vcuda_ptx::Lanes;

/// Opcodes that are not executed, one a line.
const REFUSED: &str = include_str!("golden/refused.txt");

/// The stored bytes of each form, by its key.
fn stored() -> HashMap<u32, &'static [u8]> {
    let mut rest: &[u8] = include_bytes!("golden/results.bin");
    let mut found = HashMap::new();
    for form in forms() {
        let size = form.stored_bytes();
        let key = form.key();
        let (these, more) = rest
            .split_at_checked(size)
            .unwrap_or_else(|| panic!("results.bin ends before `{}`", form.body));
        assert_eq!(
            these[..4],
            key.to_le_bytes(),
            "results.bin is of another table, from `{}` on",
            form.body
        );
        rest = more;
        found.insert(key, &these[4..]);
    }
    assert!(
        rest.is_empty(),
        "results.bin has {} bytes more than the table",
        rest.len()
    );
    found
}

/// Where our results of a form differ.
fn difference(form: &Form, ours: &[u8], stored: &[u8]) -> Option<String> {
    let size = form.result_bytes();
    let (kept, hashes) = stored.split_at(form.kept() * size);
    let inputs = form.inputs();
    for (case, theirs) in kept.chunks(size).enumerate() {
        let found = &ours[case * size..][..size];
        if !agrees(form.check, found, theirs) {
            let operands: Vec<String> = (0..form.ins.len())
                .map(|o| format!("{:#x}", inputs[o * CASES + case]))
                .collect();
            return Some(format!(
                "{}\n    of {} gives {found:x?}, not {theirs:x?}",
                form.body,
                operands.join(" ")
            ));
        }
    }
    for (chunk, theirs) in hashes.chunks(4).enumerate() {
        if hash(&ours[chunk * CHUNK * size..][..CHUNK * size]).to_le_bytes() != theirs {
            return Some(format!(
                "{}\n    differs in one of the cases {} to {}",
                form.body,
                chunk * CHUNK,
                (chunk + 1) * CHUNK - 1
            ));
        }
    }
    None
}

/// Whether an error says of one of these opcodes that it is not supported.
fn is_refused(error: &str) -> bool {
    let opcode = error
        .split_once("unsupported instruction `")
        .and_then(|(_, rest)| rest.split([' ', '`']).next());
    opcode.is_some_and(|opcode| REFUSED.lines().any(|line| line == opcode))
}

fn check(lanes: Lanes) {
    let stored = stored();
    let machine = Machine::new();
    let mut wrong = Vec::new();
    for form in forms() {
        match machine.run(&form, lanes) {
            Ok(ours) => wrong.extend(difference(&form, &ours, stored[&form.key()])),
            Err(error) if is_refused(&error.to_string()) => {}
            Err(error) => wrong.push(error.to_string()),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} forms are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_form_gives_what_a_gpu_gives() {
    check(Lanes::detect());
}

#[test]
fn every_form_gives_what_a_gpu_gives_on_plain_hosts() {
    check(Lanes::Portable);
}

#[test]
fn a_wrong_result_is_noticed() {
    let stored = stored();
    let form = forms()
        .into_iter()
        .find(|form| form.check == Check::Exact)
        .expect("there is one");
    let mut ours = Machine::new()
        .run(&form, Lanes::detect())
        .expect("it is supported");
    assert_eq!(difference(&form, &ours, stored[&form.key()]), None);
    *ours.last_mut().expect("a form has results") ^= 1;
    assert!(difference(&form, &ours, stored[&form.key()]).is_some());
}
