// SPDX-License-Identifier: MIT OR Apache-2.0
//! Managed variables: modules whose variables lie where the client has placed them.

mod common;

use std::sync::Arc;

use common::cpu::*;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::devices::cpu::CpuDevice;
use vcuda_replayer::devices::null::NullDevice;
use vcuda_replayer::status;

fn variable(module: u32, name: &str, address: u64) -> Command {
    Command::ManagedVariable {
        module,
        name: name.into(),
        address,
    }
}

const PLACE: u64 = HOST + 4096;
const PLACE_ADDRESS: u64 = WINDOW_BASE + PLACE;

#[test]
fn a_variable_lies_where_it_was_placed_and_has_its_first_value() {
    let (mut client, _) = client();
    client.host_alloc(PLACE, 4);
    client.post(variable(2, "answer", PLACE_ADDRESS));
    let info = client.load(2, KERNELS);
    assert_eq!(info.status, Status::SUCCESS, "{}", info.error_log);
    assert_eq!(client.peek(PLACE), 42);
    let global = Command::GlobalGet {
        module: 2,
        name: "answer".into(),
    };
    let expected = GlobalInfo {
        address: PLACE_ADDRESS,
        size: 4,
    };
    assert_eq!(client.call(global), Ok(Reply::Global(expected)));
    // Only that module's.
    let other = Command::GlobalGet {
        module: 1,
        name: "answer".into(),
    };
    assert_ne!(client.call(other), Ok(Reply::Global(expected)));
}

#[test]
fn a_variable_outlives_its_module() {
    let (mut client, _) = client();
    client.host_alloc(PLACE, 4);
    client.post(variable(2, "answer", PLACE_ADDRESS));
    client.load(2, KERNELS);
    client.poke(PLACE, 50);
    client.ok(Command::ModuleUnload { module: 2 });
    client.synchronize().unwrap();
    client.launch(LEGACY, CARRY, &[SEEN_ADDRESS, PLACE_ADDRESS]);
    client.synchronize().unwrap();
    assert_eq!(client.peek(SEEN), 50);
}

#[test]
fn all_devices_have_a_variable_in_one_place() {
    let window = window();
    let mut options = options();
    options.devices = 2;
    let devices = CpuDevice::create(options, Some(&window)).unwrap();
    let mut client = Client::new(devices, window, None);
    client.host_alloc(PLACE, 4);
    for device in [0, 1] {
        client.post(variable(device, "answer", PLACE_ADDRESS));
        let loaded = client.call(Command::ModuleLoad {
            device,
            module: device,
            image: Image::Inline(Bytes(KERNELS.to_vec())),
        });
        let Ok(Reply::Module(info)) = loaded else {
            panic!("{loaded:?}");
        };
        assert_eq!(info.status, Status::SUCCESS, "{}", info.error_log);
    }
    assert_eq!(client.peek(PLACE), 42);
}

#[test]
fn a_variable_outside_of_allocated_memory_makes_its_module_fail() {
    let (mut client, _) = client();
    client.host_alloc(PLACE, 3);
    for address in [PLACE_ADDRESS, PLACE_ADDRESS + 4096, 0, u64::MAX] {
        client.post(variable(2, "answer", address));
        let info = client.load(2, KERNELS);
        assert_ne!(info.status, Status::SUCCESS, "{address:#x}");
        assert!(info.error_log.contains("answer"), "{}", info.error_log);
    }
    // Where they were to lie is forgotten with the module that did not load.
    assert_eq!(client.load(2, KERNELS).status, Status::SUCCESS);
}

#[test]
fn a_variable_is_placed_once() {
    let mut client = Client::new(vec![Arc::new(NullDevice::default())], window(), None);
    client.ok(variable(1, "x", 0));
    assert_eq!(client.call(variable(1, "x", 8)), Err(status::INVALID_VALUE));
    client.ok(variable(2, "x", 8));
    client.load(1, b"");
    client.ok(variable(3, "x", 0));
}

#[test]
fn names_of_variables_do_not_pile_up() {
    let mut client = Client::new(vec![Arc::new(NullDevice::default())], window(), None);
    let long = "n".repeat(60 << 10);
    let outcome = (0..1000)
        .map(|module| client.call(variable(module, &long, 0)))
        .find(|outcome| outcome.is_err());
    assert_eq!(outcome, Some(Err(status::OUT_OF_MEMORY)));
    for module in 0..1000 {
        client.load(module, b"");
    }
    client.ok(variable(2000, &long, 0));
}
