// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a trace cannot be read, or cannot be read further.

use std::io;

use super::content::Hash;

/// A trace that could not be read or written. `records` counts the complete records before
/// `offset`, all of which were given out; `offset` is in bytes from the file's beginning.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    #[error("This is not a vcuda trace: {0}.")]
    NotATrace(&'static str),
    #[error(
        "The trace has format version {major}.{minor}; this program reads up to version {}.x. Use a newer vcuda.",
        super::block::VERSION.0
    )]
    Newer { major: u16, minor: u16 },
    #[error(
        "The trace is cut off: it ends at byte {len}, within the record that begins at byte {offset}. The {records} records before it are complete."
    )]
    Truncated { offset: u64, len: u64, records: u64 },
    #[error(
        "The trace is damaged in the record at byte {offset}: {what}. The {records} records before it are sound."
    )]
    Corrupted {
        offset: u64,
        records: u64,
        what: String,
    },
    #[error("The trace refers to data that it does not hold: blob {0}.")]
    MissingBlob(Hash),
    #[error("Data of the trace is damaged: blob {0} is not what its name says.")]
    DamagedBlob(Hash),
    #[error("A record of {len} bytes exceeds the format's limit of {limit}.")]
    TooLong { len: usize, limit: usize },
    #[error("A record could not be encoded: {0}.")]
    Encode(String),
    #[error("The trace could not be read or written: {0}.")]
    Io(#[from] io::Error),
}

impl TraceError {
    /// Whether what came before is good and only the end is missing.
    pub fn is_truncated(&self) -> bool {
        matches!(self, TraceError::Truncated { .. })
    }
}
