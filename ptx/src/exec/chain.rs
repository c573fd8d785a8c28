// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chains of multiply-adds whose factors lie in shared memory: the inner loop of a tiled matrix
//! product.
//!
//! The instructions of a chain stay where they are. Only the handler of the first is another one:
//! if all lanes run, and all addresses are as regular as they should be, it executes the whole
//! chain with the sum in the host's registers, and else just its own load.

use super::access::InShared;
use super::code::{Flow, Inst, LANES, Row};
use super::context::Context;
use super::isa::handlers;
use super::lanes::{Op3, PIECE, piece, put};
use super::load::load_body;
use super::value::{Address, U32Word};
use core::array::from_fn;

/// Instructions of a step: two loads and a multiply-add.
pub(crate) const STEP: usize = 3;
const FULL: u32 = u32::MAX;
const SIZE: usize = size_of::<f32>();

/// A chain of steps `load x; load y; d = x * y + c`, each with the sum of the one before it.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    /// Offsets of the two loads of each step, multiples of 4; at least one step.
    pub steps: Vec<[i32; 2]>,
    /// The lowest and the highest of these, for each of the two loads.
    pub reach: [(i32, i32); 2],
}

/// Offsets beyond this are not part of chains, so that sums of addresses cannot overflow.
pub(crate) const REACH: i64 = 1 << 24;

/// The chain of an instruction, in the high half of `aux`.
pub(crate) const fn number(chain: u32) -> u64 {
    (chain as u64) << 32
}

/// Where the factors of one kind are, relative to the offsets of the steps.
enum Factor {
    /// The same for all lanes.
    Equal(*const u8),
    /// Side by side.
    Contiguous(*const u8),
    Other,
}

/// Looks at the addresses of one kind of factors, all of which are in bounds if the result is not
/// `Other`.
///
/// # Safety
/// The row holds words. With an `ISA`, the host has AVX2.
#[inline(always)]
unsafe fn factor<const ISA: u8>(cx: &mut Context<'_>, row: Row, reach: (i32, i32)) -> Factor {
    // SAFETY: the caller vouches for the row.
    let (row, first, second) = unsafe {
        let row = cx.row::<u32>(row);
        (row, *row, *row.add(1))
    };
    let step = second == first.plus(SIZE);
    let lowest = i64::from(first) + i64::from(reach.0);
    let len = if step { SIZE * LANES } else { SIZE };
    let end = i64::from(first) + i64::from(reach.1) + len as i64;
    if !(first as usize).is_multiple_of(SIZE)
        || lowest < 0
        || end > cx.block.shared.len() as i64
        // SAFETY: as above.
        || !unsafe { u32::regular::<ISA>(row, first, SIZE, step) }
    {
        return Factor::Other;
    }
    let host = cx.block.shared.as_mut_ptr().wrapping_add(first as usize);
    if step {
        Factor::Contiguous(host)
    } else {
        Factor::Equal(host)
    }
}

#[inline(always)]
fn multiply_add<O>(x: f32, y: [f32; PIECE], sum: [f32; PIECE]) -> [f32; PIECE]
where
    O: Op3<A = f32, B = f32, C = f32, D = f32>,
{
    from_fn(|i| O::apply(x, y[i], sum[i]))
}

/// Executes the steps. `EQUAL` says which of the two factors is the same for all lanes.
///
/// # Safety
/// `d` and `c` are rows of words; for each step, 4 bytes are readable at its offset from `equal`,
/// and 128 from `row`, and these are aligned to 4 bytes.
#[inline(always)]
unsafe fn execute<O, const EQUAL: usize>(
    steps: &[[i32; 2]],
    d: *mut f32,
    c: *const f32,
    equal: *const u8,
    row: *const u8,
) where
    O: Op3<A = f32, B = f32, C = f32, D = f32>,
{
    // SAFETY: the caller vouches for the rows and the factors.
    unsafe {
        let [mut s, mut t, mut u, mut v] = [0, 1, 2, 3].map(|p| piece(c, p));
        for step in steps {
            let x = *equal.wrapping_offset(step[EQUAL] as isize).cast::<f32>();
            let y = row.wrapping_offset(step[1 - EQUAL] as isize).cast::<f32>();
            s = multiply_add::<O>(x, piece(y, 0), s);
            t = multiply_add::<O>(x, piece(y, 1), t);
            u = multiply_add::<O>(x, piece(y, 2), u);
            v = multiply_add::<O>(x, piece(y, 3), v);
        }
        for (p, sum) in [s, t, u, v].into_iter().enumerate() {
            put(d, p, FULL, sum);
        }
    }
}

#[inline(always)]
unsafe fn chain_body<O, const ISA: u8>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow
where
    O: Product,
{
    let code = cx.code;
    if mask == FULL
        && let Some(chain) = code.chains.get((inst.aux >> 32) as usize)
        && let at = cx.pc as usize
        && let end = at + STEP * chain.steps.len()
        && end <= cx.limit as usize
        && let Some([first, second, .., last]) = code.insts.get(at..end)
    {
        // SAFETY: the lowering stage checked the widths of the rows; `factor` checked all
        // addresses. A sum is finished before the row of the result is written.
        unsafe {
            let x = factor::<ISA>(cx, first.rows[4], chain.reach[0]);
            let y = factor::<ISA>(cx, second.rows[4], chain.reach[1]);
            let d = cx.row::<f32>(last.rows[0]);
            let c = cx.row::<f32>(code.insts[at + STEP - 1].rows[3]);
            match (x, y) {
                (Factor::Equal(x), Factor::Contiguous(y)) => {
                    execute::<O::Add, 0>(&chain.steps, d, c, x, y);
                    cx.pc = end as u32;
                    return Flow::Jump;
                }
                (Factor::Contiguous(x), Factor::Equal(y)) => {
                    execute::<O::Add, 1>(&chain.steps, d, c, y, x);
                    cx.pc = end as u32;
                    return Flow::Jump;
                }
                _ => {}
            }
        }
    }
    // SAFETY: the instruction is such a load.
    unsafe { load_body::<U32Word, u32, InShared, ISA>(cx, inst, mask) }
}

/// A multiply-add whose factors may change places.
pub(crate) trait Product: 'static {
    type Add: Op3<A = f32, B = f32, C = f32, D = f32>;
}

handlers! {
    all chain<O: Product> = chain_body as Sequence;
}
