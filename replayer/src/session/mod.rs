// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session: the handles of one client, and its commands executed in their one order.
//!
//! [`Session::execute`] never blocks on device work. A command that waits registers what is to
//! happen when the work is done, and the answer goes out from whatever thread finishes it.

mod copy;
mod functions;
mod host;
mod modules;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{Command, Header, Reply, Status, Stream};

use crate::devices::{
    Completion, Device, EventHandle, FunctionHandle, LaunchRequest, ModuleHandle, Order,
    StreamHandle,
};
use crate::observer::Observer;
use crate::outbox::Outbox;
use crate::status;
use crate::window::Window;
use functions::HostFunctions;
use host::HostTable;
use modules::ManagedVariables;
use shared::{DeviceFaults, Shared, Ticket};

/// Most handles of one kind that a session may hold. CUDA has no limit; memory has.
const MAX_HANDLES: usize = 1 << 20;

/// `Some`: the answer. `None`: it comes later.
type Outcome = Result<Option<Reply>, Status>;

/// The tables of one client, and the devices that it uses.
pub struct Session {
    devices: Arc<[Arc<dyn Device>]>,
    window: Window,
    shared: Arc<Shared>,
    streams: HashMap<Stream, StreamHandle>,
    events: HashMap<u32, Event>,
    modules: HashMap<u32, Module>,
    managed: ManagedVariables,
    functions: HashMap<u32, Function>,
    host: HostTable,
    host_functions: HostFunctions,
    guest: Option<Arc<dyn GuestMemory>>,
    ended: bool,
}

/// Memory of a client in a virtual machine, which its driver makes known by numbers.
pub trait GuestMemory: Send + Sync {
    /// The memory of this number, for one copy. Waits a little where it is not known yet: command
    /// and memory come by different ways. What is known for one copy only is the driver's again
    /// when the value is dropped.
    fn memory(&self, id: u64) -> Option<Scattered>;
}

/// An event gets its device with its first record, as the client does not say it before.
struct Event {
    timing: bool,
    recorded: Option<(u32, EventHandle)>,
}

struct Module {
    device: u32,
    handle: ModuleHandle,
}

struct Function {
    device: u32,
    module: u32,
    handle: FunctionHandle,
}

impl Session {
    /// A session on devices that no other session uses, made for the same window.
    pub fn new(
        devices: Vec<Arc<dyn Device>>,
        window: Window,
        outbox: Arc<dyn Outbox>,
        observer: Option<Arc<dyn Observer>>,
    ) -> Session {
        let shared = Shared::new(devices.len(), outbox, observer);
        for (index, device) in devices.iter().enumerate() {
            device.attach(Arc::new(DeviceFaults {
                shared: shared.clone(),
                device: index as u32,
            }));
        }
        Session {
            devices: devices.into(),
            window,
            shared,
            streams: HashMap::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            managed: ManagedVariables::default(),
            functions: HashMap::new(),
            host: HostTable::default(),
            host_functions: HostFunctions::default(),
            guest: None,
            ended: false,
        }
    }

    /// Gives the session its client's guest memory. Without it, copies that name some are refused.
    pub fn with_guest_memory(mut self, guest: Arc<dyn GuestMemory>) -> Session {
        self.guest = Some(guest);
        self
    }

    /// Executes a command. Call it in the order of sequence numbers.
    pub fn execute(&mut self, header: &Header, command: Command) {
        if let Some(observer) = &self.shared.observer {
            observer.command(header, &command);
        }
        let device = self.device_of(&command);
        let ticket = Ticket::new(header, device);
        let survives = matches!(
            command,
            Command::DeviceInfo { .. }
                | Command::DeviceReset { .. }
                | Command::HostAlloc { .. }
                | Command::HostFree { .. }
                | Command::HostFunctionDone { .. }
                | Command::Goodbye
        );
        if let Err(status) = self.shared.health(device)
            && !survives
        {
            self.let_go(&command);
            // Who posted it sees the sticky error at the next call; it is reported once only.
            if ticket.slot.is_some() {
                self.shared.settle(ticket, Err(status));
            }
            return;
        }
        let outcome = match self.ended {
            true => Err(status::DEINITIALIZED),
            false => self.dispatch(ticket, command),
        };
        match outcome {
            Ok(Some(reply)) => self.shared.settle(ticket, Ok(reply)),
            Ok(None) => {}
            Err(status) => self.shared.settle(ticket, Err(status)),
        }
    }

    /// Calls back when nothing goes on any more: all that was issued has finished or is behind a
    /// host function that has not returned.
    pub fn when_at_rest(&self, done: impl FnOnce() + Send + 'static) {
        let mut done: Box<dyn FnOnce() + Send> = Box::new(done);
        for device in self.devices.iter() {
            let (device, next) = (device.clone(), done);
            done = Box::new(move || device.when_at_rest(next));
        }
        done();
    }

    /// Ends kernels that run, skips what is issued, and lets the observer finish.
    pub fn end(&mut self) {
        self.stop();
        // It said on standard error what went wrong; there is nobody else to tell.
        let _ = self.shared.finish();
    }

    fn stop(&mut self) {
        self.ended = true;
        for device in self.devices.iter() {
            device.abort();
        }
        let (done, ends) = std::sync::mpsc::channel();
        for device in self.devices.iter() {
            let done = done.clone();
            device.synchronize(Box::new(move |_| {
                let _ = done.send(());
            }));
        }
        drop(done);
        // Ends when every device has dropped its sender.
        while ends.recv().is_ok() {}
    }

    fn dispatch(&mut self, ticket: Ticket, command: Command) -> Outcome {
        let tag = ticket.sequence;
        match command {
            Command::DeviceInfo { device } => Ok(Some(Reply::Device(self.device(device)?.info()))),
            Command::DeviceSynchronize { device } => {
                self.device(device)?.synchronize(self.answer(ticket));
                Ok(None)
            }
            Command::DeviceReset { device } => self.reset(ticket, device),

            Command::MemAlloc {
                device,
                address,
                size,
            } => {
                self.device(device)?
                    .allocate(address, size, Order::Device, tag)?;
                Ok(Some(Reply::Done))
            }
            Command::MemFree { device, address } => {
                self.device(device)?.free(address, Order::Device)?;
                Ok(Some(Reply::Done))
            }
            Command::MemAllocAsync {
                stream,
                address,
                size,
            } => {
                let order = Order::Stream(self.stream(stream)?);
                self.device(stream.device)?
                    .allocate(address, size, order, tag)?;
                Ok(Some(Reply::Done))
            }
            Command::MemFreeAsync { stream, address } => {
                let order = Order::Stream(self.stream(stream)?);
                self.device(stream.device)?.free(address, order)?;
                Ok(Some(Reply::Done))
            }
            Command::MemInfo { device } => {
                Ok(Some(Reply::Memory(self.device(device)?.memory_info())))
            }
            Command::HostAlloc { kind, offset, size } => self.host_alloc(kind, offset, size),
            Command::HostFree { offset } => self.host_free(ticket, offset),

            Command::Copy {
                stream,
                dst,
                src,
                extent,
                release,
            } => self.copy(ticket, stream, dst, src, extent, release),
            Command::Fill {
                stream,
                address,
                pitch,
                value,
                element,
                extent,
            } => {
                let handle = self.stream(stream)?;
                self.device(stream.device)?.fill(
                    handle,
                    (address, pitch),
                    value,
                    element,
                    extent,
                    tag,
                )?;
                Ok(Some(Reply::Done))
            }

            Command::StreamCreate {
                stream,
                blocking,
                priority,
            } => {
                if stream.id == Stream::LEGACY || self.streams.contains_key(&stream) {
                    return Err(status::INVALID_HANDLE);
                }
                room(self.streams.len())?;
                let handle = self
                    .device(stream.device)?
                    .stream_create(blocking, priority)?;
                self.streams.insert(stream, handle);
                Ok(Some(Reply::Done))
            }
            Command::StreamDestroy { stream } => {
                let handle = self.streams.remove(&stream).ok_or(status::INVALID_HANDLE)?;
                self.device(stream.device)?.stream_destroy(handle)?;
                Ok(Some(Reply::Done))
            }
            Command::StreamSynchronize { stream } => {
                let handle = self.stream(stream)?;
                self.device(stream.device)?
                    .stream_synchronize(handle, self.answer(ticket))?;
                Ok(None)
            }
            Command::StreamQuery { stream } => {
                let handle = self.stream(stream)?;
                ready(self.device(stream.device)?.stream_query(handle)?)
            }
            Command::StreamWaitEvent { stream, event } => {
                let handle = self.stream(stream)?;
                if let Some((_, event)) = self.event(event)?.recorded {
                    self.device(stream.device)?
                        .stream_wait_event(handle, event)?;
                }
                Ok(Some(Reply::Done))
            }

            Command::EventCreate { event, timing } => {
                if self.events.contains_key(&event) {
                    return Err(status::INVALID_HANDLE);
                }
                room(self.events.len())?;
                let created = Event {
                    timing,
                    recorded: None,
                };
                self.events.insert(event, created);
                Ok(Some(Reply::Done))
            }
            Command::EventDestroy { event } => {
                let event = self.events.remove(&event).ok_or(status::INVALID_HANDLE)?;
                if let Some((device, handle)) = event.recorded {
                    self.device(device)?.event_destroy(handle)?;
                }
                Ok(Some(Reply::Done))
            }
            Command::EventRecord { event, stream } => {
                let handle = self.stream(stream)?;
                let event = self.event_on(event, stream.device)?;
                self.device(stream.device)?.event_record(event, handle)?;
                Ok(Some(Reply::Done))
            }
            Command::EventSynchronize { event } => match self.event(event)?.recorded {
                None => Ok(Some(Reply::Done)),
                Some((device, handle)) => {
                    self.device(device)?
                        .event_synchronize(handle, self.answer(ticket))?;
                    Ok(None)
                }
            },
            Command::EventQuery { event } => match self.event(event)?.recorded {
                None => Ok(Some(Reply::Done)),
                Some((device, handle)) => ready(self.device(device)?.event_query(handle)?),
            },
            Command::EventElapsed { start, end } => {
                let start = self.event(start)?.recorded;
                let end = self.event(end)?.recorded;
                let (Some((device, start)), Some((_, end))) = (start, end) else {
                    return Err(status::INVALID_HANDLE);
                };
                let elapsed = self.device(device)?.event_elapsed(start, end)?;
                Ok(Some(Reply::Milliseconds(elapsed)))
            }

            Command::ManagedVariable {
                module,
                name,
                address,
            } => self.managed.add(module, name, address),
            Command::ModuleLoad {
                device,
                module,
                image,
            } => self.module_load(ticket, device, module, image),
            Command::ModuleUnload { module } => {
                let unloaded = self.modules.remove(&module).ok_or(status::INVALID_HANDLE)?;
                self.functions
                    .retain(|_, function| function.module != module);
                self.device(unloaded.device)?
                    .module_unload(unloaded.handle)?;
                Ok(Some(Reply::Done))
            }
            Command::FunctionGet {
                module,
                function,
                name,
            } => {
                let (device, handle) = self.module(module)?;
                if self.functions.contains_key(&function) {
                    return Err(status::INVALID_HANDLE);
                }
                room(self.functions.len())?;
                let (handle, info) = self.device(device)?.function(handle, &name)?;
                let found = Function {
                    device,
                    module,
                    handle,
                };
                self.functions.insert(function, found);
                Ok(Some(Reply::Function(info)))
            }
            Command::GlobalGet { module, name } => {
                let (device, handle) = self.module(module)?;
                let global = self.device(device)?.global(handle, &name)?;
                Ok(Some(Reply::Global(global)))
            }
            Command::FunctionSetAttribute {
                function,
                attribute,
                value,
            } => {
                let (device, handle) = self.function(function)?;
                self.device(device)?
                    .function_set_attribute(handle, attribute, value)?;
                Ok(Some(Reply::Done))
            }
            Command::Occupancy {
                function,
                block_size,
                dynamic_shared,
            } => {
                let (device, handle) = self.function(function)?;
                let blocks = self
                    .device(device)?
                    .occupancy(handle, block_size, dynamic_shared)?;
                Ok(Some(Reply::Count(blocks)))
            }
            Command::Launch {
                stream,
                function,
                grid,
                block,
                dynamic_shared,
                cooperative,
                params,
            } => {
                let handle = self.stream(stream)?;
                let (device, function) = self.function(function)?;
                if device != stream.device {
                    return Err(status::INVALID_HANDLE);
                }
                self.show_host_memory(device, handle, tag)?;
                let request = LaunchRequest {
                    function,
                    grid,
                    block,
                    dynamic_shared,
                    cooperative,
                    params,
                };
                self.device(device)?.launch(handle, request, tag)?;
                Ok(Some(Reply::Done))
            }

            Command::TextureCreate {
                device,
                object,
                texture,
            } => {
                let object = self.device(device)?.texture_create(object, &texture)?;
                Ok(Some(Reply::Object(object)))
            }
            Command::TextureDestroy { device, object } => {
                self.device(device)?.texture_destroy(object)?;
                Ok(Some(Reply::Done))
            }
            Command::ArrayCreate { device, array } => {
                self.device(device)?.array_create(&array, tag)?;
                Ok(Some(Reply::Done))
            }
            Command::ArrayDestroy { device, address } => {
                self.device(device)?
                    .array_destroy(address, self.answer(ticket))?;
                Ok(None)
            }
            Command::KernelHeap { device, size } => {
                self.device(device)?.kernel_heap(size)?;
                Ok(Some(Reply::Done))
            }

            Command::PeerAttribute {
                device,
                peer,
                attribute,
            } => {
                let peer = self.peer(device, peer)?;
                let value = self.device(device)?.peer_attribute(peer, attribute)?;
                Ok(Some(Reply::Count(value)))
            }
            Command::PeerAccess {
                device,
                peer,
                enabled,
            } => {
                let peer = self.peer(device, peer)?;
                self.device(device)?.peer_access(peer, enabled)?;
                Ok(Some(Reply::Done))
            }
            Command::StreamPriorities { device } => {
                let count = self.device(device)?.stream_priorities()?;
                Ok(Some(Reply::Count(count)))
            }

            Command::HostFunction { stream, token } => self.host_function(ticket, stream, token),
            Command::HostFunctionDone { token } => self.host_function_done(token),

            Command::Goodbye => {
                // As at a process's end, kernels that still run are not waited for.
                self.stop();
                self.shared.farewell(ticket);
                Ok(None)
            }
        }
    }

    fn reset(&mut self, ticket: Ticket, device: u32) -> Outcome {
        let target = self.device(device)?.clone();
        self.streams.retain(|stream, _| stream.device != device);
        self.events
            .retain(|_, event| !matches!(event.recorded, Some((on, _)) if on == device));
        self.modules.retain(|_, module| module.device != device);
        self.functions
            .retain(|_, function| function.device != device);
        let shared = self.shared.clone();
        target.reset(Box::new(move |_| {
            shared.recover(device);
            shared.settle(ticket, Ok(Reply::Done));
        }));
        Ok(None)
    }

    /// Answers a command when its work is done.
    fn answer(&self, ticket: Ticket) -> Completion {
        let shared = self.shared.clone();
        Box::new(move |health| {
            // Nobody waits for a posted command, and its device's error is told already.
            if ticket.slot.is_some() {
                shared.settle(ticket, health.map(|()| Reply::Done));
            }
        })
    }

    fn device(&self, device: u32) -> Result<&Arc<dyn Device>, Status> {
        self.devices
            .get(device as usize)
            .ok_or(status::INVALID_DEVICE)
    }

    /// The index of a device that is another than `device`.
    fn peer(&self, device: u32, peer: u32) -> Result<usize, Status> {
        self.device(peer)?;
        match device == peer {
            true => Err(status::INVALID_DEVICE),
            false => Ok(peer as usize),
        }
    }

    fn stream(&self, stream: Stream) -> Result<StreamHandle, Status> {
        match stream.id {
            Stream::LEGACY => Ok(self.device(stream.device)?.legacy_stream()),
            _ => self
                .streams
                .get(&stream)
                .copied()
                .ok_or(status::INVALID_HANDLE),
        }
    }

    fn event(&self, event: u32) -> Result<&Event, Status> {
        self.events.get(&event).ok_or(status::INVALID_HANDLE)
    }

    /// The event, on the device that it is about to be recorded on.
    fn event_on(&mut self, event: u32, device: u32) -> Result<EventHandle, Status> {
        let target = self.device(device)?.clone();
        let event = self.events.get_mut(&event).ok_or(status::INVALID_HANDLE)?;
        match event.recorded {
            Some((on, handle)) if on == device => Ok(handle),
            // An event belongs to the device that it was first recorded on (cuEventRecord).
            Some(_) => Err(status::INVALID_HANDLE),
            None => {
                let handle = target.event_create(event.timing)?;
                event.recorded = Some((device, handle));
                Ok(handle)
            }
        }
    }

    fn module(&self, module: u32) -> Result<(u32, ModuleHandle), Status> {
        let module = self.modules.get(&module).ok_or(status::INVALID_HANDLE)?;
        Ok((module.device, module.handle))
    }

    fn function(&self, function: u32) -> Result<(u32, FunctionHandle), Status> {
        let function = self
            .functions
            .get(&function)
            .ok_or(status::INVALID_HANDLE)?;
        Ok((function.device, function.handle))
    }

    /// The device that a command is for, as far as it names one that exists; the first otherwise.
    fn device_of(&self, command: &Command) -> u32 {
        use Command::*;
        let event = |event| Some(self.events.get(event)?.recorded?.0);
        let named = match command {
            DeviceInfo { device }
            | DeviceSynchronize { device }
            | DeviceReset { device }
            | MemAlloc { device, .. }
            | MemFree { device, .. }
            | MemInfo { device }
            | TextureCreate { device, .. }
            | TextureDestroy { device, .. }
            | ArrayCreate { device, .. }
            | ArrayDestroy { device, .. }
            | KernelHeap { device, .. }
            | PeerAttribute { device, .. }
            | PeerAccess { device, .. }
            | StreamPriorities { device }
            | ModuleLoad { device, .. } => Some(*device),
            MemAllocAsync { stream, .. }
            | MemFreeAsync { stream, .. }
            | Copy { stream, .. }
            | Fill { stream, .. }
            | StreamCreate { stream, .. }
            | StreamDestroy { stream }
            | StreamSynchronize { stream }
            | StreamQuery { stream }
            | StreamWaitEvent { stream, .. }
            | EventRecord { stream, .. }
            | HostFunction { stream, .. }
            | Launch { stream, .. } => Some(stream.device),
            EventDestroy { event: e } | EventSynchronize { event: e } | EventQuery { event: e } => {
                event(e)
            }
            EventElapsed { start, .. } => event(start),
            ModuleUnload { module } | FunctionGet { module, .. } | GlobalGet { module, .. } => {
                self.modules.get(module).map(|module| module.device)
            }
            FunctionSetAttribute { function, .. } | Occupancy { function, .. } => {
                self.functions.get(function).map(|function| function.device)
            }
            HostAlloc { .. }
            | HostFree { .. }
            | HostFunctionDone { .. }
            | ManagedVariable { .. }
            | EventCreate { .. }
            | Goodbye => None,
        };
        named
            .filter(|&device| (device as usize) < self.devices.len())
            .unwrap_or(0)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

fn room(handles: usize) -> Result<(), Status> {
    (handles < MAX_HANDLES)
        .then_some(())
        .ok_or(status::OUT_OF_MEMORY)
}

fn ready(ready: bool) -> Outcome {
    match ready {
        true => Ok(Some(Reply::Done)),
        false => Err(status::NOT_READY),
    }
}
