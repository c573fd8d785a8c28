// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands in the file after a session was observed.

use std::fs::File;

use tempfile::TempDir;
use vcuda_protocol::trace::{Content, Reader, Record};
use vcuda_protocol::{Bytes, Dim3, Image, Stream};

use super::*;

struct Recording {
    folder: TempDir,
    recorder: Recorder,
}

impl Recording {
    fn new() -> Recording {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.vcuda");
        let recorder =
            Recorder::create(&path, 1, Existing::Replace, &Properties::default()).unwrap();
        Recording { folder, recorder }
    }

    /// All records, once the recorder has finished.
    fn records(self) -> Vec<Record> {
        self.recorder.finish().unwrap();
        let reader = Reader::open(self.folder.path().join("t.vcuda")).unwrap();
        reader.collect::<Result<_, _>>().unwrap()
    }
}

fn header(sequence: u64) -> Header {
    Header {
        sequence,
        api: 0,
        thread: 1,
        time: sequence,
        slot: None,
    }
}

fn launch(sequence: u32) -> Command {
    Command::Launch {
        stream: Stream { device: 0, id: 0 },
        function: sequence,
        grid: Dim3 { x: 1, y: 1, z: 1 },
        block: Dim3 { x: 1, y: 1, z: 1 },
        dynamic_shared: 0,
        cooperative: false,
        params: Bytes(vec![7; 24]),
    }
}

#[test]
fn commands_answers_and_data_stand_in_the_order_in_which_they_were_seen() {
    let recording = Recording::new();
    let recorder = &recording.recorder;
    let load = Command::ModuleLoad {
        device: 0,
        module: 1,
        image: Image::Inline(Bytes(vec![3; 10_000])),
    };
    recorder.command(&header(1), &load);
    recorder.answer(1, &Err(Status(200)));
    recorder.command(&header(2), &launch(1));
    recorder.input(2, 0, &[1; 1000]);
    recorder.command(&header(3), &launch(2));
    recorder.output(3, 5, b"few");
    let data = Ok(Reply::Data(Bytes(vec![1; 1000])));
    recorder.answer(3, &data);
    let seen: Vec<_> = recording
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Command { header, command } => {
                let whole = header.sequence != 1 || command == load;
                Some(format!("command {} {whole}", header.sequence))
            }
            Record::Answer { sequence, reply } => Some(format!(
                "answer {sequence} {}",
                reply.is_err() || reply == data
            )),
            Record::Transfer {
                sequence, position, ..
            } => Some(format!("data {sequence} {position}")),
            Record::Blob { len, .. } => Some(format!("blob {len}")),
            Record::End(counts) => Some(format!("end {}", counts.commands)),
            _ => None,
        })
        .collect();
    let expected = [
        "blob 10000",
        "command 1 true",
        "answer 1 true",
        "command 2 true",
        "blob 1000",
        "data 2 0",
        "command 3 true",
        "data 3 5",
        "answer 3 true",
        "end 3",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_a_client_does_with_an_answer_stands_behind_it() {
    let recording = Recording::new();
    let recorder = &recording.recorder;
    recorder.command(&header(1), &launch(1));
    let data = Ok(Reply::Data(Bytes(b"four".to_vec())));
    std::thread::scope(|scope| {
        // The client acts as soon as it has the answer, which is not recorded yet.
        recorder.answering(1, &data, &mut || {
            let (sent, act) = std::sync::mpsc::channel();
            scope.spawn(move || {
                sent.send(()).unwrap();
                recorder.command(&header(2), &launch(2));
            });
            act.recv().unwrap();
            std::thread::sleep(Duration::from_millis(20));
        });
    });
    let seen: Vec<_> = recording
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Command { header, .. } => Some(format!("command {}", header.sequence)),
            Record::Answer { sequence, .. } => Some(format!("answer {sequence}")),
            Record::Transfer {
                sequence, content, ..
            } => Some(format!("data {sequence} {}", content.len())),
            _ => None,
        })
        .collect();
    assert_eq!(seen, ["command 1", "data 1 4", "answer 1", "command 2"]);
}

#[test]
fn unchanged_host_memory_is_recorded_once() {
    let recording = Recording::new();
    let recorder = &recording.recorder;
    let mut memory = vec![0; 200_000];
    recorder.host_memory(1, 0x1000, &memory);
    recorder.host_memory(2, 0x1000, &memory);
    memory[199_999] = 1;
    recorder.host_memory(3, 0x1000, &memory);
    let pieces: Vec<_> = recording
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Transfer {
                sequence,
                position,
                content,
                ..
            } => Some((sequence, position, content.len())),
            _ => None,
        })
        .collect();
    let piece = 64 << 10;
    let last = 0x1000 + 3 * piece;
    let expected = [
        (1, 0x1000, piece),
        (1, 0x1000 + piece, piece),
        (1, 0x1000 + 2 * piece, piece),
        (1, last, 200_000 - 3 * piece),
        (3, last, 200_000 - 3 * piece),
    ];
    assert_eq!(pieces, expected);
}

#[test]
fn what_was_recorded_reaches_the_file_while_the_session_lives() {
    let recording = Recording::new();
    let recorder = &recording.recorder;
    recorder.command(&header(1), &launch(1));
    recorder.input(1, 0, &[5; 100]);
    let path = recorder.path();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        // As after `kill -9`: nothing tells the recorder to finish.
        let mut reader = Reader::open(path).unwrap();
        let records: Vec<_> = reader.by_ref().filter_map(Result::ok).collect();
        let complete = records.iter().any(|record| {
            matches!(record, Record::Transfer { content: Content::Blob { hash, len }, .. }
                if reader.blob(hash, *len).unwrap() == [5; 100])
        });
        if complete {
            assert!(reader.end().is_none());
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{records:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn many_threads_record_every_command_once() {
    let recording = Recording::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recording.recorder;
            scope.spawn(move || {
                for i in 0..5000 {
                    recorder.command(&header(thread * 5000 + i), &launch(1));
                    if i % 100 == 0 {
                        recorder.output(i, 0, &[i as u8; 70_000]);
                    }
                }
            });
        }
    });
    let records = recording.records();
    let Some(Record::End(counts)) = records.last() else {
        panic!("the recording has no end");
    };
    assert_eq!((counts.commands, counts.transfers), (20_000, 200));
}

#[test]
fn a_file_that_cannot_be_written_stops_the_recording_and_nothing_else() {
    let (reader, writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let recorder = Recorder::start(file, "pipe".into(), &Properties::default()).unwrap();
    drop(reader);
    // More than may wait: who records must not wait for a writer that is gone.
    for sequence in 0..100 {
        recorder.input(sequence, 0, &vec![sequence as u8; 1 << 20]);
        recorder.command(&header(sequence), &launch(1));
    }
    let error = recorder.finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(recorder.finish().is_ok(), "it was told once");
}

#[test]
fn finishing_twice_is_no_harm() {
    let recording = Recording::new();
    recording.recorder.finish().unwrap();
    recording.recorder.command(&header(1), &launch(1));
    recording.recorder.finish().unwrap();
}
