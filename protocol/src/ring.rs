// SPDX-License-Identifier: MIT OR Apache-2.0
//! The command ring: messages from one producer to one consumer through shared memory.
//!
//! The ring is a stream of bytes: `tail` counts all bytes ever written, `head` all bytes ever
//! read. A message is a u32 length, the bytes, and padding to a cache line; it may wrap. A side
//! that waits spins for microseconds, then says that it sleeps and blocks; the other side rings
//! only then.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

use crate::layout::*;
use crate::notify::Notify;
use crate::shared::SharedMemory;
use crate::wire::MAX_MESSAGE;

/// How long a side spins before it sleeps, where both sides have this machine's processors: a
/// millisecond where there are some to spare, little where somebody else may need this one.
pub fn spin() -> Duration {
    match are_processors_few() {
        false => LONG_SPIN,
        true => Duration::from_micros(20),
    }
}

/// As long as a side ever spins.
pub const LONG_SPIN: Duration = Duration::from_millis(1);

fn are_processors_few() -> bool {
    const MANY: usize = 8;
    static FEW: OnceLock<bool> = OnceLock::new();
    *FEW.get_or_init(|| std::thread::available_parallelism().map_or(1, usize::from) < MANY)
}

/// What a side does between two looks.
pub fn relax() {
    std::hint::spin_loop();
    if are_processors_few() {
        // Whoever is waited for may be waiting for this processor.
        std::thread::yield_now();
    }
}

/// Looks without a pause until `ready`, or for `time` at least. Gives whether it is ready.
pub(crate) fn look_for(time: Duration, ready: impl Fn() -> bool) -> bool {
    // To ask the clock and to yield are system calls in some virtual machines, each as long as
    // hundreds of looks. So many take from 15 to 200 microseconds.
    let looks = match time < LONG_SPIN {
        true => 16,
        false => 4096,
    };
    let mut start = None;
    loop {
        for _ in 0..looks {
            if ready() {
                return true;
            }
            std::hint::spin_loop();
        }
        if start.get_or_insert_with(Instant::now).elapsed() >= time {
            return ready();
        }
        relax();
    }
}

/// The other side broke the ring's rules. Nothing that it wrote can be trusted any more.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    #[error("The ring's tail {tail} is not within {RING_LEN} bytes of its head {head}.")]
    Position { head: u64, tail: u64 },
    #[error("A message in the ring claims {len} bytes where {available} were written.")]
    Length { len: u32, available: u64 },
    #[error("A message of {0} bytes exceeds the limit of {MAX_MESSAGE}.")]
    TooLong(usize),
    #[error("The ring needs {CONTROL_LEN} bytes of shared memory and has {0}.")]
    Memory(usize),
}

/// Messages begin on cache lines of their own, so that one is read while the next is written.
const LINE: u64 = 64;

fn framed(len: usize) -> u64 {
    (len as u64 + 4).next_multiple_of(LINE)
}

fn check_memory(memory: &SharedMemory) -> Result<(), RingError> {
    match memory.len() {
        len if len < CONTROL_LEN => Err(RingError::Memory(len)),
        _ => Ok(()),
    }
}

/// Spins, then sleeps on `asleep`, until `ready` or `timeout`. The other side calls [`rouse`]
/// after each change that may make it ready.
fn await_change(
    notify: &dyn Notify,
    asleep: &AtomicU32,
    (spin, timeout): (Duration, Duration),
    ready: impl Fn() -> bool,
) -> bool {
    if look_for(spin, &ready) {
        return true;
    }
    let start = Instant::now();
    asleep.store(1, Ordering::Relaxed);
    // Orders the store before the last look, as the other side orders its change before its look
    // at `asleep`: one of the two sees the other.
    fence(Ordering::SeqCst);
    while !ready() {
        let Some(rest) = timeout.checked_sub(start.elapsed()) else {
            break;
        };
        if asleep.load(Ordering::Relaxed) == 0 {
            asleep.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            continue;
        }
        notify.wait(asleep, 1, rest);
    }
    asleep.store(0, Ordering::Relaxed);
    ready()
}

fn rouse(notify: &dyn Notify, asleep: &AtomicU32) {
    fence(Ordering::SeqCst);
    if asleep.load(Ordering::Relaxed) == 1 && asleep.swap(0, Ordering::Relaxed) == 1 {
        notify.wake(asleep);
    }
}

/// The writing end. The client guards it with a lock: its order is the session's order.
pub struct Producer {
    memory: SharedMemory,
    tail: u64,
    /// The last head seen, so that the other side's cache line is read only when space runs out.
    head: u64,
}

impl Producer {
    pub fn new(memory: SharedMemory) -> Result<Self, RingError> {
        check_memory(&memory)?;
        Ok(Producer {
            memory,
            tail: 0,
            head: 0,
        })
    }

    fn space(&mut self) -> u64 {
        // A consumer that claims to be ahead would make room that is not there.
        self.head = self.head.max(
            self.memory
                .u64(RING_HEAD)
                .load(Ordering::Acquire)
                .min(self.tail),
        );
        RING_LEN as u64 - (self.tail - self.head)
    }

    /// Writes a message if there is room. `Ok(false)`: the ring is full.
    pub fn try_push(&mut self, message: &[u8], notify: &dyn Notify) -> Result<bool, RingError> {
        if message.len() > MAX_MESSAGE {
            return Err(RingError::TooLong(message.len()));
        }
        let need = framed(message.len());
        if RING_LEN as u64 - (self.tail - self.head) < need && self.space() < need {
            return Ok(false);
        }
        self.put(self.tail, &(message.len() as u32).to_le_bytes());
        self.put(self.tail + 4, message);
        self.tail += need;
        self.memory
            .u64(RING_TAIL)
            .store(self.tail, Ordering::Release);
        rouse(notify, self.memory.u32(CONSUMER_ASLEEP));
        self.expect_writes();
        Ok(true)
    }

    /// Fetches the lines that the next messages go to, which the other side has had.
    fn expect_writes(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in 2..6 {
            use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
            let at = (self.tail as usize + line * 64) & (RING_LEN - 1);
            if let Some(line) = self.memory.range(RING + at, 1) {
                // SAFETY: a hint about an address, which reads and writes nothing.
                unsafe { _mm_prefetch::<_MM_HINT_ET0>(line.cast()) };
            }
        }
    }

    /// Waits until a message of `len` bytes may fit, or `timeout`.
    pub fn wait_for_space(&mut self, len: usize, notify: &dyn Notify, timeout: Duration) -> bool {
        let need = framed(len);
        let memory = self.memory.clone();
        let tail = self.tail;
        let times = (notify.spin(), timeout);
        await_change(notify, memory.u32(PRODUCER_ASLEEP), times, || {
            let head = memory.u64(RING_HEAD).load(Ordering::Acquire).min(tail);
            RING_LEN as u64 - (tail - head) >= need
        })
    }

    fn put(&self, position: u64, bytes: &[u8]) {
        let at = position as usize & (RING_LEN - 1);
        let ok = match bytes.split_at_checked(RING_LEN - at) {
            None => self.memory.write(RING + at, bytes),
            Some((first, rest)) => {
                self.memory.write(RING + at, first) && self.memory.write(RING, rest)
            }
        };
        debug_assert!(ok, "the ring lies in the memory");
    }
}

/// The reading end, which trusts nothing that it reads.
pub struct Consumer {
    memory: SharedMemory,
    head: u64,
    /// The last tail seen, so that the other side's cache line is read only when all is consumed.
    tail: u64,
}

impl Consumer {
    pub fn new(memory: SharedMemory) -> Result<Self, RingError> {
        check_memory(&memory)?;
        Ok(Consumer {
            memory,
            head: 0,
            tail: 0,
        })
    }

    /// Copies the next message out into `message`. `Ok(false)`: there is none.
    pub fn pop(&mut self, message: &mut Vec<u8>, notify: &dyn Notify) -> Result<bool, RingError> {
        if self.tail == self.head {
            let tail = self.memory.u64(RING_TAIL).load(Ordering::Acquire);
            if tail.wrapping_sub(self.head) > RING_LEN as u64 {
                return Err(RingError::Position {
                    head: self.head,
                    tail,
                });
            }
            self.tail = tail;
        }
        let available = self.tail.wrapping_sub(self.head);
        if available == 0 {
            return Ok(false);
        }
        let mut len = [0; 4];
        self.get(self.head, &mut len);
        let len = u32::from_le_bytes(len);
        if framed(len as usize) > available {
            return Err(RingError::Length { len, available });
        }
        if len as usize > MAX_MESSAGE {
            return Err(RingError::TooLong(len as usize));
        }
        message.resize(len as usize, 0);
        self.get(self.head + 4, message);
        self.head += framed(len as usize);
        self.memory
            .u64(RING_HEAD)
            .store(self.head, Ordering::Release);
        rouse(notify, self.memory.u32(PRODUCER_ASLEEP));
        Ok(true)
    }

    /// Waits until a message is there, or `timeout`.
    pub fn wait(&self, notify: &dyn Notify, timeout: Duration) -> bool {
        self.wait_spinning(notify, (notify.spin(), timeout))
    }

    /// The same, asleep from the beginning.
    pub fn sleep(&self, notify: &dyn Notify, timeout: Duration) -> bool {
        self.wait_spinning(notify, (Duration::ZERO, timeout))
    }

    fn wait_spinning(&self, notify: &dyn Notify, times: (Duration, Duration)) -> bool {
        await_change(notify, self.memory.u32(CONSUMER_ASLEEP), times, || {
            self.memory.u64(RING_TAIL).load(Ordering::Acquire) != self.head
        })
    }

    fn get(&self, position: u64, out: &mut [u8]) {
        let at = position as usize & (RING_LEN - 1);
        let first = out.len().min(RING_LEN - at);
        let (before, after) = out.split_at_mut(first);
        let ok = self.memory.read(RING + at, before) && self.memory.read(RING, after);
        debug_assert!(ok, "the ring lies in the memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::Yield;
    use proptest::prelude::*;

    fn pair() -> (SharedMemory, Producer, Consumer) {
        let memory = SharedMemory::anonymous(CONTROL_LEN);
        (
            memory.clone(),
            Producer::new(memory.clone()).unwrap(),
            Consumer::new(memory).unwrap(),
        )
    }

    #[test]
    fn messages_arrive_whole_and_in_order_across_the_wrap() {
        let (_, mut producer, mut consumer) = pair();
        let reader = std::thread::spawn(move || {
            let mut message = Vec::new();
            for i in 0..2000u32 {
                while !consumer.pop(&mut message, &Yield).unwrap() {
                    consumer.wait(&Yield, Duration::from_secs(10));
                }
                assert_eq!(message.len() as u32, i * 7 % 9000);
                assert!(message.iter().all(|&b| b == i as u8));
            }
        });
        for i in 0..2000u32 {
            let message = vec![i as u8; (i * 7 % 9000) as usize];
            while !producer.try_push(&message, &Yield).unwrap() {
                producer.wait_for_space(message.len(), &Yield, Duration::from_secs(10));
            }
        }
        reader.join().unwrap();
    }

    #[test]
    fn a_full_ring_takes_no_more_until_something_is_read() {
        let (_, mut producer, mut consumer) = pair();
        let message = vec![1; MAX_MESSAGE];
        let mut pushed = 0;
        while producer.try_push(&message, &Yield).unwrap() {
            pushed += 1;
        }
        assert_eq!(pushed, RING_LEN / framed(MAX_MESSAGE) as usize);
        assert!(consumer.pop(&mut Vec::new(), &Yield).unwrap());
        assert!(producer.try_push(&message, &Yield).unwrap());
    }

    #[test]
    fn a_tail_out_of_range_is_refused() {
        let (memory, _, mut consumer) = pair();
        memory.u64(RING_TAIL).store(u64::MAX, Ordering::Release);
        assert!(matches!(
            consumer.pop(&mut Vec::new(), &Yield),
            Err(RingError::Position { .. })
        ));
    }

    #[test]
    fn a_length_beyond_what_was_written_is_refused() {
        let (memory, _, mut consumer) = pair();
        assert!(memory.write(RING, &100u32.to_le_bytes()));
        memory.u64(RING_TAIL).store(8, Ordering::Release);
        assert!(matches!(
            consumer.pop(&mut Vec::new(), &Yield),
            Err(RingError::Length { len: 100, .. })
        ));
    }

    proptest! {
        #[test]
        fn random_ring_content_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..4096), tail in any::<u64>()) {
            let (memory, _, mut consumer) = pair();
            prop_assert!(memory.write(RING, &bytes));
            memory.u64(RING_TAIL).store(tail, Ordering::Release);
            let mut message = Vec::new();
            for _ in 0..64 {
                match consumer.pop(&mut message, &Yield) {
                    Ok(true) => { let _ = crate::wire::decode(&message); }
                    _ => break,
                }
            }
        }
    }
}
