// SPDX-License-Identifier: MIT OR Apache-2.0
//! Programs of this machine, over a Unix socket. The worker takes the connection over: this only
//! starts it, counts, and ends it.

use std::collections::HashMap;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::process::Launcher;
use crate::server::{ServerError, make_way};

/// How long the workers have to end when the daemon does.
const PATIENCE: Duration = Duration::from_secs(15);

/// Serves programs of this machine.
pub struct UnixServer {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

struct Shared {
    launcher: Arc<Launcher>,
    max_sessions: u32,
    stopping: AtomicBool,
    /// The connections that workers serve.
    sessions: Mutex<HashMap<u64, UnixStream>>,
    ended: Condvar,
}

impl UnixServer {
    pub(crate) fn start(
        path: &Path,
        max_sessions: u32,
        launcher: Arc<Launcher>,
    ) -> Result<Self, ServerError> {
        make_way(path)?;
        let listener = UnixListener::bind(path).map_err(|source| ServerError::Listen {
            path: path.into(),
            source,
        })?;
        let shared = Arc::new(Shared {
            launcher,
            max_sessions,
            stopping: AtomicBool::new(false),
            sessions: Mutex::default(),
            ended: Condvar::new(),
        });
        let thread = std::thread::Builder::new()
            .name("unix".into())
            .spawn({
                let shared = shared.clone();
                move || shared.serve(&listener)
            })
            .map_err(ServerError::Thread)?;
        tracing::info!("Waiting for programs on {}.", path.display());
        Ok(UnixServer {
            path: path.into(),
            shared,
            thread,
        })
    }

    pub(crate) fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The thread waits for a connection.
        drop(UnixStream::connect(&self.path));
        let _ = self.thread.join();
        let _ = std::fs::remove_file(&self.path);
        let late = Instant::now() + PATIENCE;
        let mut sessions = self.shared.sessions.lock();
        for connection in sessions.values() {
            let _ = connection.shutdown(Shutdown::Both);
        }
        while !sessions.is_empty()
            && !self
                .shared
                .ended
                .wait_until(&mut sessions, late)
                .timed_out()
        {}
    }
}

impl Shared {
    fn serve(self: &Arc<Self>, listener: &UnixListener) {
        let mut number = 0;
        loop {
            let connection = listener.accept();
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            number += 1;
            let begun = connection.and_then(|(connection, _)| self.begin(number, connection));
            if let Err(error) = begun {
                tracing::error!("A program cannot be served: {error}.");
                // A cause that stays, such as too many open files, must not make this loop busy.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    fn begin(self: &Arc<Self>, number: u64, connection: UnixStream) -> std::io::Result<()> {
        if self.sessions.lock().len() >= self.max_sessions as usize {
            // The program sees its connection closed.
            tracing::warn!(
                "A program is refused: there are {} already.",
                self.max_sessions
            );
            return Ok(());
        }
        let ours = connection.try_clone()?;
        let worker = self.launcher.start(connection, &[])?;
        tracing::info!(session = number, worker = worker.id(), "A session begins.");
        self.sessions.lock().insert(number, ours);
        let shared = self.clone();
        std::thread::Builder::new()
            .name(format!("session-{number}"))
            .spawn(move || {
                let id = worker.id();
                let how = worker.wait();
                tracing::info!(session = number, worker = id, "The worker {how}.");
                if let Some(connection) = shared.sessions.lock().remove(&number) {
                    // The program learns of the end by this.
                    let _ = connection.shutdown(Shutdown::Both);
                }
                shared.ended.notify_all();
            })?;
        Ok(())
    }
}
