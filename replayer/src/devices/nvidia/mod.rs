// SPDX-License-Identifier: MIT OR Apache-2.0
//! A real GPU, through the CUDA driver of this machine.
//!
//! The driver is loaded when the first devices are made, so that the same binary runs where there
//! is none. Its calls are made by the session's thread, in the session's order; none of them waits
//! for the GPU. Work that has finished is found by looking ([`Device::poll`]).
//!
//! * [`streams`]: streams, events, gates, and what waits for them; [`watcher`]: who looks;
//! * [`memory`]: device memory at the client's addresses;
//! * [`host`]: pinned memory;
//! * [`arrays`], [`textures`]: arrays by the client's addresses, and the objects made of them;
//! * [`copy`], [`modules`]: what the driver does by itself, with its arguments checked;
//! * [`peers`]: several GPUs;
//! * [`managed`]: `__managed__` variables.

mod arrays;
mod copy;
mod driver;
mod host;
mod in_parts;
mod info;
mod machine;
mod managed;
mod memory;
mod modules;
mod peers;
mod printed;
mod streams;
mod textures;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use vcuda_protocol::layout::MAX_DEVICES;
use vcuda_protocol::{
    Array, DeviceInfo, Extent, FunctionInfo, GlobalInfo, MemoryInfo, ModuleInfo, Pitch, Status,
    Texture,
};

use super::*;
use crate::status;
use crate::window::Window;
use arrays::Arrays;
use driver::call;
pub use driver::{DRIVER_VARIABLE, DriverError};
use machine::{Gpu, Machine};
use memory::Memory;
use textures::Objects;

/// Why there are no NVIDIA devices.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NvidiaError {
    #[error("{0}")]
    Driver(&'static DriverError),
    #[error("The CUDA driver {0} has no device.")]
    NoDevice(String),
    #[error("GPU {device} cannot be used: {name} (error {code}).")]
    Device {
        device: i32,
        code: u32,
        name: String,
    },
}

/// One GPU. See the [module](self).
pub struct NvidiaDevice {
    index: usize,
    machine: Arc<Machine>,
}

impl NvidiaDevice {
    /// All GPUs of this machine, for one session whose host memory lies in `window`. A window that is
    /// mapped at another address than the client's can only be copied from and to.
    ///
    /// `first` is the GPU that will be used first, as far as that is known: it is made ready while
    /// the session begins. `limit` is the most device memory that the session may take of each GPU, in
    /// bytes, arrays included; what the driver takes for code and stacks does not count.
    pub fn create(
        window: Option<&Window>,
        first: usize,
        limit: Option<u64>,
    ) -> Result<Vec<Arc<dyn Device>>, NvidiaError> {
        let driver = driver::driver().map_err(NvidiaError::Driver)?;
        let mut count = 0;
        let counted = call!(driver, cuDeviceGetCount(&mut count));
        if counted.is_err() || count < 1 {
            return Err(NvidiaError::NoDevice(driver.path.clone()));
        }
        let (mut gpus, mut memories) = (Vec::new(), Vec::new());
        for index in 0..(count as usize).min(MAX_DEVICES) {
            let failed = |status: Status| NvidiaError::Device {
                device: index as i32,
                code: status.0,
                name: driver.name_of(status.0),
            };
            let mut device = 0;
            call!(driver, cuDeviceGet(&mut device, index as i32)).map_err(failed)?;
            let memory = Memory::reserve(driver, device, index, limit).map_err(failed)?;
            let info = info::device_info(driver, device, &memory).map_err(failed)?;
            gpus.push(Gpu::new(device, info));
            memories.push(memory);
        }
        let machine = Machine::new(driver, gpus, memories, window.cloned());
        prepare(&machine, first);
        let devices = (0..machine.gpus.len()).map(|index| {
            let machine = machine.clone();
            Arc::new(NvidiaDevice { index, machine }) as Arc<dyn Device>
        });
        Ok(devices.collect())
    }

    fn gpu(&self) -> &Gpu {
        &self.machine.gpus[self.index]
    }

    /// Does something with the state, where this GPU is well.
    fn with<R>(
        &self,
        f: impl FnOnce(&mut machine::State, &mut machine::Jobs) -> Result<R, Status>,
    ) -> Result<R, Status> {
        self.machine.with(self.index, |state, jobs| {
            match (state.over, state.devices[self.index].error) {
                (true, _) => Err(status::DEINITIALIZED),
                (false, Some(error)) => Err(error),
                (false, None) => f(state, jobs),
            }
        })
    }

    /// Registers what waits, or tells it at once why it need not.
    fn waits(
        &self,
        done: Completion,
        f: impl FnOnce(&mut machine::State, &mut machine::Jobs, Completion) -> Result<(), Status>,
    ) -> Result<(), Status> {
        self.machine.with(self.index, |state, jobs| {
            match (state.over, state.devices[self.index].error) {
                (true, _) => jobs.push((done, Err(status::DEINITIALIZED))),
                (false, Some(error)) => jobs.push((done, Err(error))),
                (false, None) => return f(state, jobs, done),
            }
            Ok(())
        })
    }
}

/// Makes a GPU's context while the session begins: that takes longer than anything else.
fn prepare(machine: &Arc<Machine>, first: usize) {
    if first >= machine.gpus.len() {
        return;
    }
    let machine = machine.clone();
    let prepare = move || {
        // Who uses it next makes it, or is told why that fails.
        let _ = machine.enter(first);
    };
    let named = std::thread::Builder::new().name("vcuda-context".into());
    // Nor is it needed: the first use makes the context.
    let _ = named.spawn(prepare);
}

impl Device for NvidiaDevice {
    fn attach(&self, faults: Arc<dyn Faults>) {
        // A device belongs to one session; a second one would get no faults.
        let _ = self.gpu().faults.set(faults);
    }

    fn info(&self) -> DeviceInfo {
        self.gpu().info.clone()
    }

    fn poll(&self) -> Option<Duration> {
        // The machine looks for all its devices.
        (self.index == 0).then(|| self.machine.poll()).flatten()
    }

    fn reset(&self, done: Completion) {
        let machine = &self.machine;
        let index = self.index;
        let reset = machine.with(index, |state, jobs| {
            state.reset(machine, index, jobs);
            jobs.push((done, Ok(())));
            Ok(())
        });
        // Nothing in there gives an error.
        let _ = reset;
    }

    fn abort(&self) {
        /// The session's thread may wait for room in a stream that a kernel keeps busy for good.
        const PATIENCE: Duration = Duration::from_millis(100);
        let mut jobs = machine::Jobs::new();
        let mut gates = Vec::new();
        if let Some(mut state) = self.machine.state.try_lock_for(PATIENCE) {
            state.over = true;
            gates = state.open_gates();
            state.end_waits(&self.machine, None, status::DEINITIALIZED, &mut jobs);
        }
        for gate in gates {
            gate.open();
        }
        self.machine.run(jobs);
    }

    fn synchronize(&self, done: Completion) {
        let waits = self.waits(done, |state, jobs, done| {
            state.when_idle(&self.machine, Some(self.index), done, jobs);
            Ok(())
        });
        // What keeps it from waiting, it is told.
        let _ = waits;
    }

    fn when_at_rest(&self, done: Box<dyn FnOnce() + Send>) {
        let waits = self.waits(Box::new(|_| done()), |state, jobs, done| {
            state.when_at_rest(&self.machine, done, jobs);
            Ok(())
        });
        let _ = waits;
    }

    fn memory_info(&self) -> MemoryInfo {
        let info = self.with(|state, _| {
            self.machine.enter(self.index)?;
            state.bury_arrays(&self.machine, self.index);
            state.devices[self.index].memory.info(&self.machine)
        });
        info.unwrap_or(MemoryInfo {
            free: 0,
            total: self.gpu().info.total_memory,
        })
    }

    fn allocate(&self, address: u64, size: u64, order: Order, _tag: u64) -> Result<(), Status> {
        self.with(|state, _| state.allocate(&self.machine, self.index, (address, size), order))
    }

    fn free(&self, address: u64, order: Order) -> Result<(), Status> {
        self.with(|state, _| state.free(&self.machine, self.index, address, order))
    }

    fn holds(&self, address: u64, len: u64) -> bool {
        self.machine.state.lock().holds(address, len)
    }

    fn host_allocate(&self, address: u64, size: u64) -> Result<(), Status> {
        // One registers it for all.
        match self.index {
            0 => self.with(|state, _| state.host_allocate(&self.machine, address, size)),
            _ => Ok(()),
        }
    }

    fn host_free(&self, address: u64) {
        if self.index == 0 {
            self.machine.state.lock().host_free(&self.machine, address);
        }
    }

    fn copy(
        &self,
        stream: StreamHandle,
        dst: Operand,
        src: Operand,
        extent: Extent,
        _tag: u64,
    ) -> Result<(), Status> {
        let used = host::lasting([&dst, &src]);
        self.with(|state, jobs| {
            state.copy(&self.machine, stream, (dst, src), extent, jobs)?;
            state.keep(&self.machine, stream, used, jobs)
        })
    }

    fn fill(
        &self,
        stream: StreamHandle,
        place: (u64, Pitch),
        value: u32,
        element: u8,
        extent: Extent,
        _tag: u64,
    ) -> Result<(), Status> {
        self.with(|state, _| state.fill(&self.machine, stream, place, value, element, extent))
    }

    fn host_function(
        &self,
        stream: StreamHandle,
        function: Completion,
        _quick: bool,
    ) -> Result<(), Status> {
        self.with(|state, _| {
            let (device, cu) = state.issue(&self.machine, stream)?;
            self.machine.call_on(device, cu, function)
        })
    }

    fn wait_for_gate(&self, stream: StreamHandle, gate: Gate) -> Result<(), Status> {
        self.with(|state, _| state.wait_for_gate(&self.machine, stream, gate))
    }

    fn peer_attribute(&self, peer: usize, attribute: u32) -> Result<u32, Status> {
        self.machine.peer_attribute(self.index, peer, attribute)
    }

    fn peer_access(&self, peer: usize, enabled: bool) -> Result<(), Status> {
        self.with(|state, _| state.peer_access(&self.machine, self.index, peer, enabled))
    }

    fn stream_priorities(&self) -> Result<u32, Status> {
        self.with(|_, _| {
            self.machine.enter(self.index)?;
            let (mut least, mut greatest) = (0, 0);
            call!(
                self.machine.driver,
                cuCtxGetStreamPriorityRange(&mut least, &mut greatest)
            )?;
            Ok(least.saturating_sub(greatest).max(0) as u32 + 1)
        })
    }

    fn legacy_stream(&self) -> StreamHandle {
        let stream = self.with(|state, _| state.legacy(&self.machine, self.index));
        // No stream has this handle, so that what is done with it says what is wrong.
        stream.unwrap_or(StreamHandle(u64::MAX))
    }

    fn stream_create(&self, blocking: bool, priority: i32) -> Result<StreamHandle, Status> {
        self.with(|state, _| state.create_stream(&self.machine, self.index, blocking, priority))
    }

    fn stream_destroy(&self, stream: StreamHandle) -> Result<(), Status> {
        self.with(|state, _| state.destroy_stream(&self.machine, stream))
    }

    fn stream_query(&self, stream: StreamHandle) -> Result<bool, Status> {
        self.with(|state, _| state.query_stream(&self.machine, stream))
    }

    fn stream_synchronize(&self, stream: StreamHandle, done: Completion) -> Result<(), Status> {
        self.waits(done, |state, jobs, done| {
            state.wait_for_stream(&self.machine, stream, done, jobs)
        })
    }

    fn stream_wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<(), Status> {
        self.with(|state, _| state.stream_wait_event(&self.machine, stream, event))
    }

    fn event_create(&self, timing: bool) -> Result<EventHandle, Status> {
        self.with(|state, _| state.create_event(&self.machine, self.index, timing))
    }

    fn event_destroy(&self, event: EventHandle) -> Result<(), Status> {
        self.with(|state, _| state.destroy_event(event))
    }

    fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), Status> {
        self.with(|state, _| state.record_event(&self.machine, event, stream))
    }

    fn event_query(&self, event: EventHandle) -> Result<bool, Status> {
        self.with(|state, _| state.query_event(&self.machine, event))
    }

    fn event_synchronize(&self, event: EventHandle, done: Completion) -> Result<(), Status> {
        self.waits(done, |state, jobs, done| {
            state.wait_for_event(&self.machine, event, done, jobs)
        })
    }

    fn event_elapsed(&self, start: EventHandle, end: EventHandle) -> Result<f32, Status> {
        self.with(|state, _| state.elapsed(&self.machine, start, end))
    }

    fn module_load(
        &self,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> (Option<ModuleHandle>, ModuleInfo) {
        let loaded =
            self.with(|state, _| Ok(state.load_module(&self.machine, self.index, image, managed)));
        loaded.unwrap_or_else(|status| {
            let info = ModuleInfo {
                status,
                info_log: String::new(),
                error_log: String::new(),
                kernels: 0,
            };
            (None, info)
        })
    }

    fn module_unload(&self, module: ModuleHandle) -> Result<(), Status> {
        self.with(|state, jobs| state.unload_module(&self.machine, self.index, module, jobs))
    }

    fn function(
        &self,
        module: ModuleHandle,
        name: &str,
    ) -> Result<(FunctionHandle, FunctionInfo), Status> {
        self.with(|state, _| state.find_function(&self.machine, module, name))
    }

    fn global(&self, module: ModuleHandle, name: &str) -> Result<GlobalInfo, Status> {
        self.with(|state, _| state.find_global(&self.machine, module, name))
    }

    fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: u32,
        value: i32,
    ) -> Result<(), Status> {
        self.with(|state, _| state.set_attribute(&self.machine, function, attribute, value))
    }

    fn occupancy(
        &self,
        function: FunctionHandle,
        block_size: u32,
        dynamic_shared: u64,
    ) -> Result<u32, Status> {
        self.with(|state, _| state.occupancy(&self.machine, function, block_size, dynamic_shared))
    }

    fn launch(&self, stream: StreamHandle, request: LaunchRequest, tag: u64) -> Result<(), Status> {
        self.with(|state, _| state.launch(&self.machine, stream, request, tag))
    }

    fn array_create(&self, array: &Array, _tag: u64) -> Result<(), Status> {
        self.with(|state, _| state.create_array(&self.machine, self.index, array))
    }

    fn array_destroy(&self, address: u64, done: Completion) -> Result<(), Status> {
        self.waits(done, |state, jobs, done| {
            state.destroy_array(&self.machine, self.index, address, done, jobs)
        })
    }

    fn texture_create(&self, object: u64, texture: &Texture) -> Result<u64, Status> {
        self.with(|state, _| state.create_object(&self.machine, self.index, object, texture))
    }

    fn texture_destroy(&self, object: u64) -> Result<(), Status> {
        self.with(|state, _| state.destroy_object(&self.machine, self.index, object))
    }

    fn kernel_heap(&self, size: u64) -> Result<(), Status> {
        /// `CU_LIMIT_MALLOC_HEAP_SIZE`
        const MALLOC_HEAP_SIZE: u32 = 2;
        self.with(|_, _| {
            self.machine.enter(self.index)?;
            let size = usize::try_from(size).map_err(|_| status::INVALID_VALUE)?;
            call!(self.machine.driver, cuCtxSetLimit(MALLOC_HEAP_SIZE, size))
        })
    }
}

impl machine::State {
    fn legacy(&mut self, machine: &Machine, device: usize) -> Result<StreamHandle, Status> {
        if self.devices[device].legacy.is_none() {
            machine.enter(device)?;
            self.add_legacy(machine, device)?;
        }
        let legacy = self.devices[device].legacy;
        legacy.ok_or(status::INVALID_HANDLE)
    }

    /// Destroys a GPU's context with all that was in it. What is issued next makes another, except
    /// after an error that stays.
    fn reset(&mut self, machine: &Machine, device: usize, jobs: &mut machine::Jobs) {
        // Work that waits for a function of the program would never end.
        let gates = self.open_gates();
        let waits_for_program = gates.iter().any(|gate| !gate.is_open());
        if !waits_for_program {
            // Others too, because memory of the host that they use is pinned by this context.
            for index in 0..machine.gpus.len() {
                if machine.gpus[index].has_context()
                    && machine.enter(index).is_ok()
                    && let Err(status) = call!(machine.driver, cuCtxSynchronize())
                    && status::is_sticky(status)
                {
                    self.fail(machine, index, status, jobs);
                }
            }
            machine.printed.flush();
        }
        self.look(machine, jobs);
        self.end_waits(machine, Some(device), status::DEINITIALIZED, jobs);
        self.forget_streams(machine, device);
        self.forget_modules(device);
        // What cannot be destroyed is not used any more.
        let _ = machine.destroy_context(device);
        self.devices[device].memory.clear(machine);
        self.devices[device].arrays = Arrays::default();
        self.devices[device].objects = Objects::default();
        match self.devices[device].error {
            None => {
                if machine.enter_any().is_ok() {
                    self.pin_again(machine);
                }
            }
            // After an error that stays, the driver makes no context for this process.
            Some(_) => self.devices[device].error = Some(status::DEVICES_UNAVAILABLE),
        }
    }
}
