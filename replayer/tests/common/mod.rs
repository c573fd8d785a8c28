// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client in the same process, for tests.

#![allow(dead_code)]

pub mod cpu;
pub mod notes;

use std::sync::Arc;
use std::time::Duration;

use vcuda_protocol::layout::STAGING_LEN;
use vcuda_protocol::*;
use vcuda_replayer::devices::Device;
use vcuda_replayer::{Answers, Observer, Session, Window};
use vcuda_transport::Memory;

pub const WINDOW_BASE: u64 = 0x2000_0000_0000;
/// Where a test's host allocations begin.
pub const HOST: u64 = STAGING_LEN;

pub const LEGACY: Stream = Stream { device: 0, id: 0 };

pub fn stream(id: u32) -> Stream {
    Stream { device: 0, id }
}

pub fn dim(x: u32) -> Dim3 {
    Dim3 { x, y: 1, z: 1 }
}

pub fn window() -> Window {
    Window {
        base: WINDOW_BASE,
        memory: Memory::create("window", STAGING_LEN + (1 << 20))
            .and_then(|memory| memory.map(None))
            .expect("a window")
            .shared(),
        backing: None,
    }
}

pub struct Client {
    pub session: Session,
    pub answers: Arc<Answers>,
    pub window: Window,
    pub devices: Vec<Arc<dyn Device>>,
    sequence: u64,
    slot: u16,
}

impl Client {
    pub fn new(
        devices: Vec<Arc<dyn Device>>,
        window: Window,
        observer: Option<Arc<dyn Observer>>,
    ) -> Self {
        let answers = Answers::new();
        Client {
            session: Session::new(devices.clone(), window.clone(), answers.clone(), observer),
            answers,
            window,
            devices,
            sequence: 0,
            slot: 0,
        }
    }

    fn header(&mut self, slot: Option<u16>) -> Header {
        self.sequence += 1;
        Header {
            sequence: self.sequence,
            api: 1,
            thread: 1,
            time: self.sequence,
            slot,
        }
    }

    /// Issues a command and does not wait; gives its sequence number.
    pub fn post(&mut self, command: Command) -> u64 {
        let header = self.header(None);
        self.session.execute(&header, command);
        header.sequence
    }

    /// Issues a command whose answer is taken from the slot later.
    pub fn begin(&mut self, command: Command) -> u16 {
        self.slot = (self.slot + 1) % 1000;
        let slot = self.slot;
        let header = self.header(Some(slot));
        self.session.execute(&header, command);
        slot
    }

    /// Issues a command and waits for its answer.
    pub fn call(&mut self, command: Command) -> Result<Reply, Status> {
        let slot = self.begin(command);
        self.finish(slot)
    }

    /// Waits for an answer, not for ever.
    pub fn finish(&self, slot: u16) -> Result<Reply, Status> {
        for _ in 0..20_000 {
            if let Some(reply) = self.answers.poll(slot) {
                return reply;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        panic!("no answer in slot {slot} after ten seconds");
    }

    pub fn ok(&mut self, command: Command) {
        let name = command.name();
        let reply = self.call(command);
        assert_eq!(reply, Ok(Reply::Done), "{name}");
    }

    /// Whether an answer is not there yet, after a while.
    pub fn is_pending(&self, slot: u16) -> bool {
        std::thread::sleep(Duration::from_millis(20));
        match self.answers.poll(slot) {
            None => true,
            Some(reply) => panic!("slot {slot} was answered with {reply:?}"),
        }
    }

    pub fn info(&mut self, device: u32) -> DeviceInfo {
        match self.call(Command::DeviceInfo { device }) {
            Ok(Reply::Device(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    pub fn synchronize(&mut self) -> Result<Reply, Status> {
        self.call(Command::DeviceSynchronize { device: 0 })
    }

    pub fn alloc(&mut self, address: u64, size: u64) {
        self.ok(Command::MemAlloc {
            device: 0,
            address,
            size,
        });
    }

    pub fn write(&mut self, stream: Stream, address: u64, bytes: &[u8]) {
        self.ok(Command::Copy {
            stream,
            dst: Place::device(address),
            src: Place::Inline(Bytes(bytes.to_vec())),
            extent: Extent::linear(bytes.len() as u64),
            release: None,
        });
    }

    pub fn read_command(stream: Stream, address: u64, len: u64) -> Command {
        Command::Copy {
            stream,
            dst: Place::Reply,
            src: Place::device(address),
            extent: Extent::linear(len),
            release: None,
        }
    }

    pub fn read(&mut self, stream: Stream, address: u64, len: u64) -> Result<Vec<u8>, Status> {
        match self.call(Self::read_command(stream, address, len)) {
            Ok(Reply::Data(bytes)) => Ok(bytes.0),
            Err(status) => Err(status),
            other => panic!("{other:?}"),
        }
    }

    pub fn host_alloc(&mut self, offset: u64, size: u64) {
        self.ok(Command::HostAlloc {
            kind: HostMemory::Pinned,
            offset,
            size,
        });
    }

    /// Writes host memory as the program would.
    pub fn poke(&self, offset: u64, value: u32) {
        use std::sync::atomic::Ordering;
        self.window
            .memory
            .u32(offset as usize)
            .store(value, Ordering::SeqCst);
    }

    pub fn peek(&self, offset: u64) -> u32 {
        use std::sync::atomic::Ordering;
        self.window
            .memory
            .u32(offset as usize)
            .load(Ordering::SeqCst)
    }

    pub fn create_stream(&mut self, id: u32, blocking: bool) -> Stream {
        self.ok(Command::StreamCreate {
            stream: stream(id),
            blocking,
            priority: 0,
        });
        stream(id)
    }

    pub fn load(&mut self, module: u32, image: &[u8]) -> ModuleInfo {
        let image = Image::Inline(Bytes(image.to_vec()));
        match self.call(Command::ModuleLoad {
            device: 0,
            module,
            image,
        }) {
            Ok(Reply::Module(info)) => info,
            other => panic!("{other:?}"),
        }
    }

    pub fn function(
        &mut self,
        module: u32,
        function: u32,
        name: &str,
    ) -> Result<FunctionInfo, Status> {
        match self.call(Command::FunctionGet {
            module,
            function,
            name: name.into(),
        }) {
            Ok(Reply::Function(info)) => Ok(info),
            Err(status) => Err(status),
            other => panic!("{other:?}"),
        }
    }

    pub fn launch_command(stream: Stream, function: u32, params: &[u64]) -> Command {
        Command::Launch {
            stream,
            function,
            grid: dim(1),
            block: dim(1),
            dynamic_shared: 0,
            cooperative: false,
            params: Bytes(params.iter().flat_map(|p| p.to_le_bytes()).collect()),
        }
    }

    pub fn launch(&mut self, stream: Stream, function: u32, params: &[u64]) -> u64 {
        self.post(Self::launch_command(stream, function, params))
    }
}
