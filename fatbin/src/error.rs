// SPDX-License-Identifier: MIT OR Apache-2.0
use crate::Compression;

/// Why an image, an entry or a cubin could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes begin like none of the three kinds of image.
    #[error(
        "not a CUDA image: it is neither a fat binary, nor a cubin, nor PTX text (it begins with {0})"
    )]
    NotAnImage(String),
    /// A structure says that it is longer than the bytes that are there.
    #[error("{what} at offset {offset:#x} needs {needed} bytes, but only {available} are left")]
    Truncated {
        /// The structure that is cut off.
        what: &'static str,
        /// Where it begins, in bytes from the start of the image.
        offset: usize,
        /// Its length by its own header, in bytes.
        needed: u64,
        /// What is left from `offset` on, in bytes.
        available: usize,
    },
    /// A header field holds a value that no toolkit writes.
    #[error("{field} of {what} at offset {offset:#x} is {value:#x}, which is not valid")]
    BadField {
        /// The structure the field belongs to.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// Where the structure begins, in bytes from the start of the image.
        offset: usize,
        /// What the field holds.
        value: u64,
    },
    /// Something other than padding or another container follows a container.
    #[error(
        "the bytes at offset {offset:#x} behind the fat binary container are neither padding nor another container"
    )]
    TrailingBytes {
        /// Where they begin.
        offset: usize,
    },
    /// A payload would be larger than the caller allows once it is decompressed.
    #[error("a payload of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size by the entry's header, in bytes.
        size: u64,
        /// The limit that the caller gave, in bytes.
        limit: usize,
    },
    /// A compressed payload is damaged, or does not have the size that its header gives.
    #[error("the {method} payload cannot be decompressed: {reason}")]
    Decompress {
        /// The compression that the entry's flags name.
        method: Compression,
        /// What the decoder said.
        reason: String,
    },
    /// A cubin is not an ELF file for the NVIDIA CUDA architecture.
    #[error("not a cubin: {0}")]
    NotACubin(String),
    /// The entry holds neither PTX nor a cubin, so its kernels cannot be listed.
    #[error("kernels can be listed for PTX and cubins, not for an entry of kind {0}")]
    NoKernelList(crate::EntryKind),
    /// An entry declaration in PTX text cannot be understood.
    #[error("PTX line {line}: {reason}")]
    Ptx {
        /// Line number from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
}

impl Error {
    /// The same error, for a structure that lies `base` bytes further into the image.
    pub(crate) fn moved_by(mut self, base: usize) -> Self {
        if let Self::Truncated { offset, .. }
        | Self::BadField { offset, .. }
        | Self::TrailingBytes { offset } = &mut self
        {
            *offset = offset.saturating_add(base);
        }
        self
    }
}
