// SPDX-License-Identifier: MIT OR Apache-2.0
//! The file's beginning and its blocks.
//!
//! A block is a head of 16 bytes and a payload. The head has a checksum of its own, so that a
//! length can be believed before the payload is there: a file that ends within a block was cut, one
//! whose checksums fail was damaged.

use super::error::TraceError;

/// First bytes of a trace. The byte above 127 and the line ends show transfers that were not
/// binary.
pub const MAGIC: [u8; 8] = *b"\x89vcuda\r\n";

/// Major and minor version of the format. A reader refuses a greater major version.
pub const VERSION: (u16, u16) = (1, 0);

/// Bytes of the file's head and of a block's head.
pub const HEAD_LEN: usize = 16;

/// Longest payload: the largest blob and what stands around it.
pub const MAX_PAYLOAD: usize = super::MAX_BLOB + (1 << 20);

pub const PROPERTIES: Kind = *b"PROP";
pub const FUNCTION: Kind = *b"FUNC";
pub const SHAPE: Kind = *b"SHAP";
pub const COMMAND: Kind = *b"CMND";
pub const ANSWER: Kind = *b"ANSW";
pub const INPUT: Kind = *b"INPT";
pub const OUTPUT: Kind = *b"OUTP";
pub const HOST_MEMORY: Kind = *b"HOST";
pub const BLOB: Kind = *b"BLOB";
pub const END: Kind = *b"DONE";

/// What a block holds, as four letters.
pub type Kind = [u8; 4];

/// Whether a reader that does not know a kind may leave it out: its first letter is small.
pub fn may_be_skipped(kind: Kind) -> bool {
    kind[0].is_ascii_lowercase()
}

/// The file's first bytes.
pub fn file_head() -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..8].copy_from_slice(&MAGIC);
    head[8..10].copy_from_slice(&VERSION.0.to_le_bytes());
    head[10..12].copy_from_slice(&VERSION.1.to_le_bytes());
    seal(&mut head);
    head
}

/// Checks a file's first bytes; `head` is what there is of them.
pub fn check_file_head(head: &[u8]) -> Result<(), TraceError> {
    let magic = &head[..head.len().min(MAGIC.len())];
    if magic.is_empty() {
        return Err(TraceError::NotATrace("the file is empty"));
    }
    if !MAGIC.starts_with(magic) {
        return Err(TraceError::NotATrace("it begins with other bytes"));
    }
    let Ok(head) = <&[u8; HEAD_LEN]>::try_from(head) else {
        return Err(TraceError::Truncated {
            offset: 0,
            len: head.len() as u64,
            records: 0,
        });
    };
    if !is_sealed(head) {
        return Err(TraceError::Corrupted {
            offset: 0,
            records: 0,
            what: "the checksum of the file's head does not fit".into(),
        });
    }
    let major = u16::from_le_bytes([head[8], head[9]]);
    let minor = u16::from_le_bytes([head[10], head[11]]);
    match major {
        m if m > VERSION.0 => Err(TraceError::Newer { major, minor }),
        0 => Err(TraceError::NotATrace("its version is 0")),
        _ => Ok(()),
    }
}

/// Appends a block whose payload `fill` writes behind the head. Appends nothing if it fails.
pub fn append(
    out: &mut Vec<u8>,
    kind: Kind,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), TraceError>,
) -> Result<(), TraceError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    let filled = fill(out);
    let len = out.len() - start - HEAD_LEN;
    let checked = filled.and(match len {
        len if len > MAX_PAYLOAD => Err(TraceError::TooLong {
            len,
            limit: MAX_PAYLOAD,
        }),
        _ => Ok(()),
    });
    if checked.is_err() {
        out.truncate(start);
        return checked;
    }
    let (head, payload) = out[start..].split_at_mut(HEAD_LEN);
    head[..4].copy_from_slice(&kind);
    head[4..8].copy_from_slice(&(len as u32).to_le_bytes());
    head[8..12].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    let sum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
    Ok(())
}

/// A block's head, once its checksum has been found right.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub kind: Kind,
    /// Bytes of the payload, at most [`MAX_PAYLOAD`].
    pub len: usize,
    checksum: u32,
}

impl Head {
    /// Reads a head; the error says what is wrong with it.
    pub fn read(bytes: &[u8; HEAD_LEN]) -> Result<Head, String> {
        if !is_sealed(bytes) {
            return Err("the checksum of its head does not fit".into());
        }
        let [k0, k1, k2, k3, l0, l1, l2, l3, c0, c1, c2, c3, ..] = *bytes;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > MAX_PAYLOAD {
            return Err(format!(
                "its length of {len} bytes exceeds the limit of {MAX_PAYLOAD}"
            ));
        }
        Ok(Head {
            kind: [k0, k1, k2, k3],
            len,
            checksum: u32::from_le_bytes([c0, c1, c2, c3]),
        })
    }

    /// Whether this is the payload that the head was written for.
    pub fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.len && crc32fast::hash(payload) == self.checksum
    }
}

fn seal(head: &mut [u8; HEAD_LEN]) {
    let sum = crc32fast::hash(&head[..12]);
    head[12..].copy_from_slice(&sum.to_le_bytes());
}

fn is_sealed(head: &[u8; HEAD_LEN]) -> bool {
    crc32fast::hash(&head[..12]).to_le_bytes() == head[12..]
}
