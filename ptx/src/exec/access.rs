// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loads and stores.
//!
//! Addresses that lie side by side, or are all equal, are checked and moved at once; any others
//! lane by lane. Memory that others can change is only touched through relaxed atomics and opaque
//! copies.

use super::code::{Flow, Inst, LANES, Row};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::lanes::{PIECE, piece, put};
use super::value::{Address, Transfer, Value};
use super::warp::SPIN_COST;
use super::window;
use crate::parse::ast::Space;
use core::array::from_fn;
use core::mem::{MaybeUninit, size_of};
use core::sync::atomic::{Ordering, fence};

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
unsafe fn whole_warp<A: Address, P: Place, const ISA: u8>(
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
enum Pattern {
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
unsafe fn addresses<A: Address>(
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
unsafe fn copy_row(from: *const u8, to: *mut u8, bytes: usize) {
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
fn ahead(host: *const u8) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..2 {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch accesses nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(host.wrapping_add(1024 + line * 64).cast()) };
    }
}

/// The host address of a word of a lane's local memory.
#[inline(always)]
fn local_word(cx: &mut Context<'_>, lane: usize, addr: u64) -> *mut u32 {
    debug_assert!(addr / 4 * 4 + 4 <= u64::from(cx.stacks.local_bytes));
    // SAFETY: callers checked that the address is below local_bytes, a multiple of 4; each word
    // has one place per lane.
    unsafe {
        cx.stacks
            .local
            .as_mut_ptr()
            .cast::<u32>()
            .add((addr / 4) as usize * LANES + lane)
    }
}

pub(crate) fn local_fits(cx: &Context<'_>, addr: u64, size: u64) -> bool {
    let limit = u64::from(cx.stacks.local_bytes);
    addr < limit && size <= limit - addr
}

/// Reads an aligned value of local memory; the caller checked that it fits.
#[inline(always)]
pub(crate) fn local_read(cx: &mut Context<'_>, lane: usize, addr: u64, size: u64) -> u64 {
    // SAFETY: the caller checked the address.
    unsafe {
        let word = *local_word(cx, lane, addr);
        if size == 8 {
            let high = *local_word(cx, lane, addr + 4);
            return u64::from(word) | u64::from(high) << 32;
        }
        let value = u64::from(word >> (addr % 4 * 8));
        value & (u64::MAX >> (64 - size * 8))
    }
}

/// Writes an aligned value of local memory; the caller checked that it fits.
#[inline(always)]
pub(crate) fn local_write(cx: &mut Context<'_>, lane: usize, addr: u64, size: u64, bits: u64) {
    // SAFETY: the caller checked the address.
    unsafe {
        let word = local_word(cx, lane, addr);
        match size {
            8 => {
                *word = bits as u32;
                *local_word(cx, lane, addr + 4) = (bits >> 32) as u32;
            }
            4 => *word = bits as u32,
            _ => {
                let shift = addr % 4 * 8;
                let keep = !(((1u32 << (size * 8)) - 1) << shift);
                *word = *word & keep | (bits as u32) << shift & !keep;
            }
        }
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

/// Whether a generic or local address is in local memory, and its offset there.
#[inline(always)]
pub(crate) fn local_offset(space: Space, addr: u64) -> Option<u64> {
    match space {
        Space::Local => Some(window::narrow(addr)),
        Space::Generic if window::of(addr) == window::LOCAL => Some(window::offset(addr)),
        _ => None,
    }
}

#[inline(always)]
pub(crate) unsafe fn load_body<T: Transfer, A: Address, P: Place, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    let size = size_of::<T::Memory>();
    let first = cx.warp;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`;
    // there is a mask for each warp.
    unsafe {
        let [mut to, mut from] = [0, 4].map(|i| cx.row::<u8>(inst.rows[i]));
        let [to_step, from_step] = [0, 4].map(|i| cx.step(inst.rows[i]));
        for warp in 0..cx.crowd {
            let mask = *cx.masks.add(warp);
            let (d, row) = (to.cast::<T::Register>(), from.cast::<A>());
            to = to.wrapping_add(to_step);
            from = from.wrapping_add(from_step);
            if mask == 0 {
                continue;
            }
            if mask == FULL && (P::KNOWN.is_some() || flags::elements(inst.aux) == 1) {
                let whole = whole_warp::<A, P, ISA>(cx, inst, row, size, false);
                if load_whole::<T, ISA>(d, whole) {
                    if P::KNOWN.is_some() {
                        continue;
                    }
                    return finish_load(cx, inst);
                }
            }
            match cx.as_warp(first, warp, |cx| load_slowly::<T, A>(cx, inst, mask)) {
                Flow::Next => {}
                other => return other,
            }
        }
    }
    Flow::Next
}

/// Loads the values of a whole warp; false if they are not regular.
///
/// # Safety
/// `d` is a row of registers, and `whole` was made for such values.
#[inline(always)]
pub(crate) unsafe fn load_whole<T: Transfer, const ISA: u8>(
    d: *mut T::Register,
    whole: Whole,
) -> bool {
    let size = size_of::<T::Memory>();
    // SAFETY: the caller vouches for the row; host addresses come from `locate`.
    unsafe {
        match whole {
            Whole::Contiguous(host) if ISA > 0 && size_of::<T::Register>() == size => {
                ahead(host);
                copy_row(host, d.cast(), size * LANES);
            }
            Whole::Contiguous(host) if ISA > 0 => {
                let mut values = MaybeUninit::<[T::Memory; LANES]>::uninit();
                ahead(host);
                copy_row(host, values.as_mut_ptr().cast(), size * LANES);
                let values = values.assume_init();
                for p in 0..LANES / PIECE {
                    let values = piece(values.as_ptr(), p);
                    put(d, p, FULL, from_fn(|i| T::widen(values[i])));
                }
            }
            Whole::Contiguous(host) => {
                for i in 0..LANES {
                    *d.add(i) = T::widen(T::Memory::load(host.add(i * size)));
                }
            }
            Whole::Equal(host) => {
                let value = T::widen(T::Memory::load(host));
                d.cast::<[T::Register; LANES]>().write([value; LANES]);
            }
            Whole::Other => return false,
        }
    }
    true
}

/// A load whose lanes are not all active, not all at one place, or that is a vector.
///
/// # Safety
/// As for a handler.
#[inline(never)]
unsafe fn load_slowly<T: Transfer, A: Address>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let (space, elements) = (flags::space(inst.aux), flags::elements(inst.aux));
    let size = size_of::<T::Memory>() as u64;
    let whole = size * elements as u64;
    let first = mask.trailing_zeros() as usize;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`
    // or are checked local addresses.
    unsafe {
        let (addrs, pattern) = addresses::<A>(cx, inst.rows[4], inst.imm, mask, first, size);
        let base = addrs[first];
        if base & (whole - 1) != 0 {
            return misaligned(cx, first, base, whole, "load", space);
        }
        match pattern {
            Pattern::Contiguous if elements == 1 && local_offset(space, base).is_none() => {
                let last = 31 - mask.leading_zeros() as usize;
                if let Some(host) = cx.locate(space, base, (last - first + 1) as u64 * size) {
                    let d = cx.row::<T::Register>(inst.rows[0]);
                    let origin = host.wrapping_sub(first * size as usize);
                    for i in first..=last {
                        if mask & (1 << i) != 0 {
                            *d.add(i) =
                                T::widen(T::Memory::load(origin.wrapping_add(i * size as usize)));
                        }
                    }
                    return finish_load(cx, inst);
                }
            }
            Pattern::Equal if local_offset(space, base).is_none() => {
                let Some(host) = cx.locate(space, base, whole) else {
                    return illegal(cx, first, base, whole, "load", space);
                };
                for e in 0..elements {
                    let value = T::widen(T::Memory::load(host.add(e * size as usize)));
                    let d = cx.row::<T::Register>(inst.rows[e]);
                    if mask == FULL {
                        d.cast::<[T::Register; LANES]>().write([value; LANES]);
                    } else {
                        for i in 0..LANES {
                            if mask & (1 << i) != 0 {
                                *d.add(i) = value;
                            }
                        }
                    }
                }
                return finish_load(cx, inst);
            }
            _ => {}
        }
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let addr = addrs[i];
            if addr & (whole - 1) != 0 {
                return misaligned(cx, i, addr, whole, "load", space);
            }
            if let Some(offset) = local_offset(space, addr) {
                if !local_fits(cx, offset, whole) {
                    return illegal(cx, i, addr, whole, "load", space);
                }
                for e in 0..elements {
                    let bits = local_read(cx, i, offset + e as u64 * size, size);
                    *cx.row::<T::Register>(inst.rows[e]).add(i) =
                        T::widen(T::Memory::from_bits(bits));
                }
                continue;
            }
            let Some(host) = cx.locate(space, addr, whole) else {
                return illegal(cx, i, addr, whole, "load", space);
            };
            for e in 0..elements {
                let value = T::widen(T::Memory::load(host.add(e * size as usize)));
                *cx.row::<T::Register>(inst.rows[e]).add(i) = value;
            }
        }
    }
    finish_load(cx, inst)
}

#[inline(always)]
fn finish_load(cx: &mut Context<'_>, inst: &Inst) -> Flow {
    if inst.aux & (flags::ACQUIRE | flags::SPIN) != 0 {
        if inst.aux & flags::ACQUIRE != 0 {
            fence(Ordering::Acquire);
        }
        cx.budget -= SPIN_COST;
    }
    Flow::Next
}

#[inline(always)]
unsafe fn store_body<T: Transfer, A: Address, P: Place, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    _: u32,
) -> Flow {
    let size = size_of::<T::Memory>();
    let first = cx.warp;
    // SAFETY: as in `load_body`.
    unsafe {
        let [mut from, mut to] = [0, 4].map(|i| cx.row::<u8>(inst.rows[i]));
        let [from_step, to_step] = [0, 4].map(|i| cx.step(inst.rows[i]));
        for warp in 0..cx.crowd {
            let mask = *cx.masks.add(warp);
            let (values, row) = (from.cast::<T::Register>(), to.cast::<A>());
            from = from.wrapping_add(from_step);
            to = to.wrapping_add(to_step);
            if mask == 0 {
                continue;
            }
            let plain = P::KNOWN.is_some()
                || flags::elements(inst.aux) == 1 && inst.aux & flags::RELEASE == 0;
            if mask == FULL
                && plain
                && let Whole::Contiguous(host) = whole_warp::<A, P, ISA>(cx, inst, row, size, true)
            {
                store_whole::<T, ISA>(values, host);
                continue;
            }
            match cx.as_warp(first, warp, |cx| store_slowly::<T, A>(cx, inst, mask)) {
                Flow::Next => {}
                other => return other,
            }
        }
    }
    Flow::Next
}

/// Stores the values of a whole warp side by side.
///
/// # Safety
/// `values` is a row of registers; `host` comes from `locate`, for a whole row.
#[inline(always)]
pub(crate) unsafe fn store_whole<T: Transfer, const ISA: u8>(
    values: *const T::Register,
    host: *mut u8,
) {
    let size = size_of::<T::Memory>();
    // SAFETY: the caller vouches for the row and the address.
    unsafe {
        if ISA > 0 && size_of::<T::Register>() == size {
            copy_row(values.cast(), host, size * LANES);
        } else if ISA > 0 {
            let mut narrow = MaybeUninit::<[T::Memory; LANES]>::uninit();
            let to = narrow.as_mut_ptr().cast::<T::Memory>();
            for p in 0..LANES / PIECE {
                let values = piece(values, p);
                put(to, p, FULL, from_fn(|i| T::narrow(values[i])));
            }
            copy_row(to.cast(), host, size * LANES);
        } else {
            for i in 0..LANES {
                T::narrow(*values.add(i)).store(host.add(i * size));
            }
        }
    }
}

/// A store whose lanes are not all active, not side by side, or that is a vector.
///
/// # Safety
/// As for a handler.
#[inline(never)]
unsafe fn store_slowly<T: Transfer, A: Address>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let (space, elements) = (flags::space(inst.aux), flags::elements(inst.aux));
    let size = size_of::<T::Memory>() as u64;
    let whole = size * elements as u64;
    let first = mask.trailing_zeros() as usize;
    if inst.aux & flags::RELEASE != 0 {
        fence(Ordering::Release);
    }
    // SAFETY: as in `load_body`.
    unsafe {
        let (addrs, pattern) = addresses::<A>(cx, inst.rows[4], inst.imm, mask, first, size);
        let base = addrs[first];
        if base & (whole - 1) != 0 {
            return misaligned(cx, first, base, whole, "store", space);
        }
        if let Pattern::Contiguous = pattern
            && elements == 1
            && local_offset(space, base).is_none()
        {
            let last = 31 - mask.leading_zeros() as usize;
            if writable(space, base)
                && let Some(host) = cx.locate(space, base, (last - first + 1) as u64 * size)
            {
                let values = cx.row::<T::Register>(inst.rows[0]);
                let origin = host.wrapping_sub(first * size as usize);
                for i in first..=last {
                    if mask & (1 << i) != 0 {
                        T::narrow(*values.add(i)).store(origin.wrapping_add(i * size as usize));
                    }
                }
                return Flow::Next;
            }
        }
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let addr = addrs[i];
            if addr & (whole - 1) != 0 {
                return misaligned(cx, i, addr, whole, "store", space);
            }
            if let Some(offset) = local_offset(space, addr) {
                if !local_fits(cx, offset, whole) {
                    return illegal(cx, i, addr, whole, "store", space);
                }
                for e in 0..elements {
                    let value = T::narrow(*cx.row::<T::Register>(inst.rows[e]).add(i));
                    local_write(cx, i, offset + e as u64 * size, size, value.bits());
                }
                continue;
            }
            if !writable(space, addr) {
                return illegal(cx, i, addr, whole, "store", space);
            }
            let Some(host) = cx.locate(space, addr, whole) else {
                return illegal(cx, i, addr, whole, "store", space);
            };
            for e in 0..elements {
                let value = T::narrow(*cx.row::<T::Register>(inst.rows[e]).add(i));
                value.store(host.add(e * size as usize));
            }
        }
    }
    Flow::Next
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
    all load<T: Transfer, A: Address, P: Place> = load_body as Procession if P::KNOWN.is_some();
    all store<T: Transfer, A: Address, P: Place> = store_body as Procession if P::KNOWN.is_some();
    one is_space = is_space_body as Rows;
}
