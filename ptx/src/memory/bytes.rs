// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies of bytes that other threads and processes may change at the same time.
//!
//! Device memory is shared with other blocks, with host threads and possibly with another
//! process. A Rust reference to it, or an ordinary copy of it, would be a data race, so the bytes
//! move through instructions that the compiler cannot see into (x86-64) or through volatile
//! accesses (elsewhere).

/// Copies `len` bytes upwards; source and destination may overlap if `dst <= src`.
///
/// # Safety
/// `src..src+len` is readable and `dst..dst+len` writable for the whole call.
#[inline]
pub(crate) unsafe fn copy_bytes(src: *const u8, dst: *mut u8, len: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller vouches for both ranges; `rep movsb` touches nothing else, and the
    // direction flag is clear by the ABI.
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") len => _, inout("rsi") src => _,
            inout("rdi") dst => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..len {
        // SAFETY: i < len, and the caller vouches for both ranges.
        unsafe { dst.add(i).write_volatile(src.add(i).read_volatile()) };
    }
}

/// Copies `len` bytes from the last one down; for overlapping ranges with `dst > src`.
///
/// # Safety
/// As for [`copy_bytes`].
pub(crate) unsafe fn copy_bytes_backwards(src: *const u8, dst: *mut u8, len: usize) {
    // Whole chunks no longer than the distance do not overlap themselves, and move fast.
    let distance = (dst as usize).wrapping_sub(src as usize).clamp(1, 1 << 20);
    let mut end = len;
    while end > 0 {
        let chunk = distance.min(end);
        // SAFETY: end - chunk .. end lies in both ranges, for which the caller vouches.
        unsafe { copy_bytes(src.add(end - chunk), dst.add(end - chunk), chunk) };
        end -= chunk;
    }
}
