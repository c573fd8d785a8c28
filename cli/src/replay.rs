// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda replay`

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use vcuda_replayer::Replayer;
use vcuda_replayer::replay::{Element, Options, Tolerance};

use crate::args::{FloatType, Replay};
use crate::device;

pub fn replay(args: Replay) -> anyhow::Result<ExitCode> {
    let shown = args.trace.display();
    let open = || format!("{shown} cannot be replayed");
    let replayer = Replayer::open(&args.trace).with_context(open)?;
    let devices = device::make(args.device, replayer.window())?;
    let options = Options {
        tolerance: args.tolerance.map(|limit| Tolerance {
            element: args.element.into(),
            limit,
        }),
    };
    let bar = progress_bar(replayer.commands());
    let outcome = replayer
        .replay(devices, &options, |progress| bar.set_position(progress.commands))
        .with_context(open)?;
    bar.finish_and_clear();
    if !args.quiet {
        for note in &outcome.notes {
            println!("note: {note}");
        }
        println!("{shown}: {}", outcome.ended);
        println!(
            "{} commands executed; {} answers and {} bytes of data compared.",
            outcome.commands, outcome.compared_values, outcome.compared_bytes
        );
    }
    match &outcome.first_difference {
        Some(difference) => {
            println!("The replay differs. {difference}");
            Ok(ExitCode::FAILURE)
        }
        None => {
            if !args.quiet {
                println!("The replay is equal to the recording.");
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl From<FloatType> for Element {
    fn from(float: FloatType) -> Self {
        match float {
            FloatType::F32 => Element::F32,
            FloatType::F64 => Element::F64,
        }
    }
}

/// A bar on standard error, if that is a terminal and the replay takes long enough to see it.
fn progress_bar(commands: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} commands, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(commands).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
