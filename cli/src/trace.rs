// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda trace`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use vcuda_protocol::trace::Reader;
use vcuda_replayer::inspect::{self, Summary};
use vcuda_replayer::replay::Ended;

use crate::args::{Trace, TraceCommand};

/// A trace that ends early was still shown as far as it goes.
const CUT: u8 = 1;

pub fn trace(args: Trace) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let ended = match &args.what {
        TraceCommand::Info { trace } => {
            let summary = summary(trace)?;
            write!(out, "{summary}")?;
            out.flush()?;
            return Ok(ExitCode::from(u8::from(!summary.clean)));
        }
        TraceCommand::Calls { trace } => inspect::calls(open(trace)?, &mut out)?,
        TraceCommand::Json { trace } => inspect::json(open(trace)?, &mut out)?,
    };
    out.flush()?;
    match ended {
        Ended::Clean => Ok(ExitCode::SUCCESS),
        early => {
            vcuda_transport::say!("{early}");
            Ok(ExitCode::from(CUT))
        }
    }
}

fn open(path: &Path) -> anyhow::Result<Reader<File>> {
    Reader::open(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn summary(path: &Path) -> anyhow::Result<Summary> {
    Summary::read(open(path)?).with_context(|| format!("{} cannot be read", path.display()))
}

/// One line on what a recording holds.
pub fn headline(path: &Path) -> anyhow::Result<String> {
    let summary = summary(path)?;
    let end = if summary.clean {
        String::new()
    } else {
        format!(" {}", summary.ended)
    };
    Ok(format!(
        "{} commands recorded to {} ({} KiB).{end}",
        summary.counts.commands,
        path.display(),
        summary.file_bytes.div_ceil(1024)
    ))
}
