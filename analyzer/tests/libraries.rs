// SPDX-License-Identifier: MIT OR Apache-2.0
//! How the libraries that a program needs are found, and what is said of those that are missing.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Workshop, implemented, report_of, report_with};
use vcuda_analyzer::{Options, Source, Verdict};

fn options(library_path: &[PathBuf]) -> Options {
    let mut options = Options::default();
    options.library_path = library_path.to_vec();
    options
}

#[test]
fn a_missing_math_library_is_the_reason_why_it_cannot_run() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "lib/libcublas.so",
        "libcublas.so.77",
        Some("libcublas.so.77"),
        &["cublasSgemm_v2"],
    );
    let program = shop.program("program", &["cublasSgemm_v2"], &["lib/libcublas.so"], &[]);
    let Verdict::CannotRun {
        reasons, functions, ..
    } = report_of(&program).verdict
    else {
        panic!()
    };
    assert!(
        reasons[0].contains("libcublas.so.77 is not found"),
        "{reasons:?}"
    );
    assert_eq!(functions, ["cublasSgemm_v2"]);
}

#[test]
fn libraries_are_found_as_the_loader_finds_them() {
    let Some(shop) = Workshop::open() else { return };
    let found = shop.link_stub(
        "lib/libcublas.so.77",
        "libcublas.so.77",
        None,
        &["cublasSgemm_v2"],
    );
    let build = |name: &str, arguments: &[&str]| {
        shop.program(
            name,
            &["cublasSgemm_v2"],
            &["lib/libcublas.so.77"],
            arguments,
        )
    };
    let source = |program: &PathBuf, options: &Options| {
        report_with(program, options).libraries[0].source.clone()
    };

    let runpath = build("runpath", &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/lib"]);
    assert_eq!(
        source(&runpath, &Options::default()),
        Source::File(found.clone())
    );
    let rpath = build(
        "rpath",
        &["-Wl,--disable-new-dtags,-rpath,/nowhere:${ORIGIN}/lib"],
    );
    assert_eq!(
        source(&rpath, &Options::default()),
        Source::File(found.clone())
    );
    let none = build("none", &[]);
    assert_eq!(source(&none, &Options::default()), Source::Missing);
    assert_eq!(
        source(&none, &options(&[shop.path("lib")])),
        Source::File(found)
    );
    // The loader passes over what is no library for this machine.
    shop.write("text/libcublas.so.77", "not a library");
    assert_eq!(
        source(&none, &options(&[shop.path("text")])),
        Source::Missing
    );
}

#[test]
fn the_c_library_is_found() {
    let Some(shop) = Workshop::open() else { return };
    let report = report_of(&shop.program("program", &[], &[], &[]));
    assert!(
        report
            .libraries
            .iter()
            .all(|needed| matches!(needed.source, Source::File(_))),
        "{:?}",
        report.libraries
    );
    assert!(
        report
            .libraries
            .iter()
            .any(|needed| needed.name.starts_with("libc.so"))
    );
}

#[test]
fn what_a_library_of_the_program_misses_is_reported_with_its_name() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub("gone/libcufft.so", "libcufft.so.77", None, &["cufftPlan1d"]);
    let source = "int cufftPlan1d(); int cudaMalloc() { return cufftPlan1d(); }";
    let own = shop.gcc(
        "lib/libown.so",
        source,
        &[
            "-shared",
            "-fPIC",
            "gone/libcufft.so",
            "-Wl,-soname,libown.so",
        ],
    );
    fs::remove_dir_all(shop.path("gone")).unwrap();
    let arguments = [
        "-Wl,-rpath,$ORIGIN/lib",
        "-Wl,--unresolved-symbols=ignore-all",
    ];
    let program = shop.program(
        "program",
        &["cudaMalloc", "cuInit"],
        &["lib/libown.so"],
        &arguments,
    );
    let report = report_of(&program);
    let missing: Vec<_> = report
        .libraries
        .iter()
        .filter(|needed| needed.source == Source::Missing)
        .collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(
        (missing[0].name.as_str(), missing[0].needed_by.as_ref()),
        ("libcufft.so.77", Some(&own))
    );
    assert!(matches!(report.verdict, Verdict::CannotRun { .. }));
}

#[test]
fn a_program_whose_own_library_uses_cuda_is_told_so() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "gone/libcudart.so",
        "libcudart.so.12",
        Some("libcudart.so.12"),
        &[implemented()],
    );
    let source = format!("int {0}(); int own() {{ return {0}(); }}", implemented());
    let own = shop.gcc(
        "lib/libown.so",
        &source,
        &[
            "-shared",
            "-fPIC",
            "gone/libcudart.so",
            "-Wl,-soname,libown.so",
        ],
    );
    let arguments = [
        "-Wl,-rpath,$ORIGIN/lib",
        "-Wl,--unresolved-symbols=ignore-all",
    ];
    let report = report_of(&shop.program("program", &["own"], &["lib/libown.so"], &arguments));
    assert_eq!(report.libraries_with_cuda, [own]);
    let Verdict::Runs { notes } = report.verdict else {
        panic!()
    };
    assert!(notes[0].contains("libown.so uses CUDA too"), "{notes:?}");
}

#[test]
fn a_found_math_library_leaves_its_functions_as_exceptions() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub("libcublas.so", "libcublas.so", None, &["cublasSgemm_v2"]);
    let program = shop.program(
        "program",
        &["cublasSgemm_v2"],
        &["libcublas.so"],
        &["-Wl,-rpath,$ORIGIN"],
    );
    let verdict = report_of(&program).verdict;
    assert!(
        matches!(&verdict, Verdict::RunsExcept { functions, .. } if functions == &["cublasSgemm_v2"]),
        "{verdict:?}"
    );
}
