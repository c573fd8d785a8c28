// SPDX-License-Identifier: MIT OR Apache-2.0
//! What libvcuda.so does about a function. This is the only place that asks the list of functions.

use serde::Serialize;

use crate::library::Library;

/// What libvcuda.so does about an imported function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does its work.
    Implemented,
    /// It exports it; a call prints the name and returns an error.
    Stub,
    /// It does not export it: the list of functions does not have this name with this version.
    Unknown,
    /// The function belongs to a library that vcuda does not stand in for.
    NotSupplied,
}

/// What happens to an import of `name` from `library`, with the version node it asks for if it asks for one.
pub(crate) fn status(library: Library, name: &str, node: Option<&str>) -> Status {
    if !library.is_supplied() {
        return Status::NotSupplied;
    }
    let Some(function) = vcuda_api::find(name) else {
        return Status::Unknown;
    };
    // A name whose meaning changed is exported once for each version node that it was ever in.
    let has_meanings = !function.meanings.is_empty();
    if has_meanings && node.is_some_and(|node| function.meaning_in(node).is_none()) {
        Status::Unknown
    } else if function.is_implemented() {
        Status::Implemented
    } else {
        Status::Stub
    }
}

/// Whether `name` is a function of the Runtime API, of any version.
pub(crate) fn is_runtime_function(name: &str) -> bool {
    vcuda_api::find(name).is_some_and(|function| function.library == vcuda_api::Library::Runtime)
}

/// The oldest release that has all of these runtime functions, such as `12.8`.
pub(crate) fn release_with<'n>(functions: impl Iterator<Item = &'n str>) -> Option<String> {
    let first = functions
        .filter_map(vcuda_api::find)
        .map(|function| function.first);
    first.max().map(|release| release.to_string())
}
