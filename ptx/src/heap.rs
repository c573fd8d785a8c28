// SPDX-License-Identifier: MIT OR Apache-2.0
//! The heap from which kernels allocate (CUDA C++ Programming Guide, "Dynamic Global Memory
//! Allocation and Operations").

use crate::memory::AddressSpace;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// Blocks are multiples of this; what lies behind the bytes that were asked for is not accessible.
const GRAIN: u64 = 256;

/// A heap for `malloc` and `free` in kernels: addresses of a region of device memory. Its blocks
/// live until they are freed or the heap is cleared, over as many launches as that takes.
#[derive(Debug)]
pub struct Heap {
    base: u64,
    len: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Free ranges: address and bytes.
    free: BTreeMap<u64, u64>,
    /// Blocks: address and bytes, in grains.
    blocks: BTreeMap<u64, u64>,
    used: u64,
    limit: u64,
}

impl Heap {
    /// A heap over addresses that nobody else allocates, all in one region of the address space
    /// that the kernels run in. At most `limit` bytes of it are in use at a time.
    pub fn new(base: u64, len: u64, limit: u64) -> Heap {
        let state = State {
            free: BTreeMap::from([(base, len)]),
            blocks: BTreeMap::new(),
            used: 0,
            limit,
        };
        Heap {
            base,
            len,
            state: Mutex::new(state),
        }
    }

    /// Changes how many bytes may be in use.
    pub fn set_limit(&self, limit: u64) {
        self.state.lock().limit = limit;
    }

    /// Frees all blocks.
    pub fn clear(&self, space: &AddressSpace) {
        let mut state = self.state.lock();
        for &address in state.blocks.keys() {
            // Each was allocated by `allocate`.
            let _ = space.free(address);
        }
        state.blocks.clear();
        state.used = 0;
        state.free = BTreeMap::from([(self.base, self.len)]);
    }

    /// The address of `size` new bytes, or `None` if there are none left, or `size` is 0.
    pub(crate) fn allocate(&self, space: &AddressSpace, size: u64) -> Option<u64> {
        let bytes = size.checked_next_multiple_of(GRAIN)?;
        let mut state = self.state.lock();
        if size == 0 || bytes > state.limit.saturating_sub(state.used) {
            return None;
        }
        // Blocks are mostly of few sizes, so that the first range is mostly large enough.
        let (&address, &len) = state.free.iter().find(|&(_, &len)| len >= bytes)?;
        space.allocate(address, size).ok()?;
        state.free.remove(&address);
        if len > bytes {
            state.free.insert(address + bytes, len - bytes);
        }
        state.blocks.insert(address, bytes);
        state.used += bytes;
        Some(address)
    }

    /// Frees a block; false if there is none at the address.
    pub(crate) fn free(&self, space: &AddressSpace, address: u64) -> bool {
        let mut state = self.state.lock();
        let Some(bytes) = state.blocks.remove(&address) else {
            return false;
        };
        // Allocated by `allocate`.
        let _ = space.free(address);
        state.used -= bytes;
        let (mut start, mut len) = (address, bytes);
        if let Some((&before, &size)) = state.free.range(..address).next_back()
            && before + size == start
        {
            state.free.remove(&before);
            (start, len) = (before, len + size);
        }
        if let Some(size) = state.free.remove(&(address + bytes)) {
            len += size;
        }
        state.free.insert(start, len);
        true
    }
}
