// SPDX-License-Identifier: MIT OR Apache-2.0
//! What kernels print. The driver writes it to this process's standard output, through the C library.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, FromRawFd};

use parking_lot::Mutex;

/// Where standard output goes: to the program's, or to memory, from where it is passed on.
pub(super) struct Printed(Option<Mutex<File>>);

impl Printed {
    /// Call it before anything is printed.
    pub(super) fn new() -> Self {
        if !vcuda_transport::is_redirected() {
            return Printed(None);
        }
        // SAFETY: the name ends with NUL.
        let fd = unsafe { libc::memfd_create(c"vcuda-printed".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Printed(None);
        }
        // SAFETY: the descriptor is new and nobody else's.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: both descriptors are open.
        let taken = unsafe { libc::dup2(file.as_raw_fd(), libc::STDOUT_FILENO) } >= 0;
        Printed(taken.then(|| Mutex::new(file)))
    }

    /// Has what was printed so far reach the program.
    pub(super) fn flush(&self) {
        // SAFETY: a null pointer stands for all streams of the C library.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        let Some(file) = &self.0 else {
            return;
        };
        let mut file = file.lock();
        let mut text = Vec::new();
        // The offset is standard output's own: it goes back to the beginning with this.
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_end(&mut text))
            .and_then(|_| file.set_len(0))
            .and_then(|()| file.seek(SeekFrom::Start(0)));
        if read.is_ok() && !text.is_empty() {
            vcuda_transport::print(&text);
        }
    }
}
