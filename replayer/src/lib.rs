// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes command streams on a device, records and replays them.
//!
//! A [`Session`] executes one client's commands, in their one order, on one or more
//! [`devices`]; answers leave through an [`Outbox`], and an [`Observer`] may watch. [`worker`]
//! feeds a session from the ring that a client in another process writes; [`Recorder`] is an
//! observer that writes a trace; [`Replayer`] feeds a session from a trace and compares.
//!
//! This crate must never know a CUDA API: what a program called is a number in a command's header.
//! Nor does it know how client and worker met, or trust anything that a client sent.
//!
//! ```
//! use std::sync::Arc;
//! use vcuda_protocol::{Command, Header, Reply, shared::SharedMemory};
//! use vcuda_replayer::{Answers, Session, Window, devices::null::NullDevice};
//!
//! let window = Window { base: 0x2000_0000_0000, memory: SharedMemory::anonymous(4096), backing: None };
//! let answers = Answers::new();
//! let devices = vec![Arc::new(NullDevice::default()) as _];
//! let mut session = Session::new(devices, window, answers.clone(), None);
//!
//! let header = Header { sequence: 1, api: 7, thread: 1, time: 0, slot: Some(0) };
//! session.execute(&header, Command::DeviceSynchronize { device: 0 });
//! assert_eq!(answers.wait(0), Ok(Reply::Done));
//! ```

pub mod devices;
pub mod guest;
pub mod inspect;
pub mod observer;
pub mod outbox;
pub mod recorder;
pub mod replay;
pub mod rows;
pub mod session;
pub mod status;
pub mod window;
pub mod worker;

pub use observer::Observer;
pub use outbox::{Answers, ControlOutbox, Outbox};
pub use recorder::Recorder;
pub use replay::Replayer;
pub use session::Session;
pub use window::Window;
