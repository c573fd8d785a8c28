// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a handler sees: the running group of lanes of one warp, and the memories it can reach.

use super::block::BlockState;
use super::code::{Code, Row};
use super::fault::Trouble;
use super::system::Output;
use super::warp::{Group, Home, Stacks, Surroundings, Wait};
use super::window;
use crate::heap::Heap;
use crate::image::Images;
use crate::memory::AddressSpace;
use crate::parse::ast::Space;

/// The state of the running group of lanes.
pub(crate) struct Context<'a> {
    /// Addresses that rows are relative to: frame, constants, special registers.
    pub bases: [*mut u8; 4],
    /// How far the rows of one warp of a convoy are from those of the next, for each base.
    pub steps: [usize; 4],
    /// Warps that an instruction which conducts itself as a `Crowd` executes, and the lanes of each
    /// that it is for.
    pub crowd: usize,
    pub masks: *mut u32,
    /// Registers of the kernel itself.
    pub home: Home,
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
    pub stacks: Box<Stacks>,
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

impl<'a> Context<'a> {
    /// The context of a warp's turn, of which no group runs yet.
    pub fn new(
        around: &Surroundings<'a>,
        block: &'a mut BlockState,
        stacks: Box<Stacks>,
        groups: &'a mut Vec<Group>,
        home: Home,
        masks: *mut u32,
    ) -> Context<'a> {
        Context {
            bases: [
                home.frame,
                around.code.constants.as_ptr().cast_mut(),
                home.special,
                around.launch_rows.cast_mut(),
            ],
            steps: [0; 4],
            crowd: 1,
            masks,
            home,
            warp: 0,
            active: 0,
            pc: 0,
            limit: u32::MAX,
            budget: 0,
            resumed: false,
            frame: 0,
            local: 0,
            live: 0,
            groups,
            stacks,
            block,
            code: around.code,
            space: around.space,
            params: around.params,
            output: around.output,
            images: around.images,
            heap: around.heap,
            region: 0,
            trouble: None,
        }
    }

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

    /// How far a row of one warp of a convoy is from that of the next.
    ///
    /// # Safety
    /// As for `row`.
    #[inline(always)]
    pub unsafe fn step(&self, row: Row) -> usize {
        // SAFETY: there are as many steps as bases.
        unsafe { *self.steps.get_unchecked(row.base()) }
    }

    /// For each warp that the instruction is for: the addresses of rows, and the lanes.
    ///
    /// # Safety
    /// The rows come from the code that runs.
    #[inline(always)]
    pub unsafe fn each<const N: usize>(
        &mut self,
        rows: [Row; N],
        mut run: impl FnMut([*mut u8; N], u32),
    ) {
        // SAFETY: as in `row`; there are as many masks as warps, whose registers lie `steps` apart.
        unsafe {
            let mut at = rows.map(|row| self.row::<u8>(row));
            let steps = rows.map(|row| self.step(row));
            for warp in 0..self.crowd {
                let mask = *self.masks.add(warp);
                if mask != 0 {
                    run(at, mask);
                }
                for (at, step) in at.iter_mut().zip(steps) {
                    *at = at.wrapping_add(step);
                }
            }
        }
    }

    /// Does something as a warp of the convoy, whose first one is `first`.
    #[inline(always)]
    pub fn as_warp<R>(&mut self, first: u32, number: usize, act: impl FnOnce(&mut Self) -> R) -> R {
        let bases = self.bases;
        for (base, step) in self.bases.iter_mut().zip(self.steps) {
            *base = base.wrapping_add(number * step);
        }
        // It stays: if there was a fault, it was this one's.
        self.warp = first + number as u32;
        let result = act(self);
        self.bases = bases;
        result
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
        self.bases[0] = match self.frame {
            0 => self.home.frame,
            // SAFETY: `enter` made room for the frame.
            frame => unsafe { self.stacks.registers.as_mut_ptr().add(frame as usize) },
        };
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
