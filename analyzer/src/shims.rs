// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes small shared objects with the names of libraries that are not installed.
//!
//! A program that was linked with libcudart starts only if the loader finds a file of that name with the version node that
//! the program asks for (ld.so(8); Drepper, "How To Write Shared Libraries", 3.3). A shim is such a file and nothing else:
//! no code, and one dependency, libcuda.so.1, which is what libvcuda.so calls itself. Symbols are found there, also by
//! dlsym on the shim's handle, since that searches the dependencies too.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use object::Endianness;
use object::elf::{self, DynamicTag};
use object::write::elf::{FileHeader, ProgramHeader, Sym, Verdef, Writer};

/// libvcuda.so's SONAME, by which the shims and programs that use the Driver API find it.
pub(crate) const DRIVER: &str = "libcuda.so.1";

/// Beside each other in memory, the two segments must not share a page, whatever its size.
const LARGEST_PAGE: u64 = 0x1_0000;

/// The processor that a shim is for. It holds no code, but the loader passes over files for another processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// x86-64
    X86_64,
    /// AArch64
    Aarch64,
}

impl Machine {
    /// That of this build.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::X86_64
    };

    fn elf(self) -> elf::Machine {
        match self {
            Self::X86_64 => elf::EM_X86_64,
            Self::Aarch64 => elf::EM_AARCH64,
        }
    }
}

/// Why a shim was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShimError {
    /// The name cannot be that of a library.
    #[error(
        "'{0}' cannot be the name of a library or a version: it is empty, or holds a slash or a zero byte"
    )]
    Name(String),
    /// A file could not be written, or libvcuda.so is not where it is said to be.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The names are too long for an ELF file.
    #[error("the library {soname} cannot be written: {reason}")]
    Format {
        /// The library.
        soname: String,
        /// Why.
        reason: String,
    },
}

/// A shared object of the given SONAME that defines the version nodes `nodes`, and depends on the libraries `needed`, which
/// it expects in its own folder if they are nowhere else.
///
/// ```
/// use vcuda_analyzer::{Machine, shim_for};
///
/// // A wheel's own copy of the runtime, renamed by auditwheel; its version node keeps the original name.
/// let bytes = shim_for("libcudart-53d54daa.so.12.6.68", &["libcudart.so.12"], &["libcuda.so.1"], Machine::HOST)?;
/// assert!(bytes.starts_with(b"\x7fELF"));
/// # Ok::<(), vcuda_analyzer::ShimError>(())
/// ```
pub fn shim_for(
    soname: &str,
    nodes: &[&str],
    needed: &[&str],
    machine: Machine,
) -> Result<Vec<u8>, ShimError> {
    for name in nodes.iter().chain(needed).chain([&soname]) {
        if name.is_empty() || name.contains(['/', '\0']) {
            return Err(ShimError::Name((*name).to_owned()));
        }
    }
    layout(soname, nodes, needed, machine).map_err(|error| ShimError::Format {
        soname: soname.to_owned(),
        reason: error.to_string(),
    })
}

fn layout(
    soname: &str,
    nodes: &[&str],
    needed: &[&str],
    machine: Machine,
) -> object::write::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut elf = Writer::new(Endianness::Little, true, &mut bytes);

    // First the sizes of everything, in file order.
    let soname_id = elf.add_dynamic_string(soname.as_bytes());
    let runpath_id = elf.add_dynamic_string(b"$ORIGIN");
    let node_ids: Vec<_> = nodes
        .iter()
        .map(|node| elf.add_dynamic_string(node.as_bytes()))
        .collect();
    let needed_ids: Vec<_> = needed
        .iter()
        .map(|name| elf.add_dynamic_string(name.as_bytes()))
        .collect();
    elf.reserve_null_dynamic_symbol_index();
    for _ in nodes {
        elf.reserve_dynamic_symbol_index();
    }
    let symbol_count = nodes.len() as u32 + 1;
    let node_count = nodes.len() as u16;

    elf.reserve_file_header();
    elf.reserve_program_headers(4);
    let hash = elf.reserve_hash(1, symbol_count);
    let dynsym = elf.reserve_dynsym();
    let dynstr = elf.reserve_dynstr()?;
    let versym = elf.reserve_gnu_versym();
    let verdef = elf.reserve_gnu_verdef(node_count + 1, nodes.len() + 1);
    let dynamic_entries = needed.len() + 11;
    let dynamic = elf.reserve_dynamic(dynamic_entries);
    let loaded_len = elf.reserved_len();

    elf.reserve_null_section_index();
    elf.reserve_hash_section_index();
    elf.reserve_dynsym_section_index();
    elf.reserve_dynstr_section_index();
    elf.reserve_gnu_versym_section_index();
    elf.reserve_gnu_verdef_section_index();
    elf.reserve_dynamic_section_index();
    elf.reserve_shstrtab_section_index();
    elf.reserve_shstrtab()?;
    elf.reserve_section_headers();

    // Then the bytes. The loader writes into the dynamic section, so that gets a segment of its own.
    let dynamic_address = dynamic + LARGEST_PAGE;
    let dynamic_len = loaded_len - dynamic;
    elf.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_DYN,
        e_machine: machine.elf(),
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    })?;
    let segment = |p_type, p_flags, offset: u64, address: u64, len: u64, p_align| ProgramHeader {
        p_type,
        p_flags,
        p_offset: offset,
        p_vaddr: address,
        p_paddr: address,
        p_filesz: len,
        p_memsz: len,
        p_align,
    };
    let read_write = elf::PF_R | elf::PF_W;
    elf.write_align_program_headers();
    elf.write_program_header(&segment(
        elf::PT_LOAD,
        elf::PF_R,
        0,
        0,
        dynamic,
        LARGEST_PAGE,
    ));
    elf.write_program_header(&segment(
        elf::PT_LOAD,
        read_write,
        dynamic,
        dynamic_address,
        dynamic_len,
        LARGEST_PAGE,
    ));
    elf.write_program_header(&segment(
        elf::PT_DYNAMIC,
        read_write,
        dynamic,
        dynamic_address,
        dynamic_len,
        8,
    ));
    // Without this the loader makes the stack of the whole program executable.
    elf.write_program_header(&segment(elf::PT_GNU_STACK, read_write, 0, 0, 0, 16));

    let hashes: Vec<u32> = nodes
        .iter()
        .map(|node| elf::hash(node.as_bytes()))
        .collect();
    elf.write_hash(1, symbol_count, |symbol| {
        hashes.get((symbol as usize).checked_sub(1)?).copied()
    });
    elf.write_null_dynamic_symbol();
    for id in &node_ids {
        // As linkers do: each version node is itself an absolute symbol.
        let st_name = elf.dynamic_string_offset(Some(*id));
        elf.write_dynamic_symbol(&Sym {
            section: None,
            st_name,
            st_info: elf::SymbolInfo::new(elf::STB_GLOBAL, elf::STT_OBJECT),
            st_other: elf::SymbolOther(0),
            st_shndx: elf::SHN_ABS,
            st_value: 0,
            st_size: 0,
        });
    }
    elf.write_dynstr();
    elf.write_null_gnu_versym();
    let node_indices = || (2u16..).map(elf::VersionIndex);
    for index in node_indices().take(nodes.len()) {
        elf.write_gnu_versym(index.into());
    }
    elf.write_align_gnu_verdef();
    let definitions = [(elf::VER_FLG_BASE, elf::VER_NDX_GLOBAL, soname, soname_id)];
    let nodes = node_indices()
        .zip(nodes)
        .zip(&node_ids)
        .map(|((index, node), id)| (elf::VersionFlags(0), index, *node, *id));
    for (flags, index, name, id) in definitions.into_iter().chain(nodes) {
        let name_offset = elf.dynamic_string_offset(Some(id));
        let hash = elf::hash(name.as_bytes());
        // This writes the first auxiliary entry, the name, as well.
        elf.write_gnu_verdef(&Verdef {
            version: elf::VER_DEF_CURRENT,
            flags,
            index,
            aux_count: 1,
            name: name_offset,
            hash,
        });
    }

    elf.write_align_dynamic();
    for id in needed_ids {
        elf.write_dynamic_string(elf::DT_NEEDED, id)?;
    }
    elf.write_dynamic_string(elf::DT_SONAME, soname_id)?;
    elf.write_dynamic_string(elf::DT_RUNPATH, runpath_id)?;
    let dynstr_len = u64::from(elf.dynstr_len());
    let values: [(DynamicTag, u64); 9] = [
        (elf::DT_HASH, hash),
        (elf::DT_STRTAB, dynstr),
        (elf::DT_SYMTAB, dynsym),
        (elf::DT_STRSZ, dynstr_len),
        (elf::DT_SYMENT, 24),
        (elf::DT_VERSYM, versym),
        (elf::DT_VERDEF, verdef),
        (elf::DT_VERDEFNUM, u64::from(node_count) + 1),
        (elf::DT_NULL, 0),
    ];
    for (tag, value) in values {
        elf.write_dynamic(tag, value)?;
    }

    elf.write_shstrtab();
    elf.write_null_section_header();
    elf.write_hash_section_header(hash);
    elf.write_dynsym_section_header(dynsym, 1);
    elf.write_dynstr_section_header(dynstr);
    elf.write_gnu_versym_section_header(versym);
    elf.write_gnu_verdef_section_header(verdef);
    elf.write_dynamic_section_header(dynamic_address);
    elf.write_shstrtab_section_header();
    Ok(bytes)
}

/// Writes into `folder`, which is created if need be, a shim for every libcudart that there is, and links to `libvcuda` as
/// `libcuda.so.1` and `libcuda.so`. Programs find them with `LD_LIBRARY_PATH=folder`. Gives the paths of what it wrote.
pub fn write_shims(folder: &Path, libvcuda: &Path) -> Result<Vec<PathBuf>, ShimError> {
    create_folder(folder)?;
    let target = fs::canonicalize(libvcuda).map_err(|error| ShimError::Io {
        path: libvcuda.to_path_buf(),
        error,
    })?;
    let mut written = Vec::new();
    for node in &vcuda_api::NODES {
        written.push(write_shim(folder, node.soname, &[node.soname])?);
    }
    for name in [DRIVER, "libcuda.so"] {
        let path = folder.join(name);
        replace(&path, |temporary| symlink(&target, temporary))?;
        written.push(path);
    }
    Ok(written)
}

/// Writes one shim over libvcuda.so into `folder`, for a name that [`write_shims`] does not know. Gives its path.
pub fn write_shim(folder: &Path, soname: &str, nodes: &[&str]) -> Result<PathBuf, ShimError> {
    let bytes = shim_for(soname, nodes, &[DRIVER], Machine::HOST)?;
    let path = folder.join(soname);
    replace(&path, |temporary| fs::write(temporary, &bytes))?;
    Ok(path)
}

pub(crate) fn create_folder(folder: &Path) -> Result<(), ShimError> {
    fs::create_dir_all(folder).map_err(|error| ShimError::Io {
        path: folder.to_path_buf(),
        error,
    })
}

/// Makes the file under another name first: running programs keep the one they have mapped, and none sees half a file.
pub(crate) fn replace(
    path: &Path,
    make: impl FnOnce(&Path) -> io::Result<()>,
) -> Result<(), ShimError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    make(&temporary)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|error| {
            let _ = fs::remove_file(&temporary);
            ShimError::Io {
                path: path.to_path_buf(),
                error,
            }
        })
}
