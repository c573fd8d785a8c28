// SPDX-License-Identifier: MIT OR Apache-2.0
//! The address space: fixed regions, and allocations that come and go while kernels run.

use super::{ALLOCATION_ALIGNMENT, MemoryError, Region, copy_bytes, copy_bytes_backwards};
use core::ops::Range;
use parking_lot::RwLock;
use std::collections::BTreeMap;

/// Regions end below this address; the windows of shared, local and parameter memory and of
/// function addresses lie above (see `exec::window`).
pub(crate) const GENERIC_LIMIT: u64 = 1 << 47;

/// A device address space: the regions are fixed, allocations come and go while kernels run.
///
/// ```
/// use vcuda_ptx::{AddressSpace, Region};
/// let space = AddressSpace::new(vec![Region::anonymous(0x1_0000_0000, 1 << 20)?])?;
/// space.allocate(0x1_0000_0000, 1000)?;
/// space.write(0x1_0000_0000, b"hello")?;
/// let mut back = [0; 5];
/// space.read(0x1_0000_0000, &mut back)?;
/// assert_eq!(&back, b"hello");
/// assert!(space.write(0x1_0000_0000 + 996, b"hello").is_err());
/// # Ok::<(), vcuda_ptx::MemoryError>(())
/// ```
#[derive(Debug)]
pub struct AddressSpace {
    regions: Vec<Region>,
    allocations: RwLock<BTreeMap<u64, u64>>,
}

/// Host address and length of a run of bytes that a kernel may access.
pub(crate) type Span = *mut u8;

impl AddressSpace {
    /// An address space of these regions, which must not overlap.
    pub fn new(mut regions: Vec<Region>) -> Result<Self, MemoryError> {
        regions.sort_by_key(Region::base);
        for pair in regions.windows(2) {
            if pair[0].base() + pair[0].len() > pair[1].base() {
                return Err(MemoryError::Overlap {
                    addr: pair[1].base(),
                    len: pair[1].len(),
                    other: pair[0].base(),
                });
            }
        }
        Ok(AddressSpace {
            regions,
            allocations: RwLock::new(BTreeMap::new()),
        })
    }

    /// Makes `len` bytes at `addr` accessible. The address is a multiple of 256 bytes, and the
    /// bytes lie in one region and overlap no other allocation.
    pub fn allocate(&self, addr: u64, len: u64) -> Result<(), MemoryError> {
        if len == 0 || addr.checked_add(len).is_none() {
            return Err(MemoryError::InvalidRange { addr, len });
        }
        let region = self
            .region(addr, len)
            .ok_or(MemoryError::NoRegion { addr, len })?;
        if !addr.is_multiple_of(ALLOCATION_ALIGNMENT) {
            return Err(MemoryError::Misaligned {
                addr,
                align: ALLOCATION_ALIGNMENT,
            });
        }
        let mut allocations = self.allocations.write();
        if let Some((&other, &other_len)) = allocations.range(..addr + len).next_back()
            && other + other_len > addr
        {
            return Err(MemoryError::Overlap { addr, len, other });
        }
        allocations.insert(addr, len);
        region.set_valid(addr, len);
        Ok(())
    }

    /// Ends the allocation that starts at `addr` and returns its length. The pages of large
    /// allocations in anonymous regions go back to the operating system.
    pub fn free(&self, addr: u64) -> Result<u64, MemoryError> {
        let mut allocations = self.allocations.write();
        let len = allocations
            .remove(&addr)
            .ok_or(MemoryError::NotAllocated { addr })?;
        if let Some(region) = self.region(addr, len) {
            region.set_invalid(addr, len);
        }
        Ok(len)
    }

    /// The allocation that holds `addr`.
    pub fn allocation_at(&self, addr: u64) -> Option<Range<u64>> {
        let allocations = self.allocations.read();
        let (&start, &len) = allocations.range(..=addr).next_back()?;
        (addr - start < len).then(|| start..start + len)
    }

    /// The allocation that lies nearest to `addr`; for messages about stray accesses.
    pub fn nearest_allocation(&self, addr: u64) -> Option<Range<u64>> {
        let allocations = self.allocations.read();
        let range = |(&start, &len): (&u64, &u64)| start..start + len;
        let below = allocations.range(..=addr).next_back().map(range);
        let above = allocations.range(addr..).next().map(range);
        match (below, above) {
            (Some(below), Some(above)) => {
                Some(if addr.saturating_sub(below.end) <= above.start - addr {
                    below
                } else {
                    above
                })
            }
            (below, above) => below.or(above),
        }
    }

    /// Copies bytes of device memory to the host.
    pub fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        if out.is_empty() {
            return Ok(());
        }
        let host = self.host_range(addr, out.len() as u64)?;
        // SAFETY: host_range found the bytes in one allocation, and regions stay mapped as long as
        // the space lives.
        unsafe { copy_bytes(host, out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies bytes from the host to device memory.
    pub fn write(&self, addr: u64, data: &[u8]) -> Result<(), MemoryError> {
        if data.is_empty() {
            return Ok(());
        }
        let host = self.host_range(addr, data.len() as u64)?;
        // SAFETY: as in `read`.
        unsafe { copy_bytes(data.as_ptr(), host, data.len()) };
        Ok(())
    }

    /// Copies `len` bytes within device memory; the ranges may overlap.
    pub fn copy(&self, dst: u64, src: u64, len: u64) -> Result<(), MemoryError> {
        if len == 0 {
            return Ok(());
        }
        let from = self.host_range(src, len)?;
        let to = self.host_range(dst, len)?;
        // SAFETY: both ranges lie in allocations of mapped regions. Host addresses decide the
        // direction, because two regions may share their backing.
        unsafe {
            if (to as usize).wrapping_sub(from as usize) < len as usize {
                copy_bytes_backwards(from, to, len as usize);
            } else {
                copy_bytes(from, to, len as usize);
            }
        }
        Ok(())
    }

    /// Writes `count` copies of a pattern of 1, 2 or 4 bytes; `addr` is a multiple of its length.
    pub fn fill(&self, addr: u64, pattern: &[u8], count: u64) -> Result<(), MemoryError> {
        let size = pattern.len();
        if !matches!(size, 1 | 2 | 4) {
            return Err(MemoryError::InvalidPattern { len: size });
        }
        if !addr.is_multiple_of(size as u64) {
            return Err(MemoryError::Misaligned {
                addr,
                align: size as u64,
            });
        }
        if count == 0 {
            return Ok(());
        }
        let len = count
            .checked_mul(size as u64)
            .ok_or(MemoryError::InvalidRange { addr, len: count })?;
        let host = self.host_range(addr, len)?;
        let mut block = [0u8; 4096];
        for (i, byte) in block.iter_mut().enumerate() {
            *byte = pattern[i % size];
        }
        let mut done = 0;
        while done < len {
            let chunk = (len - done).min(block.len() as u64);
            // SAFETY: done + chunk <= len, and host_range vouches for len bytes.
            unsafe { copy_bytes(block.as_ptr(), host.add(done as usize), chunk as usize) };
            done += chunk;
        }
        Ok(())
    }

    /// The host address of a range that lies whole in one allocation. It stays mapped as long as
    /// the space lives; its bytes may change at any time.
    pub fn host_range(&self, addr: u64, len: u64) -> Result<*mut u8, MemoryError> {
        let out = MemoryError::OutOfBounds { addr, len };
        let allocation = self.allocation_at(addr).ok_or(out.clone())?;
        if len > allocation.end - addr {
            return Err(out);
        }
        Ok(self.region(addr, len).ok_or(out)?.host(addr))
    }

    fn region(&self, addr: u64, len: u64) -> Option<&Region> {
        self.regions
            .iter()
            .find(|region| region.contains(addr, len))
    }

    /// The host address of `len` (at most 256) valid bytes at `addr`. O(1); used by kernels.
    /// `hint` remembers the region found last.
    #[inline(always)]
    pub(crate) fn locate(&self, addr: u64, len: u64, hint: &mut usize) -> Option<Span> {
        if let Some(region) = self.regions.get(*hint)
            && let Some(host) = region.locate(addr, len)
        {
            return Some(host);
        }
        self.locate_slowly(addr, len, hint)
    }

    #[cold]
    fn locate_slowly(&self, addr: u64, len: u64, hint: &mut usize) -> Option<Span> {
        let index = self
            .regions
            .partition_point(|region| region.base() <= addr)
            .checked_sub(1)?;
        *hint = index;
        self.regions[index].locate(addr, len)
    }
}
