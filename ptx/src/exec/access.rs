// SPDX-License-Identifier: MIT OR Apache-2.0
//! What loads and stores have in common: which memory an address is in, and how the addresses of a
//! warp's lanes relate.
//!
//! Addresses that lie side by side, or are all equal, are checked and moved at once; any others
//! lane by lane. Memory that others can change is only touched through relaxed atomics and opaque
//! copies.

use super::code::{Flow, Inst, LANES, Row};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::value::Address;
use super::window;
use crate::parse::ast::Space;

const FULL: u32 = u32::MAX;

/// Bits of a load or store in `Inst::aux`: the state space in 0..4, elements per lane in 4..8.
pub(crate) mod flags {
    use crate::parse::ast::Space;

    pub const ACQUIRE: u64 = 1 << 8;
    pub const RELEASE: u64 = 1 << 9;
    /// The thread may be waiting for another one.
    pub const SPIN: u64 = 1 << 10;

    pub const fn of(space: Space, elements: u64) -> u64 {
        space as u64 | elements << 4
    }

    #[inline(always)]
    pub fn space(aux: u64) -> Space {
        const SPACES: [Space; 8] = [
            Space::Generic,
            Space::Global,
            Space::Shared,
            Space::Local,
            Space::Const,
            Space::Param,
            Space::Generic,
            Space::Generic,
        ];
        SPACES[(aux & 7) as usize]
    }

    #[inline(always)]
    pub fn elements(aux: u64) -> usize {
        (aux >> 4 & 15) as usize
    }
}

pub(crate) fn space_name(space: Space) -> &'static str {
    match space {
        Space::Generic => "generic",
        Space::Global => "global",
        Space::Shared => "shared",
        Space::Local => "local",
        Space::Const => "const",
        Space::Param => "param",
    }
}

/// A state space that is known when a handler is compiled. Then the access is also of one element
/// per lane, without any order.
pub(crate) trait Place: 'static {
    const KNOWN: Option<Space>;
}

/// Whatever `Inst::aux` says.
pub(crate) struct Anywhere;
pub(crate) struct InShared;
pub(crate) struct InGlobal;

impl Place for Anywhere {
    const KNOWN: Option<Space> = None;
}

impl Place for InShared {
    const KNOWN: Option<Space> = Some(Space::Shared);
}

impl Place for InGlobal {
    const KNOWN: Option<Space> = Some(Space::Global);
}

/// What the fast paths serve: whole warps whose addresses lie side by side, or are all equal.
pub(crate) enum Whole {
    /// 32 values from this host address on.
    Contiguous(*mut u8),
    /// One value at this host address.
    Equal(*mut u8),
    Other,
}

/// Looks at the addresses of a whole warp, in a row.
///
/// # Safety
/// The row has 32 values. With an `ISA`, the host has AVX2.
#[inline(always)]
pub(super) unsafe fn whole_warp<A: Address, P: Place, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    row: *const A,
    size: usize,
    store: bool,
) -> Whole {
    // SAFETY: the caller vouches for the row.
    unsafe {
        let (first, second) = (*row, *row.add(1));
        let step = second == first.plus(size);
        if store && !step || !A::regular::<ISA>(row, first, size, step) {
            return Whole::Other;
        }
        whole_at::<P>(cx, inst, first.wide(), size, step)
    }
}

/// What lies at the addresses of a whole warp: `first` in all lanes or, with `step`, from there on
/// side by side; before the offset of the instruction.
#[inline(always)]
pub(crate) fn whole_at<P: Place>(
    cx: &mut Context<'_>,
    inst: &Inst,
    first: u64,
    size: usize,
    step: bool,
) -> Whole {
    let base = first.wrapping_add(inst.imm as u64);
    if base & (size as u64 - 1) != 0 {
        return Whole::Other;
    }
    let len = if step { size * LANES } else { size } as u64;
    let host = match P::KNOWN.unwrap_or_else(|| flags::space(inst.aux)) {
        Space::Shared => cx.locate_shared(window::narrow(base), len),
        Space::Global | Space::Const => cx.space.locate(base, len, &mut cx.region),
        Space::Generic if base < window::GENERIC_LIMIT => {
            cx.space.locate(base, len, &mut cx.region)
        }
        _ => None,
    };
    match host {
        Some(host) if !step => Whole::Equal(host),
        Some(host) => Whole::Contiguous(host),
        None => Whole::Other,
    }
}

/// How the addresses of the active lanes relate.
pub(super) enum Pattern {
    /// Lane `i` is at `first + (i - lane) * size`.
    Contiguous,
    Equal,
    Scattered,
}

/// The addresses of all lanes, and how those of the active ones relate; `first` is the lowest
/// active lane.
///
/// # Safety
/// The row holds values of `A`.
#[inline(always)]
pub(super) unsafe fn addresses<A: Address>(
    cx: &Context<'_>,
    row: Row,
    offset: i64,
    mask: u32,
    first: usize,
    size: u64,
) -> ([u64; LANES], Pattern) {
    // SAFETY: the caller vouches for the row.
    let row: [A; LANES] = unsafe { cx.row::<[A; LANES]>(row).read() };
    let addrs: [u64; LANES] = core::array::from_fn(|i| row[i].wide().wrapping_add(offset as u64));
    let base = addrs[first];
    let (mut contiguous, mut equal) = (0u64, 0u64);
    if mask == FULL {
        for (i, addr) in addrs.iter().enumerate() {
            contiguous |= addr ^ base.wrapping_add(i as u64 * size);
            equal |= addr ^ base;
        }
    } else {
        let origin = base.wrapping_sub(first as u64 * size);
        for (i, addr) in addrs.iter().enumerate() {
            let on = if mask & (1 << i) != 0 { u64::MAX } else { 0 };
            contiguous |= (addr ^ origin.wrapping_add(i as u64 * size)) & on;
            equal |= (addr ^ base) & on;
        }
    }
    let pattern = if contiguous == 0 {
        Pattern::Contiguous
    } else if equal == 0 {
        Pattern::Equal
    } else {
        Pattern::Scattered
    };
    (addrs, pattern)
}

/// Copies a whole row from or to memory that others may change.
///
/// # Safety
/// Both ranges have `bytes` bytes, a multiple of 32. The host has AVX.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
pub(super) unsafe fn copy_row(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(32) {
        // SAFETY: at + 32 <= bytes; the caller vouches for the ranges.
        unsafe {
            core::arch::asm!(
                "vmovdqu ymm15, [{from}]",
                "vmovdqu [{to}], ymm15",
                from = in(reg) from.add(at),
                to = in(reg) to.add(at),
                out("xmm15") _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// Asks for memory that other warps will probably load soon.
#[inline(always)]
pub(super) fn ahead(host: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..2 {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch accesses nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(host.wrapping_add(1024 + line * 64).cast()) };
    }
}

#[cold]
pub(crate) fn illegal(
    cx: &mut Context<'_>,
    lane: usize,
    address: u64,
    size: u64,
    access: &'static str,
    space: Space,
) -> Flow {
    let space = space_name(space);
    let (lane, size) = (lane as u32, size as u32);
    cx.fail(Trouble::IllegalAddress {
        lane,
        address,
        size,
        access,
        space,
    })
}

#[cold]
pub(crate) fn misaligned(
    cx: &mut Context<'_>,
    lane: usize,
    address: u64,
    size: u64,
    access: &'static str,
    space: Space,
) -> Flow {
    let space = space_name(space);
    let (lane, size) = (lane as u32, size as u32);
    cx.fail(Trouble::Misaligned {
        lane,
        address,
        size,
        access,
        space,
    })
}

/// Parameters of the kernel are read-only.
#[inline(always)]
pub(crate) fn writable(space: Space, addr: u64) -> bool {
    !(space == Space::Param || space == Space::Generic && window::of(addr) == window::PARAM)
}

/// `isspacep`: whether generic addresses lie in a state space.
#[inline(always)]
unsafe fn is_space_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let wanted = flags::space(inst.aux);
    let mut bits = 0;
    for i in 0..LANES {
        // SAFETY: the lowering stage checked the width of the row.
        let addr = unsafe { *cx.row::<u64>(inst.rows[1]).add(i) };
        let found = match window::of(addr) {
            window::SHARED => Space::Shared,
            window::LOCAL => Space::Local,
            window::PARAM => Space::Param,
            _ => Space::Global,
        };
        bits |= u32::from(found == wanted) << i;
    }
    // SAFETY: the row is a predicate.
    unsafe { cx.set_predicate(inst.rows[0], bits, mask) };
    Flow::Next
}

handlers! {
    one is_space = is_space_body as Rows;
}
