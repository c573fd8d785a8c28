// SPDX-License-Identifier: MIT OR Apache-2.0
//! What CUDA keeps for each host thread: the current device or context, the last error, the launch
//! that is being put together; and what we keep: which CUDA function is being executed.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

use vcuda_protocol::{Dim3, NO_FUNCTION, Status};

use crate::contexts::Context;
use crate::graph::capture::Mode;
use crate::handles::Recent;
use crate::memory::Memory;
use crate::streams::{EventEntry, StreamEntry};

/// What `<<<grid, block, shared, stream>>>` said, until the launch that uses it
/// (`__cudaPushCallConfiguration`, `cudaConfigureCall`).
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    pub(crate) grid: Dim3,
    pub(crate) block: Dim3,
    pub(crate) shared: u64,
    pub(crate) stream: u64,
    /// Arguments from `cudaSetupArgument`, already laid out.
    pub(crate) arguments: Vec<u8>,
}

/// Which stream a null stream handle means (CUDA Runtime API, "API synchronization behavior").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultStream {
    Legacy,
    PerThread,
}

pub(crate) struct Thread {
    /// The function that the program called, for the tag on its commands.
    api: Cell<u16>,
    id: Cell<u32>,
    pub(crate) default_stream: Cell<DefaultStream>,
    /// Whether this thread calls functions of the program that streams have got to.
    pub(crate) in_host_function: Cell<bool>,
    pub(crate) last_error: Cell<Status>,
    /// What captures allow this thread (`cudaThreadExchangeStreamCaptureMode`).
    pub(crate) capture_mode: Cell<Mode>,
    /// The device of `cudaSetDevice`.
    pub(crate) device: Cell<u32>,
    /// Contexts pushed by the Driver API; the last is current.
    pub(crate) contexts: RefCell<Vec<Context>>,
    pub(crate) configurations: RefCell<Vec<Configuration>>,
    /// This thread's own default stream on each device, by ordinal.
    pub(crate) own_streams: RefCell<Vec<(u32, u32)>>,
    /// The stream, the event and the memory that this thread used last, with their handles.
    pub(crate) stream: Recent<(u64, StreamEntry)>,
    pub(crate) event: Recent<(u64, EventEntry)>,
    pub(crate) memory: Recent<Memory>,
}

thread_local! {
    // Without a destructor, because programs call CUDA from exit handlers and destructors of
    // static objects, which run when this thread's values are gone.
    static THREAD: ManuallyDrop<Thread> = const {
        ManuallyDrop::new(Thread {
            api: Cell::new(NO_FUNCTION),
            id: Cell::new(0),
            default_stream: Cell::new(DefaultStream::Legacy),
            in_host_function: Cell::new(false),
            last_error: Cell::new(Status::SUCCESS),
            capture_mode: Cell::new(Mode::Global),
            device: Cell::new(0),
            contexts: RefCell::new(Vec::new()),
            configurations: RefCell::new(Vec::new()),
            own_streams: RefCell::new(Vec::new()),
            stream: Recent::new(),
            event: Recent::new(),
            memory: Recent::new(),
        })
    };

    static ENDING: Ending = const { Ending };
}

/// Gives the memory of a thread's state back when the thread ends before the process does.
struct Ending;

impl Drop for Ending {
    fn drop(&mut self) {
        // SAFETY: both have no preconditions.
        let main = unsafe { libc::gettid() == libc::getpid() };
        if !main {
            with(|t| {
                t.contexts.take();
                t.configurations.take();
                t.own_streams.take();
            });
        }
    }
}

/// The calling thread's state.
pub(crate) fn with<R>(f: impl FnOnce(&Thread) -> R) -> R {
    THREAD.with(|thread| f(thread))
}

/// The tag of the commands that the calling thread issues: function and thread id.
pub(crate) fn caller() -> (u16, u32) {
    with(|t| {
        if t.id.get() == 0 {
            // SAFETY: gettid has no preconditions.
            t.id.set(unsafe { libc::gettid() } as u32);
            // Has its destructor run, unless that has happened.
            let _ = ENDING.try_with(|_| ());
        }
        (t.api.get(), t.id.get())
    })
}

/// Runs an API function's body with its tag set. Only the outermost call counts: what vcuda calls
/// on the way is not the program's doing.
pub(crate) fn within<R>(api: u16, default: DefaultStream, body: impl FnOnce() -> R) -> R {
    with(|t| {
        if t.api.get() != NO_FUNCTION {
            return body();
        }
        t.api.set(api);
        let outer = t.default_stream.replace(default);
        let result = body();
        t.api.set(NO_FUNCTION);
        t.default_stream.set(outer);
        result
    })
}
