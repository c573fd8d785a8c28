// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device memory: ranges of device addresses with host backing, and the allocations in them.
//!
//! A device address is never a host pointer. Every access, from a kernel or from the host, is
//! checked to the byte against the allocations that exist at that moment.

mod bytes;
mod region;
mod space;

pub(crate) use bytes::{copy_bytes, copy_bytes_backwards};
pub use region::Region;
pub use space::AddressSpace;
pub(crate) use space::GENERIC_LIMIT;

/// Allocations start at multiples of this many bytes.
pub const ALLOCATION_ALIGNMENT: u64 = 256;

/// Why a memory operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The bytes do not all lie in allocated memory.
    #[error("The {len} bytes at device address {addr:#x} do not lie within one allocation.")]
    OutOfBounds {
        /// First device address of the access.
        addr: u64,
        /// Its length in bytes.
        len: u64,
    },
    /// An allocation was asked for at an address that no region covers.
    #[error("No region of the address space covers the {len} bytes at device address {addr:#x}.")]
    NoRegion {
        /// First device address.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// An allocation or region would overlap another one.
    #[error(
        "The {len} bytes at device address {addr:#x} overlap the range that starts at {other:#x}."
    )]
    Overlap {
        /// First device address.
        addr: u64,
        /// Length in bytes.
        len: u64,
        /// Start of the range that is already there.
        other: u64,
    },
    /// An address or pattern that must be aligned is not.
    #[error("Device address {addr:#x} is not a multiple of {align}.")]
    Misaligned {
        /// The device address.
        addr: u64,
        /// The alignment it should have.
        align: u64,
    },
    /// `free` was given an address at which no allocation starts.
    #[error("No allocation starts at device address {addr:#x}.")]
    NotAllocated {
        /// The device address.
        addr: u64,
    },
    /// A length of zero, or a range that passes the end of the address space.
    #[error("A range of {len} bytes at device address {addr:#x} is not possible.")]
    InvalidRange {
        /// First device address.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// A fill pattern whose length is not 1, 2 or 4 bytes.
    #[error("A fill pattern has 1, 2 or 4 bytes, not {len}.")]
    InvalidPattern {
        /// Length of the pattern.
        len: usize,
    },
    /// The operating system did not give the address space.
    #[error("The operating system did not map {len} bytes: {reason}.")]
    Map {
        /// Length of the mapping.
        len: u64,
        /// The system's reason.
        reason: String,
    },
}
