// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random programs give the same results in every order of turns, on one thread and on many, with
//! all lanes together and lane by lane, and with every set of lane functions.

mod golden;
#[path = "golden/machine.rs"]
mod machine;

use golden::{CASES, Form, random};
use machine::Machine;
use std::time::{Duration, Instant};
use vcuda_ptx::{Engine, Lanes, Schedule};

/// Programs that are tried at least, and for how long more of them are.
const AT_LEAST: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(5);

/// Ways to run a program, by name.
fn ways() -> Vec<(String, Lanes, usize, Option<Schedule>)> {
    let mut ways = vec![
        ("on four threads".to_owned(), Lanes::detect(), 4, None),
        ("with portable lanes".to_owned(), Lanes::Portable, 1, None),
    ];
    for seed in 0..3 {
        for lanes_apart in [false, true] {
            let schedule = Schedule { seed, lanes_apart };
            ways.push((
                format!("with {schedule:?}"),
                Lanes::detect(),
                1,
                Some(schedule),
            ));
        }
    }
    ways
}

fn check(seed: u64, machine: &Machine, engines: &[Engine; 2]) {
    let form: Form = random::program(seed);
    let usual = machine
        .run(&form, Lanes::detect())
        .unwrap_or_else(|error| panic!("program {seed}: {error}"));
    let size = form.result_bytes();
    for (name, lanes, threads, schedule) in ways() {
        let engine = &engines[usize::from(threads > 1)];
        let found = machine
            .run_with(&form, lanes, engine, schedule)
            .unwrap_or_else(|error| panic!("program {seed} {name}: {error}"));
        if let Some(thread) =
            (0..CASES).find(|t| usual[t * size..][..size] != found[t * size..][..size])
        {
            panic!(
                "program {seed} {name}: thread {thread} gives {:x?}, not {:x?}\n{}",
                &found[thread * size..][..size],
                &usual[thread * size..][..size],
                form.body
            );
        }
    }
}

#[test]
fn random_programs_give_the_same_results_whoever_runs_when() {
    let machine = Machine::new();
    let engines = [Engine::new(1), Engine::new(4)];
    let start = Instant::now();
    let mut seed = 0;
    while seed < AT_LEAST || start.elapsed() < PATIENCE && seed < 400 {
        check(seed, &machine, &engines);
        seed += 1;
    }
}

#[test]
fn the_programs_do_something_with_their_operands() {
    let machine = Machine::new();
    let mut distinct = 0;
    for seed in 0..20 {
        let form = random::program(seed);
        let results = machine.run(&form, Lanes::detect()).expect("it runs");
        let size = form.result_bytes();
        let mut all: Vec<&[u8]> = results.chunks(size).collect();
        all.sort_unstable();
        all.dedup();
        distinct += all.len();
    }
    assert!(distinct > 20 * CASES / 2, "{distinct} different results");
}
