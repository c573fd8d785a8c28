// SPDX-License-Identifier: MIT OR Apache-2.0
//! Says beforehand what a CUDA program needs and whether vcuda has it, and writes what is missing.
//!
//! [`analyze`] looks at ELF files, or folders of them: the CUDA functions they import and from which version of which
//! library, a CUDA runtime that is linked in, libraries that will not be found, and the kernels in their fat binaries. From
//! that follows a [`Verdict`]. [`write_shims`] writes small libraries under the names of every libcudart, so that programs
//! start where none is installed; [`write_stubs`] writes Rust skeletons of the functions that are still missing.
//!
//! Files are mapped, and only their headers and the sections that matter are read, so that a library of several hundred
//! megabytes takes milliseconds. What vcuda implements is asked of `vcuda-api`; nothing here may keep a list of its own.
//! This crate must never run, load or change the files that it looks at.
//!
//! ```
//! use vcuda_analyzer::{Options, Verdict, analyze, exit_code, render_table};
//!
//! let reports = analyze(&["/proc/self/exe"], &Options::default());
//! let report = reports[0].report().expect("a program can read itself");
//! assert_eq!(report.verdict, Verdict::NoCuda);
//! print!("{}", render_table(&reports[0], 100));
//! assert_eq!(exit_code(&reports), 0);
//! ```

#![warn(missing_docs)]
#![deny(unsafe_code)]

mod code;
mod coverage;
mod elf;
mod ld_cache;
mod library;
#[allow(
    unsafe_code,
    reason = "mapping a file is unsafe, and this module does nothing else"
)]
mod map;
mod report;
mod search;
mod shims;
mod static_runtime;
mod strings;
mod stubs;
mod table;
mod verdict;

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

pub use coverage::Status;
pub use library::Library;
pub use report::{
    Code, CodeEntry, FileReport, Import, Kernel, NeededLibrary, Outcome, Report, Source,
    StaticRuntime, Verdict,
};
pub use shims::{Machine, ShimError, shim_for, write_shim, write_shims};
pub use stubs::{StubsWritten, write_stubs};
pub use table::render_table;

use elf::{ElfFile, Problem};
use map::MappedFile;

/// How to look.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Folders that the loader searches first (LD_LIBRARY_PATH).
    pub library_path: Vec<PathBuf>,
    /// Compute capability of the device that will run the kernels: 86 for 8.6.
    pub compute_capability: u32,
    /// Bytes of code per file that may be gone through for the names and parameters of kernels: that means to decompress
    /// them. Where there is more, no kernel is listed.
    pub kernel_budget: u64,
}

impl Default for Options {
    /// No library path, a device of compute capability 8.6, and kernels listed from up to 4 MiB of code.
    fn default() -> Self {
        Self {
            library_path: Vec::new(),
            compute_capability: 86,
            kernel_budget: 4 << 20,
        }
    }
}

impl Options {
    /// The default, with the library path of the environment (LD_LIBRARY_PATH).
    pub fn from_env() -> Self {
        let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let library_path = std::env::split_paths(&path)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect();
        Self {
            library_path,
            ..Self::default()
        }
    }
}

/// Looks at each file, and at every ELF file in each folder. Links inside folders are not followed. The order is that of
/// `paths`, and by name within a folder.
pub fn analyze<P: AsRef<Path>>(paths: &[P], options: &Options) -> Vec<FileReport> {
    let mut reports = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if path.is_dir() {
            analyze_folder(path, options, &mut reports);
        } else {
            reports.push(file_report(path, report(path, options)));
        }
    }
    reports
}

fn analyze_folder(folder: &Path, options: &Options, reports: &mut Vec<FileReport>) {
    for found in WalkDir::new(folder).sort_by_file_name() {
        match found {
            Ok(found) if found.file_type().is_file() => match report(found.path(), options) {
                // Folders hold all kinds of files; only one that was named must be an ELF file.
                Err(Problem::NotElf) => {}
                result => reports.push(file_report(found.path(), result)),
            },
            Ok(_) => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                reports.push(file_report(&path, Err(Problem::Io(error.into()))));
            }
        }
    }
}

fn file_report(path: &Path, result: Result<Report, Problem>) -> FileReport {
    let result = match result {
        Ok(report) => Outcome::Analyzed(Box::new(report)),
        Err(problem) => Outcome::Unreadable {
            error: problem.to_string(),
        },
    };
    FileReport {
        path: path.to_path_buf(),
        result,
    }
}

fn report(path: &Path, options: &Options) -> Result<Report, Problem> {
    let file = MappedFile::open(path)?;
    Ok(describe(&ElfFile::parse(&file)?, path, options))
}

/// What was found in `elf`, which was read from `path` (libraries are searched relative to it).
fn describe(elf: &ElfFile, path: &Path, options: &Options) -> Report {
    let undefined = elf.undefined();
    let imports = imports(&undefined);
    // The two halves of the work touch different parts of the file.
    let (code, (static_runtime, loads, found)) = std::thread::scope(|scope| {
        let code =
            scope.spawn(|| code::find(elf, options.compute_capability, options.kernel_budget));
        let strings = strings::find(elf, &undefined);
        let is_runtime = elf
            .soname()
            .and_then(Library::of_file_name)
            .is_some_and(Library::is_supplied);
        let static_runtime = if is_runtime {
            None
        } else {
            static_runtime::find(elf, strings.has_runtime)
        };
        let search = search::Search {
            library_path: &options.library_path,
        };
        let rest = (
            static_runtime,
            strings.libraries,
            search.libraries(elf, path),
        );
        (
            code.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            rest,
        )
    });
    let verdict = verdict::Findings {
        imports: &imports,
        static_runtime: static_runtime.as_ref(),
        loads: &loads,
        libraries: &found.libraries,
        users: &found.users,
        code: &code,
        compute_capability: options.compute_capability,
    }
    .verdict(elf);
    Report {
        verdict,
        kind: elf.description(),
        bytes: elf.file().len() as u64,
        imports,
        static_runtime,
        loads,
        libraries: found.libraries,
        libraries_with_cuda: found.users,
        code,
    }
}

/// The functions of CUDA libraries among the undefined symbols.
fn imports(undefined: &[elf::Undefined]) -> Vec<Import> {
    let mut imports: Vec<Import> = undefined
        .iter()
        .filter_map(|symbol| {
            // The version says it best, then the file it is expected in; without either the name must do.
            let library = match symbol.version {
                Some(version) => Library::of_file_name(version.node)
                    .or_else(|| Library::of_file_name(version.file))?,
                None => Library::of_symbol(symbol.name)?,
            };
            let version = symbol.version.map(|version| version.node);
            Some(Import {
                name: symbol.name.to_owned(),
                library,
                version: version.map(str::to_owned),
                status: coverage::status(library, symbol.name, version),
                weak: symbol.weak,
            })
        })
        .collect();
    imports.sort_by(|a, b| (a.library, &a.name, &a.version).cmp(&(b.library, &b.name, &b.version)));
    imports
}

/// What a command that shows these reports should exit with: 0 if everything runs, 1 if something is missing, 2 if a file is
/// not a readable ELF file.
pub fn exit_code(reports: &[FileReport]) -> u8 {
    let code = |report: &FileReport| match report.report().map(|report| &report.verdict) {
        None => 2,
        Some(Verdict::NoCuda | Verdict::Runs { .. }) => 0,
        Some(Verdict::RunsExcept { .. } | Verdict::CannotRun { .. }) => 1,
    };
    reports.iter().map(code).max().unwrap_or(0)
}
