// SPDX-License-Identifier: MIT OR Apache-2.0
//! A virtual machine after another on one socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use vhost::vhost_user::Listener;
use vhost_user_backend::{ShutdownHandle, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::backend::VcudaBackend;
use crate::process::Launcher;
use crate::server::{ServerError, make_way};

/// Serves the vcuda device of a virtual machine.
pub struct VhostUserServer {
    path: PathBuf,
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stopping: AtomicBool,
    connection: Mutex<Option<ShutdownHandle>>,
}

impl VhostUserServer {
    pub(crate) fn start(
        path: &Path,
        max_sessions: u32,
        launcher: Arc<Launcher>,
    ) -> Result<Self, ServerError> {
        make_way(path)?;
        let failed = |source: std::io::Error| ServerError::Listen {
            path: path.into(),
            source,
        };
        let listener = Listener::new(path, true).map_err(|e| failed(std::io::Error::other(e)))?;
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new()
            .name("vhost-user".into())
            .spawn({
                let shared = shared.clone();
                move || shared.serve(listener, max_sessions, &launcher)
            })
            .map_err(ServerError::Thread)?;
        tracing::info!("Waiting for a virtual machine on {}.", path.display());
        Ok(VhostUserServer {
            path: path.into(),
            shared,
            thread,
        })
    }

    pub(crate) fn stop(self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        match &*self.shared.connection.lock() {
            Some(connection) => connection.shutdown(),
            // The thread waits for a connection.
            None => drop(std::os::unix::net::UnixStream::connect(&self.path)),
        }
        let _ = self.thread.join();
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn serve(&self, mut listener: Listener, max_sessions: u32, launcher: &Arc<Launcher>) {
        while !self.is_stopping() {
            if let Err(error) = self.serve_one(&mut listener, max_sessions, launcher) {
                tracing::error!("The virtual machine cannot be served: {error}.");
                // A cause that stays must not make this loop a busy one.
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        }
    }

    fn serve_one(
        &self,
        listener: &mut Listener,
        max_sessions: u32,
        launcher: &Arc<Launcher>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        let backend = VcudaBackend::new(memory.clone(), max_sessions, launcher.clone())?;
        let backend = Arc::new(backend);
        let mut daemon = VhostUserDaemon::new("vhost-user-vm".into(), backend.clone(), memory)
            .map_err(|e| e.to_string())?;
        daemon.start(listener).map_err(|e| e.to_string())?;
        *self.connection.lock() = daemon.shutdown_handle();
        if self.is_stopping() {
            daemon.request_shutdown();
        } else {
            tracing::info!("A virtual machine's monitor has connected.");
        }
        let ended = daemon.wait();
        self.connection.lock().take();
        backend.end();
        match ended {
            _ if self.is_stopping() => {}
            Ok(()) => tracing::info!("The virtual machine's monitor has left."),
            Err(error) => tracing::info!("The virtual machine's monitor has left: {error}."),
        }
        Ok(())
    }
}
