// SPDX-License-Identifier: MIT OR Apache-2.0
//! Structures of the Runtime API as they are laid out in NVIDIA's headers, for tests to compare
//! with. `tests/measure_layouts.sh` makes the table from the headers of each release.

use std::collections::BTreeMap;

const MEASURED: &str = include_str!("../../tests/data/struct_layouts.tsv");

/// Offset of each field, by its name in C, and the size of the structure, under the name "".
pub(crate) fn measured(structure: &str, release: &str) -> BTreeMap<&'static str, usize> {
    MEASURED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut cells = line.split('\t');
            let (s, r) = (cells.next()?, cells.next()?);
            let (field, offset) = (cells.next()?, cells.next()?.parse().ok()?);
            (s == structure && r == release).then_some((field, offset))
        })
        .collect()
}

/// Fails where a structure differs from that of a release in its size, in a field's offset, or in
/// which fields it has.
pub(crate) fn assert_layout(
    structure: &str,
    release: &str,
    size: usize,
    fields: &[(&'static str, usize)],
) {
    let ours: BTreeMap<_, _> = fields.iter().copied().chain([("", size)]).collect();
    assert_eq!(
        ours,
        measured(structure, release),
        "{structure} of {release}"
    );
}

/// Names in C and offsets of a structure's fields.
macro_rules! offsets {
    ($type:ty: $($name:literal $($field:ident).+),* $(,)?) => {
        [$(($name, std::mem::offset_of!($type, $($field).+))),*]
    };
}

pub(crate) use offsets;
