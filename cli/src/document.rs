// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda completions` and `vcuda man`: documentation made from the command line's declaration.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::{Arguments, Completions, Man};

pub fn completions(args: Completions) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "vcuda", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: Man) -> anyhow::Result<ExitCode> {
    let folder = args.folder.display();
    std::fs::create_dir_all(&args.folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), &args.folder))
        .with_context(|| format!("The man pages could not be written into {folder}"))?;
    writeln!(std::io::stdout(), "The man pages are in {folder}.")?;
    Ok(ExitCode::SUCCESS)
}
