// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a session: shared memory, a worker process, the greeting.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout;
use vcuda_protocol::ring::Producer;
use vcuda_transport::{Futex, Mapping, Memory, TransportError, greet};

use super::{CALL_SLOTS, Order, Session, SlotPool, process, staging};

/// The window's address where that is free. It looks like no host pointer that malloc or mmap
/// return, and like no device address.
const WINDOW_BASE: u64 = 0x2000_0000_0000;
const WINDOW_STEP: u64 = 0x0100_0000_0000;
/// Address space, not memory: pages come into being when they are touched. The smaller sizes are
/// for processes whose address space is limited.
const WINDOW_LENS: [u64; 3] = [64 << 30, 4 << 30, layout::STAGING_LEN + (256 << 20)];

#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(
        "No worker was found to execute CUDA calls: there is no `vcuda` {}. Set VCUDA_WORKER to the path of the vcuda command.",
        searched(.0)
    )]
    NoWorker(Vec<PathBuf>),
    #[error(
        "The worker {worker} could not be started: {source}. Set VCUDA_WORKER to the path of the vcuda command."
    )]
    Spawn {
        worker: String,
        source: std::io::Error,
    },
    #[error("The worker {worker} did not accept the session: {source}")]
    Greeting {
        worker: String,
        source: TransportError,
    },
    #[error("The worker {worker} refused the session: {reason}")]
    Refused { worker: String, reason: String },
    #[error(
        "{0} vcuda needs memfd_create and some address space: look at `ulimit -v` and the limits of the container."
    )]
    Memory(TransportError),
    #[error("The session could not be set up: {0}")]
    Other(String),
}

fn searched(paths: &[PathBuf]) -> String {
    let quoted: Vec<String> = paths
        .iter()
        .map(|p| format!("at {}", p.display()))
        .collect();
    quoted.join(", nor ")
}

pub(super) fn start() -> Result<Session, StartError> {
    let worker = find_worker()?;
    let control =
        Memory::create("control", layout::CONTROL_LEN as u64).map_err(StartError::Memory)?;
    let control_mapping = control.map(None).map_err(StartError::Memory)?;
    let (window, window_mapping) = make_window()?;
    control_mapping.keep_private();
    window_mapping.keep_private();
    control_mapping
        .shared()
        .u32(layout::MAGIC_WORD)
        .store(layout::MAGIC, Ordering::Release);

    let (socket, theirs) =
        UnixStream::pair().map_err(|e| StartError::Other(format!("socketpair failed: {e}.")))?;
    let name = || worker.display().to_string();
    spawn(&worker, theirs).map_err(|source| StartError::Spawn {
        worker: name(),
        source,
    })?;
    let record = recording();
    let hello = Hello {
        protocol: vcuda_protocol::HASH,
        functions: vcuda_api::TABLE_HASH,
        pid: std::process::id(),
        program: program(),
        window_len: window.len(),
        window_base: window_mapping.address(),
        record: record.clone(),
    };
    let devices = match greet(&socket, &hello, &control, &window) {
        Ok(Welcome::Accepted { devices }) => devices,
        Ok(Welcome::Refused { reason }) => {
            return Err(StartError::Refused {
                worker: name(),
                reason,
            });
        }
        Err(source) => {
            return Err(StartError::Greeting {
                worker: name(),
                source,
            });
        }
    };
    process::set_socket(&socket);
    let memory = control_mapping.shared();
    let producer = Producer::new(memory.clone()).map_err(|e| StartError::Other(e.to_string()))?;
    Ok(Session {
        control: memory,
        window: window_mapping,
        window_memory: window,
        notify: Futex,
        socket,
        order: Mutex::new(Order {
            producer,
            sequence: 0,
            message: Vec::new(),
        }),
        slots: SlotPool::new(0..CALL_SLOTS),
        function_slots: SlotPool::new(CALL_SLOTS..layout::SLOT_COUNT as u16),
        oldest_function: AtomicU64::new(u64::MAX),
        staging: staging::Staging::new(),
        began: Instant::now(),
        devices,
        recording: record.is_some(),
        ended: AtomicU32::new(0),
    })
}

fn make_window() -> Result<(Memory, Mapping), StartError> {
    let mut failure = None;
    for len in WINDOW_LENS {
        let memory = match Memory::create("window", len) {
            Ok(memory) => memory,
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        for base in (0..16).map(|step| WINDOW_BASE + step * WINDOW_STEP) {
            match memory.map(Some(base)) {
                Ok(mapping) => return Ok((memory, mapping)),
                Err(error) => failure = Some(error),
            }
        }
    }
    Err(match failure {
        Some(error) => StartError::Memory(error),
        None => StartError::Other("no window size was tried.".into()),
    })
}

/// The absolute path to record to, if the user asked for a recording.
fn recording() -> Option<String> {
    let path = std::env::var_os("VCUDA_RECORD").filter(|p| !p.is_empty())?;
    let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
    Some(path.to_string_lossy().into_owned())
}

fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let mut name = name.to_string_lossy().into_owned();
    // The greeting is short; a monstrous name is cut.
    name.truncate(name.floor_char_boundary(4096));
    name
}

/// Starts the worker with the socket as its standard input. It detaches itself from this process,
/// so that the program's own wait(2) never sees it.
fn spawn(worker: &Path, socket: UnixStream) -> std::io::Result<()> {
    let mut command = Command::new(worker);
    command
        .arg("worker")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit());
    // The worker is no CUDA program: this library must not be loaded into it.
    match std::env::var_os("LD_PRELOAD") {
        Some(list) => command.env("LD_PRELOAD", without_us(&list)),
        None => &mut command,
    };
    let mut launcher = command.spawn()?;
    // The launched process forks the real worker and ends. Where the program ignores SIGCHLD the
    // kernel has already reaped it, which wait reports as an error.
    let _ = launcher.wait();
    Ok(())
}

fn without_us(list: &OsStr) -> std::ffi::OsString {
    let kept: Vec<&[u8]> = list
        .as_bytes()
        .split(|&b| b == b':' || b == b' ')
        .filter(|entry| !entry.ends_with(b"libvcuda.so") && !entry.is_empty())
        .collect();
    OsStr::from_bytes(&kept.join(&b':')).to_owned()
}

fn find_worker() -> Result<PathBuf, StartError> {
    if let Some(path) = std::env::var_os("VCUDA_WORKER").filter(|p| !p.is_empty()) {
        return Ok(path.into());
    }
    let mut candidates = Vec::new();
    if let Some(library) = library_path()
        && let Some(folder) = library.parent()
    {
        candidates.push(folder.join("vcuda"));
        candidates.push(folder.join("../bin/vcuda"));
        candidates.push(folder.join("../../bin/vcuda"));
    }
    if let Some(path) = std::env::var_os("PATH") {
        candidates.extend(std::env::split_paths(&path).map(|p| p.join("vcuda")));
    }
    match candidates.iter().find(|c| c.is_file()) {
        Some(found) => Ok(found.clone()),
        None => Err(StartError::NoWorker(
            candidates.into_iter().take(3).collect(),
        )),
    }
}

/// Where this library was loaded from.
fn library_path() -> Option<PathBuf> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: the address is in this library, and `info` is a Dl_info to be filled.
    let found = unsafe { libc::dladdr(library_path as *const libc::c_void, info.as_mut_ptr()) };
    // SAFETY: zeroed is a valid Dl_info, filled or not.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gave a NUL-terminated string that lives as long as the library.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    // A symlink (libcuda.so.1) leads to the real folder.
    std::fs::canonicalize(OsStr::from_bytes(name.to_bytes())).ok()
}
