// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that a worker or a replay executes on.

use std::sync::Arc;

use clap::ValueEnum;
use vcuda_replayer::Window;
use vcuda_replayer::devices::Device;
use vcuda_replayer::devices::cpu::{Checker, CpuDevice, CpuOptions};
use vcuda_replayer::devices::null::NullDevice;

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Runs the program's PTX on the processor.
    Cpu,
    /// Computes nothing and returns zeros: for measuring everything else.
    Null,
}

/// The devices of one session, made for its window. Each has at most `memory` bytes, if given.
pub fn make(
    kind: Kind,
    window: &Window,
    memory: Option<u64>,
    checker: Option<Arc<Checker>>,
) -> anyhow::Result<Vec<Arc<dyn Device>>> {
    Ok(match kind {
        Kind::Cpu => {
            let mut options = CpuOptions::from_env()?;
            options.memory = options.memory.min(memory.unwrap_or(u64::MAX));
            CpuDevice::create_checked(options, Some(window), checker)?
        }
        Kind::Null => vec![Arc::new(NullDevice::default())],
    })
}
