// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda analyze`

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use vcuda_analyzer::{Options, analyze as look_at, exit_code, render_table, write_stubs};

use crate::args::Analyze;

pub fn analyze(args: Analyze) -> anyhow::Result<ExitCode> {
    let reports = look_at(&args.paths, &Options::from_env());
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &reports)?;
        writeln!(out)?;
    } else {
        for (index, report) in reports.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{}", render_table(report, width()))?;
        }
    }
    if let Some(folder) = &args.stubs {
        let written = write_stubs(folder, &reports).with_context(|| {
            format!(
                "The skeletons could not be written into {}",
                folder.display()
            )
        })?;
        vcuda_transport::say!("{written}");
    }
    Ok(ExitCode::from(exit_code(&reports)))
}

/// Columns of the terminal, or enough for a file.
fn width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .map(|size| usize::from(size.ws_col))
        .ok()
        .filter(|&columns| columns > 0)
        .unwrap_or(120)
}
