// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker is outside this virtual machine: memory, doorbell and waiting by /dev/vcuda.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout::{CONTROL_LEN, RING};
use vcuda_protocol::notify::Notify;
use vcuda_protocol::ring::{self, LONG_SPIN};
use vcuda_protocol::shared::SharedMemory;

use super::{InPlace, Link, uapi};
use crate::{TransportError, guest};

/// Numbers of the driver's memories: the control memory, then windows by their first page.
const CONTROL: u64 = 1;
const WINDOW: u64 = 1 << 40;
const PAGE: u64 = 4096;

/// Longest answer to a greeting.
const MAX_ANSWER: usize = 64 << 10;

/// Why a session could not be started through the driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceFileError {
    #[error("{} could not be opened: {source}{}.", .path.display(), advice(.source))]
    Open { path: PathBuf, source: io::Error },
    #[error("{} is not vcuda's device: {source}.", .path.display())]
    NotOurs { path: PathBuf, source: io::Error },
    #[error("The driver of {} speaks version {found}, and this library version {}. Install both from one build.", .path.display(), uapi::VERSION)]
    Version { path: PathBuf, found: u32 },
    #[error("The driver could not {what}: {source}.")]
    Driver {
        what: &'static str,
        source: io::Error,
    },
    #[error(transparent)]
    Greeting(#[from] TransportError),
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (users of it belong to the group vcuda)",
        _ => "",
    }
}

/// See the [module](self).
pub struct DeviceFile {
    file: File,
    longest: u64,
    control: SharedMemory,
    /// Where the window lies in this process.
    window: Arc<Mapped>,
    /// The worker's advice, once there is a worker.
    spin: OnceLock<Duration>,
}

struct Mapped {
    base: *mut libc::c_void,
    len: usize,
}

// SAFETY: the struct only names a range of address space.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by whoever made this value, and views of it hold an Arc.
        unsafe { libc::munmap(self.base, self.len) };
    }
}

fn shared(mapped: Arc<Mapped>) -> SharedMemory {
    // SAFETY: page-aligned and kept by the Arc; what is not backed is never touched, and the rest
    // is mapped for reading and writing and seen as shared memory only.
    unsafe { SharedMemory::new(mapped.base.cast(), mapped.len, mapped.clone()) }
}

/// Calls a driver's ioctl, again where a signal came between.
///
/// # Safety
/// `argument` is what the request takes.
unsafe fn ioctl<T>(file: &File, request: libc::Ioctl, argument: *mut T) -> io::Result<()> {
    loop {
        // SAFETY: the caller vouches for the argument.
        match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            _ => return Ok(()),
        }
    }
}

impl DeviceFile {
    /// Opens the device and makes the control memory and a window of `window_len` bytes at the
    /// first of `bases` that is free.
    pub fn open(
        path: &Path,
        window_len: u64,
        bases: impl Iterator<Item = u64>,
    ) -> Result<DeviceFile, DeviceFileError> {
        let (file, info) = open(path)?;
        let driver = |what| move |source| DeviceFileError::Driver { what, source };
        let window = reserve(window_len, bases).map_err(driver("reserve the window"))?;
        let offset = create(&file, CONTROL, CONTROL_LEN as u64, uapi::MEMORY_CONTROL, 0)
            .map_err(driver("make the control memory"))?;
        let control = map(&file, std::ptr::null_mut(), CONTROL_LEN, offset)
            .map_err(driver("map the control memory"))?;
        let control = shared(Arc::new(Mapped {
            base: control,
            len: CONTROL_LEN,
        }));
        // Some kernels see only by a fault that a page was written: better now than in the first
        // commands.
        for page in (RING..CONTROL_LEN).step_by(PAGE as usize) {
            let is_there = control.write(page, &[0]);
            debug_assert!(is_there, "it was mapped");
        }
        Ok(DeviceFile {
            file,
            longest: info.max_transfer,
            control,
            window: Arc::new(window),
            spin: OnceLock::new(),
        })
    }

    pub fn control(&self) -> SharedMemory {
        self.control.clone()
    }

    /// The window. Parts of it are there once they are backed.
    pub fn window(&self) -> SharedMemory {
        shared(self.window.clone())
    }

    pub fn window_base(&self) -> u64 {
        self.window.base as u64
    }

    pub fn window_len(&self) -> u64 {
        self.window.len as u64
    }

    /// Has a worker started.
    pub fn start(&self, hello: &Hello) -> Result<Welcome, DeviceFileError> {
        let greeting = guest::encode_hello(hello)?;
        let mut answer = vec![0u8; MAX_ANSWER];
        let mut start = uapi::Start {
            greeting: greeting.as_ptr() as u64,
            greeting_len: greeting.len() as u32,
            answer: answer.as_mut_ptr() as u64,
            answer_len: answer.len() as u32,
            ..Default::default()
        };
        // SAFETY: the request reads the greeting and writes at most `answer_len` bytes.
        unsafe { ioctl(&self.file, uapi::START, &raw mut start) }.map_err(|source| {
            DeviceFileError::Driver {
                what: "have a worker started on the host",
                source,
            }
        })?;
        answer.truncate(start.answer_len as usize);
        let welcome = guest::decode_welcome(&answer)?;
        if let Welcome::Accepted { spin, .. } = welcome {
            // There is one start.
            let _ = self.spin.set(spin.min(LONG_SPIN));
        }
        Ok(welcome)
    }
}

/// Opens the device, and sees that its driver is one that this library knows.
fn open(path: &Path) -> Result<(File, uapi::Info), DeviceFileError> {
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path)
        .map_err(|source| DeviceFileError::Open {
            path: path.into(),
            source,
        })?;
    let mut info = uapi::Info::default();
    // SAFETY: the request fills an Info.
    unsafe { ioctl(&file, uapi::INFO, &raw mut info) }.map_err(|source| {
        DeviceFileError::NotOurs {
            path: path.into(),
            source,
        }
    })?;
    if info.version != uapi::VERSION {
        return Err(DeviceFileError::Version {
            path: path.into(),
            found: info.version,
        });
    }
    Ok((file, info))
}

/// What the driver has counted.
pub fn statistics(path: &Path) -> Result<uapi::Statistics, DeviceFileError> {
    let (file, _) = open(path)?;
    let mut statistics = uapi::Statistics::default();
    // SAFETY: the request fills a Statistics.
    unsafe { ioctl(&file, uapi::STATISTICS, &raw mut statistics) }.map_err(|source| {
        DeviceFileError::Driver {
            what: "say what it has counted",
            source,
        }
    })?;
    Ok(statistics)
}

/// Makes memory; gives the offset by which it is mapped.
fn create(file: &File, id: u64, len: u64, kind: u32, address: u64) -> io::Result<u64> {
    let mut memory = uapi::Memory {
        id,
        len,
        address,
        kind,
        ..Default::default()
    };
    // SAFETY: the request reads and writes a Memory.
    unsafe { ioctl(file, uapi::MEMORY_CREATE, &raw mut memory) }?;
    Ok(memory.map_offset)
}

/// Maps memory of the driver, in place of what is mapped at `at` if that is not null.
fn map(
    file: &File,
    at: *mut libc::c_void,
    len: usize,
    offset: u64,
) -> io::Result<*mut libc::c_void> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let fixed = if at.is_null() { 0 } else { libc::MAP_FIXED };
    let flags = libc::MAP_SHARED | fixed;
    // SAFETY: a new mapping, or one within the window, of which nobody uses what is not backed.
    let base = unsafe { libc::mmap(at, len, rights, flags, file.as_raw_fd(), offset as i64) };
    match base {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        base => Ok(base),
    }
}

/// Address space without access.
fn reserve(len: u64, bases: impl Iterator<Item = u64>) -> io::Result<Mapped> {
    let len = usize::try_from(len).map_err(io::Error::other)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let mut failure = io::Error::other("no address was tried");
    for at in bases {
        let hint = at as usize as *mut libc::c_void;
        let flags = flags | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping: FIXED_NOREPLACE refuses space in use.
        let base = unsafe { libc::mmap(hint, len, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            failure = io::Error::last_os_error();
            continue;
        }
        let mapped = Mapped { base, len };
        if base == hint {
            return Ok(mapped);
        }
        // A kernel before 4.17 takes the address as a hint only.
        failure = io::Error::from_raw_os_error(libc::EEXIST);
    }
    Err(failure)
}

impl Notify for DeviceFile {
    fn wait(&self, word: &AtomicU32, expected: u32, timeout: Duration) {
        let Some(start) = self.control.range(0, 0) else {
            return;
        };
        let mut wait = uapi::Wait {
            offset: (word.as_ptr() as usize).wrapping_sub(start as usize) as u32,
            expected,
            timeout_ns: timeout.as_nanos().min(u128::from(u64::MAX)) as u64,
        };
        // Every outcome (woken, changed already, interrupted, timed out) means: look again.
        // SAFETY: the request reads a Wait.
        unsafe { libc::ioctl(self.file.as_raw_fd(), uapi::WAIT, &raw mut wait) };
    }

    fn wake(&self, _word: &AtomicU32) {
        // A session that has ended needs no waking, and nothing else can go wrong.
        // SAFETY: the request has no argument.
        unsafe { libc::ioctl(self.file.as_raw_fd(), uapi::KICK) };
    }

    /// The worker has the host's processors, of which this machine may have a few.
    fn spin(&self) -> Duration {
        self.spin.get().copied().unwrap_or_else(ring::spin)
    }
}

impl Link for DeviceFile {
    fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.file.as_raw_fd(),
            events: 0,
            revents: 0,
        };
        // SAFETY: one pollfd.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
        ready > 0 && poll.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    fn back(&self, offset: u64, len: u64) -> io::Result<()> {
        let at = self.window().range(offset as usize, len as usize);
        let at = at.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let id = WINDOW + offset / PAGE;
        let found = create(&self.file, id, len, uapi::MEMORY_WINDOW, offset)?;
        let mapped = map(&self.file, at.cast(), len as usize, found);
        if mapped.is_err() {
            let _ = self.destroy(id);
        }
        mapped.map(drop)
    }

    fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let at = self.window().range(offset as usize, len as usize);
        let at = at.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // SAFETY: within the window, and the caller gives the range up.
        let base = unsafe { libc::mmap(at.cast(), len as usize, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.destroy(WINDOW + offset / PAGE)
    }

    fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn in_place(&self) -> Option<&dyn InPlace> {
        Some(self)
    }
}

impl DeviceFile {
    fn destroy(&self, mut id: u64) -> io::Result<()> {
        // SAFETY: the request reads a number.
        unsafe { ioctl(&self.file, uapi::MEMORY_DESTROY, &raw mut id) }
    }
}

impl InPlace for DeviceFile {
    fn longest(&self) -> u64 {
        self.longest
    }

    unsafe fn lend(&self, id: u64, address: u64, len: u64, writable: bool) -> io::Result<()> {
        let mut transfer = uapi::Transfer {
            id,
            address,
            len,
            direction: if writable {
                uapi::FROM_DEVICE
            } else {
                uapi::TO_DEVICE
            },
            flags: 0,
        };
        // SAFETY: the request reads a Transfer; the caller vouches for the memory.
        unsafe { ioctl(&self.file, uapi::TRANSFER_SUBMIT, &raw mut transfer) }
    }

    fn wait(&self, mut id: u64) -> io::Result<()> {
        // SAFETY: the request reads a number.
        unsafe { ioctl(&self.file, uapi::TRANSFER_WAIT, &raw mut id) }
    }

    fn register(&self, id: u64, address: u64, len: u64) -> io::Result<()> {
        let mut register = uapi::Register {
            id,
            address,
            len,
            ..Default::default()
        };
        // SAFETY: the request reads a Register; pages that are not the program's are refused.
        unsafe { ioctl(&self.file, uapi::MEMORY_REGISTER, &raw mut register) }
    }

    fn unregister(&self, id: u64) -> io::Result<()> {
        self.destroy(id)
    }
}
