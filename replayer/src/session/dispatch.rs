// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each command does, and which device it is for.

use vcuda_protocol::{Command, Reply, Stream};

use super::shared::Ticket;
use super::{Event, Function, Outcome, Session, room};
use crate::devices::{LaunchRequest, Order};
use crate::status;

impl Session {
    pub(super) fn dispatch(&mut self, ticket: Ticket, command: Command) -> Outcome {
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

    /// The device that a command is for, as far as it names one that exists; the first otherwise.
    pub(super) fn device_of(&self, command: &Command) -> u32 {
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

fn ready(ready: bool) -> Outcome {
    match ready {
        true => Ok(Some(Reply::Done)),
        false => Err(status::NOT_READY),
    }
}
