// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees: the running group of lanes of one warp, and the memories it can reach.

use super::block::BlockState;
use super::code::{Code, Row};
use super::fault::Trouble;
use super::system::Output;
use super::warp::{Group, Wait};
use super::window;
use crate::heap::Heap;
use crate::image::Images;
use crate::memory::AddressSpace;
use crate::parse::ast::Space;

/// The state of the running group of lanes.
pub(crate) struct Context<'a> {
    /// Addresses that rows are relative to: frame, constants, special registers.
    pub bases: [*mut u8; 4],
    /// Index of the warp in its block.
    pub warp: u32,
    /// Lanes of the running group.
    pub active: u32,
    /// The instruction that runs.
    pub pc: u32,
    /// Another group waits at this PC or below: stop there.
    pub limit: u32,
    /// Backward jumps left in this turn.
    pub budget: i32,
    /// Set when a group that waited runs its instruction again.
    pub resumed: bool,
    /// Byte offset of the frame in the warp's registers.
    pub frame: u32,
    /// Byte offset of the frame in each lane's local memory.
    pub local: u32,
    /// Lanes that have not exited.
    pub live: u32,
    /// The other groups of the warp.
    pub groups: &'a mut Vec<Group>,
    /// The warp's registers and local memory.
    pub stacks: &'a mut super::warp::Stacks,
    pub block: &'a mut BlockState,
    pub code: &'a Code,
    pub space: &'a AddressSpace,
    pub params: &'a [u8],
    pub output: Option<&'a dyn Output>,
    pub images: Option<&'a Images>,
    pub heap: Option<&'a Heap>,
    /// Which region was accessed last.
    pub region: usize,
    pub trouble: Option<Box<Trouble>>,
}

impl Context<'_> {
    /// The address of a row.
    ///
    /// # Safety
    /// The row comes from the code that runs.
    #[inline(always)]
    pub unsafe fn row<T>(&self, row: Row) -> *mut T {
        // SAFETY: the lowering stage allocated the row within its base.
        unsafe {
            self.bases
                .get_unchecked(row.base())
                .add(row.offset())
                .cast()
        }
    }

    /// The word of a predicate.
    ///
    /// # Safety
    /// The row is a predicate of the code that runs.
    #[inline(always)]
    pub unsafe fn predicate(&self, row: Row) -> u32 {
        // SAFETY: as above; predicates are aligned words.
        unsafe { *self.row::<u32>(row) }
    }

    /// Changes the bits of a predicate in the mask's lanes.
    ///
    /// # Safety
    /// The row is a predicate of the frame of the code that runs.
    #[inline(always)]
    pub unsafe fn set_predicate(&mut self, row: Row, bits: u32, mask: u32) {
        // SAFETY: as above.
        unsafe {
            let word = self.row::<u32>(row);
            *word = (*word & !mask) | (bits & mask);
        }
    }

    /// Recomputes the frame's address after registers grew or the frame changed.
    pub fn rebase(&mut self) {
        // SAFETY: frames lie within the warp's registers.
        self.bases[0] = unsafe { self.stacks.registers.as_mut_ptr().add(self.frame as usize) };
    }

    /// Splits lanes off the running group.
    pub fn split(&mut self, mask: u32, pc: u32, wait: Wait) {
        self.active &= !mask;
        if wait == Wait::Ready {
            self.limit = self.limit.min(pc);
        }
        self.groups.push(Group {
            pc,
            mask,
            frame: self.frame,
            local: self.local,
            wait,
            stamp: 0,
        });
    }

    #[cold]
    pub fn fail(&mut self, trouble: Trouble) -> super::code::Flow {
        self.trouble = Some(Box::new(trouble));
        super::code::Flow::Fault
    }

    /// The host address of `len` (at most 256) bytes, or None. Not for local memory.
    #[inline(always)]
    pub fn locate(&mut self, space: Space, addr: u64, len: u64) -> Option<*mut u8> {
        match space {
            Space::Shared => self.locate_shared(window::narrow(addr), len),
            Space::Global | Space::Const => self.space.locate(addr, len, &mut self.region),
            Space::Generic => {
                if addr < window::GENERIC_LIMIT {
                    self.space.locate(addr, len, &mut self.region)
                } else {
                    self.locate_window(addr, len)
                }
            }
            Space::Param => self.locate_param(addr, len),
            Space::Local => None,
        }
    }

    #[inline(always)]
    pub fn locate_shared(&mut self, addr: u64, len: u64) -> Option<*mut u8> {
        let size = self.block.shared.len() as u64;
        if addr < size && len <= size - addr {
            // SAFETY: the bytes lie within the block's shared memory.
            Some(unsafe { self.block.shared.as_mut_ptr().add(addr as usize) })
        } else {
            None
        }
    }

    fn locate_param(&self, addr: u64, len: u64) -> Option<*mut u8> {
        let size = self.params.len() as u64;
        // SAFETY: the bytes lie within the parameters; nobody writes through the pointer, because
        // stores to parameters are refused.
        (addr < size && len <= size - addr)
            .then(|| unsafe { self.params.as_ptr().add(addr as usize).cast_mut() })
    }

    fn locate_window(&mut self, addr: u64, len: u64) -> Option<*mut u8> {
        let offset = window::offset(addr);
        match window::of(addr) {
            window::SHARED => self.locate_shared(offset, len),
            window::PARAM => self.locate_param(offset, len),
            window::LAUNCH => self.block.launch_memory(offset, len),
            _ => None,
        }
    }
}
