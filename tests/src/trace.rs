// SPDX-License-Identifier: MIT OR Apache-2.0
//! A recording, taken apart as docs/trace-format.md says, to damage and to change it.
//!
//! This is written after that document and nothing else: it shows that the document is enough.

use std::ops::Range;
use std::path::Path;

/// Bytes of the file's head, and of a block's.
pub const HEAD: usize = 16;

/// A trace file.
#[derive(Clone, Debug)]
pub struct Trace {
    /// All of it.
    pub bytes: Vec<u8>,
}

/// One block: where it begins, and where its payload is.
#[derive(Clone, Debug)]
pub struct Block {
    /// Four letters.
    pub kind: String,
    /// Offset of the block's head.
    pub start: usize,
    /// Offsets of the payload.
    pub payload: Range<usize>,
}

impl Trace {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("the trace is there");
        Self { bytes }
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.bytes).expect("the trace can be written");
    }

    /// The complete blocks, whose checksums must be right.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut start = HEAD;
        while let Some(head) = self.bytes.get(start..start + HEAD) {
            assert_eq!(crc32(&head[..12]), word(&head[12..]), "head at {start}");
            let payload = start + HEAD..start + HEAD + word(&head[4..]) as usize;
            let Some(content) = self.bytes.get(payload.clone()) else {
                break;
            };
            assert_eq!(crc32(content), word(&head[8..]), "payload at {start}");
            let kind = String::from_utf8(head[..4].to_vec()).expect("a kind is four letters");
            start = payload.end;
            blocks.push(Block {
                kind,
                start: payload.start - HEAD,
                payload,
            });
        }
        blocks
    }

    /// Makes the file's head say another major version.
    pub fn set_version(&mut self, major: u16) {
        self.bytes[8..10].copy_from_slice(&major.to_le_bytes());
        let checksum = crc32(&self.bytes[..12]);
        self.bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Puts other bytes of the same length in the place of the only occurrence of `old` in blocks of one kind, and mends
    /// the checksums.
    pub fn replace(&mut self, kind: &str, old: &[u8], new: &[u8]) {
        assert_eq!(old.len(), new.len());
        let places: Vec<_> = self
            .blocks()
            .into_iter()
            .filter(|block| block.kind == kind)
            .flat_map(|block| {
                let payload = self.bytes[block.payload.clone()].to_vec();
                let offsets = (0..payload.len()).filter(move |&at| payload[at..].starts_with(old));
                offsets.map(move |at| (block.clone(), block.payload.start + at))
            })
            .collect();
        let [(block, place)] = &places[..] else {
            panic!("{old:?} is in {} places of {kind} blocks.", places.len());
        };
        self.bytes[*place..place + new.len()].copy_from_slice(new);
        let checksum = crc32(&self.bytes[block.payload.clone()]);
        self.bytes[block.start + 8..block.start + 12].copy_from_slice(&checksum.to_le_bytes());
        let checksum = crc32(&self.bytes[block.start..block.start + 12]);
        self.bytes[block.start + 12..block.start + 16].copy_from_slice(&checksum.to_le_bytes());
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The checksum of gzip and PNG.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
