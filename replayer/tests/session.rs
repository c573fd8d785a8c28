// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a session checks, whatever the device.

mod common;

use std::sync::Arc;

use common::notes::Notes;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::devices::null::{HEAP_BASE, NullDevice};
use vcuda_replayer::status;

fn client() -> Client {
    Client::new(vec![Arc::new(NullDevice::default())], window(), None)
}

#[test]
fn a_handle_that_names_nothing_is_an_invalid_handle() {
    let mut client = client();
    let commands = [
        Command::StreamSynchronize { stream: stream(9) },
        Command::StreamQuery { stream: stream(9) },
        Command::StreamDestroy { stream: stream(9) },
        Command::StreamDestroy { stream: LEGACY },
        Command::EventDestroy { event: 1 },
        Command::EventQuery { event: 1 },
        Command::EventSynchronize { event: 1 },
        Command::EventRecord {
            event: 1,
            stream: LEGACY,
        },
        Command::StreamWaitEvent {
            stream: LEGACY,
            event: 1,
        },
        Command::EventElapsed { start: 1, end: 2 },
        Command::ModuleUnload { module: 5 },
        Command::GlobalGet {
            module: 5,
            name: "x".into(),
        },
        Command::FunctionGet {
            module: 5,
            function: 1,
            name: "x".into(),
        },
        Command::FunctionSetAttribute {
            function: 1,
            attribute: 8,
            value: 0,
        },
        Client::launch_command(LEGACY, 1, &[]),
        Client::launch_command(stream(9), 1, &[]),
    ];
    for command in commands {
        assert_eq!(
            client.call(command.clone()),
            Err(status::INVALID_HANDLE),
            "{command:?}"
        );
    }
}

#[test]
fn a_device_that_does_not_exist_is_an_invalid_device() {
    let mut client = client();
    let beyond = Stream { device: 1, id: 0 };
    for command in [
        Command::DeviceInfo { device: 1 },
        Command::DeviceReset { device: u32::MAX },
        Command::MemInfo { device: 7 },
        Command::StreamSynchronize { stream: beyond },
    ] {
        assert_eq!(client.call(command), Err(status::INVALID_DEVICE));
    }
}

#[test]
fn a_handle_cannot_be_named_twice() {
    let mut client = client();
    client.create_stream(1, true);
    let again = Command::StreamCreate {
        stream: stream(1),
        blocking: false,
        priority: 0,
    };
    assert_eq!(client.call(again), Err(status::INVALID_HANDLE));
    let event = Command::EventCreate {
        event: 1,
        timing: true,
    };
    client.ok(event.clone());
    assert_eq!(client.call(event), Err(status::INVALID_HANDLE));
    client.load(1, b"");
    client.function(1, 1, "k").unwrap();
    assert_eq!(client.function(1, 1, "k"), Err(status::INVALID_HANDLE));
}

#[test]
fn unloading_a_module_ends_its_functions() {
    let mut client = client();
    client.load(1, b"");
    client.load(2, b"");
    client.function(1, 1, "k").unwrap();
    client.function(2, 2, "k").unwrap();
    client.ok(Command::ModuleUnload { module: 1 });
    let gone = client.call(Client::launch_command(LEGACY, 1, &[]));
    assert_eq!(gone, Err(status::INVALID_HANDLE));
    client.ok(Client::launch_command(LEGACY, 2, &[]));
}

#[test]
fn a_posted_command_that_fails_is_reported_once() {
    let mut client = client();
    client.post(Command::EventDestroy { event: 3 });
    client.post(Command::MemFree {
        device: 0,
        address: 12,
    });
    client.post(Command::EventCreate {
        event: 3,
        timing: false,
    });
    assert_eq!(
        client.answers.failures(),
        [(0, status::INVALID_HANDLE), (0, status::INVALID_VALUE)]
    );
}

#[test]
fn an_event_that_was_never_recorded_is_complete_and_has_no_time() {
    let mut client = client();
    client.ok(Command::EventCreate {
        event: 1,
        timing: true,
    });
    client.ok(Command::EventQuery { event: 1 });
    client.ok(Command::EventSynchronize { event: 1 });
    client.ok(Command::StreamWaitEvent {
        stream: LEGACY,
        event: 1,
    });
    let elapsed = client.call(Command::EventElapsed { start: 1, end: 1 });
    assert_eq!(elapsed, Err(status::INVALID_HANDLE));
}

#[test]
fn an_event_stays_with_the_device_of_its_first_record() {
    let device = || Arc::new(NullDevice::default());
    let mut client = Client::new(vec![device(), device()], window(), None);
    client.ok(Command::EventCreate {
        event: 1,
        timing: true,
    });
    let record = |device| Command::EventRecord {
        event: 1,
        stream: Stream { device, id: 0 },
    };
    client.ok(record(1));
    assert_eq!(client.call(record(0)), Err(status::INVALID_HANDLE));
    client.ok(record(1));
}

fn copy(dst: Place, src: Place, extent: Extent) -> Command {
    Command::Copy {
        stream: LEGACY,
        dst,
        src,
        extent,
        release: None,
    }
}

#[test]
fn impossible_copies_are_refused() {
    let mut client = client();
    client.alloc(HEAP_BASE, 4096);
    let len = client.window.len();
    let inline = || Place::Inline(Bytes(vec![0; 16]));
    let row = Extent::linear;
    let plane = |width, height| Extent {
        width,
        height,
        depth: 1,
    };
    let tight = Place::Device {
        address: HEAP_BASE,
        pitch: Pitch { row: 8, slice: 0 },
    };
    for (dst, src, extent) in [
        (Place::device(HEAP_BASE), inline(), row(17)),
        (Place::device(HEAP_BASE), inline(), row(15)),
        (Place::device(HEAP_BASE + 4090), inline(), row(16)),
        (Place::device(0), inline(), row(16)),
        (inline(), Place::device(HEAP_BASE), row(16)),
        (Place::device(HEAP_BASE), Place::Reply, row(16)),
        (Place::device(HEAP_BASE), Place::window(len - 8), row(16)),
        (Place::window(u64::MAX), Place::device(HEAP_BASE), row(16)),
        (Place::window(len + 4096), Place::device(HEAP_BASE), row(1)),
        (Place::Reply, Place::device(HEAP_BASE), row(5000)),
        (Place::Reply, Place::device(HEAP_BASE), row(1 << 62)),
        (tight.clone(), inline(), plane(16, 1 << 60)),
        (tight, Place::window(0), plane(16, 2)),
        (
            Place::device(HEAP_BASE),
            Place::window(0),
            plane(1 << 40, 1 << 40),
        ),
    ] {
        let command = copy(dst, src, extent);
        assert_eq!(
            client.call(command.clone()),
            Err(status::INVALID_VALUE),
            "{command:?}"
        );
    }
}

#[test]
fn a_copy_of_nothing_succeeds_wherever_it_points() {
    let mut client = client();
    client.ok(copy(
        Place::device(5),
        Place::window(u64::MAX),
        Extent::linear(0),
    ));
    let reply = client.call(copy(Place::Reply, Place::device(5), Extent::linear(0)));
    assert_eq!(reply, Ok(Reply::Data(Bytes(vec![]))));
}

#[test]
fn a_staging_chunk_is_released_whether_the_copy_works_or_not() {
    let mut client = client();
    client.alloc(HEAP_BASE, 64);
    let post = |client: &mut Client, stream, address, len, chunk| {
        client.post(Command::Copy {
            stream,
            dst: Place::device(address),
            src: Place::window(0),
            extent: Extent::linear(len),
            release: Some(chunk),
        });
    };
    post(&mut client, LEGACY, HEAP_BASE, 64, 1);
    post(&mut client, LEGACY, HEAP_BASE, 0, 2);
    post(&mut client, LEGACY, 0, 64, 3);
    post(&mut client, stream(8), HEAP_BASE, 64, 4);
    assert_eq!(client.answers.released(), [1, 2, 3, 4]);
}

#[test]
fn host_allocations_lie_behind_the_staging_area_and_do_not_overlap() {
    let mut client = client();
    let end = client.window.len();
    let alloc = |offset, size| Command::HostAlloc {
        kind: HostMemory::Managed,
        offset,
        size,
    };
    for (offset, size) in [
        (0, 4096),
        (HOST - 256, 512),
        (HOST, 0),
        (end - 256, 257),
        (u64::MAX, 2),
        (HOST, u64::MAX),
    ] {
        let refused = client.call(alloc(offset, size));
        assert_eq!(refused, Err(status::INVALID_VALUE), "{offset} {size}");
    }
    client.ok(alloc(HOST, 4096));
    assert_eq!(
        client.call(alloc(HOST + 256, 256)),
        Err(status::INVALID_VALUE)
    );
    client.ok(Command::HostFree { offset: HOST });
    let twice = client.call(Command::HostFree { offset: HOST });
    assert_eq!(twice, Err(status::INVALID_VALUE));
    client.ok(alloc(HOST, 4096));
}

#[test]
fn after_goodbye_nothing_is_executed() {
    let mut client = client();
    client.ok(Command::Goodbye);
    let late = client.call(Command::DeviceInfo { device: 0 });
    assert_eq!(late, Err(status::DEINITIALIZED));
}

fn observed() -> (Client, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let device = Arc::new(NullDevice::default());
    let client = Client::new(vec![device], window(), Some(notes.clone()));
    (client, notes)
}

#[test]
fn the_observer_sees_commands_answers_and_late_failures() {
    let (mut client, notes) = observed();
    client.alloc(HEAP_BASE, 64);
    client.post(Command::EventCreate {
        event: 1,
        timing: false,
    });
    client.post(Command::EventDestroy { event: 2 });
    assert_eq!(
        notes.take(),
        [
            "1 MemAlloc",
            "1 = done",
            "2 EventCreate",
            "3 EventDestroy",
            "3 = 400"
        ]
    );
}

#[test]
fn the_observer_sees_what_goes_in_and_out_of_host_memory() {
    let (mut client, notes) = observed();
    client.alloc(HEAP_BASE, 64);
    client.host_alloc(HOST, 256);
    assert!(client.window.memory.write(10, &[1, 2, 3, 4, 5, 6]));
    assert!(client.window.memory.write(HOST as usize, &[7, 8]));
    notes.take();
    let two_rows = Extent {
        width: 2,
        height: 2,
        depth: 1,
    };
    let pitched = Place::Window {
        offset: 10,
        pitch: Pitch { row: 4, slice: 0 },
    };
    let (device, pinned) = (
        || Place::device(HEAP_BASE),
        || Place::device(WINDOW_BASE + HOST),
    );
    let packed = Place::Device {
        address: HEAP_BASE,
        pitch: Pitch { row: 2, slice: 0 },
    };
    client.ok(copy(packed, pitched, two_rows));
    client.ok(copy(device(), pinned(), Extent::linear(2)));
    client.ok(copy(pinned(), device(), Extent::linear(2)));
    client
        .call(Client::read_command(LEGACY, HEAP_BASE, 3))
        .unwrap();
    client.ok(copy(device(), device(), Extent::linear(2)));
    client.write(LEGACY, HEAP_BASE, &[1]);
    let seen: Vec<_> = notes
        .take()
        .into_iter()
        .filter(|n| !n.contains("Copy"))
        .collect();
    assert_eq!(
        seen,
        [
            "3 < 0 [1, 2, 5, 6]",
            "3 = done",
            "4 < 0 [7, 8]",
            "4 = done",
            "5 > 0 [7, 8]",
            "5 = done",
            "6 > 0 [0, 0, 0]",
            "6 = data",
            "7 = done",
            "8 = done"
        ]
    );
}

#[test]
fn the_observer_sees_host_memory_before_a_launch_and_module_images() {
    let (mut client, notes) = observed();
    assert!(client.window.memory.write(100, b"PTX"));
    client
        .call(Command::ModuleLoad {
            device: 0,
            module: 1,
            image: Image::Window {
                offset: 100,
                len: 3,
            },
        })
        .unwrap();
    client.function(1, 1, "k").unwrap();
    client.launch(LEGACY, 1, &[]);
    client.host_alloc(HOST, 300);
    client.launch(LEGACY, 1, &[]);
    client.ok(Command::HostFree { offset: HOST });
    client.launch(LEGACY, 1, &[]);
    client.ok(Command::Goodbye);
    assert_eq!(
        notes.take(),
        [
            "1 ModuleLoad",
            "1 < 0 [80, 84, 88]",
            "1 = module",
            "2 FunctionGet",
            "2 = function",
            "3 Launch",
            "4 HostAlloc",
            "4 = done",
            "5 Launch",
            "5 * 0x200004000000 300",
            "6 HostFree",
            "6 = done",
            "7 Launch",
            "8 Goodbye",
            "8 = done",
            "finish"
        ]
    );
    drop(client);
    assert!(notes.take().is_empty(), "it finishes once");
}
