// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arrays and objects, by commands: what comes of any numbers in them.

mod common;

use common::cpu::*;
use common::*;
use vcuda_protocol::*;
use vcuda_replayer::status;

/// 20 x 6 texels of 4 bytes.
fn plane(address: u64) -> Array {
    Array {
        address,
        format: 0x20,
        channels: 1,
        size: [20, 6, 0],
        flags: 0,
        levels: 0,
    }
}

fn create(array: &Array) -> Command {
    Command::ArrayCreate {
        device: 0,
        array: array.clone(),
    }
}

fn destroy(address: u64) -> Command {
    Command::ArrayDestroy { device: 0, address }
}

fn object(object: u64, array: &Array) -> Command {
    let texture = Texture {
        format: array.format,
        channels: array.channels,
        shape: TextureShape::Plain,
        levels: array.places().unwrap_or_default(),
        address_modes: [0; 3],
        filter: 0,
        level_filter: 0,
        flags: 0,
        border: [0.0; 4],
        level_bias: 0.0,
        level_clamp: [0.0; 2],
        max_anisotropy: 0,
        surface: false,
    };
    Command::TextureCreate {
        device: 0,
        object,
        texture,
    }
}

/// A client, and the first address for arrays.
fn arrays() -> (Client, u64) {
    let (mut client, _) = client();
    let (base, _) = client.info(0).arrays();
    (client, base)
}

#[test]
fn texels_are_copied_by_their_addresses() {
    let (mut client, base) = arrays();
    let array = plane(base);
    client.ok(create(&array));
    let level = array.places().unwrap()[0];
    let extent = Extent {
        width: 8,
        height: 2,
        depth: 1,
    };
    client.ok(Command::Copy {
        stream: LEGACY,
        dst: Place::Device {
            address: base + 3 * level.pitch.row + 4,
            pitch: level.pitch,
        },
        src: Place::Inline(Bytes((1..=16).collect())),
        extent,
        release: None,
    });
    let row = client.read(LEGACY, base + 4 * level.pitch.row + 4, 8);
    assert_eq!(row, Ok((9..=16).collect()));
}

#[test]
fn an_array_that_cannot_be_is_refused() {
    let (mut client, base) = arrays();
    let (_, len) = client.info(0).arrays();
    let refused = [
        plane(0),
        plane(u64::MAX),
        plane(base - 512),
        plane(base + 1),
        plane(base + len),
        plane(base + len - 512),
        Array {
            channels: 3,
            ..plane(base)
        },
        Array {
            format: u32::MAX,
            ..plane(base)
        },
        Array {
            size: [0, 6, 0],
            ..plane(base)
        },
        Array {
            size: [u32::MAX; 3],
            ..plane(base)
        },
        Array {
            levels: 6,
            ..plane(base)
        },
        Array {
            levels: u32::MAX,
            ..plane(base)
        },
    ];
    for array in refused {
        let answer = client.call(create(&array));
        assert_eq!(answer, Err(status::INVALID_VALUE), "{array:?}");
    }
    let most = Array {
        size: [1 << 14, 1 << 11, 0],
        ..plane(base)
    };
    assert_eq!(client.call(create(&most)), Err(status::OUT_OF_MEMORY));
    client.ok(create(&plane(base)));
    assert_eq!(
        client.call(create(&plane(base))),
        Err(status::INVALID_VALUE)
    );
}

#[test]
fn a_copy_leaves_no_array() {
    let (mut client, base) = arrays();
    let array = plane(base);
    client.ok(create(&array));
    let bytes = array.bytes().unwrap();
    assert!(client.read(LEGACY, base + bytes - 4, 4).is_ok());
    for (address, len) in [(base + bytes - 4, 8), (base + bytes, 4), (base - 4, 8)] {
        let beyond = client.read(LEGACY, address, len);
        assert_eq!(beyond, Err(status::INVALID_VALUE));
    }
    client.ok(destroy(base));
    assert_eq!(client.read(LEGACY, base, 4), Err(status::INVALID_VALUE));
    assert_eq!(client.call(destroy(base)), Err(status::INVALID_VALUE));
}

#[test]
fn an_array_is_destroyed_when_the_work_before_has_finished() {
    let (mut client, base) = arrays();
    client.ok(create(&plane(base)));
    let stream = client.create_stream(1, false);
    client.launch(stream, WAIT, &[FLAG_ADDRESS]);
    let slot = client.begin(destroy(base));
    assert!(client.is_pending(slot));
    // Others go on, and its addresses are free for what is issued now.
    client.ok(create(&plane(base)));
    client.poke(FLAG, 1);
    assert_eq!(client.finish(slot), Ok(Reply::Done));
    assert!(client.read(LEGACY, base, 4).is_ok());
}

#[test]
fn an_object_has_the_number_that_is_asked_for_or_the_next() {
    let (mut client, base) = arrays();
    let array = plane(base);
    client.ok(create(&array));
    for (wish, number) in [(0, 9), (7, 7), (0, 17)] {
        let made = client.call(object(wish, &array));
        assert_eq!(made, Ok(Reply::Object(number)));
    }
    let again = client.call(object(7, &array));
    assert_eq!(again, Err(status::INVALID_VALUE));
    let of_nothing = Array {
        size: [0; 3],
        ..array
    };
    let refused = client.call(object(0, &of_nothing));
    assert_eq!(refused, Err(status::INVALID_VALUE));
    let gone = |object| Command::TextureDestroy { device: 0, object };
    client.ok(gone(7));
    assert_eq!(client.call(gone(7)), Err(status::INVALID_VALUE));
}
