// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda serve`: programs of virtual machines, and of this one.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;
use vcuda_daemon::{Launcher, Options, Server};

use crate::args::Serve;
use crate::install;

pub fn serve(args: Serve) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("VCUDA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    // Before any thread is there, so that the signals come here.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if let Some(folder) = &args.record {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("The folder {} cannot be made", folder.display()))?;
    }
    let server = Server::start(Options {
        launcher: Launcher {
            command: install::command()?,
            arguments: worker_arguments(&args)?,
        },
        max_sessions: args.max_sessions,
        vhost_user: args.vhost_user,
        unix: args.unix,
    })?;
    if let Some(signal) = signals.forever().next() {
        tracing::info!("Signal {signal}: the sessions are ended.");
    }
    server.stop();
    Ok(ExitCode::SUCCESS)
}

fn worker_arguments(args: &Serve) -> anyhow::Result<Vec<OsString>> {
    let device = args
        .device
        .to_possible_value()
        .context("The kind of device has no name")?;
    let mut arguments: Vec<OsString> = ["worker", "--foreground", "--served", "--device"]
        .map(Into::into)
        .to_vec();
    arguments.push(device.get_name().into());
    if let Some(limit) = args.memory_limit {
        arguments.extend(["--memory-limit".into(), limit.to_string().into()]);
    }
    if let Some(folder) = &args.record {
        let folder = std::path::absolute(folder)?;
        arguments.extend(["--record".into(), folder.into()]);
    }
    Ok(arguments)
}
