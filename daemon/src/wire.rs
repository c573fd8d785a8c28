// SPDX-License-Identifier: MIT OR Apache-2.0
//! What driver and device say to each other, as
//! `guest-driver-c/include/uapi/linux/virtio_vcuda.h` has it. All little-endian.

pub const MAGIC: u32 = 0x4144_5543;
pub const VERSION: u32 = 1;

pub const QUEUE_CONTROL: usize = 0;
pub const QUEUE_EVENT: usize = 1;
/// This and those that follow carry transfers.
pub const QUEUE_TRANSFER: usize = 2;

pub const MAX_SEGMENTS: usize = 512;
pub const MAX_GREETING: usize = 65536;

pub const OP_HELLO: u32 = 1;
pub const OP_SESSION_OPEN: u32 = 2;
pub const OP_SESSION_CLOSE: u32 = 3;
pub const OP_START: u32 = 4;
pub const OP_KICK: u32 = 5;
pub const OP_MEMORY_ADD: u32 = 6;
pub const OP_MEMORY_REMOVE: u32 = 7;
pub const OP_TRANSFER: u32 = 8;

pub const MEMORY_CONTROL: u32 = 1;
pub const MEMORY_WINDOW: u32 = 2;
pub const MEMORY_USER: u32 = 3;

pub const TO_DEVICE: u32 = 1;
pub const FROM_DEVICE: u32 = 2;

pub const EVENT_WAKE: u32 = 1;
pub const EVENT_ENDED: u32 = 2;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ok = 0,
    Invalid = 1,
    NoSession = 2,
    Ended = 3,
    NoMemory = 4,
    Failed = 5,
}

/// `struct virtio_vcuda_request`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub op: u32,
    pub session: u32,
    pub thread: u32,
    pub kind: u32,
    pub id: u64,
    pub address: u64,
    pub offset: u64,
    pub len: u64,
}

pub const REQUEST_LEN: usize = 48;
pub const RESPONSE_LEN: usize = 16;
pub const SEGMENT_LEN: usize = 16;
pub const EVENT_LEN: usize = 8;
pub const CONFIG_LEN: usize = 32;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

impl Request {
    pub fn from_bytes(bytes: &[u8; REQUEST_LEN]) -> Self {
        Request {
            op: u32_at(bytes, 0),
            session: u32_at(bytes, 4),
            thread: u32_at(bytes, 8),
            kind: u32_at(bytes, 12),
            id: u64_at(bytes, 16),
            address: u64_at(bytes, 24),
            offset: u64_at(bytes, 32),
            len: u64_at(bytes, 40),
        }
    }

    pub fn to_bytes(self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        let words = [self.op, self.session, self.thread, self.kind];
        for (at, word) in words.into_iter().enumerate() {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
        }
        let longs = [self.id, self.address, self.offset, self.len];
        for (at, long) in longs.into_iter().enumerate() {
            bytes[16 + at * 8..24 + at * 8].copy_from_slice(&long.to_le_bytes());
        }
        bytes
    }
}

/// `struct virtio_vcuda_response`
pub fn response(status: Status, session: u32, value: u64) -> [u8; RESPONSE_LEN] {
    let mut bytes = [0; RESPONSE_LEN];
    bytes[..4].copy_from_slice(&(status as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&session.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// `struct virtio_vcuda_segment[]`: address and length of each.
pub fn segments(bytes: &[u8]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let whole = bytes.chunks_exact(SEGMENT_LEN);
    whole.map(|segment| (u64_at(segment, 0), u64_at(segment, 8)))
}

/// `struct virtio_vcuda_event`
pub fn event(kind: u32, session: u32) -> [u8; EVENT_LEN] {
    let mut bytes = [0; EVENT_LEN];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..].copy_from_slice(&session.to_le_bytes());
    bytes
}

/// `struct virtio_vcuda_config`
pub fn config(queues: usize) -> [u8; CONFIG_LEN] {
    let mut bytes = [0; CONFIG_LEN];
    for (at, word) in [MAGIC, VERSION, queues as u32].into_iter().enumerate() {
        bytes[at * 4..at * 4 + 4].copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

#[cfg(test)]
#[path = "../../guest-driver-c/tests/header.rs"]
mod header;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_those_of_the_drivers_header() {
        let checks = format!(
            "#define SIZE(type, len) _Static_assert(sizeof(struct virtio_vcuda_##type) == len, #type);\n\
             #define AT(type, field, at) _Static_assert(offsetof(struct virtio_vcuda_##type, field) == at, #field);\n\
             #define SAME(name, value) _Static_assert(VIRTIO_VCUDA_##name == value, #name);\n\
             SIZE(request, {REQUEST_LEN}) SIZE(response, {RESPONSE_LEN}) SIZE(segment, {SEGMENT_LEN})\n\
             SIZE(event, {EVENT_LEN}) SIZE(config, {CONFIG_LEN})\n\
             AT(request, kind, 12) AT(request, id, 16) AT(request, len, 40) AT(response, value, 8)\n\
             SAME(MAGIC, {MAGIC}) SAME(VERSION, {VERSION}) SAME(MAX_SEGMENTS, {MAX_SEGMENTS})\n\
             SAME(MAX_GREETING, {MAX_GREETING}) SAME(OP_HELLO, {OP_HELLO})\n\
             SAME(OP_SESSION_OPEN, {OP_SESSION_OPEN}) SAME(OP_SESSION_CLOSE, {OP_SESSION_CLOSE})\n\
             SAME(OP_START, {OP_START}) SAME(OP_KICK, {OP_KICK}) SAME(OP_MEMORY_ADD, {OP_MEMORY_ADD})\n\
             SAME(OP_MEMORY_REMOVE, {OP_MEMORY_REMOVE}) SAME(OP_TRANSFER, {OP_TRANSFER})\n\
             SAME(MEMORY_CONTROL, {MEMORY_CONTROL}) SAME(MEMORY_WINDOW, {MEMORY_WINDOW})\n\
             SAME(MEMORY_USER, {MEMORY_USER}) SAME(TO_DEVICE, {TO_DEVICE})\n\
             SAME(FROM_DEVICE, {FROM_DEVICE}) SAME(EVENT_WAKE, {EVENT_WAKE})\n\
             SAME(EVENT_ENDED, {EVENT_ENDED}) SAME(S_INVALID, {}) SAME(S_NO_SESSION, {})\n\
             SAME(S_ENDED, {}) SAME(S_NO_MEMORY, {}) SAME(S_FAILED, {})\n\
             SAME(QUEUE_EVENT, {QUEUE_EVENT}) SAME(QUEUE_TRANSFER, {QUEUE_TRANSFER})\n",
            Status::Invalid as u32,
            Status::NoSession as u32,
            Status::Ended as u32,
            Status::NoMemory as u32,
            Status::Failed as u32,
        );
        header::assert_c("virtio_vcuda.h", &checks);
    }

    #[test]
    fn a_request_comes_back_as_it_was() {
        let request = Request {
            op: 1,
            session: 2,
            thread: 3,
            kind: 4,
            id: 5 << 40,
            address: 6,
            offset: 7,
            len: u64::MAX,
        };
        assert_eq!(Request::from_bytes(&request.to_bytes()), request);
    }
}
