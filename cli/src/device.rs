// SPDX-License-Identifier: MIT OR Apache-2.0
//! The devices that a worker or a replay executes on.

use std::sync::Arc;

use clap::ValueEnum;
use vcuda_replayer::Window;
use vcuda_replayer::devices::Device;
use vcuda_replayer::devices::cpu::{Checker, CpuDevice, CpuOptions};
use vcuda_replayer::devices::null::NullDevice;
use vcuda_replayer::devices::nvidia::{NvidiaDevice, NvidiaError};

/// Kinds of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Runs the program's PTX on the processor.
    Cpu,
    /// The GPUs of this machine, through NVIDIA's driver.
    Nvidia,
    /// The GPUs if there are any that can be used, the processor otherwise.
    Auto,
    /// Computes nothing and returns zeros: for measuring everything else.
    Null,
}

/// Says which of them, where the command line does not.
pub const VARIABLE: &str = "VCUDA_DEVICE";

impl Kind {
    /// What the command line calls it.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The devices of one session, made for its window. Each has at most `memory` bytes, if given. Only
/// CPU devices can be checked.
pub fn make(
    kind: Kind,
    window: &Window,
    memory: Option<u64>,
    checker: Option<Arc<Checker>>,
) -> anyhow::Result<Vec<Arc<dyn Device>>> {
    anyhow::ensure!(
        checker.is_none() || matches!(kind, Kind::Cpu | Kind::Auto),
        "Kernels are checked on the CPU device only, and this is to be the device `{}`.",
        kind.name()
    );
    let kind = match (kind, &checker) {
        (Kind::Auto, Some(_)) => Kind::Cpu,
        _ => kind,
    };
    Ok(match kind {
        Kind::Cpu => {
            let mut options = CpuOptions::from_env()?;
            options.memory = options.memory.min(memory.unwrap_or(u64::MAX));
            CpuDevice::create_checked(options, Some(window), checker)?
        }
        Kind::Nvidia => nvidia(window, memory)?,
        Kind::Auto => match nvidia(window, memory) {
            Ok(devices) => devices,
            Err(reason) => {
                vcuda_transport::say!("{reason} The processor executes the kernels.");
                make(Kind::Cpu, window, memory, checker)?
            }
        },
        Kind::Null => vec![Arc::new(NullDevice::default())],
    })
}

fn nvidia(window: &Window, memory: Option<u64>) -> Result<Vec<Arc<dyn Device>>, NvidiaError> {
    /// Chooses among the devices that a session has, which are all.
    const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
    let visible = std::env::var(VISIBLE).unwrap_or_default();
    let first = visible.split(',').next().unwrap_or_default().trim();
    let first = match first {
        "" => 0,
        number => number.parse().unwrap_or(usize::MAX),
    };
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::remove_var(VISIBLE) };
    NvidiaDevice::create(Some(window), first, memory)
}
