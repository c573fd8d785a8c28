// SPDX-License-Identifier: MIT OR Apache-2.0
//! `vcuda analyze`: what it says about real programs is what happens when they run.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vcuda_tests::{Run, program, repository, temporary_folder};

fn analyze(path: &Path) -> Run {
    Run::vcuda(["analyze"]).arg(path)
}

fn json(path: &Path) -> Vec<Value> {
    let result = Run::vcuda(["analyze", "--json"]).arg(path).run();
    serde_json::from_str(&result.stdout).expect("the output is one JSON array")
}

/// vector_add, compiled with these flags of nvcc.
fn compiled(folder: &Path, flags: &str) -> PathBuf {
    let path = folder.join("vector_add");
    let script = "eval \"$(tests/toolchain.sh)\" &&
         \"$NVCC\" -std=c++17 -I tests/programs $FLAGS -o \"$RESULT\" tests/programs/vector_add.cu";
    Run::new("/bin/bash")
        .args(["-c", script])
        .env("FLAGS", flags)
        .env("RESULT", &path)
        .current_dir(repository())
        .run()
        .expect_code(0);
    path
}

#[test]
fn a_program_of_the_oldest_launch_interface_runs() {
    analyze(&program("seed"))
        .run()
        .expect_code(0)
        .expect_stdout("verdict   runs\n")
        .expect_stdout("libcudart.so.9.0: 11 functions imported")
        .expect_stdout("PTX 6.0    sm_70")
        .expect_stdout("add(float const*, float const*, float*, int)");
}

#[test]
fn a_program_of_nvcc_runs() {
    analyze(&program("vector_add"))
        .run()
        .expect_code(0)
        .expect_stdout("verdict   runs\n")
        .expect_stdout("cudaMemcpy")
        .expect_stdout("32 bytes, at offset:size 0:8 8:8 16:8 24:8");
}

#[test]
fn functions_that_are_missing_are_named_and_the_rest_runs() {
    analyze(&program("unsupported_api"))
        .run()
        .expect_code(1)
        .expect_stdout("runs, except for 2 functions")
        .expect_stdout("cudaGraphMemFreeNodeGetParams, cudaGraphicsUnregisterResource");
}

#[test]
fn a_program_with_the_runtime_linked_in_cannot_run_and_is_told_how_it_could() {
    let folder = temporary_folder();
    let path = compiled(folder.path(), "-arch=sm_80 --cudart static");
    analyze(&path)
        .run()
        .expect_code(1)
        .expect_stdout("cannot run")
        .expect_stdout("--cudart shared")
        .expect_stdout("CUDA 13.0, linked in");
    let result = Run::vcuda(["run"]).arg(&path).run();
    result.expect_code(1).expect_stderr("vcuda: cu");
}

#[test]
fn a_program_without_ptx_cannot_run_and_is_told_how_it_could() {
    let folder = temporary_folder();
    let path = compiled(
        folder.path(),
        "--cudart shared -gencode arch=compute_80,code=sm_80",
    );
    let advice = "-gencode arch=compute_80,code=compute_80";
    analyze(&path)
        .run()
        .expect_code(1)
        .expect_stdout("machine code for sm_80 only")
        .expect_stdout(advice);
    Run::vcuda(["run"])
        .arg(&path)
        .run()
        .expect_code(1)
        .expect_stderr("cudaErrorNoKernelImageForDevice")
        .expect_stderr(advice);
}

#[test]
fn a_program_for_newer_devices_only_cannot_run() {
    analyze(&program("newer_architecture"))
        .run()
        .expect_code(1)
        .expect_stdout("cannot run")
        .expect_stdout("sm_121");
}

#[test]
fn a_program_without_cuda_is_said_to_be_one() {
    analyze(Path::new("/bin/sh"))
        .run()
        .expect_code(0)
        .expect_stdout("uses no CUDA");
}

#[test]
fn a_file_that_is_no_program_is_said_to_be_none() {
    let folder = temporary_folder();
    let path = folder.path().join("notes");
    for content in ["", "x", "\u{7f}ELF", "\u{7f}ELF and then nothing that fits"] {
        fs::write(&path, content).unwrap();
        let result = analyze(&path).run();
        result.expect_code(2).expect_stdout("verdict");
    }
    analyze(&folder.path().join("missing"))
        .run()
        .expect_code(2)
        .expect_stdout("No such file");
}

#[test]
fn a_cut_or_damaged_program_does_no_harm() {
    let folder = temporary_folder();
    let path = folder.path().join("program");
    let whole = fs::read(program("seed")).unwrap();
    for end in (1..whole.len()).step_by(997) {
        fs::write(&path, &whole[..end]).unwrap();
        let result = analyze(&path).run();
        assert!(matches!(result.status.code(), Some(0..=2)), "{result:?}");
    }
    for place in (0..whole.len()).step_by(499) {
        let mut damaged = whole.clone();
        damaged[place..(place + 8).min(whole.len())].fill(0xff);
        fs::write(&path, &damaged).unwrap();
        let result = analyze(&path).run();
        assert!(matches!(result.status.code(), Some(0..=2)), "{result:?}");
    }
}

#[test]
fn a_folder_is_searched_for_programs() {
    let folder = temporary_folder();
    let deep = folder.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    fs::write(folder.path().join("readme.txt"), "no program").unwrap();
    fs::copy(program("seed"), deep.join("seed")).unwrap();
    fs::copy(program("vector_add"), folder.path().join("vector_add")).unwrap();
    let reports = json(folder.path());
    let names: Vec<_> = reports
        .iter()
        .map(|report| {
            Path::new(report["path"].as_str().unwrap())
                .file_name()
                .unwrap()
        })
        .collect();
    assert_eq!(names, ["seed", "vector_add"]);
    analyze(folder.path()).run().expect_code(0);
}

#[test]
fn the_worst_file_gives_the_exit_code() {
    let code = |programs: &[&str]| {
        let paths = programs.iter().map(|name| match *name {
            "missing" => PathBuf::from("/missing"),
            name => program(name),
        });
        let result = Run::vcuda(["analyze"]).args(paths).run();
        result.status.code()
    };
    assert_eq!(code(&["seed", "vector_add"]), Some(0));
    assert_eq!(code(&["seed", "unsupported_api"]), Some(1));
    assert_eq!(code(&["missing", "unsupported_api", "seed"]), Some(2));
}

#[test]
fn json_says_what_the_table_says() {
    let [report] = &json(&program("seed"))[..] else {
        panic!("one file, one report");
    };
    assert_eq!(report["verdict"]["result"], "runs");
    let imports = report["imports"].as_array().unwrap();
    assert_eq!(imports.len(), 11);
    assert!(imports.iter().all(|i| i["status"] == "implemented"));
    let names: Vec<_> = imports
        .iter()
        .map(|i| i["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"cudaSetupArgument"), "{names:?}");
}

#[test]
fn the_verdict_on_every_test_program_holds() {
    let programs = program("seed");
    for report in json(programs.parent().unwrap()) {
        let verdict = &report["verdict"]["result"];
        let name = Path::new(report["path"].as_str().unwrap())
            .file_name()
            .unwrap();
        if verdict == "cannot_run" {
            // The programs whose tests are about code that no device here can run.
            assert!(name == "newer_architecture" || name == "machine_code_only");
        }
        assert_ne!(verdict, "no_cuda", "{name:?}");
    }
}

#[test]
fn stubs_are_a_library_that_rustc_builds_and_that_answers_the_missing_calls() {
    let folder = temporary_folder();
    let stubs = folder.path().join("stubs");
    analyze(&program("unsupported_api"))
        .arg("--stubs")
        .arg(&stubs)
        .run()
        .expect_code(1)
        .expect_stderr("2 skeletons written");
    for name in ["lib.rs", "cudart.rs"] {
        assert!(stubs.join(name).exists(), "{name}");
    }
    let source = fs::read_to_string(stubs.join("cudart.rs")).unwrap();
    assert!(
        source.contains("cudaGraphMemFreeNodeGetParams")
            && source.contains("cudaGraphicsUnregisterResource")
    );
    Run::shell("rustc --edition 2024 --crate-type cdylib --crate-name vcuda_stubs lib.rs")
        .current_dir(&stubs)
        .run()
        .expect_code(0);
    let exported = Run::shell("nm -D --defined-only libvcuda_stubs.so")
        .current_dir(&stubs)
        .run();
    exported
        .expect_stdout("cudaGraphMemFreeNodeGetParams")
        .expect_stdout("cudaGraphicsUnregisterResource");
}
