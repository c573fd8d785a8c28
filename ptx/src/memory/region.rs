// SPDX-License-Identifier: MIT OR Apache-2.0
//! A range of device addresses with host backing, and its table of valid bytes.

use super::MemoryError;
use core::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// Bytes per entry of the table of valid bytes.
pub(crate) const GRANULE: u64 = 256;
const GRANULE_SHIFT: u32 = 8;
/// From this size on, freed memory goes back to the operating system at once.
const GIVE_BACK: u64 = 64 << 10;

/// An anonymous mapping without reserved swap, which lives as long as the value.
struct Mapping {
    base: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(len: u64) -> Result<Mapping, MemoryError> {
        let fail = |reason: String| MemoryError::Map { len, reason };
        let size = usize::try_from(len).map_err(|e| fail(e.to_string()))?;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choosing touches no
        // memory that exists already.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(fail(std::io::Error::last_os_error().to_string()));
        }
        Ok(Mapping {
            base: base.cast(),
            len: size,
        })
    }

    /// Lets the operating system take back the whole pages within the range; they read as zero
    /// afterwards.
    fn give_back(&self, offset: u64, len: u64) {
        const PAGE: u64 = 4096;
        let start = offset.next_multiple_of(PAGE);
        let end = (offset + len) / PAGE * PAGE;
        if start < end && end <= self.len as u64 {
            // SAFETY: start..end lies within this mapping, which stays mapped: accesses that run
            // at the same time read either old bytes or zeros.
            unsafe {
                libc::madvise(
                    self.base.add(start as usize).cast(),
                    (end - start) as usize,
                    libc::MADV_DONTNEED,
                )
            };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new`, and nothing uses it after its owner is dropped.
        unsafe { libc::munmap(self.base.cast(), self.len) };
    }
}

// SAFETY: a mapping is plain address space; all accesses to it go through raw pointers and are
// made safe by the code that makes them.
unsafe impl Send for Mapping {}
// SAFETY: as above; `give_back` may be called from any thread.
unsafe impl Sync for Mapping {}

/// A range of device addresses with host backing.
///
/// Which of its bytes are allocated is kept in a sparse table with one 16-bit entry for each
/// 256-byte granule: the number of valid bytes in the granule, 0 if it is not allocated. A check is
/// one or two loads whatever the number of allocations.
pub struct Region {
    base: u64,
    len: u64,
    host: *mut u8,
    owned: Option<Mapping>,
    table: Mapping,
    /// A bit for each byte that was written since it was allocated, if anybody wants to know.
    written: Option<Mapping>,
}

// SAFETY: `host` is only dereferenced through raw accesses that tolerate concurrent change; the
// table is accessed through atomics.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// A region backed by memory of its own, zero-filled and only committed when touched.
    pub fn anonymous(base: u64, len: u64) -> Result<Region, MemoryError> {
        check_range(base, len)?;
        let memory = Mapping::new(len)?;
        let host = memory.base;
        Region::with_backing(base, len, host, Some(memory))
    }

    /// A region backed by memory that exists already, for instance memory shared with another
    /// process. It is only ever touched through raw accesses that tolerate concurrent change.
    ///
    /// # Safety
    /// `host..host+len` stays mapped readable and writable as long as the region lives.
    pub unsafe fn shared(base: u64, host: *mut u8, len: u64) -> Result<Region, MemoryError> {
        check_range(base, len)?;
        Region::with_backing(base, len, host, None)
    }

    fn with_backing(
        base: u64,
        len: u64,
        host: *mut u8,
        owned: Option<Mapping>,
    ) -> Result<Region, MemoryError> {
        let table = Mapping::new(len.div_ceil(GRANULE) * 2)?;
        Ok(Region {
            base,
            len,
            host,
            owned,
            table,
            written: None,
        })
    }

    /// Begins to keep account of which bytes were written. Memory that others write to does not.
    pub(super) fn track(&mut self) -> Result<(), MemoryError> {
        if self.owned.is_some() {
            self.written = Some(Mapping::new(self.len.div_ceil(8))?);
        }
        Ok(())
    }

    /// The bits of 8 bytes of memory, and which of them belong to the range.
    fn written_bits(&self, addr: u64, len: u64) -> impl Iterator<Item = (&AtomicU8, u8)> + use<'_> {
        let start = addr - self.base;
        let end = start + len;
        let table = self.written.as_ref();
        (start / 8..end.div_ceil(8)).filter_map(move |index| {
            let first = start.saturating_sub(index * 8);
            let last = (end - index * 8).min(8);
            let mask = (u16::MAX << first & !(u16::MAX << last)) as u8;
            // SAFETY: the range lies in the region, the table has a byte for each 8 of these, and
            // it lives as long as the region.
            let bits = unsafe { AtomicU8::from_ptr(table?.base.add(index as usize)) };
            Some((bits, mask))
        })
    }

    /// Notes that bytes of this region were written, or that they are new.
    pub(super) fn set_written(&self, addr: u64, len: u64, written: bool) {
        const LARGE: u64 = 1 << 20;
        if let (Some(table), false, LARGE..) = (&self.written, written, len) {
            // Whole pages of bits are given back instead of being cleared; they read as zero.
            let pages = (addr - self.base).next_multiple_of(LARGE)
                ..(addr - self.base + len) / LARGE * LARGE;
            if pages.start < pages.end {
                table.give_back(pages.start / 8, (pages.end - pages.start) / 8);
                self.set_written(addr, pages.start + self.base - addr, false);
                let rest = pages.end + self.base;
                return self.set_written(rest, addr + len - rest, false);
            }
        }
        for (bits, mask) in self.written_bits(addr, len) {
            if mask == u8::MAX {
                bits.store(if written { mask } else { 0 }, Ordering::Relaxed);
            } else if written {
                bits.fetch_or(mask, Ordering::Relaxed);
            } else {
                bits.fetch_and(!mask, Ordering::Relaxed);
            }
        }
    }

    /// The first byte of a range of this region that was never written.
    pub(super) fn unwritten(&self, addr: u64, len: u64) -> Option<u64> {
        let first = addr - (addr - self.base) % 8;
        self.written_bits(addr, len)
            .zip(0u64..)
            .find_map(|((bits, mask), i)| {
                let missing = mask & !bits.load(Ordering::Relaxed);
                (missing != 0).then(|| first + i * 8 + u64::from(missing.trailing_zeros()))
            })
    }

    /// First device address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the region holds no bytes; never true.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(crate) fn contains(&self, addr: u64, len: u64) -> bool {
        let offset = addr.wrapping_sub(self.base);
        offset < self.len && len <= self.len - offset
    }

    #[inline]
    fn entry(&self, granule: u64) -> &AtomicU16 {
        debug_assert!(granule < self.len.div_ceil(GRANULE));
        // SAFETY: callers pass granules of this region, the table has one aligned u16 for each,
        // and it lives as long as the region.
        unsafe { AtomicU16::from_ptr(self.table.base.cast::<u16>().add(granule as usize)) }
    }

    /// The host address of `addr` if `len` bytes from there are valid; at most [`GRANULE`] bytes.
    #[inline(always)]
    pub(crate) fn locate(&self, addr: u64, len: u64) -> Option<*mut u8> {
        debug_assert!(len <= GRANULE);
        let offset = addr.wrapping_sub(self.base);
        if offset >= self.len {
            return None;
        }
        let granule = offset >> GRANULE_SHIFT;
        let within = offset & (GRANULE - 1);
        let end = within + len;
        let valid = u64::from(self.entry(granule).load(Ordering::Relaxed));
        if end > valid {
            if valid < GRANULE || offset + len > self.len {
                return None;
            }
            if end - GRANULE > u64::from(self.entry(granule + 1).load(Ordering::Relaxed)) {
                return None;
            }
        }
        // SAFETY: offset < self.len, and the backing has self.len bytes.
        Some(unsafe { self.host.add(offset as usize) })
    }

    /// The host address of `addr`, which the caller knows to be in the region.
    pub(crate) fn host(&self, addr: u64) -> *mut u8 {
        debug_assert!(self.contains(addr, 0));
        // SAFETY: the address lies in the region, so the offset is within the backing.
        unsafe { self.host.add((addr - self.base) as usize) }
    }

    /// Marks an allocation's bytes valid. `addr` is aligned and the range lies in the region.
    pub(crate) fn set_valid(&self, addr: u64, len: u64) {
        let first = (addr - self.base) >> GRANULE_SHIFT;
        let whole = len >> GRANULE_SHIFT;
        for granule in first..first + whole {
            self.entry(granule).store(GRANULE as u16, Ordering::Relaxed);
        }
        if !len.is_multiple_of(GRANULE) {
            self.entry(first + whole)
                .store((len % GRANULE) as u16, Ordering::Relaxed);
        }
    }

    /// Marks an allocation's bytes invalid, and gives large ones back to the operating system.
    pub(crate) fn set_invalid(&self, addr: u64, len: u64) {
        let first = (addr - self.base) >> GRANULE_SHIFT;
        let count = len.div_ceil(GRANULE);
        // Whole pages of the table are given back instead of being cleared; they read as zero.
        const PER_PAGE: u64 = 4096 / 2;
        let page_start = first.next_multiple_of(PER_PAGE);
        let page_end = (first + count) / PER_PAGE * PER_PAGE;
        let clear = |range: core::ops::Range<u64>| {
            range.for_each(|g| self.entry(g).store(0, Ordering::Relaxed))
        };
        if page_start < page_end {
            clear(first..page_start);
            self.table
                .give_back(page_start * 2, (page_end - page_start) * 2);
            clear(page_end..first + count);
        } else {
            clear(first..first + count);
        }
        if let (Some(memory), true) = (&self.owned, len >= GIVE_BACK) {
            memory.give_back(addr - self.base, len);
        }
    }
}

impl core::fmt::Debug for Region {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let kind = if self.owned.is_some() {
            "anonymous"
        } else {
            "shared"
        };
        write!(f, "Region({kind}, {:#x}, {:#x} bytes)", self.base, self.len)
    }
}

fn check_range(base: u64, len: u64) -> Result<(), MemoryError> {
    if len == 0
        || base
            .checked_add(len)
            .is_none_or(|end| end > super::space::GENERIC_LIMIT)
    {
        return Err(MemoryError::InvalidRange { addr: base, len });
    }
    if !base.is_multiple_of(GRANULE) {
        return Err(MemoryError::Misaligned {
            addr: base,
            align: GRANULE,
        });
    }
    Ok(())
}
