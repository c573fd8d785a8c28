// SPDX-License-Identifier: MIT OR Apache-2.0
//! `__managed__` variables of machine code.
//!
//! The driver would give a managed variable a place of its own, which the client does not see. Here
//! the client has chosen the place, in memory that both see at one address. Machine code finds a
//! variable by an address that the loader writes where a relocation says so: those relocations are
//! carried out here and taken away, before the driver gets the image.

use std::collections::HashMap;

/// Why an image cannot have its managed variables where they are.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ManagedError {
    #[error("The machine code is damaged: {0} does not lie within it.")]
    Damaged(&'static str),
    #[error("The managed variable {0} is not in the machine code.")]
    Missing(String),
    #[error(
        "The managed variable {variable} is used by a relocation of kind {kind}, which vcuda does not know."
    )]
    Relocation { variable: String, kind: u32 },
}

/// The first value of a managed variable, and where it goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Initial {
    pub(super) address: u64,
    pub(super) bytes: Vec<u8>,
}

/// Relocations that write an address: all of it into constant banks and data (`R_CUDA_64`,
/// `R_CUDA_G64`), or the low or the high half of it into an instruction (`R_CUDA_ABS32_LO_32`,
/// `R_CUDA_ABS32_HI_32`), whose bits 32 to 63 it is. And the one that does nothing.
const WHOLE: [u32; 2] = [0x02, 0x04];
const LOW_HALF: u32 = 0x38;
const HIGH_HALF: u32 = 0x39;
const NOTHING: u64 = 0;

/// ELF section types.
const SYMTAB: u32 = 2;
const RELA: u32 = 4;
const NOBITS: u32 = 8;
const REL: u32 = 9;

struct Section {
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
}

struct Symbol {
    name: String,
    value: u64,
    size: u64,
    section: u16,
}

/// A cubin as bytes, all of whose offsets are checked.
struct Elf<'a>(&'a mut [u8]);

impl Elf<'_> {
    fn number(&self, at: u64, size: usize, what: &'static str) -> Result<u64, ManagedError> {
        let bytes = self.slice(at, size as u64, what)?;
        let low_first = bytes.iter().rev();
        Ok(low_first.fold(0, |n, &byte| n << 8 | u64::from(byte)))
    }

    fn slice(&self, at: u64, len: u64, what: &'static str) -> Result<&[u8], ManagedError> {
        let end = at.checked_add(len).ok_or(ManagedError::Damaged(what))?;
        let range = at as usize..end as usize;
        self.0.get(range).ok_or(ManagedError::Damaged(what))
    }

    fn write(
        &mut self,
        at: u64,
        number: u64,
        size: usize,
        what: &'static str,
    ) -> Result<(), ManagedError> {
        let end = at.checked_add(size as u64);
        let end = end.ok_or(ManagedError::Damaged(what))?;
        let room = self.0.get_mut(at as usize..end as usize);
        let room = room.ok_or(ManagedError::Damaged(what))?;
        room.copy_from_slice(&number.to_le_bytes()[..size]);
        Ok(())
    }

    fn sections(&self) -> Result<Vec<Section>, ManagedError> {
        const WHAT: &str = "the table of sections";
        let table = self.number(0x28, 8, WHAT)?;
        let entry = self.number(0x3a, 2, WHAT)?;
        let count = self.number(0x3c, 2, WHAT)?;
        (0..count)
            .map(|index| {
                let at = table.checked_add(index * entry);
                let at = at.ok_or(ManagedError::Damaged(WHAT))?;
                // As the header of an entry lies within, so do sums of a few bytes.
                self.slice(at, 0x40, WHAT)?;
                Ok(Section {
                    kind: self.number(at + 0x04, 4, WHAT)? as u32,
                    offset: self.number(at + 0x18, 8, WHAT)?,
                    size: self.number(at + 0x20, 8, WHAT)?,
                    link: self.number(at + 0x28, 4, WHAT)? as u32,
                    info: self.number(at + 0x2c, 4, WHAT)? as u32,
                })
            })
            .collect()
    }

    fn symbol(
        &self,
        sections: &[Section],
        table: &Section,
        index: u64,
    ) -> Result<Symbol, ManagedError> {
        const WHAT: &str = "a symbol";
        const ENTRY: u64 = 24;
        if index >= table.size / ENTRY {
            return Err(ManagedError::Damaged(WHAT));
        }
        let at = table.offset.checked_add(index * ENTRY);
        let at = at.ok_or(ManagedError::Damaged(WHAT))?;
        self.slice(at, ENTRY, WHAT)?;
        let names = sections.get(table.link as usize);
        let names = names.ok_or(ManagedError::Damaged(WHAT))?;
        let name = self.number(at, 4, WHAT)?;
        let name = self.slice(
            names.offset.saturating_add(name),
            names.size.saturating_sub(name),
            WHAT,
        )?;
        let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
        Ok(Symbol {
            name: String::from_utf8_lossy(name).into_owned(),
            section: self.number(at + 6, 2, WHAT)? as u16,
            value: self.number(at + 8, 8, WHAT)?,
            size: self.number(at + 16, 8, WHAT)?,
        })
    }
}

/// Has a cubin find its managed variables at these addresses, by their names. Gives their first
/// values.
pub(super) fn place(
    cubin: &mut [u8],
    managed: &HashMap<String, u64>,
) -> Result<Vec<Initial>, ManagedError> {
    let mut elf = Elf(cubin);
    let sections = elf.sections()?;
    let symbols = sections.iter().find(|section| section.kind == SYMTAB);
    let symbols = symbols.ok_or(ManagedError::Damaged("the table of symbols"))?;
    // By index, so that relocations find them.
    let mut variables = HashMap::new();
    for index in 0..symbols.size / 24 {
        let symbol = elf.symbol(&sections, symbols, index)?;
        if let Some(&address) = managed.get(&symbol.name) {
            variables.insert(index, (address, symbol));
        }
    }
    if let Some(missing) = managed
        .keys()
        .find(|name| !variables.values().any(|(_, s)| &s.name == *name))
    {
        return Err(ManagedError::Missing(missing.clone()));
    }
    for section in &sections {
        relocate(&mut elf, &sections, section, &variables)?;
    }
    let mut initial = Vec::new();
    for (address, symbol) in variables.into_values() {
        const WHAT: &str = "the first value of a managed variable";
        let data = sections.get(usize::from(symbol.section));
        let data = data.ok_or(ManagedError::Damaged(WHAT))?;
        if data.kind != NOBITS {
            let at = data.offset.saturating_add(symbol.value);
            let bytes = elf.slice(at, symbol.size, WHAT)?.to_vec();
            initial.push(Initial { address, bytes });
        }
    }
    initial.sort_unstable_by_key(|value| value.address);
    Ok(initial)
}

/// Carries out the relocations of a section that name one of the variables.
fn relocate(
    elf: &mut Elf<'_>,
    sections: &[Section],
    section: &Section,
    variables: &HashMap<u64, (u64, Symbol)>,
) -> Result<(), ManagedError> {
    const WHAT: &str = "a relocation";
    let entry = match section.kind {
        REL => 16,
        RELA => 24,
        _ => return Ok(()),
    };
    let target = sections.get(section.info as usize);
    for index in 0..section.size / entry {
        let at = section.offset.checked_add(index * entry);
        let at = at.ok_or(ManagedError::Damaged(WHAT))?;
        elf.slice(at, entry, WHAT)?;
        let info = elf.number(at + 8, 8, WHAT)?;
        let (symbol, kind) = (info >> 32, info as u32);
        let Some((address, variable)) = variables.get(&symbol) else {
            continue;
        };
        let (skip, size) = match kind {
            LOW_HALF | HIGH_HALF => (4, 4),
            kind if WHOLE.contains(&kind) => (0, 8),
            kind => {
                let variable = variable.name.clone();
                return Err(ManagedError::Relocation { variable, kind });
            }
        };
        let target = target.ok_or(ManagedError::Damaged(WHAT))?;
        let offset = elf.number(at, 8, WHAT)?;
        let place = target.offset.checked_add(offset);
        let place = place.and_then(|place| place.checked_add(skip));
        let place = place.ok_or(ManagedError::Damaged(WHAT))?;
        let addend = match section.kind {
            RELA => elf.number(at + 16, 8, WHAT)?,
            _ => elf.number(place, size, WHAT)?,
        };
        let value = address.wrapping_add(addend);
        let value = if kind == HIGH_HALF {
            value >> 32
        } else {
            value
        };
        elf.write(place, value, size, WHAT)?;
        elf.write(at + 8, symbol << 32 | NOTHING, 8, WHAT)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A cubin with a constant bank of two addresses, one of them of the variable `v`, whose first
    /// value is 5.
    fn cubin(kind: u32) -> Vec<u8> {
        let mut bytes = vec![0u8; 0x400];
        let mut put = |at: usize, value: u64, len: usize| {
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        };
        put(0x28, 0x200, 8);
        put(0x3a, 0x40, 2);
        put(0x3c, 6, 2);
        let mut section =
            |index: usize, kind: u32, offset: u64, size: u64, link: u32, info: u32| {
                let at = 0x200 + index * 0x40;
                put(at + 4, kind.into(), 4);
                put(at + 0x18, offset, 8);
                put(at + 0x20, size, 8);
                put(at + 0x28, link.into(), 4);
                put(at + 0x2c, info.into(), 4);
            };
        section(1, SYMTAB, 0x40, 72, 2, 0);
        section(2, 3, 0x90, 8, 0, 0);
        section(3, RELA, 0xa0, 48, 1, 4);
        section(4, 1, 0xe0, 16, 0, 0);
        section(5, 1, 0xf0, 8, 0, 0);
        let mut put = |at: usize, value: u64, len: usize| {
            bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
        };
        put(0x91, u64::from(b'v'), 1);
        put(0x93, u64::from(b'w'), 1);
        for (symbol, name, value) in [(1, 1, 4), (2, 3, 0)] {
            put(0x40 + symbol * 24, name, 4);
            put(0x40 + symbol * 24 + 6, 5, 2);
            put(0x40 + symbol * 24 + 8, value, 8);
            put(0x40 + symbol * 24 + 16, 4, 8);
        }
        put(0xa0, 8, 8);
        put(0xa8, 1 << 32 | u64::from(kind), 8);
        put(0xb0, 3, 8);
        put(0xb8, 0, 8);
        put(0xc0, 2 << 32 | u64::from(kind), 8);
        put(0xf4, 5, 4);
        bytes
    }

    fn named() -> HashMap<String, u64> {
        HashMap::from([("v".to_owned(), 0x2000_0000_1000)])
    }

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn addresses_of_managed_variables_are_written_and_others_left() {
        let mut image = cubin(2);
        let initial = place(&mut image, &named()).unwrap();
        assert_eq!(initial.len(), 1);
        assert_eq!(initial[0].address, 0x2000_0000_1000);
        assert_eq!(initial[0].bytes, [5, 0, 0, 0]);
        assert_eq!(number(&image, 0xe8), 0x2000_0000_1003);
        assert_eq!(number(&image, 0xa8), 1 << 32);
        assert_eq!(
            (number(&image, 0xe0), number(&image, 0xc0)),
            (0, 2 << 32 | 2)
        );
    }

    #[test]
    fn instructions_take_halves_of_an_address() {
        for (kind, half) in [(LOW_HALF, 0x1003), (HIGH_HALF, 0x2000)] {
            let mut image = cubin(kind);
            place(&mut image, &named()).unwrap();
            assert_eq!(number(&image, 0xe8), half << 32);
        }
    }

    #[test]
    fn a_relocation_that_is_not_known_is_refused() {
        let refused = place(&mut cubin(0x3a), &named()).unwrap_err();
        let kind = 0x3a;
        let variable = "v".to_owned();
        assert_eq!(refused, ManagedError::Relocation { variable, kind });
    }

    #[test]
    fn a_variable_that_is_not_there_is_named() {
        let refused = place(&mut cubin(2), &HashMap::from([("x".to_owned(), 1)]));
        assert_eq!(refused.unwrap_err(), ManagedError::Missing("x".into()));
    }

    proptest! {
        #[test]
        fn damaged_images_do_no_harm(at in 0usize..0x400, byte: u8, cut in 0usize..0x401) {
            let mut image = cubin(2);
            image[at] = byte;
            image.truncate(cut);
            let _ = place(&mut image, &named());
        }
    }
}
