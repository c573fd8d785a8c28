// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes command streams on a device, records and replays them

pub mod devices;
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
