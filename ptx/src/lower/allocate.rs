// SPDX-License-Identifier: MIT OR Apache-2.0
//! Register allocation: virtual registers whose lives do not overlap share a row, so that the
//! registers of a warp stay in the first-level cache.
//!
//! Liveness is computed per thread over the control flow graph; a row belongs to each lane
//! separately, so divergence changes nothing. Lives are intervals of the code (linear scan).

use super::Refusal;
use super::builder::{Draft, Patch};
use crate::exec::code::{Base, OPERANDS, Row, Wide, Width};
use std::collections::BTreeMap;

/// Work, in blocks times registers, beyond which lives are not computed.
const EFFORT: usize = 1 << 27;
/// A frame larger than this is refused.
const FRAME: u64 = 16 << 20;

/// The first and the last instruction of the life of a register; `(MAX, 0)` if it is not used.
pub(crate) type Life = (u32, u32);

/// What allocation needs to know of the control flow.
pub(crate) struct Flow<'a> {
    /// Label number -> index of a draft.
    pub labels: &'a [u32],
    pub tables: &'a [Vec<u32>],
    /// Whether a draft is the end of a path: an unconditional jump, return or exit.
    pub ends: &'a dyn Fn(&Draft) -> bool,
    /// The jump table of a draft.
    pub table: &'a dyn Fn(&Draft) -> Option<usize>,
}

/// Replaces numbers of virtual registers by byte offsets, and returns the bytes of the frame.
/// `header` bytes at its start are left free.
pub(crate) fn allocate(
    drafts: &mut [Draft],
    wides: &mut [Wide],
    widths: &[Width],
    lives: &[Life],
    header: u32,
) -> Result<u32, Refusal> {
    let mut offsets = vec![0u32; widths.len()];
    let mut order: Vec<u32> = (0..widths.len() as u32)
        .filter(|&r| lives[r as usize].0 != u32::MAX)
        .collect();
    order.sort_unstable_by_key(|&r| lives[r as usize].0);
    // Free rows of each width, and the ends of the lives that occupy others.
    let mut free: BTreeMap<Width, Vec<u32>> = BTreeMap::new();
    let mut busy: std::collections::BinaryHeap<core::cmp::Reverse<(u32, u32, Width)>> =
        Default::default();
    let mut top = u64::from(header);
    for register in order {
        let (start, end) = lives[register as usize];
        while let Some(core::cmp::Reverse((done, offset, width))) = busy.peek().copied() {
            if done >= start {
                break;
            }
            busy.pop();
            free.entry(width).or_default().push(offset);
        }
        let width = widths[register as usize];
        let offset = match free.get_mut(&width).and_then(Vec::pop) {
            Some(offset) => offset,
            None => {
                let bytes = u64::from(width.row_bytes());
                let offset = top.next_multiple_of(bytes.min(64));
                top = offset + bytes;
                if top > FRAME {
                    return Err(Refusal::invalid(
                        "a function with more than 16 MiB of registers per warp",
                    ));
                }
                offset as u32
            }
        };
        offsets[register as usize] = offset;
        busy.push(core::cmp::Reverse((end, offset, width)));
    }
    for draft in drafts.iter_mut() {
        let more = draft.wide.and_then(|wide| wides.get_mut(wide as usize));
        let more = more.into_iter().flat_map(|wide| wide.rows.iter_mut());
        let rows = draft.inst.rows.iter_mut().chain([&mut draft.inst.guard]);
        for row in rows.chain(more) {
            if row.base() == Base::Frame as usize {
                *row = Row::new(Base::Frame, offsets[row.offset()]);
            }
        }
    }
    Ok(top.next_multiple_of(64) as u32)
}

/// The registers that an instruction reads and writes. A guarded write also reads: the lanes that
/// it leaves out keep their values.
fn accesses<'a>(
    draft: &'a Draft,
    wides: &'a [Wide],
    always: Row,
) -> (
    impl Iterator<Item = u32> + 'a,
    impl Iterator<Item = u32> + 'a,
    bool,
) {
    let wide = draft.wide.and_then(|wide| wides.get(wide as usize));
    let (more_writes, more_reads) =
        wide.map_or((&[][..], &[][..]), |wide| wide.rows.split_at(wide.writes));
    let guarded = draft.inst.guard != always;
    let register = |row: Row| (row.base() == Base::Frame as usize).then_some(row.offset() as u32);
    let reads = (0..OPERANDS)
        .filter(|i| draft.defs & (1 << i) == 0)
        .map(|i| draft.inst.rows[i])
        .chain([draft.inst.guard])
        .chain(more_reads.iter().copied())
        .filter_map(register);
    let writes = (0..OPERANDS)
        .filter(|i| draft.defs & (1 << i) != 0)
        .map(|i| draft.inst.rows[i])
        .chain(more_writes.iter().copied())
        .filter_map(register);
    (reads, writes, guarded)
}

/// The life of each register.
pub(crate) fn lives(
    drafts: &[Draft],
    wides: &[Wide],
    count: usize,
    flow: &Flow<'_>,
    always: Row,
) -> Vec<Life> {
    let mut lives = vec![(u32::MAX, 0u32); count];
    let touch = |lives: &mut [Life], register: u32, at: u32| {
        let life = &mut lives[register as usize];
        life.0 = life.0.min(at);
        life.1 = life.1.max(at);
    };
    for (i, draft) in drafts.iter().enumerate() {
        let (reads, writes, _) = accesses(draft, wides, always);
        for register in reads.chain(writes) {
            touch(&mut lives, register, i as u32);
        }
    }
    // Blocks begin at labels and after jumps.
    let mut starts = vec![false; drafts.len() + 1];
    starts[0] = true;
    for &label in flow.labels {
        if let Some(start) = starts.get_mut(label as usize) {
            *start = true;
        }
    }
    for (i, draft) in drafts.iter().enumerate() {
        if draft.patch == Patch::Label || (flow.ends)(draft) || (flow.table)(draft).is_some() {
            starts[i + 1] = true;
        }
    }
    let begins: Vec<usize> = (0..drafts.len()).filter(|&i| starts[i]).collect();
    if begins.len() <= 1 {
        return lives;
    }
    let mut block_of = vec![0u32; drafts.len() + 1];
    for (b, &begin) in begins.iter().enumerate() {
        let end = begins.get(b + 1).copied().unwrap_or(drafts.len());
        block_of[begin..end].fill(b as u32);
    }
    // Only registers that are used in several blocks can be alive between blocks.
    let mut home = vec![u32::MAX; count];
    let mut index = vec![u32::MAX; count];
    let mut crossing: Vec<u32> = Vec::new();
    for (i, draft) in drafts.iter().enumerate() {
        let (reads, writes, _) = accesses(draft, wides, always);
        for register in reads.chain(writes) {
            let home = &mut home[register as usize];
            if *home == u32::MAX {
                *home = block_of[i];
            } else if *home != block_of[i] && index[register as usize] == u32::MAX {
                index[register as usize] = crossing.len() as u32;
                crossing.push(register);
            }
        }
    }
    // A register of one block that is read before it is written there may be alive around a loop.
    let mut written = vec![u32::MAX; count];
    for (i, draft) in drafts.iter().enumerate() {
        let (reads, writes, guarded) = accesses(draft, wides, always);
        let mut cross = |register: u32| {
            if index[register as usize] == u32::MAX {
                index[register as usize] = crossing.len() as u32;
                crossing.push(register);
            }
        };
        for register in reads {
            if written[register as usize] != block_of[i] {
                cross(register);
            }
        }
        for register in writes {
            if guarded && written[register as usize] != block_of[i] {
                cross(register);
            }
            if !guarded {
                written[register as usize] = block_of[i];
            }
        }
    }
    let edges: usize = drafts
        .iter()
        .filter_map(|draft| (flow.table)(draft).and_then(|table| flow.tables.get(table)))
        .map(Vec::len)
        .sum();
    if (begins.len() + edges).saturating_mul(crossing.len().max(64)) > EFFORT {
        return everywhere(lives, drafts.len());
    }
    let words = crossing.len().div_ceil(64);
    let mut uses = vec![0u64; begins.len() * words];
    let mut kills = vec![0u64; begins.len() * words];
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); begins.len()];
    let mut after: Vec<Vec<u32>> = vec![Vec::new(); begins.len()];
    for (b, &begin) in begins.iter().enumerate() {
        let end = begins.get(b + 1).copied().unwrap_or(drafts.len());
        for draft in &drafts[begin..end] {
            let (reads, writes, guarded) = accesses(draft, wides, always);
            let bit = |register: u32| {
                let n = index[register as usize];
                (n != u32::MAX).then(|| (b * words + n as usize / 64, 1u64 << (n % 64)))
            };
            for (word, bit) in reads.filter_map(bit) {
                uses[word] |= bit & !kills[word];
            }
            for (word, bit) in writes.filter_map(bit) {
                if guarded {
                    uses[word] |= bit & !kills[word];
                } else {
                    kills[word] |= bit;
                }
            }
        }
        let last = &drafts[end - 1];
        let mut targets: Vec<u32> = Vec::new();
        if last.patch == Patch::Label {
            targets.extend(flow.labels.get(last.inst.imm as usize));
        }
        if let Some(table) = (flow.table)(last).and_then(|table| flow.tables.get(table)) {
            targets.extend(
                table
                    .iter()
                    .filter_map(|&label| flow.labels.get(label as usize)),
            );
        }
        if !(flow.ends)(last) {
            targets.push(end as u32);
        }
        for target in targets.into_iter().filter(|&t| (t as usize) < drafts.len()) {
            let target = block_of[target as usize];
            after[b].push(target);
            before[target as usize].push(b as u32);
        }
    }
    // Alive at the start of each block, to a fixed point from the last block up.
    let mut alive = uses;
    let mut work: Vec<u32> = (0..begins.len() as u32).collect();
    let mut waiting = vec![true; begins.len()];
    let mut steps = 0usize;
    while let Some(b) = work.pop() {
        let b = b as usize;
        waiting[b] = false;
        steps += (after[b].len() + 1) * words;
        if steps > EFFORT {
            return everywhere(lives, drafts.len());
        }
        let mut changed = false;
        for word in 0..words {
            let out = after[b]
                .iter()
                .fold(0, |out, &next| out | alive[next as usize * words + word]);
            let new = alive[b * words + word] | out & !kills[b * words + word];
            changed |= new != alive[b * words + word];
            alive[b * words + word] = new;
        }
        if changed {
            for &previous in &before[b] {
                if !core::mem::replace(&mut waiting[previous as usize], true) {
                    work.push(previous);
                }
            }
        }
    }
    for (b, &begin) in begins.iter().enumerate() {
        let end = begins.get(b + 1).copied().unwrap_or(drafts.len());
        for word in 0..words {
            let mut live_in = alive[b * words + word];
            while live_in != 0 {
                let bit = live_in.trailing_zeros();
                live_in &= live_in - 1;
                touch(&mut lives, crossing[word * 64 + bit as usize], begin as u32);
            }
            let mut live_out = after[b]
                .iter()
                .fold(0, |out, &next| out | alive[next as usize * words + word]);
            while live_out != 0 {
                let bit = live_out.trailing_zeros();
                live_out &= live_out - 1;
                touch(
                    &mut lives,
                    crossing[word * 64 + bit as usize],
                    end as u32 - 1,
                );
            }
        }
    }
    lives
}

/// The fallback for what would take too long: whatever is used lives all the time.
fn everywhere(mut lives: Vec<Life>, end: usize) -> Vec<Life> {
    lives
        .iter_mut()
        .filter(|life| life.0 != u32::MAX)
        .for_each(|life| *life = (0, end as u32));
    lives
}
