// SPDX-License-Identifier: MIT OR Apache-2.0
//! Elements of arrays at consecutive indices: `a[i] = x * b[i] + c[i]` where `i` grows by 1 from
//! lane to lane.
//!
//! Compilers multiply the index by the size, add the base of each array, and access. Here the
//! multiplication's handler executes all of it, and works addresses out for the first lane only. If
//! that cannot be done, from the beginning or from some access on, the instructions themselves go
//! on from there.

use super::access::Whole;
use super::code::{Base, Flow, Inst, LANES, Row};
use super::context::Context;
use super::convoy::WARPS;
use super::isa::handlers;
use super::lanes::{Op2, op2_body};
use super::load::load_whole;
use super::store::store_whole;
use super::value::{Address, Transfer, U32Word, U64Double};

/// Arrays of a sequence at most.
pub(crate) const ARRAYS: usize = 4;
const FULL: u32 = u32::MAX;

/// What an instruction of the sequence does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item {
    /// Adds a base, the same for all lanes, to the scaled index: the address of an array's element.
    Base {
        array: u8,
        base: Row,
    },
    Load {
        array: u8,
    },
    Store {
        array: u8,
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

/// Runs the items; the PC to go on at. `index` are the first lanes' indices, scaled, of the warps.
///
/// # Safety
/// As for a handler, with the instruction and items that the lowering stage made; all lanes run of
/// the warps that run at all.
#[inline(always)]
unsafe fn execute<const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    indexed: &Indexed,
    insts: &[Inst],
    index: &[u64; WARPS],
) -> u32 {
    let mut bases = [0u64; ARRAYS];
    for (item, next) in indexed.items.iter().zip(insts) {
        // SAFETY: the lowering stage checked the widths of the rows; there is a mask for each warp.
        let done = unsafe {
            match *item {
                Item::Base { array, base } => {
                    bases[array as usize % ARRAYS] = *cx.row::<u64>(base);
                    true
                }
                Item::Load { array } | Item::Store { array } => {
                    let base = bases[array as usize % ARRAYS];
                    let store = matches!(*item, Item::Store { .. });
                    match indexed.size {
                        4 => transfer::<U32Word, ISA>(cx, next, index, base, store),
                        _ => transfer::<U64Double, ISA>(cx, next, index, base, store),
                    }
                }
                Item::Other => {
                    next.execute(cx, FULL);
                    true
                }
            }
        };
        if !done {
            // The instruction goes on by itself; warps that have executed it already do so again.
            let failed =
                (&raw const *item as usize - indexed.items.as_ptr() as usize) / size_of::<Item>();
            // SAFETY: as above.
            unsafe { catch_up(cx, inst, indexed, insts, index, failed) };
            return cx.pc + 1 + failed as u32;
        }
    }
    cx.pc + 1 + insts.len() as u32
}

/// Loads or stores the elements of an array for all warps; false if those of a warp are not there.
///
/// # Safety
/// As for `execute`.
#[inline(always)]
unsafe fn transfer<T: Transfer, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    index: &[u64; WARPS],
    base: u64,
    store: bool,
) -> bool {
    let size = size_of::<T::Memory>();
    let base = base.wrapping_add(inst.imm as u64);
    // SAFETY: the caller vouches for the instruction; the row of host addresses is whole.
    unsafe {
        let mut row = cx.row::<u8>(inst.rows[0]);
        let step = cx.step(inst.rows[0]);
        for (warp, index) in index.iter().enumerate().take(cx.crowd) {
            let (addr, values) = (index.wrapping_add(base), row.cast());
            row = row.wrapping_add(step);
            if *cx.masks.add(warp) == 0 {
                continue;
            }
            let aligned = addr & (size as u64 - 1) == 0;
            let host = cx.space.locate(addr, (size * LANES) as u64, &mut cx.region);
            let Some(host) = host.filter(|_| aligned) else {
                return false;
            };
            if store {
                store_whole::<T, ISA>(values, host);
            } else {
                load_whole::<T, ISA>(values, Whole::Contiguous(host));
            }
        }
    }
    true
}

/// Writes the addresses that are still read after the items before `failed` were executed.
///
/// # Safety
/// As for `execute`.
#[cold]
unsafe fn catch_up(
    cx: &mut Context<'_>,
    inst: &Inst,
    indexed: &Indexed,
    insts: &[Inst],
    index: &[u64; WARPS],
    failed: usize,
) {
    let frame = cx.bases[Base::Frame as usize];
    for (warp, &index) in index.iter().enumerate().take(cx.crowd) {
        // SAFETY: the caller vouches for the rows; those that nobody reads any more may belong to
        // others by now.
        unsafe {
            if *cx.masks.add(warp) == 0 {
                continue;
            }
            cx.bases[Base::Frame as usize] =
                frame.wrapping_add(warp * cx.steps[Base::Frame as usize]);
            if indexed.last_index >= failed {
                spread(cx.row(inst.rows[0]), index, indexed.size);
            }
            for (item, before) in indexed.items.iter().zip(insts).take(failed) {
                if let Item::Base { array, base } = *item
                    && indexed.last_address[array as usize % ARRAYS] >= failed
                {
                    let first = index.wrapping_add(*cx.row::<u64>(base));
                    spread(cx.row(before.rows[0]), first, indexed.size);
                }
            }
        }
    }
    cx.bases[Base::Frame as usize] = frame;
}

/// Writes the addresses of all lanes.
///
/// # Safety
/// The row has 32 values.
unsafe fn spread(row: *mut u64, first: u64, size: usize) {
    for i in 0..LANES {
        // SAFETY: the caller vouches for the row.
        unsafe { *row.add(i) = first.wrapping_add((i * size) as u64) };
    }
}

#[inline(always)]
unsafe fn indexed_body<S: Scale, const ISA: u8>(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
) -> Flow {
    let code = cx.code;
    // SAFETY: the lowering stage checked the widths of the rows, and made the items for this
    // multiplication; there is a mask for each warp.
    unsafe {
        if let Some(indexed) = code.indexed.get((inst.aux >> 32) as usize)
            && let at = cx.pc as usize + 1
            && let Some(insts) = code.insts.get(at..at + indexed.items.len())
        {
            let mut indices = [0; WARPS];
            let row = cx.row::<u8>(inst.rows[1]);
            let step = cx.steps[inst.rows[1].base()];
            let regular = indices
                .iter_mut()
                .enumerate()
                .take(cx.crowd)
                .all(|(warp, index)| {
                    let row = row.wrapping_add(warp * step).cast::<u32>();
                    let mask = *cx.masks.add(warp);
                    let Some(first) = S::widen(*row) else {
                        return mask == 0;
                    };
                    *index = first.wrapping_mul(indexed.size as u64);
                    mask == 0 || mask == FULL && u32::regular::<ISA>(row, *row, 1, true)
                });
            if regular {
                cx.pc = execute::<ISA>(cx, inst, indexed, insts, &indices);
                return Flow::Jump;
            }
        }
        op2_body::<S::Multiply, ISA>(cx, inst, mask)
    }
}

handlers! {
    all indexed<S: Scale> = indexed_body as Procession;
}
