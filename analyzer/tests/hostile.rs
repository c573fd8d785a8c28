// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whatever the bytes of a file are, it is reported on.

mod common;

use std::fs;
use std::sync::OnceLock;

use common::Workshop;
use proptest::prelude::*;
use vcuda_analyzer::{Machine, Options, analyze, exit_code, render_table, shim_for};

/// Small real files: a shim, and where there is a compiler a program with versions, kernels and symbols.
fn samples() -> &'static [Vec<u8>] {
    static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let mut samples = vec![
            shim_for(
                "libcudart.so.12",
                &["libcudart.so.12"],
                &["libcuda.so.1"],
                Machine::HOST,
            )
            .unwrap(),
        ];
        if let Some(shop) = Workshop::open() {
            shop.link_stub(
                "libcudart.so",
                "libcudart.so.12",
                Some("libcudart.so.12"),
                &["cudaMalloc", "cudaFree"],
            );
            let program = shop.program(
                "program",
                &["cudaMalloc", "cudaFree"],
                &["libcudart.so"],
                &["-Wl,-rpath,$ORIGIN"],
            );
            samples.push(fs::read(program).unwrap());
            samples.push(
                fs::read(
                    shop.with_fat_binary("lib.so", &["sass_ptx_zstd.fatbin", "sass_only.fatbin"]),
                )
                .unwrap(),
            );
        }
        samples
    })
}

fn report_on(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, bytes).unwrap();
    let reports = analyze(&[&path], &Options::default());
    assert_eq!(reports.len(), 1);
    assert!(render_table(&reports[0], 80).contains("verdict"));
    assert!(exit_code(&reports) <= 2);
    serde_json::to_string(&reports).unwrap();
}

fn headers_of(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let (segments, sections) = (field(32), field(40));
    vec![
        0..64,
        segments..(segments + 56 * 12).min(bytes.len()),
        sections..(sections + 64 * 40).min(bytes.len()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_behind_the_magic_number(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        report_on(&bytes);
        report_on(&[b"\x7fELF\x02\x01\x01\0", bytes.as_slice()].concat());
    }

    #[test]
    fn mutated_files(
        sample in 0usize..3,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let samples = samples();
        let mut bytes = samples[sample % samples.len()].clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        report_on(&bytes);
    }

    #[test]
    fn mutated_headers(
        sample in 0usize..3,
        edits in prop::collection::vec(
            (0usize..3, any::<prop::sample::Index>(), prop::sample::select(vec![0u8, 1, 2, 6, 8, 0x40, 0x7f, 0x80, 0xff])),
            1..8,
        ),
    ) {
        let samples = samples();
        let mut bytes = samples[sample % samples.len()].clone();
        let headers = headers_of(&bytes);
        for (which, at, value) in edits {
            let range = headers[which].clone();
            if !range.is_empty() {
                let at = range.start + at.index(range.len());
                bytes[at] = value;
            }
        }
        report_on(&bytes);
    }
}

/// Section headers that all lead to the same bytes must not have them gone through once each.
#[test]
fn many_sections_over_the_same_bytes_cost_no_more_than_one() {
    let Some(shop) = Workshop::open() else { return };
    let mut bytes = fs::read(shop.with_fat_binary("lib.so", &["sass_only.fatbin"])).unwrap();
    let field = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (table, count) = (
        field(&bytes, 40) as usize,
        u16::from_le_bytes([bytes[60], bytes[61]]),
    );
    let names = u16::from_le_bytes([bytes[62], bytes[63]]) as usize;
    let headers: Vec<Vec<u8>> = bytes[table..][..64 * usize::from(count)]
        .chunks(64)
        .map(<[u8]>::to_vec)
        .collect();
    let names_at = field(&headers[names], 24) as usize;
    let is_fat_binary = |header: &&Vec<u8>| {
        let name = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        bytes[names_at + name..].starts_with(b".nv_fatbin\0")
    };
    let fat_binary = headers.iter().find(is_fat_binary).unwrap().clone();

    // The same headers, and thousands more of the fat binary.
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let table = bytes.len() as u64;
    bytes[40..48].copy_from_slice(&table.to_le_bytes());
    bytes[60..62].copy_from_slice(&20_000u16.to_le_bytes());
    bytes.extend(headers.iter().flatten());
    for _ in headers.len()..20_000 {
        bytes.extend(&fat_binary);
    }
    let path = shop.write("many", &bytes);
    let reports = analyze(&[path], &Options::default());
    let containers = reports[0].report().unwrap().code.containers;
    let size = field(&fat_binary, 32) as usize;
    assert!(
        containers > 1 && containers <= bytes.len() / size,
        "{containers} containers"
    );
}
