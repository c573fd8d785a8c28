// SPDX-License-Identifier: MIT OR Apache-2.0
//! A thread block: its shared memory and barriers, and turns for its warps.

use super::code::{LANES, Rows};
use super::convoy::Waiting;
use super::fault::{Fault, Place, SourceLine, Trouble};
use super::schedule::{Choices, Schedule};
use super::special::{LaunchShape, Special};
use super::warp::{Home, KEEP, Stacks, Surroundings, Turn, Wait, Warp};
use super::watch::{Finding, Mistake, Thread, Watch};
use super::window;
use crate::kernel::Kernel;
use core::sync::atomic::AtomicU64;

/// Number of named barriers of a block (PTX ISA, "barrier").
pub(crate) const BARRIERS: usize = 16;

/// Words of memory that belong to a launch: the work space of a cooperative grid.
pub(crate) type LaunchMemory = [AtomicU64; 8];

/// What `barrier.red` combines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reduction {
    /// How many threads gave true.
    pub count: u32,
    /// How many threads took part.
    pub threads: u32,
}

#[derive(Debug, Clone, Copy, Default)]
struct Barrier {
    /// Threads that arrived.
    threads: u32,
    /// The same, with whole warps counted as 32.
    rounded: u32,
    /// Threads to wait for; 0 for all of the block.
    expected: u32,
    generation: u32,
    reduction: Reduction,
    results: [Reduction; 4],
}

impl Barrier {
    fn complete(&mut self) {
        self.results[self.generation as usize % 4] = self.reduction;
        self.generation = self.generation.wrapping_add(1);
        self.threads = 0;
        self.rounded = 0;
        self.expected = 0;
        self.reduction = Reduction::default();
    }
}

/// The barriers of a block.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    list: [Barrier; BARRIERS],
    /// Barriers at which somebody arrived.
    pending: u32,
}

impl Barriers {
    pub fn generation(&self, barrier: u32) -> u32 {
        self.list[barrier as usize % BARRIERS].generation
    }

    pub fn result(&self, barrier: u32, generation: u32) -> Reduction {
        self.list[barrier as usize % BARRIERS].results[generation as usize % 4]
    }

    /// Threads arrive. `expected` is the count operand, 0 without one. Returns whether the barrier
    /// completed.
    pub fn arrive(
        &mut self,
        barrier: u32,
        threads: u32,
        rounded: u32,
        expected: u32,
        given: Reduction,
        live: u32,
    ) -> bool {
        let index = barrier as usize % BARRIERS;
        let b = &mut self.list[index];
        b.threads = b.threads.saturating_add(threads);
        b.rounded = b.rounded.saturating_add(rounded);
        b.expected = b.expected.max(expected);
        b.reduction.count = b.reduction.count.saturating_add(given.count);
        b.reduction.threads = b.reduction.threads.saturating_add(given.threads);
        self.pending |= 1 << index;
        self.check(index, live)
    }

    fn check(&mut self, index: usize, live: u32) -> bool {
        let b = &mut self.list[index];
        let done = if b.expected == 0 {
            b.threads >= live
        } else {
            b.rounded >= b.expected
        };
        if done {
            b.complete();
            self.pending &= !(1 << index);
        }
        done
    }

    /// Threads exited: barriers that waited for all threads may be complete now.
    /// Returns the set of those.
    pub fn exited(&mut self, live: u32) -> u32 {
        let mut completed = 0;
        let mut pending = self.pending;
        while pending != 0 {
            let index = pending.trailing_zeros() as usize;
            pending &= pending - 1;
            if live > 0 && self.check(index, live) {
                completed |= 1 << index;
            }
        }
        completed
    }

    fn expected(&self, barrier: u32, live: u32) -> (u32, u32) {
        let b = &self.list[barrier as usize % BARRIERS];
        if b.expected == 0 {
            (b.threads, live)
        } else {
            (b.rounded, b.expected)
        }
    }
}

/// Shared memory.
#[derive(Default)]
pub(crate) struct Shared {
    rows: Rows,
    len: usize,
}

impl Shared {
    pub fn new(len: usize) -> Shared {
        Shared {
            rows: Rows::zeroed(len),
            len,
        }
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.rows.as_mut_ptr()
    }
}

/// What the warps of a block share.
pub(crate) struct BlockState {
    pub shared: Shared,
    pub barriers: Barriers,
    /// Threads that have not exited.
    pub live: u32,
    pub launch: *const LaunchMemory,
    /// Set in blocks of kernels that are watched.
    pub watch: Option<Box<Watch>>,
}

impl Default for BlockState {
    fn default() -> BlockState {
        BlockState {
            shared: Shared::default(),
            barriers: Barriers::default(),
            live: 0,
            launch: core::ptr::null(),
            watch: None,
        }
    }
}

impl BlockState {
    /// The host address of bytes of the launch's own memory.
    pub fn launch_memory(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let size = size_of::<LaunchMemory>() as u64;
        // SAFETY: the bytes lie within the launch's memory, which outlives its blocks.
        (offset < size && len <= size - offset)
            .then(|| unsafe { self.launch.cast::<u8>().add(offset as usize).cast_mut() })
    }
}

/// A block that runs.
#[derive(Default)]
pub(crate) struct Block {
    pub ctaid: [u32; 3],
    /// The launch that it belongs to.
    launch: u64,
    pub(super) warps: Vec<Warp>,
    /// The registers of the kernel and the special ones of each warp, `stride` bytes for each; the
    /// special ones begin at `special`.
    homes: Rows,
    pub(super) stride: usize,
    special: usize,
    pub(super) state: BlockState,
    /// Decides which warp is next, in another order than the usual one.
    choices: Option<Choices>,
    /// Its warps have begun with the kernel.
    entered: bool,
}

/// How a round of turns ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Done,
    /// Threads are left that can run.
    Unfinished,
}

/// Memory that a worker thread uses for one warp after another.
#[derive(Default)]
#[allow(clippy::vec_box)] // they move between owners all the time, and are large
pub(crate) struct Arena {
    free: Vec<Box<Stacks>>,
    blocks: Vec<Box<Block>>,
    /// Stacks that nobody uses, and lanes of no convoy.
    pub spare: Option<Box<Stacks>>,
    pub waiting: Vec<Waiting>,
}

impl Arena {
    /// Stacks that fit no kernel in particular.
    pub fn stacks(&mut self) -> Box<Stacks> {
        self.free.pop().unwrap_or_default()
    }

    fn give_back(&mut self, stacks: Box<Stacks>) {
        if stacks.small() && self.free.len() < 64 {
            self.free.push(stacks);
        }
    }
}

impl Block {
    /// A block at its start; made of one that ended, if there is one.
    pub fn new(
        kernel: &Kernel,
        (shape, schedule): (&LaunchShape, Option<Schedule>),
        index: u64,
        launch: *const LaunchMemory,
        arena: &mut Arena,
        worker: u32,
    ) -> Box<Block> {
        let threads = shape.threads();
        let bytes = kernel.static_shared() as usize
            + kernel.reserved_shared as usize
            + shape.dynamic_shared as usize;
        let mut block = arena.blocks.pop().unwrap_or_default();
        block.ctaid = shape.ctaid(index);
        if core::mem::replace(&mut block.launch, shape.grid_id) != shape.grid_id {
            block.change(kernel, shape, arena, worker);
        }
        block.choices = schedule.map(|schedule| Choices::new(schedule, index));
        block.state.live = threads;
        block.state.launch = launch;
        block.state.barriers = Barriers::default();
        if block.state.shared.len != bytes {
            block.state.shared = Shared::new(bytes);
        }
        let warps = shape.warps() as usize;
        let watch = || Watch::new(kernel.checks, index, bytes, warps, shape.traffic.clone());
        block.state.watch = kernel.checks.any().then(watch).map(Box::new);
        for (index, warp) in block.warps.iter_mut().enumerate() {
            let lanes = threads - index as u32 * LANES as u32;
            warp.start(index as u32, lanes);
        }
        block.entered = false;
        for index in 0..block.warps.len() {
            // SAFETY: homes have room for special registers.
            unsafe { shape.write_block(block.home(index).special, block.ctaid) };
        }
        block
    }

    /// The registers of a warp.
    pub(super) fn home(&mut self, warp: usize) -> Home {
        debug_assert!(warp < self.warps.len());
        let at = warp * self.stride;
        let homes = self.homes.as_mut_ptr();
        // SAFETY: there are `stride` bytes for each warp.
        unsafe {
            Home {
                frame: homes.add(at),
                special: homes.add(at + self.special),
            }
        }
    }

    /// Prepares for a launch.
    #[cold]
    fn change(&mut self, kernel: &Kernel, shape: &LaunchShape, arena: &mut Arena, worker: u32) {
        let warps = shape.warps() as usize;
        for (index, warp) in self.warps.iter_mut().enumerate() {
            if let Some(stacks) = warp.stacks.take_if(|s| index >= warps || !s.small()) {
                arena.give_back(stacks);
            }
        }
        self.warps.resize_with(warps, Warp::default);
        let frame_bytes = kernel.code.functions[0].frame_bytes as usize;
        self.special = frame_bytes.next_multiple_of(64);
        // An odd number of cache lines, so that the registers of all warps fit into a cache.
        self.stride = (self.special + Special::BYTES) | 64;
        self.homes.grow(self.stride * warps);
        for warp in 0..warps {
            let home = self.home(warp);
            // SAFETY: homes have room for special registers.
            unsafe { shape.write_warp(home.special, warp as u32, worker) };
        }
    }

    /// Gives each warp that can run a turn.
    pub fn round(
        &mut self,
        kernel: &Kernel,
        shape: &LaunchShape,
        around: &Surroundings<'_>,
        arena: &mut Arena,
    ) -> Result<Round, Fault> {
        let mut left = false;
        let mut order: Vec<usize> = Vec::new();
        if let Some(choices) = &mut self.choices {
            for w in 0..self.warps.len() {
                order.insert(choices.below(w + 1), w);
            }
        }
        let entry = kernel.code.functions[0].entry;
        let entry = (!core::mem::replace(&mut self.entered, true)).then_some(entry);
        let mut ran = 0;
        if self.choices.is_none() && self.state.watch.is_none() {
            ran = self.convoys(kernel, shape, around, arena, entry)?;
        } else if let Some(entry) = entry {
            let schedule = around.schedule;
            self.warps
                .iter_mut()
                .for_each(|warp| warp.enter(entry, schedule));
        }
        for turn in 0..self.warps.len() {
            let w = order.get(turn).copied().unwrap_or(turn);
            let warp = &mut self.warps[w];
            if warp.groups.is_empty() {
                continue;
            }
            if w < 32 && ran & (1 << w) != 0 || !warp.can_run(&self.state) {
                left = true;
                continue;
            }
            let stacks = warp.board(kernel, arena);
            let home = self.home(w);
            let (turn, stacks) = self.warps[w].turn(around, &mut self.state, stacks, home);
            if self.state.watch.is_some() {
                self.report(kernel, shape, around);
            }
            match turn {
                Turn::Done => arena.give_back(stacks),
                Turn::Spent | Turn::Blocked => {
                    left = true;
                    self.warps[w].stacks = Some(stacks);
                }
                Turn::Fault(trouble, line) => {
                    return Err(self.fault(kernel, shape, around, w, &trouble, line));
                }
            }
        }
        if !left {
            return Ok(Round::Done);
        }
        if !self.warps.iter().any(|warp| warp.can_run(&self.state)) {
            return Err(self.deadlock(kernel, shape));
        }
        Ok(Round::Unfinished)
    }

    /// Passes on what was found in a turn.
    fn report(&mut self, kernel: &Kernel, shape: &LaunchShape, around: &Surroundings<'_>) {
        let Some(watch) = &mut self.state.watch else {
            return;
        };
        let found = core::mem::take(&mut watch.found);
        let Some(findings) = around.findings else {
            return;
        };
        for raw in found {
            let place = |thread: Thread| {
                let line = kernel
                    .code
                    .lines
                    .get(thread.pc as usize)
                    .copied()
                    .unwrap_or(0);
                self.place(kernel, shape, thread.warp, thread.lane, line)
            };
            let hint = if raw.shared {
                String::new()
            } else {
                around.space.describe(raw.address)
            };
            findings.found(Finding {
                place: place(raw.at),
                mistake: match raw.other {
                    Some((other, _, block)) => Mistake::Race {
                        other: Box::new(Place {
                            block: shape.ctaid(block),
                            ..place(other)
                        }),
                        access: raw.other_access(),
                    },
                    None => Mistake::Uninitialized,
                },
                threads: raw.threads,
                access: raw.access(),
                size: raw.size,
                space: if raw.shared { "shared" } else { "global" },
                address: raw.address,
                hint,
            });
        }
    }

    /// Gives what can be used again back to the worker.
    pub fn recycle(mut self: Box<Self>, arena: &mut Arena) {
        self.state.watch = None;
        if arena.blocks.is_empty() && self.state.shared.len.max(self.homes.len()) <= KEEP {
            arena.blocks.push(self);
        }
    }

    fn place(
        &self,
        kernel: &Kernel,
        shape: &LaunchShape,
        warp: u32,
        lane: u32,
        line: u32,
    ) -> Place {
        let source = kernel.sources.find(line);
        Place {
            kernel: kernel.name().into(),
            line,
            source: source.map(|(file, line)| {
                Box::new(SourceLine {
                    file: file.into(),
                    line,
                })
            }),
            block: self.ctaid,
            thread: shape.thread(warp * LANES as u32 + lane),
        }
    }

    pub(super) fn fault(
        &self,
        kernel: &Kernel,
        shape: &LaunchShape,
        around: &Surroundings<'_>,
        warp: usize,
        trouble: &Trouble,
        line: u32,
    ) -> Fault {
        let place = self.place(kernel, shape, warp as u32, trouble.lane(), line);
        match trouble.clone() {
            Trouble::IllegalAddress {
                address,
                size,
                access,
                space,
                ..
            } => {
                let mut hint = String::new();
                if space == "shared" || window::of(address) == window::SHARED {
                    hint = format!(
                        " (the block has {} bytes of shared memory)",
                        self.state.shared.len()
                    );
                } else if address < window::GENERIC_LIMIT && space != "local" {
                    hint = format!(" ({})", around.space.describe(address));
                }
                Fault::IllegalAddress {
                    place,
                    address,
                    size,
                    access,
                    space,
                    hint: hint.into(),
                }
            }
            Trouble::Misaligned {
                address,
                size,
                access,
                space,
                ..
            } => Fault::Misaligned {
                place,
                address,
                size,
                access,
                space,
            },
            Trouble::Trap { .. } => Fault::Trap { place },
            Trouble::InvalidTarget { what, target, .. } => Fault::InvalidTarget {
                place,
                what,
                target,
            },
            Trouble::InvalidObject { what, object, .. } => Fault::InvalidObject {
                place,
                what,
                object,
            },
            Trouble::StackOverflow { limit, .. } => Fault::StackOverflow { place, limit },
            Trouble::Assert {
                lanes,
                mut assertion,
                ..
            } => {
                let lanes = (0..LANES as u32).filter(|lane| lanes & (1 << lane) != 0);
                assertion.threads = lanes
                    .map(|lane| shape.thread(warp as u32 * LANES as u32 + lane))
                    .collect();
                Fault::Assert { place, assertion }
            }
        }
    }

    fn deadlock(&self, kernel: &Kernel, shape: &LaunchShape) -> Fault {
        let mut first = None;
        let mut phrases = Vec::new();
        for warp in &self.warps {
            for group in &warp.groups {
                let line = kernel
                    .code
                    .lines
                    .get(group.pc as usize)
                    .copied()
                    .unwrap_or(0);
                let barrier = match group.wait {
                    Wait::Barrier { barrier, .. } => barrier,
                    _ => BARRIERS as u32,
                };
                first.get_or_insert((warp.index, group.mask.trailing_zeros(), line, barrier));
                if phrases.len() < 8 {
                    phrases.push(match group.wait {
                        Wait::Lanes { members, .. } => format!(
                            "at line {line}, lanes {:#010x} of warp {} wait for lanes {:#010x} of it",
                            group.mask,
                            warp.index,
                            members & warp.live & !group.mask
                        ),
                        Wait::Barrier { barrier, .. } => format!(
                            "at line {line}, lanes {:#010x} of warp {} wait at barrier {barrier}",
                            group.mask, warp.index
                        ),
                        _ => format!(
                            "at line {line}, lanes {:#010x} of warp {} wait",
                            group.mask, warp.index
                        ),
                    });
                }
            }
        }
        let (warp, lane, line, barrier) = first.unwrap_or_default();
        let (arrived, expected) = self.state.barriers.expected(barrier, self.state.live);
        let mut waiting = if barrier < BARRIERS as u32 {
            format!("{arrived} of {expected} threads arrived: ")
        } else {
            String::new()
        };
        waiting.push_str(&phrases.join("; "));
        Fault::BarrierDeadlock {
            place: self.place(kernel, shape, warp, lane, line),
            barrier,
            waiting,
        }
    }
}
