// SPDX-License-Identifier: MIT OR Apache-2.0
//! The trace file: a session's command stream with its replies and bulk data, made to last.
//!
//! A trace is a sequence of [`block`]s that are only ever appended. A process that is killed leaves
//! a file whose complete blocks can all be read, and each block's checksums tell a cut from damage.
//! Bulk data stands in the file once, as a blob named by a hash of its content.
//!
//! A capture outlives the tools that made it: next to the commands the file holds their
//! [`shape`]s, so that a reader recognises each command by what its fields are called and how they
//! are encoded, and never misreads one that has changed since. `docs/trace-format.md` specifies the
//! file to the byte.
//!
//! ```
//! use vcuda_protocol::trace::{Properties, Reader, Record, Writer};
//! use vcuda_protocol::{Command, Header, Stream};
//!
//! let mut properties = Properties::default();
//! properties.add("program", "./saxpy");
//! let mut writer = Writer::new(Vec::new(), &properties, |api| (api == 7).then_some("cudaEventRecord"))?;
//! let header = Header { sequence: 1, api: 7, thread: 1, time: 0, slot: None };
//! let command = Command::EventRecord { event: 3, stream: Stream { device: 0, id: 0 } };
//! writer.command(&header, &command)?;
//! let file = writer.finish()?;
//!
//! let mut reader = Reader::new(file)?;
//! assert_eq!(reader.properties().get("program"), Some("./saxpy"));
//! let commands = reader.by_ref().filter(|r| matches!(r, Ok(Record::Command { .. }))).count();
//! assert_eq!(commands, 1);
//! assert_eq!(reader.function(7), Some("cudaEventRecord"));
//! assert!(reader.end().is_some());
//! # Ok::<(), vcuda_protocol::trace::TraceError>(())
//! ```

pub mod block;
mod content;
mod error;
mod reader;
pub mod shape;
#[cfg(test)]
mod tests;
mod writer;

pub use content::{Content, Hash, MAX_BLOB};
pub use error::TraceError;
pub use reader::{Reader, Source};
pub use writer::{Encoder, Writer};

use serde::{Deserialize, Serialize};

use crate::command::{Command, Header};
use crate::types::{Reply, Status};
use shape::Role;

/// What was recorded: keys with values, in order. A key may stand more than once.
///
/// Keys in use: `writer` (what wrote the file), `protocol` (hash of the protocol's sources, for
/// information), `program`, `argument` (one for each), `pid`, `host`, `time` (nanoseconds since
/// 1970), `window.base` and `window.len` (decimal, see [`crate::handshake::Hello`]), `device` (the
/// name of each device). A reader ignores keys that it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Properties(pub Vec<(String, String)>);

impl Properties {
    /// Appends a value.
    pub fn add(&mut self, key: &str, value: impl ToString) {
        self.0.push((key.to_owned(), value.to_string()));
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        let pairs = self.0.iter().filter(move |(k, _)| k == key);
        pairs.map(|(_, v)| v.as_str())
    }
}

/// How many records of the kinds that hold a session's content a trace has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub commands: u64,
    pub answers: u64,
    /// Records of input, output and host memory.
    pub transfers: u64,
    pub blobs: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.commands += other.commands;
        self.answers += other.answers;
        self.transfers += other.transfers;
        self.blobs += other.blobs;
    }
}

/// Which way bulk data went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transfer {
    /// Bytes that a command took from host memory. The position is an offset into the command's
    /// data, rows packed.
    Input,
    /// Bytes that a command gave to host memory. The position is such an offset, too.
    Output,
    /// What pinned or managed host memory held when the command was issued, where that had
    /// changed. The position is the address.
    HostMemory,
}

/// One record of a trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Record {
    /// More properties, found out after the beginning.
    Properties(Properties),
    /// The name of a function number that [`Header::api`] uses from here on.
    Function { api: u16, name: String },
    /// How a command or reply is encoded in this file.
    Shape {
        role: Role,
        index: u32,
        text: String,
    },
    /// A command, before it was executed.
    Command { header: Header, command: Command },
    /// The answer to a command. A command without a slot has one only where it failed.
    Answer {
        sequence: u64,
        reply: Result<Reply, Status>,
    },
    /// A command or an answer whose shape this program does not have.
    Foreign {
        role: Role,
        sequence: u64,
        shape: String,
    },
    /// Bulk data of a command.
    Transfer {
        transfer: Transfer,
        sequence: u64,
        position: u64,
        content: Content,
    },
    /// A blob stands in the file: `len` bytes, that take `stored` bytes.
    Blob { hash: Hash, len: u64, stored: u64 },
    /// The recording was ended in good order.
    End(Counts),
    /// A block that a newer writer added and marked as one that may be left out.
    Skipped { kind: [u8; 4] },
}
