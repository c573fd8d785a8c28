// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fat binaries in a file's sections.

use cpp_demangle::{DemangleOptions, DemangleWrite, Symbol};
use vcuda_fatbin::{Container, Cubin, Entry, EntryKind, KernelInfo, containers_through};

use crate::elf::ElfFile;
use crate::report::{Code, CodeEntry, Kernel};

/// Where compilers put fat binaries: finished ones, and those that still had to be linked.
const SECTIONS: [&str; 2] = [".nv_fatbin", "__nv_relfatbin"];

/// The linker's bookkeeping entries are smaller than this; only they may turn out to hold no kernel at all.
const LARGEST_EMPTY: u64 = 4 * 1024;

/// No name that a person would read is longer. A mangled name of a few bytes can stand for gigabytes.
const LONGEST_DEMANGLED: usize = 1000;

/// Reads the fat binaries, and lists their kernels as long as no more than `budget` bytes of code have to be gone through
/// for it.
pub(crate) fn find(elf: &ElfFile, compute_capability: u32, mut budget: u64) -> Code {
    let mut code = Code::default();
    for section in SECTIONS.iter().flat_map(|name| elf.sections_named(name)) {
        for container in containers_through(section, |offset| elf.file().peek(section, offset)) {
            match container {
                Ok(container) => add(&mut code, &container, compute_capability, &mut budget),
                Err(error) => code
                    .errors
                    .push(format!("A fat binary cannot be read: {error}.")),
            }
        }
    }
    code.kernels.sort_by(|a, b| a.name.cmp(&b.name));
    code.kernels
        .dedup_by(|a, b| a.name == b.name && a.params == b.params && a.has_ptx == b.has_ptx);
    code
}

fn add(code: &mut Code, container: &Container, compute_capability: u32, budget: &mut u64) {
    let is = |kind| move |entry: &&Entry| entry.kind == kind;
    let ptx = container.entries.iter().find(is(EntryKind::Ptx));
    let runs =
        |entry: &Entry| entry.kind == EntryKind::Ptx && entry.arch.ptx_runs_on(compute_capability);
    if container.is_empty() || (ptx.is_none() && holds_no_kernel(container)) {
        return;
    }
    let number = code.containers;
    code.containers += 1;
    code.without_ptx += usize::from(ptx.is_none());
    code.too_new += usize::from(ptx.is_some() && !container.entries.iter().any(runs));
    code.entries
        .extend(container.entries.iter().map(|entry| CodeEntry {
            container: number,
            kind: entry.kind.to_string(),
            arch: entry.arch.to_string(),
            ptx_version: (entry.kind == EntryKind::Ptx).then(|| entry.version.to_string()),
            compression: entry.compression.to_string(),
            bytes: entry.size(),
        }));

    let source = container.entries.iter().find(|entry| runs(entry)).or(ptx);
    let Some(source) = source.or_else(|| container.entries.iter().find(is(EntryKind::Cubin)))
    else {
        return;
    };
    match budget.checked_sub(source.size()) {
        None => code.not_listed += 1,
        Some(left) => {
            *budget = left;
            match source.kernels() {
                Ok(kernels) => code.kernels.extend(
                    kernels
                        .into_iter()
                        .map(|kernel| described(kernel, ptx.is_some())),
                ),
                Err(error) => code.errors.push(format!(
                    "The kernels of a fat binary cannot be listed: {error}."
                )),
            }
        }
    }
}

fn holds_no_kernel(container: &Container) -> bool {
    container.entries.iter().all(|entry| {
        entry.kind == EntryKind::Cubin
            && entry.size() <= LARGEST_EMPTY
            && entry
                .payload()
                .and_then(|cubin| Cubin::parse(&cubin)?.kernels())
                .is_ok_and(|kernels| kernels.is_empty())
    })
}

fn described(kernel: KernelInfo, has_ptx: bool) -> Kernel {
    Kernel {
        demangled: demangled(&kernel.name),
        name: kernel.name,
        param_bytes: kernel.param_bytes,
        params: kernel.params,
        has_ptx,
    }
}

/// The C++ declaration that a mangled name stands for.
pub(crate) fn demangled(name: &str) -> Option<String> {
    /// Refuses to grow over the limit.
    struct Bounded(String);
    impl DemangleWrite for Bounded {
        fn write_string(&mut self, text: &str) -> std::fmt::Result {
            if self.0.len() + text.len() > LONGEST_DEMANGLED {
                return Err(std::fmt::Error);
            }
            self.0.push_str(text);
            Ok(())
        }
    }
    if !name.starts_with("_Z") || name.len() > LONGEST_DEMANGLED {
        return None;
    }
    let mut output = Bounded(String::new());
    let symbol = Symbol::new(name).ok()?;
    symbol
        .structured_demangle(&mut output, &DemangleOptions::new())
        .ok()?;
    Some(output.0)
}
