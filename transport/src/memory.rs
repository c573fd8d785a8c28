// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory by file descriptor (memfd_create(2)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use vcuda_protocol::shared::SharedMemory;

use crate::TransportError;

/// Its owner cannot shrink it under the other side, whose access would then fault.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// A piece of memory that two processes can map. Pages come into being when they are touched.
#[derive(Debug)]
pub struct Memory {
    fd: OwnedFd,
    len: u64,
}

impl Memory {
    /// Zeroed memory of `len` bytes.
    pub fn create(name: &str, len: u64) -> Result<Self, TransportError> {
        let make = || {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = rustix::fs::memfd_create(format!("vcuda-{name}"), flags)?;
            rustix::fs::ftruncate(&fd, len)?;
            rustix::fs::fcntl_add_seals(&fd, SEALS)?;
            Ok(fd)
        };
        match make() {
            Ok(fd) => Ok(Memory { fd, len }),
            Err(source) => Err(TransportError::Create {
                len,
                source: rustix::io::Errno::into(source),
            }),
        }
    }

    /// Memory that another process made, of exactly `len` bytes, once it is known that it cannot
    /// change size.
    pub fn received(fd: OwnedFd, len: u64) -> Result<Self, TransportError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| TransportError::NotSealed)?;
        if !seals.contains(SEALS) {
            return Err(TransportError::NotSealed);
        }
        let found = rustix::fs::fstat(&fd)
            .map_err(std::io::Error::from)?
            .st_size as u64;
        if found != len {
            return Err(TransportError::WrongSize {
                found,
                expected: len,
            });
        }
        Ok(Memory { fd, len })
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Maps all of it, at `at` if given and free there.
    pub fn map(&self, at: Option<u64>) -> Result<Mapping, TransportError> {
        let failed = |source: rustix::io::Errno| TransportError::Map {
            len: self.len,
            at,
            source: source.into(),
        };
        let mut flags = MapFlags::SHARED | MapFlags::NORESERVE;
        if at.is_some() {
            flags |= MapFlags::FIXED_NOREPLACE;
        }
        let hint = at.unwrap_or(0) as usize as *mut core::ffi::c_void;
        let len = usize::try_from(self.len).map_err(|_| failed(rustix::io::Errno::OVERFLOW))?;
        // SAFETY: a new mapping: without `at` the kernel finds free space, with it
        // FIXED_NOREPLACE refuses space in use.
        let base = unsafe {
            rustix::mm::mmap(
                hint,
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                flags,
                &self.fd,
                0,
            )
        }
        .map_err(failed)?;
        let mapping = Mapping(Arc::new(Mapped { base, len }));
        if at.is_some_and(|at| at != base as u64) {
            // A kernel before 4.17 takes the address as a hint only.
            return Err(failed(rustix::io::Errno::EXIST));
        }
        Ok(mapping)
    }

    /// Gives the pages of a range back; it reads as zeros afterwards.
    pub fn discard(&self, offset: u64, len: u64) -> std::io::Result<()> {
        use rustix::fs::FallocateFlags;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.fd, flags, offset, len)?)
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[derive(Debug)]
struct Mapped {
    base: *mut core::ffi::c_void,
    len: usize,
}

// SAFETY: the struct only names a range of address space.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by Memory::map, and every SharedMemory over it held an Arc
        // of this.
        let _ = unsafe { rustix::mm::munmap(self.base, self.len) };
    }
}

/// Memory mapped into this process, until the last view of it is gone.
#[derive(Debug, Clone)]
pub struct Mapping(Arc<Mapped>);

impl Mapping {
    pub fn address(&self) -> u64 {
        self.0.base as u64
    }

    pub fn shared(&self) -> SharedMemory {
        // SAFETY: mapped read/write, page-aligned, and kept by the Arc; only seen as shared memory.
        unsafe { SharedMemory::new(self.0.base.cast(), self.0.len, self.0.clone()) }
    }

    /// Children of fork(2) do not get the mapping, and core dumps leave it out: a child must not
    /// write into its parent's session.
    pub fn keep_private(&self) {
        for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
            // SAFETY: neither advice changes this process's own memory.
            let _ = unsafe { rustix::mm::madvise(self.0.base, self.0.len, advice) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_show_the_same_bytes() {
        let memory = Memory::create("test", 1 << 20).unwrap();
        let (one, two) = (memory.map(None).unwrap(), memory.map(None).unwrap());
        assert!(one.shared().write(4000, b"hello"));
        let mut bytes = [0; 5];
        assert!(two.shared().read(4000, &mut bytes));
        assert_eq!(&bytes, b"hello");
        memory.discard(0, 1 << 20).unwrap();
        assert!(two.shared().read(4000, &mut bytes));
        assert_eq!(bytes, [0; 5]);
    }

    #[test]
    fn an_address_in_use_is_refused() {
        let memory = Memory::create("test", 4096).unwrap();
        let first = memory.map(None).unwrap();
        let second = memory.map(Some(first.address()));
        assert!(matches!(second, Err(TransportError::Map { .. })));
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let fd = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        let refused = Memory::received(fd, 4096);
        assert!(matches!(refused, Err(TransportError::NotSealed)));
    }

    #[test]
    fn memory_of_another_size_than_announced_is_refused() {
        let memory = Memory::create("test", 4096).unwrap();
        let refused = Memory::received(memory.fd, 8192);
        assert!(matches!(
            refused,
            Err(TransportError::WrongSize {
                found: 4096,
                expected: 8192
            })
        ));
    }
}
