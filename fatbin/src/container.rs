// SPDX-License-Identifier: MIT OR Apache-2.0
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::entry::Entry;
use crate::error::Error;

/// One fat binary container: a header of 16 bytes (magic, version, header size, size of what follows) and its entries.
///
/// This is what the data pointer of a `fatbinWrapper` (magic 0x466243B1) leads to.
#[derive(Debug, Clone)]
pub struct Container<'a> {
    /// Format version; 1 in every known toolkit.
    pub version: u16,
    /// The entries, in file order.
    pub entries: Vec<Entry<'a>>,
    len: usize,
}

impl<'a> Container<'a> {
    /// The first four bytes, read as a little-endian number.
    pub const MAGIC: u32 = 0xBA55_ED50;
    /// Bytes of header that [`Container::total_len`] needs.
    pub const HEADER_LEN: usize = 16;

    /// Whole length in bytes of the container whose first [`Container::HEADER_LEN`] bytes are given, so that whoever
    /// holds only a pointer knows how much there is to read.
    pub fn total_len(header: &[u8]) -> Result<usize, Error> {
        let truncated = Error::Truncated {
            what: "a fat binary header",
            offset: 0,
            needed: Self::HEADER_LEN as u64,
            available: header.len(),
        };
        let (Some(magic), Some(header_len), Some(size)) =
            (u32_at(header, 0), u16_at(header, 6), u64_at(header, 8))
        else {
            return Err(truncated);
        };
        let bad = |field, value| Error::BadField {
            what: "a fat binary header",
            field,
            offset: 0,
            value,
        };
        if magic != Self::MAGIC {
            return Err(bad("the magic number", u64::from(magic)));
        }
        if usize::from(header_len) < Self::HEADER_LEN {
            return Err(bad("the header size", u64::from(header_len)));
        }
        size.checked_add(u64::from(header_len))
            .filter(|len| *len <= isize::MAX as u64)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(bad("the size", size))
    }

    /// Reads the container at the start of `bytes`, which may be longer than it. `base` is where `bytes` begins in the
    /// image, for messages.
    fn parse_at(bytes: &'a [u8], base: usize) -> Result<Self, Error> {
        let len = Self::total_len(bytes).map_err(|e| e.moved_by(base))?;
        let body = bytes.get(..len).ok_or(Error::Truncated {
            what: "a fat binary",
            offset: base,
            needed: len as u64,
            available: bytes.len(),
        })?;
        let version = u16_at(body, 4).unwrap_or_default();
        let mut at = usize::from(u16_at(body, 6).unwrap_or_default());
        let mut entries = Vec::new();
        while let Some(rest) = body.get(at..).filter(|rest| !starts_with_padding(rest)) {
            let (entry, entry_len) = Entry::parse_at(rest, base + at)?;
            entries.push(entry);
            at += entry_len;
        }
        Ok(Self {
            version,
            entries,
            len,
        })
    }

    /// Reads the container at the start of `bytes`, which may be longer than it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_at(bytes, 0)
    }

    /// Its whole length in bytes, header included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Entry headers are at least 64 bytes and never zero, so zeros (or nothing) where one should be are padding.
fn starts_with_padding(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .take(Entry::SMALLEST_HEADER)
        .all(|byte| *byte == 0)
}

/// The containers that lie one behind the other in `bytes`, with zeros between them, as the linker leaves them in the
/// `.nv_fatbin` section. Ends after the first error.
pub fn containers(bytes: &[u8]) -> impl Iterator<Item = Result<Container<'_>, Error>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let padding = rest.iter().position(|byte| *byte != 0)?;
        at += padding;
        let rest = rest.get(padding..)?;
        let result = if u32_at(rest, 0) == Some(Container::MAGIC) {
            Container::parse_at(rest, at)
        } else {
            Err(Error::TrailingBytes { offset: at })
        };
        at = result
            .as_ref()
            .map_or(usize::MAX, |container| at + container.len);
        Some(result)
    })
}
