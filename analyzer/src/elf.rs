// SPDX-License-Identifier: MIT OR Apache-2.0
//! The parts of an ELF file that the analysis looks at, read one by one on demand: goblin's `Elf::parse` would go through
//! every string table, which takes seconds on the files that matter here.

use std::collections::HashMap;
use std::ops::Range;

use goblin::container::Ctx;
use goblin::elf::dynamic::{DT_BIND_NOW, DT_NEEDED, DT_RPATH, DT_RUNPATH, Dynamic, DynamicInfo};
use goblin::elf::program_header::{PT_INTERP, PT_LOAD};
use goblin::elf::section_header::{
    SHF_EXECINSTR, SHT_DYNSYM, SHT_GNU_VERNEED, SHT_GNU_VERSYM, SHT_NOBITS, SHT_SYMTAB,
};
use goblin::elf::symver::{VerneedSection, VersymSection};
use goblin::elf::{Elf, Header, ProgramHeader, SectionHeader, Sym, Symtab, header, sym};
use memchr::memchr;

use crate::map::MappedFile;

/// Names longer than this are of no interest here, and are not read to their end.
const LONGEST_SYMBOL: usize = 128;
/// PATH_MAX, for file names.
const LONGEST_PATH: usize = 4096;
/// For lists of paths.
const LONGEST_PATH_LIST: usize = 64 * 1024;
/// No real file names as many libraries, or folders to find them in.
const MOST_LIBRARIES: usize = 1000;
const MOST_FOLDERS: usize = 200;
/// Version indices have 15 bits.
const MOST_VERSIONS: usize = 1 << 15;

/// Why a file cannot be analysed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("It cannot be read: {0}.")]
    Io(#[from] std::io::Error),
    #[error("It is not an ELF file: it does not begin with the ELF magic number.")]
    NotElf,
    #[error("It is not a readable ELF file: its {what} damaged ({error}).")]
    Damaged {
        what: &'static str,
        error: goblin::error::Error,
    },
}

/// An ELF file in memory.
pub(crate) struct ElfFile<'a> {
    file: &'a MappedFile,
    bytes: &'a [u8],
    ctx: Ctx,
    header: Header,
    segments: Vec<ProgramHeader>,
    sections: Vec<SectionHeader>,
    dynamic: Option<Dynamic>,
    /// The dynamic symbol table, the version of each symbol, and the versions needed, laid out as sections. They are found
    /// through the dynamic segment, as the loader does, since section headers may have been stripped.
    dynamic_tables: Vec<SectionHeader>,
}

/// The version that an imported symbol asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed<'a> {
    /// The file that should have it, by the name that was linked with.
    pub file: &'a str,
    /// The version node.
    pub node: &'a str,
}

/// An undefined dynamic symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Undefined<'a> {
    pub name: &'a str,
    pub version: Option<Needed<'a>>,
    pub weak: bool,
}

impl<'a> ElfFile<'a> {
    /// Reads the headers.
    pub fn parse(file: &'a MappedFile) -> Result<Self, Problem> {
        let bytes: &[u8] = file;
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Problem::NotElf);
        }
        let damaged = |what| move |error| Problem::Damaged { what, error };
        let header = Elf::parse_header(bytes).map_err(damaged("header is"))?;
        let container = header.container().map_err(damaged("header is"))?;
        let ctx = Ctx::new(
            container,
            header.endianness().map_err(damaged("header is"))?,
        );
        let segments =
            ProgramHeader::parse(bytes, header.e_phoff as usize, header.e_phnum.into(), ctx)
                .map_err(damaged("program headers are"))?;
        let sections = if header.e_shoff == 0 {
            Vec::new()
        } else {
            SectionHeader::parse(bytes, header.e_shoff as usize, header.e_shnum.into(), ctx)
                .map_err(damaged("section headers are"))?
        };
        let dynamic =
            Dynamic::parse(bytes, &segments, ctx).map_err(damaged("dynamic segment is"))?;
        let mut elf = Self {
            file,
            bytes,
            ctx,
            header,
            segments,
            sections,
            dynamic,
            dynamic_tables: Vec::new(),
        };
        elf.dynamic_tables = elf.find_dynamic_tables();
        Ok(elf)
    }

    /// The file it was read from.
    pub fn file(&self) -> &'a MappedFile {
        self.file
    }

    fn info(&self) -> Option<&DynamicInfo> {
        self.dynamic.as_ref().map(|dynamic| &dynamic.info)
    }

    fn find_dynamic_tables(&self) -> Vec<SectionHeader> {
        let Some(info) = self.info().filter(|info| info.symtab != 0) else {
            return Vec::new();
        };
        let symbol_size = Sym::size(self.ctx.container) as u64;
        let start = info.symtab as u64;
        let section = self
            .sections
            .iter()
            .find(|section| section.sh_type == SHT_DYNSYM && section.sh_offset == start);
        let symbols_len = match section {
            Some(section) => section.sh_size,
            // Nothing says how long the table is; linkers place its strings behind it.
            None => (info.strtab as u64).saturating_sub(start),
        };
        let count = symbols_len / symbol_size;
        let table = |sh_type, offset: u64, size: u64, entries: u64| SectionHeader {
            sh_type,
            sh_offset: offset,
            sh_size: size.min((self.bytes.len() as u64).saturating_sub(offset)),
            sh_info: entries.min(MOST_VERSIONS as u64) as u32,
            ..SectionHeader::default()
        };
        let mut tables = vec![table(SHT_DYNSYM, start, count * symbol_size, 0)];
        if info.versym != 0 && info.verneed != 0 {
            tables.push(table(SHT_GNU_VERSYM, info.versym, count * 2, 0));
            tables.push(table(
                SHT_GNU_VERNEED,
                info.verneed,
                u64::MAX,
                info.verneednum,
            ));
        }
        tables
    }

    /// `e_machine`.
    pub fn machine(&self) -> u16 {
        self.header.e_machine
    }

    /// What it is, in words.
    pub fn description(&self) -> String {
        let machine = match self.header.e_machine {
            header::EM_X86_64 => "x86-64".to_owned(),
            header::EM_AARCH64 => "AArch64".to_owned(),
            header::EM_386 => "32-bit x86".to_owned(),
            header::EM_PPC64 => "PowerPC64".to_owned(),
            header::EM_RISCV => "RISC-V".to_owned(),
            other => format!("machine {other}"),
        };
        let kind = match self.header.e_type {
            header::ET_REL => "object file",
            header::ET_CORE => "core dump",
            header::ET_EXEC | header::ET_DYN if self.is_program() => "program",
            header::ET_DYN => "shared library",
            _ => "file",
        };
        format!("{machine} {kind}")
    }

    /// Whether it is started, rather than loaded: it names a loader, or has no dynamic segment to be loaded by.
    pub fn is_program(&self) -> bool {
        self.header.e_type == header::ET_EXEC
            || self
                .segments
                .iter()
                .any(|segment| segment.p_type == PT_INTERP)
    }

    /// Whether the loader takes part in starting it, so that a library can be put before it.
    pub fn is_dynamic(&self) -> bool {
        self.dynamic.is_some()
    }

    /// Whether it is finished linking.
    pub fn is_object_file(&self) -> bool {
        self.header.e_type == header::ET_REL
    }

    /// Whether every symbol must be found at the start rather than at its first call.
    pub fn binds_now(&self) -> bool {
        const DF_BIND_NOW: u64 = 0x8;
        const DF_1_NOW: u64 = 0x1;
        self.info()
            .is_some_and(|info| info.flags & DF_BIND_NOW != 0 || info.flags_1 & DF_1_NOW != 0)
            || self.dynamic_values(DT_BIND_NOW).next().is_some()
    }

    fn dynamic_values(&self, tag: u64) -> impl Iterator<Item = u64> + '_ {
        let entries = self
            .dynamic
            .as_ref()
            .map(|dynamic| dynamic.dyns.as_slice())
            .unwrap_or_default();
        entries
            .iter()
            .filter(move |entry| entry.d_tag == tag)
            .map(|entry| entry.d_val)
    }

    fn dynamic_strings(&self, tag: u64, longest: usize) -> impl Iterator<Item = &'a str> + '_ {
        let strings = self.dynamic_string_range();
        self.dynamic_values(tag)
            .filter_map(move |offset| self.string(&strings, offset as usize, longest))
    }

    fn dynamic_string_range(&self) -> Range<usize> {
        self.info().map_or(0..0, |info| {
            info.strtab..info.strtab.saturating_add(info.strsz)
        })
    }

    /// The string at `offset` of a string table, if it is UTF-8 and not longer than `longest`.
    fn string(&self, table: &Range<usize>, offset: usize, longest: usize) -> Option<&'a str> {
        let table = self
            .bytes
            .get(table.start..table.end.min(self.bytes.len()))?;
        let rest = table.get(offset..)?;
        let rest = rest.get(..longest + 1).unwrap_or(rest);
        std::str::from_utf8(rest.get(..memchr(0, rest)?)?).ok()
    }

    /// DT_NEEDED, in order.
    pub fn needed(&self) -> Vec<&'a str> {
        self.dynamic_strings(DT_NEEDED, LONGEST_PATH)
            .take(MOST_LIBRARIES)
            .collect()
    }

    /// The folders of DT_RPATH and DT_RUNPATH, as they are written.
    pub fn search_paths(&self) -> (Vec<&'a str>, Vec<&'a str>) {
        let folders = |tag| -> Vec<&'a str> {
            let lists = self.dynamic_strings(tag, LONGEST_PATH_LIST);
            lists
                .flat_map(|list| list.split(':'))
                .take(MOST_FOLDERS)
                .collect()
        };
        (folders(DT_RPATH), folders(DT_RUNPATH))
    }

    /// DT_SONAME.
    pub fn soname(&self) -> Option<&'a str> {
        let info = self.info().filter(|info| info.soname != 0)?;
        self.string(&self.dynamic_string_range(), info.soname, LONGEST_PATH)
    }

    /// The undefined symbols of the dynamic symbol table.
    pub fn undefined(&self) -> Vec<Undefined<'a>> {
        let Some(symbols) = self.symbols(&self.dynamic_tables, SHT_DYNSYM) else {
            return Vec::new();
        };
        let strings = self.dynamic_string_range();
        let versions = self.needed_versions();
        let versym = VersymSection::parse(self.bytes, &self.dynamic_tables, self.ctx)
            .ok()
            .flatten();
        let mut undefined = Vec::new();
        for (index, symbol) in symbols.iter().enumerate() {
            if !imports_a_name(&symbol) {
                continue;
            }
            let Some(name) = self.string(&strings, symbol.st_name, LONGEST_SYMBOL) else {
                continue;
            };
            let version = versym.as_ref().and_then(|versym| versym.get_at(index));
            let version = version
                .and_then(|version| versions.get(&version.version()))
                .copied();
            undefined.push(Undefined {
                name,
                version,
                weak: symbol.st_bind() == sym::STB_WEAK,
            });
        }
        undefined
    }

    fn needed_versions(&self) -> HashMap<u16, Needed<'a>> {
        let strings = self.dynamic_string_range();
        let mut versions = HashMap::new();
        let Ok(Some(section)) = VerneedSection::parse(self.bytes, &self.dynamic_tables, self.ctx)
        else {
            return versions;
        };
        // Offsets in a damaged table may lead to the same entries again and again.
        let mut left = MOST_VERSIONS;
        for file in section.iter() {
            let Some(file_name) = self.string(&strings, file.vn_file, LONGEST_PATH) else {
                continue;
            };
            for version in file.iter() {
                left = left.saturating_sub(1);
                if left == 0 {
                    return versions;
                }
                if let Some(node) = self.string(&strings, version.vna_name, LONGEST_SYMBOL) {
                    versions.insert(
                        version.vna_other & 0x7fff,
                        Needed {
                            file: file_name,
                            node,
                        },
                    );
                }
            }
        }
        versions
    }

    fn symbols(&self, sections: &[SectionHeader], kind: u32) -> Option<Symtab<'a>> {
        let section = sections.iter().find(|section| section.sh_type == kind)?;
        let count = section.sh_size as usize / Sym::size(self.ctx.container);
        Symtab::parse(self.bytes, section.sh_offset as usize, count, self.ctx).ok()
    }

    /// The defined functions of the full symbol table, with their addresses, whose names `begins_right` accepts: it is given
    /// the name and everything behind it. `None` if the file is stripped.
    pub fn functions(&self, begins_right: impl Fn(&[u8]) -> bool) -> Option<Vec<(&'a str, u64)>> {
        let section = self
            .sections
            .iter()
            .find(|section| section.sh_type == SHT_SYMTAB)?;
        let strings = self.sections.get(section.sh_link as usize)?;
        let strings =
            strings.sh_offset as usize..strings.sh_offset.saturating_add(strings.sh_size) as usize;
        for table in [self.bytes.get(strings.clone()), self.section_bytes(section)] {
            self.file.will_scan(table.unwrap_or_default());
        }
        let symbols = self.symbols(&self.sections, SHT_SYMTAB)?;
        let functions = symbols
            .iter()
            .filter(|symbol| symbol.is_function() && symbol.st_shndx != 0);
        let named = functions.filter_map(|symbol| {
            // Few of a file's symbols pass, and only these are read to their end.
            let name = self
                .bytes
                .get(strings.start.checked_add(symbol.st_name)?..)?;
            if !begins_right(name) {
                return None;
            }
            Some((
                self.string(&strings, symbol.st_name, LONGEST_SYMBOL)?,
                symbol.st_value,
            ))
        });
        Some(named.collect())
    }

    /// Bytes of the sections with this name, in file order.
    pub fn sections_named<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let names = self.sections.get(usize::from(self.header.e_shstrndx));
        let names = names.map_or(0..0, |names| {
            names.sh_offset as usize..names.sh_offset.saturating_add(names.sh_size) as usize
        });
        let named = move |section: &&SectionHeader| {
            self.string(&names, section.sh_name, LONGEST_SYMBOL) == Some(name)
        };
        self.contents(self.sections.iter().filter(named))
            .map(|(_, bytes)| bytes)
    }

    /// Address and bytes of the given sections. Sections do not overlap, so together they are no longer than the file;
    /// headers that say otherwise were made to have the same bytes gone through again and again, and those behind that
    /// point are left out.
    fn contents<'s>(
        &'s self,
        sections: impl Iterator<Item = &'s SectionHeader> + 's,
    ) -> impl Iterator<Item = (u64, &'a [u8])> + 's {
        let mut left = self.bytes.len();
        sections.map_while(move |section| {
            let bytes = self.section_bytes(section).unwrap_or_default();
            left = left.checked_sub(bytes.len())?;
            Some((section.sh_addr, bytes))
        })
    }

    fn section_bytes(&self, section: &SectionHeader) -> Option<&'a [u8]> {
        if section.sh_type == SHT_NOBITS {
            return None;
        }
        let start = usize::try_from(section.sh_offset).ok()?;
        self.bytes
            .get(start..start.checked_add(usize::try_from(section.sh_size).ok()?)?)
    }

    /// Bytes and address of each section with machine code.
    pub fn executable_sections(&self) -> impl Iterator<Item = (u64, &'a [u8])> + '_ {
        let executable = self
            .sections
            .iter()
            .filter(|section| section.sh_flags & u64::from(SHF_EXECINSTR) != 0);
        self.contents(executable)
    }

    /// Bytes of the read-only data: its section, or without section headers, the segments that are neither writable nor
    /// executable.
    pub fn read_only_data(&self) -> Vec<&'a [u8]> {
        const PF_X_OR_W: u32 = 0x3;
        if !self.sections.is_empty() {
            return self.sections_named(".rodata").collect();
        }
        let data = self
            .segments
            .iter()
            .filter(|segment| segment.p_type == PT_LOAD && segment.p_flags & PF_X_OR_W == 0);
        data.filter_map(|segment| {
            let start = usize::try_from(segment.p_offset).ok()?;
            self.bytes
                .get(start..start.checked_add(usize::try_from(segment.p_filesz).ok()?)?)
        })
        .collect()
    }
}

/// goblin's own test asks for the value zero too, which a function with a canonical PLT address has not.
fn imports_a_name(symbol: &Sym) -> bool {
    symbol.st_shndx == 0
        && symbol.st_name != 0
        && matches!(symbol.st_bind(), sym::STB_GLOBAL | sym::STB_WEAK)
}
