// SPDX-License-Identifier: MIT OR Apache-2.0
//! What nvcc 13 really writes; `golden/README.md` has the commands.

use std::fs;

use vcuda_fatbin::{Compression, Cubin, EntryKind, Image, KernelInfo};

fn golden(name: &str) -> Vec<u8> {
    fs::read(format!(
        "{}/tests/golden/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn entries(name: &str) -> Vec<(EntryKind, String, Compression)> {
    let bytes = golden(name);
    let image = Image::parse(&bytes).unwrap();
    image
        .entries()
        .iter()
        .map(|entry| (entry.kind, entry.arch.to_string(), entry.compression))
        .collect()
}

fn assert_is_two_kernels(mut kernels: Vec<KernelInfo>) {
    kernels.sort_by(|a, b| a.name.cmp(&b.name));
    let [add, mixed] = kernels.as_slice() else {
        panic!("two kernels expected, got {kernels:?}")
    };
    let layout = |kernel: &KernelInfo| {
        kernel
            .params
            .iter()
            .map(|p| (p.ordinal, p.offset, p.size))
            .collect::<Vec<_>>()
    };

    assert_eq!(add.name, "_Z3addIfEvPT_PKS0_S3_i");
    assert_eq!(layout(add), [(0, 0, 8), (1, 8, 8), (2, 16, 8), (3, 24, 4)]);
    assert_eq!((add.param_bytes, add.max_threads), (28, Some([128, 1, 1])));

    assert_eq!(mixed.name, "mixed");
    assert_eq!(
        layout(mixed),
        [(0, 0, 1), (1, 8, 24), (2, 32, 2), (3, 36, 12), (4, 48, 8)]
    );
    assert_eq!((mixed.param_bytes, mixed.max_threads), (56, None));
}

#[test]
fn the_entries_are_what_the_command_lines_ask_for() {
    use Compression::{Lz4, None, Zstd};
    use EntryKind::{Cubin, Ptx};
    let is = |name, expected: &[(EntryKind, &str, Compression)]| {
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, arch, how)| (*kind, (*arch).to_owned(), *how))
            .collect();
        assert_eq!(entries(name), expected, "{name}");
    };
    is(
        "ptx_zstd.fatbin",
        &[(Ptx, "sm_75", Zstd), (Ptx, "sm_90a", Zstd)],
    );
    is(
        "sass_ptx_lz4.fatbin",
        &[(Cubin, "sm_80", None), (Ptx, "sm_80", Lz4)],
    );
    is(
        "sass_ptx_zstd.fatbin",
        &[(Cubin, "sm_80", Zstd), (Ptx, "sm_80", Zstd)],
    );
    is("sass_only.fatbin", &[(Cubin, "sm_80", None)]);
    is("sm_100.cubin", &[(Cubin, "sm_100", None)]);
}

#[test]
fn ptx_and_cubin_agree_on_kernels_and_parameter_layouts() {
    for name in [
        "ptx_zstd.fatbin",
        "sass_ptx_lz4.fatbin",
        "sass_ptx_zstd.fatbin",
        "sass_only.fatbin",
        "sm_100.cubin",
    ] {
        for entry in Image::parse(&golden(name)).unwrap().entries() {
            assert_is_two_kernels(entry.kernels().unwrap());
        }
    }
}

#[test]
fn a_cubin_gives_register_counts() {
    let bytes = golden("sm_100.cubin");
    for kernel in Cubin::parse(&bytes).unwrap().kernels().unwrap() {
        assert!(
            kernel
                .registers
                .is_some_and(|count| (1..=255).contains(&count)),
            "{kernel:?}"
        );
    }
}

#[test]
fn the_length_of_a_cubin_follows_from_its_header() {
    let bytes = golden("sm_100.cubin");
    assert_eq!(Cubin::total_len(&bytes[..64]).unwrap(), bytes.len());
}

#[test]
fn only_code_for_the_device_is_best() {
    let bytes = golden("ptx_zstd.fatbin");
    let image = Image::parse(&bytes).unwrap();
    let payload = image.best_ptx(86).unwrap().payload().unwrap();
    assert!(String::from_utf8_lossy(&payload).contains(".target sm_75"));
    assert!(
        Image::parse(&golden("sass_only.fatbin"))
            .unwrap()
            .best_ptx(86)
            .is_none()
    );
}
