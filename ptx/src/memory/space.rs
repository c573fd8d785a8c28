// SPDX-License-Identifier: MIT OR Apache-2.0
//! The address space: fixed regions, and allocations that come and go while kernels run.

use super::{ALLOCATION_ALIGNMENT, MemoryError, Region, copy_bytes, copy_bytes_backwards};
use core::ops::Range;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, VecDeque};

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
    /// Allocations that ended lately, the last one at the end; for messages.
    freed: Mutex<VecDeque<Range<u64>>>,
    tracked: bool,
}

/// How many allocations that ended are remembered.
const REMEMBERED: usize = 4096;

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
            freed: Mutex::default(),
            tracked: false,
        })
    }

    /// The same space, which keeps account of the bytes that were written since they were
    /// allocated, at one bit each. Memory that is shared with others counts as written.
    pub fn tracked(mut self) -> Result<Self, MemoryError> {
        for region in &mut self.regions {
            region.track()?;
        }
        self.tracked = true;
        Ok(self)
    }

    /// Notes that somebody wrote to memory other than through this space or a kernel.
    pub fn set_written(&self, addr: u64, len: u64) {
        if self.tracked
            && len > 0
            && let Some(region) = self.region(addr, len)
        {
            region.set_written(addr, len, true);
        }
    }

    /// The first byte of a range that was never written, in a tracked space.
    pub fn unwritten(&self, addr: u64, len: u64) -> Option<u64> {
        if !self.tracked || len == 0 {
            return None;
        }
        self.region(addr, len)?.unwritten(addr, len)
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
        if self.tracked {
            region.set_written(addr, len, false);
        }
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
        let mut freed = self.freed.lock();
        if freed.len() == REMEMBERED {
            freed.pop_front();
        }
        freed.push_back(addr..addr + len);
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

    /// The allocation that held `addr` last, among those that ended lately.
    pub fn freed_allocation(&self, addr: u64) -> Option<Range<u64>> {
        let freed = self.freed.lock();
        freed
            .iter()
            .rev()
            .find(|range| range.contains(&addr))
            .cloned()
    }

    /// What lies at or near an address, as a phrase that follows it; empty if nothing is allocated.
    pub(crate) fn describe(&self, addr: u64) -> String {
        if let Some(range) = self.allocation_at(addr) {
            let len = range.end - range.start;
            return format!(
                "{} bytes into the {len} bytes allocated at {:#x}",
                addr - range.start,
                range.start
            );
        }
        if let Some(range) = self.freed_allocation(addr) {
            let len = range.end - range.start;
            return format!(
                "{} bytes into the {len} bytes at {:#x}, which were freed",
                addr - range.start,
                range.start
            );
        }
        let Some(near) = self.nearest_allocation(addr) else {
            return "nothing is allocated".into();
        };
        let len = near.end - near.start;
        let (distance, side) = if addr >= near.end {
            (addr - near.end, "behind")
        } else {
            (near.start - addr, "before")
        };
        if distance > 1 << 32 {
            return "far from everything that is allocated".into();
        }
        match distance {
            0 => format!(
                "directly {side} the nearest allocation, of {len} bytes at {:#x}",
                near.start
            ),
            _ => format!(
                "{distance} bytes {side} the nearest allocation, of {len} bytes at {:#x}",
                near.start
            ),
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
        self.set_written(addr, data.len() as u64);
        Ok(())
    }

    /// Copies `len` bytes within device memory; the ranges may overlap.
    pub fn copy(&self, dst: u64, src: u64, len: u64) -> Result<(), MemoryError> {
        if len == 0 {
            return Ok(());
        }
        let from = self.host_range(src, len)?;
        let to = self.host_range(dst, len)?;
        self.copy_written(dst, src, len);
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

    /// Notes that bytes were copied from one place to another. What was not written there, still
    /// counts as not written here.
    pub fn copy_written(&self, dst: u64, src: u64, len: u64) {
        if !self.tracked {
            return;
        }
        let mut at = 0;
        while at < len {
            let hole = self
                .unwritten(src + at, len - at)
                .map_or(len, |first| first - src);
            self.set_written(dst + at, hole - at);
            at = hole;
            while at < len && self.unwritten(src + at, 1).is_some() {
                if let Some(region) = self.region(dst + at, 1) {
                    region.set_written(dst + at, 1, false);
                }
                at += 1;
            }
        }
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
        self.set_written(addr, len);
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
