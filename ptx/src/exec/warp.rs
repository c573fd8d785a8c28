// SPDX-License-Identifier: MIT OR Apache-2.0
//! A warp: its registers, and the choice of the lanes that run.
//!
//! Lanes at the same PC in the same frame form a group; one group runs at a time. The group in the
//! deepest frame, and among those the one with the lowest PC, goes first: so lanes that parted at a
//! branch meet again where their paths do, without an analysis of the control flow. A group that
//! uses up its budget of backward jumps while another one could run gives way to it, so that lanes
//! which wait for each other get on.

use super::block::{Arena, BlockState};
use super::code::{Code, Flow, LANES, Rows};
use super::context::Context;
use super::fault::Trouble;
use super::schedule::{Choices, Schedule};
use super::system::Output;
use super::watch::Findings;
use crate::heap::Heap;
use crate::image::Images;
use crate::kernel::Kernel;
use crate::memory::AddressSpace;

/// Backward jumps in a turn. A wait for another lane or warp costs `SPIN_COST` of them at each
/// atomic operation or volatile access.
pub(super) const TURN: i32 = 4096;
pub(crate) const SPIN_COST: i32 = 32;

/// Stacks that grew beyond this are not kept between launches.
pub(super) const KEEP: usize = 1 << 20;

/// Why a group does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It may run.
    Ready,
    /// It waits at a barrier until the generation of the barrier differs from this one; if `again`,
    /// its instruction runs once more then, to fetch a result.
    Barrier {
        barrier: u32,
        generation: u32,
        again: bool,
    },
    /// It waits for other lanes of its warp. `live` is what was alive when that was last checked.
    Lanes {
        live: u32,
        members: u32,
        plain: bool,
    },
}

/// Lanes that run together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub pc: u32,
    pub mask: u32,
    pub frame: u32,
    pub local: u32,
    pub wait: Wait,
    /// When it ran last.
    pub stamp: u32,
}

/// What a warp needs besides the registers of the kernel itself: it lives as long as the warp runs,
/// and is used again by others.
#[derive(Default)]
pub(crate) struct Stacks {
    /// Registers of the functions that the kernel calls.
    pub registers: Rows,
    /// 4-byte words, those of the 32 lanes side by side.
    pub local: Rows,
    /// Bytes of local memory per lane.
    pub local_bytes: u32,
    /// Where the functions that lanes are in have their registers.
    pub frames: Frames,
}

impl Stacks {
    /// Makes room for the local memory of a kernel.
    fn fit(&mut self, kernel: &Kernel) {
        self.frames.clear();
        let local = kernel.code.functions[0].local_bytes.next_multiple_of(4);
        self.local.grow(local as usize * LANES);
        self.local_bytes = (self.local.len() / LANES) as u32;
    }

    /// Whether they are small enough to be kept for later.
    pub fn small(&self) -> bool {
        self.registers.len() + self.local.len() <= KEEP
    }
}

/// Where the registers of a warp are: those of the kernel, and behind them the special ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    pub frame: *mut u8,
    pub special: *mut u8,
}

/// The frames of registers that are in use. Lanes that are in different functions at a time, because they wait for each
/// other, must not have frames that overlap: what is one lane's column in one layout is others' predicates in another.
#[derive(Default)]
pub(crate) struct Frames(Vec<Frame>);

struct Frame {
    start: u64,
    end: u64,
    function: usize,
    lanes: u32,
}

impl Frames {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes a frame from `start` on for lanes that enter a function, when there are no others.
    pub fn enter_together(&mut self, start: u64, bytes: u64, function: usize, lanes: u32) -> u64 {
        while self.0.last().is_some_and(|last| last.start >= start) {
            self.0.pop();
        }
        let end = start + bytes;
        self.0.push(Frame {
            start,
            end,
            function,
            lanes,
        });
        start
    }

    /// The same when other lanes are elsewhere: the frame is where none of those alive has another function's.
    pub fn enter(&mut self, start: u64, bytes: u64, function: usize, lanes: u32, live: u32) -> u64 {
        self.0.retain_mut(|frame| {
            frame.lanes &= live;
            frame.lanes != 0
        });
        let mut start = start;
        loop {
            let is_there = |frame: &Frame| frame.start == start && frame.function == function;
            let other = self
                .0
                .iter()
                .find(|frame| frame.start < start + bytes && start < frame.end && !is_there(frame));
            if let Some(other) = other {
                start = other.end;
                continue;
            }
            match self.0.iter_mut().find(|frame| is_there(frame)) {
                Some(frame) => frame.lanes |= lanes,
                None => self.0.push(Frame {
                    start,
                    end: start + bytes,
                    function,
                    lanes,
                }),
            }
            return start;
        }
    }

    /// Lanes return from the function that has its frame there.
    pub fn leave(&mut self, start: u64, lanes: u32) {
        let mut frames = self.0.iter_mut().rev();
        if let Some(frame) = frames.find(|frame| frame.start == start && frame.lanes & lanes != 0) {
            frame.lanes &= !lanes;
        }
        while self.0.last().is_some_and(|last| last.lanes == 0) {
            self.0.pop();
        }
    }
}

/// How a turn of a warp ended.
#[derive(Debug)]
pub(crate) enum Turn {
    /// All lanes exited.
    Done,
    /// It used its budget.
    Spent,
    /// All its groups wait.
    Blocked,
    Fault(Box<Trouble>, u32),
}

#[derive(Default)]
pub(crate) struct Warp {
    pub index: u32,
    pub live: u32,
    pub groups: Vec<Group>,
    /// Those that it uses, or used last.
    pub stacks: Option<Box<Stacks>>,
    /// It has not run yet.
    fresh: bool,
    /// The next choice goes to the group that waited longest.
    rotate: bool,
    clock: u32,
    /// Decides which group is next, in another order than the usual one.
    choices: Option<Choices>,
}

/// What all turns of a launch share.
pub(crate) struct Surroundings<'a> {
    pub code: &'a Code,
    pub space: &'a AddressSpace,
    pub params: &'a [u8],
    pub output: Option<&'a dyn Output>,
    pub findings: Option<&'a dyn Findings>,
    pub schedule: Option<Schedule>,
    pub images: Option<&'a Images>,
    pub heap: Option<&'a Heap>,
    /// Parameters spread over the lanes.
    pub launch_rows: *const u8,
}

impl Warp {
    /// Makes the warp a new one, whose lanes are nowhere yet.
    #[inline(always)]
    pub fn start(&mut self, index: u32, lanes: u32) {
        self.index = index;
        self.live = if lanes >= 32 {
            u32::MAX
        } else {
            (1 << lanes) - 1
        };
        self.groups.clear();
        self.fresh = true;
        self.rotate = false;
        self.clock = 0;
    }

    /// Puts the lanes to the start of a kernel.
    pub fn enter(&mut self, entry: u32, schedule: Option<Schedule>) {
        let group = |mask| Group {
            pc: entry,
            mask,
            frame: 0,
            local: 0,
            wait: Wait::Ready,
            stamp: 0,
        };
        match schedule {
            Some(Schedule {
                lanes_apart: true, ..
            }) => {
                let lanes = (0..32).map(|lane| 1 << lane);
                let live = lanes.filter(|lane| lane & self.live != 0);
                self.groups.extend(live.map(group));
            }
            _ => self.groups.push(group(self.live)),
        }
        let seed = u64::from(self.index) << 32;
        self.choices = schedule.map(|schedule| Choices::new(schedule, seed));
    }

    /// Takes the warp's stacks, which are made ready before its first turn.
    #[inline]
    pub fn board(&mut self, kernel: &Kernel, arena: &mut Arena) -> Box<Stacks> {
        let mut stacks = self.stacks.take().unwrap_or_else(|| arena.stacks());
        if core::mem::take(&mut self.fresh) {
            stacks.fit(kernel);
        }
        stacks
    }

    /// Lets the warp run until its budget is used, or all its lanes wait or have exited.
    pub fn turn(
        &mut self,
        around: &Surroundings<'_>,
        block: &mut BlockState,
        stacks: Box<Stacks>,
        home: Home,
    ) -> (Turn, Box<Stacks>) {
        let budget = match &mut self.choices {
            Some(choices) => 1 + choices.below(64) as i32,
            None => TURN,
        };
        let mut mask = 0;
        let mut cx = Context::new(around, block, stacks, &mut self.groups, home, &mut mask);
        cx.budget = budget;
        (cx.warp, cx.live) = (self.index, self.live);
        let end = loop {
            wake(&mut cx);
            let apart = around.schedule.is_some_and(|schedule| schedule.lanes_apart);
            if cx.groups.len() > 1 && !apart {
                merge(cx.groups);
            }
            if !choose(&mut cx, self.rotate, &mut self.choices) {
                break if cx.groups.is_empty() {
                    Turn::Done
                } else {
                    Turn::Blocked
                };
            }
            self.rotate = false;
            match run(&mut cx) {
                Stop::Regroup => {
                    if cx.active != 0 {
                        keep(&mut cx, self.clock);
                    }
                }
                Stop::Spent => {
                    self.clock += 1;
                    self.rotate = cx.groups.iter().any(|group| group.wait == Wait::Ready);
                    keep(&mut cx, self.clock);
                    break Turn::Spent;
                }
                Stop::Fault => {
                    let pc = cx.pc;
                    let trouble = cx
                        .trouble
                        .take()
                        .unwrap_or_else(|| Box::new(Trouble::Trap { lane: 0 }));
                    break Turn::Fault(
                        trouble,
                        around.code.lines.get(pc as usize).copied().unwrap_or(0),
                    );
                }
            }
        };
        self.live = cx.live;
        (end, cx.stacks)
    }
}

impl Warp {
    /// Whether a group could run now.
    pub fn can_run(&self, block: &BlockState) -> bool {
        self.groups.iter().any(|group| match group.wait {
            Wait::Ready => true,
            Wait::Barrier {
                barrier,
                generation,
                ..
            } => block.barriers.generation(barrier) != generation,
            Wait::Lanes { live, .. } => live != self.live,
        })
    }
}

enum Stop {
    Regroup,
    Spent,
    Fault,
}

/// Puts the running group back among the others.
fn keep(cx: &mut Context<'_>, stamp: u32) {
    cx.groups.push(Group {
        pc: cx.pc,
        mask: cx.active,
        frame: cx.frame,
        local: cx.local,
        wait: Wait::Ready,
        stamp,
    });
    cx.active = 0;
}

/// Groups whose wait is over become ready.
fn wake(cx: &mut Context<'_>) {
    for group in cx.groups.iter_mut() {
        match group.wait {
            Wait::Barrier {
                barrier,
                generation,
                again: false,
            } if cx.block.barriers.generation(barrier) != generation => {
                group.pc += 1;
                group.wait = Wait::Ready;
            }
            Wait::Lanes { live, .. } if live != cx.live => group.wait = Wait::Ready,
            _ => {}
        }
    }
}

/// Joins ready groups at the same place.
fn merge(groups: &mut Vec<Group>) {
    let mut i = 0;
    while i < groups.len() {
        if groups[i].wait == Wait::Ready {
            let mut j = i + 1;
            while j < groups.len() {
                let (a, b) = (groups[i], groups[j]);
                if b.wait == Wait::Ready && (a.pc, a.frame, a.local) == (b.pc, b.frame, b.local) {
                    groups[i].mask |= b.mask;
                    groups.swap_remove(j);
                } else {
                    j += 1;
                }
            }
        }
        i += 1;
    }
}

/// Makes a group the running one; false if none can run.
fn choose(cx: &mut Context<'_>, rotate: bool, choices: &mut Option<Choices>) -> bool {
    let mut best: Option<(usize, (u64, u64))> = None;
    for (i, group) in cx.groups.iter().enumerate() {
        let ready = match group.wait {
            Wait::Ready => true,
            // Woken to run its instruction again.
            Wait::Barrier {
                barrier,
                generation,
                again: true,
            } => cx.block.barriers.generation(barrier) != generation,
            _ => false,
        };
        if !ready {
            continue;
        }
        let rank = (u64::from(!group.frame), u64::from(group.pc));
        let key = if let Some(choices) = choices {
            (choices.below(1 << 20) as u64, 0)
        } else if rotate {
            (u64::from(group.stamp), rank.1)
        } else {
            rank
        };
        if best.is_none_or(|(_, other)| key < other) {
            best = Some((i, key));
        }
    }
    let Some((index, _)) = best else { return false };
    let group = cx.groups.swap_remove(index);
    cx.resumed = group.wait != Wait::Ready;
    cx.active = group.mask;
    cx.pc = group.pc;
    cx.frame = group.frame;
    cx.local = group.local;
    cx.rebase();
    cx.limit = u32::MAX;
    if !rotate {
        for other in cx.groups.iter() {
            if other.wait == Wait::Ready && other.frame == cx.frame {
                cx.limit = cx.limit.min(other.pc);
            }
        }
    }
    true
}

/// What is rare is kept out of the loop, whose branches then are two comparisons.
#[cold]
#[inline(never)]
fn stop(flow: Flow) -> Stop {
    match flow {
        Flow::Fault => Stop::Fault,
        _ => Stop::Regroup,
    }
}

/// Runs the chosen group.
fn run(cx: &mut Context<'_>) -> Stop {
    let insts = cx.code.insts.as_slice();
    let mut pc = cx.pc;
    loop {
        debug_assert!((pc as usize) < insts.len());
        // SAFETY: code ends with an instruction that does not fall through, and jump targets are
        // within the code.
        let inst = unsafe { insts.get_unchecked(pc as usize) };
        // SAFETY: guards are predicates of the running code.
        let mask = cx.active & (unsafe { cx.predicate(inst.guard) } ^ inst.guard_xor);
        if mask == 0 {
            pc += 1;
        } else {
            cx.pc = pc;
            // SAFETY: the instruction belongs to the code that this warp runs, and there is one mask.
            match unsafe {
                *cx.masks = mask;
                inst.execute(cx, mask)
            } {
                Flow::Next => pc += 1,
                Flow::Jump => {
                    if cx.pc <= pc {
                        cx.budget -= 1;
                        if cx.budget <= 0 {
                            return Stop::Spent;
                        }
                    }
                    pc = cx.pc;
                }
                other => return stop(other),
            }
        }
        // After the instruction, not before it: a group that was woken runs its own first.
        if pc >= cx.limit {
            cx.pc = pc;
            return Stop::Regroup;
        }
    }
}
