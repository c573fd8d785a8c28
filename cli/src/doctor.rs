// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda doctor`: what is there, what would be used, and whether it works.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use vcuda_api::Status;
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout;
use vcuda_transport::link::statistics;
use vcuda_transport::{Memory, greet};

use crate::{in_full, install};

pub fn doctor() -> anyhow::Result<ExitCode> {
    // Written at the end, so that a worker's own sentences do not stand in the middle of a line.
    let mut report = format!("vcuda {}\n", env!("CARGO_PKG_VERSION"));
    let mut healthy = true;
    let mut check = |name: &str, found: anyhow::Result<String>| {
        let (mark, found) = match found {
            Ok(found) => (' ', found),
            Err(error) => ('!', in_full(&error)),
        };
        healthy &= mark == ' ';
        report.push_str(&format!("{mark} {name:<14} {found}\n"));
    };
    check("library", library());
    check("functions", Ok(functions()));
    check("protocol", Ok(format!("{:016x}", vcuda_protocol::HASH)));
    check(
        "shims",
        install::library()
            .and_then(|l| install::shims(&l))
            .map(shown),
    );
    check("shared memory", shared_memory());
    check("worker", worker());
    check("CPU device", Ok(processor()));
    check("NVIDIA device", Ok(nvidia()));
    check("virtual device", virtual_device());
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("VCUDA_")) {
        check("environment", Ok(format!("{name}={value}")));
    }
    report.push_str(match healthy {
        true => "Programs run: try `vcuda run ./program`.\n",
        false => "Programs do not run: see the lines that begin with an exclamation mark.\n",
    });
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(ExitCode::from(u8::from(!healthy)))
}

fn shown(path: PathBuf) -> String {
    path.display().to_string()
}

fn library() -> anyhow::Result<String> {
    let path = install::library()?;
    let size = std::fs::metadata(&path)?.len();
    Ok(format!("{} ({} KiB)", path.display(), size / 1024))
}

fn functions() -> String {
    let all = vcuda_api::all();
    let implemented = all
        .iter()
        .filter(|f| f.status == Status::Implemented)
        .count();
    format!(
        "{implemented} of {} are implemented; the others say so when they are called",
        all.len()
    )
}

fn shared_memory() -> anyhow::Result<String> {
    let window = Memory::create("doctor", 64 << 30)?;
    window.map(None)?;
    Ok("memfd_create works, and a window of 64 GiB of address space fits".into())
}

/// Starts a worker, greets it and lets it go, as a program does.
fn worker() -> anyhow::Result<String> {
    let path = match std::env::var_os("VCUDA_WORKER") {
        Some(path) => path.into(),
        None => install::command()?,
    };
    let (ours, theirs) = UnixStream::pair()?;
    Command::new(&path)
        .args(["worker", "--foreground"])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .with_context(|| format!("{} could not be started", path.display()))?;
    let control = Memory::create("control", layout::CONTROL_LEN as u64)?;
    let window = Memory::create("window", layout::STAGING_LEN * 2)?;
    let hello = Hello {
        protocol: vcuda_protocol::HASH,
        functions: vcuda_api::TABLE_HASH,
        pid: std::process::id(),
        program: "vcuda doctor".into(),
        window_len: window.len(),
        window_base: window.map(None)?.address(),
        record: None,
    };
    match greet(&ours, &hello, &control, &window)? {
        Welcome::Accepted { devices, .. } => Ok(format!(
            "{} answers, with {devices} CPU {}",
            path.display(),
            if devices == 1 { "device" } else { "devices" }
        )),
        Welcome::Refused { reason } => bail!("{} refuses: {reason}", path.display()),
    }
}

fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[cfg(target_arch = "x86_64")]
    let vectors = match () {
        () if is_x86_feature_detected!("avx512f") => "AVX-512",
        () if is_x86_feature_detected!("avx2") => "AVX2",
        () => "no AVX2: kernels run slowly",
    };
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = std::env::consts::ARCH;
    format!("{cores} cores, {vectors}")
}

fn nvidia() -> String {
    match vcuda_replayer::devices::nvidia::NvidiaDevice::create(None, usize::MAX, None) {
        Ok(devices) => {
            let infos = devices.iter().map(|device| device.info());
            let names: Vec<String> = infos
                .map(|info| format!("{} ({} MiB)", info.name, info.total_memory >> 20))
                .collect();
            format!("{}: use it with --device nvidia", names.join(", "))
        }
        Err(reason) => format!("none. {reason}"),
    }
}

fn virtual_device() -> anyhow::Result<String> {
    let path = Path::new("/dev/vcuda");
    if !path.exists() {
        return Ok("none".into());
    }
    let counted = statistics(path)?;
    Ok(format!(
        "{} works: {} requests, {} doorbells, {} sleeps, {} bytes transferred, {} of them copied by the kernel, {} pages pinned",
        path.display(),
        counted.requests,
        counted.kicks,
        counted.sleeps,
        counted.bytes_transferred,
        counted.bytes_copied,
        counted.pages_pinned
    ))
}
