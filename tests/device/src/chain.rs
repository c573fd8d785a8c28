// SPDX-License-Identifier: MIT OR Apache-2.0
//! A descriptor chain of a request: what it brings along, what it asks for, where its bytes are.

use std::fmt;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

pub type Memory = GuestMemoryMmap<()>;

/// Bytes of `struct virtio_vcuda_request`.
const REQUEST_LEN: u64 = 48;
/// Bytes of `struct virtio_vcuda_response`.
pub const RESPONSE_LEN: u64 = 16;

/// The operations of `enum virtio_vcuda_op`.
pub mod op {
    pub const HELLO: u32 = 1;
    pub const SESSION_OPEN: u32 = 2;
    pub const SESSION_CLOSE: u32 = 3;
    pub const START: u32 = 4;
    pub const KICK: u32 = 5;
    pub const MEMORY_ADD: u32 = 6;
    pub const MEMORY_REMOVE: u32 = 7;
    pub const TRANSFER: u32 = 8;
}

/// `VIRTIO_VCUDA_S_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Status {
    Ok = 0,
    Invalid = 1,
    NoSession = 2,
    Ended = 3,
    NoMemory = 4,
}

/// `struct virtio_vcuda_request`.
#[derive(Clone, Debug, Default)]
pub struct Header {
    pub op: u32,
    pub session: u32,
    pub kind: u32,
    pub id: u64,
    pub address: u64,
    pub offset: u64,
    pub len: u64,
}

/// A run of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub address: u64,
    pub len: u64,
}

/// A request that the device holds: its chain is not returned yet.
#[derive(Clone)]
pub struct Chain {
    pub queue: usize,
    pub head: u16,
    pub header: Header,
    /// What follows the header.
    pub readable: Vec<Segment>,
    /// Where the response goes.
    response: Option<GuestAddress>,
    /// What follows the response.
    pub writable: Vec<Segment>,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "chain {} of queue {}: {:?}",
            self.head, self.queue, self.header
        )
    }
}

impl Chain {
    /// Reads a chain given as its descriptors: address, length and whether the device writes it.
    ///
    /// # Errors
    /// What is wrong with it, for the log.
    pub fn parse(
        memory: &Memory,
        queue: usize,
        head: u16,
        descriptors: impl Iterator<Item = (GuestAddress, u32, bool)>,
    ) -> Result<Self, String> {
        let (mut readable, mut writable) = (Vec::new(), Vec::new());
        for (address, len, device_writes) in descriptors {
            if !memory.check_range(address, len as usize) || len == 0 {
                return Err(format!(
                    "{len} bytes at {address:?} are no memory of the guest"
                ));
            }
            if !device_writes && !writable.is_empty() {
                return Err("a readable descriptor follows a writable one".into());
            }
            let list = if device_writes {
                &mut writable
            } else {
                &mut readable
            };
            list.push(Segment {
                address: address.0,
                len: len.into(),
            });
        }
        let Some(first) = readable
            .first()
            .copied()
            .filter(|first| first.len == REQUEST_LEN)
        else {
            return Err("the chain does not begin with a request".into());
        };
        readable.remove(0);
        let mut bytes = [0; REQUEST_LEN as usize];
        memory
            .read_slice(&mut bytes, GuestAddress(first.address))
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        let response = writable
            .first()
            .copied()
            .filter(|first| first.len == RESPONSE_LEN);
        if response.is_none() {
            return Err("there is no room for the response".into());
        }
        writable.remove(0);
        Ok(Self {
            queue,
            head,
            header: Header {
                op: word(&bytes, 0),
                session: word(&bytes, 4),
                kind: word(&bytes, 12),
                id: long(&bytes, 16),
                address: long(&bytes, 24),
                offset: long(&bytes, 32),
                len: long(&bytes, 40),
            },
            readable,
            response: response.map(|segment| GuestAddress(segment.address)),
            writable,
        })
    }

    /// The bytes that the request brings along.
    pub fn payload(&self, memory: &Memory) -> Vec<u8> {
        read(memory, &self.readable)
    }

    /// Writes the response; returns the length to be used.
    pub fn respond(
        &self,
        memory: &Memory,
        status: u32,
        session: u32,
        value: u64,
        written: u64,
    ) -> u32 {
        let mut bytes = [0; RESPONSE_LEN as usize];
        bytes[0..4].copy_from_slice(&status.to_le_bytes());
        bytes[4..8].copy_from_slice(&session.to_le_bytes());
        bytes[8..16].copy_from_slice(&value.to_le_bytes());
        if let Some(address) = self.response {
            // The range was checked when the chain was read.
            let _ = memory.write_slice(&bytes, address);
        }
        u32::try_from(RESPONSE_LEN + written).unwrap_or(u32::MAX)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

/// Bytes of all segments.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.len).sum()
}

/// Reads segments that were checked.
pub fn read(memory: &Memory, segments: &[Segment]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in segments {
        let at = bytes.len();
        bytes.resize(at + segment.len as usize, 0);
        let _ = memory.read_slice(&mut bytes[at..], GuestAddress(segment.address));
    }
    bytes
}

/// Writes to segments that were checked; `bytes` has their length.
pub fn write(memory: &Memory, segments: &[Segment], mut bytes: &[u8]) {
    for segment in segments {
        let (now, later) = bytes.split_at((segment.len as usize).min(bytes.len()));
        let _ = memory.write_slice(now, GuestAddress(segment.address));
        bytes = later;
    }
}
