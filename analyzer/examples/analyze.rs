// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints the table for each file or folder on the command line, and the time each took.

use std::time::Instant;

use vcuda_analyzer::{Options, analyze, exit_code, render_table};

fn main() -> std::process::ExitCode {
    let mut worst = 0;
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let reports = analyze(&[&path], &Options::from_env());
        let took = start.elapsed();
        for report in &reports {
            println!("{}", render_table(report, 120));
        }
        println!("{path}: {took:.1?}");
        worst = worst.max(exit_code(&reports));
    }
    worst.into()
}
