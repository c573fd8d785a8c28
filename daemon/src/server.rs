// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sockets, and their end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::process::Launcher;
use crate::unix::UnixServer;
use crate::vhost_user::VhostUserServer;

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct Options {
    pub launcher: Launcher,
    /// Programs at once, on each socket.
    pub max_sessions: u32,
    /// The socket that a virtual machine's monitor connects to.
    pub vhost_user: Option<PathBuf>,
    /// The socket that programs of this machine connect to.
    pub unix: Option<PathBuf>,
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    #[error("{} cannot be listened on: {source}.", .path.display())]
    Listen {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is served already, by another process.", .0.display())]
    InUse(PathBuf),
    #[error("{} is there and is no socket, so it is not replaced.", .0.display())]
    NoSocket(PathBuf),
    #[error("A thread could not be started: {0}.")]
    Thread(std::io::Error),
}

/// A daemon that serves.
pub struct Server {
    vhost_user: Option<VhostUserServer>,
    unix: Option<UnixServer>,
}

impl Server {
    /// Listens, and serves in threads of its own.
    pub fn start(options: Options) -> Result<Server, ServerError> {
        let launcher = Arc::new(options.launcher);
        let most = options.max_sessions;
        let vhost_user = options
            .vhost_user
            .map(|path| VhostUserServer::start(&path, most, launcher.clone()))
            .transpose()?;
        let unix = options
            .unix
            .map(|path| UnixServer::start(&path, most, launcher.clone()))
            .transpose()?;
        Ok(Server { vhost_user, unix })
    }

    /// Takes no more programs, ends the sessions, waits for their workers, and removes the sockets.
    pub fn stop(self) {
        if let Some(server) = self.vhost_user {
            server.stop();
        }
        if let Some(server) = self.unix {
            server.stop();
        }
    }
}

/// Makes way for a socket: one that nobody listens on any more is removed.
pub(crate) fn make_way(path: &Path) -> Result<(), ServerError> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ServerError::NoSocket(path.into()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ServerError::InUse(path.into()));
    }
    std::fs::remove_file(path).map_err(|source| ServerError::Listen {
        path: path.into(),
        source,
    })
}
