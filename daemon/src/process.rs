// SPDX-License-Identifier: MIT OR Apache-2.0
//! Worker processes: one for each program, started and reaped here.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How workers are started: a command that takes its session's socket as standard input.
#[derive(Clone, Debug)]
pub struct Launcher {
    pub command: PathBuf,
    pub arguments: Vec<OsString>,
}

/// A running worker.
pub struct Worker {
    child: Child,
}

/// How long a worker may take to end after its socket was closed: a recording is written out.
const PATIENCE: Duration = Duration::from_secs(10);

impl Launcher {
    /// Starts a worker. `extra` comes behind the arguments of all workers.
    pub fn start(&self, socket: UnixStream, extra: &[&str]) -> io::Result<Worker> {
        let child = Command::new(&self.command)
            .args(&self.arguments)
            .args(extra)
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            // A signal for the daemon's group, as Ctrl-C sends, is not for workers: they end when
            // the daemon has closed their sockets.
            .process_group(0)
            .spawn()?;
        Ok(Worker { child })
    }
}

impl Worker {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of a worker whose socket is closed. One that does not end is killed.
    pub fn reap(mut self) -> String {
        let late = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return describe(status),
                Ok(None) if Instant::now() < late => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    return "was killed, as it did not end".into();
                }
                Err(error) => return format!("could not be waited for: {error}"),
            }
        }
    }

    /// Waits for the end of a worker, however long that takes.
    pub fn wait(mut self) -> String {
        match self.child.wait() {
            Ok(status) => describe(status),
            Err(error) => format!("could not be waited for: {error}"),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".into(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
