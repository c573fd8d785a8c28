// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions of the program that its streams call (`cudaLaunchHostFunc`, `cudaStreamAddCallback`).
//!
//! Each stream with such functions has a thread as long as there are any. It waits until the stream
//! gets to the next one, calls it, and says so to the worker, which lets the stream go on. Functions
//! of one stream are called in order, those of different streams may wait for each other.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::c_void;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};
use vcuda_protocol::{Command, Status, Stream};

use crate::graph::{self, HostCall, Operation};
use crate::session::{self, Pending, Session};
use crate::streams::Target;
use crate::{Result, error, streams, thread};

/// `cudaHostFn_t`, `CUhostFn`
pub(crate) type HostFn = unsafe extern "C" fn(data: *mut c_void);
/// `cudaStreamCallback_t`, `CUstreamCallback`
pub(crate) type StreamCallback = unsafe extern "C" fn(stream: u64, status: u32, data: *mut c_void);

/// What is called.
#[derive(Clone, Copy)]
pub(crate) enum Function {
    /// Only where the device is well.
    Launched(HostFn),
    /// In any case, with an error where the device has one.
    Callback {
        function: StreamCallback,
        /// The program's own handle, given back to it.
        stream: u64,
        /// How the API that the function came by numbers errors.
        outward: fn(u32) -> u32,
    },
}

struct Call {
    function: Function,
    data: *mut c_void,
    token: u32,
    due: Pending,
}

// SAFETY: the pointer is the program's, which has it used by another thread by asking for the call.
unsafe impl Send for Call {}

#[derive(Default)]
struct Calls {
    /// Those whose turn has not come. A stream that is here has a thread.
    waiting: HashMap<Stream, VecDeque<Call>>,
    /// The commands of those that have not returned.
    outstanding: BTreeSet<u64>,
}

/// Functions of one stream that may wait for their turn: a GPU's stream takes some fifty, and the
/// worker must not wait for room in it.
const MOST_OF_A_STREAM: usize = 16;

static CALLS: LazyLock<Mutex<Calls>> = LazyLock::new(Mutex::default);
static NEXT_TOKEN: AtomicU32 = AtomicU32::new(1);

/// Has a function called when the stream gets there. Later work of the stream waits for its return.
/// A stream that is being captured takes functions of `cudaLaunchHostFunc` only.
pub(crate) fn start(handle: u64, function: Function, data: *mut c_void) -> Result<()> {
    let can_be_captured = matches!(function, Function::Launched(_));
    match (streams::target(handle, can_be_captured)?, function) {
        (Target::Capture(stream), Function::Launched(function)) => {
            let data = data as u64;
            graph::capture(stream, Operation::Host(HostCall { function, data }))
        }
        (Target::Stream(stream) | Target::Capture(stream), function) => {
            issue(stream, function, data)
        }
    }
}

/// The same on a stream as it is on the wire.
pub(crate) fn issue(stream: Stream, function: Function, data: *mut c_void) -> Result<()> {
    let session = session::get()?;
    let slot = session.function_slot();
    let mut calls = CALLS.lock();
    while (calls.waiting.get(&stream)).is_some_and(|waiting| waiting.len() >= MOST_OF_A_STREAM) {
        MutexGuard::unlocked(&mut calls, || std::thread::sleep(session::FUNCTION_LOOK));
    }
    if !calls.waiting.contains_key(&stream) {
        // It finds an empty queue, and ends, if the command cannot be sent.
        start_thread(session, stream)?;
    }
    let token = NEXT_TOKEN.fetch_add(1, Ordering::Relaxed);
    let due = session.begin_in(slot, &Command::HostFunction { stream, token })?;
    calls.outstanding.insert(due.sequence);
    session.set_oldest_function(calls.outstanding.first().copied());
    calls.waiting.entry(stream).or_default().push_back(Call {
        function,
        data,
        token,
        due,
    });
    Ok(())
}

/// Starts the thread of a stream. Signals are for the program's own threads.
fn start_thread(session: &'static Session, stream: Stream) -> Result<()> {
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    let mut own = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises the set that pthread_sigmask reads; that fills the other one.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), own.as_mut_ptr());
    }
    let started = std::thread::Builder::new()
        .name("vcuda-callbacks".into())
        .spawn(move || serve(session, stream));
    // SAFETY: the set was filled above.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, own.as_ptr(), std::ptr::null_mut());
    }
    started.map(drop).map_err(|reason| {
        vcuda_transport::say!(
            "A thread for the functions of a stream could not be started: {reason}."
        );
        error::OUT_OF_MEMORY
    })
}

/// There is, or was, a thread that calls functions.
static THREADS: AtomicBool = AtomicBool::new(false);

/// Whether the calling thread is one that calls functions.
pub(crate) fn is_in_function() -> bool {
    THREADS.load(Ordering::Relaxed) && thread::with(|t| t.in_host_function.get())
}

fn serve(session: &'static Session, stream: Stream) {
    THREADS.store(true, Ordering::Relaxed);
    thread::with(|t| t.in_host_function.set(true));
    loop {
        let mut calls = CALLS.lock();
        let next = calls.waiting.get_mut(&stream).and_then(VecDeque::pop_front);
        let Some(call) = next else {
            calls.waiting.remove(&stream);
            return;
        };
        drop(calls);
        let sequence = call.due.sequence;
        let answer = call.due.wait().map(drop);
        // SAFETY: the program gave function and data for this call.
        unsafe { call.function.call(answer, call.data) };
        if answer.is_ok() {
            let done = Command::HostFunctionDone { token: call.token };
            // Where that fails, so does every call that waits for the stream.
            let _ = session.post(&done);
        }
        let mut calls = CALLS.lock();
        calls.outstanding.remove(&sequence);
        session.set_oldest_function(calls.outstanding.first().copied());
    }
}

impl Function {
    /// # Safety
    /// The program has asked for the call with this data.
    unsafe fn call(self, answer: Result<()>, data: *mut c_void) {
        /// The program is exiting, and what the function needs may be gone already.
        const DEINITIALIZED: Status = Status(4);
        match (self, answer) {
            // SAFETY: by this function's contract.
            (Function::Launched(function), Ok(())) => unsafe { function(data) },
            (Function::Launched(_), Err(_)) | (_, Err(DEINITIALIZED)) => {}
            (
                Function::Callback {
                    function,
                    stream,
                    outward,
                },
                answer,
            ) => {
                let status = answer.err().unwrap_or(Status::SUCCESS);
                // SAFETY: as above.
                unsafe { function(stream, outward(status.0), data) };
            }
        }
    }
}
