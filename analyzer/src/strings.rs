// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a file's strings say about how it uses CUDA.

use memchr::memmem;

use crate::elf::{ElfFile, Undefined};
use crate::library::Library;

/// What both kinds of string have in them, so that one pass finds both.
const COMMON: &[u8] = b"cuda";
/// What stands before it in the names of CUDA's libraries.
const LIBRARY: &[u8] = b"lib";
/// Every libcudart, static or shared, names its shared memory `/cudart.shm.` and some numbers; the stubs that load libcudart
/// at the first call do not.
const RUNTIME: &[u8] = b"cudart.shm.";

/// No name of a CUDA library is longer.
const LONGEST_NAME: usize = 64;
/// No program knows more of them.
const MOST_NAMES: usize = 32;
/// Strings are searched for in this much read-only data, which is more than any program has, and bounds the time for files
/// that were made to take long.
const MOST_SEARCHED: usize = 256 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Strings {
    /// Names of CUDA libraries, sorted.
    pub libraries: Vec<String>,
    /// Whether the text of a CUDA runtime is among them.
    pub has_runtime: bool,
}

/// Searches the read-only data of files that can open libraries by name: in others these strings mean nothing.
pub(crate) fn find(elf: &ElfFile, undefined: &[Undefined]) -> Strings {
    let mut found = Strings::default();
    if !undefined.iter().any(|symbol| symbol.name == "dlopen") {
        return found;
    }
    let mut left = MOST_SEARCHED;
    for data in elf.read_only_data() {
        let data = data.get(..left).unwrap_or(data);
        left -= data.len();
        elf.file().will_scan(data);
        for at in memmem::find_iter(data, COMMON) {
            let Some((before, text)) = data.split_at_checked(at) else {
                continue;
            };
            found.has_runtime |= before.ends_with(b"/") && text.starts_with(RUNTIME);
            let Some(start) = before.strip_suffix(LIBRARY).map(<[u8]>::len) else {
                continue;
            };
            let text = data.get(start..).unwrap_or_default();
            let text = text.get(..LONGEST_NAME).unwrap_or(text);
            let name = text
                .split(|byte| *byte == 0)
                .next()
                .and_then(|name| std::str::from_utf8(name).ok());
            let name = name.filter(|name| Library::of_file_name(name).is_some());
            let is_new = |name: &&str| !found.libraries.iter().any(|known| known == name);
            // A file made of nothing but such names must not fill the memory with them.
            if found.libraries.len() < MOST_NAMES
                && let Some(name) = name.filter(is_new)
            {
                found.libraries.push(name.to_owned());
            }
        }
    }
    found.libraries.sort_unstable();
    found
}
