// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fat binaries in a file's sections.

use cpp_demangle::{DemangleOptions, DemangleWrite, Symbol};
use vcuda_fatbin::{Container, Cubin, Entry, EntryKind, KernelInfo, containers_through};

use crate::elf::ElfFile;
use crate::report::{Code, CodeEntry, Kernel};

/// Where compilers put fat binaries: those of translation units that were linked, and finished ones.
const UNITS: &str = "__nv_relfatbin";
const FINISHED: &str = ".nv_fatbin";

/// The linker's bookkeeping entries are smaller than this; only they may turn out to hold no kernel at all.
const LARGEST_EMPTY: u64 = 2 * 1024;

/// No name that a person would read is longer. A mangled name of a few bytes can stand for gigabytes.
const LONGEST_DEMANGLED: usize = 1000;

/// Where the kernels of one container can be read.
struct Listing<'a> {
    entry: Entry<'a>,
    has_ptx: bool,
}

/// Reads the fat binaries, and lists their kernels if no more than `budget` bytes of code have to be gone through for all
/// of them: some kernels out of many would help nobody.
pub(crate) fn find(elf: &ElfFile, compute_capability: u32, budget: u64) -> Code {
    let mut code = Code::default();
    let mut listings = Vec::new();
    let sections = [UNITS, FINISHED]
        .into_iter()
        .flat_map(|name| elf.sections_named(name).map(move |section| (name, section)));
    let mut linkable = false;
    for (name, section) in sections {
        let mut headers = Headers {
            elf,
            section,
            start: 0,
            bytes: [0; WINDOW],
        };
        for container in containers_through(section, |offset| headers.at(offset)) {
            match container {
                Ok(container) => {
                    // What was linked is linked again from the units that have PTX, and the others are libraries' (CUDA's
                    // own, of which programs rarely use anything).
                    let runs = runnable(&container, compute_capability).is_some();
                    linkable |= runs && name == UNITS;
                    if runs || !linkable {
                        listings.extend(add(&mut code, &container, compute_capability));
                    }
                }
                Err(error) => code
                    .errors
                    .push(format!("A fat binary cannot be read: {error}.")),
            }
        }
    }
    let total = listings.iter().fold(0, |total: u64, listing| {
        total.saturating_add(listing.entry.size())
    });
    if total > budget {
        code.not_listed = listings.len();
        return code;
    }
    for Listing { entry, has_ptx } in listings {
        match entry.kernels() {
            Ok(kernels) => code
                .kernels
                .extend(kernels.into_iter().map(|kernel| described(kernel, has_ptx))),
            Err(error) => code.errors.push(format!(
                "The kernels of a fat binary cannot be listed: {error}."
            )),
        }
    }
    code.kernels.sort_by(|a, b| a.name.cmp(&b.name));
    code.kernels
        .dedup_by(|a, b| a.name == b.name && a.params == b.params && a.has_ptx == b.has_ptx);
    code
}

/// The PTX of a container that a device can run.
fn runnable<'c, 'a>(
    container: &'c Container<'a>,
    compute_capability: u32,
) -> Option<&'c Entry<'a>> {
    container
        .entries
        .iter()
        .find(|entry| entry.kind == EntryKind::Ptx && entry.arch.ptx_runs_on(compute_capability))
}

/// Adds a container's entries, and gives the one to list its kernels from: PTX that the device can run, other PTX, or a
/// cubin, in this order.
fn add<'a>(
    code: &mut Code,
    container: &Container<'a>,
    compute_capability: u32,
) -> Option<Listing<'a>> {
    let is = |kind| move |entry: &&Entry| entry.kind == kind;
    let ptx = container.entries.iter().find(is(EntryKind::Ptx));
    let runs = runnable(container, compute_capability);
    if container.is_empty() || (ptx.is_none() && holds_no_kernel(container)) {
        return None;
    }
    let number = code.containers;
    code.containers += 1;
    code.without_ptx += usize::from(ptx.is_none());
    code.too_new += usize::from(ptx.is_some() && runs.is_none());
    code.entries
        .extend(container.entries.iter().map(|entry| CodeEntry {
            container: number,
            kind: entry.kind.to_string(),
            arch: entry.arch.to_string(),
            ptx_version: (entry.kind == EntryKind::Ptx).then(|| entry.version.to_string()),
            compression: entry.compression.to_string(),
            bytes: entry.size(),
        }));
    let cubin = container.entries.iter().find(is(EntryKind::Cubin));
    let entry = runs.or(ptx).or(cubin)?.clone();
    Some(Listing {
        entry,
        has_ptx: ptx.is_some(),
    })
}

/// A window onto a section, through which the header of a container and that of its first entry are read at once.
struct Headers<'e, 'a> {
    elf: &'e ElfFile<'a>,
    section: &'a [u8],
    start: usize,
    bytes: [u8; WINDOW],
}

const WINDOW: usize = 256;

impl Headers<'_, '_> {
    fn at(&mut self, offset: usize) -> [u8; 64] {
        let header_in = |bytes: &[u8; WINDOW], start: usize| {
            bytes
                .get(offset.checked_sub(start)?..)?
                .first_chunk()
                .copied()
        };
        // The window is empty until it is first moved, and zeros are no header.
        if let Some(header) = header_in(&self.bytes, self.start).filter(|header| *header != [0; 64])
        {
            return header;
        }
        self.start = offset;
        self.bytes = self.elf.file().peek(self.section, offset);
        header_in(&self.bytes, self.start).unwrap_or([0; 64])
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
