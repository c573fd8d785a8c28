// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's memory, mapped as a whole, and pages of it mapped where a session wants them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::shared::SharedMemory;

use super::{RamRegion, Segment};

const PAGE: u64 = 4096;

/// Why pages of the guest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RamError {
    #[error("{regions} regions of guest memory came with {files} files.")]
    Files { regions: usize, files: usize },
    #[error(
        "A region of {len} bytes of guest memory at {address:#x} could not be mapped: {source}."
    )]
    Map {
        address: u64,
        len: u64,
        source: std::io::Error,
    },
    #[error("{len} bytes at guest address {address:#x} are not in the guest's memory.")]
    NotMemory { address: u64, len: u64 },
    #[error("{len} bytes at guest address {address:#x} are not whole pages.")]
    NotPages { address: u64, len: u64 },
    #[error("{len} bytes from {offset} on do not lie in the {room} bytes reserved.")]
    NotReserved { offset: u64, len: u64, room: u64 },
    #[error("{len} bytes of address space{} could not be reserved: {source}.", at_address(*.at))]
    Reserve {
        at: Option<u64>,
        len: u64,
        source: std::io::Error,
    },
}

fn at_address(at: Option<u64>) -> String {
    at.map(|at| format!(" at {at:#x}")).unwrap_or_default()
}

/// All of the guest's memory.
#[derive(Clone, Default)]
pub struct Ram(Vec<Arc<Region>>);

struct Region {
    place: RamRegion,
    file: OwnedFd,
    memory: SharedMemory,
}

/// A range of address space of our own.
struct Range {
    base: *mut core::ffi::c_void,
    len: usize,
}

// SAFETY: the struct only names a range of address space.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by whoever made this value, and views of it hold an Arc of
        // it.
        let _ = unsafe { munmap(self.base, self.len) };
    }
}

fn shared(range: Arc<Range>) -> SharedMemory {
    // SAFETY: mapped for reading and, where anything writes, writing; page-aligned; kept by the
    // Arc; seen as shared memory only.
    unsafe { SharedMemory::new(range.base.cast(), range.len, range.clone()) }
}

impl Ram {
    /// Maps the guest's memory. The files are those of the virtual machine's monitor, which does
    /// not shrink them while it runs.
    pub fn map(regions: &[RamRegion], files: Vec<OwnedFd>) -> Result<Ram, RamError> {
        if regions.len() != files.len() {
            return Err(RamError::Files {
                regions: regions.len(),
                files: files.len(),
            });
        }
        let mapped = regions.iter().zip(files).map(|(&place, file)| {
            let failed = |source: rustix::io::Errno| RamError::Map {
                address: place.address,
                len: place.len,
                source: source.into(),
            };
            let len =
                usize::try_from(place.len).map_err(|_| failed(rustix::io::Errno::OVERFLOW))?;
            place
                .address
                .checked_add(place.len)
                .ok_or_else(|| failed(rustix::io::Errno::OVERFLOW))?;
            let flags = MapFlags::SHARED | MapFlags::NORESERVE;
            let rights = ProtFlags::READ | ProtFlags::WRITE;
            let nowhere = std::ptr::null_mut();
            // SAFETY: a new mapping where the kernel finds room.
            let base = unsafe { mmap(nowhere, len, rights, flags, &file, place.file_offset) }
                .map_err(failed)?;
            let memory = shared(Arc::new(Range { base, len }));
            Ok(Arc::new(Region {
                place,
                file,
                memory,
            }))
        });
        Ok(Ram(mapped.collect::<Result<_, _>>()?))
    }

    /// The parts of a segment, by region.
    fn parts(&self, segment: Segment) -> Result<Vec<(&Region, u64, u64)>, RamError> {
        let Segment { address, len } = segment;
        let not_memory = || RamError::NotMemory { address, len };
        let end = address.checked_add(len).ok_or_else(not_memory)?;
        let mut parts = Vec::new();
        let mut at = address;
        while at < end {
            let region = self
                .0
                .iter()
                .find(|r| at.wrapping_sub(r.place.address) < r.place.len)
                .ok_or_else(not_memory)?;
            let offset = at - region.place.address;
            let step = (region.place.len - offset).min(end - at);
            parts.push((&**region, offset, step));
            at += step;
        }
        Ok(parts)
    }

    /// Pieces of the guest's memory as one.
    pub fn scattered(&self, segments: &[Segment]) -> Result<Scattered, RamError> {
        let mut all = Scattered::new();
        for &segment in segments {
            for (region, offset, len) in self.parts(segment)? {
                if !all.push(region.memory.clone(), offset as usize, len as usize) {
                    let Segment { address, len } = segment;
                    return Err(RamError::NotMemory { address, len });
                }
            }
        }
        Ok(all)
    }

    /// Maps pages of the guest one behind the other into a reservation. After an error some may be
    /// mapped.
    pub fn map_into(
        &self,
        reservation: &Reservation,
        offset: u64,
        segments: &[Segment],
    ) -> Result<(), RamError> {
        let mut at = offset;
        for &segment in segments {
            let Segment { address, len } = segment;
            if !address.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
                return Err(RamError::NotPages { address, len });
            }
            for (region, start, len) in self.parts(segment)? {
                let place = reservation.place(at, len)?;
                let flags = MapFlags::SHARED | MapFlags::FIXED | MapFlags::NORESERVE;
                let rights = ProtFlags::READ | ProtFlags::WRITE;
                let from = region.place.file_offset + start;
                // SAFETY: the place lies in the reservation, whose users expect its contents to
                // change at any time.
                unsafe {
                    mmap(
                        place,
                        len as usize,
                        rights,
                        flags,
                        region.file.as_fd(),
                        from,
                    )
                }
                .map_err(|source| RamError::Map {
                    address,
                    len,
                    source: source.into(),
                })?;
                at += len;
            }
        }
        Ok(())
    }
}

/// Address space into which pages of the guest are mapped as they become known. What is not mapped
/// reads as zeros and is not written: a write ends the process.
pub struct Reservation(Arc<Range>);

impl Reservation {
    /// Reserves `len` bytes, at `at` if given and free there.
    pub fn new(at: Option<u64>, len: u64) -> Result<Self, RamError> {
        let failed = |source: rustix::io::Errno| RamError::Reserve {
            at,
            len,
            source: source.into(),
        };
        let size = usize::try_from(len).map_err(|_| failed(rustix::io::Errno::OVERFLOW))?;
        let mut flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        if at.is_some() {
            flags |= MapFlags::FIXED_NOREPLACE;
        }
        let hint = at.unwrap_or(0) as usize as *mut core::ffi::c_void;
        // SAFETY: a new mapping: without `at` the kernel finds room, with it FIXED_NOREPLACE
        // refuses space in use.
        let base = unsafe { mmap_anonymous(hint, size, ProtFlags::READ, flags) }.map_err(failed)?;
        let range = Arc::new(Range { base, len: size });
        if at.is_some_and(|at| at != base as u64) {
            return Err(failed(rustix::io::Errno::EXIST));
        }
        Ok(Reservation(range))
    }

    fn place(&self, offset: u64, len: u64) -> Result<*mut core::ffi::c_void, RamError> {
        let room = self.0.len as u64;
        match offset.checked_add(len) {
            Some(end) if end <= room => Ok(self.0.base.wrapping_byte_add(offset as usize)),
            _ => Err(RamError::NotReserved { offset, len, room }),
        }
    }

    pub fn address(&self) -> u64 {
        self.0.base as u64
    }

    pub fn memory(&self) -> SharedMemory {
        shared(self.0.clone())
    }

    /// Lets go of the pages of a range.
    pub fn clear(&self, offset: u64, len: u64) -> Result<(), RamError> {
        let place = self.place(offset, len)?;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the place lies in the reservation, whose users expect its contents to change at
        // any time.
        unsafe { mmap_anonymous(place, len as usize, ProtFlags::READ, flags) }.map_err(
            |source| RamError::Reserve {
                at: Some(place as u64),
                len,
                source: source.into(),
            },
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    /// Two regions of guest memory with a hole between them, and their bytes.
    fn guest() -> (Ram, SharedMemory) {
        let memory = Memory::create("ram", 16 * PAGE).unwrap();
        let view = memory.map(None).unwrap().shared();
        let place = |address, pages, at| RamRegion {
            address,
            len: pages * PAGE,
            file_offset: at * PAGE,
        };
        let regions = [
            place(0, 4, 0),
            place(4 * PAGE, 2, 8),
            place(64 * PAGE, 4, 12),
        ];
        let files = (0..3).map(|_| memory.as_fd().try_clone_to_owned().unwrap());
        (Ram::map(&regions, files.collect()).unwrap(), view)
    }

    fn segment(address: u64, len: u64) -> Segment {
        Segment { address, len }
    }

    #[test]
    fn segments_may_cross_from_region_to_region() {
        let (ram, file) = guest();
        let all = ram.scattered(&[segment(3 * PAGE + 100, PAGE)]).unwrap();
        assert!(all.write(0, &[7; PAGE as usize]));
        let mut byte = [0];
        assert!(file.read(3 * PAGE as usize + 100, &mut byte) && byte == [7]);
        assert!(file.read(8 * PAGE as usize + 99, &mut byte) && byte == [7]);
        assert!(file.read(8 * PAGE as usize + 100, &mut byte) && byte == [0]);
    }

    #[test]
    fn addresses_outside_the_guests_memory_are_refused() {
        let (ram, _) = guest();
        for (address, len) in [
            (6 * PAGE, 1),
            (5 * PAGE, PAGE + 1),
            (63 * PAGE, 2 * PAGE),
            (u64::MAX, 2),
            (u64::MAX - 4095, PAGE),
        ] {
            let refused = ram.scattered(&[segment(address, len)]);
            assert!(
                matches!(refused, Err(RamError::NotMemory { .. })),
                "{address:#x}"
            );
        }
    }

    #[test]
    fn pages_are_mapped_in_order_and_let_go() {
        let (ram, file) = guest();
        let reserved = Reservation::new(None, 8 * PAGE).unwrap();
        let segments = [segment(64 * PAGE, PAGE), segment(0, 2 * PAGE)];
        ram.map_into(&reserved, PAGE, &segments).unwrap();
        let view = reserved.memory();
        assert!(view.write(PAGE as usize, b"one") && view.write(2 * PAGE as usize, b"two"));
        let mut bytes = [0; 3];
        assert!(file.read(12 * PAGE as usize, &mut bytes) && &bytes == b"one");
        assert!(file.read(0, &mut bytes) && &bytes == b"two");
        reserved.clear(PAGE, 3 * PAGE).unwrap();
        assert!(view.read(PAGE as usize, &mut bytes) && bytes == [0; 3]);
        assert!(file.read(0, &mut bytes) && &bytes == b"two");
    }

    #[test]
    fn what_is_not_whole_pages_or_not_reserved_is_not_mapped() {
        let (ram, _) = guest();
        let reserved = Reservation::new(None, 2 * PAGE).unwrap();
        let map = |offset, address, len| ram.map_into(&reserved, offset, &[segment(address, len)]);
        assert!(matches!(map(0, 1, PAGE), Err(RamError::NotPages { .. })));
        assert!(matches!(map(0, 0, 100), Err(RamError::NotPages { .. })));
        assert!(matches!(
            map(PAGE, 0, 2 * PAGE),
            Err(RamError::NotReserved { .. })
        ));
        assert!(matches!(
            map(u64::MAX, 0, PAGE),
            Err(RamError::NotReserved { .. })
        ));
    }
}
