// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that accepts everything and computes nothing, for tests of what is around a device.
//!
//! It checks what it is given as a device must: handles, memory ranges, sizes. Copies to the host
//! give zeros; every module loads and has every kernel, with no parameters; work is finished as
//! soon as it is issued.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use vcuda_protocol::{
    DeviceInfo, Extent, FunctionInfo, GlobalInfo, MemoryInfo, ModuleInfo, Pitch, Status, Texture,
};

use super::allocations::Allocations;
use super::*;
use crate::rows::Rows;
use crate::status;

/// First address of the heap.
pub const HEAP_BASE: u64 = 0x7_0000_0000;
/// Bytes of the heap, which is also all memory.
pub const HEAP_LEN: u64 = 16 << 30;

/// See the [module](self).
#[derive(Default)]
pub struct NullDevice {
    tables: Mutex<Tables>,
    next: AtomicU64,
}

#[derive(Default)]
struct Tables {
    memory: Allocations,
    used: u64,
    streams: BTreeSet<StreamHandle>,
    events: BTreeSet<EventHandle>,
    modules: BTreeSet<ModuleHandle>,
    functions: BTreeSet<FunctionHandle>,
    textures: BTreeSet<u64>,
}

impl Tables {
    fn check_stream(&self, stream: StreamHandle) -> Result<(), Status> {
        known(stream.0 == 0 || self.streams.contains(&stream))
    }

    fn check_operand(&self, operand: &Operand, extent: Extent) -> Result<(), Status> {
        match *operand {
            Operand::Device { address, pitch } => self.check_memory(address, pitch, extent),
            Operand::Host { .. } => Ok(()),
        }
    }

    fn check_memory(&self, address: u64, pitch: Pitch, extent: Extent) -> Result<(), Status> {
        let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
        let held = rows.span() == 0 || self.memory.holds(address, rows.span());
        held.then_some(()).ok_or(status::INVALID_VALUE)
    }
}

fn known(known: bool) -> Result<(), Status> {
    known.then_some(()).ok_or(status::INVALID_HANDLE)
}

impl NullDevice {
    fn name(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Device for NullDevice {
    fn attach(&self, _faults: Arc<dyn Faults>) {}

    fn info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "vcuda null device".into(),
            uuid: *b"vcuda-null-00000",
            total_memory: HEAP_LEN,
            heap_base: HEAP_BASE,
            heap_len: HEAP_LEN,
            attributes: Vec::new(),
            driver_version: 13000,
        }
    }

    fn reset(&self, done: Completion) {
        *self.tables.lock() = Tables::default();
        done(Ok(()));
    }

    fn abort(&self) {}

    fn synchronize(&self, done: Completion) {
        done(Ok(()));
    }

    fn when_at_rest(&self, done: Box<dyn FnOnce() + Send>) {
        done();
    }

    fn memory_info(&self) -> MemoryInfo {
        MemoryInfo {
            free: HEAP_LEN - self.tables.lock().used,
            total: HEAP_LEN,
        }
    }

    fn allocate(&self, address: u64, size: u64, _order: Order, _tag: u64) -> Result<(), Status> {
        let mut tables = self.tables.lock();
        let end = address.checked_add(size).ok_or(status::INVALID_VALUE)?;
        let fits = |base: u64, len: u64| address >= base && end <= base + len;
        let (arrays, arrays_len) = self.info().arrays();
        let fits = fits(HEAP_BASE, HEAP_LEN) || fits(arrays, arrays_len);
        if !fits || !tables.memory.insert(address, size) {
            return Err(status::INVALID_VALUE);
        }
        tables.used += size;
        Ok(())
    }

    fn free(&self, address: u64, _order: Order) -> Result<(), Status> {
        let mut tables = self.tables.lock();
        let (arrays, arrays_len) = self.info().arrays();
        let within = |base: u64, len: u64| address.wrapping_sub(base) < len;
        if !within(HEAP_BASE, HEAP_LEN) && !within(arrays, arrays_len) {
            return Err(status::INVALID_VALUE);
        }
        tables.used -= tables.memory.remove(address).ok_or(status::INVALID_VALUE)?;
        Ok(())
    }

    fn holds(&self, address: u64, len: u64) -> bool {
        self.tables.lock().memory.holds(address, len)
    }

    fn host_allocate(&self, address: u64, size: u64) -> Result<(), Status> {
        let inserted = self.tables.lock().memory.insert(address, size);
        inserted.then_some(()).ok_or(status::INVALID_VALUE)
    }

    fn host_free(&self, address: u64) {
        self.tables.lock().memory.remove(address);
    }

    fn copy(
        &self,
        stream: StreamHandle,
        dst: Operand,
        src: Operand,
        extent: Extent,
        _tag: u64,
    ) -> Result<(), Status> {
        let tables = self.tables.lock();
        tables.check_stream(stream)?;
        tables.check_operand(&src, extent)?;
        tables.check_operand(&dst, extent)?;
        if let Operand::Host {
            memory,
            offset,
            pitch,
        } = dst
        {
            let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
            for (at, len) in rows.runs() {
                if !memory.write(offset + at, &vec![0; len as usize]) {
                    return Err(status::INVALID_VALUE);
                }
            }
        }
        Ok(())
    }

    fn fill(
        &self,
        stream: StreamHandle,
        (address, pitch): (u64, Pitch),
        _value: u32,
        element: u8,
        extent: Extent,
        _tag: u64,
    ) -> Result<(), Status> {
        let tables = self.tables.lock();
        tables.check_stream(stream)?;
        if !matches!(element, 1 | 2 | 4) {
            return Err(status::INVALID_VALUE);
        }
        tables.check_memory(address, pitch, extent)
    }

    fn host_function(
        &self,
        stream: StreamHandle,
        function: Completion,
        _quick: bool,
    ) -> Result<(), Status> {
        self.stream_synchronize(stream, function)
    }

    /// There is nothing that could wait.
    fn wait_for_gate(&self, stream: StreamHandle, _gate: Gate) -> Result<(), Status> {
        self.tables.lock().check_stream(stream)
    }

    fn legacy_stream(&self) -> StreamHandle {
        StreamHandle(0)
    }

    fn stream_create(&self, _blocking: bool, _priority: i32) -> Result<StreamHandle, Status> {
        let stream = StreamHandle(self.name());
        self.tables.lock().streams.insert(stream);
        Ok(stream)
    }

    fn stream_destroy(&self, stream: StreamHandle) -> Result<(), Status> {
        known(self.tables.lock().streams.remove(&stream))
    }

    fn stream_query(&self, stream: StreamHandle) -> Result<bool, Status> {
        self.tables.lock().check_stream(stream).map(|()| true)
    }

    fn stream_synchronize(&self, stream: StreamHandle, done: Completion) -> Result<(), Status> {
        self.tables.lock().check_stream(stream)?;
        done(Ok(()));
        Ok(())
    }

    fn stream_wait_event(&self, stream: StreamHandle, _event: EventHandle) -> Result<(), Status> {
        self.tables.lock().check_stream(stream)
    }

    fn event_create(&self, _timing: bool) -> Result<EventHandle, Status> {
        let event = EventHandle(self.name());
        self.tables.lock().events.insert(event);
        Ok(event)
    }

    fn event_destroy(&self, event: EventHandle) -> Result<(), Status> {
        known(self.tables.lock().events.remove(&event))
    }

    fn event_record(&self, event: EventHandle, stream: StreamHandle) -> Result<(), Status> {
        let tables = self.tables.lock();
        tables.check_stream(stream)?;
        known(tables.events.contains(&event))
    }

    fn event_query(&self, event: EventHandle) -> Result<bool, Status> {
        known(self.tables.lock().events.contains(&event)).map(|()| true)
    }

    fn event_synchronize(&self, event: EventHandle, done: Completion) -> Result<(), Status> {
        known(self.tables.lock().events.contains(&event))?;
        done(Ok(()));
        Ok(())
    }

    fn event_elapsed(&self, _start: EventHandle, _end: EventHandle) -> Result<f32, Status> {
        Ok(0.0)
    }

    fn module_load(
        &self,
        _image: &[u8],
        _managed: &HashMap<String, u64>,
    ) -> (Option<ModuleHandle>, ModuleInfo) {
        let module = ModuleHandle(self.name());
        self.tables.lock().modules.insert(module);
        let info = ModuleInfo {
            status: Status::SUCCESS,
            info_log: String::new(),
            error_log: String::new(),
            kernels: 0,
        };
        (Some(module), info)
    }

    fn module_unload(&self, module: ModuleHandle) -> Result<(), Status> {
        known(self.tables.lock().modules.remove(&module))
    }

    fn function(
        &self,
        module: ModuleHandle,
        _name: &str,
    ) -> Result<(FunctionHandle, FunctionInfo), Status> {
        let mut tables = self.tables.lock();
        known(tables.modules.contains(&module))?;
        let function = FunctionHandle(self.name());
        tables.functions.insert(function);
        let info = FunctionInfo {
            params: Vec::new(),
            param_bytes: 0,
            max_threads_per_block: 1024,
            static_shared: 0,
            const_bytes: 0,
            local_bytes: 0,
            registers: 0,
            ptx_version: 0,
            binary_version: 0,
            max_dynamic_shared: 48 << 10,
        };
        Ok((function, info))
    }

    fn global(&self, module: ModuleHandle, _name: &str) -> Result<GlobalInfo, Status> {
        known(self.tables.lock().modules.contains(&module))?;
        Err(status::NOT_FOUND)
    }

    fn function_set_attribute(
        &self,
        function: FunctionHandle,
        _attribute: u32,
        _value: i32,
    ) -> Result<(), Status> {
        known(self.tables.lock().functions.contains(&function))
    }

    fn occupancy(
        &self,
        function: FunctionHandle,
        _block_size: u32,
        _dynamic_shared: u64,
    ) -> Result<u32, Status> {
        known(self.tables.lock().functions.contains(&function)).map(|()| 1)
    }

    fn texture_create(&self, object: u64, texture: &Texture) -> Result<u64, Status> {
        let object = if object == 0 { self.name() } else { object };
        let mut tables = self.tables.lock();
        if texture.levels.is_empty() || !tables.textures.insert(object) {
            return Err(status::INVALID_VALUE);
        }
        Ok(object)
    }

    fn texture_destroy(&self, object: u64) -> Result<(), Status> {
        known(self.tables.lock().textures.remove(&object))
    }

    fn kernel_heap(&self, _size: u64) -> Result<(), Status> {
        Ok(())
    }

    fn launch(
        &self,
        stream: StreamHandle,
        request: LaunchRequest,
        _tag: u64,
    ) -> Result<(), Status> {
        let tables = self.tables.lock();
        tables.check_stream(stream)?;
        known(tables.functions.contains(&request.function))
    }
}
