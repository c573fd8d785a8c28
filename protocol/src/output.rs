// SPDX-License-Identifier: MIT OR Apache-2.0
//! The output ring: what a worker has to say on the program's standard output and standard error,
//! where it does not have them itself.
//!
//! The worker appends frames (u8 kind, u32 length, text); the client takes them whenever it waits
//! for the worker. Text for which there is no room stays with the writer.

use std::sync::atomic::Ordering;

use crate::layout::{OUTPUT, OUTPUT_HEAD, OUTPUT_LEN, OUTPUT_TAIL};
use crate::shared::SharedMemory;

/// Where text belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// What kernels print.
    Output,
    /// What the worker says about them.
    Error,
}

const FRAME: usize = 5;

/// Longest text of one frame.
const MAX_TEXT: usize = OUTPUT_LEN / 4;

impl Channel {
    fn number(self) -> u8 {
        match self {
            Channel::Output => 1,
            Channel::Error => 2,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Channel::Output, Channel::Error]
            .into_iter()
            .find(|channel| channel.number() == number)
    }
}

/// Worker: appends as much of the text as there is room for; gives what is left. One thread at a
/// time.
pub fn write<'a>(memory: &SharedMemory, channel: Channel, mut text: &'a [u8]) -> &'a [u8] {
    let tail_word = memory.u64(OUTPUT_TAIL);
    let mut tail = tail_word.load(Ordering::Relaxed);
    while !text.is_empty() {
        let head = memory.u64(OUTPUT_HEAD).load(Ordering::Acquire);
        // A client that breaks the ring gets no output.
        let used = tail.wrapping_sub(head);
        let room = (OUTPUT_LEN as u64).saturating_sub(used) as usize;
        if room <= FRAME {
            break;
        }
        let (now, later) = text.split_at(text.len().min(room - FRAME).min(MAX_TEXT));
        let mut frame = [0; FRAME];
        frame[0] = channel.number();
        frame[1..].copy_from_slice(&(now.len() as u32).to_le_bytes());
        put(memory, tail, &frame);
        put(memory, tail.wrapping_add(FRAME as u64), now);
        tail = tail.wrapping_add((FRAME + now.len()) as u64);
        tail_word.store(tail, Ordering::Release);
        text = later;
    }
    text
}

/// Client: takes all that is there. One thread at a time. A worker that breaks the ring has its
/// output dropped.
pub fn drain(memory: &SharedMemory, mut take: impl FnMut(Channel, &[u8])) {
    let head_word = memory.u64(OUTPUT_HEAD);
    let mut head = head_word.load(Ordering::Relaxed);
    let tail = memory.u64(OUTPUT_TAIL).load(Ordering::Acquire);
    while head != tail {
        let available = tail.wrapping_sub(head);
        let mut frame = [0; FRAME];
        get(memory, head, &mut frame);
        let [kind, len @ ..] = frame;
        let len = u32::from_le_bytes(len) as usize;
        let broken =
            available > OUTPUT_LEN as u64 || len > MAX_TEXT || (FRAME + len) as u64 > available;
        let Some(channel) = Channel::from_number(kind).filter(|_| !broken) else {
            head = tail;
            break;
        };
        let mut text = vec![0; len];
        get(memory, head.wrapping_add(FRAME as u64), &mut text);
        take(channel, &text);
        head = head.wrapping_add((FRAME + len) as u64);
    }
    head_word.store(head, Ordering::Release);
}

/// Whether there is something to take. Costs two loads.
pub fn is_empty(memory: &SharedMemory) -> bool {
    let head = memory.u64(OUTPUT_HEAD).load(Ordering::Relaxed);
    memory.u64(OUTPUT_TAIL).load(Ordering::Acquire) == head
}

fn split(position: u64, len: usize) -> (usize, usize) {
    let at = position as usize & (OUTPUT_LEN - 1);
    (at, len.min(OUTPUT_LEN - at))
}

fn put(memory: &SharedMemory, position: u64, bytes: &[u8]) {
    let (at, first) = split(position, bytes.len());
    // Both parts lie in the ring, which lies in the control memory.
    let _ = memory.write(OUTPUT + at, &bytes[..first]) && memory.write(OUTPUT, &bytes[first..]);
}

fn get(memory: &SharedMemory, position: u64, out: &mut [u8]) {
    let (at, first) = split(position, out.len());
    let (one, two) = out.split_at_mut(first);
    // As above.
    let _ = memory.read(OUTPUT + at, one) && memory.read(OUTPUT, two);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::CONTROL_LEN;
    use proptest::prelude::*;

    fn all(memory: &SharedMemory) -> Vec<(Channel, Vec<u8>)> {
        let mut seen = Vec::new();
        drain(memory, |channel, text| seen.push((channel, text.to_vec())));
        seen
    }

    #[test]
    fn text_arrives_in_order_and_on_its_channel() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        assert!(is_empty(&memory));
        assert!(write(&memory, Channel::Output, b"one").is_empty());
        assert!(write(&memory, Channel::Error, b"two").is_empty());
        assert!(!is_empty(&memory));
        let expected = [
            (Channel::Output, b"one".to_vec()),
            (Channel::Error, b"two".to_vec()),
        ];
        assert_eq!(all(&memory), expected);
        assert!(is_empty(&memory));
    }

    #[test]
    fn what_does_not_fit_stays_with_the_writer_until_there_is_room() {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        let text: Vec<u8> = (0..OUTPUT_LEN * 3)
            .map(|i| (i * 7 + i / 251) as u8)
            .collect();
        let mut rest = &text[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let left = write(&memory, Channel::Output, rest);
            assert!(left.len() < rest.len());
            rest = left;
            drain(&memory, |_, part| seen.extend_from_slice(part));
        }
        assert!(seen == text);
    }

    proptest! {
        #[test]
        fn a_broken_ring_ends_no_side(bytes in proptest::collection::vec(any::<u8>(), 0..600), head in any::<u64>(), tail in any::<u64>()) {
            let memory = SharedMemory::anonymous(CONTROL_LEN);
            prop_assert!(memory.write(OUTPUT, &bytes));
            memory.u64(OUTPUT_HEAD).store(head, Ordering::Relaxed);
            memory.u64(OUTPUT_TAIL).store(tail, Ordering::Relaxed);
            drain(&memory, |_, _| ());
            memory.u64(OUTPUT_HEAD).store(head, Ordering::Relaxed);
            write(&memory, Channel::Output, &bytes);
        }
    }
}
