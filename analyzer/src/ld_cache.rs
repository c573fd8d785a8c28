// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loader's cache of library paths, `/etc/ld.so.cache`, in the format of glibc 2.2 and later (glibc,
//! `sysdeps/generic/dl-cache.h`).

use std::collections::HashMap;

use goblin::elf::header::{EM_AARCH64, EM_X86_64};

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER_LEN: usize = 48;
const ENTRY_LEN: usize = 24;
/// The file is a few hundred KiB on a full system.
const LARGEST_CACHE: u64 = 64 << 20;

/// Library paths by file name and machine.
#[derive(Debug, Default)]
pub(crate) struct LdCache {
    paths: HashMap<(String, i32), String>,
}

impl LdCache {
    /// The system's, which is empty on systems without one.
    pub fn of_system() -> Self {
        let path = "/etc/ld.so.cache";
        let is_sane = std::fs::metadata(path).is_ok_and(|data| data.len() <= LARGEST_CACHE);
        if is_sane {
            std::fs::read(path)
                .ok()
                .and_then(|bytes| Self::parse(&bytes))
                .unwrap_or_default()
        } else {
            Self::default()
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        // Older systems put a table in an older format before it.
        let start = memchr::memmem::find(bytes, MAGIC)?;
        let cache = bytes.get(start..)?;
        let u32_at = |offset: usize| {
            cache
                .get(offset..)?
                .first_chunk()
                .copied()
                .map(u32::from_le_bytes)
        };
        let string_at = |offset: u32| {
            let rest = cache.get(offset as usize..)?;
            let rest = rest.get(..4096).unwrap_or(rest);
            std::str::from_utf8(rest.get(..memchr::memchr(0, rest)?)?).ok()
        };
        let count = (u32_at(MAGIC.len())? as usize).min(cache.len() / ENTRY_LEN);
        let mut paths = HashMap::new();
        for entry in 0..count {
            let at = HEADER_LEN + entry * ENTRY_LEN;
            let (flags, key, value) = (u32_at(at)?, u32_at(at + 4)?, u32_at(at + 8)?);
            if let (Some(name), Some(path)) = (string_at(key), string_at(value)) {
                // The first of several is the one for the best processor.
                paths
                    .entry((name.to_owned(), flags as i32))
                    .or_insert_with(|| path.to_owned());
            }
        }
        Some(Self { paths })
    }

    /// The path of a library for an ELF machine.
    pub fn find(&self, name: &str, machine: u16) -> Option<&str> {
        // FLAG_ELF_LIBC6, and the flag of the machine.
        let flags = match machine {
            EM_X86_64 => 0x0303,
            EM_AARCH64 => 0x0a03,
            _ => 0x0003,
        };
        self.paths
            .get(&(name.to_owned(), flags))
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(&str, &str, u32)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut table = Vec::new();
        let strings_at = HEADER_LEN + ENTRY_LEN * entries.len();
        for (name, path, flags) in entries {
            let mut add = |text: &str| {
                let at = (strings_at + strings.len()) as u32;
                strings.extend(text.as_bytes());
                strings.push(0);
                at.to_le_bytes()
            };
            table.extend(flags.to_le_bytes());
            table.extend(add(name));
            table.extend(add(path));
            table.extend([0; 12]);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_le_bytes());
        bytes.resize(HEADER_LEN, 0);
        [bytes, table, strings].concat()
    }

    #[test]
    fn a_library_is_found_for_its_machine() {
        let bytes = cache(&[
            ("libx.so.1", "/lib32/libx.so.1", 3),
            ("libx.so.1", "/lib/libx.so.1", 0x303),
        ]);
        let found = LdCache::parse(&bytes).unwrap();
        assert_eq!(found.find("libx.so.1", EM_X86_64), Some("/lib/libx.so.1"));
        assert_eq!(found.find("libx.so.1", EM_AARCH64), None);
        assert_eq!(found.find("liby.so.1", EM_X86_64), None);
    }

    #[test]
    fn a_table_in_the_old_format_may_come_first() {
        let bytes = [
            b"ld.so-1.7.0\0\0\0\0\0".as_slice(),
            &cache(&[("libx.so.1", "/x", 0x303)]),
        ]
        .concat();
        assert_eq!(
            LdCache::parse(&bytes).unwrap().find("libx.so.1", EM_X86_64),
            Some("/x")
        );
    }

    #[test]
    fn a_damaged_cache_gives_what_can_be_read_or_nothing() {
        let bytes = cache(&[("libx.so.1", "/x", 0x303)]);
        for len in 0..bytes.len() {
            let _ = LdCache::parse(&bytes[..len]);
        }
        let mut bytes = bytes;
        bytes[20..24].copy_from_slice(&u32::MAX.to_le_bytes());
        let _ = LdCache::parse(&bytes);
    }
}
