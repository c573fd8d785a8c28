// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes what a session does into a trace.
//!
//! What passes on the way of the commands is short: they are encoded into a buffer under a lock.
//! A thread of the recorder's own hashes and packs bulk data and writes the file, in groups, so
//! that a recording costs few wake-ups. It takes a bounded amount of memory: when the disk is
//! slower than the program, the program waits.
//!
//! A recording never harms the program. When the file cannot be written any more, one sentence on
//! standard error says so, what was written stays a good trace, and the program goes on.

mod changes;
mod file;

pub use file::Existing;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};
use vcuda_api::FunctionId;
use vcuda_protocol::handshake::Hello;
use vcuda_protocol::trace::{Counts, Encoder, Properties, TraceError, Transfer, Writer};
use vcuda_protocol::{Command, DeviceInfo, Header, Reply, Status};

use crate::observer::Observer;
use changes::Changes;

/// Bytes that may wait for the writer.
const MOST_WAITING: usize = 64 << 20;
/// Bytes that wake a writer who collects.
const ENOUGH: usize = 1 << 20;
/// How long the writer collects before it writes.
const COLLECT: Duration = Duration::from_millis(5);

/// Records a session. Give it to [`crate::Session`] as its observer.
pub struct Recorder {
    inner: Arc<Inner>,
    path: PathBuf,
    /// What host memory held when it was last recorded.
    changes: Mutex<Changes>,
    thread: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

struct Inner {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// There is room again.
    emptied: Condvar,
    /// Recording has ended, for whatever reason.
    stopped: AtomicBool,
}

struct Queue {
    encoder: Encoder,
    /// What goes to the file before `blocks`.
    items: Vec<Item>,
    blocks: Vec<u8>,
    /// An empty buffer, for when `blocks` goes to the writer.
    spare: Vec<u8>,
    /// Bytes of all items and blocks.
    waiting: usize,
    /// Bytes at which the writer wants to be woken.
    wake_at: usize,
    closing: bool,
    /// Why nothing more can be recorded.
    broken: Option<TraceError>,
}

/// What the writer has collected.
struct Batch {
    items: Vec<Item>,
    blocks: Vec<u8>,
    counts: Counts,
    closing: bool,
    broken: Option<TraceError>,
}

/// What the writer has to do something about.
enum Item {
    Blocks(Vec<u8>),
    Command(Header, Command),
    Answer(u64, Result<Reply, Status>),
    Transfer(Transfer, u64, u64, Vec<u8>),
}

impl Recorder {
    /// Creates the file and starts to record. A file that is there is replaced if it is a trace or
    /// empty. If another process of the program records to it right now, or has and its recording is
    /// to be kept, the name gets `pid` before its ending, and standard error says so.
    pub fn create(
        path: &Path,
        pid: u32,
        existing: Existing,
        properties: &Properties,
    ) -> io::Result<Recorder> {
        let (file, path) = file::create(path, pid, existing)?;
        Recorder::start(file, path, properties)
    }

    fn start(file: File, path: PathBuf, properties: &Properties) -> io::Result<Recorder> {
        let writer = Writer::new(file, properties, name).map_err(to_io)?;
        let inner = Arc::new(Inner {
            queue: Mutex::new(Queue {
                encoder: Encoder::new(name),
                items: Vec::new(),
                blocks: Vec::new(),
                spare: Vec::new(),
                waiting: 0,
                wake_at: usize::MAX,
                closing: false,
                broken: None,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            stopped: AtomicBool::new(false),
        });
        let thread = std::thread::Builder::new()
            .name("vcuda-recorder".into())
            .spawn({
                let (inner, path) = (inner.clone(), path.clone());
                move || inner.write(writer, &path)
            })?;
        Ok(Recorder {
            inner,
            path,
            changes: Mutex::default(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The file that is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn on(&self) -> bool {
        !self.inner.stopped.load(Ordering::Relaxed)
    }

    fn transfer(&self, transfer: Transfer, sequence: u64, position: u64, bytes: &[u8]) {
        if self.on() {
            let mut queue = self.inner.queue.lock();
            let added = (self.inner).note_transfer(&mut queue, transfer, sequence, position, bytes);
            self.inner.added(queue, added);
        }
    }
}

/// The arguments of a program of this machine, which a trace tells beside its name.
pub fn add_arguments(properties: &mut Properties, pid: u32) {
    if let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) {
        let line = String::from_utf8_lossy(&line);
        for argument in line.split_terminator('\0').skip(1) {
            properties.add("argument", argument);
        }
    }
}

/// What a trace says about where it comes from.
pub fn properties(hello: &Hello, devices: &[DeviceInfo]) -> Properties {
    let mut properties = Properties::default();
    properties.add("writer", concat!("vcuda ", env!("CARGO_PKG_VERSION")));
    properties.add("protocol", format_args!("{:016x}", hello.protocol));
    properties.add("program", &hello.program);
    properties.add("pid", hello.pid);
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        properties.add("host", host.trim());
    }
    if let Ok(time) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        properties.add("time", time.as_nanos());
    }
    properties.add("window.base", hello.window_base);
    properties.add("window.len", hello.window_len);
    for device in devices {
        properties.add("device", &device.name);
    }
    properties
}

fn name(api: u16) -> Option<&'static str> {
    FunctionId::new(api).map(FunctionId::name)
}

fn to_io(error: TraceError) -> io::Error {
    match error {
        TraceError::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl Observer for Recorder {
    fn command(&self, header: &Header, command: &Command) {
        if !self.on() {
            return;
        }
        if let Command::HostAlloc { .. } = command {
            // The range may have been another allocation before.
            self.changes.lock().forget();
        }
        let mut queue = self.inner.queue.lock();
        let added = match Encoder::takes(command) {
            true => self.inner.encode(&mut queue, |encoder, blocks| {
                encoder.command(blocks, header, command)
            }),
            false => {
                let bytes = std::mem::size_of::<Command>() + vcuda_protocol::wire::MAX_MESSAGE;
                queue.push(Item::Command(*header, command.clone()), bytes)
            }
        };
        self.inner.added(queue, added);
    }

    fn answer(&self, sequence: u64, reply: &Result<Reply, Status>) {
        if !self.on() {
            return;
        }
        let mut queue = self.inner.queue.lock();
        let added = self.inner.note_answer(&mut queue, sequence, reply);
        self.inner.added(queue, added);
    }

    fn answering(&self, sequence: u64, reply: &Result<Reply, Status>, deliver: &mut dyn FnMut()) {
        if !self.on() {
            return deliver();
        }
        // Commands that the client issues now stand behind its answer.
        let mut queue = self.inner.queue.lock();
        deliver();
        let mut added = 0;
        if let Ok(Reply::Data(bytes)) = reply
            && !bytes.0.is_empty()
        {
            added += self
                .inner
                .note_transfer(&mut queue, Transfer::Output, sequence, 0, &bytes.0);
        }
        added += self.inner.note_answer(&mut queue, sequence, reply);
        self.inner.added(queue, added);
    }

    fn input(&self, sequence: u64, offset: u64, bytes: &[u8]) {
        self.transfer(Transfer::Input, sequence, offset, bytes);
    }

    fn output(&self, sequence: u64, offset: u64, bytes: &[u8]) {
        self.transfer(Transfer::Output, sequence, offset, bytes);
    }

    fn host_memory(&self, sequence: u64, address: u64, bytes: &[u8]) {
        if !self.on() {
            return;
        }
        // Held until the changes are queued, so that they are recorded in the order in which they
        // were compared.
        let mut changes = self.changes.lock();
        changes.of(sequence, address, bytes, |address, piece| {
            self.transfer(Transfer::HostMemory, sequence, address, piece);
        });
    }

    fn finish(&self) -> io::Result<()> {
        {
            let mut queue = self.inner.queue.lock();
            queue.closing = true;
            self.inner.filled.notify_one();
        }
        match self.thread.lock().take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the recorder's thread panicked")),
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

impl Inner {
    /// Encodes a record into the blocks that wait; gives their bytes.
    fn encode(
        &self,
        queue: &mut Queue,
        record: impl FnOnce(&mut Encoder, &mut Vec<u8>) -> Result<(), TraceError>,
    ) -> usize {
        let Queue {
            encoder, blocks, ..
        } = &mut *queue;
        let before = blocks.len();
        if let Err(error) = record(encoder, blocks) {
            queue.broken = Some(error);
            self.stopped.store(true, Ordering::Relaxed);
            self.filled.notify_one();
            return 0;
        }
        blocks.len() - before
    }

    /// Takes an answer; gives the bytes that wait for it.
    fn note_answer(
        &self,
        queue: &mut Queue,
        sequence: u64,
        reply: &Result<Reply, Status>,
    ) -> usize {
        match Encoder::takes_answer(reply) {
            true => self.encode(queue, |encoder, blocks| {
                encoder.answer(blocks, sequence, reply)
            }),
            false => {
                let bytes = vcuda_protocol::layout::MAX_REPLY;
                queue.push(Item::Answer(sequence, reply.clone()), bytes)
            }
        }
    }

    /// The same for bulk bytes.
    fn note_transfer(
        &self,
        queue: &mut Queue,
        transfer: Transfer,
        sequence: u64,
        position: u64,
        bytes: &[u8],
    ) -> usize {
        match Encoder::takes_transfer(bytes) {
            true => self.encode(queue, |encoder, blocks| {
                encoder.transfer(blocks, transfer, sequence, position, bytes)
            }),
            false => {
                let item = Item::Transfer(transfer, sequence, position, bytes.to_vec());
                queue.push(item, bytes.len())
            }
        }
    }

    /// Wakes the writer if it is time, and waits while too much is waiting.
    fn added(&self, mut queue: MutexGuard<'_, Queue>, bytes: usize) {
        queue.waiting += bytes;
        if queue.waiting >= queue.wake_at {
            queue.wake_at = usize::MAX;
            self.filled.notify_one();
        }
        while queue.waiting > MOST_WAITING && !self.stopped.load(Ordering::Relaxed) {
            self.emptied.wait(&mut queue);
        }
    }

    /// Recording ends: what comes is ignored, and who waits for room goes on.
    fn stop(&self) {
        let mut queue = self.queue.lock();
        self.stopped.store(true, Ordering::Relaxed);
        queue.items.clear();
        queue.blocks.clear();
        queue.waiting = 0;
        self.emptied.notify_all();
    }

    /// The recorder's thread.
    fn write(&self, mut writer: Writer<File>, path: &Path) -> io::Result<()> {
        let outcome = loop {
            let batch = self.collect();
            let closing = batch.closing;
            match write(&mut writer, batch) {
                Ok(buffer) => self.queue.lock().spare = buffer,
                Err(error) => break Err(error),
            }
            if closing {
                break Ok(());
            }
        };
        self.stop();
        let good = writer.written();
        let outcome = match outcome {
            Ok(()) => file::finish(writer),
            Err(error) => {
                file::cut(writer, good);
                Err(to_io(error))
            }
        };
        if let Err(error) = &outcome {
            vcuda_transport::say!(
                "Recording to {} has stopped: {error}. Its first {good} bytes are a good \
                 trace of what happened before, and the program goes on. Make room, or choose \
                 another place, and record again.",
                path.display()
            );
        }
        outcome
    }

    /// Waits for something to write, and a little longer for more of it.
    fn collect(&self) -> Batch {
        let mut queue = self.queue.lock();
        while queue.waiting == 0 && !queue.closing && queue.broken.is_none() {
            queue.wake_at = 1;
            self.filled.wait(&mut queue);
        }
        if queue.waiting < ENOUGH && !queue.closing {
            queue.wake_at = ENOUGH;
            self.filled.wait_for(&mut queue, COLLECT);
        }
        queue.wake_at = usize::MAX;
        queue.waiting = 0;
        self.emptied.notify_all();
        let empty = std::mem::take(&mut queue.spare);
        Batch {
            items: std::mem::take(&mut queue.items),
            blocks: std::mem::replace(&mut queue.blocks, empty),
            counts: queue.encoder.take_counts(),
            closing: queue.closing,
            broken: queue.broken.take(),
        }
    }
}

impl Queue {
    /// Leaves an item for the writer; gives back the bytes that it counts.
    fn push(&mut self, item: Item, bytes: usize) -> usize {
        self.close_blocks();
        self.items.push(item);
        bytes
    }

    /// What comes next goes to the file behind the blocks so far.
    fn close_blocks(&mut self) {
        if !self.blocks.is_empty() {
            let blocks = std::mem::take(&mut self.blocks);
            self.items.push(Item::Blocks(blocks));
        }
    }
}

/// Writes a batch, and gives back the buffer of its blocks.
fn write(writer: &mut Writer<File>, batch: Batch) -> Result<Vec<u8>, TraceError> {
    for item in batch.items {
        match item {
            Item::Blocks(blocks) => writer.blocks(&blocks, Counts::default())?,
            Item::Command(header, command) => writer.command(&header, &command)?,
            Item::Answer(sequence, reply) => writer.answer(sequence, &reply)?,
            Item::Transfer(transfer, sequence, position, bytes) => {
                writer.transfer(transfer, sequence, position, &bytes)?;
            }
        }
    }
    writer.blocks(&batch.blocks, batch.counts)?;
    writer.flush()?;
    if let Some(error) = batch.broken {
        return Err(error);
    }
    let mut buffer = batch.blocks;
    buffer.clear();
    Ok(buffer)
}

#[cfg(test)]
mod tests;
