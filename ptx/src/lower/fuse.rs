// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds sequences of instructions that one handler executes together.
//!
//! The instructions stay, and only the first of a sequence gets another handler: whoever jumps into
//! the sequence, or cannot execute it as a whole, executes its instructions one by one.

use super::allocate::Life;
use super::builder::{Draft, Patch};
use super::float::{FMA, FMA_FTZ, FmaF32};
use super::integer::{Add64, MulWideS32, MulWideU32};
use super::{Refusal, Shared};
use crate::exec::Lanes;
use crate::exec::access::{InGlobal, InShared};
use crate::exec::chain::{self, Chain, Product, REACH, STEP, chain};
use crate::exec::code::{Base, Conduct, Handler, LANES, Row, Width};
use crate::exec::computed::{add_load, add_store};
use crate::exec::indexed::{ARRAYS, Indexed, Item, Scale, indexed};
use crate::exec::lanes::{op2, op3};
use crate::exec::load::load;
use crate::exec::store::store;
use crate::exec::value::{U32Word, U64Double};

/// A multiply-add of single precision with these flags.
struct Fma<const F: u8>;

impl<const F: u8> Product for Fma<F> {
    type Add = FmaF32<F>;
}

/// An unsigned index.
struct Unsigned;
/// A signed index.
struct Signed;

impl Scale for Unsigned {
    type Multiply = MulWideU32;
    #[inline(always)]
    fn widen(first: u32) -> Option<u64> {
        first.checked_add(LANES as u32).map(|_| first.into())
    }
}

impl Scale for Signed {
    type Multiply = MulWideS32;
    #[inline(always)]
    fn widen(first: u32) -> Option<u64> {
        let first = first as i32;
        first.checked_add(LANES as i32).map(|_| first as i64 as u64)
    }
}

/// Instructions after the multiplication of an index that are looked at.
const ITEMS: usize = 24;

/// What the search needs to know of a function before its registers are allocated.
pub(crate) struct Fuser<'a> {
    lives: &'a [Life],
    /// Drafts that a label precedes.
    labelled: Vec<bool>,
    always: Row,
    load: Handler,
    /// The handlers of multiply-adds, and those of chains of them.
    products: [(Handler, Handler); 2],
    /// The handlers of multiplications of an index, alone and with the accesses that follow.
    scales: [(Handler, Handler); 2],
    /// The handler of an addition of addresses.
    add: Handler,
    /// The handlers of accesses to global memory, and of an addition before them.
    accesses: [(Handler, Handler); 4],
}

impl Fuser<'_> {
    pub fn new<'a>(
        drafts: &[Draft],
        lives: &'a [Life],
        labels: &[u32],
        always: Row,
        lanes: Lanes,
    ) -> Fuser<'a> {
        let mut labelled = vec![false; drafts.len()];
        for &label in labels {
            if let Some(labelled) = labelled.get_mut(label as usize) {
                *labelled = true;
            }
        }
        Fuser {
            lives,
            labelled,
            always,
            load: load::<U32Word, u32, InShared>(lanes),
            products: [
                (op3::<FmaF32<FMA>>(lanes), chain::<Fma<FMA>>(lanes)),
                (op3::<FmaF32<FMA_FTZ>>(lanes), chain::<Fma<FMA_FTZ>>(lanes)),
            ],
            scales: [
                (op2::<MulWideU32>(lanes), indexed::<Unsigned>(lanes)),
                (op2::<MulWideS32>(lanes), indexed::<Signed>(lanes)),
            ],
            add: op2::<Add64>(lanes),
            accesses: [
                (
                    load::<U32Word, u64, InGlobal>(lanes),
                    add_load::<U32Word>(lanes),
                ),
                (
                    load::<U64Double, u64, InGlobal>(lanes),
                    add_load::<U64Double>(lanes),
                ),
                (
                    store::<U32Word, u64, InGlobal>(lanes),
                    add_store::<U32Word>(lanes),
                ),
                (
                    store::<U64Double, u64, InGlobal>(lanes),
                    add_store::<U64Double>(lanes),
                ),
            ],
        }
    }

    /// Gives the first instructions of all sequences their handlers.
    pub fn fuse(&self, drafts: &mut [Draft], shared: &mut Shared) -> Result<(), Refusal> {
        let sizes = [
            (shared.constants.spread(Width::Word, 4)?, 4),
            (shared.constants.spread(Width::Word, 8)?, 8),
        ];
        let mut at = 0;
        while at < drafts.len() {
            if let Some((indexed, handler)) = self.indexed(drafts, at, sizes) {
                let inst = &mut drafts[at].inst;
                inst.run = handler;
                inst.aux |= chain::number(shared.indexed.len() as u32);
                shared.indexed.push(indexed);
            }
            if let Some(handler) = self.computed(drafts, at) {
                drafts[at].inst.run = handler;
                at += 2;
                continue;
            }
            let Some((chain, handler)) = self.chain(drafts, at) else {
                at += 1;
                continue;
            };
            let inst = &mut drafts[at].inst;
            inst.run = handler;
            inst.aux |= chain::number(shared.chains.len() as u32);
            at += STEP * chain.steps.len();
            shared.chains.push(chain);
        }
        Ok(())
    }

    /// Whether a register holds nothing of interest outside of these instructions.
    fn private(&self, row: Row, first: usize, last: usize) -> bool {
        row.base() == Base::Frame as usize
            && self.lives.get(row.offset()) == Some(&(first as u32, last as u32))
    }

    /// The accesses to arrays that follow a multiplication of an index.
    fn indexed(
        &self,
        drafts: &[Draft],
        start: usize,
        sizes: [(Row, usize); 2],
    ) -> Option<(Indexed, Handler)> {
        let same = Handler::is;
        let head = &drafts[start];
        let (_, handler) = self
            .scales
            .into_iter()
            .find(|(scale, _)| same(*scale, head.inst.run) && self.plain(head))?;
        let (_, size) = sizes
            .into_iter()
            .find(|(row, _)| *row == head.inst.rows[2])?;
        let [(load, _), (store, _)] = if size == 4 {
            [self.accesses[0], self.accesses[2]]
        } else {
            [self.accesses[1], self.accesses[3]]
        };
        let scaled = head.inst.rows[0];
        // Rows with the addresses of the arrays.
        let mut arrays: Vec<Row> = Vec::new();
        let mut items = Vec::new();
        let mut useful = 0;
        for (at, draft) in drafts.iter().enumerate().skip(start + 1).take(ITEMS) {
            let inst = &draft.inst;
            let [d, a, b] = [inst.rows[0], inst.rows[1], inst.rows[2]];
            let ours = |row: &Row| *row == scaled || arrays.contains(row);
            let of = |row: Row| {
                arrays
                    .iter()
                    .position(|array| *array == row)
                    .map(|at| at as u8)
            };
            if self.labelled[at] || !self.plain(draft) {
                break;
            }
            if same(inst.run, self.add) && (a == scaled) != (b == scaled) {
                let base = if a == scaled { b } else { a };
                if base.base() != Base::Launch as usize || ours(&d) || arrays.len() == ARRAYS {
                    break;
                }
                let array = arrays.len() as u8;
                arrays.push(d);
                items.push(Item::Base { array, base });
            } else if (same(inst.run, load) || same(inst.run, store))
                && !ours(&d)
                && let Some(array) = of(inst.rows[4])
            {
                items.push(if same(inst.run, load) {
                    Item::Load { array }
                } else {
                    Item::Store { array }
                });
                useful = items.len();
            } else if inst.run.conduct == Conduct::Crowd
                && !inst.rows.iter().any(ours)
                && !same(inst.run, self.add)
                && !self.scales.iter().any(|(scale, _)| same(*scale, inst.run))
            {
                items.push(Item::Other);
            } else {
                break;
            }
        }
        items.truncate(useful);
        // Nobody else may read what is not written.
        let last = |row: Row, first: usize| {
            let (begin, end) = *self.lives.get(row.offset())?;
            let end = (end as usize).checked_sub(start + 1)?;
            let inside =
                row.base() == Base::Frame as usize && begin as usize == first && end < items.len();
            inside.then_some(end)
        };
        let mut indexed = Indexed {
            size,
            last_index: last(scaled, start)?,
            last_address: [0; ARRAYS],
            items: items.clone(),
        };
        for (i, item) in items.iter().enumerate() {
            if let Item::Base { array, .. } = *item {
                let array = array as usize;
                indexed.last_address[array] = last(arrays[array], start + 1 + i)?;
            }
        }
        Some((indexed, handler))
    }

    /// The handler for an addition whose result is the address of the next instruction.
    fn computed(&self, drafts: &[Draft], at: usize) -> Option<Handler> {
        let same = Handler::is;
        if !same(drafts[at].inst.run, self.add) {
            return None;
        }
        let [add, access] = drafts.get(at..)?.first_chunk::<2>()?;
        if !self.plain(add) || !self.plain(access) || self.labelled[at + 1] {
            return None;
        }
        let known = self.accesses.into_iter();
        let (_, handler) = known
            .filter(|_| access.inst.rows[4] == add.inst.rows[0])
            .find(|(handler, _)| same(*handler, access.inst.run))?;
        Some(handler)
    }

    /// Whether an instruction is for all active lanes.
    fn plain(&self, draft: &Draft) -> bool {
        draft.patch == Patch::None && draft.inst.guard == self.always && draft.inst.guard_xor == 0
    }

    /// The chain that starts at an instruction, if there is one of two steps or more.
    fn chain(&self, drafts: &[Draft], start: usize) -> Option<(Chain, Handler)> {
        let same = Handler::is;
        if !same(drafts[start].inst.run, self.load) {
            return None;
        }
        let mut chain = Chain {
            steps: Vec::new(),
            reach: [(i32::MAX, i32::MIN); 2],
        };
        let first: &[Draft; STEP] = drafts.get(start..)?.first_chunk()?;
        let (product, handler) = self
            .products
            .into_iter()
            .find(|(product, _)| same(*product, first[2].inst.run))?;
        let addresses = [first[0].inst.rows[4], first[1].inst.rows[4]];
        let mut sum = None;
        let mut at = start;
        while let Some(step) = drafts.get(at..).and_then(|rest| rest.first_chunk::<STEP>()) {
            let [x, y, fma] = step.each_ref().map(|draft| &draft.inst);
            let (d, c) = (fma.rows[0], fma.rows[3]);
            let [a, b] = [x.rows[0], y.rows[0]];
            let offsets = [x, y].map(|load| {
                let small = load.imm.abs() <= REACH && load.imm % 4 == 0;
                small.then_some(load.imm as i32)
            });
            let [Some(i), Some(j)] = offsets else { break };
            if !step.iter().all(|draft| self.plain(draft))
                || self.labelled[at + 1..at + STEP].contains(&true)
                || !same(x.run, self.load)
                || !same(y.run, self.load)
                || !same(fma.run, product)
                || [x.rows[4], y.rows[4]] != addresses
                || !([fma.rows[1], fma.rows[2]] == [a, b] || [fma.rows[1], fma.rows[2]] == [b, a])
                || a == b
                || [a, b, d].iter().any(|row| addresses.contains(row))
                || c == a
                || c == b
                || !self.private(a, at, at + 2)
                || !self.private(b, at + 1, at + 2)
            {
                break;
            }
            // The sum so far goes nowhere but into this step.
            if let Some(sum) = sum
                && (self.labelled[at]
                    || sum != c
                    || !(sum == d || self.private(sum, at - 1, at + 2)))
            {
                break;
            }
            sum = Some(d);
            chain.steps.push([i, j]);
            for (reach, offset) in chain.reach.iter_mut().zip([i, j]) {
                *reach = (reach.0.min(offset), reach.1.max(offset));
            }
            at += STEP;
        }
        (chain.steps.len() > 1).then_some((chain, handler))
    }
}
