// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds a CUDA runtime that was linked into a file, and the functions of it that the rest of the file calls.

use std::collections::{BTreeSet, HashMap};

use goblin::elf::header::EM_X86_64;
use memchr::memchr2_iter;

use crate::coverage;
use crate::elf::ElfFile;
use crate::report::StaticRuntime;

/// The runtime is one object file, so all of its functions come along, about 240 in the oldest and 450 in the newest.
/// A file that defines fewer has functions of its own with such names.
const FEWEST_FUNCTIONS: usize = 100;

/// How the file carries functions of the runtime, if it does. `has_runtime` says whether it has the runtime's text.
pub(crate) fn find(elf: &ElfFile, has_runtime: bool) -> Option<StaticRuntime> {
    let mut functions = elf.functions(|name| {
        matches!(
            name,
            [b'c', b'u', b'd', b'a', ..] | [b'_', b'_', b'c', b'u', b'd', b'a', ..]
        )
    });
    if let Some(functions) = &mut functions {
        functions.retain(|(name, _)| coverage::is_runtime_function(name));
    }
    let functions = functions.filter(|found| found.len() >= FEWEST_FUNCTIONS);
    if !has_runtime && functions.is_none() {
        return None;
    }
    let release = functions.iter().flatten().map(|(name, _)| *name);
    let release = coverage::release_with(release);
    let called = functions
        .filter(|_| elf.machine() == EM_X86_64)
        .map(|functions| called(elf, &functions));
    Some(StaticRuntime {
        loads_shared: !has_runtime,
        release,
        called,
    })
}

/// The functions that are the target of a near call or jump (E8, E9) from outside the runtime.
fn called(elf: &ElfFile, functions: &[(&str, u64)]) -> Vec<String> {
    let by_address: HashMap<u64, &str> = functions
        .iter()
        .map(|(name, address)| (*address, *name))
        .collect();
    let first = by_address.keys().min().copied().unwrap_or_default();
    let last = by_address.keys().max().copied().unwrap_or_default();
    let runtime = first..=last;
    let mut called = BTreeSet::new();
    for (start, code) in elf.executable_sections() {
        elf.file().will_scan(code);
        for at in memchr2_iter(0xe8, 0xe9, code) {
            let Some(distance) = code
                .get(at + 1..)
                .and_then(|rest| rest.first_chunk().copied())
            else {
                break;
            };
            let source = start.wrapping_add(at as u64);
            let target = source
                .wrapping_add(5)
                .wrapping_add_signed(i32::from_le_bytes(distance).into());
            if runtime.contains(&target) && !runtime.contains(&source) {
                called.extend(by_address.get(&target));
            }
        }
    }
    called.into_iter().map(str::to_owned).collect()
}
