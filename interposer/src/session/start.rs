// SPDX-License-Identifier: MIT OR Apache-2.0
//! Starting a session: the way to a worker, shared memory, the greeting.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout;
use vcuda_protocol::ring::Producer;
use vcuda_protocol::shared::SharedMemory;
use vcuda_transport::link::{DeviceFile, DeviceFileError, Link, LocalLink};
use vcuda_transport::{Mapping, Memory, TransportError, greet};

use super::{CALL_SLOTS, Order, Session, SlotPool, process, staging, used, worker};

/// The window's address where that is free. It looks like no host pointer that malloc or mmap
/// return, and like no device address.
const WINDOW_BASE: u64 = 0x2000_0000_0000;
const WINDOW_STEP: u64 = 0x0100_0000_0000;
/// For kernels whose processes have 39 bits of addresses, as User-mode Linux.
const LOW_BASE: u64 = 0x20_0000_0000;
const LOW_STEP: u64 = 0x10_0000_0000;
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
    #[error(
        "VCUDA_TRANSPORT is \"{0}\"; it should be auto, local, device, device:PATH or unix:PATH."
    )]
    Transport(String),
    #[error("{} could not be connected to: {source}. Is `vcuda serve --unix` running?", .path.display())]
    Connect {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Device(#[from] DeviceFileError),
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

/// Where a session's worker is.
#[derive(Debug, PartialEq, Eq)]
enum Transport {
    /// A process that this one starts.
    Local,
    /// Behind a virtual machine's device.
    Device(PathBuf),
    /// Started by `vcuda serve --unix`.
    Unix(PathBuf),
}

const DEVICE_FILE: &str = "/dev/vcuda";

impl Transport {
    /// By `VCUDA_TRANSPORT`; without it, the virtual machine's device where there is one.
    fn choose(wanted: Option<&OsStr>) -> Result<Self, StartError> {
        let wanted = wanted.unwrap_or_default().as_bytes();
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        Ok(match wanted {
            b"" | b"auto" => match Path::new(DEVICE_FILE).exists() {
                true => Transport::Device(DEVICE_FILE.into()),
                false => Transport::Local,
            },
            b"local" => Transport::Local,
            b"device" => Transport::Device(DEVICE_FILE.into()),
            _ => match (
                wanted.strip_prefix(b"device:"),
                wanted.strip_prefix(b"unix:"),
            ) {
                (Some(device), _) => Transport::Device(path(device)),
                (_, Some(socket)) => Transport::Unix(path(socket)),
                _ => {
                    let wanted = String::from_utf8_lossy(wanted);
                    return Err(StartError::Transport(wanted.into_owned()));
                }
            },
        })
    }
}

/// What a started session runs on.
struct Started {
    control: SharedMemory,
    window: SharedMemory,
    window_base: u64,
    link: Box<dyn Link>,
    welcome: Welcome,
    /// Who executes the commands, for messages.
    worker: String,
}

pub(super) fn start() -> Result<Session, StartError> {
    let transport = Transport::choose(std::env::var_os("VCUDA_TRANSPORT").as_deref())?;
    let record = recording();
    let hello = Hello {
        protocol: vcuda_protocol::HASH,
        functions: vcuda_api::TABLE_HASH,
        pid: std::process::id(),
        program: program(),
        window_len: 0,
        window_base: 0,
        record: record.clone(),
    };
    let started = match transport {
        Transport::Local => start_local(hello)?,
        Transport::Device(path) => start_behind_device(&path, hello)?,
        Transport::Unix(path) => start_at_socket(&path, hello)?,
    };
    let devices = match started.welcome {
        Welcome::Accepted { devices, .. } => devices,
        Welcome::Refused { reason } => {
            return Err(StartError::Refused {
                worker: started.worker,
                reason,
            });
        }
    };
    process::set_descriptor(started.link.descriptor());
    let producer =
        Producer::new(started.control.clone()).map_err(|e| StartError::Other(e.to_string()))?;
    Ok(Session {
        control: started.control,
        window: started.window,
        window_base: started.window_base,
        link: started.link,
        order: Mutex::new(Order {
            producer,
            sequence: 0,
            message: Vec::new(),
        }),
        slots: SlotPool::new(0..CALL_SLOTS),
        function_slots: SlotPool::new(CALL_SLOTS..layout::SLOT_COUNT as u16),
        oldest_function: AtomicU64::new(u64::MAX),
        staging: staging::Staging::new(),
        used: used::Used::new(),
        output: Mutex::new(()),
        began: Instant::now(),
        devices,
        recording: record.is_some(),
        ended: AtomicU32::new(0),
    })
}

fn start_local(hello: Hello) -> Result<Started, StartError> {
    let path = worker::find_worker()?;
    let (socket, theirs) =
        UnixStream::pair().map_err(|e| StartError::Other(format!("socketpair failed: {e}.")))?;
    let name = path.display().to_string();
    worker::spawn(&path, theirs).map_err(|source| StartError::Spawn {
        worker: name.clone(),
        source,
    })?;
    greet_over(socket, name, hello)
}

fn start_at_socket(path: &Path, hello: Hello) -> Result<Started, StartError> {
    let socket = UnixStream::connect(path).map_err(|source| StartError::Connect {
        path: path.into(),
        source,
    })?;
    greet_over(socket, format!("behind {}", path.display()), hello)
}

/// Starts a session with a worker of this machine.
fn greet_over(socket: UnixStream, worker: String, hello: Hello) -> Result<Started, StartError> {
    let control =
        Memory::create("control", layout::CONTROL_LEN as u64).map_err(StartError::Memory)?;
    let control_mapping = control.map(None).map_err(StartError::Memory)?;
    let (window, window_mapping) = make_window()?;
    control_mapping.keep_private();
    window_mapping.keep_private();
    let memory = control_mapping.shared();
    mark(&memory);
    let hello = Hello {
        window_len: window.len(),
        window_base: window_mapping.address(),
        ..hello
    };
    let welcome =
        greet(&socket, &hello, &control, &window).map_err(|source| StartError::Greeting {
            worker: worker.clone(),
            source,
        })?;
    Ok(Started {
        control: memory,
        window: window_mapping.shared(),
        window_base: window_mapping.address(),
        link: Box::new(LocalLink::new(socket, window)),
        welcome,
        worker,
    })
}

fn start_behind_device(path: &Path, hello: Hello) -> Result<Started, StartError> {
    let [len, ..] = WINDOW_LENS;
    let device = DeviceFile::open(path, len, window_bases())?;
    mark(&device.control());
    let hello = Hello {
        window_len: device.window_len(),
        window_base: device.window_base(),
        ..hello
    };
    let welcome = device.start(&hello)?;
    Ok(Started {
        control: device.control(),
        window: device.window(),
        window_base: device.window_base(),
        link: Box::new(device),
        welcome,
        worker: format!("behind {}", path.display()),
    })
}

fn mark(control: &SharedMemory) {
    control
        .u32(layout::MAGIC_WORD)
        .store(layout::MAGIC, Ordering::Release);
}

fn window_bases() -> impl Iterator<Item = u64> {
    let high = (0..16).map(|step| WINDOW_BASE + step * WINDOW_STEP);
    let low = (0..3).map(|step| LOW_BASE + step * LOW_STEP);
    high.chain(low)
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
        for base in window_bases() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(wanted: &str) -> Option<Transport> {
        Transport::choose(Some(OsStr::new(wanted))).ok()
    }

    #[test]
    fn a_transport_is_named_with_or_without_its_path() {
        let device = |path: &str| Some(Transport::Device(path.into()));
        assert_eq!(choose("local"), Some(Transport::Local));
        assert_eq!(choose("device"), device("/dev/vcuda"));
        assert_eq!(choose("device:/dev/vcuda1"), device("/dev/vcuda1"));
        let socket = Transport::Unix("/run/vcuda.sock".into());
        assert_eq!(choose("unix:/run/vcuda.sock"), Some(socket));
        assert_eq!(choose("tcp"), None);
    }
}
