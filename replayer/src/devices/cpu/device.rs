// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device does at each call.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use vcuda_protocol::{
    Array, DeviceInfo, Extent, FunctionInfo, GlobalInfo, MemoryInfo, ModuleInfo, Pitch, Status,
    Texture,
};

use super::memory::Refusal;
use super::scheduler::watch_all;
use super::streams::WorkPoint;
use super::work::{CopyWork, FillWork, LaunchWork, Work};
use super::{CpuDevice, Tables, info, launch};
use crate::devices::{
    Completion, Device, EventHandle, Faults, FunctionHandle, Gate, LaunchRequest, ModuleHandle,
    Operand, Order, StreamHandle,
};
use crate::rows::Rows;
use crate::status;

impl CpuDevice {
    /// Pushes a stream's next work.
    fn issue(&self, stream: StreamHandle, work: Work) -> Result<WorkPoint, Status> {
        let place = self.machine.tables.lock().streams.place(stream)?;
        Ok(self.machine.push(place, work))
    }

    fn health_after(&self, done: Completion) -> Box<dyn FnOnce() + Send> {
        let context = self.context.clone();
        Box::new(move || done(context.health()))
    }

    fn check_place(&self, tables: &Tables, address: u64, rows: Rows) -> Result<(), Status> {
        let held = rows.span() == 0 || tables.memory.holds(address, rows.span());
        held.then_some(()).ok_or(status::INVALID_VALUE)
    }

    fn check_operand(
        &self,
        tables: &Tables,
        operand: &Operand,
        extent: Extent,
    ) -> Result<(), Status> {
        match operand {
            Operand::Device { address, pitch } => {
                let rows = Rows::new(extent, *pitch).ok_or(status::INVALID_VALUE)?;
                self.check_place(tables, *address, rows)
            }
            Operand::Host {
                memory,
                offset,
                pitch,
            } => {
                let rows = Rows::new(extent, *pitch).ok_or(status::INVALID_VALUE)?;
                let held = memory.holds(*offset, rows.span());
                held.then_some(()).ok_or(status::INVALID_VALUE)
            }
        }
    }
}

impl Device for CpuDevice {
    fn attach(&self, faults: Arc<dyn Faults>) {
        self.context.attach(faults);
    }

    fn info(&self) -> DeviceInfo {
        info::device_info(self.index, &self.machine.options)
    }

    fn reset(&self, done: Completion) {
        let (place, memory) = {
            let tables = &mut *self.machine.tables.lock();
            tables.streams.reset(self.index);
            tables.modules.reset(self.index);
            if let Some(textures) = tables.textures.get_mut(self.index as usize) {
                textures.clear();
            }
            (tables.streams.last_place(), tables.memory.reset(self.index))
        };
        let work = Work::Reset {
            context: self.context.clone(),
            addresses: memory.iter().map(|&(address, _)| address).collect(),
        };
        let reset = self.machine.push(place, work);
        {
            let tables = &mut *self.machine.tables.lock();
            for (address, size) in memory {
                tables.memory.leave(address, size, reset.clone());
            }
            tables.streams.set_fence(reset.clone());
        }
        reset.watch(self.health_after(done));
    }

    fn abort(&self) {
        self.context.abort();
    }

    fn synchronize(&self, done: Completion) {
        let unfinished = {
            let tables = self.machine.tables.lock();
            tables.streams.unfinished(Some(self.index))
        };
        watch_all(unfinished, self.health_after(done));
    }

    fn when_at_rest(&self, done: Box<dyn FnOnce() + Send>) {
        self.machine.scheduler.when_at_rest(done);
    }

    fn memory_info(&self) -> MemoryInfo {
        MemoryInfo {
            free: self.machine.tables.lock().memory.free_bytes(self.index),
            total: self.machine.options.memory,
        }
    }

    fn allocate(&self, address: u64, size: u64, order: Order, tag: u64) -> Result<(), Status> {
        let machine = &self.machine;
        let place = {
            let tables = &mut *machine.tables.lock();
            if let Order::Stream(stream) = order {
                tables.streams.queue(stream)?;
            }
            let occupied = tables.memory.allocate(self.index, address, size).map_err(
                |refusal| match refusal {
                    Refusal::Invalid => status::INVALID_VALUE,
                    Refusal::Full => status::OUT_OF_MEMORY,
                },
            )?;
            match order {
                _ if occupied.is_empty() => None,
                Order::Device => Some(tables.streams.housekeeping(occupied)),
                Order::Stream(stream) => {
                    let mut place = tables.streams.place(stream)?;
                    place.behind.extend(occupied);
                    Some(place)
                }
            }
        };
        let Some(place) = place else {
            return machine.core.space.allocate(address, size).map_err(|error| {
                vcuda_transport::say!("{error}");
                machine.tables.lock().memory.free(self.index, address);
                status::OUT_OF_MEMORY
            });
        };
        let work = Work::Allocate {
            context: self.context.clone(),
            address,
            size,
            tag,
        };
        let there = machine.push(place, work);
        if order == Order::Device {
            machine.tables.lock().streams.set_fence(there);
        }
        Ok(())
    }

    fn free(&self, address: u64, order: Order) -> Result<(), Status> {
        let (place, size) = {
            let tables = &mut *self.machine.tables.lock();
            if let Order::Stream(stream) = order {
                tables.streams.queue(stream)?;
            }
            let size = tables
                .memory
                .free(self.index, address)
                .ok_or(status::INVALID_VALUE)?;
            let place = match order {
                Order::Device => tables.streams.last_place(),
                Order::Stream(stream) => tables.streams.place(stream)?,
            };
            (place, size)
        };
        self.machine.free_later(place, vec![(address, size)]);
        Ok(())
    }

    fn holds(&self, address: u64, len: u64) -> bool {
        self.machine.tables.lock().memory.holds(address, len)
    }

    fn host_allocate(&self, address: u64, size: u64) -> Result<(), Status> {
        // The devices share the address space: one enters it for all.
        if self.index > 0 {
            return Ok(());
        }
        let memory = &mut self.machine.tables.lock().memory;
        if !memory.add_host(address, size) {
            return Err(status::INVALID_VALUE);
        }
        self.machine
            .core
            .space
            .allocate(address, size)
            .map_err(|_| {
                memory.remove_host(address);
                status::INVALID_VALUE
            })
    }

    fn host_free(&self, address: u64) {
        if self.index > 0 {
            return;
        }
        self.machine.tables.lock().memory.remove_host(address);
        // It was there, or nothing is to be done.
        let _ = self.machine.core.space.free(address);
    }

    fn copy(
        &self,
        stream: StreamHandle,
        dst: Operand,
        src: Operand,
        extent: Extent,
        tag: u64,
    ) -> Result<(), Status> {
        let tables = self.machine.tables.lock();
        self.check_operand(&tables, &dst, extent)?;
        self.check_operand(&tables, &src, extent)?;
        drop(tables);
        let work = CopyWork {
            context: self.context.clone(),
            dst,
            src,
            extent,
            tag,
        };
        self.issue(stream, Work::Copy(Box::new(work))).map(|_| ())
    }

    fn fill(
        &self,
        stream: StreamHandle,
        (address, pitch): (u64, Pitch),
        value: u32,
        element: u8,
        extent: Extent,
        tag: u64,
    ) -> Result<(), Status> {
        let rows = Rows::of_elements(element, address, extent, pitch);
        let rows = rows.ok_or(status::INVALID_VALUE)?;
        self.check_place(&self.machine.tables.lock(), address, rows)?;
        let pattern = value.to_le_bytes();
        let work = FillWork {
            context: self.context.clone(),
            address,
            rows,
            pattern: pattern[..element as usize].to_vec(),
            tag,
        };
        self.issue(stream, Work::Fill(Box::new(work))).map(|_| ())
    }

    fn host_function(
        &self,
        stream: StreamHandle,
        function: Completion,
        quick: bool,
    ) -> Result<(), Status> {
        let context = self.context.clone();
        let work = Work::Call {
            context,
            function,
            quick,
        };
        self.issue(stream, work).map(|_| ())
    }

    fn wait_for_gate(&self, stream: StreamHandle, gate: Gate) -> Result<(), Status> {
        let mut place = self.machine.tables.lock().streams.place(stream)?;
        self.context.guard(&gate);
        place.behind.push(WorkPoint::of_gate(&gate));
        self.machine.push(place, Work::Nothing);
        Ok(())
    }

    fn legacy_stream(&self) -> StreamHandle {
        StreamHandle(self.index.into())
    }

    fn stream_create(&self, blocking: bool, _priority: i32) -> Result<StreamHandle, Status> {
        let streams = &mut self.machine.tables.lock().streams;
        Ok(streams.create(self.index, blocking))
    }

    fn stream_destroy(&self, stream: StreamHandle) -> Result<(), Status> {
        self.machine.tables.lock().streams.destroy(stream)
    }

    fn stream_query(&self, stream: StreamHandle) -> Result<bool, Status> {
        let tables = self.machine.tables.lock();
        Ok(tables.streams.queue(stream)?.is_drained())
    }

    fn stream_synchronize(&self, stream: StreamHandle, done: Completion) -> Result<(), Status> {
        let end = {
            let tables = self.machine.tables.lock();
            tables.streams.queue(stream)?.end()
        };
        end.watch(self.health_after(done));
        Ok(())
    }

    fn stream_wait_event(&self, stream: StreamHandle, event: EventHandle) -> Result<(), Status> {
        let place = {
            let tables = &mut *self.machine.tables.lock();
            tables.streams.queue(stream)?;
            let Some(point) = tables.streams.recorded(event)? else {
                return Ok(());
            };
            let mut place = tables.streams.place(stream)?;
            place.behind.push(point);
            place
        };
        self.machine.push(place, Work::Nothing);
        Ok(())
    }

    fn event_create(&self, timing: bool) -> Result<EventHandle, Status> {
        let streams = &mut self.machine.tables.lock().streams;
        Ok(streams.create_event(self.index, timing))
    }

    fn event_destroy(&self, event: EventHandle) -> Result<(), Status> {
        self.machine.tables.lock().streams.destroy_event(event)
    }

    fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), Status> {
        self.machine.tables.lock().streams.has_event(event)?;
        let time = Arc::new(OnceLock::new());
        let point = self.issue(stream, Work::Record(time.clone()))?;
        let streams = &mut self.machine.tables.lock().streams;
        streams.record(event, point, time);
        Ok(())
    }

    fn event_query(&self, event: EventHandle) -> Result<bool, Status> {
        let record = self.machine.tables.lock().streams.recorded(event)?;
        Ok(record.is_none_or(|point| point.is_reached()))
    }

    fn event_synchronize(&self, event: EventHandle, done: Completion) -> Result<(), Status> {
        let record = self.machine.tables.lock().streams.recorded(event)?;
        watch_all(record.into_iter().collect(), self.health_after(done));
        Ok(())
    }

    fn event_elapsed(&self, start: EventHandle, end: EventHandle) -> Result<f32, Status> {
        let tables = self.machine.tables.lock();
        let (start, end) = (tables.streams.time(start)?, tables.streams.time(end)?);
        let forward = end.saturating_duration_since(start).as_secs_f64();
        let backward = start.saturating_duration_since(end).as_secs_f64();
        Ok(((forward - backward) * 1000.0) as f32)
    }

    fn module_load(
        &self,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> (Option<ModuleHandle>, ModuleInfo) {
        match self.load(image, managed) {
            Ok((module, kernels)) => {
                let info = ModuleInfo {
                    status: Status::SUCCESS,
                    info_log: String::new(),
                    error_log: String::new(),
                    kernels,
                };
                (Some(module), info)
            }
            // The client shows the log to its program, or on standard error.
            Err(info) => (None, info),
        }
    }

    fn module_unload(&self, module: ModuleHandle) -> Result<(), Status> {
        let (place, memory) = {
            let tables = &mut *self.machine.tables.lock();
            let module = tables.modules.remove(module)?;
            for &(address, _) in &module.globals {
                tables.memory.remove_global(self.index, address);
            }
            (tables.streams.last_place(), module.globals)
        };
        self.machine.free_later(place, memory);
        Ok(())
    }

    fn function(
        &self,
        module: ModuleHandle,
        name: &str,
    ) -> Result<(FunctionHandle, FunctionInfo), Status> {
        let modules = &mut self.machine.tables.lock().modules;
        let function = modules.find(module, name)?;
        let info = modules
            .function(function)?
            .info(self.machine.options.compute_capability);
        Ok((function, info))
    }

    fn global(&self, module: ModuleHandle, name: &str) -> Result<GlobalInfo, Status> {
        let tables = self.machine.tables.lock();
        let program = &tables.modules.get(module)?.program;
        let (address, size) = program.global(name).ok_or(status::NOT_FOUND)?;
        Ok(GlobalInfo { address, size })
    }

    fn function_set_attribute(
        &self,
        function: FunctionHandle,
        attribute: u32,
        value: i32,
    ) -> Result<(), Status> {
        let modules = &mut self.machine.tables.lock().modules;
        modules
            .function_mut(function)?
            .set_attribute(attribute, value)
    }

    fn occupancy(
        &self,
        function: FunctionHandle,
        block_size: u32,
        dynamic_shared: u64,
    ) -> Result<u32, Status> {
        let tables = self.machine.tables.lock();
        tables
            .modules
            .function(function)?
            .occupancy(block_size, dynamic_shared)
    }

    fn launch(&self, stream: StreamHandle, request: LaunchRequest, tag: u64) -> Result<(), Status> {
        let (place, kernel, images) = {
            let tables = &mut *self.machine.tables.lock();
            let function = tables.modules.function(request.function)?;
            launch::check(function, &request, &self.machine.options)?;
            let kernel = function.kernel.clone();
            let images = tables.textures(self.index)?.images();
            (tables.streams.place(stream)?, kernel, images)
        };
        let launch = LaunchWork {
            context: self.context.clone(),
            kernel,
            grid: launch::extents(request.grid),
            block: launch::extents(request.block),
            dynamic_shared: request.dynamic_shared,
            cooperative: request.cooperative,
            params: request.params.0,
            images,
            tag,
        };
        self.machine.push(place, Work::Launch(launch));
        Ok(())
    }

    fn array_create(&self, array: &Array, tag: u64) -> Result<(), Status> {
        let size = array.bytes().ok_or(status::INVALID_VALUE)?;
        self.allocate(array.address, size, Order::Device, tag)?;
        self.machine
            .tables
            .lock()
            .textures(self.index)?
            .leave_room();
        Ok(())
    }

    fn texture_create(&self, object: u64, texture: &Texture) -> Result<u64, Status> {
        let mut tables = self.machine.tables.lock();
        tables.textures(self.index)?.create(object, texture)
    }

    fn texture_destroy(&self, object: u64) -> Result<(), Status> {
        let mut tables = self.machine.tables.lock();
        tables.textures(self.index)?.destroy(object)
    }

    /// The devices of a session have one memory, in which kernels need no leave for each other's.
    fn peer_attribute(&self, _peer: usize, attribute: u32) -> Result<u32, Status> {
        /// Access, atomics and arrays (`CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED` and following);
        /// before them is a rank of speed, behind them what is restricted.
        const SUPPORTED: std::ops::RangeInclusive<u32> = 2..=4;
        Ok(SUPPORTED.contains(&attribute).into())
    }

    fn peer_access(&self, _peer: usize, _enabled: bool) -> Result<(), Status> {
        Ok(())
    }

    fn kernel_heap(&self, size: u64) -> Result<(), Status> {
        self.context.heap.set_limit(size);
        Ok(())
    }
}
