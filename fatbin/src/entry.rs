// SPDX-License-Identifier: MIT OR Apache-2.0
use std::borrow::Cow;
use std::fmt;

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::{Compression, Cubin, Error, KernelInfo, ptx};

/// What [`Entry::payload`] allows a payload to decompress to: 1 GiB.
pub const DEFAULT_PAYLOAD_LIMIT: usize = 1 << 30;

/// Bytes of header that every entry has; some have more.
pub(crate) const HEADER_LEN: usize = 64;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// PTX text.
    Ptx,
    /// A cubin: an ELF file with machine code (SASS) for one GPU architecture.
    Cubin,
    /// LTO intermediate code, which only NVIDIA's linker can read.
    LtoIr,
    /// Anything else, with the number that the header gives.
    Unknown(u16),
}

impl EntryKind {
    fn from_header(kind: u16) -> Self {
        match kind {
            1 => Self::Ptx,
            2 => Self::Cubin,
            8 => Self::LtoIr,
            other => Self::Unknown(other),
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ptx => f.pad("PTX"),
            Self::Cubin => f.pad("SASS"),
            Self::LtoIr => f.pad("LTO IR"),
            Self::Unknown(kind) => f.pad(&format!("unknown ({kind})")),
        }
    }
}

/// Which devices of an architecture's number code was made for (PTX ISA, `.target`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ArchVariant {
    /// `sm_90`: as PTX, runs on this and every later device.
    Plain,
    /// `sm_100f`: runs on the devices of the same family, from this one on.
    Family,
    /// `sm_90a`: runs on exactly this device.
    Specific,
}

/// The architecture that code was made for, such as `sm_80` or `sm_90a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Arch {
    /// Compute capability as one number: 86 for 8.6.
    pub sm: u32,
    /// The letter behind the number.
    pub variant: ArchVariant,
}

impl Arch {
    /// Whether PTX for this architecture may run on a device of the given compute capability (86 for 8.6).
    pub fn ptx_runs_on(self, compute_capability: u32) -> bool {
        match self.variant {
            ArchVariant::Plain => self.sm <= compute_capability,
            ArchVariant::Family => {
                self.sm / 10 == compute_capability / 10 && self.sm <= compute_capability
            }
            ArchVariant::Specific => self.sm == compute_capability,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.variant {
            ArchVariant::Plain => "",
            ArchVariant::Family => "f",
            ArchVariant::Specific => "a",
        };
        f.pad(&format!("sm_{}{letter}", self.sm))
    }
}

/// A version of the form major.minor: of the PTX ISA for PTX, of the cubin format for cubins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IsaVersion {
    /// The number before the dot.
    pub major: u16,
    /// The number behind the dot.
    pub minor: u16,
}

impl fmt::Display for IsaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

/// One piece of code of an image: PTX text or a cubin for one architecture.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// What it holds.
    pub kind: EntryKind,
    /// What it was made for.
    pub arch: Arch,
    /// The PTX version for PTX; the format version for cubins.
    pub version: IsaVersion,
    /// How it is stored.
    pub compression: Compression,
    /// The header's flags, zero for an image that is no fat binary.
    pub flags: u64,
    stored: &'a [u8],
    size: u64,
}

/// Bits of [`Entry::flags`].
mod flag {
    pub const LZ4: u64 = 0x2000;
    pub const ZSTD: u64 = 0x8000;
    pub const SPECIFIC: u64 = 0x10_0000;
    pub const FAMILY: u64 = 0x20_0000;
}

impl<'a> Entry<'a> {
    /// An image that is not in a container: its bytes are the payload.
    pub(crate) fn bare(
        kind: EntryKind,
        arch: Arch,
        version: IsaVersion,
        payload: &'a [u8],
    ) -> Self {
        Self {
            kind,
            arch,
            version,
            compression: Compression::None,
            flags: 0,
            stored: payload,
            size: payload.len() as u64,
        }
    }

    /// Reads the entry at `offset` of a container that ends where `bytes` does, and says how long it is.
    pub(crate) fn parse_at(
        bytes: &'a [u8],
        offset: usize,
        header: &[u8; HEADER_LEN],
    ) -> Result<(Self, usize), Error> {
        const WHAT: &str = "a fat binary entry";
        let bytes = bytes.get(offset..).unwrap_or_default();
        let truncated = |needed: u64| Error::Truncated {
            what: WHAT,
            offset,
            needed,
            available: bytes.len(),
        };
        let bad = |field, value| Error::BadField {
            what: WHAT,
            field,
            offset,
            value,
        };

        let header = Header::read(header).ok_or(truncated(HEADER_LEN as u64))?;
        if u64::from(header.header_len) < HEADER_LEN as u64 {
            return Err(bad("the header size", u64::from(header.header_len)));
        }
        let needed = u64::from(header.header_len)
            .checked_add(header.padded_len)
            .ok_or(bad("the size", header.padded_len))?;
        let len = usize::try_from(needed)
            .ok()
            .filter(|len| *len <= bytes.len())
            .ok_or(truncated(needed))?;
        let padded = bytes
            .get(header.header_len as usize..len)
            .unwrap_or_default();

        let compression = match (
            header.flags & flag::LZ4 != 0,
            header.flags & flag::ZSTD != 0,
        ) {
            (false, false) => Compression::None,
            (true, false) => Compression::Lz4,
            (false, true) => Compression::Zstd,
            (true, true) => return Err(bad("the flags field", header.flags)),
        };
        let (stored, size) = match compression {
            Compression::None => (padded, header.padded_len),
            _ => {
                let stored = padded.get(..header.compressed_len as usize);
                let stored =
                    stored.ok_or(bad("the compressed size", u64::from(header.compressed_len)))?;
                (stored, header.uncompressed_len)
            }
        };
        let variant = match (
            header.flags & flag::SPECIFIC != 0,
            header.flags & flag::FAMILY != 0,
        ) {
            (true, _) => ArchVariant::Specific,
            (false, true) => ArchVariant::Family,
            (false, false) => ArchVariant::Plain,
        };
        let entry = Self {
            kind: EntryKind::from_header(header.kind),
            arch: Arch {
                sm: header.arch,
                variant,
            },
            version: header.version,
            compression,
            flags: header.flags,
            stored,
            size,
        };
        Ok((entry, len))
    }

    /// Size of the payload in bytes once it is decompressed, as the header gives it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that it takes in the image, without its header.
    pub fn stored_len(&self) -> usize {
        self.stored.len()
    }

    /// The payload, decompressed; PTX comes without the zeros that pad it. Fails with [`Error::TooLarge`] over
    /// [`DEFAULT_PAYLOAD_LIMIT`].
    pub fn payload(&self) -> Result<Cow<'a, [u8]>, Error> {
        self.payload_within(DEFAULT_PAYLOAD_LIMIT)
    }

    /// [`Entry::payload`] with the caller's own limit in bytes.
    pub fn payload_within(&self, limit: usize) -> Result<Cow<'a, [u8]>, Error> {
        if self.size > limit as u64 {
            return Err(Error::TooLarge {
                size: self.size,
                limit,
            });
        }
        Ok(match self.compression {
            Compression::None => Cow::Borrowed(self.trimmed(self.stored)),
            method => {
                let mut payload = method.decompress(self.stored, self.size, limit)?;
                payload.truncate(self.trimmed(&payload).len());
                Cow::Owned(payload)
            }
        })
    }

    fn trimmed<'b>(&self, payload: &'b [u8]) -> &'b [u8] {
        match self.kind {
            EntryKind::Ptx => ptx::without_padding(payload),
            _ => payload,
        }
    }

    /// The kernels of a PTX or cubin entry, with their parameter layouts.
    pub fn kernels(&self) -> Result<Vec<KernelInfo>, Error> {
        match self.kind {
            EntryKind::Ptx => ptx::kernels(&self.payload()?),
            EntryKind::Cubin => Cubin::parse(&self.payload()?)?.kernels(),
            kind => Err(Error::NoKernelList(kind)),
        }
    }
}

/// An entry's header: the fields that mean something to this crate, out of 64 or more bytes.
struct Header {
    kind: u16,
    header_len: u32,
    padded_len: u64,
    compressed_len: u32,
    version: IsaVersion,
    arch: u32,
    flags: u64,
    uncompressed_len: u64,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u16_at(bytes, 0)?,
            header_len: u32_at(bytes, 4)?,
            padded_len: u64_at(bytes, 8)?,
            compressed_len: u32_at(bytes, 16)?,
            version: IsaVersion {
                minor: u16_at(bytes, 24)?,
                major: u16_at(bytes, 26)?,
            },
            arch: u32_at(bytes, 28)?,
            flags: u64_at(bytes, 40)?,
            uncompressed_len: u64_at(bytes, 56)?,
        })
    }
}
