// SPDX-License-Identifier: MIT OR Apache-2.0
//! Convoys: warps of a block that execute each instruction together.
//!
//! That costs less than a turn for each: an instruction is looked at once for all, and the
//! processor begins with one warp's before the result of another's is there. Lanes that part at a
//! branch are treated as those of a single warp are: the lowest PC goes first, and who gets to the
//! PC of others goes on with them. What needs a warp alone, or waits, ends the convoy; its warps
//! have turns of their own then, until a later round finds them at one place again.

use super::block::{Arena, Block, BlockState, Reduction};
use super::code::{Base, Conduct, Flow, Inst, LANES, Row};
use super::context::Context;
use super::fault::{Fault, Trouble};
use super::special::LaunchShape;
use super::warp::{Group, Home, Surroundings, TURN, Wait, Warp};
use crate::kernel::Kernel;

/// Registers of the warps of a convoy, which should stay in the host's nearest cache.
const BYTES: usize = 20 << 10;
/// Warps of a convoy at most.
pub(crate) const WARPS: usize = 32;

/// Lanes of each warp.
type Lanes = [u32; WARPS];

/// Lanes that wait at a PC until the others have got there, or beyond.
pub(super) struct Waiting {
    pc: u32,
    lanes: Lanes,
}

/// Why a convoy ended.
enum End {
    /// Its warps have turns of their own now, or have ended.
    Apart,
    /// It used its budget of backward jumps.
    Spent,
    /// One of its warps made a mistake, at this PC.
    Fault {
        warp: usize,
        trouble: Box<Trouble>,
        pc: u32,
    },
}

struct Convoy<'a, 'b> {
    cx: Context<'a>,
    /// They lie side by side; the context's rows are those of the first.
    warps: &'b mut [Warp],
    /// The lanes that run.
    active: Lanes,
    /// The context's masks are these.
    plain: bool,
    waiting: &'b mut Vec<Waiting>,
    /// The lowest PC of those.
    limit: u32,
    /// Number of the first warp.
    first: usize,
    home: Home,
    /// How far the registers of one warp are from those of the next.
    stride: usize,
}

/// The PC at which a warp could join a convoy.
fn place(warp: &Warp, block: &BlockState) -> Option<u32> {
    let [group] = warp.groups[..] else {
        return None;
    };
    if (group.frame, group.local) != (0, 0) {
        return None;
    }
    match group.wait {
        Wait::Ready => Some(group.pc),
        Wait::Barrier {
            barrier,
            generation,
            again: false,
        } if block.barriers.generation(barrier) != generation => Some(group.pc + 1),
        _ => None,
    }
}

impl Block {
    /// Runs the warps that can go together; `entry` is where all of them are if none has run yet.
    /// Returns the set of those that had their turn.
    pub(super) fn convoys(
        &mut self,
        kernel: &Kernel,
        shape: &LaunchShape,
        around: &Surroundings<'_>,
        arena: &mut Arena,
        entry: Option<u32>,
    ) -> Result<u32, Fault> {
        let function = &kernel.code.functions[0];
        let special_bytes = shape.used.count_ones() as usize * 4 * LANES;
        let bytes = function.frame_bytes as usize + special_bytes;
        let limit = (BYTES / bytes.max(1)).clamp(1, WARPS);
        let mut ran = 0;
        let mut next = 0;
        while next < self.warps.len() {
            let first = next;
            let mut start = entry;
            let mut active = [0; WARPS];
            let mut members = 0;
            let end = self.warps.len().min(first + limit);
            for (warp, active) in self.warps[first..end].iter_mut().zip(&mut active) {
                if let Some(pc) = entry.or_else(|| place(warp, &self.state)) {
                    if *start.get_or_insert(pc) != pc {
                        break;
                    }
                    *active = warp.live;
                    members += 1;
                }
                next += 1;
            }
            let Some(pc) = start else { continue };
            if members < 2 {
                if let Some(entry) = entry {
                    self.warps[first].enter(entry, None);
                }
                continue;
            }
            for (warp, _) in self.warps[first..next]
                .iter_mut()
                .zip(active)
                .filter(|(_, a)| *a != 0)
            {
                warp.groups.clear();
                if function.local_bytes > 0 {
                    warp.stacks = Some(warp.board(kernel, arena));
                }
            }
            let home = self.home(first);
            let spare = arena.spare.take().unwrap_or_default();
            let (mut groups, mut masks) = (Vec::new(), active);
            let masks = masks.as_mut_ptr();
            let mut cx = Context::new(around, &mut self.state, spare, &mut groups, home, masks);
            cx.steps = [self.stride, 0, self.stride, 0];
            cx.budget = TURN;
            let mut convoy = Convoy {
                cx,
                warps: &mut self.warps[first..next],
                active,
                plain: true,
                waiting: &mut arena.waiting,
                limit: u32::MAX,
                first,
                home,
                stride: self.stride,
            };
            let end = convoy.run(pc);
            let together = convoy.disband(Wait::Ready);
            arena.spare = Some(convoy.cx.stacks);
            match end {
                End::Apart => {}
                End::Spent => ran |= together << first,
                End::Fault { warp, trouble, pc } => {
                    let line = around.code.lines.get(pc as usize).copied().unwrap_or(0);
                    return Err(self.fault(kernel, shape, around, warp, &trouble, line));
                }
            }
        }
        Ok(ran)
    }
}

impl Convoy<'_, '_> {
    /// All go on alone, the running lanes after a wait. Returns the set of the warps.
    fn disband(&mut self, wait: Wait) -> u32 {
        if self.waiting.is_empty() && self.active == [0; WARPS] {
            return 0;
        }
        let running = Waiting {
            pc: self.cx.pc,
            lanes: core::mem::replace(&mut self.active, [0; WARPS]),
        };
        let mut set = 0;
        let all = core::iter::once((running, wait));
        for (part, wait) in all.chain(self.waiting.drain(..).map(|w| (w, Wait::Ready))) {
            for (at, warp) in self.warps.iter_mut().enumerate() {
                if part.lanes[at] != 0 {
                    set |= 1 << at;
                    warp.groups.push(Group {
                        pc: part.pc,
                        mask: part.lanes[at],
                        frame: 0,
                        local: 0,
                        wait,
                        stamp: 0,
                    });
                }
            }
        }
        self.limit = u32::MAX;
        set
    }

    /// Lanes that have stopped to run wait at a PC.
    #[cold]
    fn park(&mut self, pc: u32, lanes: &Lanes) {
        self.plain = false;
        self.limit = self.limit.min(pc);
        match self.waiting.iter_mut().find(|waiting| waiting.pc == pc) {
            Some(waiting) => {
                for (all, &more) in waiting.lanes.iter_mut().zip(lanes) {
                    *all |= more;
                }
            }
            None => self.waiting.push(Waiting { pc, lanes: *lanes }),
        }
    }

    /// The lanes with the lowest PC run; false if there are none any more.
    #[cold]
    fn meet(&mut self) -> bool {
        if self.active.iter().any(|&lanes| lanes != 0) {
            let lanes = self.active;
            self.park(self.cx.pc, &lanes);
        }
        let Some(lowest) = (0..self.waiting.len()).min_by_key(|&i| self.waiting[i].pc) else {
            return false;
        };
        let Waiting { pc, lanes } = self.waiting.swap_remove(lowest);
        self.cx.pc = pc;
        self.active = lanes;
        self.plain = false;
        let pcs = self.waiting.iter().map(|waiting| waiting.pc);
        self.limit = pcs.min().unwrap_or(u32::MAX);
        true
    }

    /// Where a row of the first warp is, and how far those of the others are.
    ///
    /// # Safety
    /// The row comes from the code that runs.
    #[inline(always)]
    unsafe fn row(&self, row: Row) -> (*const u8, usize) {
        // SAFETY: the caller vouches for the row.
        unsafe { (self.cx.row(row), self.cx.steps[row.base()]) }
    }

    /// Sets the context's masks to the lanes that an instruction is for.
    ///
    /// # Safety
    /// The instruction belongs to the code that runs.
    #[inline(always)]
    unsafe fn choose(&mut self, inst: &Inst) {
        let guarded = inst.guard.base() != Base::Constant as usize || inst.guard_xor != 0;
        if guarded || !self.plain {
            self.plain = !guarded;
            // SAFETY: the caller vouches for the instruction; there are as many masks as warps.
            unsafe {
                let (mut guard, step) = self.row(inst.guard);
                for at in 0..self.warps.len() {
                    let holds = *guard.cast::<u32>() ^ inst.guard_xor;
                    *self.cx.masks.add(at) = self.active[at] & holds;
                    guard = guard.wrapping_add(step);
                }
            }
        }
    }

    /// Runs the lanes until they have ended, or something ends the convoy; those that are left are
    /// at the context's PC, or wait.
    fn run(&mut self, pc: u32) -> End {
        let code = self.cx.code;
        self.cx.pc = pc;
        self.cx.crowd = self.warps.len();
        loop {
            let pc = self.cx.pc;
            debug_assert!((pc as usize) < code.insts.len());
            // SAFETY: code ends with an instruction that does not fall through, and jump targets
            // are within the code.
            let inst = unsafe { code.insts.get_unchecked(pc as usize) };
            // SAFETY: the instruction belongs to the code that runs.
            unsafe {
                match inst.run.conduct {
                    Conduct::Crowd => {
                        self.choose(inst);
                        inst.execute(&mut self.cx, 0);
                        self.cx.pc = pc + 1;
                    }
                    Conduct::Procession => {
                        self.choose(inst);
                        (self.cx.limit, self.cx.warp) = (self.limit, self.first as u32);
                        match inst.execute(&mut self.cx, 0) {
                            Flow::Next => self.cx.pc = pc + 1,
                            Flow::Jump => {}
                            Flow::Regroup | Flow::Fault => return self.fault(),
                        }
                    }
                    Conduct::Rows | Conduct::Memory | Conduct::Sequence => {
                        self.choose(inst);
                        if let Err(end) = self.one_by_one(inst) {
                            return end;
                        }
                    }
                    Conduct::Meeting => {
                        self.choose(inst);
                        for (at, warp) in self.warps.iter().enumerate() {
                            let mask = *self.cx.masks.add(at);
                            if mask != 0 && mask != warp.live {
                                return End::Apart;
                            }
                        }
                        if let Err(end) = self.one_by_one(inst) {
                            return end;
                        }
                    }
                    Conduct::Branch => {
                        self.branch(inst);
                        if self.cx.pc <= pc {
                            self.cx.budget -= 1;
                            if self.cx.budget <= 0 {
                                return End::Spent;
                            }
                        }
                    }
                    Conduct::Exit => {
                        if !self.exit(inst) {
                            return End::Apart;
                        }
                    }
                    Conduct::Barrier => {
                        if !self.barrier(inst) {
                            return End::Apart;
                        }
                    }
                    Conduct::Alone => return End::Apart,
                }
            }
            if self.cx.pc >= self.limit {
                self.meet();
            }
        }
    }

    /// Lets the warps execute an instruction one after the other, for the lanes in the context's
    /// masks.
    ///
    /// # Safety
    /// It belongs to the code that runs.
    unsafe fn one_by_one(&mut self, inst: &Inst) -> Result<(), End> {
        let pc = self.cx.pc;
        let masks = self.cx.masks;
        let mut next = [pc + 1; WARPS];
        let mut jumped = false;
        self.cx.crowd = 1;
        self.cx.limit = self.limit;
        for (at, warp) in self.warps.iter_mut().enumerate() {
            let cx = &mut self.cx;
            // SAFETY: there are as many masks as warps.
            let mask = unsafe { *masks.add(at) };
            if mask == 0 {
                continue;
            }
            let shift = at * self.stride;
            cx.bases[Base::Frame as usize] = self.home.frame.wrapping_add(shift);
            cx.bases[Base::Special as usize] = self.home.special.wrapping_add(shift);
            cx.masks = masks.wrapping_add(at);
            (cx.pc, cx.warp) = (pc, (self.first + at) as u32);
            (cx.active, cx.live) = (self.active[at], warp.live);
            if let Some(stacks) = &mut warp.stacks {
                core::mem::swap(&mut cx.stacks, stacks);
            }
            // SAFETY: the caller vouches for the instruction.
            let flow = unsafe { inst.execute(cx, mask) };
            if let Some(stacks) = &mut warp.stacks {
                core::mem::swap(&mut cx.stacks, stacks);
            }
            match flow {
                Flow::Next => {}
                Flow::Jump => {
                    next[at] = cx.pc;
                    jumped = true;
                }
                Flow::Regroup | Flow::Fault => {
                    return Err(self.fault());
                }
            }
        }
        self.cx.bases[Base::Frame as usize] = self.home.frame;
        self.cx.bases[Base::Special as usize] = self.home.special;
        self.cx.masks = masks;
        self.cx.crowd = self.warps.len();
        self.cx.pc = pc + 1;
        if jumped {
            self.part(&next);
        }
        Ok(())
    }

    /// What the context's warp did wrong.
    #[cold]
    fn fault(&mut self) -> End {
        let trouble = self.cx.trouble.take();
        End::Fault {
            warp: self.cx.warp as usize,
            trouble: trouble.unwrap_or_else(|| Box::new(Trouble::Trap { lane: 0 })),
            pc: self.cx.pc,
        }
    }

    /// Each warp goes on at a PC of its own.
    fn part(&mut self, next: &[u32; WARPS]) {
        let running = next
            .iter()
            .zip(self.active)
            .filter(|(_, lanes)| *lanes != 0);
        let lowest = running.map(|(&pc, _)| pc).min().unwrap_or(self.cx.pc);
        for (at, &pc) in next.iter().enumerate() {
            if self.active[at] != 0 && pc != lowest {
                let mut lanes = [0; WARPS];
                lanes[at] = core::mem::take(&mut self.active[at]);
                self.park(pc, &lanes);
            }
        }
        self.cx.pc = lowest;
    }

    /// Goes where the lanes go, or where those do that stay behind.
    ///
    /// # Safety
    /// The instruction belongs to the code that runs.
    #[inline(always)]
    unsafe fn branch(&mut self, inst: &Inst) {
        let (target, next) = (inst.imm as u32, self.cx.pc + 1);
        let mut taken = [0; WARPS];
        let (mut all, mut none) = (true, true);
        // SAFETY: the caller vouches for the instruction.
        unsafe {
            let (mut guard, step) = self.row(inst.guard);
            let warps = taken.iter_mut().zip(self.active).take(self.warps.len());
            for (taken, active) in warps {
                *taken = active & (*guard.cast::<u32>() ^ inst.guard_xor);
                guard = guard.wrapping_add(step);
                all &= *taken == active;
                none &= *taken == 0;
            }
        }
        self.cx.pc = if all {
            target
        } else if none {
            next
        } else {
            let mut straight = self.active;
            for (straight, taken) in straight.iter_mut().zip(taken) {
                *straight &= !taken;
            }
            let (run, wait) = if target < next {
                (taken, (next, straight))
            } else {
                (straight, (target, taken))
            };
            self.active = run;
            self.park(wait.0, &wait.1);
            target.min(next)
        };
    }

    /// Ends lanes; false if none are left.
    ///
    /// # Safety
    /// The instruction belongs to the code that runs.
    unsafe fn exit(&mut self, inst: &Inst) -> bool {
        // SAFETY: the caller vouches for the instruction.
        unsafe { self.choose(inst) };
        let mut left = 0;
        let mut ended = 0;
        for (at, (warp, active)) in self.warps.iter_mut().zip(&mut self.active).enumerate() {
            // SAFETY: there are as many masks as warps.
            let mask = unsafe { *self.cx.masks.add(at) };
            *active &= !mask;
            warp.live &= !mask;
            ended += mask.count_ones();
            left |= *active;
        }
        self.plain = false;
        self.cx.block.live -= ended;
        let live = self.cx.block.live;
        self.cx.block.barriers.exited(live);
        self.cx.pc += 1;
        left != 0 || self.meet()
    }

    /// A barrier for all threads of the block; false if the warps wait there, or must come to it
    /// alone.
    ///
    /// # Safety
    /// The instruction belongs to the code that runs.
    unsafe fn barrier(&mut self, inst: &Inst) -> bool {
        if !self.waiting.is_empty() {
            return false;
        }
        let mut barrier = None;
        let (mut threads, mut members) = (0, 0);
        // SAFETY: the caller vouches for the instruction; there are as many masks as warps, and row
        // 1 holds words.
        unsafe {
            self.choose(inst);
            let (mut numbers, step) = self.row(inst.rows[1]);
            for (at, warp) in self.warps.iter().enumerate() {
                if self.active[at] != 0 {
                    let mask = *self.cx.masks.add(at);
                    if mask != warp.live {
                        return false;
                    }
                    let number = *numbers.cast::<u32>().add(mask.trailing_zeros() as usize);
                    if *barrier.get_or_insert(number) != number {
                        return false;
                    }
                    threads += mask.count_ones();
                    members += 1;
                }
                numbers = numbers.wrapping_add(step);
            }
        }
        let sync = inst.aux == super::collective::barrier::SYNC;
        let Some(barrier) = barrier.filter(|&b| sync && b < super::block::BARRIERS as u32) else {
            return false;
        };
        let generation = self.cx.block.barriers.generation(barrier);
        let rounded = members * LANES as u32;
        let (live, given) = (self.cx.block.live, Reduction::default());
        let barriers = &mut self.cx.block.barriers;
        if barriers.arrive(barrier, threads, rounded, 0, given, live) {
            self.cx.pc += 1;
            return true;
        }
        self.disband(Wait::Barrier {
            barrier,
            generation,
            again: false,
        });
        false
    }
}
