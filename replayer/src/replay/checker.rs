// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watches the replaying session, as the recorder watched the recorded one, and compares.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use vcuda_protocol::{Command, Header, Reply, Status};

use super::compare::{self, Tolerance};
use super::outcome::What;
use super::recording::{Piece, Recording};
use crate::observer::Observer;
use crate::outbox::Outbox;

/// Sequence numbers from here on are the replay's own commands.
pub(super) const OWN: u64 = u64::MAX / 2;

/// Compares what comes out of a session with a recording.
pub(super) struct Checker {
    recording: Arc<Recording>,
    tolerance: Option<Tolerance>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Commands that are to be answered.
    asked: HashSet<u64>,
    /// Answers that nobody has taken yet.
    answers: HashMap<u64, Result<Reply, Status>>,
    /// Errors of commands that are not to be answered, or that were.
    failures: HashMap<u64, Status>,
    /// Bytes that each command gave to the host.
    given: HashMap<u64, u64>,
    compared_bytes: u64,
    /// The first difference by the commands' order.
    difference: Option<(u64, What)>,
    notes: BTreeSet<String>,
    closed: bool,
}

impl Checker {
    pub fn new(recording: Arc<Recording>, tolerance: Option<Tolerance>) -> Arc<Checker> {
        Arc::new(Checker {
            recording,
            tolerance,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Waits for the answer to a command that was executed with a slot.
    pub fn wait_for_answer(&self, sequence: u64) -> Result<Reply, Status> {
        let mut state = self.state.lock();
        loop {
            if let Some(answer) = state.answers.remove(&sequence) {
                return answer;
            }
            self.changed.wait(&mut state);
        }
    }

    /// There will be an answer under this number.
    pub fn ask(&self, sequence: u64) {
        self.state.lock().asked.insert(sequence);
    }

    /// Whether a command was executed and its answer has not been taken.
    pub fn is_asked(&self, sequence: u64) -> bool {
        let state = self.state.lock();
        state.asked.contains(&sequence) || state.answers.contains_key(&sequence)
    }

    /// Waits until a command has given that many bytes, or `until` is answered.
    pub fn wait_for_bytes(&self, sequence: u64, bytes: u64, until: u64) {
        self.wait(until, |state| {
            let given = state
                .given
                .get(&sequence)
                .is_some_and(|&given| given >= bytes);
            given || state.failures.contains_key(&sequence)
        });
    }

    /// Waits until a command has failed, or `until` is answered. Tells the error.
    pub fn wait_for_failure(&self, sequence: u64, until: u64) -> Option<Status> {
        self.wait(until, |state| state.failures.contains_key(&sequence));
        self.failure(sequence)
    }

    /// The error of a command that nobody waits for.
    pub fn failure(&self, sequence: u64) -> Option<Status> {
        self.state.lock().failures.get(&sequence).copied()
    }

    fn wait(&self, until: u64, done: impl Fn(&State) -> bool) {
        let mut state = self.state.lock();
        while !done(&state) && !state.answers.contains_key(&until) {
            self.changed.wait(&mut state);
        }
        // What comes later belongs to nobody.
        state.answers.remove(&until);
    }

    /// Whether a command has given that many bytes to the host.
    pub fn has_given(&self, sequence: u64, bytes: u64) -> bool {
        self.given(sequence) >= bytes
    }

    pub fn given(&self, sequence: u64) -> u64 {
        self.state.lock().given.get(&sequence).copied().unwrap_or(0)
    }

    pub fn differs(&self, sequence: u64, what: What) {
        let mut state = self.state.lock();
        let earlier = state.difference.as_ref();
        if earlier.is_none_or(|(first, _)| sequence < *first) {
            state.difference = Some((sequence, what));
        }
    }

    pub fn has_difference(&self) -> bool {
        self.state.lock().difference.is_some()
    }

    pub fn note(&self, sentence: String) {
        let mut state = self.state.lock();
        if state.notes.len() < 100 {
            state.notes.insert(sentence);
        }
    }

    /// Takes what was found; what the session still does is ignored from here on.
    pub fn close(&self) -> Found {
        let mut state = self.state.lock();
        state.closed = true;
        let mut failures: Vec<_> = state.failures.iter().map(|(&s, &e)| (s, e)).collect();
        failures.sort_unstable_by_key(|&(sequence, _)| sequence);
        Found {
            compared_bytes: state.compared_bytes,
            difference: state.difference.take(),
            failures,
            notes: std::mem::take(&mut state.notes).into_iter().collect(),
        }
    }
}

/// What a checker found.
pub(super) struct Found {
    pub compared_bytes: u64,
    pub difference: Option<(u64, What)>,
    /// By sequence.
    pub failures: Vec<(u64, Status)>,
    pub notes: Vec<String>,
}

impl Checker {
    /// Compares bytes with those pieces of the recording that overlap them. Tells how many were.
    fn compare(&self, pieces: &[Piece], offset: u64, bytes: &[u8]) -> (u64, Option<What>) {
        let end = offset + bytes.len() as u64;
        let mut compared = 0;
        for piece in pieces {
            let from = piece.position.max(offset);
            let to = piece.position.saturating_add(piece.content.len()).min(end);
            if from >= to {
                continue;
            }
            let expected = match self.recording.reader.bytes(&piece.content) {
                Ok(expected) => expected,
                Err(error) => {
                    self.note(error.to_string());
                    continue;
                }
            };
            let within = |start: u64| (from - start) as usize..(to - start) as usize;
            let (Some(expected), Some(actual)) = (
                expected.get(within(piece.position)),
                bytes.get(within(offset)),
            ) else {
                continue;
            };
            compared += to - from;
            if let Some(found) = compare::buffers(from, expected, actual, self.tolerance) {
                return (compared, Some(What::Bytes(found)));
            }
        }
        (compared, None)
    }
}

impl Observer for Checker {
    fn command(&self, header: &Header, _command: &Command) {
        if header.slot.is_some() {
            self.ask(header.sequence);
        }
    }

    fn answer(&self, sequence: u64, reply: &Result<Reply, Status>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        if state.asked.remove(&sequence) {
            state.answers.insert(sequence, reply.clone());
        } else if let Err(status) = reply {
            state.failures.entry(sequence).or_insert(*status);
        }
        self.changed.notify_all();
    }

    fn input(&self, _sequence: u64, _offset: u64, _bytes: &[u8]) {}

    fn output(&self, sequence: u64, offset: u64, bytes: &[u8]) {
        let pieces = self.recording.outputs.get(&sequence);
        let (compared, difference) = self.compare(pieces.map_or(&[], Vec::as_slice), offset, bytes);
        if let Some(what) = difference {
            self.differs(sequence, what);
        }
        let mut state = self.state.lock();
        state.compared_bytes += compared;
        let given = state.given.entry(sequence).or_default();
        *given = (*given).max(offset + bytes.len() as u64);
        self.changed.notify_all();
    }

    fn host_memory(&self, _sequence: u64, _address: u64, _bytes: &[u8]) {}

    fn finish(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The session's way back; the checker has seen it all before.
pub(super) struct Nowhere;

impl Outbox for Nowhere {
    fn answer(&self, _slot: u16, _reply: &Result<Reply, Status>) {}
    fn failed(&self, _device: u32, _status: Status, _sticky: bool) {}
    fn well(&self, _device: u32) {}
    fn release(&self, _chunk: u32) {}
}
