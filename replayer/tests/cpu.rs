// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CPU device behind a session: what runs, in which order, and how it fails.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::cpu::*;
use common::notes::Notes;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::devices::cpu::CpuDevice;
use vcuda_replayer::status;

fn word(bytes: Result<Vec<u8>, Status>) -> u32 {
    u32::from_le_bytes(bytes.unwrap().try_into().unwrap())
}

// Running

#[test]
fn a_kernel_writes_device_memory() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    client.launch(LEGACY, SET, &[heap + 8, 77]);
    assert_eq!(word(client.read(LEGACY, heap + 8, 4)), 77);
}

#[test]
fn a_kernel_reads_and_writes_pinned_memory_at_the_windows_address() {
    let (mut client, _) = client();
    client.poke(FLAG, 5);
    client.launch(LEGACY, CARRY, &[SEEN_ADDRESS, FLAG_ADDRESS]);
    client.synchronize().unwrap();
    assert_eq!(client.peek(SEEN), 5);
}

#[test]
fn work_of_one_stream_runs_in_order() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let stream = client.create_stream(1, false);
    for value in 0..1000 {
        client.launch(stream, SET, &[heap, value]);
    }
    client.launch(stream, CARRY, &[heap + 4, heap]);
    client.launch(stream, SET, &[heap, 7]);
    assert_eq!(word(client.read(stream, heap + 4, 4)), 999);
}

#[test]
fn module_variables_have_addresses_and_values() {
    let (mut client, _) = client();
    let global = |name: &str| Command::GlobalGet {
        module: 1,
        name: name.into(),
    };
    let Ok(Reply::Global(answer)) = client.call(global("answer")) else {
        panic!("no variable");
    };
    assert_eq!(answer.size, 4);
    assert_eq!(word(client.read(LEGACY, answer.address, 4)), 42);
    client.launch(LEGACY, SET, &[answer.address, 43]);
    assert_eq!(word(client.read(LEGACY, answer.address, 4)), 43);
    assert_eq!(client.call(global("question")), Err(status::NOT_FOUND));
    let free = Command::MemFree {
        device: 0,
        address: answer.address,
    };
    assert_eq!(client.call(free), Err(status::INVALID_VALUE));
}

#[test]
fn a_module_can_be_unloaded_while_its_kernels_run() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, SET, &[SEEN_ADDRESS, 9]);
    client.ok(Command::ModuleUnload { module: 1 });
    client.poke(FLAG, 1);
    client.synchronize().unwrap();
    assert_eq!(client.peek(SEEN), 9);
}

// Waiting

#[test]
fn a_command_that_waits_does_not_hold_back_others() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let (slow, fast) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    client.launch(slow, WAIT, &[FLAG_ADDRESS]);
    let waiting = client.begin(Command::StreamSynchronize { stream: slow });
    let copying = client.begin(Client::read_command(slow, heap, 4));
    let all = client.begin(Command::DeviceSynchronize { device: 0 });
    client.launch(fast, SET, &[heap, 3]);
    assert_eq!(word(client.read(fast, heap, 4)), 3);
    for slot in [waiting, copying, all] {
        assert!(client.is_pending(slot));
    }
    client.poke(FLAG, 1);
    assert_eq!(client.finish(waiting), Ok(Reply::Done));
    assert_eq!(client.finish(all), Ok(Reply::Done));
    assert!(matches!(client.finish(copying), Ok(Reply::Data(_))));
}

#[test]
fn one_kernel_can_wait_for_another_streams_kernel() {
    let (mut client, _) = client();
    let (a, b) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    client.launch(a, WAIT, &[FLAG_ADDRESS]);
    client.launch(b, SET, &[FLAG_ADDRESS, 1]);
    client.synchronize().unwrap();
}

#[test]
fn a_stream_query_says_whether_work_is_left() {
    let (mut client, _) = client();
    let query = Command::StreamQuery { stream: LEGACY };
    client.ok(query.clone());
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    assert_eq!(client.call(query.clone()), Err(status::NOT_READY));
    client.poke(FLAG, 1);
    client.synchronize().unwrap();
    client.ok(query);
}

#[test]
fn blocking_streams_and_the_legacy_stream_wait_for_each_other() {
    let (mut client, _) = client();
    let stream = client.create_stream(1, true);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, SET, &[SEEN_ADDRESS, 1]);
    let legacy = client.begin(Command::StreamSynchronize { stream: LEGACY });
    assert!(client.is_pending(legacy));
    assert_eq!(client.peek(SEEN), 0);
    client.poke(FLAG, 1);
    client.finish(legacy).unwrap();

    client.poke(FLAG, 0);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(stream, SET, &[SEEN_ADDRESS, 2]);
    let other = client.begin(Command::StreamSynchronize { stream });
    assert!(client.is_pending(other));
    assert_eq!(client.peek(SEEN), 1);
    client.poke(FLAG, 1);
    client.finish(other).unwrap();
    assert_eq!(client.peek(SEEN), 2);
}

#[test]
fn two_blocking_streams_are_ordered_by_legacy_work_between_them() {
    let (mut client, _) = client();
    let (a, b) = (client.create_stream(1, true), client.create_stream(2, true));
    client.launch(a, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, NOTHING, &[]);
    client.launch(b, SET, &[SEEN_ADDRESS, 1]);
    let done = client.begin(Command::StreamSynchronize { stream: b });
    assert!(client.is_pending(done));
    client.poke(FLAG, 1);
    client.finish(done).unwrap();
}

#[test]
fn a_destroyed_blocking_stream_still_holds_back_the_legacy_stream() {
    let (mut client, _) = client();
    let stream = client.create_stream(1, true);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    client.ok(Command::StreamDestroy { stream });
    client.launch(LEGACY, SET, &[SEEN_ADDRESS, 1]);
    let done = client.begin(Command::DeviceSynchronize { device: 0 });
    assert!(client.is_pending(done));
    assert_eq!(client.peek(SEEN), 0);
    client.poke(FLAG, 1);
    client.finish(done).unwrap();
    assert_eq!(client.peek(SEEN), 1);
}

#[test]
fn a_non_blocking_stream_does_not_wait_for_the_legacy_stream() {
    let (mut client, _) = client();
    let stream = client.create_stream(1, false);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(stream, SET, &[SEEN_ADDRESS, 1]);
    client.ok(Command::StreamSynchronize { stream });
    assert_eq!(client.peek(SEEN), 1);
    client.poke(FLAG, 1);
}

// Events

fn event(client: &mut Client, event: u32, timing: bool) {
    client.ok(Command::EventCreate { event, timing });
}

fn record(client: &mut Client, event: u32, stream: Stream) {
    client.post(Command::EventRecord { event, stream });
}

#[test]
fn an_event_is_complete_when_the_work_before_it_is() {
    let (mut client, _) = client();
    event(&mut client, 1, true);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    record(&mut client, 1, LEGACY);
    let query = Command::EventQuery { event: 1 };
    assert_eq!(client.call(query.clone()), Err(status::NOT_READY));
    let waiting = client.begin(Command::EventSynchronize { event: 1 });
    assert!(client.is_pending(waiting));
    client.poke(FLAG, 1);
    client.finish(waiting).unwrap();
    client.ok(query);
}

#[test]
fn a_stream_waits_for_an_event_as_it_was_recorded_when_the_wait_was_issued() {
    let (mut client, _) = client();
    let (a, b) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    event(&mut client, 1, false);
    record(&mut client, 1, a);
    client.post(Command::StreamWaitEvent {
        stream: b,
        event: 1,
    });
    client.launch(a, WAIT, &[FLAG_ADDRESS]);
    record(&mut client, 1, a);
    client.ok(Command::StreamSynchronize { stream: b });

    client.post(Command::StreamWaitEvent {
        stream: b,
        event: 1,
    });
    client.ok(Command::EventDestroy { event: 1 });
    client.launch(b, SET, &[SEEN_ADDRESS, 1]);
    let done = client.begin(Command::StreamSynchronize { stream: b });
    assert!(client.is_pending(done));
    assert_eq!(client.peek(SEEN), 0);
    client.poke(FLAG, 1);
    client.finish(done).unwrap();
}

#[test]
fn elapsed_time_is_that_between_the_records() {
    let (mut client, _) = client();
    event(&mut client, 1, true);
    event(&mut client, 2, true);
    event(&mut client, 3, false);
    let elapsed = |start, end| Command::EventElapsed { start, end };
    record(&mut client, 1, LEGACY);
    record(&mut client, 3, LEGACY);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    record(&mut client, 2, LEGACY);
    assert_eq!(client.call(elapsed(1, 2)), Err(status::NOT_READY));
    std::thread::sleep(Duration::from_millis(30));
    client.poke(FLAG, 1);
    client.synchronize().unwrap();
    let Ok(Reply::Milliseconds(time)) = client.call(elapsed(1, 2)) else {
        panic!("no time");
    };
    assert!((30.0..60_000.0).contains(&time), "{time} ms");
    assert_eq!(client.call(elapsed(2, 1)), Ok(Reply::Milliseconds(-time)));
    assert_eq!(client.call(elapsed(1, 3)), Err(status::INVALID_HANDLE));
}

// Memory

#[test]
fn memory_outside_the_heap_or_in_use_cannot_be_allocated() {
    let (mut client, heap) = client();
    let info = client.info(0);
    client.alloc(heap + 4096, 4096);
    for (address, size) in [
        (heap + 4096, 1),
        (heap, 4097),
        (heap + 100, 1),
        (heap, 0),
        (heap - 256, 256),
        (heap + info.heap_len - 256, 257),
        (u64::MAX - 255, 256),
        (256, 256),
    ] {
        let alloc = Command::MemAlloc {
            device: 0,
            address,
            size,
        };
        assert_eq!(
            client.call(alloc),
            Err(status::INVALID_VALUE),
            "{address:#x} {size}"
        );
    }
}

#[test]
fn memory_is_limited_and_comes_back() {
    let (mut client, heap) = client();
    let alloc = |address, size| Command::MemAlloc {
        device: 0,
        address,
        size,
    };
    assert_eq!(
        client.call(alloc(heap, MEMORY + 1)),
        Err(status::OUT_OF_MEMORY)
    );
    client.alloc(heap, MEMORY / 2);
    let beyond = client.call(alloc(heap + MEMORY, MEMORY / 2 + 1));
    assert_eq!(beyond, Err(status::OUT_OF_MEMORY));
    let free_bytes = |client: &mut Client| match client.call(Command::MemInfo { device: 0 }) {
        Ok(Reply::Memory(info)) => info.free,
        other => panic!("{other:?}"),
    };
    let before = free_bytes(&mut client);
    client.ok(Command::MemFree {
        device: 0,
        address: heap,
    });
    assert_eq!(free_bytes(&mut client), before + MEMORY / 2);
    client.alloc(heap + MEMORY, MEMORY / 2 + 1);
}

#[test]
fn freed_memory_is_not_reused_while_earlier_work_needs_it() {
    let (mut client, heap) = client();
    let (a, b) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    client.alloc(heap, 4096);
    client.launch(a, WAIT, &[FLAG_ADDRESS]);
    client.launch(a, SET, &[heap, 1]);
    client.ok(Command::MemFree {
        device: 0,
        address: heap,
    });
    // It is gone for commands at once.
    assert_eq!(client.read(b, heap, 4), Err(status::INVALID_VALUE));
    client.alloc(heap, 2048);
    client.launch(b, SET, &[heap, 2]);
    let read = client.begin(Client::read_command(b, heap, 4));
    assert!(client.is_pending(read));
    client.poke(FLAG, 1);
    let Ok(Reply::Data(bytes)) = client.finish(read) else {
        panic!("no data");
    };
    assert_eq!(bytes.0, [2, 0, 0, 0]);
    client.synchronize().unwrap();
    assert!(client.answers.failures().is_empty());
}

#[test]
fn stream_ordered_memory_is_freed_in_its_streams_order() {
    let (mut client, heap) = client();
    let (a, b) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    client.ok(Command::MemAllocAsync {
        stream: a,
        address: heap,
        size: 4096,
    });
    client.launch(a, WAIT, &[FLAG_ADDRESS]);
    client.launch(a, SET, &[heap, 1]);
    client.ok(Command::MemFreeAsync {
        stream: a,
        address: heap,
    });
    // Another stream that gets the same addresses waits for that; one that does not, does not.
    client.ok(Command::MemAllocAsync {
        stream: b,
        address: heap + 4096,
        size: 4096,
    });
    client.launch(b, SET, &[heap + 4096, 3]);
    assert_eq!(word(client.read(b, heap + 4096, 4)), 3);
    client.ok(Command::MemAllocAsync {
        stream: b,
        address: heap,
        size: 4096,
    });
    client.launch(b, SET, &[heap, 2]);
    let read = client.begin(Client::read_command(b, heap, 4));
    assert!(client.is_pending(read));
    client.poke(FLAG, 1);
    assert_eq!(
        client.finish(read),
        Ok(Reply::Data(Bytes(vec![2, 0, 0, 0])))
    );
}

#[test]
fn pinned_memory_is_freed_when_earlier_work_is_done() {
    let (mut client, _) = client();
    client.host_alloc(HOST + 8192, 4096);
    let stream = client.create_stream(1, false);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    client.launch(stream, SET, &[WINDOW_BASE + HOST + 8192, 6]);
    let freed = client.begin(Command::HostFree {
        offset: HOST + 8192,
    });
    assert!(client.is_pending(freed));
    client.poke(FLAG, 1);
    client.finish(freed).unwrap();
    assert_eq!(client.peek(HOST + 8192), 6);
    client.launch(stream, SET, &[WINDOW_BASE + HOST + 8192, 7]);
    assert_eq!(client.synchronize(), Err(status::ILLEGAL_ADDRESS));
}

fn plane(width: u64, height: u64) -> Extent {
    Extent {
        width,
        height,
        depth: 1,
    }
}

#[test]
fn rows_are_copied_with_the_pitch_of_each_side() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let pitched = |address| Place::Device {
        address,
        pitch: Pitch { row: 8, slice: 0 },
    };
    client.ok(Command::Copy {
        stream: LEGACY,
        dst: pitched(heap),
        src: Place::Inline(Bytes(vec![1, 2, 3, 4, 5, 6])),
        extent: plane(3, 2),
        release: None,
    });
    assert_eq!(
        client.read(LEGACY, heap, 11).unwrap(),
        [1, 2, 3, 0, 0, 0, 0, 0, 4, 5, 6]
    );
    client.ok(Command::Copy {
        stream: LEGACY,
        dst: Place::Window {
            offset: 100,
            pitch: Pitch { row: 4, slice: 0 },
        },
        src: pitched(heap),
        extent: plane(3, 2),
        release: None,
    });
    let mut bytes = [0; 8];
    assert!(client.window.memory.read(100, &mut bytes));
    assert_eq!(bytes, [1, 2, 3, 0, 4, 5, 6, 0]);
    let reply = client.call(Command::Copy {
        stream: LEGACY,
        dst: Place::Reply,
        src: pitched(heap),
        extent: plane(3, 2),
        release: None,
    });
    assert_eq!(reply, Ok(Reply::Data(Bytes(vec![1, 2, 3, 4, 5, 6]))));
}

#[test]
fn large_copies_go_through_the_window_and_back() {
    let (mut client, heap) = client();
    const LEN: u64 = 8 << 20;
    client.alloc(heap, LEN);
    let pattern: Vec<u8> = (0..LEN).map(|i| (i / 3) as u8).collect();
    assert!(client.window.memory.write(0, &pattern));
    let copy = |dst, src| Command::Copy {
        stream: LEGACY,
        dst,
        src,
        extent: Extent::linear(LEN),
        release: Some(0),
    };
    client.post(copy(Place::device(heap), Place::window(0)));
    client.ok(copy(Place::window(2 * LEN), Place::device(heap)));
    assert_eq!(client.answers.released(), [0, 0]);
    let mut back = vec![0; LEN as usize];
    assert!(client.window.memory.read(2 * LEN as usize, &mut back));
    assert!(back == pattern);
}

#[test]
fn memory_is_filled_by_elements() {
    let (mut client, heap) = client();
    client.alloc(heap, 256);
    let fill = |address, row, value, element, extent| Command::Fill {
        stream: LEGACY,
        address,
        pitch: Pitch { row, slice: 0 },
        value,
        element,
        extent,
    };
    client.ok(fill(heap, 0, 0x01020304, 4, plane(8, 1)));
    client.ok(fill(heap + 16, 8, 0xaabb, 2, plane(4, 2)));
    client.ok(fill(heap + 2, 0, 0x77, 1, plane(3, 1)));
    let expected = [
        &[4, 3, 0x77, 0x77, 0x77, 3, 2, 1][..],
        &[0; 8],
        &[0xbb, 0xaa, 0xbb, 0xaa],
        &[0; 4],
        &[0xbb, 0xaa, 0xbb, 0xaa],
    ];
    assert_eq!(client.read(LEGACY, heap, 28).unwrap(), expected.concat());
    for (address, element, extent) in [
        (heap + 1, 2, plane(4, 1)),
        (heap, 4, plane(6, 1)),
        (heap, 3, plane(6, 1)),
        (heap, 0, plane(6, 1)),
        (heap + 250, 1, plane(7, 1)),
    ] {
        let refused = client.call(fill(address, 0, 0, element, extent));
        assert_eq!(refused, Err(status::INVALID_VALUE));
    }
}

// Observing

#[test]
fn the_observer_sees_pinned_memory_as_it_is_when_the_stream_gets_there() {
    let window = window();
    let devices = CpuDevice::create(options(), Some(&window)).unwrap();
    let notes = Arc::new(Notes::default());
    let mut client = Client::new(devices, window, Some(notes.clone()));
    prepare(&mut client);
    let heap = client.info(0).heap_base;
    client.alloc(heap, 64);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, SET, &[SEEN_ADDRESS, 7]);
    let copy = |dst, src| Command::Copy {
        stream: LEGACY,
        dst: Place::device(dst),
        src: Place::device(src),
        extent: Extent::linear(4),
        release: None,
    };
    notes.take();
    let taken = client.post(copy(heap, SEEN_ADDRESS));
    let given = client.post(copy(FLAG_ADDRESS + 8, heap));
    client.poke(FLAG, 1);
    client.synchronize().unwrap();
    let seen: Vec<_> = notes
        .take()
        .into_iter()
        .filter(|note| note.contains(['<', '>']))
        .collect();
    assert_eq!(
        seen,
        [
            format!("{taken} < 0 [7, 0, 0, 0]"),
            format!("{given} > 0 [7, 0, 0, 0]")
        ]
    );
}
