// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said about real binaries.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use common::{Workshop, implemented, report_of, report_with, stub};
use vcuda_analyzer::{
    Library, Options, Outcome, Source, Status, Verdict, analyze, exit_code, render_table,
};

fn options(library_path: &[PathBuf]) -> Options {
    let mut options = Options::default();
    options.library_path = library_path.to_vec();
    options
}

#[test]
fn imports_are_keyed_by_name_and_version_node() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.12",
        Some("libcudart.so.12"),
        &["cudaMalloc", "cudaGetDeviceProperties"],
    );
    shop.link_stub(
        "libcublas.so",
        "libcublas.so.12",
        Some("libcublas.so.12"),
        &["cublasCreate_v2"],
    );
    let program = shop.program(
        "program",
        &["cudaMalloc", "cudaGetDeviceProperties", "cublasCreate_v2"],
        &["libcudart.so", "libcublas.so"],
        &[],
    );
    let imports: Vec<_> = report_of(&program)
        .imports
        .into_iter()
        .map(|import| {
            (
                import.library,
                import.name,
                import.version.unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        (
            Library::Runtime,
            "cudaGetDeviceProperties",
            "libcudart.so.12",
        ),
        (Library::Runtime, "cudaMalloc", "libcudart.so.12"),
        (Library::Cublas, "cublasCreate_v2", "libcublas.so.12"),
    ];
    assert_eq!(
        imports,
        expected.map(|(library, name, node)| (library, name.to_owned(), node.to_owned()))
    );
}

#[test]
fn a_program_that_needs_only_what_is_implemented_runs() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.13",
        Some("libcudart.so.13"),
        &[implemented()],
    );
    let program = shop.program("program", &[implemented()], &["libcudart.so"], &[]);
    let report = report_of(&program);
    assert_eq!(report.verdict, Verdict::Runs { notes: vec![] });
    assert_eq!(report.libraries[0].source, Source::Vcuda);
    assert_eq!(exit_code(&analyze(&[&program], &Options::default())), 0);
}

#[test]
fn functions_without_a_body_are_named() {
    let Some(shop) = Workshop::open() else { return };
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.13",
        Some("libcudart.so.13"),
        &[implemented(), stub()],
    );
    let program = shop.program("program", &[implemented(), stub()], &["libcudart.so"], &[]);
    let Verdict::RunsExcept { functions, .. } = report_of(&program).verdict else {
        panic!()
    };
    assert_eq!(functions, [stub()]);
    assert_eq!(exit_code(&analyze(&[&program], &Options::default())), 1);
}

#[test]
fn a_name_that_changed_its_meaning_is_known_only_with_the_versions_that_had_it() {
    let Some(shop) = Workshop::open() else { return };
    let name = "cudaGetDeviceProperties";
    let node_of_future = "libcudart.so.99";
    shop.link_stub(
        "libcudart.so",
        node_of_future,
        Some(node_of_future),
        &[name],
    );
    let program = shop.program("program", &[name], &["libcudart.so"], &[]);
    assert_eq!(report_of(&program).imports[0].status, Status::Unknown);
}

#[test]
fn imports_without_a_version_are_recognised_by_their_prefix() {
    let Some(shop) = Workshop::open() else { return };
    let source = "int cudaMalloc(); int cuInit(); int cublasLtMatmul(); int custom(); \
                  int f() { return cudaMalloc() + cuInit() + cublasLtMatmul() + custom(); }";
    let library = shop.gcc("libplugin.so", source, &["-shared", "-fPIC"]);
    let found: Vec<_> = report_of(&library)
        .imports
        .into_iter()
        .map(|import| (import.library, import.version))
        .collect();
    assert_eq!(
        found,
        [
            (Library::Runtime, None),
            (Library::Driver, None),
            (Library::CublasLt, None)
        ]
    );
}

#[test]
fn a_renamed_runtime_is_still_the_runtime() {
    let Some(shop) = Workshop::open() else { return };
    let soname = "libcudart-53d54daa.so.12.6.68";
    shop.link_stub(soname, soname, Some("libcudart.so.12"), &["cudaMalloc"]);
    let report = report_of(&shop.program("program", &["cudaMalloc"], &[soname], &[]));
    let library = &report.libraries[0];
    assert_eq!(
        (library.name.as_str(), &library.source),
        (soname, &Source::Vcuda)
    );
    assert_eq!(
        report.imports[0].version.as_deref(),
        Some("libcudart.so.12")
    );
}

#[test]
fn weak_imports_may_be_missing() {
    let Some(shop) = Workshop::open() else { return };
    let source = format!(
        "__attribute__((weak)) int {0}(); int f() {{ return {0} ? {0}() : 1; }}",
        stub()
    );
    let report = report_of(&shop.gcc("libweak.so", &source, &["-shared", "-fPIC"]));
    assert!(report.imports[0].weak);
    assert_eq!(report.verdict, Verdict::Runs { notes: vec![] });
}

#[test]
fn an_unknown_function_of_a_program_that_binds_now_is_fatal() {
    let Some(shop) = Workshop::open() else { return };
    let future = "cudaFunctionOfTheFuture";
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.13",
        Some("libcudart.so.13"),
        &[future],
    );
    let lazy =
        report_of(&shop.program("lazy", &[future], &["libcudart.so"], &["-Wl,-z,lazy"])).verdict;
    assert!(
        matches!(&lazy, Verdict::RunsExcept { functions, .. } if functions == &[future]),
        "{lazy:?}"
    );
    let now =
        report_of(&shop.program("now", &[future], &["libcudart.so"], &["-Wl,-z,now"])).verdict;
    let Verdict::CannotRun { reasons, .. } = now else {
        panic!("{now:?}")
    };
    assert!(
        reasons[0].contains("BIND_NOW") && reasons[0].contains(future),
        "{reasons:?}"
    );
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

/// Source of a file that has a runtime in it: all names of the real one, some of which call each other.
fn runtime(mark: &str) -> String {
    let names = vcuda_api::all()
        .iter()
        .filter(|function| function.library == vcuda_api::Library::Runtime);
    let functions: String = names
        .map(|function| match function.name {
            "cudaMemcpy" => {
                "int cudaMalloc(); int cudaMemcpy() { return cudaMalloc() + cudaSetDevice(); }\n"
                    .to_owned()
            }
            name => {
                format!("__attribute__((noinline)) int {name}() {{ return (int)(long)mark; }}\n")
            }
        })
        .collect();
    format!(
        "#include <dlfcn.h>\nconst char mark[] = \"{mark}\";\nint cudaSetDevice();\n{functions}\
         void *load(void) {{ return dlopen(\"libcuda.so.1\", 1); }}\n"
    )
}

fn with_static_runtime(shop: &Workshop, name: &str, mark: &str, arguments: &[&str]) -> PathBuf {
    let runtime = shop.gcc("runtime.o", &runtime(mark), &["-c", "-fno-inline"]);
    let arguments = [&[runtime.to_str().unwrap()], arguments].concat();
    shop.program(name, &["cudaMemcpy", "cudaFree"], &[], &arguments)
}

#[test]
fn a_static_runtime_is_found_with_the_functions_that_are_called() {
    let Some(shop) = Workshop::open() else { return };
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let report = report_of(&with_static_runtime(
        &shop,
        "program",
        "/cudart.shm.%x",
        &[],
    ));
    let runtime = report.static_runtime.unwrap();
    assert!(!runtime.loads_shared);
    let newest = vcuda_api::all()
        .iter()
        .filter(|f| f.library == vcuda_api::Library::Runtime)
        .map(|f| f.first)
        .max();
    assert_eq!(runtime.release, newest.map(|release| release.to_string()));
    assert_eq!(
        runtime.called.unwrap(),
        ["cudaFree", "cudaMemcpy"],
        "calls inside the runtime do not count"
    );
    assert_eq!(report.loads, ["libcuda.so.1"]);
    let Verdict::CannotRun { reasons, .. } = report.verdict else {
        panic!()
    };
    assert!(reasons[0].contains("--cudart shared"), "{reasons:?}");
}

#[test]
fn a_stripped_static_runtime_is_found_and_its_calls_are_not() {
    let Some(shop) = Workshop::open() else { return };
    let report = report_of(&with_static_runtime(
        &shop,
        "program",
        "/cudart.shm.%x",
        &["-s"],
    ));
    assert_eq!(report.static_runtime.unwrap().called, None);
    let Verdict::CannotRun { notes, .. } = report.verdict else {
        panic!()
    };
    assert!(notes[0].contains("stripped"), "{notes:?}");
}

#[test]
fn stand_ins_that_load_the_runtime_are_told_from_the_runtime() {
    let Some(shop) = Workshop::open() else { return };
    let report = report_of(&with_static_runtime(
        &shop,
        "program",
        "libcudart.so.12",
        &[],
    ));
    assert!(report.static_runtime.unwrap().loads_shared);
    assert!(!matches!(report.verdict, Verdict::CannotRun { .. }));
}

#[test]
fn a_driver_that_is_loaded_by_name_is_reported() {
    let Some(shop) = Workshop::open() else { return };
    let source = "#include <dlfcn.h>\nint main(void) { return dlopen(\"libcuda.so.1\", 1) && dlopen(\"libnothing.so\", 1); }";
    let report = report_of(&shop.gcc("program", source, &[]));
    assert_eq!(report.loads, ["libcuda.so.1"]);
    assert!(matches!(report.verdict, Verdict::Runs { .. }));
}

#[test]
fn a_program_without_a_loader_cannot_run() {
    let Some(shop) = Workshop::open() else { return };
    let file = format!(
        "{}/../fatbin/tests/golden/ptx_zstd.fatbin",
        env!("CARGO_MANIFEST_DIR")
    );
    let source = format!(
        "asm(\".pushsection .nv_fatbin, \\\"a\\\"\\n.incbin \\\"{file}\\\"\\n.popsection\"); void _start(void) {{ for (;;); }}"
    );
    let program = shop.gcc("program", &source, &["-static", "-nostdlib", "-no-pie"]);
    let Verdict::CannotRun { reasons, .. } = report_of(&program).verdict else {
        panic!()
    };
    assert!(reasons[0].contains("-static"), "{reasons:?}");
}

#[test]
fn a_program_without_cuda_is_fine() {
    let Some(shop) = Workshop::open() else { return };
    let program = shop.program("program", &[], &[], &[]);
    assert_eq!(report_of(&program).verdict, Verdict::NoCuda);
    assert_eq!(exit_code(&analyze(&[program], &Options::default())), 0);
}

#[test]
fn what_is_no_readable_elf_file_gives_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "#!/bin/sh\n").unwrap();
    let cut = folder.path().join("cut");
    fs::write(&cut, &fs::read("/proc/self/exe").unwrap()[..100]).unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "").unwrap();
    for (path, says) in [
        (&text, "not an ELF file"),
        (&empty, "not an ELF file"),
        (&cut, "headers are damaged"),
        (&folder.path().join("nothing"), "cannot be read"),
        (&PathBuf::from("/dev/null"), "not a regular file"),
    ] {
        let reports = analyze(&[path], &Options::default());
        let Outcome::Unreadable { error } = &reports[0].result else {
            panic!("{path:?}")
        };
        assert!(
            error.contains(says) && error.ends_with('.'),
            "{path:?}: {error}"
        );
        assert_eq!(exit_code(&reports), 2);
        assert!(render_table(&reports[0], 80).contains("verdict"));
    }
}

#[test]
fn a_folder_is_walked_for_elf_files_without_following_links() {
    let Some(shop) = Workshop::open() else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::copy("/proc/self/exe", outside.path().join("elsewhere")).unwrap();
    shop.program("tree/b/program", &[], &[], &[]);
    shop.program("tree/a", &[], &[], &[]);
    shop.write("tree/b/broken", b"\x7fELF but no more");
    symlink(outside.path(), shop.path("tree/link")).unwrap();
    symlink("/proc/self/exe", shop.path("tree/exe")).unwrap();
    let reports = analyze(&[shop.path("tree")], &Options::default());
    let found: Vec<_> = reports
        .iter()
        .map(|file| {
            file.path
                .strip_prefix(shop.root())
                .unwrap()
                .to_str()
                .unwrap()
        })
        .collect();
    assert_eq!(found, ["tree/a", "tree/b/broken", "tree/b/program"]);
    assert!(matches!(reports[1].result, Outcome::Unreadable { .. }));
    assert_eq!(exit_code(&reports), 2);
}

#[test]
fn a_report_becomes_json() {
    let Some(shop) = Workshop::open() else { return };
    let library = shop.with_fat_binary("libptx.so", &["sass_ptx_zstd.fatbin"]);
    shop.write("text", "text");
    let reports = analyze(&[library, shop.path("text")], &Options::default());
    let json = serde_json::to_value(&reports).unwrap();
    assert_eq!(json[0]["verdict"]["result"], "runs");
    assert_eq!(
        json[0]["code"]["kernels"][1]["params"][1],
        serde_json::json!({"offset": 8, "size": 24})
    );
    assert!(
        json[1]["error"]
            .as_str()
            .unwrap()
            .contains("not an ELF file")
    );
}

#[test]
fn the_table_keeps_to_its_width() {
    let Some(shop) = Workshop::open() else { return };
    let names: Vec<_> = vcuda_api::all()
        .iter()
        .filter(|f| f.library == vcuda_api::Library::Runtime)
        .map(|f| f.name)
        .collect();
    shop.link_stub(
        "libcudart.so",
        "libcudart.so.12",
        Some("libcudart.so.12"),
        &names,
    );
    let program = shop.program("p", &names, &["libcudart.so"], &[]);
    let reports = analyze(&[program], &Options::default());
    for width in [60, 100, 200] {
        let table = render_table(&reports[0], width);
        let names_of_any_length = |line: &&str| !line.trim().contains(' ');
        for line in table
            .lines()
            .skip(1)
            .filter(|line| !names_of_any_length(line))
        {
            assert!(line.chars().count() <= width.max(90), "{width}: {line}");
        }
        for name in &names {
            assert!(table.contains(name));
        }
    }
}

#[test]
fn a_name_in_the_file_cannot_send_commands_to_the_terminal() {
    let Some(shop) = Workshop::open() else { return };
    let soname = "libcublas\x1b[31m.so.1";
    shop.link_stub("libcublas.so", soname, None, &["cublasSgemm_v2"]);
    let program = shop.program("program", &["cublasSgemm_v2"], &["libcublas.so"], &[]);
    let table = render_table(&analyze(&[program], &Options::default())[0], 80);
    assert!(
        !table.contains('\x1b') && table.contains("\\u{1b}"),
        "{table}"
    );
}
