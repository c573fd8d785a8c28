// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds fat binaries byte by byte, as the toolkits lay them out.
#![allow(dead_code, reason = "each test binary uses a part")]

pub const PTX: u16 = 1;
pub const CUBIN: u16 = 2;
pub const LZ4: u64 = 0x2000;
pub const ZSTD: u64 = 0x8000;

pub struct EntrySpec {
    pub kind: u16,
    pub arch: u32,
    pub flags: u64,
    pub stored: Vec<u8>,
    pub uncompressed: u64,
}

impl EntrySpec {
    pub fn raw(kind: u16, arch: u32, payload: &[u8]) -> Self {
        Self {
            kind,
            arch,
            flags: 0x11,
            stored: payload.to_vec(),
            uncompressed: 0,
        }
    }

    pub fn lz4(arch: u32, payload: &[u8]) -> Self {
        let stored = lz4_flex::block::compress(payload);
        Self {
            kind: PTX,
            arch,
            flags: 0x11 | LZ4,
            stored,
            uncompressed: payload.len() as u64,
        }
    }

    pub fn zstd(arch: u32, payload: &[u8]) -> Self {
        let stored =
            ruzstd::encoding::compress_to_vec(payload, ruzstd::encoding::CompressionLevel::Fastest);
        Self {
            kind: PTX,
            arch,
            flags: 0x11 | ZSTD,
            stored,
            uncompressed: payload.len() as u64,
        }
    }

    pub fn flagged(mut self, flags: u64) -> Self {
        self.flags |= flags;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let header_len = 64;
        let padded = self.stored.len().next_multiple_of(8);
        let compressed = if self.flags & (LZ4 | ZSTD) == 0 {
            0
        } else {
            self.stored.len() as u32
        };
        let mut out = Vec::new();
        out.extend(self.kind.to_le_bytes());
        out.extend(0x0101u16.to_le_bytes());
        out.extend((header_len as u32).to_le_bytes());
        out.extend((padded as u64).to_le_bytes());
        out.extend(compressed.to_le_bytes());
        out.extend(0u32.to_le_bytes());
        out.extend(3u16.to_le_bytes());
        out.extend(8u16.to_le_bytes());
        out.extend(self.arch.to_le_bytes());
        out.extend([0; 8]);
        out.extend(self.flags.to_le_bytes());
        out.extend([0; 8]);
        out.extend(self.uncompressed.to_le_bytes());
        assert_eq!(out.len(), header_len);
        out.extend(&self.stored);
        out.resize(header_len + padded, 0);
        out
    }
}

pub fn container(entries: &[EntrySpec]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(EntrySpec::bytes).collect();
    let mut out = Vec::new();
    out.extend(0xBA55_ED50u32.to_le_bytes());
    out.extend(1u16.to_le_bytes());
    out.extend(16u16.to_le_bytes());
    out.extend((body.len() as u64).to_le_bytes());
    out.extend(body);
    out
}

/// PTX with one kernel of the given name, which takes a pointer.
pub fn ptx(arch: &str, kernel: &str) -> Vec<u8> {
    format!(
        "\n//\n// made by a test\n//\n\n.version 8.3\n.target {arch}\n.address_size 64\n\n\
         .visible .entry {kernel}(\n\t.param .u64 {kernel}_param_0\n)\n{{\n\tret;\n}}\n"
    )
    .into_bytes()
}
