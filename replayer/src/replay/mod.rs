// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes a recording on a device and compares what comes with what came then.
//!
//! The commands go through the same [`Session`](crate::session::Session) as those of a program. What
//! the program's host side did is taken from the recording: bytes that a copy took from host memory
//! become part of the command, and pinned and managed memory is set before each launch. What the
//! session gives out is seen by an observer that compares, where a recorder would write it down.
//!
//! Commands and answers are taken in the order of the file. A command of the recording stands in it
//! behind the answers that its program had seen, so waiting for each answer at its place keeps all
//! that the program relied on, and never waits for what it did not wait for.
//!
//! Functions of the program that streams called are not called: what they wrote is in the recording
//! like all that the host side wrote. Their streams are held from when they get there to the place
//! in the recording where the function had returned.
//!
//! Not compared is what depends on time: queries that were not ready (one that was ready is waited
//! for), elapsed times, free memory. What depends on the device (attributes, registers, occupancy)
//! is a note where the device is another one. What a kernel writes into managed or mapped memory is
//! compared where it is copied or used, not in place. What the program's host side writes into such
//! memory while a kernel runs is not in a recording: a kernel that waits for it waits for ever.

mod checker;
mod compare;
mod guest;
mod host_memory;
mod outcome;
mod recording;
mod relocate;
mod run;

use std::path::Path;
use std::sync::Arc;

use vcuda_protocol::NO_FUNCTION;
use vcuda_protocol::trace::{Properties, Reader, Record, Source, TraceError};
use vcuda_transport::Memory;

use crate::devices::Device;
use crate::window::Window;
pub use compare::{Element, Tolerance};
pub use outcome::{BufferDifference, Difference, Ended, Outcome, What};
use recording::Recording;
use run::Replay;

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How far floating-point numbers in buffers may be apart; exact if absent.
    pub tolerance: Option<Tolerance>,
}

/// How far a replay is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub commands: u64,
    pub total: u64,
}

/// Why a recording could not be replayed at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    #[error(transparent)]
    Trace(#[from] TraceError),
    #[error("A window of {len} bytes, as the recorded program had it, could not be made: {why}")]
    Window { len: u64, why: String },
    #[error("The recording does not say where its window of host memory was (property \"{0}\").")]
    NoWindow(&'static str),
}

/// A recording, ready to be replayed.
pub struct Replayer {
    recording: Arc<Recording>,
    window: Window,
}

impl Replayer {
    /// Reads through a recording, as far as it can be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Replayer, ReplayError> {
        let recording = Recording::open(path.as_ref())?;
        let number = |key: &'static str| {
            let value = recording.properties().get(key);
            value
                .and_then(|value| value.parse().ok())
                .ok_or(ReplayError::NoWindow(key))
        };
        let base = number("window.base")?;
        let len = number("window.len")?;
        let memory = Memory::create("replay", len)
            // A GPU uses it at the recorded program's addresses.
            .and_then(|memory| memory.map(Some(base)).or_else(|_| memory.map(None)))
            .map_err(|why| ReplayError::Window {
                len,
                why: why.to_string(),
            })?
            .shared();
        Ok(Replayer {
            recording: Arc::new(recording),
            window: Window {
                base,
                memory,
                backing: None,
            },
        })
    }

    /// What was recorded.
    pub fn properties(&self) -> &Properties {
        self.recording.properties()
    }

    /// Commands of the recording.
    pub fn commands(&self) -> u64 {
        self.recording.commands
    }

    /// How the recording ends.
    pub fn ended(&self) -> &Ended {
        &self.recording.ended
    }

    /// The window for which devices are to be made, at the recorded program's addresses.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Executes the recording on devices that no session has used, and compares. Ends at the first
    /// difference.
    pub fn replay(
        self,
        devices: Vec<Arc<dyn Device>>,
        options: &Options,
        mut progress: impl FnMut(Progress),
    ) -> Result<Outcome, ReplayError> {
        let mut replay = Replay::new(&self, devices, options);
        let reader = Reader::open(&self.recording.path)?;
        for record in reader {
            // The first pass has seen where the trace ends, and why.
            let Ok(record) = record else { break };
            if let Record::Command { .. } = record {
                progress(Progress {
                    commands: replay.commands,
                    total: self.recording.commands,
                });
            }
            let goes_on = replay.record(record)?;
            if !goes_on || replay.checker.has_difference() {
                break;
            }
        }
        let mut outcome = replay.finish();
        if let Some((sequence, what)) = outcome.difference.take() {
            outcome.outcome.first_difference = Some(self.describe(sequence, what)?);
        }
        Ok(outcome.outcome)
    }

    /// Looks up what a command was.
    fn describe(&self, sequence: u64, what: What) -> Result<Difference, ReplayError> {
        let mut reader = Reader::open(&self.recording.path)?;
        while let Some(Ok(record)) = reader.next() {
            if let Record::Command { header, command } = record
                && header.sequence == sequence
            {
                return Ok(Difference {
                    sequence,
                    api: function_name(&reader, header.api),
                    thread: header.thread,
                    command: shorten(format!("{command:?}")),
                    what,
                });
            }
        }
        Ok(Difference {
            sequence,
            api: "a function that the recording does not name".into(),
            thread: 0,
            command: "a command that the recording does not have".into(),
            what,
        })
    }
}

/// The name of a function number, or the number.
pub(crate) fn function_name<S: Source>(reader: &Reader<S>, api: u16) -> String {
    match reader.function(api) {
        Some(name) => name.to_owned(),
        None if api == NO_FUNCTION => "vcuda itself".into(),
        None => format!("function {api}"),
    }
}

/// At most so much of a text as a message can bear.
pub(crate) fn shorten(mut text: String) -> String {
    const MOST: usize = 300;
    if text.len() > MOST {
        let mut end = MOST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
