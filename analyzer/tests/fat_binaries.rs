// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said about the kernels of a program and their machine code and PTX.

mod common;

use common::{Workshop, report_of, report_with};
use vcuda_analyzer::{Options, Verdict};

#[test]
fn kernels_are_listed_with_their_parameters() {
    let Some(shop) = Workshop::open() else { return };
    let code = report_of(&shop.with_fat_binary("libptx.so", &["sass_ptx_zstd.fatbin"])).code;
    assert_eq!((code.containers, code.without_ptx, code.too_new), (1, 0, 0));
    let entries: Vec<_> = code
        .entries
        .iter()
        .map(|e| (e.kind.as_str(), e.arch.as_str(), e.compression.as_str()))
        .collect();
    assert_eq!(
        entries,
        [("SASS", "sm_80", "zstd"), ("PTX", "sm_80", "zstd")]
    );
    assert_eq!(code.entries[1].ptx_version.as_deref(), Some("9.0"));
    let [add, mixed] = code.kernels.as_slice() else {
        panic!("{:?}", code.kernels)
    };
    assert_eq!(
        add.demangled.as_deref(),
        Some("void add<float>(float*, float const*, float const*, int)")
    );
    assert_eq!(
        (mixed.name.as_str(), mixed.param_bytes, mixed.has_ptx),
        ("mixed", 56, true)
    );
    let layout: Vec<_> = mixed
        .params
        .iter()
        .map(|param| (param.offset, param.size))
        .collect();
    assert_eq!(layout, [(0, 1), (8, 24), (32, 2), (36, 12), (48, 8)]);
}

#[test]
fn machine_code_alone_cannot_run_and_the_advice_says_how_to_compile() {
    let Some(shop) = Workshop::open() else { return };
    let report = report_of(&shop.with_fat_binary("libsass.so", &["sass_only.fatbin"]));
    assert_eq!(report.code.without_ptx, 1);
    assert!(
        report.code.kernels.iter().all(|kernel| !kernel.has_ptx) && report.code.kernels.len() == 2
    );
    let Verdict::CannotRun { reasons, .. } = report.verdict else {
        panic!()
    };
    assert!(
        reasons[0].contains("machine code for sm_80 only") && reasons[0].contains("compute_80"),
        "{reasons:?}"
    );
}

#[test]
fn some_fat_binaries_without_ptx_are_an_exception() {
    let Some(shop) = Workshop::open() else { return };
    let report = report_of(
        &shop.with_fat_binary("libboth.so", &["sass_only.fatbin", "sass_ptx_lz4.fatbin"]),
    );
    let Verdict::RunsExcept {
        functions,
        exceptions,
        ..
    } = report.verdict
    else {
        panic!()
    };
    assert!(
        functions.is_empty() && exceptions[0].starts_with("1 of its 2 fat binaries"),
        "{exceptions:?}"
    );
}

#[test]
fn ptx_for_later_devices_cannot_run() {
    let Some(shop) = Workshop::open() else { return };
    let library = shop.with_fat_binary("libptx.so", &["sass_ptx_zstd.fatbin"]);
    let mut options = Options::default();
    options.compute_capability = 75;
    let Verdict::CannotRun { reasons, .. } = report_with(&library, &options).verdict else {
        panic!()
    };
    assert!(
        reasons[0].contains("is for sm_80") && reasons[0].contains("7.5"),
        "{reasons:?}"
    );
}

#[test]
fn kernels_are_listed_only_if_all_fit_into_the_budget() {
    let Some(shop) = Workshop::open() else { return };
    let library = shop.with_fat_binary("libptx.so", &["sass_ptx_zstd.fatbin", "ptx_zstd.fatbin"]);
    let mut options = Options::default();
    // Enough for one of the two.
    options.kernel_budget = 3000;
    let code = report_with(&library, &options).code;
    assert_eq!((code.not_listed, code.kernels.len()), (2, 0));
    assert_eq!(report_of(&library).code.kernels.len(), 2);
}
