// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is said about real binaries.

mod common;

use std::path::PathBuf;

use common::{Workshop, implemented, report_of, stub};
use vcuda_analyzer::{Library, Options, Source, Status, Verdict, analyze, exit_code};

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
