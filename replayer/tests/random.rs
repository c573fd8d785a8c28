// SPDX-License-Identifier: MIT OR Apache-2.0
//! Random commands: whatever arrives gets an answer, and nothing else happens to the host.

mod common;

use std::sync::Arc;

use common::cpu::*;
use common::*;
use proptest::prelude::*;
use proptest::sample::select;
use vcuda_protocol::*;
use vcuda_replayer::devices::null::{HEAP_BASE, NullDevice};

/// Alternatives, each in a box of its own: as one type they would not fit a test's stack.
macro_rules! one_of {
    ($($weight:literal => $strategy:expr),* $(,)?) => {
        prop_oneof![$($weight => $strategy.boxed()),*].boxed()
    };
    ($($strategy:expr),* $(,)?) => {
        prop_oneof![$($strategy.boxed()),*].boxed()
    };
}

/// Small numbers, so that things meet, and limits, so that they do not.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20u64,
        2 => (0..20u64).prop_map(|n| n * 256),
        1 => select(vec![u64::MAX, u64::MAX - 255, 1 << 63, 1 << 32, u32::MAX.into(), HOST]),
        1 => any::<u64>(),
    ]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..4u32, 1 => any::<u32>()]
}

fn a_stream() -> impl Strategy<Value = Stream> {
    (prop_oneof![9 => Just(0), 1 => small()], small())
        .prop_map(|(device, id)| Stream { device, id })
}

fn address(heap: u64) -> impl Strategy<Value = u64> {
    (
        select(vec![heap, heap, heap, WINDOW_BASE, WINDOW_BASE + HOST, 0]),
        number(),
    )
        .prop_map(|(base, offset)| base.wrapping_add(offset))
}

fn pitch() -> impl Strategy<Value = Pitch> {
    (number(), number()).prop_map(|(row, slice)| Pitch { row, slice })
}

fn extent() -> impl Strategy<Value = Extent> {
    let side = || prop_oneof![3 => Just(1), 1 => number()];
    (number(), side(), side()).prop_map(|(width, height, depth)| Extent {
        width,
        height,
        depth,
    })
}

fn place(heap: u64) -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => (address(heap), pitch()).prop_map(|(address, pitch)| Place::Device { address, pitch }),
        2 => (number(), pitch()).prop_map(|(offset, pitch)| Place::Window { offset, pitch }),
        1 => proptest::collection::vec(any::<u8>(), 0..20).prop_map(|b| Place::Inline(Bytes(b))),
        1 => Just(Place::Reply),
    ]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes)
}

fn dims() -> impl Strategy<Value = Dim3> {
    let side = || prop_oneof![5 => 1..5u32, 1 => any::<u32>()];
    (side(), side(), side()).prop_map(|(x, y, z)| Dim3 { x, y, z })
}

fn name() -> impl Strategy<Value = String> {
    select(vec![
        "nothing",
        "set",
        "carry",
        "answer",
        "no such name",
        "",
    ])
    .prop_map(String::from)
}

fn image() -> impl Strategy<Value = Image> {
    prop_oneof![
        bytes().prop_map(Image::Inline),
        Just(Image::Inline(Bytes(KERNELS.to_vec()))),
        (number(), number()).prop_map(|(offset, len)| Image::Window { offset, len }),
    ]
}

/// Any command, whose addresses are mostly near `heap`.
fn command(heap: u64) -> BoxedStrategy<Command> {
    use Command::*;
    let address = move || address(heap);
    let memory = one_of![
        (small(), address(), number()).prop_map(|(device, address, size)| MemAlloc {
            device,
            address,
            size
        }),
        (small(), address()).prop_map(|(device, address)| MemFree { device, address }),
        (a_stream(), address(), number()).prop_map(|(stream, address, size)| MemAllocAsync {
            stream,
            address,
            size
        }),
        (a_stream(), address()).prop_map(|(stream, address)| MemFreeAsync { stream, address }),
        small().prop_map(|device| MemInfo { device }),
        (number(), number()).prop_map(|(offset, size)| HostAlloc {
            kind: HostMemory::Managed,
            offset: offset.wrapping_add(HOST),
            size
        }),
        number().prop_map(|offset| HostFree {
            offset: offset.wrapping_add(HOST)
        }),
        (
            a_stream(),
            place(heap),
            place(heap),
            extent(),
            proptest::option::of(small())
        )
            .prop_map(|(stream, dst, src, extent, release)| Copy {
                stream,
                dst,
                src,
                extent,
                release
            }),
        (
            a_stream(),
            address(),
            pitch(),
            any::<u32>(),
            0..6u8,
            extent()
        )
            .prop_map(|(stream, address, pitch, value, element, extent)| Fill {
                stream,
                address,
                pitch,
                value,
                element,
                extent
            }),
    ];
    let order = one_of![
        small().prop_map(|device| DeviceInfo { device }),
        small().prop_map(|device| DeviceSynchronize { device }),
        (a_stream(), any::<bool>(), any::<i32>()).prop_map(|(stream, blocking, priority)| {
            StreamCreate {
                stream,
                blocking,
                priority,
            }
        }),
        a_stream().prop_map(|stream| StreamDestroy { stream }),
        a_stream().prop_map(|stream| StreamSynchronize { stream }),
        a_stream().prop_map(|stream| StreamQuery { stream }),
        (a_stream(), small()).prop_map(|(stream, event)| StreamWaitEvent { stream, event }),
        (small(), any::<bool>()).prop_map(|(event, timing)| EventCreate { event, timing }),
        small().prop_map(|event| EventDestroy { event }),
        (small(), a_stream()).prop_map(|(event, stream)| EventRecord { event, stream }),
        small().prop_map(|event| EventSynchronize { event }),
        small().prop_map(|event| EventQuery { event }),
        (small(), small()).prop_map(|(start, end)| EventElapsed { start, end }),
    ];
    let code = one_of![
        1 => (small(), small(), image()).prop_map(|(device, module, image)| ModuleLoad {
            device,
            module,
            image
        }),
        1 => small().prop_map(|module| ModuleUnload { module }),
        2 => (small(), small(), name()).prop_map(|(module, function, name)| FunctionGet {
            module,
            function,
            name
        }),
        1 => (small(), name()).prop_map(|(module, name)| GlobalGet { module, name }),
        1 => (small(), 0..12u32, any::<i32>()).prop_map(|(function, attribute, value)| {
            FunctionSetAttribute {
                function,
                attribute,
                value,
            }
        }),
        1 => (small(), any::<u32>(), number()).prop_map(|(function, block_size, dynamic_shared)| {
            Occupancy {
                function,
                block_size,
                dynamic_shared,
            }
        }),
        4 => (a_stream(), small(), dims(), dims(), number(), any::<bool>(), bytes()).prop_map(
            |(stream, function, grid, block, shared, cooperative, params)| Launch {
                stream,
                function,
                grid,
                block,
                dynamic_shared: shared as u32,
                cooperative,
                params
            }
        ),
    ];
    let reset = small().prop_map(|device| DeviceReset { device });
    one_of![12 => memory, 10 => order, 8 => code, 1 => reset]
}

fn drive(mut client: Client, commands: Vec<(bool, Command)>) {
    let mut slots = Vec::new();
    for (post, command) in commands {
        match post {
            true => drop(client.post(command)),
            false => slots.push(client.begin(command)),
        }
    }
    for slot in slots {
        let _ = client.finish(slot);
    }
    assert_eq!(client.call(Command::Goodbye), Ok(Reply::Done));
}

/// Grids are kept small enough for a test: a grid of 2^31 blocks is legal and takes hours.
fn affordable(command: &Command) -> bool {
    match command {
        Command::Launch { grid, .. } => {
            let blocks = [grid.x, grid.y, grid.z].map(u128::from);
            blocks.iter().product::<u128>() < 1000
        }
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_command_is_answered_by_a_session_on_null_devices(
        commands in proptest::collection::vec((any::<bool>(), command(HEAP_BASE)), 0..200)
    ) {
        let devices = vec![Arc::new(NullDevice::default()) as _, Arc::new(NullDevice::default()) as _];
        drive(Client::new(devices, window(), None), commands);
    }

    #[test]
    fn every_command_is_answered_by_a_session_on_cpu_devices(
        mut commands in proptest::collection::vec((any::<bool>(), command(1 << 40)), 0..200)
    ) {
        commands.retain(|(_, command)| affordable(command));
        let mut options = options();
        options.devices = 2;
        options.memory = 1 << 20;
        let (client, heap) = client_with(options);
        assert_eq!(heap, 1 << 40);
        drive(client, commands);
    }
}
