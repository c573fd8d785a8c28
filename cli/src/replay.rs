// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda replay`

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use vcuda_replayer::Replayer;
use vcuda_replayer::replay::{Element, Ended, Options, Tolerance};
use vcuda_transport::say;

use crate::args::{FloatType, Replay};
use crate::device;

pub fn replay(args: Replay) -> anyhow::Result<ExitCode> {
    let shown = args.trace.display();
    let open = || format!("{shown} cannot be replayed");
    let replayer = Replayer::open(&args.trace).with_context(open)?;
    let devices = device::make(args.device, replayer.window(), None, None)?;
    let options = Options {
        tolerance: args.tolerance.map(|limit| Tolerance {
            element: args.element.into(),
            limit,
        }),
    };
    let bar = progress_bar(replayer.commands());
    let outcome = replayer
        .replay(devices, &options, |progress| {
            bar.set_position(progress.commands)
        })
        .with_context(open)?;
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if !args.quiet {
        for note in &outcome.notes {
            writeln!(out, "note: {note}")?;
        }
        writeln!(
            out,
            "{} commands executed; {} answers and {} bytes of data compared.",
            outcome.commands, outcome.compared_values, outcome.compared_bytes
        )?;
    }
    if outcome.ended != Ended::Clean {
        say!("{}", outcome.ended);
    }
    if let Some(difference) = &outcome.first_difference {
        writeln!(out, "The replay differs. {difference}")?;
        return Ok(ExitCode::FAILURE);
    }
    if let Ended::Cut(_) = outcome.ended {
        say!("The replay is equal to what could be read of the recording.");
        return Ok(ExitCode::from(crate::FAILED));
    }
    if !args.quiet {
        writeln!(out, "The replay is equal to the recording.")?;
    }
    Ok(ExitCode::SUCCESS)
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
