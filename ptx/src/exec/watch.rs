// SPDX-License-Identifier: MIT OR Apache-2.0
//! Looks for mistakes that give no fault: reads of memory that was never written, and accesses of
//! different threads to the same memory whose order nothing decides.
//!
//! Kernels that are to be watched have an instruction more before each access, which this module
//! executes; others run as ever.
//!
//! What a warp knows to be over is in `knowledge`; an access conflicts with an earlier one that is
//! not. `traffic` has the accesses of all blocks to global memory, this module those of one block
//! to its shared memory.

use super::access::flags;
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::fault::Place;
use super::isa::handlers;
use super::knowledge::{Access, History, Known};
use super::traffic::Traffic;
use super::window;
use crate::parse::ast::Space;
use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

/// What to look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checks {
    /// Reads of global and shared memory that was never written.
    pub uninitialized: bool,
    /// Accesses of several threads to the same shared or global memory, one of them a write, whose
    /// order no barrier and no atomic operation decides.
    pub races: bool,
}

impl Checks {
    /// Whether anything is looked for.
    pub fn any(self) -> bool {
        self.uninitialized || self.races
    }
}

/// A mistake that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    pub mistake: Mistake,
    /// How many threads of the warp made it with this instruction; `place` names the first.
    pub threads: u32,
    /// "load", "store" or "atomic operation".
    pub access: &'static str,
    /// Bytes accessed by the thread.
    pub size: u32,
    /// "global" or "shared".
    pub space: &'static str,
    /// The address within its state space.
    pub address: u64,
    /// What lies there, as a phrase; may be empty.
    pub hint: String,
}

/// Kinds of mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// Nobody has written there.
    Uninitialized,
    /// Another thread accesses it at no definite time.
    Race {
        /// Where the other thread did.
        other: Box<Place>,
        /// "load", "store" or "atomic operation".
        access: &'static str,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding {
            place,
            access,
            size,
            space,
            address,
            ..
        } = self;
        write!(
            f,
            "{place}: the {access} of {size} bytes at {space} address {address:#x} "
        )?;
        match &self.mistake {
            Mistake::Uninitialized => f.write_str("reads memory that was never written")?,
            Mistake::Race { other, access } => {
                let [x, y, z] = other.thread;
                write!(f, "races with the {access} by thread ({x},{y},{z}) ")?;
                if other.block != place.block {
                    let [x, y, z] = other.block;
                    write!(f, "of block ({x},{y},{z}) ")?;
                }
                write!(f, "at PTX line {}", other.line)?;
                if let Some(source) = &other.source {
                    write!(f, " ({source})")?;
                }
            }
        }
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        if self.threads > 1 {
            write!(f, "; so for {} threads of the warp", self.threads)?;
        }
        f.write_str(".")
    }
}

/// Takes what is found.
pub trait Findings: Sync {
    /// Takes a finding. The threads that run a launch call this at the same time.
    fn found(&self, finding: Finding);

    /// A kernel accessed more memory than races can be looked for in; so many accesses were not
    /// looked at.
    fn left_out(&self, kernel: &str, accesses: u64) {
        let _ = (kernel, accesses);
    }
}

impl fmt::Debug for dyn Findings + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Findings")
    }
}

/// Kinds of accesses, in `Inst::aux` from bit 16 on.
pub(crate) const LOAD: u64 = 1;
pub(crate) const STORE: u64 = 2;
/// Others may access the place at the same time, and the access orders what comes before and after.
pub(crate) const ORDERED: u64 = 4;
pub(crate) const ATOMIC: u64 = LOAD | STORE | ORDERED;

fn name(kind: u64) -> &'static str {
    match (kind & LOAD != 0, kind & STORE != 0) {
        (true, true) => "atomic operation",
        (_, true) => "store",
        _ => "load",
    }
}

/// The aux of a watching instruction for `bytes` bytes per lane, which are numbers of `size` bytes.
pub(crate) fn aux(space: Space, kind: u64, bytes: u64, size: u64) -> u64 {
    flags::of(space, 1) | kind << 16 | bytes << 20 | size << 36
}

/// A finding whose place is not worked out yet.
#[derive(Debug, Clone)]
pub(crate) struct Raw {
    pub at: Thread,
    /// The other access of a race, and its block.
    pub other: Option<(Thread, u64, u64)>,
    pub threads: u32,
    pub kind: u64,
    pub size: u32,
    pub shared: bool,
    pub address: u64,
}

impl Raw {
    pub fn access(&self) -> &'static str {
        name(self.kind)
    }

    pub fn other_access(&self) -> &'static str {
        name(self.other.map_or(0, |(_, kind, _)| kind))
    }
}

/// A thread of a block, at an instruction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Thread {
    pub warp: u32,
    pub lane: u32,
    pub pc: u32,
}

/// What is known of a byte of shared memory.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    written: bool,
    history: History,
}

/// What those who arrived at a barrier know, and who waits for it.
#[derive(Debug, Clone, Default)]
struct Meeting {
    known: Known,
    waiting: Vec<u32>,
}

/// What is known of a block while it runs.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub found: Vec<Raw>,
    checks: Checks,
    block: u32,
    cells: Vec<Cell>,
    /// The segment of each warp.
    now: Vec<u32>,
    known: Vec<Known>,
    barriers: Vec<Meeting>,
    /// What atomic operations on an address in shared memory pass on.
    places: HashMap<u64, Known>,
    /// Set if races are looked for.
    traffic: Option<Arc<Traffic>>,
    /// Places in global memory that each warp is about to look at.
    looks: Vec<Vec<u64>>,
}

impl Watch {
    pub fn new(
        checks: Checks,
        block: u64,
        shared: usize,
        warps: usize,
        traffic: Option<Arc<Traffic>>,
    ) -> Watch {
        Watch {
            checks,
            block: block as u32,
            cells: vec![Cell::default(); shared],
            now: vec![1; warps],
            known: vec![Known::new(warps); warps],
            barriers: vec![Meeting::default(); super::block::BARRIERS],
            traffic,
            looks: vec![Vec::new(); warps],
            ..Watch::default()
        }
    }

    /// What a warp knows, itself included.
    fn knowledge(&self, warp: u32) -> Known {
        let mut known = self.known.get(warp as usize).cloned().unwrap_or_default();
        if let Some(own) = known.own.get_mut(warp as usize) {
            *own = self.segment(warp);
        }
        known
    }

    fn segment(&self, warp: u32) -> u32 {
        self.now.get(warp as usize).copied().unwrap_or(1)
    }

    fn time(&self) -> u32 {
        self.traffic.as_ref().map_or(0, |traffic| traffic.now())
    }

    /// The lanes of a warp met.
    pub fn meet(&mut self, warp: u32) {
        if let Some(now) = self.now.get_mut(warp as usize) {
            *now += 1;
        }
    }

    /// Lanes of a warp arrive at a barrier, and wait there or not.
    pub fn arrive(&mut self, barrier: u32, warp: u32, waits: bool) {
        self.learn(warp);
        let (known, time) = (self.knowledge(warp), self.time());
        if let Some(meeting) = self.barriers.get_mut(barrier as usize) {
            meeting.known.join(&known, time);
            if waits {
                meeting.waiting.push(warp);
            }
        }
        self.meet(warp);
    }

    /// All have arrived.
    pub fn complete(&mut self, barrier: u32) {
        let time = self.time();
        let Some(meeting) = self.barriers.get_mut(barrier as usize) else {
            return;
        };
        let meeting = core::mem::take(meeting);
        for warp in meeting.waiting {
            if let Some(known) = self.known.get_mut(warp as usize) {
                known.join(&meeting.known, time);
            }
        }
    }

    /// An access that orders. In shared memory, what was known at its place is known to the warp,
    /// and the other way. In global memory, other blocks run at the same time: a warp tells what it
    /// knows before it writes, and learns what others knew when it has read.
    fn exchange(&mut self, warp: u32, kind: u64, shared: bool, address: u64) {
        let mine = self.knowledge(warp);
        if shared {
            let time = self.time();
            let place = self.places.entry(address).or_default();
            place.join(&mine, time);
            if let Some(known) = self.known.get_mut(warp as usize) {
                known.join(place, time);
            }
        } else if let Some(traffic) = &self.traffic {
            if kind & STORE != 0 {
                traffic.tell(&mine, self.block, address);
            }
            if kind & LOAD != 0
                && let Some(looks) = self.looks.get_mut(warp as usize)
            {
                looks.push(address);
            }
        }
        self.meet(warp);
    }

    /// What a warp was about to read when it was last here, it has read.
    fn learn(&mut self, warp: u32) {
        let (Some(traffic), Some(looks)) = (&self.traffic, self.looks.get_mut(warp as usize))
        else {
            return;
        };
        let Some(known) = self.known.get_mut(warp as usize) else {
            return;
        };
        for address in looks.drain(..) {
            traffic.learn(known, self.block, address);
        }
    }

    fn access(&self, by: Thread, kind: u64) -> Access {
        Access {
            block: self.block,
            time: self.time(),
            segment: self.segment(by.warp),
            pc: by.pc,
            warp: by.warp as u8,
            lane: by.lane as u8,
            kind: kind as u8,
        }
    }

    /// A thread accesses numbers of `size` bytes in shared memory: the access that it races with,
    /// and whether it reads what was never written.
    fn access_shared(
        &mut self,
        by: Thread,
        kind: u64,
        at: usize,
        len: usize,
        size: usize,
    ) -> (Option<Access>, bool) {
        let (mut race, mut unwritten) = (None, false);
        let this = self.access(by, kind);
        let known = self.known.get(by.warp as usize);
        for (i, cell) in self.cells.iter_mut().skip(at).take(len).enumerate() {
            unwritten |= kind & LOAD != 0 && !cell.written && i.is_multiple_of(size);
            cell.written |= kind & STORE != 0;
            if let Some(known) = known.filter(|_| self.checks.races) {
                race = race.or(cell.history.add(this, known, false));
            }
        }
        (race, unwritten)
    }

    /// A thread accesses global memory: the access that it races with.
    fn access_global(&self, by: Thread, kind: u64, address: u64, len: u64) -> Option<Access> {
        let (traffic, known) = (self.traffic.as_ref()?, self.known.get(by.warp as usize)?);
        traffic.access(self.access(by, kind), known, address, len)
    }

    /// Memory was allocated, which may have been somebody else's before.
    pub fn allocated(&self, address: u64, len: u64) {
        if let Some(traffic) = &self.traffic {
            traffic.forget(address, len);
        }
    }
}

/// An access of one thread that is about to happen.
struct Attempt {
    by: Thread,
    kind: u64,
    space: Space,
    address: u64,
    bytes: u64,
    /// Of the numbers that are read. One is as good as written when its first byte is: a structure
    /// is copied with its padding, which nobody writes.
    size: u64,
}

impl Attempt {
    /// Where in the block's shared memory, or None for global memory. Accesses elsewhere are of no
    /// interest.
    fn shared_offset(&self) -> Result<Option<u64>, ()> {
        match self.space {
            Space::Shared => Ok(Some(window::narrow(self.address))),
            Space::Generic if window::of(self.address) == window::SHARED => {
                Ok(Some(window::offset(self.address)))
            }
            Space::Global => Ok(None),
            Space::Generic if self.address < window::GENERIC_LIMIT => Ok(None),
            _ => Err(()),
        }
    }

    fn is_shared(&self) -> bool {
        matches!(self.shared_offset(), Ok(Some(_)))
    }

    /// Takes note of the access, and adds what is wrong with it to what was found: a read of what
    /// was never written first, a race second. Accesses that will fault are left to the instruction.
    fn look(&self, cx: &mut Context<'_>, watch: &mut Watch, found: &mut [Option<Raw>; 2]) {
        let Ok(shared_offset) = self.shared_offset() else {
            return;
        };
        let raw = |other: &Access| {
            let by = Thread {
                warp: other.warp.into(),
                lane: other.lane.into(),
                pc: other.pc,
            };
            (by, u64::from(other.kind), u64::from(other.block))
        };
        let mut note = |which: usize, other| match &mut found[which] {
            Some(raw) => raw.threads += 1,
            slot => {
                *slot = Some(Raw {
                    at: self.by,
                    other,
                    threads: 1,
                    kind: self.kind,
                    size: self.bytes as u32,
                    shared: shared_offset.is_some(),
                    address: shared_offset.unwrap_or(self.address),
                });
            }
        };
        if let Some(offset) = shared_offset {
            if cx.locate_shared(offset, self.bytes).is_none() {
                return;
            }
            let (race, new) = watch.access_shared(
                self.by,
                self.kind,
                offset as usize,
                self.bytes as usize,
                self.size as usize,
            );
            if let Some(other) = race {
                note(1, Some(raw(&other)));
            }
            if new && watch.checks.uninitialized {
                note(0, None);
            }
            return;
        }
        if cx.locate(Space::Global, self.address, self.bytes).is_none() {
            return;
        }
        if let Some(other) = watch.access_global(self.by, self.kind, self.address, self.bytes) {
            note(1, Some(raw(&other)));
        }
        if watch.checks.uninitialized {
            let unwritten = |at| cx.space.unwritten(self.address + at, 1).is_some();
            if self.kind & LOAD != 0
                && cx.space.unwritten(self.address, self.bytes).is_some()
                && (0..self.bytes).step_by(self.size as usize).any(unwritten)
            {
                note(0, None);
            }
            if self.kind & STORE != 0 {
                cx.space.set_written(self.address, self.bytes);
            }
        }
    }
}

impl Context<'_> {
    /// Has an access watched that an instruction makes whose addresses only it knows; at most 256
    /// bytes.
    #[inline(always)]
    pub fn watch(&mut self, kind: u64, space: Space, lane: usize, address: u64, bytes: u64) {
        if self.block.watch.is_some() {
            self.watch_one(kind, space, lane, address, bytes);
        }
    }

    #[cold]
    fn watch_one(&mut self, kind: u64, space: Space, lane: usize, address: u64, bytes: u64) {
        let Some(mut watch) = self.block.watch.take() else {
            return;
        };
        let attempt = Attempt {
            by: Thread {
                warp: self.warp,
                lane: lane as u32,
                pc: self.pc,
            },
            kind,
            space,
            address,
            bytes,
            size: 1,
        };
        let mut found = [None, None];
        watch.learn(self.warp);
        attempt.look(self, &mut watch, &mut found);
        watch.found.extend(found.into_iter().flatten());
        if kind & ORDERED != 0 && watch.checks.races {
            watch.exchange(self.warp, kind, attempt.is_shared(), address);
        }
        self.block.watch = Some(watch);
    }
}

/// Looks at an access that is about to happen: row 0 is the address, with the offset in `imm`.
#[inline(always)]
unsafe fn watch_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let Some(mut watch) = cx.block.watch.take() else {
        return Flow::Next;
    };
    let kind = inst.aux >> 16 & 15;
    let wide = inst.rows[1] == inst.rows[0];
    let mut found = [None, None];
    let mut exchanged = None;
    watch.learn(cx.warp);
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the width of the row: double words if it is there
        // twice.
        let base = unsafe {
            if wide {
                *cx.row::<u64>(inst.rows[0]).add(lane)
            } else {
                u64::from(*cx.row::<u32>(inst.rows[0]).add(lane))
            }
        };
        let attempt = Attempt {
            by: Thread {
                warp: cx.warp,
                lane: lane as u32,
                pc: cx.pc,
            },
            kind,
            space: flags::space(inst.aux),
            address: base.wrapping_add(inst.imm as u64),
            bytes: inst.aux >> 20 & 0xffff,
            size: (inst.aux >> 36 & 0xff).max(1),
        };
        attempt.look(cx, &mut watch, &mut found);
        if kind & ORDERED != 0 && watch.checks.races && exchanged != Some(attempt.address) {
            watch.exchange(cx.warp, kind, attempt.is_shared(), attempt.address);
            exchanged = Some(attempt.address);
        }
    }
    watch.found.extend(found.into_iter().flatten());
    cx.block.watch = Some(watch);
    Flow::Next
}

handlers! {
    one watch = watch_body;
}
