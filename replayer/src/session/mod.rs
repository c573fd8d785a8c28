// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session: the handles of one client, and its commands executed in their one order.
//!
//! [`Session::execute`] never blocks on device work. A command that waits registers what is to
//! happen when the work is done, and the answer goes out from whatever thread finishes it.

mod copy;
mod dispatch;
mod functions;
mod host;
mod modules;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{Command, Header, Reply, Status, Stream};

use crate::devices::{Completion, Device, EventHandle, FunctionHandle, ModuleHandle, StreamHandle};
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
