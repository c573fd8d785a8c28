// SPDX-License-Identifier: MIT OR Apache-2.0
//! Windows of the generic address space (PTX ISA, "Generic Addressing"): above all regions, each
//! 1 TiB.

pub(crate) use crate::memory::GENERIC_LIMIT;

const SHIFT: u32 = 40;

/// Shared memory of the block.
pub(crate) const SHARED: u64 = GENERIC_LIMIT >> SHIFT;
/// Local memory of the thread.
pub(crate) const LOCAL: u64 = SHARED + 1;
/// Parameters of the kernel.
pub(crate) const PARAM: u64 = SHARED + 2;
/// Addresses of functions: the offset is 16 times the number of the function in its module.
pub(crate) const FUNCTION: u64 = SHARED + 3;
/// Memory of the launch itself: the work space of a cooperative grid.
pub(crate) const LAUNCH: u64 = SHARED + 4;

/// The window that an address lies in.
#[inline(always)]
pub(crate) const fn of(addr: u64) -> u64 {
    addr >> SHIFT
}

/// Where a window starts.
pub(crate) const fn start(window: u64) -> u64 {
    window << SHIFT
}

/// The offset of an address in its window.
#[inline(always)]
pub(crate) const fn offset(addr: u64) -> u64 {
    addr & ((1 << SHIFT) - 1)
}

/// An address of shared or local memory, which have 32 bits: a register and an offset wrap round, so that compilers may use
/// a register that is below 0 until its offset is added.
#[inline(always)]
pub(crate) const fn narrow(addr: u64) -> u64 {
    addr & 0xffff_ffff
}
