// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which numbers errors have for programs of different libcudart versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vcuda_api::{Node, error};

/// libvcuda.so, which cargo builds beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let library = test.with_file_name("libvcuda.so");
    assert!(library.exists(), "{} is not there", library.display());
    library
}

fn cc(folder: &Path, arguments: &[&str]) {
    let output = Command::new("cc")
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("a C compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// Runs a program that needs the given versions of libcudart, in this order, and makes a wrong
/// call. Returns what it printed: the error, the last error, and the error's name.
fn run(versions: &[&str]) -> String {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("numbers-{}", versions.join("-")));
    fs::create_dir_all(&folder).expect("a folder for the program");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("a file");
    let mut objects = vec!["program.c".to_owned()];
    for (index, version) in versions.iter().enumerate() {
        // The first has the functions; the others are needed for one of their own.
        let functions = match index {
            0 => "cudaGetDeviceCount cudaGetLastError cudaGetErrorName".to_owned(),
            _ => format!("other{index}"),
        };
        let stub: String = functions
            .split(' ')
            .map(|name| format!("void *{name}(void) {{ return 0; }}\n"))
            .collect();
        write("stub.c", &stub);
        write("stub.map", &format!("{version} {{ global: *; }};"));
        let soname = format!("-Wl,-soname,{version}");
        let map = "-Wl,--version-script=stub.map";
        cc(
            &folder,
            &[
                "-shared", "-fPIC", "-w", "-o", version, &soname, map, "stub.c",
            ],
        );
        objects.push(format!("./{version}"));
    }
    let others: String = (1..versions.len())
        .map(|i| format!("void *other{i}(void);\n"))
        .collect();
    let uses: String = (1..versions.len())
        .map(|i| format!("other{i}();\n"))
        .collect();
    write(
        "program.c",
        &format!(
            "#include <stdio.h>\nint cudaGetDeviceCount(int *);\nint cudaGetLastError(void);\n\
             const char *cudaGetErrorName(int);\n{others}\
             int main(void) {{ {uses} int error = cudaGetDeviceCount(0), last = cudaGetLastError();\n\
             printf(\"%d %d %s\", error, last, cudaGetErrorName(error)); return 0; }}"
        ),
    );
    let mut arguments = vec!["-o", "program"];
    arguments.extend(objects.iter().map(String::as_str));
    cc(&folder, &arguments);
    let output = Command::new(folder.join("program"))
        .current_dir(&folder)
        .env("LD_PRELOAD", library())
        .env("LD_LIBRARY_PATH", &folder)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn expected(code: u32) -> String {
    format!("{code} {code} cudaErrorInvalidValue")
}

#[test]
fn a_program_up_to_10_0_gets_the_old_numbers() {
    let old = error::before_10_1(error::INVALID_VALUE);
    assert_ne!(old, error::INVALID_VALUE);
    for version in ["libcudart.so.9.0", "libcudart.so.10.0"] {
        assert!(Node::named(version).is_some());
        assert_eq!(run(&[version]), expected(old), "{version}");
    }
}

#[test]
fn a_program_from_10_1_on_gets_the_new_numbers() {
    for version in ["libcudart.so.10.1", "libcudart.so.13"] {
        assert_eq!(run(&[version]), expected(error::INVALID_VALUE), "{version}");
    }
}

#[test]
fn where_a_process_needs_both_the_new_numbers_stand() {
    let versions = ["libcudart.so.9.0", "libcudart.so.12"];
    assert_eq!(run(&versions), expected(error::INVALID_VALUE));
}
