// SPDX-License-Identifier: MIT OR Apache-2.0
//! Atomic operations on memory: `atom` and `red`.

use super::access::{flags, space_name, writable};
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::local::{local_fits, local_offset, local_read, local_write};
use super::warp::SPIN_COST;
use super::window;
use crate::numeric::{BFLOAT, Format, HALF, add_half};
use crate::numeric::{canonical32, flush32};
use crate::parse::ast::Space;
use core::mem::size_of;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A value that can be exchanged atomically.
pub(crate) trait AtomicValue: Copy + PartialEq + 'static {
    /// # Safety
    /// `at` is writable and aligned to the size of the value.
    unsafe fn update(at: *mut u8, new: impl Fn(Self) -> Self) -> Self;
    /// The same for memory that no other thread of the host touches.
    ///
    /// # Safety
    /// As for `update`.
    unsafe fn update_alone(at: *mut u8, new: impl Fn(Self) -> Self) -> Self;
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

macro_rules! atomic_values {
    ($($type:ty, $atomic:ty;)*) => {$(
        impl AtomicValue for $type {
            #[inline(always)]
            unsafe fn update(at: *mut u8, new: impl Fn(Self) -> Self) -> Self {
                // SAFETY: the caller vouches for the address.
                let cell = unsafe { <$atomic>::from_ptr(at.cast()) };
                let mut old = cell.load(Ordering::Relaxed);
                loop {
                    match cell.compare_exchange_weak(old, new(old), Ordering::SeqCst, Ordering::Relaxed) {
                        Ok(old) => return old,
                        Err(now) => old = now,
                    }
                }
            }
            #[inline(always)]
            unsafe fn update_alone(at: *mut u8, new: impl Fn(Self) -> Self) -> Self {
                // SAFETY: the caller vouches for the address.
                let cell = unsafe { <$atomic>::from_ptr(at.cast()) };
                let old = cell.load(Ordering::Relaxed);
                cell.store(new(old), Ordering::Relaxed);
                old
            }
            #[inline(always)]
            fn bits(self) -> u64 { u64::from(self) }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self { bits as $type }
        }
    )*};
}
atomic_values! {
    u16, AtomicU16;
    u32, AtomicU32;
    u64, AtomicU64;
}

fn halves(a: u32, b: u32, format: Format) -> u32 {
    let sum = |shift: u32| u32::from(add_half((a >> shift) as u16, (b >> shift) as u16, format));
    sum(16) << 16 | sum(0)
}

/// What an atomic operation makes of the old value; `c` is only used by `cas`.
pub(crate) trait AtomicOp: 'static {
    type Value: AtomicValue;
    fn apply(old: Self::Value, b: Self::Value, c: Self::Value) -> Self::Value;
    /// The same in global memory.
    #[inline(always)]
    fn apply_globally(old: Self::Value, b: Self::Value, c: Self::Value) -> Self::Value {
        Self::apply(old, b, c)
    }
}

/// Addition in single precision, which flushes subnormal numbers in global memory.
pub(crate) struct AddF32;

impl AtomicOp for AddF32 {
    type Value = u32;

    fn apply(old: u32, b: u32, _: u32) -> u32 {
        canonical32(f32::from_bits(old) + f32::from_bits(b)).to_bits()
    }

    fn apply_globally(old: u32, b: u32, _: u32) -> u32 {
        let [old, b] = [old, b].map(|bits| flush32(f32::from_bits(bits)));
        flush32(canonical32(old + b)).to_bits()
    }
}

/// Addition in double precision. The hardware does it in different places, which treat what is not
/// a number in different ways.
pub(crate) struct AddF64;

impl AtomicOp for AddF64 {
    type Value = u64;

    fn apply(old: u64, b: u64, _: u64) -> u64 {
        const QUIET: u64 = 1 << 51;
        let [x, y] = [old, b].map(f64::from_bits);
        match (x.is_nan(), y.is_nan()) {
            (true, _) => old | QUIET,
            (_, true) => b | QUIET,
            _ => (x + y).to_bits(),
        }
    }

    fn apply_globally(old: u64, b: u64, _: u64) -> u64 {
        let [x, y] = [old, b].map(f64::from_bits);
        match (x.is_nan(), y.is_nan()) {
            (_, true) => b,
            (true, _) => old,
            _ => (x + y).to_bits(),
        }
    }
}

/// Defines atomic operations: `Name(Type) = |old, b, c| expression;`.
macro_rules! atomics {
    ($($name:ident($type:ty) = $function:expr;)*) => {$(
        pub(crate) struct $name;
        impl AtomicOp for $name {
            type Value = $type;
            #[inline(always)]
            fn apply(old: $type, b: $type, c: $type) -> $type {
                let f: fn($type, $type, $type) -> $type = $function;
                f(old, b, c)
            }
        }
    )*};
}
atomics! {
    Add32(u32) = |old, b, _| old.wrapping_add(b);
    Add64(u64) = |old, b, _| old.wrapping_add(b);
    MinU32(u32) = |old, b, _| old.min(b);
    MinU64(u64) = |old, b, _| old.min(b);
    MinS32(u32) = |old, b, _| (old as i32).min(b as i32) as u32;
    MinS64(u64) = |old, b, _| (old as i64).min(b as i64) as u64;
    MaxU32(u32) = |old, b, _| old.max(b);
    MaxU64(u64) = |old, b, _| old.max(b);
    MaxS32(u32) = |old, b, _| (old as i32).max(b as i32) as u32;
    MaxS64(u64) = |old, b, _| (old as i64).max(b as i64) as u64;
    And32(u32) = |old, b, _| old & b;
    And64(u64) = |old, b, _| old & b;
    Or32(u32) = |old, b, _| old | b;
    Or64(u64) = |old, b, _| old | b;
    Xor32(u32) = |old, b, _| old ^ b;
    Xor64(u64) = |old, b, _| old ^ b;
    Inc32(u32) = |old, b, _| if old >= b { 0 } else { old + 1 };
    Dec32(u32) = |old, b, _| if old == 0 || old > b { b } else { old - 1 };
    Exch32(u32) = |_, b, _| b;
    Exch64(u64) = |_, b, _| b;
    Add16(u16) = |old, b, _| add_half(old, b, HALF);
    AddBf16(u16) = |old, b, _| add_half(old, b, BFLOAT);
    Add16x2(u32) = |old, b, _| halves(old, b, HALF);
    AddBf16x2(u32) = |old, b, _| halves(old, b, BFLOAT);
    Cas16(u16) = |old, b, c| if old == b { c } else { old };
    Cas32(u32) = |old, b, c| if old == b { c } else { old };
    Cas64(u64) = |old, b, c| if old == b { c } else { old };
}

/// Whether it is the block's shared memory, which only the thread that runs the block touches.
#[inline(always)]
fn in_shared(space: Space, addr: u64) -> bool {
    space == Space::Shared || space == Space::Generic && window::of(addr) == window::SHARED
}

#[inline(always)]
fn in_global(space: Space, addr: u64) -> bool {
    space == Space::Global || space == Space::Generic && addr < window::GENERIC_LIMIT
}

/// `atom`, and `red` with a result that nobody reads: row 0 result, 1 address, 2 operand, 3 second
/// operand of `cas`.
#[inline(always)]
unsafe fn atomic_body<O: AtomicOp, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    const ACCESS: &str = "atomic operation";
    let space = flags::space(inst.aux);
    let size = size_of::<O::Value>() as u64;
    // A thread that tries to take a lock must not starve the one that holds it.
    if cx.groups.is_empty() && cx.limit == u32::MAX {
        cx.budget -= 1;
    } else {
        cx.budget -= SPIN_COST;
    }
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`.
    unsafe {
        let row = cx.row::<u64>(inst.rows[1]);
        let [d, b, c] = [0, 2, 3].map(|i| cx.row::<O::Value>(inst.rows[i]));
        if space == Space::Shared
            && mask == u32::MAX
            && let Some(last) = (cx.block.shared.len() as u64).checked_sub(size)
        {
            let (mut outside, mut bits) = (0, 0);
            for i in 0..LANES {
                let addr = (*row.add(i)).wrapping_add(inst.imm as u64);
                outside |= addr | last.wrapping_sub(addr);
                bits |= addr;
            }
            if outside >> 63 == 0 && bits & (size - 1) == 0 {
                let shared = cx.block.shared.as_mut_ptr().wrapping_add(inst.imm as usize);
                for i in 0..LANES {
                    let (b, c) = (*b.add(i), *c.add(i));
                    let host = shared.wrapping_add(*row.add(i) as usize);
                    *d.add(i) = O::Value::update_alone(host, |old| O::apply(old, b, c));
                }
                return Flow::Next;
            }
        }
        let addrs: [u64; LANES] = row.cast::<[u64; LANES]>().read();
        let mut left = mask;
        while left != 0 {
            let i = left.trailing_zeros() as usize;
            left &= left - 1;
            let addr = addrs[i].wrapping_add(inst.imm as u64);
            let (b, c) = (*b.add(i), *c.add(i));
            let name = space_name(space);
            let (lane, bytes) = (i as u32, size as u32);
            if !addr.is_multiple_of(size) {
                let trouble = Trouble::Misaligned {
                    lane,
                    address: addr,
                    size: bytes,
                    access: ACCESS,
                    space: name,
                };
                return cx.fail(trouble);
            }
            let illegal = Trouble::IllegalAddress {
                lane,
                address: addr,
                size: bytes,
                access: ACCESS,
                space: name,
            };
            if let Some(offset) = local_offset(space, addr) {
                if !local_fits(cx, offset, size) {
                    return cx.fail(illegal);
                }
                let old = O::Value::from_bits(local_read(cx, i, offset, size));
                local_write(cx, i, offset, size, O::apply(old, b, c).bits());
                *d.add(i) = old;
                continue;
            }
            let Some(host) = cx
                .locate(space, addr, size)
                .filter(|_| writable(space, addr))
            else {
                return cx.fail(illegal);
            };
            *d.add(i) = if in_shared(space, addr) {
                O::Value::update_alone(host, |old| O::apply(old, b, c))
            } else if in_global(space, addr) {
                O::Value::update(host, |old| O::apply_globally(old, b, c))
            } else {
                O::Value::update(host, |old| O::apply(old, b, c))
            };
        }
    }
    Flow::Next
}

handlers! {
    one atomic<O: AtomicOp> = atomic_body as Memory;
}
