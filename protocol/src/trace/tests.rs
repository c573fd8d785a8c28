// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a trace holds, and what can be read of one that was cut, damaged or made up.

use proptest::prelude::*;

use super::block::{self, HEAD_LEN};
use super::shape::{Role, shapes};
use super::*;
use crate::types::*;
use crate::wire::MAX_MESSAGE;

const STREAM: Stream = Stream { device: 0, id: 0 };

fn names(api: u16) -> Option<&'static str> {
    ["cudaMalloc", "cudaLaunchKernel", "cudaMemcpy"]
        .get(usize::from(api))
        .copied()
}

fn writer() -> Writer<Vec<u8>> {
    let mut properties = Properties::default();
    properties.add("program", "./saxpy");
    properties.add("argument", "-n");
    properties.add("argument", "10");
    Writer::new(Vec::new(), &properties, names).unwrap()
}

fn header(sequence: u64, api: u16) -> Header {
    Header {
        sequence,
        api,
        thread: 70,
        time: 1000 * sequence,
        slot: None,
    }
}

fn alloc() -> Command {
    Command::MemAlloc {
        device: 0,
        address: 0x7000_0000_0000,
        size: 4096,
    }
}

fn load(len: usize) -> Command {
    let image = Image::Inline(Bytes((0..len).map(|i| (i / 7) as u8).collect()));
    Command::ModuleLoad {
        device: 0,
        module: 1,
        image,
    }
}

fn copy_back() -> Command {
    Command::Copy {
        stream: STREAM,
        dst: Place::Reply,
        src: Place::device(0x7000_0000_0000),
        extent: Extent::linear(1000),
        release: None,
    }
}

/// One record of each kind, and a blob that three records use.
fn sample() -> Vec<u8> {
    let mut writer = writer();
    let data: Vec<u8> = (0..1000u32).map(|i| i as u8).collect();
    writer.command(&header(1, 0), &alloc()).unwrap();
    writer.command(&header(2, 1), &load(600)).unwrap();
    let failed = Err(Status(200));
    writer.answer(2, &failed).unwrap();
    writer
        .transfer(Transfer::HostMemory, 3, 0x1000, &data)
        .unwrap();
    writer.command(&header(3, 2), &copy_back()).unwrap();
    writer
        .answer(3, &Ok(Reply::Data(Bytes(data.clone()))))
        .unwrap();
    writer.transfer(Transfer::Output, 3, 0, &data).unwrap();
    writer.transfer(Transfer::Input, 3, 8, b"short").unwrap();
    writer.finish().unwrap()
}

/// What a reader gives out, and why it stopped.
struct Read {
    records: Vec<Record>,
    failure: Option<TraceError>,
    end: Option<Counts>,
}

/// Reads a whole file, bulk data too.
fn read(file: &[u8]) -> Read {
    let mut read = Read {
        records: Vec::new(),
        failure: None,
        end: None,
    };
    match Reader::new(file.to_vec()) {
        Ok(mut reader) => {
            while let Some(record) = reader.next() {
                match record {
                    Ok(record) => {
                        if let Record::Transfer { content, .. } = &record {
                            let _ = reader.bytes(content);
                        }
                        read.records.push(record);
                    }
                    Err(error) => read.failure = Some(error),
                }
            }
            read.end = reader.end();
        }
        Err(error) => read.failure = Some(error),
    }
    read
}

/// Where each block begins, and the file's length.
fn block_offsets(file: &[u8]) -> Vec<usize> {
    let mut offsets = vec![HEAD_LEN];
    while let Some(&at) = offsets.last()
        && at < file.len()
    {
        let len = u32::from_le_bytes(file[at + 4..at + 8].try_into().unwrap());
        offsets.push(at + HEAD_LEN + len as usize);
    }
    offsets
}

fn count(records: &[Record], which: impl Fn(&Record) -> bool) -> usize {
    records.iter().filter(|r| which(r)).count()
}

#[test]
fn a_trace_gives_back_what_was_written() {
    let read = read(&sample());
    assert!(read.failure.is_none(), "{:?}", read.failure);
    let data = Bytes((0..1000u32).map(|i| i as u8).collect());
    let expected = [
        Record::Command {
            header: header(1, 0),
            command: alloc(),
        },
        Record::Command {
            header: header(2, 1),
            command: load(600),
        },
        Record::Answer {
            sequence: 2,
            reply: Err(Status(200)),
        },
        Record::Command {
            header: header(3, 2),
            command: copy_back(),
        },
        Record::Answer {
            sequence: 3,
            reply: Ok(Reply::Data(data)),
        },
    ];
    for record in &expected {
        assert!(read.records.contains(record), "{record:?} is missing");
    }
    let counts = Counts {
        commands: 3,
        answers: 2,
        transfers: 3,
        blobs: 2,
    };
    assert_eq!(read.end, Some(counts));
}

#[test]
fn properties_and_names_are_known_after_opening() {
    let mut reader = Reader::new(sample()).unwrap();
    assert_eq!(reader.properties().get("program"), Some("./saxpy"));
    let arguments: Vec<_> = reader.properties().all("argument").collect();
    assert_eq!(arguments, ["-n", "10"]);
    assert_eq!(reader.function(1), None);
    reader.by_ref().for_each(drop);
    assert_eq!(reader.function(1), Some("cudaLaunchKernel"));
    assert_eq!(reader.function(9), None);
}

#[test]
fn bulk_data_stands_in_the_file_once() {
    let mut writer = writer();
    let noise: Vec<u8> = (0..100_000u32)
        .map(|i| (i.wrapping_mul(0x9e37_79b9) >> 24) as u8)
        .collect();
    for sequence in 0..50 {
        writer
            .transfer(Transfer::Input, sequence, 0, &noise)
            .unwrap();
    }
    let file = writer.finish().unwrap();
    assert!(file.len() < 105_000, "{} bytes", file.len());
    let records = read(&file).records;
    assert_eq!(count(&records, |r| matches!(r, Record::Blob { .. })), 1);
}

#[test]
fn zeros_are_compressed_and_come_back() {
    let mut writer = writer();
    writer
        .transfer(Transfer::Input, 1, 0, &[0; 1 << 20])
        .unwrap();
    let file = writer.finish().unwrap();
    assert!(file.len() < 10_000, "{} bytes", file.len());
    let mut reader = Reader::new(file).unwrap();
    let mut fetched = None;
    while let Some(record) = reader.next() {
        if let Record::Transfer { content, .. } = record.unwrap() {
            fetched = Some(reader.bytes(&content).unwrap());
        }
    }
    assert_eq!(fetched, Some(vec![0; 1 << 20]));
}

#[test]
fn data_longer_than_a_blob_is_cut_into_pieces_with_their_positions() {
    let mut writer = writer();
    let data: Vec<u8> = (0..MAX_BLOB + 3).map(|i| (i >> 16) as u8).collect();
    writer.transfer(Transfer::Output, 1, 100, &data).unwrap();
    let mut reader = Reader::new(writer.finish().unwrap()).unwrap();
    let mut pieces = Vec::new();
    while let Some(record) = reader.next() {
        if let Record::Transfer {
            position, content, ..
        } = record.unwrap()
        {
            pieces.push((position, reader.bytes(&content).unwrap()));
        }
    }
    let expected = [
        (100, data[..MAX_BLOB].to_vec()),
        (100 + MAX_BLOB as u64, data[MAX_BLOB..].to_vec()),
    ];
    assert!(pieces == expected);
}

#[test]
fn a_writer_that_never_finished_leaves_a_readable_trace() {
    let mut unfinished = writer();
    unfinished.command(&header(1, 0), &alloc()).unwrap();
    let whole = {
        let mut writer = writer();
        writer.command(&header(1, 0), &alloc()).unwrap();
        writer.finish().unwrap()
    };
    let last = block_offsets(&whole).into_iter().rev().nth(1).unwrap();
    let read = read(&whole[..last]);
    assert!(read.failure.is_none() && read.end.is_none());
    assert!(matches!(read.records.last(), Some(Record::Command { .. })));
}

#[test]
fn each_truncation_gives_the_complete_records_and_says_where_it_was_cut() {
    let file = sample();
    let whole = read(&file).records;
    let offsets = block_offsets(&file);
    for len in 0..file.len() {
        let cut = read(&file[..len]);
        let complete = offsets
            .iter()
            .filter(|&&o| o > HEAD_LEN && o <= len)
            .count();
        // The first block is read when the file is opened.
        assert_eq!(cut.records, whole[..complete.saturating_sub(1)], "{len}");
        let in_order = cut.end.is_some();
        assert!(!in_order);
        match cut.failure {
            None => assert!(complete > 0 && offsets.contains(&len), "{len}"),
            Some(TraceError::NotATrace(_)) => assert_eq!(len, 0),
            Some(TraceError::Truncated {
                offset,
                len: told,
                records,
            }) => {
                assert_eq!(told, len as u64);
                assert_eq!(records, complete as u64);
                let start = offsets.iter().rfind(|&&o| o <= len).unwrap_or(&0);
                assert_eq!(offset, *start as u64, "{len}");
            }
            Some(other) => panic!("cut at {len}: {other}"),
        }
    }
}

#[test]
fn each_flipped_bit_is_found_at_its_record() {
    let file = sample();
    let whole = read(&file).records;
    let offsets = block_offsets(&file);
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 1 << (at % 8);
        let found = read(&bad);
        let start = offsets.iter().rfind(|&&o| o <= at).copied();
        let before = offsets.iter().filter(|&&o| o > HEAD_LEN && o <= at).count();
        match found.failure {
            Some(TraceError::NotATrace(_)) => assert!(at < 8),
            Some(TraceError::Corrupted {
                offset, records, ..
            }) => {
                assert_eq!(offset, start.unwrap_or(0) as u64, "{at}");
                assert_eq!(records, before as u64, "{at}");
            }
            other => panic!("flipped at {at}: {other:?}"),
        }
        assert_eq!(found.records, whole[..before.saturating_sub(1)], "{at}");
    }
}

#[test]
fn a_file_of_something_else_is_not_a_trace() {
    for bytes in [
        &b""[..],
        b"\x7fELF\x02\x01\x01",
        b"\x89vcuda\n\n",
        &[0; 100],
    ] {
        let failure = read(bytes).failure;
        assert!(
            matches!(failure, Some(TraceError::NotATrace(_))),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_newer_version_is_refused_by_its_number() {
    let mut file = sample();
    file[8] = 2;
    let sum = crc32fast::hash(&file[..12]);
    file[12..16].copy_from_slice(&sum.to_le_bytes());
    let failure = read(&file).failure.unwrap();
    assert!(matches!(failure, TraceError::Newer { major: 2, minor: 0 }));
    assert!(failure.to_string().contains("2.0"), "{failure}");
}

/// A trace with blocks of its own making behind the properties.
fn made_up(blocks: &[(block::Kind, Vec<u8>)]) -> Vec<u8> {
    let mut file = block::file_head().to_vec();
    let empty = postcard::to_stdvec(&Properties::default()).unwrap();
    for (kind, payload) in std::iter::once(&(block::PROPERTIES, empty)).chain(blocks) {
        block::append(&mut file, *kind, |out| {
            out.extend_from_slice(payload);
            Ok(())
        })
        .unwrap();
    }
    file
}

#[test]
fn an_unknown_block_is_skipped_only_if_it_says_so() {
    let small = read(&made_up(&[(*b"note", vec![1, 2, 3])]));
    assert_eq!(small.records, [Record::Skipped { kind: *b"note" }]);
    assert!(small.failure.is_none());
    let large = read(&made_up(&[(*b"Note", vec![1, 2, 3])]));
    assert!(large.failure.unwrap().to_string().contains("\"Note\""));
}

fn shape_block(role: Role, index: u32, text: &str) -> (block::Kind, Vec<u8>) {
    let payload = postcard::to_stdvec(&(role, index, text)).unwrap();
    (block::SHAPE, payload)
}

#[test]
fn a_command_is_known_by_its_shape_and_not_by_its_number() {
    let own = shapes()
        .commands
        .iter()
        .find(|s| s.starts_with("EventSynchronize"));
    let command = (None::<Content>, header(9, 0), 77u32, 5u32);
    let file = made_up(&[
        shape_block(Role::Header, 0, &shapes().header),
        shape_block(Role::Command, 77, own.unwrap()),
        (block::COMMAND, postcard::to_stdvec(&command).unwrap()),
    ]);
    let expected = Record::Command {
        header: header(9, 0),
        command: Command::EventSynchronize { event: 5 },
    };
    assert_eq!(read(&file).records.last(), Some(&expected));
}

#[test]
fn a_command_of_another_version_is_named_and_what_follows_is_read() {
    let shape = "EventSynchronize { event: u32, deadline: u64 }";
    let command = (None::<Content>, header(9, 0), 3u32, (5u32, 6u64));
    let answer = (None::<Content>, 9u64, Status(1));
    let file = made_up(&[
        shape_block(Role::Header, 0, &shapes().header),
        shape_block(Role::Command, 3, shape),
        (block::COMMAND, postcard::to_stdvec(&command).unwrap()),
        (block::ANSWER, postcard::to_stdvec(&answer).unwrap()),
    ]);
    let records = read(&file).records;
    let foreign = Record::Foreign {
        role: Role::Command,
        sequence: 9,
        shape: shape.into(),
    };
    assert!(records.contains(&foreign));
    assert!(matches!(records.last(), Some(Record::Answer { .. })));
}

#[test]
fn a_command_without_a_shape_is_an_error() {
    let command = (None::<Content>, header(9, 0), 3u32, 5u32);
    let file = made_up(&[(block::COMMAND, postcard::to_stdvec(&command).unwrap())]);
    let failure = read(&file).failure.unwrap();
    assert!(failure.to_string().contains("shape of Header"), "{failure}");
}

#[test]
fn a_blob_that_is_not_in_the_file_is_named() {
    let hash = Hash::of(b"absent");
    let content = Content::Blob { hash, len: 100 };
    let transfer = postcard::to_stdvec(&(1u64, 0u64, &content)).unwrap();
    let mut reader = Reader::new(made_up(&[(block::INPUT, transfer)])).unwrap();
    assert!(reader.next().unwrap().is_ok());
    let failure = reader.bytes(&content).unwrap_err();
    assert!(failure.to_string().contains(&hash.to_string()), "{failure}");
}

#[test]
fn a_blob_that_is_not_what_its_name_says_is_refused() {
    let hash = Hash::of(b"what was promised");
    let mut payload = hash.0.to_vec();
    payload.extend_from_slice(&[0, 5, 0, 0, 0]);
    payload.extend_from_slice(b"other");
    let mut reader = Reader::new(made_up(&[(block::BLOB, payload)])).unwrap();
    assert!(reader.next().unwrap().is_ok());
    let failure = reader.blob(&hash, 5).unwrap_err();
    assert!(matches!(failure, TraceError::DamagedBlob(h) if h == hash));
}

#[test]
fn a_blob_that_claims_more_than_its_bytes_can_hold_is_refused() {
    let mut payload = vec![0; 16];
    payload.push(1);
    payload.extend_from_slice(&u32::MAX.to_le_bytes());
    payload.extend_from_slice(&[0; 8]);
    let failure = read(&made_up(&[(block::BLOB, payload)])).failure.unwrap();
    assert!(failure.to_string().contains("cannot hold"), "{failure}");
}

#[test]
fn a_small_command_cannot_unpack_to_a_large_field() {
    let mut writer = writer();
    let zeros = vec![0; MAX_BLOB];
    writer.transfer(Transfer::Input, 1, 0, &zeros).unwrap();
    let mut file = writer.finish().unwrap();
    file.truncate(block_offsets(&file).into_iter().rev().nth(1).unwrap());
    let content = Content::Blob {
        hash: Hash::of(&zeros),
        len: zeros.len() as u64,
    };
    let index = shapes()
        .replies
        .iter()
        .position(|s| s == "Data(bytes)")
        .unwrap() as u32;
    let answer = (Some(content), 1u64, Status(0), index, Bytes::default());
    let blocks = made_up(&[
        shape_block(Role::Reply, index, "Data(bytes)"),
        (block::ANSWER, postcard::to_stdvec(&answer).unwrap()),
    ]);
    file.extend_from_slice(&blocks[block_offsets(&blocks)[1]..]);
    let failure = read(&file).failure.unwrap();
    assert!(failure.to_string().contains("16777216"), "{failure}");
    assert!(zeros.len() > MAX_MESSAGE);
}

#[test]
fn a_lost_record_is_noticed_at_the_end() {
    let file = sample();
    let offsets = block_offsets(&file);
    let lost = offsets
        .windows(2)
        .find(|w| file[w[0]..].starts_with(b"ANSW"))
        .unwrap();
    let mut short = file[..lost[0]].to_vec();
    short.extend_from_slice(&file[lost[1]..]);
    let read = read(&short);
    assert!(read.end.is_none());
    assert!(read.failure.unwrap().to_string().contains("counts"));
}

#[test]
fn a_repeated_name_of_the_two_encoders_is_no_harm() {
    let mut writer = writer();
    let mut encoder = Encoder::new(names);
    let mut blocks = Vec::new();
    encoder
        .command(&mut blocks, &header(1, 0), &alloc())
        .unwrap();
    writer.blocks(&blocks, encoder.take_counts()).unwrap();
    writer.command(&header(2, 0), &alloc()).unwrap();
    let read = read(&writer.finish().unwrap());
    assert!(read.failure.is_none(), "{:?}", read.failure);
    assert_eq!(read.end.unwrap().commands, 2);
}

/// The example of docs/trace-format.md, as it stands there.
#[test]
fn the_example_in_the_specification_is_right() {
    let mut properties = Properties::default();
    properties.add("program", "./a");
    let mut writer = Writer::new(Vec::new(), &properties, names).unwrap();
    let synchronize = Command::DeviceSynchronize { device: 300 };
    let header = Header {
        slot: Some(2),
        ..header(1, 1)
    };
    writer.command(&header, &synchronize).unwrap();
    writer.answer(1, &Err(Status(700))).unwrap();
    let file = writer.finish().unwrap();

    let specification = include_str!("../../../docs/trace-format.md");
    let (_, rest) = specification.split_once("```hex\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let bytes: Vec<u8> = example
        .lines()
        .flat_map(|line| line.split("  ").next().unwrap().split(' '))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let dump: Vec<_> = block_offsets(&file)
        .windows(2)
        .map(|w| format!("{:02x?}", &file[w[0]..w[1]]))
        .collect();
    assert!(bytes == file, "the file is {:02x?} {dump:#?}", &file[..16]);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes);
    }

    /// Behind sound checksums, so that what is within the blocks is reached.
    #[test]
    fn random_payloads_never_panic(
        blocks in proptest::collection::vec(
            (0usize..10, proptest::collection::vec(any::<u8>(), 0..120)), 0..8)
    ) {
        let kinds = [
            block::PROPERTIES, block::FUNCTION, block::SHAPE, block::COMMAND, block::ANSWER,
            block::INPUT, block::OUTPUT, block::HOST_MEMORY, block::BLOB, block::END,
        ];
        let mut all = vec![shape_block(Role::Header, 0, &shapes().header)];
        for (role, list) in [(Role::Command, &shapes().commands), (Role::Reply, &shapes().replies)] {
            all.extend(list.iter().enumerate().map(|(i, s)| shape_block(role, i as u32, s)));
        }
        all.extend(blocks.into_iter().map(|(k, payload)| (kinds[k], payload)));
        read(&made_up(&all));
    }

    #[test]
    fn bulk_data_comes_back(data in proptest::collection::vec(0u8..4, 0..5000)) {
        let mut writer = writer();
        writer.transfer(Transfer::Input, 1, 0, &data).unwrap();
        let mut reader = Reader::new(writer.finish().unwrap()).unwrap();
        let mut fetched = Vec::new();
        while let Some(record) = reader.next() {
            if let Record::Transfer { content, .. } = record.unwrap() {
                fetched.extend(reader.bytes(&content).unwrap());
            }
        }
        prop_assert_eq!(fetched, data);
    }
}
