// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is printed of a trace.

use vcuda_protocol::trace::{Properties, Writer};
use vcuda_protocol::{Bytes, Command, Extent, Place, Stream};

use super::*;

/// A program that allocates, copies, and gets an error for what it posted.
fn trace() -> Vec<u8> {
    let mut properties = Properties::default();
    properties.add("program", "./saxpy");
    properties.add("argument", "10");
    properties.add("device", "a device");
    let names = |api| (api == 4).then_some("cudaMemcpy");
    let mut writer = Writer::new(Vec::new(), &properties, names).unwrap();
    let header = |sequence, slot| Header {
        sequence,
        api: if sequence == 2 { 4 } else { 5 },
        thread: 99,
        time: 1_500_000_000 * sequence,
        slot,
    };
    let alloc = Command::MemAlloc {
        device: 0,
        address: 0x7000,
        size: 4096,
    };
    let copy = Command::Copy {
        stream: Stream { device: 0, id: 0 },
        dst: Place::Reply,
        src: Place::device(0x7000),
        extent: Extent::linear(3),
        release: None,
    };
    writer.command(&header(1, Some(1)), &alloc).unwrap();
    writer.command(&header(2, Some(2)), &copy).unwrap();
    writer.command(&header(3, None), &alloc).unwrap();
    writer.transfer(Transfer::Output, 2, 0, &[1; 1000]).unwrap();
    writer
        .answer(2, &Ok(Reply::Data(Bytes(vec![1, 2, 255]))))
        .unwrap();
    writer.answer(1, &Ok(Reply::Done)).unwrap();
    writer.answer(3, &Err(Status(2))).unwrap();
    writer.finish().unwrap()
}

fn printed(file: Vec<u8>) -> (Vec<String>, Ended) {
    let mut out = Vec::new();
    let ended = calls(Reader::new(file).unwrap(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(str::to_owned).collect(), ended)
}

#[test]
fn calls_stand_in_order_with_their_answers() {
    let (lines, ended) = printed(trace());
    assert_eq!(ended, Ended::Clean);
    let words: Vec<String> = lines
        .iter()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        words,
        [
            "1 1.500000 99 function 5 MemAlloc(device=0, address=0x7000, size=4096) = success",
            "2 3.000000 99 cudaMemcpy Copy(stream={device=0, id=0}, dst=Reply, \
             src=Device(address=0x7000, pitch={row=0, slice=0}), \
             extent={width=3, height=1, depth=1}, release=null) = Data(0102ff)",
            "3 4.500000 99 function 5 MemAlloc(device=0, address=0x7000, size=4096)",
            "3 failed later: error 2",
        ]
    );
}

#[test]
fn a_call_that_was_never_answered_says_so() {
    let mut file = trace();
    let answers = file.windows(4).position(|w| w == b"ANSW").unwrap();
    file.truncate(answers);
    let (lines, ended) = printed(file);
    assert_eq!(ended, Ended::Unfinished);
    assert!(lines[0].ends_with("(no answer)"), "{lines:?}");
    assert!(lines[2].ends_with("size=4096)"), "{lines:?}");
}

#[test]
fn json_has_one_object_for_each_record() {
    let mut out = Vec::new();
    json(Reader::new(trace()).unwrap(), &mut out).unwrap();
    let objects: Vec<Value> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of =
        |kind: &str| -> Vec<&Value> { objects.iter().filter(|o| o["record"] == kind).collect() };
    assert_eq!(
        of("properties")[0]["properties"][0],
        json!(["program", "./saxpy"])
    );
    assert_eq!(of("command").len(), 3);
    assert_eq!(of("command")[1]["function"], "cudaMemcpy");
    assert_eq!(of("command")[0]["command"]["MemAlloc"]["size"], 4096);
    assert_eq!(of("answer")[0]["reply"]["Data"], "0102ff");
    assert_eq!(of("answer")[2]["status"], 2);
    assert_eq!(of("output")[0]["blob"], of("blob")[0]["hash"]);
    assert_eq!(of("end")[0]["counts"]["commands"], 3);
}

#[test]
fn a_summary_counts_calls_and_bytes() {
    let summary = Summary::read(Reader::new(trace()).unwrap()).unwrap();
    assert_eq!(summary.functions["cudaMemcpy"], 1);
    assert_eq!(summary.commands["MemAlloc"], 2);
    assert_eq!(
        (summary.waited_for, summary.failed, summary.threads),
        (2, 1, 1)
    );
    assert_eq!((summary.output_bytes, summary.blob_bytes), (1000, 1000));
    assert_eq!(summary.duration, 3_000_000_000);
    assert!(summary.clean && summary.stored_bytes < 100);
    let text = summary.to_string();
    for part in [
        "./saxpy 10",
        "a device",
        "3.000000 s",
        "in good order",
        "2  MemAlloc",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}
