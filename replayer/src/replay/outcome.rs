// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a replay found.

use std::fmt;

/// The result of a replay.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Commands that were executed.
    pub commands: u64,
    /// Answers that were compared with the recording.
    pub compared_values: u64,
    /// Bytes of buffers that were compared with the recording.
    pub compared_bytes: u64,
    /// The first call, in the order of the recording, that did not do what it did then.
    pub first_difference: Option<Difference>,
    /// How the recording ends.
    pub ended: Ended,
    /// What was noticed and does not count as a difference, each a sentence.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Whether everything that was compared was equal.
    pub fn is_equal(&self) -> bool {
        self.first_difference.is_none()
    }
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// In good order.
    Clean,
    /// After a complete record, without an end: the program or its worker was killed, or the
    /// session still goes on.
    Unfinished,
    /// Within a record, with damage, or with a record that this vcuda cannot use; the sentence says
    /// where. What came before was used.
    Cut(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Clean => f.write_str("The recording was ended in good order."),
            Ended::Unfinished => f.write_str(
                "The recording has no end: the program was killed, or still runs. All records are complete.",
            ),
            Ended::Cut(why) => f.write_str(why),
        }
    }
}

/// A call that did something else than in the recording.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Difference {
    /// The command's position in the recording.
    pub sequence: u64,
    /// The CUDA function that the program called.
    pub api: String,
    /// The thread that called it.
    pub thread: u32,
    /// The device command, with its arguments.
    pub command: String,
    pub what: What,
}

/// What was different.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// The answer.
    Value { expected: String, actual: String },
    /// The bytes that it gave to the host.
    Bytes(BufferDifference),
    /// It gave fewer bytes to the host than in the recording.
    Missing { expected: u64, actual: u64 },
}

/// Where two buffers differ.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BufferDifference {
    /// Offset of the first element that differs, in bytes from the copy's beginning, rows packed.
    pub offset: u64,
    /// The element there, in both buffers.
    pub expected: String,
    pub actual: String,
    /// Elements that differ, and elements that were compared, in the piece of the copy that has
    /// the first difference.
    pub differing: u64,
    pub compared: u64,
    /// What an element is: `byte`, `f32` or `f64`.
    pub element: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            sequence,
            api,
            thread,
            command,
            what,
        } = self;
        write!(
            f,
            "Command {sequence}, from {api} on thread {thread}, {what}. It was {command}."
        )
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Value { expected, actual } => {
                write!(f, "gave {actual} where the recording has {expected}")
            }
            What::Bytes(bytes) => write!(
                f,
                "gave {} at byte {} where the recording has {} ({} of {} {} elements differ there)",
                bytes.actual,
                bytes.offset,
                bytes.expected,
                bytes.differing,
                bytes.compared,
                bytes.element
            ),
            What::Missing { expected, actual } => write!(
                f,
                "gave {actual} bytes to the host where the recording has {expected}"
            ),
        }
    }
}
