// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `vcuda trace` and `vcuda replay` do with files that are no traces, cut, damaged, or of another version.

use std::path::Path;

use vcuda_tests::trace::Trace;
use vcuda_tests::{Finished, Run, program, record, temporary_folder};

/// Each command that reads traces, and its sentence where a trace is bad.
fn readers(trace: &Path) -> [Finished; 4] {
    [
        &["trace", "info"][..],
        &["trace", "calls"],
        &["trace", "json"],
        &["replay"],
    ]
    .map(|command| Run::vcuda(command).arg(trace).run())
}

fn expect_refusal(trace: &Path, sentence: &str) {
    for result in readers(trace) {
        result.expect_code(2).expect_stderr(sentence);
        assert_eq!(result.stdout, "");
        assert_eq!(result.stderr.lines().count(), 1, "{}", result.stderr);
    }
}

#[test]
fn a_missing_file_is_said_to_be_missing() {
    expect_refusal(Path::new("no/such.vcuda"), "No such file");
}

#[test]
fn a_folder_is_no_trace() {
    let folder = temporary_folder();
    expect_refusal(folder.path(), "Is a directory");
}

#[test]
fn other_files_are_no_traces() {
    expect_refusal(&program("seed"), "This is not a vcuda trace");
    expect_refusal(Path::new("/dev/null"), "This is not a vcuda trace");
    expect_refusal(Path::new("/dev/zero"), "This is not a vcuda trace");
}

#[test]
fn a_newer_format_asks_for_a_newer_vcuda() {
    let folder = temporary_folder();
    let path = record(folder.path(), "seed", &[]);
    let mut trace = Trace::read(&path);
    trace.set_version(2);
    trace.write(&path);
    expect_refusal(&path, "Use a newer vcuda");
}

#[test]
fn a_cut_one_is_used_up_to_the_cut_and_said_to_be_cut() {
    let folder = temporary_folder();
    let path = record(folder.path(), "seed", &[]);
    let whole = Trace::read(&path);
    let blocks = whole.blocks();
    for (index, block) in blocks.iter().enumerate().skip(1) {
        let ends = [block.start + 5, block.payload.start, block.payload.end - 1];
        let end = ends[index % ends.len()];
        let mut cut = whole.clone();
        cut.bytes.truncate(end);
        cut.write(&path);
        let sentence = format!("The trace is cut off: it ends at byte {end}");
        let [info, calls, json, replay] = readers(&path);
        info.expect_code(1).expect_stdout(&sentence);
        calls.expect_code(1).expect_stderr(&sentence);
        json.expect_code(1).expect_stderr(&sentence);
        assert!(json.stdout.lines().count() > 0);
        replay
            .expect_code(2)
            .expect_stderr(&sentence)
            .expect_stderr("equal to what could be read");
    }
}

#[test]
fn one_without_its_last_record_is_said_to_have_no_end() {
    let folder = temporary_folder();
    let path = record(folder.path(), "seed", &[]);
    let mut trace = Trace::read(&path);
    let done = trace.blocks().pop().unwrap();
    trace.bytes.truncate(done.start);
    trace.write(&path);
    let [info, calls, json, replay] = readers(&path);
    info.expect_code(1).expect_stdout("has no end");
    calls.expect_code(1).expect_stderr("has no end");
    json.expect_code(1).expect_stderr("has no end");
    replay
        .expect_code(0)
        .expect_stderr("has no end")
        .expect_stdout("The replay is equal to the recording.");
}

#[test]
fn a_damaged_one_is_used_up_to_the_damage_and_said_to_be_damaged() {
    let folder = temporary_folder();
    let path = record(folder.path(), "seed", &[]);
    let whole = Trace::read(&path);
    for (index, block) in whole.blocks().iter().enumerate().skip(1) {
        let places = [block.start, block.payload.start, block.payload.end - 1];
        let place = places[index % places.len()];
        let mut damaged = whole.clone();
        damaged.bytes[place] ^= 0x10;
        damaged.write(&path);
        let sentence = format!("damaged in the record at byte {}", block.start);
        let [info, calls, json, replay] = readers(&path);
        info.expect_code(1).expect_stdout(&sentence);
        calls.expect_code(1).expect_stderr(&sentence);
        json.expect_code(1).expect_stderr(&sentence);
        replay.expect_code(2).expect_stderr(&sentence);
    }
}

#[test]
fn random_bytes_behind_a_good_head_do_no_harm() {
    let folder = temporary_folder();
    let path = record(folder.path(), "seed", &[]);
    let mut trace = Trace::read(&path);
    let mut state = 1u64;
    for byte in &mut trace.bytes[16..] {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    trace.write(&path);
    for result in readers(&path) {
        assert!(!result.status.success(), "{result:?}");
    }
}
