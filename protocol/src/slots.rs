// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reply slots: where the host puts the answer of one command, in whatever order answers come.
//!
//! A client thread takes a free slot, sends a command that names it and waits on the slot's state
//! word; the host writes the reply and sets the state. No thread waits for another's answer.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::layout::*;
use crate::notify::Notify;
use crate::ring::look_for;
use crate::shared::SharedMemory;
use crate::types::{Reply, Status};
use crate::wire::{self, WireError};

const PENDING: u32 = 1;
const ASLEEP: u32 = 2;
const DONE: u32 = 3;

/// A reply that could not be delivered or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SlotError {
    #[error("Reply slot {0} does not exist; there are {SLOT_COUNT}.")]
    NoSuchSlot(u16),
    #[error("A reply of {len} bytes does not fit slot {slot}, which has {room}.")]
    TooLong { slot: u16, len: usize, room: usize },
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Where a slot lies, and the bytes that its reply may have.
fn place(slot: u16) -> Result<(usize, usize), SlotError> {
    match slot as usize {
        index if index < CALL_SLOTS => Ok((SLOTS + index * SLOT_LEN, MAX_REPLY)),
        index if index < SLOT_COUNT => {
            let functions = SLOTS + CALL_SLOTS * SLOT_LEN;
            let offset = functions + (index - CALL_SLOTS) * FUNCTION_SLOT_LEN;
            Ok((offset, MAX_FUNCTION_REPLY))
        }
        _ => Err(SlotError::NoSuchSlot(slot)),
    }
}

/// Client: makes a slot ready for an answer, before its command is sent.
pub fn arm(memory: &SharedMemory, slot: u16) -> Result<(), SlotError> {
    memory
        .u32(place(slot)?.0 + SLOT_STATE)
        .store(PENDING, Ordering::Relaxed);
    Ok(())
}

/// Client: waits for the answer, at most for `timeout`. `None`: not yet.
pub fn wait(
    memory: &SharedMemory,
    slot: u16,
    notify: &dyn Notify,
    timeout: Duration,
) -> Result<Option<Result<Reply, Status>>, SlotError> {
    let (base, room) = place(slot)?;
    let state = memory.u32(base + SLOT_STATE);
    let is_done = || state.load(Ordering::Acquire) == DONE;
    if !look_for(notify.spin(), is_done) {
        let start = Instant::now();
        loop {
            let seen = state.compare_exchange(PENDING, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
            if seen == Err(DONE) {
                break;
            }
            let Some(rest) = timeout.checked_sub(start.elapsed()) else {
                return Ok(None);
            };
            notify.wait(state, ASLEEP, rest);
        }
    }
    let len = memory.u32(base + SLOT_REPLY_LEN).load(Ordering::Relaxed) as usize;
    let too_long = SlotError::TooLong { slot, len, room };
    if len > room {
        return Err(too_long);
    }
    let mut bytes = vec![0; len];
    if !memory.read(base + SLOT_REPLY, &mut bytes) {
        return Err(too_long);
    }
    Ok(Some(wire::decode_reply(&bytes)?))
}

/// Host: answers a command.
pub fn answer(
    memory: &SharedMemory,
    slot: u16,
    reply: &Result<Reply, Status>,
    notify: &dyn Notify,
) -> Result<(), SlotError> {
    let (base, room) = place(slot)?;
    let mut bytes = Vec::with_capacity(64);
    wire::encode_reply(&mut bytes, reply)?;
    let len = bytes.len();
    if len > room || !memory.write(base + SLOT_REPLY, &bytes) {
        return Err(SlotError::TooLong { slot, len, room });
    }
    memory
        .u32(base + SLOT_REPLY_LEN)
        .store(bytes.len() as u32, Ordering::Relaxed);
    let state = memory.u32(base + SLOT_STATE);
    if state.swap(DONE, Ordering::AcqRel) == ASLEEP {
        notify.wake(state);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Yield;
    use crate::types::Bytes;

    #[test]
    fn an_answer_reaches_the_thread_that_waits() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        arm(&memory, 5).unwrap();
        let other = memory.clone();
        let host = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            answer(
                &other,
                5,
                &Ok(Reply::Data(Bytes(vec![9; MAX_REPLY_DATA]))),
                &Yield,
            )
            .unwrap();
        });
        let reply = wait(&memory, 5, &Yield, Duration::from_secs(10)).unwrap();
        assert_eq!(reply, Some(Ok(Reply::Data(Bytes(vec![9; MAX_REPLY_DATA])))));
        host.join().unwrap();
    }

    #[test]
    fn no_answer_in_time_is_none_and_a_late_one_still_arrives() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        arm(&memory, 0).unwrap();
        let none = wait(&memory, 0, &Yield, Duration::from_millis(1)).unwrap();
        assert_eq!(none, None);
        answer(&memory, 0, &Err(Status(600)), &Yield).unwrap();
        let late = wait(&memory, 0, &Yield, Duration::from_millis(1)).unwrap();
        assert_eq!(late, Some(Err(Status(600))));
    }

    #[test]
    fn a_slot_that_does_not_exist_is_refused() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        let refused = answer(&memory, SLOT_COUNT as u16, &Ok(Reply::Done), &Yield);
        assert!(matches!(refused, Err(SlotError::NoSuchSlot(_))));
    }

    #[test]
    fn a_reply_longer_than_a_slot_is_refused() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        let long = Ok(Reply::Data(Bytes(vec![0; MAX_REPLY + 1])));
        assert!(matches!(
            answer(&memory, 1, &long, &Yield),
            Err(SlotError::TooLong { .. })
        ));
    }

    #[test]
    fn a_host_function_slot_has_room_for_short_replies() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        let (first, last) = (CALL_SLOTS as u16, SLOT_COUNT as u16 - 1);
        for slot in [first, last] {
            answer(&memory, slot, &Ok(Reply::Done), &Yield).unwrap();
            let reply = wait(&memory, slot, &Yield, Duration::from_millis(1)).unwrap();
            assert_eq!(reply, Some(Ok(Reply::Done)));
        }
        let data = Ok(Reply::Data(Bytes(vec![0; MAX_FUNCTION_REPLY])));
        assert!(matches!(
            answer(&memory, first, &data, &Yield),
            Err(SlotError::TooLong { .. })
        ));
    }
}
