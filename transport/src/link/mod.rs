// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's way to its worker, wherever that is.

mod device_file;
mod local;
mod uapi;

use std::io;
use std::os::fd::RawFd;

use vcuda_protocol::notify::Notify;

pub use device_file::{DeviceFile, DeviceFileError, statistics};
pub use local::LocalLink;
pub use uapi::Statistics;

/// How a client and its worker wake each other and share memory.
pub trait Link: Notify {
    /// Whether the worker is gone, or the way to it.
    fn has_ended(&self) -> bool;
    /// Makes memory behind a range of whole pages of the window that has none. It is zeroed.
    fn back(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Gives back what [`Link::back`] made. On one machine the range reads as zeros afterwards; in
    /// a virtual machine it is not there.
    fn discard(&self, offset: u64, len: u64) -> io::Result<()>;
    /// What a child of fork has to close.
    fn descriptor(&self) -> RawFd;
    /// The way for the program's own memory to be read and written where it lies, if there is one.
    fn in_place(&self) -> Option<&dyn InPlace>;
}

/// Memory of the program that the other side uses where it lies. Numbers are the caller's choice,
/// and each is in use once at a time.
pub trait InPlace: Send + Sync {
    /// Longest transfer.
    fn longest(&self) -> u64;
    /// Lends memory for the copy that names `id`, which is issued afterwards.
    ///
    /// # Safety
    /// The memory stays the caller's until [`InPlace::wait`] has returned, and nothing in this
    /// process minds that it changes where `writable`.
    unsafe fn lend(&self, id: u64, address: u64, len: u64, writable: bool) -> io::Result<()>;
    /// Waits until the copy is done, or cannot be done any more.
    fn wait(&self, id: u64) -> io::Result<()>;
    /// Makes whole pages known for as long as the program wants, for any copy that names `id`.
    fn register(&self, id: u64, address: u64, len: u64) -> io::Result<()>;
    fn unregister(&self, id: u64) -> io::Result<()>;
}
