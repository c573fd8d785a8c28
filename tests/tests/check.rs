// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `vcuda run` says of mistakes in kernels, and what `--check` adds to it.

use std::fs;

use vcuda_tests::{Finished, Run, program, repository};

/// The number of the line of tests/programs/vcuda_only/mistakes.cu that has a remark.
fn line_of(remark: &str) -> usize {
    let source = repository().join("tests/programs/vcuda_only/mistakes.cu");
    let text = fs::read_to_string(source).unwrap();
    1 + text.lines().position(|line| line.contains(remark)).unwrap()
}

fn run(options: &[&str], mistake: &str) -> Finished {
    Run::vcuda(["run"])
        .args(options)
        .arg(program("mistakes"))
        .arg(mistake)
        .run()
}

fn place_of(remark: &str) -> String {
    format!("mistakes.cu:{}, PTX line", line_of(remark))
}

#[test]
fn an_access_outside_of_an_allocation_names_source_line_thread_and_allocation() {
    run(&[], "outside")
        .expect_pass("mistakes")
        .expect_stderr(&place_of("THE COPY"))
        .expect_stderr("block (8,0,0), thread (0,0,0)")
        .expect_stderr("directly behind the nearest allocation, of 4096 bytes");
}

#[test]
fn an_access_to_freed_memory_says_so() {
    run(&[], "freed")
        .expect_pass("mistakes")
        .expect_stderr("bytes into the 4096 bytes at")
        .expect_stderr("which were freed");
}

#[test]
fn a_misaligned_access_is_named() {
    run(&[], "misaligned")
        .expect_pass("mistakes")
        .expect_stderr(&place_of("THE COPY"))
        .expect_stderr("misaligned");
}

#[test]
fn a_race_is_found_with_both_its_lines_and_the_exit_code_says_so() {
    run(&["--check"], "race")
        .expect_code(1)
        .expect_stderr(&place_of("THE RACE"))
        .expect_stderr("races with the store by thread")
        .expect_stderr("threads raced");
    let unchecked = run(&[], "race");
    unchecked.expect_pass("mistakes");
    assert!(!unchecked.stderr.contains("check"), "{}", unchecked.stderr);
}

#[test]
fn a_read_of_device_memory_that_was_never_written_is_found() {
    run(&["--check=init"], "uninitialized")
        .expect_code(1)
        .expect_stderr(&place_of("THE COPY"))
        .expect_stderr("never written (0 bytes into the 4096 bytes allocated at")
        .expect_stderr("1024 threads read uninitialized memory");
}

#[test]
fn a_read_of_shared_memory_that_was_never_written_is_found() {
    run(&["--check=init,race"], "shared")
        .expect_code(1)
        .expect_stderr(&place_of("THE TILE"))
        .expect_stderr("0 threads raced");
}

#[test]
fn a_race_of_blocks_in_global_memory_is_found_with_both_blocks() {
    run(&["--check=race"], "count")
        .expect_code(1)
        .expect_stderr(&place_of("THE COUNT"))
        .expect_stderr("thread (0,0,0): the ")
        .expect_stderr("by thread (0,0,0) of block (")
        .expect_stderr("into the 4096 bytes allocated at");
    run(&["--check=race"], "relay")
        .expect_code(1)
        .expect_stderr(&place_of("THE RELAY"));
}

#[test]
fn a_read_of_a_texel_that_was_never_written_is_found() {
    run(&["--check=init"], "texture")
        .expect_code(1)
        .expect_stderr("Kernel _Z6sampleyPi, ")
        .expect_stderr("32 threads read uninitialized memory");
}

#[test]
fn what_is_not_looked_for_is_not_found() {
    run(&["--check=memory"], "race").expect_code(0);
    run(&["--check=race"], "uninitialized").expect_code(0);
    run(&["--check=init"], "outside")
        .expect_code(1)
        .expect_stderr("1 kernel failed");
}

#[test]
fn kernels_without_mistakes_pass() {
    run(&["--check"], "none")
        .expect_pass("mistakes")
        .expect_stderr("no mistakes were found");
    for name in [
        "reduction_shuffle",
        "matmul_tiled",
        "histogram_atomics",
        "stencil",
        "symbols",
    ] {
        let result = Run::vcuda(["run", "--check"]).arg(program(name)).run();
        result
            .expect_pass(name)
            .expect_stderr("no mistakes were found");
    }
}

#[test]
fn a_list_that_makes_no_sense_is_refused_with_the_words_that_do() {
    let result = run(&["--check=speed"], "none");
    result.expect_stderr("memory, init and race");
    assert_ne!(result.status.code(), Some(0));
}
