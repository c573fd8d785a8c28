// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values as they are in memory and in registers, and registers that hold addresses.

use super::code::LANES;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// A value in memory.
pub(crate) trait Value: Copy + 'static {
    /// # Safety
    /// `from` is readable and aligned to the size of the value.
    unsafe fn load(from: *const u8) -> Self;
    /// # Safety
    /// `to` is writable and aligned to the size of the value.
    unsafe fn store(self, to: *mut u8);
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

macro_rules! values {
    ($($type:ty, $atomic:ty, $unsigned:ty;)*) => {$(
        impl Value for $type {
            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the address.
                unsafe { <$atomic>::from_ptr(from.cast_mut().cast()) }.load(Ordering::Relaxed) as $type
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller vouches for the address.
                unsafe { <$atomic>::from_ptr(to.cast()) }.store(self as $unsigned, Ordering::Relaxed);
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self as $unsigned)
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as $type
            }
        }
    )*};
}
values! {
    u8, AtomicU8, u8;
    i8, AtomicU8, u8;
    u16, AtomicU16, u16;
    i16, AtomicU16, u16;
    u32, AtomicU32, u32;
    i32, AtomicU32, u32;
    u64, AtomicU64, u64;
}

/// How a value in memory becomes one in a register, and back.
pub(crate) trait Transfer: 'static {
    type Memory: Value;
    type Register: Copy + 'static;
    fn widen(value: Self::Memory) -> Self::Register;
    fn narrow(value: Self::Register) -> Self::Memory;
}

macro_rules! transfers {
    ($($name:ident: $memory:ty, $register:ty;)*) => {$(
        pub(crate) struct $name;
        impl Transfer for $name {
            type Memory = $memory;
            type Register = $register;
            #[inline(always)]
            fn widen(value: $memory) -> $register { value as $register }
            #[inline(always)]
            fn narrow(value: $register) -> $memory { value as $memory }
        }
    )*};
}
transfers! {
    U8Half: u8, u16;
    U8Word: u8, u32;
    U8Double: u8, u64;
    S8Half: i8, u16;
    S8Word: i8, u32;
    S8Double: i8, u64;
    U16Half: u16, u16;
    U16Word: u16, u32;
    U16Double: u16, u64;
    S16Word: i16, u32;
    S16Double: i16, u64;
    U32Word: u32, u32;
    U32Double: u32, u64;
    S32Double: i32, u64;
    U64Double: u64, u64;
}

/// A register that holds addresses.
pub(crate) trait Address: Copy + PartialEq + 'static {
    fn wide(self) -> u64;
    fn plus(self, offset: usize) -> Self;
    /// Whether lane `i` of a row holds `first + i * size` for all lanes, or `first` without `step`.
    ///
    /// # Safety
    /// The row has 32 values. With an `ISA`, the host has AVX2.
    unsafe fn regular<const ISA: u8>(
        row: *const Self,
        first: Self,
        size: usize,
        step: bool,
    ) -> bool;
}

macro_rules! addresses {
    ($($type:ty, $spread:ident, $add:ident;)*) => {$(
        impl Address for $type {
            #[inline(always)]
            fn wide(self) -> u64 { u64::from(self) }
            #[inline(always)]
            fn plus(self, offset: usize) -> $type { self.wrapping_add(offset as $type) }
            #[inline(always)]
            unsafe fn regular<const ISA: u8>(row: *const $type, first: $type, size: usize, step: bool) -> bool {
                let offsets: [$type; LANES] = core::array::from_fn(|i| (i * size) as $type);
                #[cfg(target_arch = "x86_64")]
                if ISA > 0 {
                    use core::arch::x86_64::*;
                    const PIECE: usize = 32 / size_of::<$type>();
                    // SAFETY: the caller vouches for the host and the row; each piece of 32 bytes
                    // lies within the row and within `offsets`.
                    unsafe {
                        let (base, keep) = ($spread(first as _), $spread(if step { -1 } else { 0 }));
                        let mut different = _mm256_setzero_si256();
                        for p in 0..LANES / PIECE {
                            let offset = _mm256_loadu_si256(offsets.as_ptr().add(p * PIECE).cast());
                            let expected = $add(base, _mm256_and_si256(offset, keep));
                            let found = _mm256_loadu_si256(row.add(p * PIECE).cast());
                            different = _mm256_or_si256(different, _mm256_xor_si256(found, expected));
                        }
                        return _mm256_testz_si256(different, different) != 0;
                    }
                }
                // SAFETY: the caller vouches for the row.
                (0..LANES).all(|i| unsafe { *row.add(i) } == first.wrapping_add(if step { offsets[i] } else { 0 }))
            }
        }
    )*};
}
addresses! {
    u32, _mm256_set1_epi32, _mm256_add_epi32;
    u64, _mm256_set1_epi64x, _mm256_add_epi64;
}
