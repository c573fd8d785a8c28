// SPDX-License-Identifier: MIT OR Apache-2.0
//! What libvcuda.so exports, and which function a program gets for the version that it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{ElfFile64, FileHeader as _, Sym as _};
use vcuda_api::{Function, Library, NODES, Node, Returns};

/// libvcuda.so, which cargo builds beside this test.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let library = test.with_file_name("libvcuda.so");
    assert!(library.exists(), "{} is not there", library.display());
    library
}

/// Of each exported name, the versions that it is exported with; `None` is an export without a version.
fn exports() -> BTreeMap<String, BTreeSet<Option<String>>> {
    let data = fs::read(library()).expect("libvcuda.so can be read");
    let header = FileHeader64::<Endianness>::parse(&*data).expect("an ELF header");
    let endian = header.endian().expect("a byte order");
    let sections = header.sections(endian, &*data).expect("sections");
    let symbols = sections
        .symbols(endian, &*data, object::elf::SHT_DYNSYM)
        .expect("dynamic symbols");
    let versions = sections
        .versions(endian, &*data)
        .expect("symbol versions")
        .expect("the library has version nodes");
    let mut exports = BTreeMap::<String, BTreeSet<_>>::new();
    for (index, symbol) in symbols.enumerate() {
        if symbol.is_undefined(endian) {
            continue;
        }
        let name = symbols.symbol_name(endian, symbol).expect("a name");
        let version = versions
            .version(versions.version_index(endian, index).into())
            .expect("a version");
        exports
            .entry(String::from_utf8_lossy(name).into_owned())
            .or_default()
            .insert(version.map(|version| String::from_utf8_lossy(version.name()).into_owned()));
    }
    exports
}

#[test]
fn the_library_is_the_driver_library_to_the_loader() {
    let data = fs::read(library()).expect("libvcuda.so can be read");
    let file = ElfFile64::<Endianness>::parse(&*data).expect("an ELF file");
    let endian = file.endian();
    let sections = file.elf_section_table();
    let (entries, strings) = sections
        .dynamic(endian, &*data)
        .expect("dynamic entries")
        .expect("the library has dynamic entries");
    let strings = sections.strings(endian, &*data, strings).expect("strings");
    let soname = entries
        .iter()
        .find(|entry| entry.d_tag.get(endian) == object::elf::DT_SONAME)
        .expect("a SONAME");
    let soname = u32::try_from(soname.d_val.get(endian)).expect("an offset");
    assert_eq!(strings.get(soname), Ok(&b"libcuda.so.1"[..]));
}

#[test]
fn every_name_of_the_table_is_exported() {
    let exports = exports();
    for function in vcuda_api::all() {
        let expected: BTreeSet<_> = if function.is_implemented() && !function.meanings.is_empty() {
            let nodes = function.meanings.iter().flat_map(|meaning| meaning.nodes());
            nodes.map(|node| Some(node.soname.to_owned())).collect()
        } else {
            // Without a version, which answers for every one.
            BTreeSet::from([None])
        };
        assert_eq!(
            exports.get(function.name),
            Some(&expected),
            "{}",
            function.name
        );
    }
}

#[test]
fn the_bodies_of_changed_names_are_reached_by_their_versions_only() {
    let exports = exports();
    for function in vcuda_api::all() {
        for meaning in function.meanings {
            assert!(!exports.contains_key(meaning.symbol), "{}", meaning.symbol);
        }
    }
}

/// A folder of its own for a test's programs.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    fs::create_dir_all(&folder).expect("a folder for the test's programs");
    folder
}

fn cc(folder: &Path, source: &str, arguments: &[&str]) {
    let path = folder.join("source.c");
    fs::write(&path, source).expect("the source is written");
    let output = Command::new("cc")
        .current_dir(folder)
        .arg("source.c")
        .args(arguments)
        .output()
        .expect("a C compiler");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Builds, and runs under libvcuda.so, a program that was linked with a library of that SONAME in which `stub` is all
/// there is, in the node if there is one.
fn run(folder: &Path, stub: &str, soname: &str, node: Option<&Node>, program: &str) -> Output {
    let mut arguments = vec![
        "-shared".to_owned(),
        "-fPIC".into(),
        "-o".into(),
        soname.into(),
    ];
    arguments.push(format!("-Wl,-soname,{soname}"));
    if let Some(node) = node {
        fs::write(
            folder.join("node.map"),
            format!("{} {{ global: *; }};", node.soname),
        )
        .expect("a version script");
        arguments.push("-Wl,--version-script=node.map".into());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cc(folder, stub, &arguments);
    cc(
        folder,
        program,
        &["-o", "program", &format!("./{soname}"), "-ldl"],
    );
    Command::new(folder.join("program"))
        .current_dir(folder)
        .env("LD_PRELOAD", library())
        .env("LD_LIBRARY_PATH", folder)
        .output()
        .expect("the program runs")
}

const RUNTIME_VERSION_STUB: &str =
    "int cudaRuntimeGetVersion(int *version) { return *version = -1; }";

/// The version of the runtime that the program's output gives, if the call succeeded.
fn runtime_version(output: &Output) -> u32 {
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text
        .strip_prefix("0 ")
        .and_then(|version| version.trim().parse().ok());
    version.unwrap_or_else(|| panic!("{output:?}"))
}

#[test]
fn a_program_gets_the_meaning_of_the_version_that_it_was_linked_with() {
    let program = "#include <stdio.h>\nint cudaRuntimeGetVersion(int *);\n\
        int main(void) { int v = 0, e = cudaRuntimeGetVersion(&v); printf(\"%d %d\\n\", e, v); return 0; }";
    for (index, node) in NODES.iter().enumerate() {
        let folder = folder(node.soname);
        let output = run(
            &folder,
            RUNTIME_VERSION_STUB,
            node.soname,
            Some(node),
            program,
        );
        let version = runtime_version(&output);
        assert!(
            version >= node.version.number(),
            "{}: {version}",
            node.soname
        );
        if let Some(next) = NODES.get(index + 1) {
            assert!(
                version < next.version.number(),
                "{}: {version}",
                node.soname
            );
        }
    }
}

#[test]
fn a_program_that_asks_for_no_version_gets_the_newest_meaning() {
    let linked = "#include <stdio.h>\nint cudaRuntimeGetVersion(int *);\n\
        int main(void) { int v = 0, e = cudaRuntimeGetVersion(&v); printf(\"%d %d\\n\", e, v); return 0; }";
    let looked_up = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <stdio.h>\n\
        int main(void) { int (*f)(int *) = (int (*)(int *))dlsym(RTLD_DEFAULT, \"cudaRuntimeGetVersion\");\n\
        int v = 0, e = f(&v); printf(\"%d %d\\n\", e, v); return 0; }";
    for (name, program) in [("linked", linked), ("looked-up", looked_up)] {
        let folder = folder(name);
        let output = run(
            &folder,
            RUNTIME_VERSION_STUB,
            "libunversioned.so",
            None,
            program,
        );
        assert_eq!(runtime_version(&output) / 1000, 13, "{name}");
    }
}

fn a_stub_of(library: Library) -> (&'static Function, u32) {
    vcuda_api::all()
        .iter()
        .filter(|function| function.library == library && !function.is_implemented())
        .find_map(|function| match function.returns {
            Returns::Error { unless_implemented } => Some((function, unless_implemented)),
            _ => None,
        })
        .expect("not everything is implemented")
}

#[test]
fn a_stub_returns_its_error_and_names_itself_once() {
    for (library, soname, error_name) in [
        (Library::Runtime, "libcudart.so.12", "cudaErrorNotSupported"),
        (Library::Driver, "libcuda.so.1", "CUDA_ERROR_NOT_SUPPORTED"),
    ] {
        let (function, error) = a_stub_of(library);
        let name = function.name;
        let program = format!(
            "#include <stdio.h>\nint {name}(void *, int);\n\
             int main(void) {{ printf(\"%d \", {name}(0, 1)); printf(\"%d\", {name}(0, 2)); return 0; }}"
        );
        let stub = format!("int {name}(void *p, int i) {{ return -1; }}");
        let folder = folder(&format!("stub-of-{name}"));
        let output = run(&folder, &stub, soname, Node::named(soname), &program);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{error} {error}")
        );
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!("vcuda: {name} is not implemented; it returns {error_name} ({error}).\n")
        );
    }
}

#[test]
fn the_error_of_a_runtime_stub_is_the_last_error_of_its_thread() {
    let (function, error) = a_stub_of(Library::Runtime);
    let name = function.name;
    let program = format!(
        "#include <stdio.h>\nint {name}(void *, int);\nint cudaPeekAtLastError(void);\n\
         int main(void) {{ {name}(0, 1); printf(\"%d\", cudaPeekAtLastError()); return 0; }}"
    );
    let stub = format!(
        "int {name}(void *p, int i) {{ return -1; }}\nint cudaPeekAtLastError(void) {{ return -1; }}"
    );
    let soname = "libcudart.so.12";
    let folder = folder("last-error");
    let output = run(&folder, &stub, soname, Node::named(soname), &program);
    assert_eq!(String::from_utf8_lossy(&output.stdout), error.to_string());
}
