// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shims, judged by the system's own loader.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Workshop, printed, run};
use vcuda_analyzer::{Machine, ShimError, shim_for, write_shim, write_shims};

/// A libvcuda.so whose cudaMalloc returns 42 and whose cudaFree returns 1, without versions.
fn plain_libvcuda(shop: &Workshop) -> PathBuf {
    let source = "int cudaMalloc() { return 42; } int cudaFree() { return 1; }";
    shop.gcc(
        "plain/libvcuda.so",
        source,
        &["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"],
    )
}

/// The same, whose cudaMalloc has two meanings: 9 for CUDA 9.0, and 12 for CUDA 12.
fn versioned_libvcuda(shop: &Workshop) -> PathBuf {
    let source = "int m9() { return 9; } int m12() { return 12; } int cudaFree() { return 1; }\n\
                  asm(\".symver m9, cudaMalloc@libcudart.so.9.0\"); asm(\".symver m12, cudaMalloc@@libcudart.so.12\");";
    let map =
        "libcudart.so.9.0 { global: cudaMalloc; };\nlibcudart.so.12 { global: cudaMalloc; };\n";
    let map = shop.write("versions.map", map);
    let script = format!("-Wl,--version-script={}", map.display());
    shop.gcc(
        "versioned/libvcuda.so",
        source,
        &["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", &script],
    )
}

/// A program that was linked with a libcudart that is not there any more.
fn program(shop: &Workshop, soname: &str, node: &str) -> PathBuf {
    let folder = format!("link-{soname}");
    let library = format!("{folder}/{soname}");
    shop.link_stub(&library, soname, Some(node), &["cudaMalloc", "cudaFree"]);
    let program = shop.program(
        &format!("program-{soname}"),
        &["cudaMalloc", "cudaFree"],
        &[&library],
        &[],
    );
    fs::remove_dir_all(shop.path(&folder)).unwrap();
    program
}

fn with_shims(program: &Path, shims: &Path) -> String {
    printed(&run(
        program,
        &[("LD_LIBRARY_PATH", shims.to_str().unwrap())],
    ))
}

fn with_shims_and_preload(program: &Path, shims: &Path, libvcuda: &Path) -> String {
    let environment = [
        ("LD_LIBRARY_PATH", shims.to_str().unwrap()),
        ("LD_PRELOAD", libvcuda.to_str().unwrap()),
    ];
    let output = run(program, &environment);
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    printed(&output)
}

#[test]
fn without_a_shim_the_program_does_not_start() {
    let Some(shop) = Workshop::open() else { return };
    let output = run(&program(&shop, "libcudart.so.9.0", "libcudart.so.9.0"), &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("libcudart.so.9.0"));
}

#[test]
fn programs_of_every_version_start_and_find_their_functions() {
    let Some(shop) = Workshop::open() else { return };
    let libvcuda = plain_libvcuda(&shop);
    let shims = shop.path("shims");
    write_shims(&shims, &libvcuda).unwrap();
    for node in &vcuda_api::NODES {
        let program = program(&shop, node.soname, node.soname);
        assert_eq!(with_shims(&program, &shims), "43", "{}", node.soname);
        assert_eq!(
            with_shims_and_preload(&program, &shims, &libvcuda),
            "43",
            "{}",
            node.soname
        );
    }
}

#[test]
fn the_version_that_the_program_asks_for_decides() {
    let Some(shop) = Workshop::open() else { return };
    let libvcuda = versioned_libvcuda(&shop);
    let shims = shop.path("shims");
    write_shims(&shims, &libvcuda).unwrap();
    for (node, sum) in [("libcudart.so.9.0", "10"), ("libcudart.so.12", "13")] {
        let program = program(&shop, node, node);
        assert_eq!(with_shims(&program, &shims), sum);
        assert_eq!(with_shims_and_preload(&program, &shims, &libvcuda), sum);
    }
}

#[test]
fn a_renamed_runtime_can_be_had() {
    let Some(shop) = Workshop::open() else { return };
    let shims = shop.path("shims");
    write_shims(&shims, &plain_libvcuda(&shop)).unwrap();
    let soname = "libcudart-53d54daa.so.12.6.68";
    write_shim(&shims, soname, &["libcudart.so.12"]).unwrap();
    assert_eq!(
        with_shims(&program(&shop, soname, "libcudart.so.12"), &shims),
        "43"
    );
}

#[test]
fn a_function_is_found_through_the_handle_of_a_shim() {
    let Some(shop) = Workshop::open() else { return };
    let shims = shop.path("shims");
    write_shims(&shims, &plain_libvcuda(&shop)).unwrap();
    let source = "#include <dlfcn.h>\n#include <stdio.h>\nint main(int count, char **arguments) {\n\
                  void *shim = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);\n\
                  if (!shim) { puts(dlerror()); return 1; }\n\
                  int (*malloc)(void) = (int (*)(void))dlsym(shim, \"cudaMalloc\");\n\
                  if (!malloc) { puts(dlerror()); return 1; }\n\
                  printf(\"%d\\n\", malloc()); return 0; }";
    let loader = shop.gcc("loader", source, &[]);
    // By its path alone: the shim looks for libcuda.so.1 beside itself.
    for name in [
        "libcudart.so.12",
        "libcudart.so.9.0",
        "libcuda.so.1",
        "libcuda.so",
    ] {
        let output = Command::new(&loader)
            .arg(shims.join(name))
            .env_remove("LD_LIBRARY_PATH")
            .output()
            .unwrap();
        assert_eq!(printed(&output), "42", "{name}");
    }
}

#[test]
fn readelf_agrees() {
    let Some(shop) = Workshop::open() else { return };
    let shims = shop.path("shims");
    write_shims(&shims, &plain_libvcuda(&shop)).unwrap();
    let output = Command::new("readelf")
        .args(["--wide", "--all"])
        .arg(shims.join("libcudart.so.12"))
        .output()
        .unwrap();
    let (text, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(complaints.is_empty(), "{complaints}");
    for line in [
        "Shared library: [libcuda.so.1]",
        "Library soname: [libcudart.so.12]",
        "Library runpath: [$ORIGIN]",
        "Flags: BASE  Index: 1  Cnt: 1  Name: libcudart.so.12",
        "Flags: none  Index: 2  Cnt: 1  Name: libcudart.so.12",
        "OBJECT  GLOBAL DEFAULT  ABS libcudart.so.12",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let stack = text
        .lines()
        .find(|line| line.contains("GNU_STACK"))
        .unwrap();
    assert!(stack.contains("RW ") && !stack.contains('E'), "{stack}");
}

#[test]
fn writing_again_replaces_what_is_there() {
    let Some(shop) = Workshop::open() else { return };
    let shims = shop.path("shims");
    let first = write_shims(&shims, &plain_libvcuda(&shop)).unwrap();
    let second = write_shims(&shims, &versioned_libvcuda(&shop)).unwrap();
    assert_eq!(first, second);
    assert_eq!(
        fs::read_dir(&shims).unwrap().count(),
        second.len(),
        "no temporary files are left"
    );
    let target = fs::read_link(shims.join("libcuda.so.1")).unwrap();
    assert!(
        target.is_absolute() && target.ends_with("versioned/libvcuda.so"),
        "{target:?}"
    );
}

#[test]
fn names_that_no_file_can_have_are_refused() {
    for name in ["", "a/b", "a\0b"] {
        assert!(matches!(
            shim_for(name, &["node"], &[], Machine::HOST),
            Err(ShimError::Name(_))
        ));
        assert!(matches!(
            shim_for("libx.so", &[name], &[], Machine::HOST),
            Err(ShimError::Name(_))
        ));
    }
}

#[test]
fn a_libvcuda_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = write_shims(
        &folder.path().join("shims"),
        Path::new("/nowhere/libvcuda.so"),
    )
    .unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/libvcuda.so: "),
        "{error}"
    );
}
