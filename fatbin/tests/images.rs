// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an image may be, and which of its entries a device is given.

mod common;

use common::{CUBIN, EntrySpec, LZ4, PTX, ZSTD, container, ptx};
use vcuda_fatbin::{
    ArchVariant, Compression, Container, EntryKind, Error, Image, containers, containers_through,
};

const SPECIFIC: u64 = 0x10_0000;
const FAMILY: u64 = 0x20_0000;

#[test]
fn every_compression_gives_back_the_text() {
    let text = ptx("sm_80", "k");
    for (spec, compression) in [
        (EntrySpec::raw(PTX, 80, &text), Compression::None),
        (EntrySpec::lz4(80, &text), Compression::Lz4),
        (EntrySpec::zstd(80, &text), Compression::Zstd),
    ] {
        let bytes = container(&[spec]);
        let image = Image::parse(&bytes).unwrap();
        let [entry] = image.entries() else {
            panic!("one entry expected")
        };
        assert_eq!(entry.compression, compression);
        assert_eq!((entry.kind, entry.arch.sm), (EntryKind::Ptx, 80));
        assert_eq!(entry.version.to_string(), "8.3");
        assert_eq!(entry.payload().unwrap(), text.as_slice());
    }
}

#[test]
fn ptx_is_returned_without_the_zeros_that_pad_it() {
    let text = ptx("sm_80", "k");
    let padded = [text.as_slice(), &[0; 5]].concat();
    for spec in [
        EntrySpec::raw(PTX, 80, &padded),
        EntrySpec::lz4(80, &padded),
        EntrySpec::zstd(80, &padded),
    ] {
        let bytes = container(&[spec]);
        assert_eq!(
            Image::parse(&bytes).unwrap().entries()[0]
                .payload()
                .unwrap(),
            text.as_slice()
        );
    }
}

#[test]
fn what_was_linked_for_another_device_is_linked_again_from_its_units() {
    let linked = container(&[EntrySpec::raw(CUBIN, 80, b"\x7fELF")]);
    let first = container(&[
        EntrySpec::raw(CUBIN, 80, b"\x7fELF"),
        EntrySpec::raw(PTX, 80, b"first"),
    ]);
    let second = container(&[
        EntrySpec::raw(PTX, 75, b"older"),
        EntrySpec::raw(PTX, 80, b"second"),
    ]);
    let library = container(&[EntrySpec::raw(PTX, 120, b"newer")]);
    let texts = |bytes: &[u8]| -> Vec<String> {
        let image = Image::parse(bytes).unwrap();
        let payload = |entry: &vcuda_fatbin::Entry| entry.payload().unwrap().into_owned();
        (image.ptx_to_link(86).into_iter())
            .map(|entry| String::from_utf8(payload(entry)).unwrap())
            .collect()
    };
    let units = [linked, first.clone(), second.clone(), library].concat();
    assert_eq!(texts(&units), ["first", "second"]);
    assert_eq!(Image::parse(&units).unwrap().whole().len(), 1);
    // With PTX in the first there is nothing to link.
    assert_eq!(texts(&[first, second].concat()), ["first"]);
    assert_eq!(texts(&ptx("sm_80", "k")).len(), 1);
}

#[test]
fn the_highest_ptx_that_the_device_can_run_is_best() {
    let bytes = container(&[
        EntrySpec::raw(PTX, 75, b"seventy-five"),
        EntrySpec::raw(CUBIN, 86, b"\x7fELF"),
        EntrySpec::lz4(80, b"eighty eighty eighty"),
        EntrySpec::zstd(90, b"ninety"),
    ]);
    let image = Image::parse(&bytes).unwrap();
    let best = |device| image.best_ptx(device).map(|entry| entry.arch.sm);
    assert_eq!(best(70), None);
    assert_eq!(best(75), Some(75));
    assert_eq!(best(86), Some(80));
    assert_eq!(best(120), Some(90));
}

#[test]
fn architecture_variants_run_only_where_they_may() {
    let bytes = container(&[
        EntrySpec::raw(PTX, 80, b"plain"),
        EntrySpec::raw(PTX, 90, b"specific").flagged(SPECIFIC),
        EntrySpec::raw(PTX, 100, b"family").flagged(FAMILY),
    ]);
    let image = Image::parse(&bytes).unwrap();
    let best = |device| {
        image
            .best_ptx(device)
            .map(|entry| entry.arch.to_string())
            .unwrap()
    };
    assert_eq!(best(89), "sm_80");
    assert_eq!(best(90), "sm_90a");
    assert_eq!(best(100), "sm_100f");
    assert_eq!(best(103), "sm_100f");
    assert_eq!(best(120), "sm_80");
}

#[test]
fn plain_ptx_comes_before_a_variant_of_the_same_number() {
    let bytes = container(&[
        EntrySpec::raw(PTX, 90, b"specific").flagged(SPECIFIC),
        EntrySpec::raw(PTX, 90, b"plain"),
    ]);
    let image = Image::parse(&bytes).unwrap();
    assert_eq!(image.best_ptx(90).unwrap().arch.variant, ArchVariant::Plain);
}

#[test]
fn bare_ptx_text_is_an_image() {
    let text = [ptx("sm_90a", "k").as_slice(), b"\0behind the end"].concat();
    let image = Image::parse(&text).unwrap();
    let entry = &image.entries()[0];
    assert_eq!(
        (entry.arch.to_string(), entry.version.to_string()),
        ("sm_90a".into(), "8.3".into())
    );
    assert_eq!(entry.payload().unwrap(), ptx("sm_90a", "k").as_slice());
    assert_eq!(entry.kernels().unwrap()[0].name, "k");
}

#[test]
fn containers_may_follow_each_other_with_padding_between() {
    let first = container(&[EntrySpec::raw(PTX, 75, b"one")]);
    let second = container(&[EntrySpec::raw(PTX, 80, b"two")]);
    let bytes = [first.as_slice(), &[0; 24], &second, &[0; 8]].concat();
    let arches = |image: Image| {
        image
            .entries()
            .iter()
            .map(|entry| entry.arch.sm)
            .collect::<Vec<_>>()
    };
    assert_eq!(arches(Image::parse(&bytes).unwrap()), [75, 80]);
    assert_eq!(containers(&bytes).count(), 2);
}

#[test]
fn headers_may_come_from_elsewhere_than_the_bytes() {
    let one = container(&[
        EntrySpec::raw(PTX, 75, b"one"),
        EntrySpec::lz4(80, b"two two two"),
    ]);
    let bytes = [one.as_slice(), &[0; 100], &one].concat();
    let mut asked = Vec::new();
    let header_at = |offset: usize| {
        asked.push(offset);
        std::array::from_fn(|index| bytes.get(offset + index).copied().unwrap_or(0))
    };
    let found: Vec<_> = containers_through(&bytes, header_at)
        .map(Result::unwrap)
        .collect();
    let payloads = |container: &Container| -> Vec<_> {
        let payloads = container
            .entries
            .iter()
            .map(|entry| entry.payload().unwrap().into_owned());
        payloads.collect()
    };
    assert_eq!(
        payloads(&found[1]),
        [b"one".to_vec(), b"two two two".to_vec()]
    );
    assert_eq!(payloads(&found[0]), payloads(&found[1]));
    assert!(asked.contains(&16) && asked.contains(&(one.len() + 100)));
}

#[test]
fn total_len_counts_header_and_body() {
    let bytes = container(&[
        EntrySpec::raw(PTX, 75, b"text"),
        EntrySpec::raw(CUBIN, 75, b"code"),
    ]);
    assert_eq!(Container::total_len(&bytes[..16]).unwrap(), bytes.len());
}

#[test]
fn total_len_refuses_sizes_that_no_memory_has() {
    let mut bytes = container(&[]);
    bytes[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        Container::total_len(&bytes),
        Err(Error::BadField {
            field: "the size",
            value: u64::MAX,
            ..
        })
    ));
    assert!(matches!(
        Container::total_len(&bytes[..15]),
        Err(Error::Truncated { .. })
    ));
}

#[test]
fn other_kinds_of_entry_are_kept() {
    let bytes = container(&[
        EntrySpec::raw(8, 80, b"lto"),
        EntrySpec::raw(77, 80, b"new"),
    ]);
    let image = Image::parse(&bytes).unwrap();
    let kinds: Vec<_> = image.entries().iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EntryKind::LtoIr, EntryKind::Unknown(77)]);
    assert!(matches!(
        image.entries()[1].kernels(),
        Err(Error::NoKernelList(EntryKind::Unknown(77)))
    ));
    assert!(image.best_ptx(120).is_none());
}

#[test]
fn a_payload_over_the_limit_is_refused() {
    let text = ptx("sm_80", "k");
    for spec in [
        EntrySpec::raw(PTX, 80, &text),
        EntrySpec::lz4(80, &text),
        EntrySpec::zstd(80, &text),
    ] {
        let bytes = container(&[spec]);
        let image = Image::parse(&bytes).unwrap();
        assert!(matches!(
            image.entries()[0].payload_within(64),
            Err(Error::TooLarge { limit: 64, .. })
        ));
        assert!(image.entries()[0].payload_within(4096).is_ok());
    }
}

#[test]
fn a_size_that_the_stored_bytes_cannot_reach_costs_no_memory() {
    for flags in [LZ4, ZSTD] {
        let spec = EntrySpec {
            kind: PTX,
            arch: 80,
            flags,
            stored: vec![0x10; 16],
            uncompressed: 1 << 29,
        };
        let bytes = container(&[spec]);
        let image = Image::parse(&bytes).unwrap();
        let error = image.entries()[0].payload().unwrap_err();
        assert!(
            error
                .to_string()
                .contains("cannot hold the 536870912 bytes"),
            "{error}"
        );
    }
}

#[test]
fn a_bomb_stops_at_the_size_in_its_header() {
    let zeros = vec![b' '; 8 << 20];
    for spec in [EntrySpec::lz4(80, &zeros), EntrySpec::zstd(80, &zeros)] {
        let bytes = container(&[EntrySpec {
            uncompressed: 1000,
            ..spec
        }]);
        let image = Image::parse(&bytes).unwrap();
        assert!(matches!(
            image.entries()[0].payload(),
            Err(Error::Decompress { .. })
        ));
    }
}

#[test]
fn a_payload_shorter_than_its_header_says_is_an_error() {
    let text = ptx("sm_80", "k");
    for spec in [EntrySpec::lz4(80, &text), EntrySpec::zstd(80, &text)] {
        let bytes = container(&[EntrySpec {
            uncompressed: text.len() as u64 + 1,
            ..spec
        }]);
        let image = Image::parse(&bytes).unwrap();
        assert!(matches!(
            image.entries()[0].payload(),
            Err(Error::Decompress { .. })
        ));
    }
}

#[test]
fn a_container_cut_short_names_what_is_missing() {
    let bytes = container(&[EntrySpec::raw(PTX, 80, b"text")]);
    let error = Image::parse(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a fat binary at offset 0x0 needs 88 bytes, but only 87 are left"
    );
}

#[test]
fn an_entry_longer_than_its_container_is_refused() {
    let mut bytes = container(&[EntrySpec::raw(PTX, 80, b"text")]);
    bytes[16 + 8..16 + 16].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        Image::parse(&bytes),
        Err(Error::BadField {
            field: "the size",
            offset: 16,
            ..
        })
    ));
    bytes[16 + 8..16 + 16].copy_from_slice(&4096u64.to_le_bytes());
    assert!(matches!(
        Image::parse(&bytes),
        Err(Error::Truncated {
            offset: 16,
            needed: 4160,
            ..
        })
    ));
}

#[test]
fn two_compressions_at_once_are_refused() {
    let bytes = container(&[EntrySpec::lz4(80, b"text").flagged(ZSTD)]);
    assert!(matches!(
        Image::parse(&bytes),
        Err(Error::BadField {
            field: "the flags field",
            ..
        })
    ));
}

#[test]
fn bytes_behind_a_container_are_refused() {
    let bytes = [container(&[]).as_slice(), b"garbage"].concat();
    assert_eq!(
        Image::parse(&bytes).unwrap_err(),
        Error::TrailingBytes { offset: 16 }
    );
}

#[test]
fn what_is_no_image_is_named_by_its_first_bytes() {
    for (bytes, says) in [
        (b"".as_slice(), "it is empty"),
        (b"#!/bin/sh\n", "23 21 2f 62 69 6e 2f 73"),
        (b"// .version 8.0", "2f 2f 20 2e"),
        (&0x466243b1u32.to_le_bytes(), "where its data pointer leads"),
    ] {
        let error = Image::parse(bytes).unwrap_err();
        assert!(
            matches!(error, Error::NotAnImage(_)) && error.to_string().contains(says),
            "{error}"
        );
    }
}

#[test]
fn an_elf_file_for_another_machine_is_no_cubin() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    let error = Image::parse(&own).unwrap_err();
    assert!(matches!(error, Error::NotACubin(_)), "{error}");
}
