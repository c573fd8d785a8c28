// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serves programs whose CUDA calls come from elsewhere: from a virtual machine, through its vcuda
//! device ([`vhost_user`]), or from this machine, over a Unix socket ([`unix`]).
//!
//! For each program a worker process is started, which executes the program's commands. The daemon
//! itself executes none, holds no CUDA state, and reads no byte of a program's data: it checks the
//! driver's requests, passes on which pages of the guest are what, and wakes. A worker that crashes
//! takes down its own program's session and nothing else.
//!
//! This crate must never know a device command or trust a guest. What a request may say stands in
//! [`wire`], what a descriptor chain may look like in [`chain`].
//!
//! ```no_run
//! use vcuda_daemon::{Launcher, Options, Server};
//!
//! let launcher = Launcher {
//!     command: "/usr/bin/vcuda".into(),
//!     arguments: vec!["worker".into(), "--foreground".into(), "--served".into()],
//! };
//! let server = Server::start(Options {
//!     launcher,
//!     max_sessions: 64,
//!     vhost_user: Some("/run/vcuda.sock".into()),
//!     unix: None,
//! })?;
//! // … until it is to end:
//! server.stop();
//! # Ok::<(), vcuda_daemon::ServerError>(())
//! ```

pub mod backend;
pub mod chain;
pub mod device;
mod process;
pub mod queue;
mod server;
mod session;
pub mod unix;
pub mod vhost_user;
pub mod wire;

pub use process::Launcher;
pub use server::{Options, Server, ServerError};
