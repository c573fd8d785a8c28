// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda run` and `vcuda record`: a program with libvcuda.so in front of it.

use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::fs::FlockOperation;

use vcuda_protocol::trace::Reader;

use crate::args::{Program, Record, Run};
use crate::check::Report;
use crate::{device, install, trace, worker};

pub fn run(args: Run) -> anyhow::Result<ExitCode> {
    let mut command = prepare(&args.program)?;
    if let Some(list) = &args.check {
        return check(command, list, &args.program.line);
    }
    // Only returns if the program could not be started.
    let error = command.exec();
    Err(start_failure(&args.program.line, error))
}

/// Runs a program whose kernels are looked at; 1 instead of 0 if there were mistakes.
fn check(mut command: Command, list: &str, line: &[OsString]) -> anyhow::Result<ExitCode> {
    let report = Report::new()?;
    command
        .env("VCUDA_CHECK", list)
        .env(crate::check::REPORT, report.path());
    let mut child = command
        .spawn()
        .map_err(|error| start_failure(line, error))?;
    ignore_interrupts();
    let status = child.wait()?;
    if !wait_until_closed(report.path(), FlockOperation::NonBlockingLockExclusive)? {
        vcuda_transport::say!(
            "check: a process that the program left behind is still being looked at."
        );
    }
    let mistakes = report.mistakes()?;
    Ok(match status.code() {
        Some(0) if mistakes > 0 => ExitCode::from(1),
        _ => exit_code(status),
    })
}

pub fn record(args: Record) -> anyhow::Result<ExitCode> {
    let output = std::path::absolute(&args.output)
        .with_context(|| format!("{} is no path to record to", args.output.display()))?;
    let earlier = make_room(&output)?;
    let mut command = prepare(&args.program)?;
    command.env("VCUDA_RECORD", &output).env(worker::KEEP, "1");
    let started = command.spawn();
    if let Some(earlier) = earlier {
        // A program that does not start leaves all as it was.
        match started {
            Ok(_) => std::fs::remove_file(earlier)?,
            Err(_) => std::fs::rename(earlier, &output)?,
        }
    }
    let mut child = started.map_err(|error| start_failure(&args.program.line, error))?;
    ignore_interrupts();
    let status = child.wait()?;
    let shown = args.output.display();
    if std::fs::metadata(&output).map_or(0, |m| m.len()) == 0 {
        vcuda_transport::say!(
            "nothing was recorded to {shown}: the program made no CUDA call that needs a device."
        );
    } else if wait_until_closed(&output, FlockOperation::NonBlockingLockShared)? {
        vcuda_transport::say!("{}", trace::headline(&output)?);
    } else {
        vcuda_transport::say!(
            "{shown} is still being written to, by a process that the program left behind."
        );
    }
    Ok(exit_code(status))
}

/// The program as a command: the library preloaded, the shims first on the library path, this
/// command as worker.
fn prepare(program: &Program) -> anyhow::Result<Command> {
    let (name, arguments) = program
        .line
        .split_first()
        .context("There is no program to run")?;
    let library = install::library()?;
    let shims = install::shims(&library)?;
    install::add_shims_for(Path::new(name), &shims)?;
    let mut command = Command::new(name);
    command
        .args(arguments)
        .env(device::VARIABLE, program.device.name())
        // What the user preloads comes first: it may have functions that the library lacks.
        .env("LD_PRELOAD", joined(from_env("LD_PRELOAD"), library.into()))
        .env(
            "LD_LIBRARY_PATH",
            joined(shims.into(), from_env("LD_LIBRARY_PATH")),
        );
    if std::env::var_os("VCUDA_WORKER").is_none() {
        command.env("VCUDA_WORKER", install::command()?);
    }
    Ok(command)
}

fn from_env(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_default()
}

/// Two lists of paths as one.
fn joined(mut first: OsString, second: OsString) -> OsString {
    if !first.is_empty() && !second.is_empty() {
        first.push(":");
    }
    first.push(second);
    first
}

fn start_failure(program: &[OsString], error: std::io::Error) -> anyhow::Error {
    let name = program
        .first()
        .map(|p| p.to_string_lossy())
        .unwrap_or_default();
    anyhow::Error::new(error).context(format!("{name} could not be started"))
}

/// A recording that cannot be written should be known before the program has run for an hour. What
/// an earlier run recorded gives way, to the path that is returned; any other file does not.
fn make_room(output: &Path) -> anyhow::Result<Option<PathBuf>> {
    let shown = output.display();
    let cannot_be_written = || {
        format!(
            "{shown} cannot be written. Choose another file with -o, in a folder that exists and that you may write to"
        )
    };
    let Ok(found) = std::fs::metadata(output) else {
        std::fs::File::create(output)
            .and_then(|_| std::fs::remove_file(output))
            .with_context(cannot_be_written)?;
        return Ok(None);
    };
    let is_ours = || found.len() == 0 || Reader::open(output).is_ok();
    anyhow::ensure!(
        found.is_file() && is_ours(),
        "{shown} is there already and is not a vcuda trace, so it is not replaced. Remove it, or choose another file with -o"
    );
    let in_use = std::fs::File::open(output).is_ok_and(|file| file.try_lock_shared().is_err());
    anyhow::ensure!(
        !in_use,
        "{shown} is being recorded to by another program. Choose another file with -o"
    );
    let mut aside = output.as_os_str().to_owned();
    aside.push(format!(".{}.old", std::process::id()));
    std::fs::rename(output, &aside).with_context(cannot_be_written)?;
    Ok(Some(aside.into()))
}

/// The worker holds a lock on the file while it writes: a trace's has one worker, with a lock of its
/// own; several may share one. It ends soon after its program.
fn wait_until_closed(path: &Path, lock: FlockOperation) -> anyhow::Result<bool> {
    const PATIENCE: Duration = Duration::from_secs(60);
    let file = std::fs::File::open(path)?;
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match rustix::fs::flock(&file, lock) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    Ok(false)
}

/// Ctrl-C is for the program; this command stays to say what was recorded. Called after the
/// program was started, which would inherit it.
fn ignore_interrupts() {
    // SAFETY: SIG_IGN is a valid disposition for both signals.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
    }
}

/// The program's exit code; 128 plus the signal's number if a signal ended it, as shells say.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => {
            vcuda_transport::say!("the program was ended by signal {signal}.");
            128 + signal
        }
        (None, None) => i32::from(crate::FAILED),
    };
    ExitCode::from(code as u8)
}
