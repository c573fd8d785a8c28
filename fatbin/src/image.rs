// SPDX-License-Identifier: MIT OR Apache-2.0
use crate::bytes::u32_at;
use crate::{
    Arch, ArchVariant, Container, Cubin, Entry, EntryKind, Error, IsaVersion, containers, ptx,
};

/// What `cuModuleLoadData` accepts: one or more fat binary containers, a cubin, or PTX text.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    entries: Vec<Entry<'a>>,
    /// Where the entries of each container begin.
    parts: Vec<usize>,
}

impl<'a> Image<'a> {
    /// Finds out which kind of image `bytes` is, and lists its entries. Payloads are not touched.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut parts = Vec::new();
        let entries = if u32_at(bytes, 0) == Some(Container::MAGIC) {
            let mut entries = Vec::new();
            for container in containers(bytes) {
                parts.push(entries.len());
                entries.append(&mut container?.entries);
            }
            entries
        } else if bytes.starts_with(b"\x7fELF") {
            let arch = Arch {
                sm: Cubin::parse(bytes)?.sm(),
                variant: ArchVariant::Plain,
            };
            vec![Entry::bare(
                EntryKind::Cubin,
                arch,
                IsaVersion { major: 1, minor: 0 },
                bytes,
            )]
        } else if let Some(header) = ptx::header(bytes) {
            vec![Entry::bare(
                EntryKind::Ptx,
                header.arch,
                header.version,
                ptx::without_padding(bytes),
            )]
        } else {
            return Err(Error::NotAnImage(first_bytes(bytes)));
        };
        if parts.is_empty() {
            parts.push(0);
        }
        Ok(Self { entries, parts })
    }

    /// Everything the image holds, in file order.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// The PTX that a device of the given compute capability (86 for 8.6) would be given: the one with the highest
    /// architecture that runs there. Among equals plain PTX comes before `f` and `a` variants, since it asks for the
    /// fewest special instructions.
    pub fn best_ptx(&self, compute_capability: u32) -> Option<&Entry<'a>> {
        best_ptx(&self.entries, compute_capability)
    }

    /// The PTX that a device of the given compute capability has to link. A program of several translation units
    /// (`nvcc -rdc=true`) has a container with what was linked when it was built, machine code as a rule, and behind it one
    /// for each unit. Where the first has PTX for the device, that is all there is to load; otherwise it is the PTX of each of
    /// the others that has any.
    pub fn ptx_to_link(&self, compute_capability: u32) -> Vec<&Entry<'a>> {
        if let Some(whole) = best_ptx(self.whole(), compute_capability) {
            return vec![whole];
        }
        let ends = self
            .parts
            .iter()
            .copied()
            .skip(1)
            .chain([self.entries.len()]);
        (self.parts.iter().zip(ends))
            .filter_map(|(&start, end)| self.entries.get(start..end))
            .filter_map(|part| best_ptx(part, compute_capability))
            .collect()
    }

    /// The entries of the first container, which is all that a driver looks at unless it has to link.
    pub fn whole(&self) -> &[Entry<'a>] {
        let end = self.parts.get(1).copied().unwrap_or(self.entries.len());
        self.entries.get(..end).unwrap_or_default()
    }
}

fn best_ptx<'e, 'a>(entries: &'e [Entry<'a>], compute_capability: u32) -> Option<&'e Entry<'a>> {
    entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::Ptx && entry.arch.ptx_runs_on(compute_capability))
        .max_by_key(|entry| (entry.arch.sm, std::cmp::Reverse(entry.arch.variant)))
}

fn first_bytes(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing: it is empty".to_owned(),
        [0xb1, 0x43, 0x62, 0x46, ..] => {
            "the wrapper's magic number 0x466243b1; the image is where its data pointer leads"
                .to_owned()
        }
        _ => bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .join(" "),
    }
}
