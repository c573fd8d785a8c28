// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever the bytes are, reading them ends with a result.

mod common;

use common::{CUBIN, EntrySpec, PTX, container, ptx};
use proptest::prelude::*;
use vcuda_fatbin::{Container, Cubin, Image, containers};

const LIMIT: usize = 1 << 20;

/// Calls everything that reads the image.
fn read_all(bytes: &[u8]) {
    let _ = Container::total_len(bytes);
    let _ = Cubin::total_len(bytes);
    let _ = Cubin::parse(bytes).map(|cubin| cubin.kernels());
    let _ = containers(bytes).count();
    let _ = vcuda_fatbin::ptx::kernels(bytes);
    if let Ok(image) = Image::parse(bytes) {
        for entry in image.entries() {
            if let Ok(payload) = entry.payload_within(LIMIT) {
                assert!(payload.len() <= LIMIT);
                let _ = entry.kernels();
            }
        }
        let _ = image.best_ptx(86);
    }
}

fn samples() -> Vec<Vec<u8>> {
    let text = ptx("sm_80", "kernel");
    let cubin = include_bytes!("golden/sm_100.cubin").to_vec();
    let all = [
        EntrySpec::raw(PTX, 75, &text),
        EntrySpec::lz4(80, &text),
        EntrySpec::zstd(90, &text),
        EntrySpec::raw(CUBIN, 100, &cubin),
    ];
    let golden = include_bytes!("golden/sass_ptx_zstd.fatbin").to_vec();
    vec![container(&all), golden, cubin, text]
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12);
    (
        prop::sample::select(samples()),
        edits,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(mut bytes, edits, end, cut)| {
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if cut {
                bytes.truncate(end.index(bytes.len()));
            }
            bytes
        })
}

/// Headers matter most: edits of the first bytes only.
fn mutated_header() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec(
        (
            0usize..160,
            prop::sample::select(vec![0u8, 1, 0x10, 0x7f, 0x80, 0xff]),
        ),
        1..6,
    );
    (prop::sample::select(samples()), edits).prop_map(|(mut bytes, edits)| {
        for (at, value) in edits {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_give_a_result(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        read_all(&bytes);
        read_all(&[Container::MAGIC.to_le_bytes().as_slice(), &bytes].concat());
        read_all(&[b"\x7fELF\x02\x01\x01", bytes.as_slice()].concat());
    }

    #[test]
    fn mutated_images_give_a_result(bytes in mutated()) {
        read_all(&bytes);
    }

    #[test]
    fn mutated_headers_give_a_result(bytes in mutated_header()) {
        read_all(&bytes);
    }

    #[test]
    fn random_ptx_words_give_a_result(words in prop::collection::vec(prop::sample::select(vec![
        ".entry", "k", "(", ")", "{", "}", ".param", ".u32", ".align", "8", ",", "[", "]", ";", "/*", "*/", "//", "\n", "\"",
        "\\", ".maxntid", ".ptr", "0xffffffff", ".v4", ".b8", ".version", ".target", "sm_80", "8.0", "\0", "é",
    ]), 0..64)) {
        read_all(words.join(" ").as_bytes());
        read_all(words.concat().as_bytes());
    }
}

/// A cubin whose sections all cover the whole file must not be read once for each of them.
#[test]
fn overlapping_sections_are_refused() {
    let mut bytes = include_bytes!("golden/sm_100.cubin").to_vec();
    let (table, len) = (
        u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize,
        bytes.len() as u64,
    );
    for section in 0..29 {
        let header = table + 64 * section;
        // Every section gets the name, type and kind of a kernel's .nv.info, and the whole file as its content.
        let named: [u8; 8] = bytes[table + 64 * 9..][..8].try_into().unwrap();
        if ![0, 1].contains(&section) {
            bytes[header..header + 8].copy_from_slice(&named);
            bytes[header + 24..header + 32].copy_from_slice(&0u64.to_le_bytes());
            bytes[header + 32..header + 40].copy_from_slice(&len.to_le_bytes());
        }
    }
    let error = Cubin::parse(&bytes).unwrap().kernels().unwrap_err();
    assert!(error.to_string().contains("overlap"), "{error}");
}
