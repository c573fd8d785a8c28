// SPDX-License-Identifier: MIT OR Apache-2.0
//! The client's end of a session: commands out, replies in.
//!
//! A process has at most one session. It starts with the first call that needs a device, and it
//! dies with the process; nothing here is torn down at exit, because a program may call CUDA from
//! its own exit handlers.

pub(crate) mod heap;
pub(crate) mod parallel_copy;
mod process;
mod staging;
mod start;
mod used;
mod worker;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error;
use parking_lot::{Condvar, Mutex};
use vcuda_protocol::output::{self, Channel};
use vcuda_protocol::ring::Producer;
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{Command, Header, Reply, Status, layout, slots, wire};
use vcuda_transport::link::Link;

use crate::{Result, host_functions, thread};

pub(crate) use staging::Chunk;

/// Slots for calls; the others are for host functions, which are answered when they are due.
const CALL_SLOTS: u16 = layout::CALL_SLOTS as u16;

/// Commands that may be posted beyond a host function that has not returned. The worker holds so
/// many back without refusing more, which would keep it from hearing that the function returned:
/// a GPU's stream takes about a thousand.
const MAX_BEYOND_FUNCTION: u64 = 512;

/// How often a thread that is so far ahead looks again.
pub(crate) const FUNCTION_LOOK: Duration = Duration::from_micros(200);

/// How often a waiting thread looks whether the worker still lives.
const HEARTBEAT: Duration = Duration::from_millis(50);

pub(crate) struct Session {
    control: SharedMemory,
    /// Bulk memory that the worker has mapped at the same address. In a virtual machine only
    /// what was [backed](Session::back) is there.
    pub(crate) window: SharedMemory,
    pub(crate) window_base: u64,
    pub(crate) link: Box<dyn Link>,
    order: Mutex<Order>,
    slots: SlotPool,
    function_slots: SlotPool,
    /// The first command that issued a host function which has not returned; `u64::MAX` if none.
    oldest_function: AtomicU64,
    staging: staging::Staging,
    /// Streams that there may be work on.
    pub(crate) used: used::Used,
    /// Held while what kernels printed is passed on.
    output: Mutex<()>,
    began: Instant,
    /// Devices that the worker has, before CUDA_VISIBLE_DEVICES.
    pub(crate) devices: u32,
    pub(crate) recording: bool,
    /// Why no call works any more, as an error code; zero while the session lives.
    ended: AtomicU32,
}

/// The session's one order of commands, whatever thread they come from.
struct Order {
    producer: Producer,
    sequence: u64,
    message: Vec<u8>,
}

unsafe extern "C" {
    static stdout: *mut libc::FILE;
    static stderr: *mut libc::FILE;
}

static SESSION: OnceLock<std::result::Result<Session, Status>> = OnceLock::new();

/// The session, started if there is none yet.
pub(crate) fn get() -> Result<&'static Session> {
    if process::is_forked_child() {
        // The parent's session is not ours to use, and CUDA does not survive fork either.
        return Err(error::NOT_INITIALIZED);
    }
    if host_functions::is_in_function() {
        return Err(error::NOT_PERMITTED);
    }
    SESSION
        .get_or_init(|| {
            start::start()
                .inspect(|_| process::watch_forks())
                .map_err(|reason| {
                    vcuda_transport::say!("{reason}");
                    error::NO_DEVICE
                })
        })
        .as_ref()
        .map_err(|&status| status)
}

/// The session if it runs, without starting it.
pub(crate) fn running() -> Option<&'static Session> {
    match process::is_forked_child() {
        true => None,
        false => SESSION.get()?.as_ref().ok(),
    }
}

/// An answer on its way.
#[must_use]
pub(crate) struct Pending {
    slot: Slot,
    /// The command's position in the session's order.
    pub(crate) sequence: u64,
}

/// A reply slot, held by the calling thread.
#[must_use]
pub(crate) struct Slot {
    session: &'static Session,
    index: u16,
}

impl Session {
    /// Sends a command that nobody waits for.
    pub(crate) fn post(&self, command: &Command) -> Result<()> {
        self.issue(None, command).map(drop)
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn call(&'static self, command: &Command) -> Result<Reply> {
        self.begin(command)?.wait()
    }

    /// Sends a command whose answer is waited for later.
    pub(crate) fn begin(&'static self, command: &Command) -> Result<Pending> {
        let index = self.slots.take();
        let session = self;
        self.begin_in(Slot { session, index }, command)
    }

    /// A slot for a host function. Waits while there are as many functions as there may be.
    pub(crate) fn function_slot(&'static self) -> Slot {
        let index = self.function_slots.take();
        let session = self;
        Slot { session, index }
    }

    /// [`Self::begin`] with a slot that the caller has already.
    pub(crate) fn begin_in(&'static self, slot: Slot, command: &Command) -> Result<Pending> {
        slots::arm(&self.control, slot.index).map_err(|e| self.broken(&e))?;
        let sequence = self.issue(Some(slot.index), command)?;
        Ok(Pending { slot, sequence })
    }

    /// Says which host function is the oldest that has not returned, by its command.
    pub(crate) fn set_oldest_function(&self, sequence: Option<u64>) {
        let sequence = sequence.unwrap_or(u64::MAX);
        self.oldest_function.store(sequence, Ordering::Release);
    }

    /// Whether host functions were issued that have not returned.
    pub(crate) fn has_functions(&self) -> bool {
        self.oldest_function.load(Ordering::Acquire) != u64::MAX
    }

    /// Whether a posted command has to wait for the return of a host function.
    fn is_far_ahead(&self, order: &Order) -> bool {
        let oldest = self.oldest_function.load(Ordering::Acquire);
        order.sequence.saturating_sub(oldest) > MAX_BEYOND_FUNCTION
    }

    /// Sends a command; gives its position in the order.
    fn issue(&self, slot: Option<u16>, command: &Command) -> Result<u64> {
        self.check_ended()?;
        let (api, thread) = thread::caller();
        let mut order = self.order.lock();
        let may_wait = slot.is_none() && !matches!(command, Command::HostFunctionDone { .. });
        while may_wait && self.is_far_ahead(&order) {
            drop(order);
            std::thread::sleep(FUNCTION_LOOK);
            self.check_alive()?;
            order = self.order.lock();
        }
        let Order {
            producer,
            sequence,
            message,
        } = &mut *order;
        let header = Header {
            sequence: *sequence + 1,
            api,
            thread,
            // Nobody looks at it otherwise.
            time: match self.recording {
                true => self.began.elapsed().as_nanos() as u64,
                false => 0,
            },
            slot,
        };
        message.clear();
        wire::encode(message, &header, command).map_err(|e| {
            vcuda_transport::say!("{} could not be sent: {e}", command.name());
            error::INVALID_VALUE
        })?;
        while !producer
            .try_push(message, &*self.link)
            .map_err(|e| self.broken(&e))?
        {
            if !producer.wait_for_space(message.len(), &*self.link, HEARTBEAT) {
                self.check_alive()?;
            }
        }
        *sequence = header.sequence;
        let sequence = header.sequence;
        drop(order);
        self.used.note(command);
        Ok(sequence)
    }

    /// The error that an earlier command of the device left for this call to report, as CUDA
    /// reports those of asynchronous work. A sticky one stays.
    pub(crate) fn asynchronous_error(&self, device: u32) -> Result<()> {
        self.check_ended()?;
        let index = device as usize % layout::MAX_DEVICES * 4;
        let pending = self.control.u32(layout::PENDING_ERRORS + index);
        if let Some(status) = self.sticky_error(device) {
            return Err(status);
        }
        if pending.load(Ordering::Relaxed) != 0 {
            match pending.swap(0, Ordering::AcqRel) {
                0 => {}
                status => return Err(Status(status)),
            }
        }
        Ok(())
    }

    /// The error that a device keeps until it is reset, if it has one.
    pub(crate) fn sticky_error(&self, device: u32) -> Option<Status> {
        let index = device as usize % layout::MAX_DEVICES * 4;
        let sticky = self.control.u32(layout::STICKY_ERRORS + index);
        match sticky.load(Ordering::Acquire) {
            0 => None,
            status => Some(Status(status)),
        }
    }

    /// A piece of the staging area.
    pub(crate) fn chunk(&'static self) -> Result<Chunk> {
        self.staging.take(self)
    }

    /// The same, if one is free.
    pub(crate) fn free_chunk(&'static self) -> Result<Option<Chunk>> {
        self.staging.take_free(self)
    }

    /// Makes memory behind whole pages of the window. Zeroed.
    pub(crate) fn back(&self, offset: u64, len: u64) -> Result<()> {
        self.link.back(offset, len).map_err(|error| {
            if error.raw_os_error() != Some(libc::ENOMEM) {
                vcuda_transport::say!("{len} bytes of shared memory could not be made: {error}.");
            }
            error::OUT_OF_MEMORY
        })
    }

    /// Gives back what [`Self::back`] made.
    pub(crate) fn discard(&self, offset: u64, len: u64) {
        if let Err(error) = self.link.discard(offset, len)
            && !self.link.has_ended()
        {
            vcuda_transport::say!("{len} bytes of shared memory could not be given back: {error}.");
        }
    }

    /// Passes on what kernels printed and the worker said, where the worker does not have this
    /// program's standard output. Through the C library, in order with what the program prints.
    fn print_output(&self) {
        if output::is_empty(&self.control) {
            return;
        }
        let _one_at_a_time = self.output.lock();
        output::drain(&self.control, |channel, text| {
            // SAFETY: the C library's own streams, and the text's length.
            unsafe {
                let stream = match channel {
                    Channel::Output => stdout,
                    Channel::Error => stderr,
                };
                libc::fwrite(text.as_ptr().cast(), 1, text.len(), stream);
            }
        });
    }

    fn check_alive(&self) -> Result<()> {
        self.check_ended()?;
        match self.link.has_ended() {
            true => {
                Err(self.gone("the worker process ended; its own last words, if any, are above"))
            }
            false => Ok(()),
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> Status {
        self.gone(&format!("the connection to the worker is broken: {error}"))
    }

    /// Every call fails from now on; the reason is said once.
    fn gone(&self, reason: &str) -> Status {
        if self.end(error::DEVICES_UNAVAILABLE) {
            vcuda_transport::say!(
                "{reason}. Every CUDA call of this process now returns cudaErrorDevicesUnavailable (46)."
            );
        }
        error::DEVICES_UNAVAILABLE
    }

    fn check_ended(&self) -> Result<()> {
        match self.ended.load(Ordering::Relaxed) {
            0 => Ok(()),
            status => Err(Status(status)),
        }
    }

    /// Whether this call is the one that ends the session.
    fn end(&self, status: Status) -> bool {
        let relaxed = Ordering::Relaxed;
        self.ended
            .compare_exchange(0, status.0, relaxed, relaxed)
            .is_ok()
    }

    /// The program exits: what was recorded must be in the file before it is gone. Calls from exit
    /// handlers that run later get what CUDA gives them then, `cudaErrorCudartUnloading`.
    fn goodbye(&'static self) {
        if let Ok(pending) = self.begin(&Command::Goodbye) {
            let _ = pending.wait();
        }
        self.end(error::DEINITIALIZED);
    }
}

impl Pending {
    pub(crate) fn wait(self) -> Result<Reply> {
        let Slot { session, index } = self.slot;
        loop {
            let answer = slots::wait(&session.control, index, &*session.link, HEARTBEAT);
            session.print_output();
            match answer {
                Ok(Some(reply)) => return reply,
                Ok(None) => session.check_alive()?,
                Err(error) => return Err(session.broken(&error)),
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A slot that was not waited for to the end may still be written to; it is lost with the
        // session, which has ended in that case.
        match self.index < CALL_SLOTS {
            true => self.session.slots.put(self.index),
            false => self.session.function_slots.put(self.index),
        }
    }
}

/// Free reply slots. More waiting threads than slots take turns.
struct SlotPool {
    free: Mutex<Vec<u16>>,
    returned: Condvar,
}

impl SlotPool {
    fn new(slots: std::ops::Range<u16>) -> Self {
        SlotPool {
            free: Mutex::new(slots.rev().collect()),
            returned: Condvar::new(),
        }
    }

    fn take(&self) -> u16 {
        let mut free = self.free.lock();
        loop {
            match free.pop() {
                Some(slot) => return slot,
                None => self.returned.wait(&mut free),
            }
        }
    }

    fn put(&self, slot: u16) {
        self.free.lock().push(slot);
        self.returned.notify_one();
    }
}

/// Sleeps on a word of the control memory until it changes or a heartbeat has passed, then sees
/// whether the worker still lives.
fn wait_word(session: &Session, offset: usize, expected: u32) -> Result<()> {
    session
        .link
        .wait(session.control.u32(offset), expected, HEARTBEAT);
    session.check_alive()
}
