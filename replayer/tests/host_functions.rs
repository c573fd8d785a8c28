// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams that wait for functions of the program.

mod common;

use std::sync::mpsc::channel;
use std::time::Duration;

use common::cpu::*;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::status;

fn function(stream: Stream, token: u32) -> Command {
    Command::HostFunction { stream, token }
}

fn done(token: u32) -> Command {
    Command::HostFunctionDone { token }
}

fn word(reply: Result<Reply, Status>) -> u32 {
    match reply {
        Ok(Reply::Data(Bytes(bytes))) => u32::from_le_bytes(bytes.try_into().unwrap()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_function_is_due_when_the_work_before_it_has_finished() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    let due = client.begin(function(LEGACY, 1));
    assert!(client.is_pending(due));
    client.poke(FLAG, 1);
    assert_eq!(client.finish(due), Ok(Reply::Done));
}

#[test]
fn later_work_of_the_stream_waits_until_the_function_has_returned() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let held = client.create_stream(1, false);
    assert_eq!(client.call(function(held, 1)), Ok(Reply::Done));
    client.launch(held, SET, &[heap, 5]);
    let read = client.begin(Client::read_command(held, heap, 4));
    let synchronized = client.begin(Command::DeviceSynchronize { device: 0 });
    assert_eq!(
        client.call(Command::StreamQuery { stream: held }),
        Err(status::NOT_READY)
    );
    assert!(client.is_pending(read) && client.is_pending(synchronized));
    client.post(done(1));
    assert_eq!(word(client.finish(read)), 5);
    assert_eq!(client.finish(synchronized), Ok(Reply::Done));
    assert!(client.answers.failures().is_empty());
}

#[test]
fn other_streams_go_on_while_a_function_runs() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let held = client.create_stream(1, false);
    let other = client.create_stream(2, false);
    client.ok(function(held, 1));
    client.launch(other, SET, &[heap, 6]);
    assert_eq!(word(client.call(Client::read_command(other, heap, 4))), 6);
    // Unless they wait for it by an event.
    client.ok(Command::EventCreate {
        event: 1,
        timing: false,
    });
    client.ok(Command::EventRecord {
        event: 1,
        stream: held,
    });
    client.ok(Command::StreamWaitEvent {
        stream: other,
        event: 1,
    });
    let read = client.begin(Client::read_command(other, heap, 4));
    assert!(client.is_pending(read));
    client.post(done(1));
    assert_eq!(word(client.finish(read)), 6);
}

#[test]
fn functions_of_one_stream_are_due_one_after_the_other() {
    let (mut client, _) = client();
    let first = client.begin(function(LEGACY, 1));
    let second = client.begin(function(LEGACY, 2));
    assert_eq!(client.finish(first), Ok(Reply::Done));
    assert!(client.is_pending(second));
    client.post(done(1));
    assert_eq!(client.finish(second), Ok(Reply::Done));
    client.post(done(2));
    client.synchronize().unwrap();
}

#[test]
fn more_work_than_a_stream_bears_may_wait_for_a_function() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    client.ok(function(LEGACY, 1));
    for value in 0..8192 {
        client.launch(LEGACY, SET, &[heap, value]);
    }
    client.post(done(1));
    assert_eq!(
        word(client.call(Client::read_command(LEGACY, heap, 4))),
        8191
    );
}

#[test]
fn a_function_behind_a_failed_kernel_is_not_called_and_holds_nothing() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, STRAY, &[]);
    let due = client.begin(function(LEGACY, 1));
    client.poke(FLAG, 1);
    assert_eq!(client.finish(due), Err(status::ILLEGAL_ADDRESS));
    client.ok(Command::DeviceReset { device: 0 });
    client.synchronize().unwrap();
    assert_eq!(client.call(done(1)), Err(status::INVALID_HANDLE));
}

#[test]
fn a_function_may_return_after_its_device_has_failed() {
    let (mut client, _) = client();
    let (held, other) = (
        client.create_stream(1, false),
        client.create_stream(2, false),
    );
    client.ok(function(held, 1));
    client.launch(other, STRAY, &[]);
    let failed = client.call(Command::StreamSynchronize { stream: other });
    assert_eq!(failed, Err(status::ILLEGAL_ADDRESS));
    let reset = client.begin(Command::DeviceReset { device: 0 });
    assert!(client.is_pending(reset));
    client.post(done(1));
    assert_eq!(client.finish(reset), Ok(Reply::Done));
}

#[test]
fn a_token_names_one_function_that_has_not_returned() {
    let (mut client, _) = client();
    assert_eq!(client.call(done(1)), Err(status::INVALID_HANDLE));
    client.ok(function(LEGACY, 1));
    assert_eq!(
        client.call(function(LEGACY, 1)),
        Err(status::INVALID_HANDLE)
    );
    client.ok(done(1));
    assert_eq!(client.call(done(1)), Err(status::INVALID_HANDLE));
    client.ok(function(LEGACY, 1));
    client.ok(done(1));
    let nowhere = function(stream(9), 2);
    assert_eq!(client.call(nowhere), Err(status::INVALID_HANDLE));
}

#[test]
fn a_session_ends_while_a_function_has_not_returned() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    client.ok(function(LEGACY, 1));
    client.launch(LEGACY, SET, &[heap, 1]);
    let (tell, told) = channel();
    std::thread::spawn(move || {
        drop(client);
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn an_end_lets_go_of_a_command_that_waits_for_room_behind_a_function() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let devices = client.devices.clone();
    client.ok(function(LEGACY, 1));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        // More than any client posts.
        for _ in 0..70_000 {
            client.launch(LEGACY, SET, &[heap, 1]);
        }
        drop(client);
        tell.send(()).unwrap();
    });
    assert!(told.recv_timeout(Duration::from_millis(200)).is_err());
    for device in devices {
        device.abort();
    }
    told.recv_timeout(Duration::from_secs(60)).unwrap();
}
