// SPDX-License-Identifier: MIT OR Apache-2.0
//! The `vcuda` command: CUDA programs on machines without a GPU.

mod analyze;
mod args;
mod check;
mod device;
mod doctor;
mod document;
mod install;
mod replay;
mod run;
mod serve;
mod trace;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// What a command returns when it could not do its work at all.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Analyze(args) => analyze::analyze(args),
        Command::Run(args) => run::run(args),
        Command::Record(args) => run::record(args),
        Command::Replay(args) => replay::replay(args),
        Command::Trace(args) => trace::trace(args),
        Command::Shims(args) => install::write_shims(&args.folder),
        Command::Serve(args) => serve::serve(args),
        Command::Worker(args) => worker::worker(args),
        Command::Doctor => doctor::doctor(),
        Command::Completions(args) => document::completions(args),
        Command::Man(args) => document::man(args),
    };
    result.unwrap_or_else(|error| {
        // A reader that went away (`vcuda trace calls t.vcuda | head`) is no failure.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        vcuda_transport::say!("{}", in_full(&error));
        ExitCode::from(FAILED)
    })
}

/// An error with its causes, as far as they do not stand in it already.
fn in_full(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        let said = text.contains(cause.trim_end_matches('.'));
        if !said {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
