// SPDX-License-Identifier: MIT OR Apache-2.0
use object::elf::FileHeader64;
use object::read::elf::{ElfFile64, FileHeader};
use object::{Endianness, Object, ObjectSection, ObjectSymbol};

use crate::bytes::{u16_at, u32_at};
use crate::{Error, KernelInfo, Param};

/// A cubin: an ELF file with machine code for one GPU architecture, and what it says about its kernels.
#[derive(Debug)]
pub struct Cubin<'a> {
    elf: ElfFile64<'a>,
    sm: u32,
}

/// `e_machine` of NVIDIA's GPUs.
const EM_CUDA: u16 = 190;

impl<'a> Cubin<'a> {
    /// Bytes of ELF header that [`Cubin::total_len`] needs.
    pub const HEADER_LEN: usize = 64;

    /// Whole length in bytes of the cubin whose first [`Cubin::HEADER_LEN`] bytes are given. Toolkits write the section
    /// and program header tables last, so the file ends where they do.
    pub fn total_len(header: &[u8]) -> Result<usize, Error> {
        let elf = file_header(header)?;
        let endian = elf.endian().map_err(not_a_cubin)?;
        let end = |offset: u64, count: u16, size: u16| {
            offset.checked_add(u64::from(count) * u64::from(size))
        };
        let sections = end(
            elf.e_shoff(endian),
            elf.e_shnum(endian),
            elf.e_shentsize(endian),
        );
        let segments = end(
            elf.e_phoff(endian),
            elf.e_phnum(endian),
            elf.e_phentsize(endian),
        );
        sections
            .zip(segments)
            .map(|(sections, segments)| sections.max(segments))
            .filter(|len| *len <= isize::MAX as u64)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or_else(|| {
                Error::NotACubin("its header tables lie beyond any file's end".to_owned())
            })
    }

    /// Reads the ELF headers.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = file_header(bytes)?;
        let endian = header.endian().map_err(not_a_cubin)?;
        let elf = ElfFile64::<Endianness>::parse(bytes).map_err(not_a_cubin)?;
        // The architecture moved by one byte when CUDA 13 raised the ABI version from 7 to 8.
        let shift = if header.e_ident().abi_version >= 8 {
            8
        } else {
            0
        };
        let sm = (header.e_flags(endian).0 >> shift) & 0xff;
        Ok(Self { elf, sm })
    }

    /// The architecture it was made for: 80 for `sm_80`.
    pub fn sm(&self) -> u32 {
        self.sm
    }

    /// The kernels, by the `.nv.info.<kernel>` sections, in file order.
    pub fn kernels(&self) -> Result<Vec<KernelInfo>, Error> {
        let mut kernels = Vec::new();
        let mut budget = Budget(self.elf.data().len().saturating_mul(4));
        for section in self.elf.sections() {
            let name = section.name_bytes().map_err(not_a_cubin)?;
            budget.spend(name)?;
            let Some(kernel) = name.strip_prefix(b".nv.info.") else {
                continue;
            };
            let info = section.data().map_err(not_a_cubin)?;
            budget.spend(info)?;
            kernels.push(describe(
                KernelInfo::named(String::from_utf8_lossy(kernel)),
                info,
            ));
        }
        self.add_register_counts(&mut kernels, budget)?;
        Ok(kernels)
    }

    /// `.nv.info` gives the register count of each function, by symbol number.
    fn add_register_counts(
        &self,
        kernels: &mut [KernelInfo],
        mut budget: Budget,
    ) -> Result<(), Error> {
        let Some(section) = self.elf.section_by_name(".nv.info") else {
            return Ok(());
        };
        let mut counts = std::collections::HashMap::new();
        for (attribute, payload) in Attributes(section.data().unwrap_or_default()) {
            if let (attribute::REGCOUNT, Some(symbol), Some(count)) =
                (attribute, u32_at(payload, 0), u32_at(payload, 4))
            {
                let symbol = self
                    .elf
                    .symbol_by_index(object::SymbolIndex(symbol as usize));
                let name = symbol
                    .and_then(|symbol| symbol.name_bytes())
                    .map_err(not_a_cubin)?;
                budget.spend(name)?;
                counts.insert(name, count);
            }
        }
        for kernel in kernels {
            kernel.registers = counts.get(kernel.name.as_bytes()).copied();
        }
        Ok(())
    }
}

/// What may still be read. Names and sections of a well-formed file hardly overlap, so reading them all costs a small multiple of
/// the file's length; headers that point many times at the same bytes would make the work grow with the square of it.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.ok_or_else(|| Error::NotACubin("its sections overlap".to_owned()))?;
        Ok(())
    }
}

fn file_header(bytes: &[u8]) -> Result<&FileHeader64<Endianness>, Error> {
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(not_a_cubin)?;
    let machine = header.e_machine(header.endian().map_err(not_a_cubin)?).0;
    if machine != EM_CUDA {
        return Err(Error::NotACubin(format!(
            "its ELF machine is {machine}, and that of cubins is {EM_CUDA}"
        )));
    }
    Ok(header)
}

fn not_a_cubin(error: object::Error) -> Error {
    Error::NotACubin(error.to_string())
}

/// The attributes of `.nv.info` that are read here, by NVIDIA's names (EIATTR_*).
mod attribute {
    pub const MAX_THREADS: u8 = 0x05;
    pub const REQNTID: u8 = 0x10;
    pub const KPARAM_INFO: u8 = 0x17;
    pub const CBANK_PARAM_SIZE: u8 = 0x19;
    pub const REGCOUNT: u8 = 0x2f;
    /// Since CUDA 12.1, for parameters that the older form has too few bits for.
    pub const KPARAM_INFO_V2: u8 = 0x45;
}

/// Adds what a `.nv.info.<kernel>` section says. Attributes that are cut short are left out.
fn describe(mut kernel: KernelInfo, info: &[u8]) -> KernelInfo {
    let mut total = None;
    for (attribute, payload) in Attributes(info) {
        match attribute {
            attribute::KPARAM_INFO => kernel.params.extend(param(payload, |packed| packed >> 18)),
            attribute::KPARAM_INFO_V2 => kernel
                .params
                .extend(param(payload, |packed| packed & 0xffff)),
            attribute::CBANK_PARAM_SIZE => total = u16_at(payload, 0).map(u32::from),
            attribute::MAX_THREADS | attribute::REQNTID => kernel.max_threads = shape(payload),
            _ => {}
        }
    }
    kernel.params.sort_by_key(|param| param.ordinal);
    let end = kernel
        .params
        .iter()
        .map(|param| param.offset.saturating_add(param.size))
        .max();
    kernel.param_bytes = total.or(end).unwrap_or_default();
    kernel
}

/// u32 index, u16 ordinal, u16 offset, u32 with the size.
fn param(payload: &[u8], size: fn(u32) -> u32) -> Option<Param> {
    Some(Param {
        ordinal: u16_at(payload, 4)?.into(),
        offset: u16_at(payload, 6)?.into(),
        size: size(u32_at(payload, 8)?),
    })
}

fn shape(payload: &[u8]) -> Option<[u32; 3]> {
    Some([
        u32_at(payload, 0)?,
        u32_at(payload, 4)?,
        u32_at(payload, 8)?,
    ])
}

/// Walks (attribute, payload) pairs: each is a format byte, an attribute byte, and two bytes that are the payload itself,
/// or for format 4 the length of the payload that follows.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([format, attribute, short @ ..], rest) = self.0.split_first_chunk::<4>()?;
        let (payload, rest) = match format {
            4 => rest.split_at_checked(u16::from_le_bytes(*short).into())?,
            _ => (short.as_slice(), rest),
        };
        self.0 = rest;
        Some((*attribute, payload))
    }
}
