// SPDX-License-Identifier: MIT OR Apache-2.0
//! Skeletons: they compile, load, and say what to do.

mod common;

use std::fs;
use std::process::Command;

use common::{Workshop, implemented, report_of, run, stub};
use vcuda_analyzer::{Options, StubsWritten, analyze, write_stubs};

fn written_for(shop: &Workshop, program: &std::path::Path) -> StubsWritten {
    write_stubs(
        &shop.path("stubs"),
        &analyze(&[program], &Options::default()),
    )
    .unwrap()
}

#[test]
fn a_program_starts_with_the_skeletons_of_what_it_misses() {
    let Some(shop) = Workshop::open() else { return };
    let libraries = ["gone/libcudart.so.12", "gone/libcublas.so.77"];
    shop.link_stub(
        libraries[0],
        "libcudart.so.12",
        Some("libcudart.so.12"),
        &[stub(), "cudaFunctionOfTheFuture"],
    );
    shop.link_stub(
        libraries[1],
        "libcublas.so.77",
        Some("libcublas.so.77"),
        &["cublasSgemm_v2"],
    );
    let functions = [stub(), "cudaFunctionOfTheFuture", "cublasSgemm_v2"];
    let program = shop.program("program", &functions, &libraries, &[]);
    fs::remove_dir_all(shop.path("gone")).unwrap();

    let written = written_for(&shop, &program);
    assert_eq!(written.functions, 3);
    let names: Vec<_> = written
        .files
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "lib.rs",
            "cudart.rs",
            "cublas.rs",
            "libcublas.so.77",
            "libcudart.so.12"
        ]
    );

    let built = Command::new("sh")
        .args(["-c", &written.build])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    assert!(
        built.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );

    // The driver itself is vcuda's part.
    shop.gcc(
        "stubs/libcuda.so.1",
        "",
        &["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"],
    );
    let stubs = shop.path("stubs");
    let preload = stubs.join("libvcuda_stubs.so");
    let output = run(
        &program,
        &[
            ("LD_LIBRARY_PATH", stubs.to_str().unwrap()),
            ("LD_PRELOAD", preload.to_str().unwrap()),
        ],
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        (801 + 801 + 15).to_string()
    );
    let said = String::from_utf8_lossy(&output.stderr);
    for function in functions {
        assert!(
            said.contains(&format!("vcuda: {function} is a skeleton")),
            "{said}"
        );
    }
    assert!(said.contains("cublas.rs, line "), "{said}");
}

#[test]
fn every_function_of_the_runtime_and_the_driver_has_a_skeleton_that_compiles() {
    let Some(shop) = Workshop::open() else { return };
    let names: Vec<_> = vcuda_api::all()
        .iter()
        .filter(|f| !f.is_implemented())
        .map(|f| f.name)
        .collect();
    let calls: String = names
        .iter()
        .map(|name| format!("void {name}(void);\n"))
        .collect();
    let table: String = names
        .iter()
        .map(|name| format!("(void *){name},\n"))
        .collect();
    let library = shop.gcc(
        "libuser.so",
        &format!("{calls}void *used[] = {{ {table} }};"),
        &["-shared", "-fPIC"],
    );
    let written = written_for(&shop, &library);
    assert_eq!(written.functions, names.len());
    let built = Command::new("sh")
        .args(["-c", &written.build])
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

#[test]
fn a_prototype_of_another_version_is_marked() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.11.0",
        Some("libcudart.so.11.0"),
        &["cudaSignalExternalSemaphoresAsync"],
    );
    let program = shop.program(
        "program",
        &["cudaSignalExternalSemaphoresAsync"],
        &["libcudart.so"],
        &[],
    );
    if report_of(&program).imports[0].status == vcuda_analyzer::Status::Implemented {
        return;
    }
    written_for(&shop, &program);
    let source = fs::read_to_string(shop.path("stubs/cudart.rs")).unwrap();
    assert!(
        source.contains("/// C: `cudaError_t cudaSignalExternalSemaphoresAsync("),
        "{source}"
    );
    assert!(
        source.contains("the program asks for libcudart.so.11.0"),
        "{source}"
    );
}

#[test]
fn bodies_that_somebody_wrote_are_not_overwritten() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.13",
        Some("libcudart.so.13"),
        &[stub()],
    );
    let program = shop.program("program", &[stub()], &["libcudart.so"], &[]);
    let own = shop.write("stubs/lib.rs", "// mine");
    let error = write_stubs(
        &shop.path("stubs"),
        &analyze(&[program], &Options::default()),
    )
    .unwrap_err();
    assert!(error.to_string().contains("lib.rs"), "{error}");
    assert_eq!(fs::read_to_string(own).unwrap(), "// mine");
}

#[test]
fn nothing_is_written_where_nothing_is_missing() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.13",
        Some("libcudart.so.13"),
        &[implemented()],
    );
    let program = shop.program("program", &[implemented()], &["libcudart.so"], &[]);
    assert_eq!(
        written_for(&shop, &program).files,
        Vec::<std::path::PathBuf>::new()
    );
    assert!(!shop.path("stubs").exists());
}
