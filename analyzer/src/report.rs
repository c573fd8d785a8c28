// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the analysis found, as data. Everything here serialises, for `--json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use vcuda_fatbin::Param;

use crate::coverage::Status;
use crate::library::Library;

/// The result for one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The file, as it was named or found.
    pub path: PathBuf,
    /// What it needs, or why that cannot be said.
    #[serde(flatten)]
    pub result: Outcome,
}

/// Whether a file could be read.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// It could.
    Analyzed(Box<Report>),
    /// It could not.
    Unreadable {
        /// A sentence that says why.
        error: String,
    },
}

impl FileReport {
    /// The report, if the file could be read.
    pub fn report(&self) -> Option<&Report> {
        match &self.result {
            Outcome::Analyzed(report) => Some(report),
            Outcome::Unreadable { .. } => None,
        }
    }
}

/// What one ELF file needs of CUDA.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What will happen.
    pub verdict: Verdict,
    /// Machine and kind of file, in words.
    pub kind: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Imported functions of CUDA libraries, sorted by library and name.
    pub imports: Vec<Import>,
    /// A runtime that is linked in.
    pub static_runtime: Option<StaticRuntime>,
    /// CUDA libraries that it loads by name while it runs (strings beside an import of dlopen).
    pub loads: Vec<String>,
    /// The libraries it is linked with (DT_NEEDED), and those that cannot be found for them.
    pub libraries: Vec<NeededLibrary>,
    /// Those of its libraries, found through it, that use CUDA in their turn. Each has a report of its own if it is asked for.
    pub libraries_with_cuda: Vec<PathBuf>,
    /// The GPU code in it.
    pub code: Code,
}

impl Report {
    /// The libraries of the CUDA toolkit that must be made for the file to start, by the name that it asks for, with the
    /// version nodes that it asks of each: those that vcuda stands in for, and those that are missing.
    ///
    /// Wheels bring runtimes under names of their own, such as `libcudart-53d54daa.so.12.6.68`, so
    /// [`write_shims`](crate::write_shims) does not know them all; [`write_shim`](crate::write_shim) writes one.
    pub fn libraries_to_make(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut made: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for needed in &self.libraries {
            let Some(library) = needed.library.filter(|library| *library != Library::Driver) else {
                continue;
            };
            if !matches!(needed.source, Source::File(_)) {
                let imports = self
                    .imports
                    .iter()
                    .filter(|import| import.library == library);
                let nodes = imports.filter_map(|import| import.version.as_deref());
                made.entry(needed.name.as_str()).or_default().extend(nodes);
            }
        }
        made
    }
}

/// What will happen when the file is run, or loaded, under vcuda.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    /// It uses no CUDA.
    NoCuda,
    /// It runs.
    Runs {
        /// What is worth knowing besides.
        notes: Vec<String>,
    },
    /// It runs as long as it stays clear of these.
    RunsExcept {
        /// Functions that return an error.
        functions: Vec<String>,
        /// Sentences about other things that will not work.
        exceptions: Vec<String>,
        /// What is worth knowing besides.
        notes: Vec<String>,
    },
    /// It does not run.
    CannotRun {
        /// Sentences that say why, and what to do about it.
        reasons: Vec<String>,
        /// Functions that would be missing if it did.
        functions: Vec<String>,
        /// What is worth knowing besides.
        notes: Vec<String>,
    },
}

/// An imported function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Import {
    /// The symbol.
    pub name: String,
    /// The library whose function it is.
    pub library: Library,
    /// The version node that it asks for, such as `libcudart.so.12`.
    pub version: Option<String>,
    /// What vcuda does about it.
    pub status: Status,
    /// Whether the program can do without it.
    pub weak: bool,
}

/// A CUDA runtime inside the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StaticRuntime {
    /// Whether its functions are stand-ins that load libcudart at the first call. If not, the runtime itself is linked in.
    pub loads_shared: bool,
    /// The CUDA release it is from, or the oldest that has the same functions; `None` for a stripped file.
    pub release: Option<String>,
    /// The functions that the rest of the file calls; `None` for a stripped file, whose calls cannot be told.
    pub called: Option<Vec<String>>,
}

/// A library that the file is linked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NeededLibrary {
    /// Its file name, as DT_NEEDED gives it.
    pub name: String,
    /// Which CUDA library it is.
    pub library: Option<Library>,
    /// Where it will come from.
    pub source: Source,
    /// The library that needs it, if it is not the file itself.
    pub needed_by: Option<PathBuf>,
}

/// Where a needed library will come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `vcuda run` brings it.
    Vcuda,
    /// The loader finds it here.
    File(PathBuf),
    /// The loader will not find it.
    Missing,
}

/// The GPU code in a file.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Code {
    /// Fat binary containers with kernels, or with code that was not looked into.
    pub containers: usize,
    /// Of these, the ones without PTX.
    pub without_ptx: usize,
    /// Of these, the ones with PTX, but none that the device can run.
    pub too_new: usize,
    /// Every entry of every container, in file order.
    pub entries: Vec<CodeEntry>,
    /// The kernels.
    pub kernels: Vec<Kernel>,
    /// Containers whose kernels were not listed, because there is too much code to go through: all of them or none.
    pub not_listed: usize,
    /// Sentences about code that could not be read.
    pub errors: Vec<String>,
}

/// One entry of a fat binary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CodeEntry {
    /// The container it is in, from 0.
    pub container: usize,
    /// `PTX`, `SASS`, `LTO IR`, or `unknown` with a number.
    pub kind: String,
    /// Such as `sm_90a`.
    pub arch: String,
    /// PTX version; `None` for other kinds.
    pub ptx_version: Option<String>,
    /// `zstd`, `LZ4` or `uncompressed`.
    pub compression: String,
    /// Size in bytes once decompressed.
    pub bytes: u64,
}

/// A kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Kernel {
    /// The symbol.
    pub name: String,
    /// As it is written in C++, if the name is mangled.
    pub demangled: Option<String>,
    /// Bytes of its parameter buffer.
    pub param_bytes: u32,
    /// Where each parameter lies in it.
    #[serde(serialize_with = "serialize_params")]
    pub params: Vec<Param>,
    /// Whether there is PTX for it.
    pub has_ptx: bool,
}

fn serialize_params<S: serde::Serializer>(
    params: &[Param],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Place {
        offset: u32,
        size: u32,
    }
    serializer.collect_seq(params.iter().map(|param| Place {
        offset: param.offset,
        size: param.size,
    }))
}
