// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions on the CPU device, recorded and replayed: kernels run again and give the same.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::cpu::*;
use common::*;
use tempfile::TempDir;
use vcuda_protocol::trace::{Properties, Reader, Record, Transfer, Writer};
use vcuda_protocol::*;
use vcuda_replayer::devices::Device;
use vcuda_replayer::devices::cpu::CpuDevice;
use vcuda_replayer::recorder::Existing;
use vcuda_replayer::replay::{Ended, Options, Outcome};
use vcuda_replayer::{Recorder, Replayer, Window};

/// A client whose session is recorded.
struct Recording {
    folder: TempDir,
    client: Client,
    heap: u64,
}

impl Recording {
    fn new() -> Recording {
        let folder = tempfile::tempdir().unwrap();
        let window = window();
        let mut properties = Properties::default();
        properties.add("window.base", window.base);
        properties.add("window.len", window.len());
        let path = folder.path().join("t.vcuda");
        let recorder = Recorder::create(&path, 1, Existing::Replace, &properties).unwrap();
        let observer = Some(Arc::new(recorder) as _);
        let mut client = Client::new(devices(&window), window, observer);
        prepare(&mut client);
        let heap = client.info(0).heap_base;
        client.alloc(heap, 1 << 20);
        Recording {
            folder,
            client,
            heap,
        }
    }

    /// Copies from the window to the device, as a program's pageable memory travels.
    fn upload(&mut self, offset: u64, bytes: &[u8]) {
        assert!(self.client.window.memory.write(offset as usize, bytes));
        self.client.post(Command::Copy {
            stream: LEGACY,
            dst: Place::device(self.heap),
            src: Place::window(offset),
            extent: Extent::linear(bytes.len() as u64),
            release: Some(0),
        });
    }

    fn end(self) -> (TempDir, PathBuf) {
        let Recording { folder, client, .. } = self;
        drop(client);
        let path = folder.path().join("t.vcuda");
        (folder, path)
    }
}

fn devices(window: &Window) -> Vec<Arc<dyn Device>> {
    CpuDevice::create(options(), Some(window)).unwrap()
}

fn replay(path: &Path) -> Outcome {
    let replayer = Replayer::open(path).unwrap();
    let devices = devices(replayer.window());
    replayer
        .replay(devices, &Options::default(), |_| ())
        .unwrap()
}

#[test]
fn data_goes_in_through_a_kernel_and_out_again() {
    let mut recording = Recording::new();
    let heap = recording.heap;
    // The staging area is used again before the first copy may have been executed.
    for value in [11u32, 22, 33] {
        recording.upload(0, &value.to_le_bytes());
        let client = &mut recording.client;
        client.launch(LEGACY, CARRY, &[heap + 64, heap]);
        let seen = client.read(LEGACY, heap + 64, 4).unwrap();
        assert_eq!(seen, value.to_le_bytes());
    }
    let (_folder, path) = recording.end();
    let outcome = replay(&path);
    assert_eq!(outcome.first_difference, None, "{outcome:#?}");
    assert_eq!(outcome.ended, Ended::Clean);
    assert_eq!(outcome.compared_bytes, 12);
}

#[test]
fn streams_that_wait_for_each_other_replay() {
    let mut recording = Recording::new();
    let heap = recording.heap;
    let client = &mut recording.client;
    let (a, b) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    let event = 1;
    client.ok(Command::EventCreate {
        event,
        timing: true,
    });
    for value in 0..200 {
        client.launch(a, SET, &[heap, value]);
        client.post(Command::EventRecord { event, stream: a });
        client.post(Command::StreamWaitEvent { stream: b, event });
        client.launch(b, CARRY, &[heap + 64, heap]);
        let seen = client.read(b, heap + 64, 4).unwrap();
        assert_eq!(seen, (value as u32).to_le_bytes());
        let _ = client.call(Command::EventQuery { event });
        let _ = client.call(Command::StreamQuery { stream: a });
    }
    let (_folder, path) = recording.end();
    let outcome = replay(&path);
    assert_eq!(outcome.first_difference, None, "{outcome:#?}");
}

/// The program puts back what a kernel has changed: a recording of changes alone would miss that.
#[test]
fn pinned_memory_that_kernels_and_program_write_in_turn_replays() {
    let mut recording = Recording::new();
    let heap = recording.heap;
    let client = &mut recording.client;
    for value in [5, 5, 6, 5] {
        client.poke(FLAG, value);
        client.launch(LEGACY, CARRY, &[heap, FLAG_ADDRESS]);
        client.launch(LEGACY, SET, &[FLAG_ADDRESS, 99]);
        let seen = client.read(LEGACY, heap, 4).unwrap();
        assert_eq!(seen, value.to_le_bytes());
        assert_eq!(client.peek(FLAG), 99);
    }
    let (_folder, path) = recording.end();
    let outcome = replay(&path);
    assert_eq!(outcome.first_difference, None, "{outcome:#?}");
    assert_eq!(outcome.compared_bytes, 16);
}

#[test]
fn a_kernel_that_faults_faults_again() {
    let mut recording = Recording::new();
    let heap = recording.heap;
    let client = &mut recording.client;
    client.launch(LEGACY, STRAY, &[]);
    assert_eq!(client.synchronize(), Err(Status(700)));
    assert_eq!(client.read(LEGACY, heap, 4), Err(Status(700)));
    client.ok(Command::DeviceReset { device: 0 });
    client.synchronize().unwrap();
    let (_folder, path) = recording.end();
    let outcome = replay(&path);
    assert_eq!(outcome.first_difference, None, "{outcome:#?}");
}

/// Changes one byte that a program gave to the device; what a kernel made of it comes out.
#[test]
fn other_input_gives_other_output_and_the_copy_that_shows_it_is_named() {
    let mut recording = Recording::new();
    let heap = recording.heap;
    recording.upload(0, &1000u32.to_le_bytes());
    let client = &mut recording.client;
    client.launch(LEGACY, CARRY, &[heap + 64, heap]);
    client.synchronize().unwrap();
    client.read(LEGACY, heap + 64, 4).unwrap();
    let (folder, path) = recording.end();

    let changed = folder.path().join("changed.vcuda");
    let mut reader = Reader::open(&path).unwrap();
    let file = std::fs::File::create(&changed).unwrap();
    let mut writer = Writer::new(file, reader.properties(), |_| None).unwrap();
    let mut read = 0;
    while let Some(record) = reader.next() {
        match record.unwrap() {
            Record::Command { header, command } => {
                if let Command::Copy {
                    dst: Place::Reply, ..
                } = command
                {
                    read = header.sequence;
                }
                writer.command(&header, &command).unwrap();
            }
            Record::Answer { sequence, reply } => writer.answer(sequence, &reply).unwrap(),
            Record::Transfer {
                transfer,
                sequence,
                position,
                content,
            } => {
                let mut bytes = reader.bytes(&content).unwrap();
                if transfer == Transfer::Input {
                    bytes[0] ^= 1;
                }
                writer
                    .transfer(transfer, sequence, position, &bytes)
                    .unwrap();
            }
            _ => {}
        }
    }
    writer.finish().unwrap();
    let difference = replay(&changed).first_difference.unwrap();
    assert_eq!(difference.sequence, read, "{difference}");
}
