// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the GPUs of a session share: the driver, the state behind one lock, and the looking for
//! work that has finished.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, ReentrantMutex};
use vcuda_protocol::{DeviceInfo, Status};

use super::arrays::Arrays;
use super::driver::{CUcontext, CUstream, Driver, call};
use super::host::Host;
use super::memory::Memory;
use super::modules::Modules;
use super::printed::Printed;
use super::streams::{EventWait, Fences, Recorded, Streams, Words};
use super::textures::Objects;
use super::watcher::Watcher;
use crate::devices::{Completion, Faults, StreamHandle};
use crate::status;
use crate::window::Window;

/// What is to be called once the state is unlocked, and with what.
pub(super) type Jobs = Vec<(Completion, Result<(), Status>)>;

/// `CU_CTX_SCHED_SPIN`: the few calls that wait find their work done already.
const SPIN: u32 = 1;
/// `CU_MEMHOSTREGISTER_PORTABLE`, `CU_MEMHOSTREGISTER_DEVICEMAP`
const PORTABLE_MAPPED: u32 = 3;
const PAGE: usize = 4096;

/// For so long after the last news a caller looks without a pause.
const EAGER: Duration = Duration::from_millis(1);
/// The shortest and the longest pause afterwards, and what part of the time waited so far it is.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];
const PAUSE_PART: u32 = 64;
/// A wait of so long is worth a question to the driver, whether the device is well.
const ASK: Duration = Duration::from_micros(200);

/// One GPU.
pub(super) struct Gpu {
    /// The driver's number for it.
    pub(super) device: i32,
    pub(super) info: DeviceInfo,
    /// The context, and a number that no other context has; zero while there is none.
    context: AtomicU64,
    generation: AtomicU64,
    making: Mutex<()>,
    pub(super) faults: OnceLock<Arc<dyn Faults>>,
}

impl Gpu {
    pub(super) fn new(device: i32, info: DeviceInfo) -> Self {
        Gpu {
            device,
            info,
            context: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            making: Mutex::new(()),
            faults: OnceLock::new(),
        }
    }

    pub(super) fn has_context(&self) -> bool {
        self.generation.load(Ordering::Acquire) != 0
    }
}

/// What the GPUs of a session share.
pub(super) struct Machine {
    pub(super) driver: &'static Driver,
    pub(super) gpus: Vec<Gpu>,
    pub(super) window: Option<Window>,
    pub(super) state: Mutex<State>,
    /// Functions that streams will call. Not in the state: while a call of the driver waits for room
    /// in a stream, which holds the state, the stream may have to call one of them.
    functions: Mutex<Functions>,
    pub(super) printed: Printed,
    /// Held while jobs run, so that none overtakes another that a different thread has taken. Locked
    /// before the state, or without it.
    running: ReentrantMutex<()>,
    /// Pinned memory of our own, which stays as long as the process.
    own: Mutex<Vec<(u64, usize)>>,
    this: Weak<Machine>,
    pub(super) watcher: Watcher,
}

/// The state as of the last command issued, and what waits.
pub(super) struct State {
    pub(super) devices: Vec<DeviceState>,
    pub(super) streams: Streams,
    pub(super) words: Words,
    pub(super) fences: Fences,
    pub(super) events: HashMap<u64, Recorded>,
    pub(super) next_event: u64,
    pub(super) event_waits: Vec<EventWait>,
    pub(super) modules: Modules,
    pub(super) host: Host,
    /// The session is over.
    pub(super) over: bool,
    /// Since when there has been no news, and when the driver was last asked.
    news: Option<Instant>,
    asked: Instant,
}

/// Functions by number, with their device.
#[derive(Default)]
struct Functions {
    waiting: HashMap<u64, (usize, Completion)>,
    named: u64,
}

/// One GPU's part of the state.
pub(super) struct DeviceState {
    pub(super) legacy: Option<StreamHandle>,
    pub(super) memory: Memory,
    pub(super) arrays: Arrays,
    pub(super) objects: Objects,
    /// The error after which nothing runs any more.
    pub(super) error: Option<Status>,
    /// A loaded module may print.
    pub(super) prints: bool,
}

thread_local! {
    /// The generation of the context that is current for the thread.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

impl Machine {
    pub(super) fn new(
        driver: &'static Driver,
        gpus: Vec<Gpu>,
        memories: Vec<Memory>,
        window: Option<Window>,
    ) -> Arc<Machine> {
        let devices = memories.into_iter().map(|memory| DeviceState {
            legacy: None,
            memory,
            arrays: Arrays::default(),
            objects: Objects::default(),
            error: None,
            prints: false,
        });
        Arc::new_cyclic(|this| Machine {
            driver,
            gpus,
            state: Mutex::new(State {
                devices: devices.collect(),
                streams: Streams::default(),
                words: Words::default(),
                fences: Fences::default(),
                events: HashMap::new(),
                next_event: 0,
                event_waits: Vec::new(),
                modules: Modules::default(),
                host: Host::default(),
                over: false,
                news: None,
                asked: Instant::now(),
            }),
            window,
            functions: Mutex::default(),
            printed: Printed::new(),
            running: ReentrantMutex::default(),
            own: Mutex::default(),
            this: this.clone(),
            watcher: Watcher::default(),
        })
    }

    pub(super) fn weak(&self) -> Weak<Machine> {
        self.this.clone()
    }

    pub(super) fn this(&self) -> Arc<Machine> {
        self.this.upgrade().expect("whoever calls holds it")
    }

    /// Makes a GPU's context the calling thread's, and makes it first if there is none.
    pub(super) fn enter(&self, device: usize) -> Result<(), Status> {
        let gpu = &self.gpus[device];
        let mut generation = gpu.generation.load(Ordering::Acquire);
        if generation == 0 {
            generation = self.make_context(gpu)?;
        }
        if CURRENT.get() != generation {
            call!(self.driver, cuCtxSetCurrent(self.context(device)))?;
            CURRENT.set(generation);
        }
        Ok(())
    }

    /// A GPU's context, which has been entered before.
    pub(super) fn context(&self, device: usize) -> CUcontext {
        self.gpus[device].context.load(Ordering::Acquire) as CUcontext
    }

    fn make_context(&self, gpu: &Gpu) -> Result<u64, Status> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let _making = gpu.making.lock();
        match gpu.generation.load(Ordering::Acquire) {
            0 => {}
            generation => return Ok(generation),
        }
        let mut context: CUcontext = std::ptr::null_mut();
        call!(self.driver, cuCtxCreate_v2(&mut context, SPIN, gpu.device))?;
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        gpu.context.store(context as u64, Ordering::Release);
        gpu.generation.store(generation, Ordering::Release);
        CURRENT.set(generation);
        Ok(generation)
    }

    /// Destroys a GPU's context with all that is in it. The next use makes another.
    pub(super) fn destroy_context(&self, device: usize) -> Result<(), Status> {
        let gpu = &self.gpus[device];
        let _making = gpu.making.lock();
        if gpu.generation.swap(0, Ordering::AcqRel) == 0 {
            return Ok(());
        }
        CURRENT.set(0);
        let context = gpu.context.swap(0, Ordering::AcqRel) as CUcontext;
        call!(self.driver, cuCtxDestroy_v2(context))
    }

    /// A GPU whose context is there already, or the first: for what is common to all.
    pub(super) fn enter_any(&self) -> Result<usize, Status> {
        let made = self.gpus.iter().position(Gpu::has_context);
        let device = made.unwrap_or(0);
        self.enter(device)?;
        Ok(device)
    }

    /// New pinned memory that all GPUs use at its own address. It is never given back.
    pub(super) fn host_memory(&self, size: usize) -> Result<u64, Status> {
        let size = size.next_multiple_of(PAGE);
        let layout = std::alloc::Layout::from_size_align(size, PAGE);
        let layout = layout.map_err(|_| status::OUT_OF_MEMORY)?;
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(layout) };
        if memory.is_null() {
            return Err(status::OUT_OF_MEMORY);
        }
        self.enter_any()?;
        self.register(memory as u64, size)?;
        self.own.lock().push((memory as u64, size));
        Ok(memory as u64)
    }

    /// Pins memory of this process for all GPUs, at its own address, in the current context.
    pub(super) fn register(&self, address: u64, size: usize) -> Result<(), Status> {
        let memory = address as *mut std::ffi::c_void;
        call!(
            self.driver,
            cuMemHostRegister_v2(memory, size, PORTABLE_MAPPED)
        )
    }

    pub(super) fn unregister(&self, address: u64) {
        let memory = address as *mut std::ffi::c_void;
        // A context that failed has nothing pinned any more.
        let _ = call!(self.driver, cuMemHostUnregister(memory));
    }

    /// Our own pinned memory, for a context that has to learn of it again.
    pub(super) fn own_memory(&self) -> Vec<(u64, usize)> {
        self.own.lock().clone()
    }

    /// Does something with the state, and calls back what that brought about.
    pub(super) fn with<R>(
        &self,
        device: usize,
        f: impl FnOnce(&mut State, &mut Jobs) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let mut jobs = Jobs::new();
        let mut state = self.state.lock();
        let result = f(&mut state, &mut jobs);
        if let Err(status) = result
            && status::is_sticky(status)
        {
            state.fail(self, device, status, &mut jobs);
        }
        drop(state);
        self.run(jobs);
        result
    }

    /// Looks what has finished. `Some`: something is still waited for, and it should be looked again
    /// after that time.
    pub(super) fn poll(&self) -> Option<Duration> {
        self.watcher.is_polled();
        self.look()
    }

    pub(super) fn look(&self) -> Option<Duration> {
        let mut jobs = Jobs::new();
        let _in_order = self.running.lock();
        let mut state = self.state.lock();
        let again = state.look(self, &mut jobs);
        let pause = match (jobs.is_empty(), again) {
            (true, false) => {
                state.news = None;
                None
            }
            (false, _) => {
                state.news = None;
                again.then_some(Duration::ZERO)
            }
            (true, true) => {
                let now = Instant::now();
                let news = *state.news.get_or_insert(now);
                let waited = now.saturating_duration_since(news);
                let asked = now.saturating_duration_since(state.asked.max(news));
                if asked > ASK.max(waited / 8) {
                    state.asked = now;
                    if let Err((device, status)) = state.ask(self) {
                        state.fail(self, device, status, &mut jobs);
                    }
                }
                match waited < EAGER {
                    true => Some(Duration::ZERO),
                    false => Some((waited / PAUSE_PART).clamp(PAUSES[0], PAUSES[1])),
                }
            }
        };
        drop(state);
        self.run(jobs);
        pause
    }

    /// Calls what need not wait any more, with the state unlocked.
    pub(super) fn run(&self, jobs: Jobs) {
        if !jobs.is_empty() {
            let _in_order = self.running.lock();
            for (job, outcome) in jobs {
                job(outcome);
            }
        }
    }

    /// Has the driver write what kernels printed. `stream` is idle.
    pub(super) fn flush(&self, device: usize, stream: Option<CUstream>) {
        if let Some(stream) = stream
            && self.enter(device).is_ok()
        {
            let _ = call!(self.driver, cuStreamSynchronize(stream));
            self.printed.flush();
        }
    }

    /// Has a stream call a function. The driver does so on a thread of its own, on which the driver
    /// must not be called.
    pub(super) fn call_on(
        &self,
        device: usize,
        stream: CUstream,
        function: Completion,
    ) -> Result<(), Status> {
        let number = {
            let mut functions = self.functions.lock();
            functions.named += 1;
            let number = functions.named;
            functions.waiting.insert(number, (device, function));
            number
        };
        let data = Box::into_raw(Box::new((self.this(), number)));
        let issued = call!(self.driver, cuLaunchHostFunc(stream, called, data.cast()));
        if issued.is_err() {
            // SAFETY: the driver did not take it.
            drop(unsafe { Box::from_raw(data) });
            self.functions.lock().waiting.remove(&number);
        }
        issued
    }
}

/// A stream has got to a function.
unsafe extern "C" fn called(data: *mut std::ffi::c_void) {
    // SAFETY: `call_on` passed a box, once.
    let call = unsafe { Box::from_raw(data.cast::<(Arc<Machine>, u64)>()) };
    let (machine, number) = *call;
    let function = machine.functions.lock().waiting.remove(&number);
    if let Some((_, function)) = function {
        function(Ok(()));
    }
}

impl State {
    /// A device has an error that stays. The driver lets the process use no GPU any more then.
    pub(super) fn fail(
        &mut self,
        machine: &Machine,
        device: usize,
        status: Status,
        jobs: &mut Jobs,
    ) {
        if self.devices[device].error.is_none() {
            // The driver writes what assertions say when something waits.
            if machine.enter(device).is_ok() {
                let _ = call!(machine.driver, cuCtxSynchronize());
                machine.printed.flush();
            }
            let tag = self.first_unfinished_launch(device);
            for (gpu, state) in machine.gpus.iter().zip(&mut self.devices) {
                state.error.get_or_insert(status);
                if let (Some(tag), Some(faults)) = (tag, gpu.faults.get().cloned()) {
                    let tell: Completion = Box::new(move |_| faults.fault(tag, status));
                    jobs.push((tell, Ok(())));
                }
            }
        }
        self.end_waits(machine, None, status, jobs);
    }

    /// Nothing is waited for any more, on a device or on all.
    pub(super) fn end_waits(
        &mut self,
        machine: &Machine,
        device: Option<usize>,
        status: Status,
        jobs: &mut Jobs,
    ) {
        self.fail_waits(device, status, jobs);
        let here = |of: usize| device.is_none_or(|device| device == of);
        let mut functions = machine.functions.lock();
        let ended = functions.waiting.extract_if(|_, (of, _)| here(*of));
        jobs.extend(ended.map(|(_, (_, function))| (function, Err(status))));
    }
}
