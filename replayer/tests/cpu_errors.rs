// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the CPU device refuses, how its kernels fail, and what is left afterwards.

mod common;

use std::time::{Duration, Instant};

use common::cpu::*;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::devices::cpu::{CpuDevice, CpuError};
use vcuda_replayer::status;
use vcuda_replayer::worker::Hangup;

// Launches

fn shaped(function: u32, grid: [u32; 3], block: [u32; 3], dynamic_shared: u32) -> Command {
    let dim = |[x, y, z]: [u32; 3]| Dim3 { x, y, z };
    Command::Launch {
        stream: LEGACY,
        function,
        grid: dim(grid),
        block: dim(block),
        dynamic_shared,
        cooperative: false,
        params: Bytes(vec![]),
    }
}

#[test]
fn launch_with_an_impossible_shape_is_refused() {
    let (mut client, _) = client();
    for (grid, block) in [
        ([0, 1, 1], [1, 1, 1]),
        ([1, 1, 1], [0, 1, 1]),
        ([1, 65536, 1], [1, 1, 1]),
        ([1, 1, 65536], [1, 1, 1]),
        ([1 << 31, 1, 1], [1, 1, 1]),
        ([1, 1, 1], [1025, 1, 1]),
        ([1, 1, 1], [1, 1, 65]),
        ([1, 1, 1], [32, 33, 1]),
        ([1, 1, 1], [1024, 1024, 64]),
        ([u32::MAX; 3], [u32::MAX; 3]),
    ] {
        let refused = client.call(shaped(NOTHING, grid, block, 0));
        assert_eq!(
            refused,
            Err(status::INVALID_CONFIGURATION),
            "{grid:?} {block:?}"
        );
    }
    client.ok(shaped(NOTHING, [1, 1, 1], [16, 16, 4], 0));
    client.synchronize().unwrap();
}

#[test]
fn launch_with_a_block_over_the_kernels_own_limit_is_out_of_resources() {
    let (mut client, _) = client();
    client.ok(shaped(SMALL, [1, 1, 1], [64, 1, 1], 0));
    let refused = client.call(shaped(SMALL, [1, 1, 1], [65, 1, 1], 0));
    assert_eq!(refused, Err(status::LAUNCH_OUT_OF_RESOURCES));
}

#[test]
fn launch_with_too_much_shared_memory_is_refused_until_the_kernel_opts_in() {
    let (mut client, _) = client();
    let launch = |bytes| shaped(ROOMY, [1, 1, 1], [1, 1, 1], bytes);
    client.ok(launch((48 << 10) - 40_000));
    let over = launch((48 << 10) - 40_000 + 1);
    assert_eq!(client.call(over.clone()), Err(status::INVALID_VALUE));
    let set = |value| Command::FunctionSetAttribute {
        function: ROOMY,
        attribute: 8,
        value,
    };
    for value in [-1, (99 << 10) - 40_000 + 1] {
        assert_eq!(client.call(set(value)), Err(status::INVALID_VALUE));
    }
    client.ok(set((99 << 10) - 40_000));
    client.ok(over);
    client.ok(launch((99 << 10) - 40_000));
    client.synchronize().unwrap();
}

#[test]
fn launch_with_too_few_parameters_is_refused() {
    let (mut client, _) = client();
    let short = Client::launch_command(LEGACY, SET, &[0]);
    assert_eq!(client.call(short), Err(status::INVALID_VALUE));
}

#[test]
fn a_cooperative_grid_must_fit_the_device() {
    let (mut client, _) = client();
    let Ok(Reply::Count(blocks)) = client.call(Command::Occupancy {
        function: NOTHING,
        block_size: 1024,
        dynamic_shared: 0,
    }) else {
        panic!("no count");
    };
    assert_eq!(blocks, 1);
    let launch = |blocks| Command::Launch {
        stream: LEGACY,
        function: NOTHING,
        grid: dim(blocks),
        block: dim(1024),
        dynamic_shared: 0,
        cooperative: true,
        params: Bytes(vec![]),
    };
    client.ok(launch(2));
    assert_eq!(
        client.call(launch(3)),
        Err(status::COOPERATIVE_LAUNCH_TOO_LARGE)
    );
}

// Faults

#[test]
fn a_fault_stays_until_the_device_is_reset() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    client.launch(LEGACY, STRAY, &[]);
    assert_eq!(client.synchronize(), Err(status::ILLEGAL_ADDRESS));
    assert_eq!(client.answers.failures(), [(0, status::ILLEGAL_ADDRESS)]);

    let chunk = Command::Copy {
        stream: LEGACY,
        dst: Place::device(heap),
        src: Place::window(0),
        extent: Extent::linear(16),
        release: Some(5),
    };
    client.post(chunk);
    assert_eq!(client.answers.released(), [5]);
    assert!(client.answers.failures().is_empty(), "it is told once");
    let failing = [
        Command::StreamSynchronize { stream: LEGACY },
        Command::MemInfo { device: 0 },
        Client::launch_command(LEGACY, NOTHING, &[]),
        Client::read_command(LEGACY, heap, 4),
    ];
    for command in failing {
        assert_eq!(client.call(command), Err(status::ILLEGAL_ADDRESS));
    }

    client.ok(Command::DeviceReset { device: 0 });
    let gone = Client::launch_command(LEGACY, NOTHING, &[]);
    assert_eq!(client.call(gone), Err(status::INVALID_HANDLE));
    assert_eq!(client.read(LEGACY, heap, 4), Err(status::INVALID_VALUE));
    client.alloc(heap, MEMORY - 4096);
    client.load(1, KERNELS);
    client.function(1, SET, "set").unwrap();
    client.launch(LEGACY, SET, &[heap, 8]);
    assert_eq!(client.read(LEGACY, heap, 4).unwrap(), [8, 0, 0, 0]);
}

#[test]
fn work_behind_a_fault_is_skipped_and_its_waiters_are_told() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, STRAY, &[]);
    client.launch(LEGACY, SET, &[SEEN_ADDRESS, 1]);
    let waiting = client.begin(Command::StreamSynchronize { stream: LEGACY });
    client.poke(FLAG, 1);
    assert_eq!(client.finish(waiting), Err(status::ILLEGAL_ADDRESS));
    assert_eq!(client.peek(SEEN), 0);
}

#[test]
fn a_fault_ends_kernels_on_other_streams() {
    let (mut client, _) = client();
    let stream = client.create_stream(1, false);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, STRAY, &[]);
    assert_eq!(client.synchronize(), Err(status::ILLEGAL_ADDRESS));
}

#[test]
fn a_fault_on_one_device_leaves_the_other_well() {
    let mut options = options();
    options.devices = 2;
    let (mut client, _) = client_with(options);
    client.launch(LEGACY, STRAY, &[]);
    assert_eq!(client.synchronize(), Err(status::ILLEGAL_ADDRESS));
    let heap = client.info(1).heap_base;
    client.ok(Command::MemAlloc {
        device: 1,
        address: heap,
        size: 64,
    });
    let other = Stream { device: 1, id: 0 };
    client.write(other, heap, &[1, 2]);
    assert_eq!(client.read(other, heap, 2).unwrap(), [1, 2]);
    client.ok(Command::DeviceSynchronize { device: 1 });
}

#[test]
fn devices_copy_from_each_other() {
    let mut options = options();
    options.devices = 2;
    let (mut client, heap) = client_with(options);
    let other = client.info(1).heap_base;
    client.alloc(heap, 64);
    client.ok(Command::MemAlloc {
        device: 1,
        address: other,
        size: 64,
    });
    client.write(LEGACY, heap, &[9, 8, 7]);
    client.ok(Command::Copy {
        stream: LEGACY,
        dst: Place::device(other),
        src: Place::device(heap),
        extent: Extent::linear(3),
        release: None,
    });
    let stream = Stream { device: 1, id: 0 };
    assert_eq!(client.read(stream, other, 3).unwrap(), [9, 8, 7]);
}

#[test]
fn reset_waits_for_work_and_takes_everything() {
    let (mut client, heap) = client();
    client.alloc(heap, 4096);
    let stream = client.create_stream(1, true);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    client.launch(stream, SET, &[heap, 1]);
    let reset = client.begin(Command::DeviceReset { device: 0 });
    assert!(client.is_pending(reset));
    assert_eq!(
        client.call(Command::StreamQuery { stream }),
        Err(status::INVALID_HANDLE)
    );
    client.poke(FLAG, 1);
    client.finish(reset).unwrap();
    assert_eq!(
        client.call(Command::MemInfo { device: 0 }),
        Ok(Reply::Memory(MemoryInfo {
            free: MEMORY,
            total: MEMORY
        }))
    );
    assert!(client.answers.failures().is_empty());
}

#[test]
fn a_kernel_that_never_ends_does_not_outlive_its_session() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    let start = Instant::now();
    client.ok(Command::Goodbye);
    drop(client);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn who_waits_when_the_program_says_goodbye_is_told_that_the_work_was_not_done() {
    let (mut client, heap) = client();
    client.alloc(heap, 64);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    let waiting = client.begin(Command::DeviceSynchronize { device: 0 });
    let reading = client.begin(Client::read_command(LEGACY, heap, 4));
    client.ok(Command::Goodbye);
    for slot in [waiting, reading] {
        assert_eq!(client.finish(slot), Err(status::DEINITIALIZED));
    }
    assert!(client.answers.failures().is_empty());
}

#[test]
fn a_client_that_vanishes_takes_its_kernels_along() {
    let (mut client, _) = client();
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    let hangup = Hangup::new();
    hangup.watch_over(&client.devices);
    hangup.hang_up();
    assert_eq!(client.synchronize(), Err(status::DEINITIALIZED));
}

#[test]
fn a_time_limit_ends_a_kernel() {
    let mut options = options();
    options.time_limit = Some(Duration::from_millis(50));
    let (mut client, _) = client_with(options);
    client.launch(LEGACY, WAIT, &[FLAG_ADDRESS]);
    assert_eq!(client.synchronize(), Err(status::LAUNCH_TIMEOUT));
}

// Modules

#[test]
fn a_module_that_does_not_load_says_why() {
    let (mut client, _) = client();
    for (image, status, word) in [
        (&b"hello"[..], status::INVALID_IMAGE, "image"),
        (
            b".version 8.0\n.target sm_99\n.address_size 64\n",
            status::NO_BINARY_FOR_GPU,
            "sm_99",
        ),
        (
            b".version 99.0\n.target sm_80\n.address_size 64\n",
            status::UNSUPPORTED_PTX_VERSION,
            "99",
        ),
        (
            b".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { nonsense",
            status::INVALID_PTX,
            "line 4",
        ),
    ] {
        let info = client.load(9, image);
        assert_eq!(info.status, status, "{}", info.error_log);
        assert!(info.error_log.contains(word), "{}", info.error_log);
        // The name is still free.
        assert_eq!(client.function(9, 50, "k"), Err(status::INVALID_HANDLE));
    }
    client.post(Command::ModuleLoad {
        device: 0,
        module: 9,
        image: Image::Inline(Bytes(b"hello".to_vec())),
    });
    assert_eq!(client.answers.failures(), [(0, status::INVALID_IMAGE)]);
}

#[test]
fn a_kernel_that_is_not_there_is_not_found() {
    let (mut client, _) = client();
    assert_eq!(client.function(1, 50, "missing"), Err(status::NOT_FOUND));
}

#[test]
fn a_kernel_with_an_instruction_that_cannot_be_done_leaves_the_others_usable() {
    let (mut client, _) = client();
    let module = b".version 8.0\n.target sm_80\n.address_size 64\n\
        .visible .entry odd() { .reg .b32 %r<2>; frobnicate.sync.b32 %r1, %r1; ret; }\n\
        .visible .entry even() { ret; }\n";
    assert_eq!(client.load(2, module).status, Status::SUCCESS);
    assert_eq!(
        client.function(2, 50, "odd"),
        Err(status::NO_BINARY_FOR_GPU)
    );
    client.function(2, 51, "even").unwrap();
    client.ok(Client::launch_command(LEGACY, 51, &[]));
}

#[test]
fn what_a_kernel_needs_is_known() {
    let (mut client, _) = client();
    client.load(2, KERNELS);
    let set = client.function(2, 50, "set").unwrap();
    assert_eq!(set.params, [(0, 8), (8, 8)]);
    assert_eq!((set.param_bytes, set.max_threads_per_block), (16, 1024));
    assert_eq!((set.ptx_version, set.binary_version), (80, 86));
    let small = client.function(2, 51, "small").unwrap();
    assert_eq!(small.max_threads_per_block, 64);
    let roomy = client.function(2, 52, "roomy").unwrap();
    assert_eq!(roomy.static_shared, 40_000);
    assert_eq!(roomy.max_dynamic_shared, (48 << 10) - 40_000);
}

// Devices

#[test]
fn impossible_options_are_refused() {
    for devices in [0, 17] {
        let mut options = options();
        options.devices = devices;
        assert!(matches!(
            CpuDevice::create(options, None),
            Err(CpuError::Count(_))
        ));
    }
    let mut options = options();
    options.memory = u64::MAX;
    assert!(matches!(
        CpuDevice::create(options, None),
        Err(CpuError::Memory(_))
    ));
}
