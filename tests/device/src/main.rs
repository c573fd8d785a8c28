// SPDX-License-Identifier: MIT OR Apache-2.0
//! The device side of the guest driver, without a worker: what the driver's tests run against.
//!
//! It keeps sessions, memory and transfers as the real daemon does, checks that the driver obeys
//! `virtio_vcuda.h`, and executes a few commands that tests write into the control memory
//! ([`session`]). It must never know what a CUDA command is.
//!
//! With `--hostile SEED` it breaks the rules on purpose ([`hostile`]); then only the guest's survival
//! counts.
//!
//! ```text
//! vcuda-test-device --socket /tmp/v.sock            # serves one guest, then says what it saw
//! vcuda-test-device --socket /tmp/v.sock --hostile 7
//! ```
//!
//! The exit status is 1 if the driver broke a rule or left something behind.

mod chain;
mod device;
mod hostile;
mod report;
mod requests;
mod rings;
mod session;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

/// A vcuda device for tests of the guest driver.
#[derive(Parser)]
struct Args {
    /// Where to listen; one guest is served
    #[arg(long)]
    socket: PathBuf,
    /// Break the rules, in an order that follows from this number
    #[arg(long, value_name = "SEED")]
    hostile: Option<u64>,
    /// How many queues to have: control, event, and transfer queues
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(3..=16))]
    queues: u16,
    /// Offer no indirect descriptors
    #[arg(long)]
    direct: bool,
    /// Say that the session that every COUNT-th request belongs to has no memory left
    #[arg(long, value_name = "COUNT")]
    refuse: Option<u64>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::<()>::new());
    let device = Arc::new(device::TestDevice::new(&args));
    let mut daemon = VhostUserDaemon::new("vcuda-test-device".into(), device.clone(), memory)
        .map_err(|error| anyhow::anyhow!("the vhost-user daemon could not be made: {error}"))?;
    daemon
        .serve(&args.socket)
        .map_err(|error| anyhow::anyhow!("serving on {} failed: {error}", args.socket.display()))?;
    let report = device.report();
    eprintln!("vcuda-test-device: {report}");
    // Not by returning: the threads of the queues would be waited for, and nothing ends them.
    let failed = args.hostile.is_none() && !report.is_clean();
    std::process::exit(i32::from(failed))
}
