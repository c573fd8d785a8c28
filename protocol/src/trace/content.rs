// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bulk data: small pieces in place, larger ones as blobs that stand in the file once.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::block;
use super::error::TraceError;
use crate::command::Command;
use crate::types::{Bytes, Image, Place, Reply};

/// Most bytes of a blob. Longer data is cut into several.
pub const MAX_BLOB: usize = 16 << 20;

/// Longest piece of a transfer that stands in its record.
pub(super) const MAX_INLINE: usize = 64;
/// Longest byte string that stays in the encoding of a command or reply.
pub(super) const MAX_INLINE_FIELD: usize = 256;

const RAW: u8 = 0;
const LZ4: u8 = 1;

/// The name of a blob: the first 16 bytes of the BLAKE3 hash of its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub struct Hash(pub [u8; 16]);

impl Hash {
    pub fn of(bytes: &[u8]) -> Hash {
        let mut name = [0; 16];
        name.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
        Hash(name)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

/// A piece of bulk data: the bytes themselves, or the name of the blob that holds them
/// ([`super::Reader::bytes`] fetches it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Inline(Bytes),
    Blob { hash: Hash, len: u64 },
}

impl Content {
    /// Bytes of the data.
    pub fn len(&self) -> u64 {
        match self {
            Content::Inline(bytes) => bytes.0.len() as u64,
            Content::Blob { len, .. } => *len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes each blob once.
#[derive(Default)]
pub(super) struct Blobs {
    written: HashSet<Hash>,
}

impl Blobs {
    /// The content for `bytes`, of which there are at most [`MAX_BLOB`]. Appends a blob to `out`
    /// where they are too long for their record (`inline` bytes) and not in the file yet.
    pub fn content(
        &mut self,
        out: &mut Vec<u8>,
        bytes: &[u8],
        inline: usize,
    ) -> Result<Content, TraceError> {
        if bytes.len() <= inline {
            return Ok(Content::Inline(Bytes(bytes.to_vec())));
        }
        if bytes.len() > MAX_BLOB {
            return Err(TraceError::TooLong {
                len: bytes.len(),
                limit: MAX_BLOB,
            });
        }
        let hash = Hash::of(bytes);
        if self.written.insert(hash) {
            block::append(out, block::BLOB, |out| store(out, hash, bytes))?;
        }
        Ok(Content::Blob {
            hash,
            len: bytes.len() as u64,
        })
    }

    pub fn len(&self) -> u64 {
        self.written.len() as u64
    }
}

/// A blob's payload: name, how it is stored, its length, and the bytes.
fn store(out: &mut Vec<u8>, hash: Hash, bytes: &[u8]) -> Result<(), TraceError> {
    out.extend_from_slice(&hash.0);
    let start = out.len();
    out.push(LZ4);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    let data = out.len();
    out.resize(
        data + lz4_flex::block::get_maximum_output_size(bytes.len()),
        0,
    );
    match lz4_flex::block::compress_into(bytes, &mut out[data..]) {
        // Compression has to earn the time that unpacking takes.
        Ok(len) if len < bytes.len() - bytes.len() / 8 => out.truncate(data + len),
        _ => {
            out.truncate(data);
            out.extend_from_slice(bytes);
            out[start] = RAW;
        }
    }
    Ok(())
}

/// A blob's payload, taken apart. The lengths fit each other; the content has not been checked.
pub(super) struct Stored<'a> {
    pub hash: Hash,
    pub len: usize,
    codec: u8,
    data: &'a [u8],
}

impl<'a> Stored<'a> {
    /// Reads a payload; the error says what is wrong with it.
    pub fn read(payload: &'a [u8]) -> Result<Stored<'a>, String> {
        let Some((head, data)) = payload.split_at_checked(21) else {
            return Err(format!("a blob of {} bytes is too short", payload.len()));
        };
        let mut hash = [0; 16];
        hash.copy_from_slice(&head[..16]);
        let len = u32::from_le_bytes([head[17], head[18], head[19], head[20]]) as usize;
        let codec = head[16];
        let most = match codec {
            RAW => data.len().min(MAX_BLOB),
            // No LZ4 sequence makes more than 255 bytes from one.
            LZ4 => data.len().saturating_mul(255).min(MAX_BLOB),
            _ => return Err(format!("its compression has the unknown number {codec}")),
        };
        if len > most || (codec == RAW && len != data.len()) {
            return Err(format!(
                "{} stored bytes cannot hold a blob of {len}",
                data.len()
            ));
        }
        Ok(Stored {
            hash: Hash(hash),
            len,
            codec,
            data,
        })
    }

    /// The content, if it is what its name says.
    pub fn unpack(&self) -> Result<Vec<u8>, TraceError> {
        let bytes = match self.codec {
            RAW => Some(self.data.to_vec()),
            _ => {
                let mut bytes = vec![0; self.len];
                let len = lz4_flex::block::decompress_into(self.data, &mut bytes);
                (len.ok() == Some(self.len)).then_some(bytes)
            }
        };
        bytes
            .filter(|bytes| Hash::of(bytes) == self.hash)
            .ok_or(TraceError::DamagedBlob(self.hash))
    }
}

macro_rules! long_bytes_of_a_command {
    ($($name:ident: $(&$mut:ident)?;)*) => { $(
        /// The byte string of a command that may be long, if it has one.
        pub(super) fn $name(command: &$($mut)? Command) -> Option<&$($mut)? Bytes> {
            match command {
                Command::ModuleLoad { image: Image::Inline(bytes), .. } => Some(bytes),
                Command::Copy { src: Place::Inline(bytes), .. } => Some(bytes),
                Command::Launch { params, .. } => Some(params),
                _ => None,
            }
        }
    )* };
}
long_bytes_of_a_command! { command_bytes: ; command_bytes_mut: &mut; }

/// The byte string of a reply that may be long, if it has one.
pub(super) fn reply_bytes_mut(reply: &mut Reply) -> Option<&mut Bytes> {
    match reply {
        Reply::Data(bytes) => Some(bytes),
        _ => None,
    }
}
