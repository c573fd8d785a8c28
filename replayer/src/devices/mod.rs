// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session needs of a device.
//!
//! [`Device`] stands at the level of the CUDA Driver API: memory at addresses, modules, streams,
//! events, launches. [`nvidia::NvidiaDevice`] is a GPU, [`cpu::CpuDevice`] executes kernels on the
//! processor, [`null::NullDevice`] checks and computes nothing.
//!
//! # Contract
//! * Methods return at once; work happens in the order of its stream. A [`Completion`] is called
//!   once, from any thread, possibly before the method returns, and holds no lock of the device.
//! * What a method refuses, it refuses at once with a status and no effect. What fails later is
//!   told to [`Faults`], before anything that waits for it completes.
//! * One session calls a device's methods, one at a time, except [`Device::abort`] and
//!   [`Device::host_free`], which any thread may call at any time.
//! * The devices of a session belong together: each understands the events and addresses of the
//!   others.
//! * Numbers come from a guest: any value may arrive in any place. Handles are the device's own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{
    Array, Bytes, DeviceInfo, Dim3, Extent, FunctionInfo, GlobalInfo, MemoryInfo, ModuleInfo,
    Pitch, Status, Texture,
};

use crate::status;

pub mod cpu;
pub mod null;
pub mod nvidia;

mod allocations;
mod gate;

pub use gate::Gate;

/// What a device names by itself.
macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident),*) => {
        $($(#[$doc])* #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)] pub struct $name(pub u64);)*
    };
}

handles!(
    /// A stream of one device.
    StreamHandle,
    /// An event.
    EventHandle,
    /// A loaded module.
    ModuleHandle,
    /// A kernel of a loaded module.
    FunctionHandle
);

/// Called when work has finished, with the device's error if it has one.
pub type Completion = Box<dyn FnOnce(Result<(), Status>) + Send>;

/// Learns what went wrong after a method had returned.
pub trait Faults: Send + Sync {
    /// Work that was issued with `tag` failed.
    fn fault(&self, tag: u64, status: Status);
}

/// When memory comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all work that was issued before on every stream, before all that is issued later.
    Device,
    /// In the order of a stream (CUDA Driver API, "Stream Ordered Memory Allocator").
    Stream(StreamHandle),
}

/// One side of a copy.
#[derive(Clone)]
pub enum Operand {
    /// What the devices know by address: their own memory, pinned or managed memory, and arrays.
    Device { address: u64, pitch: Pitch },
    /// Host memory, from `offset` on. The range is checked already.
    Host {
        memory: Scattered,
        offset: u64,
        pitch: Pitch,
    },
}

/// A launch, as it was asked for.
#[derive(Clone, Debug)]
pub struct LaunchRequest {
    pub function: FunctionHandle,
    pub grid: Dim3,
    pub block: Dim3,
    pub dynamic_shared: u32,
    pub cooperative: bool,
    /// The packed argument buffer.
    pub params: Bytes,
}

/// A device. See the [module](self) for the contract.
pub trait Device: Send + Sync {
    /// Says who learns of faults. Called once, before anything else.
    fn attach(&self, faults: Arc<dyn Faults>);
    /// What the device is. Does not change.
    fn info(&self) -> DeviceInfo;
    /// Frees all that the session holds on the device, once the work issued before has ended, and
    /// clears its error. What is issued afterwards waits for it. All handles but the legacy
    /// stream's become invalid at once.
    fn reset(&self, done: Completion);
    /// Ends running kernels, opens gates, and skips all work that is issued or will be: the session
    /// is over.
    fn abort(&self);
    /// Looks whether work has finished, and calls back what waits for it. Whoever calls this once
    /// calls it again, from the thread that issues: often while there is nothing else to do, and
    /// within the time that it gives. `None`: nothing is waited for. A device that notices by itself
    /// gives that always.
    fn poll(&self) -> Option<Duration> {
        None
    }
    /// Calls back when all work issued before on the device has finished.
    fn synchronize(&self, done: Completion);
    /// Calls back when nothing goes on any more: all that was issued has finished or is behind a
    /// closed gate.
    fn when_at_rest(&self, done: Box<dyn FnOnce() + Send>);

    fn memory_info(&self) -> MemoryInfo;
    /// Allocates at an address within [`DeviceInfo::heap_base`] and `heap_len`.
    fn allocate(&self, address: u64, size: u64, order: Order, tag: u64) -> Result<(), Status>;
    fn free(&self, address: u64, order: Order) -> Result<(), Status>;
    /// Whether a range lies within one allocation, array or variable, as of what was issued.
    fn holds(&self, address: u64, len: u64) -> bool;
    /// Makes a range of the window known to the device, by its address.
    fn host_allocate(&self, address: u64, size: u64) -> Result<(), Status>;
    /// Forgets it. The caller has waited for the work that uses it.
    fn host_free(&self, address: u64);

    /// Copies a box. Both operands have its extent.
    fn copy(
        &self,
        stream: StreamHandle,
        dst: Operand,
        src: Operand,
        extent: Extent,
        tag: u64,
    ) -> Result<(), Status>;
    /// Fills a box with the low `element` (1, 2 or 4) bytes of `value`; `extent.width` counts bytes.
    fn fill(
        &self,
        stream: StreamHandle,
        place: (u64, Pitch),
        value: u32,
        element: u8,
        extent: Extent,
        tag: u64,
    ) -> Result<(), Status>;
    /// Calls `function` in the order of a stream. It is told whether the device is well. A `quick`
    /// one takes microseconds, so that it may be called where the stream is found ready.
    fn host_function(
        &self,
        stream: StreamHandle,
        function: Completion,
        quick: bool,
    ) -> Result<(), Status>;

    /// Later work of the stream waits until the gate is open.
    fn wait_for_gate(&self, stream: StreamHandle, gate: Gate) -> Result<(), Status>;

    /// What there is between this device and another of the session, whose memory it uses
    /// (`CUdevice_P2PAttribute`).
    fn peer_attribute(&self, _peer: usize, _attribute: u32) -> Result<u32, Status> {
        Ok(0)
    }
    /// Whether kernels may use another device's memory from now on. Copies always may.
    fn peer_access(&self, _peer: usize, _enabled: bool) -> Result<(), Status> {
        Err(crate::status::PEER_ACCESS_UNSUPPORTED)
    }

    /// How many priorities streams can have: 0 is the lowest, and each below it is higher.
    fn stream_priorities(&self) -> Result<u32, Status> {
        Ok(1)
    }
    /// The legacy default stream, which is always there.
    fn legacy_stream(&self) -> StreamHandle;
    fn stream_create(&self, blocking: bool, priority: i32) -> Result<StreamHandle, Status>;
    /// The stream's work still runs to its end.
    fn stream_destroy(&self, stream: StreamHandle) -> Result<(), Status>;
    /// Whether all work issued before on the stream has finished.
    fn stream_query(&self, stream: StreamHandle) -> Result<bool, Status>;
    fn stream_synchronize(&self, stream: StreamHandle, done: Completion) -> Result<(), Status>;
    fn stream_wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<(), Status>;

    fn event_create(&self, timing: bool) -> Result<EventHandle, Status>;
    fn event_destroy(&self, event: EventHandle) -> Result<(), Status>;
    fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), Status>;
    /// Whether the work before the latest record has finished; true if there was none.
    fn event_query(&self, event: EventHandle) -> Result<bool, Status>;
    fn event_synchronize(&self, event: EventHandle, done: Completion) -> Result<(), Status>;
    /// Milliseconds between two records (`cuEventElapsedTime`).
    fn event_elapsed(&self, start: EventHandle, end: EventHandle) -> Result<f32, Status>;

    /// Loads a fat binary, PTX text or cubin. `managed` says where variables of these names lie, in
    /// host memory that the device knows. The second value says how that went, in any case.
    fn module_load(
        &self,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> (Option<ModuleHandle>, ModuleInfo);
    /// The module's functions and variables become invalid at once; work that uses them ends well.
    fn module_unload(&self, module: ModuleHandle) -> Result<(), Status>;
    fn function(
        &self,
        module: ModuleHandle,
        name: &str,
    ) -> Result<(FunctionHandle, FunctionInfo), Status>;
    fn global(&self, module: ModuleHandle, name: &str) -> Result<GlobalInfo, Status>;
    /// Sets a `CUfunction_attribute`.
    fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: u32,
        value: i32,
    ) -> Result<(), Status>;
    /// Blocks that fit one multiprocessor.
    fn occupancy(
        &self,
        function: FunctionHandle,
        block_size: u32,
        dynamic_shared: u64,
    ) -> Result<u32, Status>;
    fn launch(&self, stream: StreamHandle, request: LaunchRequest, tag: u64) -> Result<(), Status>;

    /// Makes an array. From now on [`Operand::Device`] may name its texels. A device whose arrays
    /// are memory has nothing else to do for them, as here.
    fn array_create(&self, array: &Array, tag: u64) -> Result<(), Status> {
        let size = array.bytes().ok_or(status::INVALID_VALUE)?;
        self.allocate(array.address, size, Order::Device, tag)
    }
    /// Calls back when all work issued before on the device has finished and the array is gone.
    fn array_destroy(&self, address: u64, done: Completion) -> Result<(), Status> {
        self.free(address, Order::Device)?;
        self.synchronize(done);
        Ok(())
    }
    /// Makes a texture or surface object known to launches that are issued later, by the number that
    /// is returned. Where one is asked for (0: any) and cannot be had, it is another.
    fn texture_create(&self, object: u64, texture: &Texture) -> Result<u64, Status>;
    /// Launches that were issued before still know the object.
    fn texture_destroy(&self, object: u64) -> Result<(), Status>;
    /// Sets how much memory kernels may allocate.
    fn kernel_heap(&self, size: u64) -> Result<(), Status>;
}
