// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a warp knows to be over, in kernels that are watched for races.
//!
//! The order of accesses is that of *segments*: a warp's time between two points at which it meets
//! others. Each warp knows up to which segment of each other warp everything has happened: barriers
//! and atomic operations pass this knowledge on.

use std::collections::HashMap;
use std::sync::Arc;

/// A warp of the launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Unit {
    pub block: u32,
    pub warp: u8,
}

/// An access that happened. Segments begin at 1: with 0, there was none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access {
    pub block: u32,
    /// When it was, by the clock of the launch.
    pub time: u32,
    pub segment: u32,
    pub pc: u32,
    pub warp: u8,
    pub lane: u8,
    pub kind: u8,
}

impl Access {
    fn unit(&self) -> Unit {
        Unit {
            block: self.block,
            warp: self.warp,
        }
    }

    /// Whether both are by one thread.
    pub fn same_thread(&self, other: &Access) -> bool {
        (self.unit(), self.lane) == (other.unit(), other.lane)
    }
}

/// What is known of other blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    /// Everything is over that was up to this time.
    floor: u32,
    segments: HashMap<Unit, u32>,
}

impl Others {
    /// Of more warps, it is not known which is how far, but taken for granted that all has happened:
    /// then a race is not found, but none is made up.
    const LIMIT: usize = 128;

    pub fn add(&mut self, unit: Unit, segment: u32, now: u32) {
        let known = self.segments.entry(unit).or_default();
        *known = segment.max(*known);
        if self.segments.len() > Self::LIMIT {
            self.segments.clear();
            self.floor = now;
        }
    }

    pub fn join(&mut self, from: &Others, now: u32) {
        self.floor = self.floor.max(from.floor);
        for (&unit, &segment) in &from.segments {
            self.add(unit, segment, now);
        }
    }

    fn knows(&self, access: &Access) -> bool {
        let segment = self.segments.get(&access.unit());
        access.time <= self.floor || segment.is_some_and(|&over| access.segment <= over)
    }
}

/// Up to which segment of each warp of its own block everything has happened, and what is known of
/// other blocks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub own: Vec<u32>,
    others: Arc<Others>,
}

impl Known {
    pub fn new(warps: usize) -> Known {
        Known {
            own: vec![0; warps],
            ..Known::default()
        }
    }

    pub fn join(&mut self, from: &Known, now: u32) {
        let len = self.own.len().max(from.own.len());
        self.own.resize(len, 0);
        for (to, &from) in self.own.iter_mut().zip(&from.own) {
            *to = from.max(*to);
        }
        let (ours, theirs) = (&self.others, &from.others);
        if Arc::ptr_eq(ours, theirs) || theirs.floor == 0 && theirs.segments.is_empty() {
            return;
        }
        if ours.floor == 0 && ours.segments.is_empty() {
            self.others = theirs.clone();
        } else {
            Arc::make_mut(&mut self.others).join(theirs, now);
        }
    }

    /// Tells it, as a warp of a block, to a place that all blocks see.
    pub fn tell(&self, block: u32, place: &mut Others, now: u32) {
        for (warp, &segment) in self.own.iter().enumerate() {
            if segment > 0 {
                let warp = warp as u8;
                place.add(Unit { block, warp }, segment, now);
            }
        }
        place.join(&self.others, now);
    }

    /// Learns what such a place knows.
    pub fn learn(&mut self, block: u32, place: &Others, now: u32) {
        let others = Arc::make_mut(&mut self.others);
        others.floor = others.floor.max(place.floor);
        for (&unit, &segment) in &place.segments {
            if unit.block != block {
                others.add(unit, segment, now);
            } else if let Some(known) = self.own.get_mut(usize::from(unit.warp)) {
                *known = segment.max(*known);
            }
        }
    }

    /// Whether an access surely happened before the warp of another access, in its segment, does
    /// that.
    pub fn is_over(&self, then: &Access, now: &Access) -> bool {
        if then.segment == 0 || then.same_thread(now) {
            return true;
        }
        if then.block != now.block {
            return self.others.knows(then);
        }
        if then.warp == now.warp {
            // Lanes that execute an instruction together do so at one time.
            return then.segment < now.segment || then.pc == now.pc;
        }
        then.time <= self.others.floor
            || (self.own.get(usize::from(then.warp))).is_some_and(|&over| then.segment <= over)
    }
}

/// The last accesses of some bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct History {
    /// The last plain one, and the last that orders.
    writes: [Access; 2],
    /// The last ones by two different threads.
    reads: [Access; 2],
}

impl History {
    /// Adds an access. Returns one that it conflicts with. Of plain loads and atomic operations,
    /// none conflict if `loads_may` see either.
    pub fn add(&mut self, this: Access, known: &Known, loads_may: bool) -> Option<Access> {
        use super::watch::{ATOMIC, LOAD, ORDERED, STORE};
        let is = |access: &Access, kind: u64| u64::from(access.kind) & kind != 0;
        let both_ordered = |other: &Access| is(&this, ORDERED) && is(other, ORDERED);
        let pair = |one: &Access, other: &Access| {
            (u64::from(one.kind), u64::from(other.kind)) == (LOAD, ATOMIC)
        };
        let forgiven = |other: &Access| loads_may && (pair(&this, other) || pair(other, &this));
        let conflicts = |other: &Access| {
            !both_ordered(other) && !forgiven(other) && !known.is_over(other, &this)
        };
        let race = self
            .writes
            .into_iter()
            .chain(self.reads.into_iter().filter(|_| is(&this, STORE)))
            .find(conflicts);
        if is(&this, STORE) {
            self.writes[usize::from(is(&this, ORDERED))] = this;
        } else {
            let [first, second] = &mut self.reads;
            if !first.same_thread(&this) {
                *second = *first;
            }
            *first = this;
        }
        race
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::{ATOMIC, LOAD, STORE};
    use super::*;

    fn access(block: u32, warp: u8, segment: u32, kind: u64) -> Access {
        Access {
            block,
            time: 10,
            segment,
            pc: 0,
            warp,
            lane: 0,
            kind: kind as u8,
        }
    }

    #[test]
    fn what_is_told_at_a_place_is_known_to_who_learns_there() {
        let mut place = Others::default();
        let mut sender = Known::new(2);
        sender.own = vec![3, 5];
        sender.tell(7, &mut place, 11);
        let mut receiver = Known::new(2);
        let now = access(8, 0, 1, LOAD);
        assert!(!receiver.is_over(&access(7, 1, 5, STORE), &now));
        receiver.learn(8, &place, 11);
        assert!(receiver.is_over(&access(7, 1, 5, STORE), &now));
        assert!(!receiver.is_over(&access(7, 1, 6, STORE), &now));
        assert!(!receiver.is_over(&access(6, 1, 1, STORE), &now));
    }

    #[test]
    fn a_warp_learns_of_its_own_block_from_others_too() {
        let mut place = Others::default();
        let mut sender = Known::new(2);
        sender.own = vec![4, 0];
        sender.tell(1, &mut place, 11);
        let mut receiver = Known::new(2);
        receiver.learn(1, &place, 11);
        assert!(receiver.is_over(&access(1, 0, 4, STORE), &access(1, 1, 1, LOAD)));
    }

    #[test]
    fn of_too_many_warps_all_is_taken_for_over_up_to_now() {
        let mut place = Others::default();
        for block in 0..=Others::LIMIT as u32 {
            place.add(Unit { block, warp: 0 }, 1, 20);
        }
        let mut known = Known::new(1);
        known.learn(9999, &place, 20);
        let now = access(9999, 0, 1, LOAD);
        assert!(known.is_over(&access(5000, 0, 8, STORE), &now));
        let later = Access {
            time: 21,
            ..access(5000, 0, 8, STORE)
        };
        assert!(!known.is_over(&later, &now));
    }

    #[test]
    fn loads_and_atomic_operations_conflict_unless_loads_may_see_either() {
        let known = Known::new(1);
        for loads_may in [false, true] {
            let mut history = History::default();
            assert!(
                history
                    .add(access(0, 0, 1, ATOMIC), &known, loads_may)
                    .is_none()
            );
            let race = history.add(access(1, 0, 1, LOAD), &known, loads_may);
            assert_eq!(race.is_none(), loads_may);
            assert!(
                history
                    .add(access(2, 0, 1, STORE), &known, loads_may)
                    .is_some()
            );
        }
    }
}
