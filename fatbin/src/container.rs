// SPDX-License-Identifier: MIT OR Apache-2.0
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::entry::{self, Entry};
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

    /// Reads the container at the start of `bytes`, which may be longer than it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_at(bytes, 0, header_in(bytes, 0), &mut |offset| {
            header_in(bytes, offset)
        })
    }

    /// Reads the container that begins at `start` with `header`; its entries' headers come through `header_at`.
    fn parse_at(
        bytes: &'a [u8],
        start: usize,
        header: Header,
        header_at: &mut dyn FnMut(usize) -> Header,
    ) -> Result<Self, Error> {
        let available = bytes.len().saturating_sub(start);
        let header = header.get(..available).unwrap_or(&header);
        let len = Self::total_len(header).map_err(|e| e.moved_by(start))?;
        let end = start
            .checked_add(len)
            .filter(|_| len <= available)
            .ok_or(Error::Truncated {
                what: "a fat binary",
                offset: start,
                needed: len as u64,
                available,
            })?;
        let body = bytes.get(..end).unwrap_or_default();
        let version = u16_at(header, 4).unwrap_or_default();
        let mut at = start + usize::from(u16_at(header, 6).unwrap_or_default());
        let mut entries = Vec::new();
        while at < end {
            let mut header = header_at(at);
            // What lies behind the container is no part of it.
            header.iter_mut().skip(end - at).for_each(|byte| *byte = 0);
            if header == NOTHING {
                break;
            }
            let (entry, entry_len) = Entry::parse_at(body, at, &header)?;
            entries.push(entry);
            at += entry_len;
        }
        Ok(Self {
            version,
            entries,
            len,
        })
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

/// The header of an entry, or of a container and what follows it.
type Header = [u8; entry::HEADER_LEN];

/// Entry headers are at least 64 bytes and never zero, so zeros where one should be are padding.
const NOTHING: Header = [0; entry::HEADER_LEN];

fn header_in(bytes: &[u8], offset: usize) -> Header {
    let mut header = NOTHING;
    let rest = bytes.get(offset..).unwrap_or_default();
    header
        .iter_mut()
        .zip(rest)
        .for_each(|(to, from)| *to = *from);
    header
}

/// The containers that lie one behind the other in `bytes`, with zeros between them, as the linker leaves them in the
/// `.nv_fatbin` section. Ends after the first error.
pub fn containers(bytes: &[u8]) -> impl Iterator<Item = Result<Container<'_>, Error>> {
    containers_through(bytes, |offset| header_in(bytes, offset))
}

/// [`containers`] for a mapped file: the headers are asked of `header_at`, which gives the 64 bytes at an offset into
/// `bytes`, filled up with zeros at its end. Thousands of headers, far apart, are read faster from the file than through
/// as many page faults. `bytes` itself is only looked at where there is padding, and by whoever reads a payload.
pub fn containers_through<'a>(
    bytes: &'a [u8],
    mut header_at: impl FnMut(usize) -> Header,
) -> impl Iterator<Item = Result<Container<'a>, Error>> {
    let mut next = Some(0);
    std::iter::from_fn(move || {
        let is_container = |header: &Header| u32_at(header, 0) == Some(Container::MAGIC);
        let mut at = next.take().filter(|at| *at < bytes.len())?;
        let mut header = header_at(at);
        if !is_container(&header) {
            at += bytes.get(at..)?.iter().position(|byte| *byte != 0)?;
            header = header_at(at);
        }
        let result = if is_container(&header) {
            Container::parse_at(bytes, at, header, &mut header_at)
        } else {
            Err(Error::TrailingBytes { offset: at })
        };
        next = result.as_ref().ok().map(|container| at + container.len);
        Some(result)
    })
}
