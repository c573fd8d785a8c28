// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of arrays at consecutive indices: `a[i] = x * b[i] + c[i]` where `i` grows by 1 from
//! lane to lane.
//!
//! Compilers multiply the index by the size, add the base of each array, and access. Here the
//! multiplication's handler executes all of it, and works addresses out for the first lane only. If
//! that cannot be done, from the beginning or from some access on, the instructions themselves go
//! on from there.

use super::access::{InGlobal, Whole, load_whole, store_whole, whole_at};
use super::code::{Flow, Inst, LANES, Row};
use super::context::Context;
use super::isa::handlers;
use super::lanes::{Op2, op2_body};
use super::value::{Address, U32Word, U64Double};

/// Arrays of a sequence at most.
pub(crate) const ARRAYS: usize = 4;
const FULL: u32 = u32::MAX;

/// What an instruction of the sequence does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    /// Adds a base, the same for all lanes, to the scaled index: the address of an array's element.
    Base {
        array: usize,
        base: Row,
    },
    Load {
        array: usize,
    },
    Store {
        array: usize,
    },
    /// Something else, which only computes.
    Other,
}

/// The instructions that follow a multiplication of an index by the size of elements.
#[derive(Debug, Clone)]
pub(crate) struct Indexed {
    /// Bytes of an element: 4 or 8.
    pub size: usize,
    pub items: Vec<Item>,
    /// The last item that reads the scaled index, and each of the addresses.
    pub last_index: usize,
    pub last_address: [usize; ARRAYS],
}

/// A multiplication of 32-bit values with a 64-bit result.
pub(crate) trait Scale: 'static {
    type Multiply: Op2;
    /// The index as a wide number, if it and the 31 that follow do not overflow.
    fn widen(first: u32) -> Option<u64>;
}

/// Runs the items; the PC to go on at.
///
/// # Safety
/// As for a handler, with the instruction and items that the lowering stage made; all lanes run.
#[inline(always)]
unsafe fn execute<const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    indexed: &Indexed,
    insts: &[Inst],
    index: u64,
) -> u32 {
    let at = cx.pc + 1;
    let mut firsts = [0u64; ARRAYS];
    for (i, (&item, next)) in indexed.items.iter().zip(insts).enumerate() {
        // SAFETY: the lowering stage checked the widths of the rows.
        let done = unsafe {
            match item {
                Item::Base { array, base } => {
                    firsts[array] = index.wrapping_add(*cx.row::<u64>(base));
                    true
                }
                Item::Load { array } => {
                    let whole = whole_at::<InGlobal>(cx, next, firsts[array], indexed.size, true);
                    if indexed.size == 4 {
                        load_whole::<U32Word, AVX>(cx, next, whole)
                    } else {
                        load_whole::<U64Double, AVX>(cx, next, whole)
                    }
                }
                Item::Store { array } => {
                    match whole_at::<InGlobal>(cx, next, firsts[array], indexed.size, true) {
                        Whole::Contiguous(host) if indexed.size == 4 => {
                            store_whole::<U32Word, AVX>(cx, next, host);
                            true
                        }
                        Whole::Contiguous(host) => {
                            store_whole::<U64Double, AVX>(cx, next, host);
                            true
                        }
                        _ => false,
                    }
                }
                Item::Other => {
                    (next.run)(cx, next, FULL);
                    true
                }
            }
        };
        if !done {
            // SAFETY: as above; rows that nobody reads any more may belong to others by now.
            unsafe {
                if indexed.last_index >= i {
                    spread(cx.row(inst.rows[0]), index, indexed.size);
                }
                for (item, before) in indexed.items.iter().zip(insts).take(i) {
                    if let Item::Base { array, .. } = *item
                        && indexed.last_address[array] >= i
                    {
                        spread(cx.row(before.rows[0]), firsts[array], indexed.size);
                    }
                }
            }
            return at + i as u32;
        }
    }
    at + insts.len() as u32
}

/// Writes the addresses of all lanes.
///
/// # Safety
/// The row has 32 values.
#[cold]
unsafe fn spread(row: *mut u64, first: u64, size: usize) {
    for i in 0..LANES {
        // SAFETY: the caller vouches for the row.
        unsafe { *row.add(i) = first.wrapping_add((i * size) as u64) };
    }
}

#[inline(always)]
unsafe fn indexed_body<S: Scale, const AVX: bool>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let code = cx.code;
    // SAFETY: the lowering stage checked the widths of the rows, and made the items for this
    // multiplication.
    unsafe {
        if mask == FULL
            && let Some(indexed) = code.indexed.get((inst.aux >> 32) as usize)
            && let at = cx.pc as usize + 1
            && let Some(insts) = code.insts.get(at..at + indexed.items.len())
            && let row = cx.row::<u32>(inst.rows[1])
            && let Some(index) = S::widen(*row)
            && u32::regular::<AVX>(row, *row, 1, true)
        {
            let index = index.wrapping_mul(indexed.size as u64);
            cx.pc = execute::<AVX>(cx, inst, indexed, insts, index);
            return Flow::Jump;
        }
        op2_body::<S::Multiply, AVX>(cx, inst, mask)
    }
}

handlers! {
    two indexed<S: Scale> = indexed_body;
}
