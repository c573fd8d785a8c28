// SPDX-License-Identifier: MIT OR Apache-2.0
use std::fmt;

use crate::Error;

/// How an entry's payload is stored. nvcc 13 uses zstd unless told otherwise (`--compress-mode`); older toolkits, and
/// `--compress-mode=speed`, use LZ4 blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// As it is.
    None,
    /// One LZ4 block without a frame; the size is in the entry's header.
    Lz4,
    /// One zstd frame.
    Zstd,
}

/// What libzstd accepts unless told otherwise. A frame of one segment has a window as large as its content.
const LARGEST_ZSTD_WINDOW: u64 = 128 << 20;

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "uncompressed",
            Self::Lz4 => "LZ4",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// No stream of this format can expand by more than this factor: an LZ4 length byte stands for at most 255 bytes of
    /// output, and a zstd run-length block of 4 bytes for at most 128 KiB.
    fn greatest_ratio(self) -> u64 {
        match self {
            Self::None => 1,
            Self::Lz4 => 255,
            Self::Zstd => 32 * 1024,
        }
    }

    /// Decompresses `stored` into exactly `size` bytes.
    pub(crate) fn decompress(
        self,
        stored: &[u8],
        size: u64,
        limit: usize,
    ) -> Result<Vec<u8>, Error> {
        let fail = |reason: String| Error::Decompress {
            method: self,
            reason,
        };
        let len = usize::try_from(size)
            .ok()
            .filter(|len| *len <= limit)
            .ok_or(Error::TooLarge { size, limit })?;
        // A claim that the format cannot meet must not cost an allocation.
        if size > (stored.len() as u64).saturating_mul(self.greatest_ratio()) {
            return Err(fail(format!(
                "{} stored bytes cannot hold the {size} bytes that the header gives",
                stored.len()
            )));
        }
        let mut output = Vec::new();
        output
            .try_reserve_exact(len)
            .map_err(|_| fail(format!("there is no memory for {size} bytes")))?;
        output.resize(len, 0);
        let written = match self {
            Self::None => {
                output.copy_from_slice(stored.get(..len).unwrap_or_default());
                len
            }
            Self::Lz4 => lz4_flex::block::decompress_into(stored, &mut output)
                .map_err(|e| fail(e.to_string()))?,
            Self::Zstd => {
                let mut decoder = ruzstd::decoding::FrameDecoder::new();
                decoder.set_max_window_size(size.max(LARGEST_ZSTD_WINDOW));
                decoder
                    .decode_all(stored, &mut output)
                    .map_err(|e| fail(e.to_string()))?
            }
        };
        if written != len {
            return Err(fail(format!(
                "it holds {written} bytes, and the header gives {size}"
            )));
        }
        Ok(output)
    }
}
