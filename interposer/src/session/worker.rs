// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's process, where it is one of this machine that the program starts itself.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::start::StartError;

/// Starts the worker with the socket as its standard input. It detaches itself from this process,
/// so that the program's own wait(2) never sees it.
pub(super) fn spawn(worker: &Path, socket: UnixStream) -> std::io::Result<()> {
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

pub(super) fn find_worker() -> Result<PathBuf, StartError> {
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
