// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where things are in the two pieces of shared memory of a session.
//!
//! The *control* memory holds the command ring, the reply slots and a few words. The *window* is
//! bulk memory, mapped by both sides at one address: its first part is the staging area, in
//! chunks, through which pageable memory travels; the rest is pinned and managed host memory.
//!
//! Words that different sides write lie on cache lines of their own.

/// First word of the control memory.
pub const MAGIC: u32 = 0x4355_4356; // "VCUC", little-endian

pub const MAGIC_WORD: usize = 0x000;
/// u64, written by the producer: bytes ever written to the ring.
pub const RING_TAIL: usize = 0x040;
/// u64, written by the consumer: bytes ever read from the ring.
pub const RING_HEAD: usize = 0x080;
/// u32: the consumer sets it to 1 before it sleeps; the producer wakes it.
pub const CONSUMER_ASLEEP: usize = 0x0c0;
/// u32: the producer sets it to 1 before it sleeps on a full ring; the consumer wakes it.
pub const PRODUCER_ASLEEP: usize = 0x100;

/// Devices that one session can have.
pub const MAX_DEVICES: usize = 16;
/// u32 for each device: its sticky error, after which every call fails with it until a reset.
pub const STICKY_ERRORS: usize = 0x140;
/// u32 for each device: the first asynchronous error that no call has reported yet. The client
/// takes it.
pub const PENDING_ERRORS: usize = 0x180;

/// Texels of arrays have addresses beside those of a device's memory ([`crate::Array`]): from so
/// far behind the beginning of its heap on, as many as its heap has, and no more than this.
pub const ARRAYS_OFFSET: u64 = 640 << 30;
pub const MAX_ARRAYS_LEN: u64 = 128 << 30;

/// u64, written by the worker: bytes ever written to the output ring.
pub const OUTPUT_TAIL: usize = 0x1c0;
/// u64, written by the client: bytes ever read from the output ring.
pub const OUTPUT_HEAD: usize = 0x200;

/// u32 for each staging chunk: 1 while a posted command still needs it; the host sets 0 and wakes.
pub const STAGING_BUSY: usize = 0x400;
pub const STAGING_BUSY_STRIDE: usize = 64;
pub const STAGING_CHUNKS: usize = 16;
pub const STAGING_CHUNK_LEN: u64 = 4 << 20;
/// The staging area is the window's start; what follows is for allocations.
pub const STAGING_LEN: u64 = STAGING_CHUNKS as u64 * STAGING_CHUNK_LEN;

pub const SLOTS: usize = 0x1000;
/// Slots for calls, whose replies may carry data. They come first.
pub const CALL_SLOTS: usize = 128;
/// Slots for host functions, many more than threads that wait: each function that is issued has one
/// until it is called. Their replies are short.
pub const FUNCTION_SLOTS: usize = 896;
pub const SLOT_COUNT: usize = CALL_SLOTS + FUNCTION_SLOTS;
pub const SLOT_LEN: usize = 16 << 10;
pub const FUNCTION_SLOT_LEN: usize = 128;
/// Within a slot: u32 state, u32 length, then the reply.
pub const SLOT_STATE: usize = 0;
pub const SLOT_REPLY_LEN: usize = 4;
pub const SLOT_REPLY: usize = 16;
pub const MAX_REPLY: usize = SLOT_LEN - SLOT_REPLY;
pub const MAX_FUNCTION_REPLY: usize = FUNCTION_SLOT_LEN - SLOT_REPLY;
/// Most bytes of a copy that return in a reply: what is left beside status, tag and length.
pub const MAX_REPLY_DATA: usize = MAX_REPLY - 64;

pub const OUTPUT: usize = SLOTS + CALL_SLOTS * SLOT_LEN + FUNCTION_SLOTS * FUNCTION_SLOT_LEN;
/// A power of two: what kernels print until the program reads it.
pub const OUTPUT_LEN: usize = 256 << 10;

pub const RING: usize = OUTPUT + OUTPUT_LEN;
/// A power of two. A burst of ten thousand launches fits. In a virtual machine all of the control
/// memory is there for each process, touched or not.
pub const RING_LEN: usize = 1 << 20;

/// Whole pages.
pub const CONTROL_LEN: usize = RING + RING_LEN;

const _: () = {
    assert!(RING_LEN.is_power_of_two());
    assert!(OUTPUT_LEN.is_power_of_two());
    assert!(CONTROL_LEN.is_multiple_of(4096));
    assert!(crate::wire::MAX_MESSAGE * 4 < RING_LEN);
    assert!(STICKY_ERRORS + MAX_DEVICES * 4 <= PENDING_ERRORS);
    assert!(PENDING_ERRORS + MAX_DEVICES * 4 <= OUTPUT_TAIL);
    assert!(OUTPUT_HEAD + 8 <= STAGING_BUSY);
    assert!(STAGING_BUSY + STAGING_CHUNKS * STAGING_BUSY_STRIDE <= SLOTS);
};
