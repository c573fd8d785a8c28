// SPDX-License-Identifier: MIT OR Apache-2.0
//! Recordings replayed as they are, changed, cut short, and made on another device.

use std::collections::HashMap;
use std::path::PathBuf;

use tempfile::TempDir;
use vcuda_protocol::layout::STAGING_LEN;
use vcuda_protocol::trace::{Transfer, Writer};
use vcuda_protocol::{
    Bytes, Command, Dim3, Extent, Header, HostMemory as Kind, Image, Place, Reply, Status, Stream,
};

use super::*;
use crate::devices::null::{HEAP_BASE, NullDevice};
use crate::outbox::Answers;
use crate::recorder::{Existing, Recorder};
use crate::session::Session;

const STREAM: Stream = Stream { device: 0, id: 0 };
const WINDOW_BASE: u64 = 0x2000_0000_0000;
const WINDOW_LEN: u64 = STAGING_LEN + (1 << 20);

fn devices() -> Vec<Arc<dyn Device>> {
    vec![Arc::new(NullDevice::default())]
}

/// A program that is recorded.
struct Program {
    folder: TempDir,
    session: Session,
    answers: Arc<Answers>,
    window: Window,
    sequence: u64,
}

impl Program {
    fn new() -> Program {
        let folder = tempfile::tempdir().unwrap();
        let mut properties = Properties::default();
        properties.add("window.base", WINDOW_BASE);
        properties.add("window.len", WINDOW_LEN);
        let recorder = Recorder::create(
            &folder.path().join("t.vcuda"),
            1,
            Existing::Replace,
            &properties,
        )
        .unwrap();
        let memory = Memory::create("test", WINDOW_LEN).unwrap();
        let window = Window {
            base: WINDOW_BASE,
            memory: memory.map(None).unwrap().shared(),
            backing: None,
        };
        let answers = Answers::new();
        let session = Session::new(
            devices(),
            window.clone(),
            answers.clone(),
            Some(Arc::new(recorder)),
        );
        Program {
            folder,
            session,
            answers,
            window,
            sequence: 0,
        }
    }

    fn execute(&mut self, slot: Option<u16>, command: Command) {
        self.sequence += 1;
        let header = Header {
            sequence: self.sequence,
            api: 3,
            thread: 41,
            time: self.sequence,
            slot,
        };
        self.session.execute(&header, command);
    }

    fn post(&mut self, command: Command) {
        self.execute(None, command);
    }

    fn ask(&mut self, command: Command) -> Result<Reply, Status> {
        self.execute(Some(5), command);
        self.answers.wait(5)
    }

    /// Allocates, copies in and out through staging, asks this and that.
    fn usual(mut self) -> Recorded {
        let address = HEAP_BASE + 256;
        self.ask(Command::DeviceInfo { device: 0 }).unwrap();
        self.post(Command::MemAlloc {
            device: 0,
            address,
            size: 4096,
        });
        assert!(self.window.memory.write(0, &[9; 3000]));
        self.post(Command::Copy {
            stream: STREAM,
            dst: Place::device(address),
            src: Place::window(0),
            extent: Extent::linear(3000),
            release: Some(0),
        });
        let copied = self.ask(Command::Copy {
            stream: STREAM,
            dst: Place::window(4096),
            src: Place::device(address),
            extent: Extent::linear(3000),
            release: None,
        });
        assert_eq!(copied, Ok(Reply::Done));
        self.ask(Command::Copy {
            stream: STREAM,
            dst: Place::Reply,
            src: Place::device(address),
            extent: Extent::linear(100),
            release: None,
        })
        .unwrap();
        self.ask(Command::MemInfo { device: 0 }).unwrap();
        self.ask(Command::StreamQuery { stream: STREAM }).unwrap();
        self.end()
    }

    fn end(mut self) -> Recorded {
        self.post(Command::Goodbye);
        self.kill()
    }

    /// Leaves the recording as it is in the file when everything has been written.
    fn kill(self) -> Recorded {
        let path = self.folder.path().join("t.vcuda");
        drop(self.session);
        Recorded {
            folder: self.folder,
            path,
        }
    }
}

/// A recording in a file.
struct Recorded {
    folder: TempDir,
    path: PathBuf,
}

impl Recorded {
    fn replay_with(&self, options: &Options) -> Outcome {
        let replayer = Replayer::open(&self.path).unwrap();
        replayer.replay(devices(), options, |_| ()).unwrap()
    }

    fn replay(&self) -> Outcome {
        self.replay_with(&Options::default())
    }

    /// Writes the recording anew, each record as `change` makes it. Its blobs come along.
    fn change(self, mut change: impl FnMut(Record, &Reader) -> Option<Record>) -> Recorded {
        let mut reader = Reader::open(&self.path).unwrap();
        let path = self.folder.path().join("changed.vcuda");
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = Writer::new(file, reader.properties(), |_| Some("cudaTest")).unwrap();
        while let Some(record) = reader.next() {
            match change(record.unwrap(), &reader) {
                Some(Record::Command { header, command }) => {
                    writer.command(&header, &command).unwrap();
                }
                Some(Record::Answer { sequence, reply }) => {
                    writer.answer(sequence, &reply).unwrap();
                }
                Some(Record::Transfer {
                    transfer,
                    sequence,
                    position,
                    content,
                }) => {
                    let bytes = reader.bytes(&content).unwrap();
                    writer
                        .transfer(transfer, sequence, position, &bytes)
                        .unwrap();
                }
                _ => {}
            }
        }
        writer.finish().unwrap();
        Recorded { path, ..self }
    }

    fn cut(self, len: u64) -> Recorded {
        let file = std::fs::File::options().write(true).open(&self.path);
        file.unwrap().set_len(len).unwrap();
        self
    }
}

#[test]
fn a_recording_replays_as_it_was() {
    let outcome = Program::new().usual().replay();
    assert_eq!(outcome.first_difference, None);
    assert_eq!(outcome.ended, Ended::Clean);
    assert_eq!(outcome.commands, 8);
    // Both copies to the host, byte by byte.
    assert_eq!(outcome.compared_bytes, 3100);
    // DeviceInfo, both copies, the query; not the free memory.
    assert_eq!(outcome.compared_values, 4);
    assert_eq!(outcome.notes, Vec::<String>::new());
}

#[test]
fn a_changed_answer_is_named_with_its_call() {
    let recorded = Program::new().usual().change(|record, _| match record {
        Record::Answer { sequence: 8, .. } => unreachable!(),
        Record::Answer { sequence: 7, .. } => Some(Record::Answer {
            sequence: 7,
            reply: Err(Status(700)),
        }),
        other => Some(other),
    });
    let difference = recorded.replay().first_difference.unwrap();
    assert_eq!((difference.sequence, difference.thread), (7, 41));
    assert_eq!(difference.api, "cudaTest");
    let message = difference.to_string();
    for part in ["Command 7", "error 700", "success", "StreamQuery"] {
        assert!(message.contains(part), "{message}");
    }
}

/// The null device copies zeros out; the changed recording has something else.
fn with_other_output(bytes: Vec<u8>) -> Recorded {
    let mut outputs = HashMap::new();
    Program::new()
        .usual()
        .change(move |record, _| match record {
            Record::Transfer {
                transfer: Transfer::Output,
                sequence,
                position,
                content,
            } if sequence == 4 => {
                assert!(outputs.insert(sequence, position).is_none());
                assert_eq!(content.len(), bytes.len() as u64);
                Some(Record::Transfer {
                    transfer: Transfer::Output,
                    sequence,
                    position,
                    content: vcuda_protocol::trace::Content::Inline(Bytes(bytes.clone())),
                })
            }
            other => Some(other),
        })
}

#[test]
fn a_changed_buffer_is_named_with_its_first_byte_that_differs() {
    let mut bytes = vec![0; 3000];
    bytes[1234] = 5;
    bytes[2999] = 1;
    let difference = with_other_output(bytes).replay().first_difference.unwrap();
    assert_eq!(difference.sequence, 4);
    let What::Bytes(found) = &difference.what else {
        panic!("{difference}");
    };
    assert_eq!((found.offset, found.differing), (1234, 2));
    assert_eq!((&*found.expected, &*found.actual), ("0x05", "0x00"));
}

#[test]
fn a_tolerance_lets_numbers_that_are_near_pass() {
    let mut bytes = vec![0; 3000];
    bytes[8..12].copy_from_slice(&1e-6f32.to_le_bytes());
    let recorded = with_other_output(bytes);
    assert!(!recorded.replay().is_equal());
    let options = |limit| Options {
        tolerance: Some(Tolerance {
            element: Element::F32,
            limit,
        }),
    };
    assert!(recorded.replay_with(&options(1e-5)).is_equal());
    assert!(!recorded.replay_with(&options(1e-8)).is_equal());
}

#[test]
fn the_first_of_several_differences_is_the_one_of_the_earliest_command() {
    let recorded = Program::new().usual().change(|record, _| match record {
        Record::Answer { sequence, .. } if sequence == 4 || sequence == 7 => Some(Record::Answer {
            sequence,
            reply: Err(Status(1)),
        }),
        other => Some(other),
    });
    assert_eq!(recorded.replay().first_difference.unwrap().sequence, 4);
}

#[test]
fn output_that_does_not_come_is_a_difference() {
    let recorded = Program::new().usual().change(|record, _| match record {
        // In the recording it is a copy to the host, and now it is none.
        Record::Command { header, .. } if header.sequence == 4 => {
            let command = Command::StreamSynchronize { stream: STREAM };
            Some(Record::Command { header, command })
        }
        other => Some(other),
    });
    let difference = recorded.replay().first_difference.unwrap();
    let missing = What::Missing {
        expected: 3000,
        actual: 0,
    };
    assert_eq!((difference.sequence, difference.what), (4, missing));
}

#[test]
fn recorded_input_reaches_the_device() {
    let seen = Program::new().usual();
    let replayer = Replayer::open(&seen.path).unwrap();
    let input = replayer.recording.input(3, 3000).unwrap().unwrap();
    assert_eq!(input, [9; 3000]);
    assert_eq!(replayer.recording.input(3, 3001).unwrap(), None);
}

#[test]
fn a_posted_command_that_failed_has_to_fail_again() {
    let mut program = Program::new();
    let free = Command::MemFree {
        device: 0,
        address: HEAP_BASE,
    };
    program.post(free.clone());
    let recorded = program.end();
    let outcome = recorded.replay();
    assert!(outcome.is_equal(), "{outcome:?}");
    assert_eq!(outcome.compared_values, 1);

    let silent = recorded.change(|record, _| match record {
        Record::Answer { .. } => None,
        other => Some(other),
    });
    let difference = silent.replay().first_difference.unwrap();
    let what = What::Value {
        expected: "success".into(),
        actual: "error 1".into(),
    };
    assert_eq!((difference.sequence, difference.what), (1, what));
}

#[test]
fn a_failure_of_the_recording_that_does_not_happen_is_a_difference() {
    let mut program = Program::new();
    program.post(Command::EventCreate {
        event: 1,
        timing: false,
    });
    let recorded = program.end().change(|record, _| Some(record));
    assert!(recorded.replay().is_equal());
    let mut program = Program::new();
    program.post(Command::EventDestroy { event: 1 });
    let recorded = program.end().change(|record, _| match record {
        Record::Command {
            header,
            command: Command::EventDestroy { .. },
        } => {
            let command = Command::EventCreate {
                event: 1,
                timing: false,
            };
            Some(Record::Command { header, command })
        }
        other => Some(other),
    });
    let difference = recorded.replay().first_difference.unwrap();
    let what = What::Value {
        expected: "error 400".into(),
        actual: "success".into(),
    };
    assert_eq!((difference.sequence, difference.what), (1, what));
}

#[test]
fn every_cut_replays_as_far_as_it_goes_and_says_so() {
    let recorded = Program::new().usual();
    let len = std::fs::metadata(&recorded.path).unwrap().len();
    let whole = std::fs::read(&recorded.path).unwrap();
    let mut seen = Vec::new();
    for len in (0..len).step_by(7) {
        std::fs::write(&recorded.path, &whole[..len as usize]).unwrap();
        let Ok(replayer) = Replayer::open(&recorded.path) else {
            assert!(seen.is_empty(), "cut at {len}");
            continue;
        };
        assert_ne!(*replayer.ended(), Ended::Clean);
        let outcome = replayer
            .replay(devices(), &Options::default(), |_| ())
            .unwrap();
        assert!(outcome.is_equal(), "cut at {len}: {outcome:?}");
        seen.push(outcome.commands);
    }
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&8));
}

#[test]
fn a_killed_programs_recording_is_unfinished_and_equal() {
    let recorded = Program::new().usual();
    let whole = std::fs::metadata(&recorded.path).unwrap().len();
    // The last block is 16 bytes and four small numbers.
    let outcome = recorded.cut(whole - 20).replay();
    assert_eq!(outcome.ended, Ended::Unfinished);
    assert!(outcome.is_equal());
}

#[test]
fn what_is_not_a_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.vcuda");
    std::fs::write(&path, "a poem").unwrap();
    assert!(matches!(
        Replayer::open(&path),
        Err(ReplayError::Trace(TraceError::NotATrace(_)))
    ));
    let writer = Writer::new(
        std::fs::File::create(&path).unwrap(),
        &Properties::default(),
        |_| None,
    );
    writer.unwrap().finish().unwrap();
    let refusal = Replayer::open(&path).err().unwrap().to_string();
    assert!(refusal.contains("window.base"), "{refusal}");
}

#[test]
fn host_memory_is_as_it_was_before_each_launch() {
    let mut program = Program::new();
    program.post(Command::HostAlloc {
        kind: Kind::Pinned,
        offset: STAGING_LEN,
        size: 100_000,
    });
    program
        .ask(Command::ModuleLoad {
            device: 0,
            module: 1,
            image: Image::Inline(Bytes(b"any".to_vec())),
        })
        .unwrap();
    program
        .ask(Command::FunctionGet {
            module: 1,
            function: 1,
            name: "kernel".into(),
        })
        .unwrap();
    let unit = Dim3 { x: 1, y: 1, z: 1 };
    let launch = Command::Launch {
        stream: STREAM,
        function: 1,
        grid: unit,
        block: unit,
        dynamic_shared: 0,
        cooperative: false,
        params: Bytes(vec![0; 8]),
    };
    let write = |program: &Program, value: u8| {
        assert!(
            program
                .window
                .memory
                .write(STAGING_LEN as usize + 70_000, &[value])
        );
    };
    for value in [1, 2, 2] {
        write(&program, value);
        program.post(launch.clone());
    }
    let recorded = program.end();
    let replayer = Replayer::open(&recorded.path).unwrap();
    let told = |sequence| {
        replayer
            .recording
            .host_memory
            .get(&sequence)
            .map_or(0, Vec::len)
    };
    // Two pieces, then the second of them, then nothing.
    assert_eq!([told(4), told(5), told(6)], [2, 1, 0]);
    let window = replayer.window().clone();
    let outcome = replayer
        .replay(devices(), &Options::default(), |_| ())
        .unwrap();
    assert!(outcome.is_equal());
    let mut byte = [0];
    assert!(window.memory.read(STAGING_LEN as usize + 70_000, &mut byte));
    assert_eq!(byte, [2]);
}

#[test]
fn progress_counts_to_the_number_of_commands() {
    let recorded = Program::new().usual();
    let mut seen = Vec::new();
    let replayer = Replayer::open(&recorded.path).unwrap();
    replayer
        .replay(devices(), &Options::default(), |p| {
            seen.push((p.commands, p.total));
        })
        .unwrap();
    assert_eq!(seen, (0..8).map(|n| (n, 8)).collect::<Vec<_>>());
}

#[test]
fn answers_to_commands_that_are_not_there_do_not_hang() {
    let recorded = Program::new().usual().change(|record, _| match record {
        Record::Command { header, .. } if header.sequence == 5 => None,
        other => Some(other),
    });
    let outcome = recorded.replay();
    // Its bytes do not come.
    assert_eq!(outcome.first_difference.unwrap().sequence, 5);
}

#[test]
fn a_made_up_command_that_wants_a_huge_reply_ends_the_replay() {
    let recorded = Program::new().usual().change(|record, _| match record {
        Record::Command { header, .. } if header.sequence == 5 => {
            let command = Command::Copy {
                stream: STREAM,
                dst: Place::Reply,
                src: Place::device(HEAP_BASE + 256),
                extent: Extent::linear(1 << 40),
                release: None,
            };
            Some(Record::Command { header, command })
        }
        other => Some(other),
    });
    let outcome = recorded.replay();
    assert_eq!(outcome.commands, 4);
    let why = outcome.ended.to_string();
    assert!(why.contains("before command 5"), "{why}");
}
