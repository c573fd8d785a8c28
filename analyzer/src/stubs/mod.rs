// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes Rust skeletons of the functions that programs need and vcuda lacks, and the shims through which they are found.

mod prototype;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::coverage::{self, Status};
use crate::library::Library;
use crate::report::{FileReport, Report, Source};
use crate::shims::{DRIVER, Machine, ShimError, create_folder, replace, shim_for};
use crate::table::count;
use prototype::Signature;

/// The library that the skeletons are built into.
const LIBRARY_FILE: &str = "libvcuda_stubs.so";
/// How, in their folder.
const BUILD: &str = "rustc --edition 2024 -O --crate-type cdylib --crate-name vcuda_stubs -o libvcuda_stubs.so lib.rs";

/// What [`write_stubs`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StubsWritten {
    /// The files, sources before shims. Nothing was missing if there are none.
    pub files: Vec<PathBuf>,
    /// Number of skeletons.
    pub functions: usize,
    /// The shell command that builds the library.
    pub build: String,
    /// What to put before the program's command line to run it with the library; libvcuda.so is left to be named.
    pub environment: String,
}

impl fmt::Display for StubsWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.files.is_empty() {
            return f.write_str("nothing is missing, so no skeletons were written");
        }
        let Self {
            functions,
            build,
            environment,
            ..
        } = self;
        write!(
            f,
            "{} written.\nBuild them:  {build}\nThen run:    {environment} PROGRAM",
            count(*functions, "skeleton")
        )
    }
}

/// Writes into `folder` one Rust file per library, with a skeleton for each function that the reports say is missing, a
/// `lib.rs` over them, and a shim for each CUDA library that the programs are linked with. Sources that exist already are
/// not overwritten: somebody may have written the bodies.
pub fn write_stubs(folder: &Path, reports: &[FileReport]) -> Result<StubsWritten, ShimError> {
    let reports: Vec<&Report> = reports.iter().filter_map(FileReport::report).collect();
    let missing = missing(&reports);
    let folder_quoted = format!("'{}'", folder.display().to_string().replace('\'', r"'\''"));
    let mut written = StubsWritten {
        files: Vec::new(),
        functions: missing.values().map(BTreeMap::len).sum(),
        build: format!("cd {folder_quoted} && {BUILD}"),
        environment: format!(
            "LD_LIBRARY_PATH={folder_quoted} LD_PRELOAD={folder_quoted}/{LIBRARY_FILE}:PATH_OF/libvcuda.so"
        ),
    };
    if missing.is_empty() {
        return Ok(written);
    }
    create_folder(folder)?;

    let modules: Vec<(String, &Functions)> = missing
        .iter()
        .map(|(library, functions)| (module(*library), functions))
        .collect();
    written
        .files
        .push(create(folder.join("lib.rs"), root(&modules).as_bytes())?);
    for ((name, functions), library) in modules.iter().zip(missing.keys()) {
        let text = source(*library, functions);
        written
            .files
            .push(create(folder.join(format!("{name}.rs")), text.as_bytes())?);
    }
    let mut libraries: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, nodes) in reports.iter().flat_map(|report| report.libraries_to_make()) {
        libraries.entry(name).or_default().extend(nodes);
    }
    for (name, nodes) in libraries {
        let nodes: Vec<&str> = nodes.into_iter().collect();
        let shim = shim_for(name, &nodes, &[LIBRARY_FILE, DRIVER], Machine::HOST)?;
        let path = folder.join(name);
        replace(&path, |temporary| std::fs::write(temporary, shim))?;
        written.files.push(path);
    }
    Ok(written)
}

/// The missing functions of each library, each with the version nodes it is asked for with.
type Missing = BTreeMap<Library, Functions>;
type Functions = BTreeMap<String, BTreeSet<String>>;

fn missing(reports: &[&Report]) -> Missing {
    let mut missing = Missing::new();
    for report in reports {
        for import in report
            .imports
            .iter()
            .filter(|import| import.status != Status::Implemented)
        {
            // A found math library is the program's own business: skeletons would only be in its way.
            if import.status == Status::NotSupplied && is_found(report, import.library) {
                continue;
            }
            let functions = missing.entry(import.library).or_default();
            functions
                .entry(import.name.clone())
                .or_default()
                .extend(import.version.clone());
        }
        let called = report
            .static_runtime
            .iter()
            .flat_map(|runtime| runtime.called.iter().flatten());
        for name in called
            .filter(|name| coverage::status(Library::Runtime, name, None) != Status::Implemented)
        {
            missing
                .entry(Library::Runtime)
                .or_default()
                .entry(name.clone())
                .or_default();
        }
    }
    missing
}

fn is_found(report: &Report, library: Library) -> bool {
    let mut linked = report
        .libraries
        .iter()
        .filter(|needed| needed.library == Some(library));
    linked.any(|needed| matches!(needed.source, Source::File(_)))
}

fn module(library: Library) -> String {
    library
        .stem()
        .trim_start_matches("lib")
        .replace('-', "_")
        .to_lowercase()
}

fn create(path: PathBuf, text: &[u8]) -> Result<PathBuf, ShimError> {
    let written = File::create_new(&path).and_then(|mut file| file.write_all(text));
    written.map_err(|error| ShimError::Io {
        path: path.clone(),
        error,
    })?;
    Ok(path)
}

/// The `lib.rs` over the libraries' files.
fn root(modules: &[(String, &Functions)]) -> String {
    let mut text = include_str!("skeletons.rs.in").replace("BUILD", BUILD);
    for (name, _) in modules {
        let _ = writeln!(text, "mod {name};");
    }
    text
}

fn source(library: Library, functions: &Functions) -> String {
    let mut text = format!(
        "//! Functions of {}.\n\n#![allow(unused_imports, clippy::missing_safety_doc)]\n\nuse std::ffi::*;\n\nuse \
         crate::*;\n",
        library.stem()
    );
    for (name, versions) in functions {
        // Symbols come out of the file: only what is an identifier can be written as a function.
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            continue;
        }
        skeleton(&mut text, library, name, versions);
    }
    text
}

fn skeleton(text: &mut String, library: Library, name: &str, versions: &BTreeSet<String>) {
    let prototype = prototype::of(name).filter(|_| library.is_supplied());
    let function = vcuda_api::find(name).filter(|_| library.is_supplied());
    let signature = prototype
        .and_then(Signature::parse)
        .unwrap_or_else(|| Signature::unknown(function.map(|function| function.returns)));

    text.push('\n');
    match prototype.and_then(|prototype| prototype.split_once('(')) {
        Some((returns, params)) => {
            let _ = writeln!(text, "/// C: `{} {name}({params}`", returns.trim());
            if versions.iter().any(|node| node != "libcudart.so.13") {
                let asked: Vec<&str> = versions.iter().map(String::as_str).collect();
                let _ = writeln!(
                    text,
                    "///\n/// That is the prototype of CUDA 13.0, and the program asks for {}: compare it with that version's header.",
                    asked.join(" and ")
                );
            }
        }
        None => {
            let _ = writeln!(
                text,
                "/// The prototype is not known here: take the parameters from the library's header."
            );
        }
    }
    let params: Vec<String> = signature
        .params
        .iter()
        .enumerate()
        .map(|(number, of_type)| format!("_arg{number}: {of_type}"))
        .collect();
    let arrow = signature
        .returns
        .as_ref()
        .map(|returns| format!(" -> {returns}"))
        .unwrap_or_default();
    let value = match signature.returns.as_deref() {
        None => String::new(),
        Some("c_int") => format!("\n    {} // not supported", library.not_supported()),
        Some("ChannelFormatDesc") => "\n    ChannelFormatDesc::default()".to_owned(),
        Some(pointer) if pointer.starts_with("*mut") => "\n    std::ptr::null_mut()".to_owned(),
        Some(pointer) if pointer.starts_with('*') => "\n    std::ptr::null()".to_owned(),
        Some(_) => "\n    0".to_owned(),
    };
    let _ = write!(
        text,
        "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn {name}({}){arrow} {{\n    skeleton!(\"{name}\");{value}\n}}\n",
        params.join(", ")
    );
}
