// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda worker`: one program's commands, executed.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use vcuda_protocol::layout;
use vcuda_replayer::devices::Device;
use vcuda_replayer::recorder::{self, Existing};
use vcuda_replayer::worker::{Guest, Hangup, serve};
use vcuda_replayer::{Observer, Recorder, Window};
use vcuda_transport::{Futex, accept, say, wait_for_hangup};

use crate::args::Worker;
use crate::{device, in_full};

/// Set by `vcuda record`: a recording that is there is one of the same run.
pub const KEEP: &str = "VCUDA_RECORD_KEEP";

pub fn worker(args: Worker) -> anyhow::Result<ExitCode> {
    let socket = take_socket().context(
        "A worker is started by libvcuda.so, with the session's socket as its standard input",
    )?;
    if !args.foreground {
        detach()?;
    }
    let greeting = accept(&socket)?;
    let prepared = (|| {
        anyhow::ensure!(
            greeting.hello.functions == vcuda_api::TABLE_HASH,
            "The library and the worker have different lists of CUDA functions: they come from different builds. Install both from one build."
        );
        anyhow::ensure!(
            greeting.hello.window_len > layout::STAGING_LEN,
            "The client's window of {} bytes has no room behind its staging area.",
            greeting.hello.window_len
        );
        let window = Window {
            base: greeting.hello.window_base,
            memory: greeting
                .window
                .map(Some(greeting.hello.window_base))?
                .shared(),
        };
        let devices = device::make(args.device, &window)?;
        let observer = match &greeting.hello.record {
            Some(path) => record(Path::new(path), &greeting.hello, &devices)
                // The program did not ask for it, and runs as well without.
                .inspect_err(|error| {
                    say!(
                        "{} The program goes on without a recording.",
                        in_full(error)
                    )
                })
                .ok(),
            None => None,
        };
        Ok((
            window,
            devices,
            observer,
            greeting.control.map(None)?.shared(),
        ))
    })();
    let (window, devices, observer, control) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            greeting.refuse(&socket, in_full(&error))?;
            return Ok(ExitCode::from(crate::FAILED));
        }
    };
    greeting.welcome(&socket, devices.len() as u32)?;

    let hangup = Hangup::new();
    std::thread::Builder::new()
        .name("vcuda-hangup".into())
        .spawn({
            let hangup = hangup.clone();
            move || {
                wait_for_hangup(&socket);
                hangup.hang_up();
            }
        })?;
    serve(Guest {
        control,
        window,
        notify: Arc::new(Futex),
        devices,
        observer,
        hangup,
    })
    .with_context(|| format!("The session of {} is ended", greeting.hello.program))?;
    Ok(ExitCode::SUCCESS)
}

fn record(
    path: &Path,
    hello: &vcuda_protocol::handshake::Hello,
    devices: &[Arc<dyn Device>],
) -> anyhow::Result<Arc<dyn Observer>> {
    let infos: Vec<_> = devices.iter().map(|d| d.info()).collect();
    let existing = match std::env::var_os(KEEP) {
        Some(_) => Existing::Keep,
        None => Existing::Replace,
    };
    let properties = recorder::properties(hello, &infos);
    let recorder = Recorder::create(path, hello.pid, existing, &properties)
        .with_context(|| format!("The recording {} cannot be written", path.display()))?;
    Ok(Arc::new(recorder))
}

/// The socket that is standard input, which is left to /dev/null: nothing here reads input, and
/// the socket must close when the session ends.
fn take_socket() -> anyhow::Result<UnixStream> {
    let stdin = std::io::stdin();
    let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    socket.peer_addr()?;
    let null = OwnedFd::from(std::fs::File::open("/dev/null")?);
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

/// Leaves the program's family of processes: its `wait` must not see the worker, and a Ctrl-C for
/// the program must not end the worker before it has written what it recorded.
fn detach() -> anyhow::Result<()> {
    // SAFETY: no other thread runs yet, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(std::io::Error::last_os_error()).context("The worker could not be forked"),
        0 => {
            rustix::process::setsid()?;
            Ok(())
        }
        // SAFETY: the parent ends at once, without running what belongs to the child.
        _ => unsafe { libc::_exit(0) },
    }
}
