// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrices of a warp, and the fragments in which its lanes hold them (PTX ISA, "Warp Level Matrix
//! Instructions").
//!
//! All fragments have one scheme: matrices consist of blocks with 8 rows (A), 8 columns (B) or both
//! (C and D), and 4 registers per row or column of a block. Lane `4 g + t` holds part `t` of row or
//! column `g`. `mma` prescribes just that; for `wmma`, whose fragments are nobody else's business,
//! it is as good as any other. Only `mma.m8n8k4` of f16, which makes four products, is different.

use super::code::LANES;
use crate::numeric::{decode_bfloat, decode_e4m3, decode_e5m2, decode_half};

/// Elements of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    /// Floating-point numbers of eight bits.
    E4m3,
    E5m2,
    U8,
    S8,
    U4,
    S4,
    /// 32 single bits: extents along `k` count words.
    Bits,
    S32,
}

impl Element {
    /// Elements in a register.
    pub fn per_register(self) -> usize {
        match self {
            Element::F16 | Element::Bf16 => 2,
            Element::U8 | Element::S8 | Element::E4m3 | Element::E5m2 => 4,
            Element::U4 | Element::S4 => 8,
            _ => 1,
        }
    }
}

/// Which operand a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    A,
    B,
    C,
}

/// Calls `f(register, lane, part, row, column)` for each element of A.
#[inline(always)]
pub(super) fn each_a(
    m: usize,
    k: usize,
    per: usize,
    mut f: impl FnMut(usize, usize, usize, usize, usize),
) {
    let blocks = m / 8;
    for register in 0..blocks * (k / (4 * per)) {
        let (row, column) = (register % blocks * 8, register / blocks * 4 * per);
        for lane in 0..LANES {
            for part in 0..per {
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + g, column + t * per + part);
            }
        }
    }
}

/// The same for B.
#[inline(always)]
pub(super) fn each_b(
    k: usize,
    n: usize,
    per: usize,
    mut f: impl FnMut(usize, usize, usize, usize, usize),
) {
    let blocks = k / (4 * per);
    for register in 0..blocks * (n / 8) {
        let (row, column) = (register % blocks * 4 * per, register / blocks * 8);
        for lane in 0..LANES {
            for part in 0..per {
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + t * per + part, column + g);
            }
        }
    }
}

/// The same for C and D: `per` is 2 if a register holds two elements.
#[inline(always)]
pub(super) fn each_c(
    m: usize,
    n: usize,
    per: usize,
    mut f: impl FnMut(usize, usize, usize, usize, usize),
) {
    let blocks = m / 8;
    for pair in 0..blocks * (n / 8) {
        let (row, column) = (pair % blocks * 8, pair / blocks * 8);
        for lane in 0..LANES {
            for i in 0..2 {
                let (register, part) = if per == 2 {
                    (pair, i)
                } else {
                    (2 * pair + i, 0)
                };
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + g, column + 2 * t + i);
            }
        }
    }
}

/// A floating-point element of a register.
#[inline(always)]
pub(super) fn float(element: Element, word: u32, part: usize) -> f32 {
    match element {
        Element::F16 => decode_half((word >> (16 * part)) as u16),
        Element::Bf16 => decode_bfloat((word >> (16 * part)) as u16),
        Element::E4m3 => decode_e4m3((word >> (8 * part)) as u8),
        Element::E5m2 => decode_e5m2((word >> (8 * part)) as u8),
        // The bits that the format lacks are not looked at.
        Element::Tf32 => f32::from_bits(word & 0xffff_e000),
        _ => f32::from_bits(word),
    }
}

/// An integer element of a register.
#[inline(always)]
pub(super) fn integer(element: Element, word: u32, part: usize) -> i32 {
    match element {
        Element::U8 => (word >> (8 * part) & 0xff) as i32,
        Element::S8 => i32::from((word >> (8 * part)) as i8),
        Element::U4 => (word >> (4 * part) & 15) as i32,
        Element::S4 => ((word >> (4 * part)) as i32) << 28 >> 28,
        _ => word as i32,
    }
}
