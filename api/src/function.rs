// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of functions and the ways to look into it.

use crate::version::{NODES, Node, Version};

include!(concat!(env!("OUT_DIR"), "/functions.rs"));

/// A function of the CUDA Runtime or Driver API, as a library exports it.
#[derive(Debug)]
pub struct Function {
    /// Its number.
    pub id: FunctionId,
    /// The exported name; a driver function's with its `_v2`, and both libraries' with `_ptsz` or `_ptds` for the twin
    /// whose default stream is the calling thread's own.
    pub name: &'static str,
    /// The library that exports it.
    pub library: Library,
    /// The oldest release that has it.
    pub first: Version,
    /// The newest libcudart that has it. `None` for the driver, which never drops a name.
    pub last: Option<Version>,
    /// Whether libvcuda.so does the work.
    pub status: Status,
    /// What it returns.
    pub returns: Returns,
    /// The meanings that the name has had, oldest first; none if it has only ever had one.
    pub meanings: &'static [Meaning],
}

/// The library that exports a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    /// libcudart
    Runtime,
    /// libcuda.so.1
    Driver,
}

/// Whether libvcuda.so does a function's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It does.
    Implemented,
    /// It exports the name, says on standard error that the function is missing, and returns an error.
    Stub,
}

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Returns {
    /// `cudaError_t` or `CUresult`.
    Error {
        /// The code that the stub returns.
        unless_implemented: u32,
    },
    /// Nothing.
    Void,
    /// A pointer to something opaque.
    Pointer,
    /// `const char *`
    String,
    /// `char`: zero says that nothing was done.
    Flag,
    /// `struct cudaChannelFormatDesc`, by value.
    Channel,
}

/// The number of a function: its place in the table of this build. Two builds with the same [`TABLE_HASH`] number the
/// functions alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(u16);

impl FunctionId {
    /// The function with this number, or `None` if there is none.
    pub fn new(number: u16) -> Option<Self> {
        (usize::from(number) < FUNCTIONS.len()).then_some(Self(number))
    }

    /// The number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The function.
    pub fn function(self) -> &'static Function {
        // In range: `new` checks, and the constants are made with the table.
        &FUNCTIONS[usize::from(self.0)]
    }

    /// The function's name.
    pub fn name(self) -> &'static str {
        self.function().name
    }
}

/// Every function, sorted by name.
pub fn all() -> &'static [Function] {
    &FUNCTIONS
}

/// The function that is exported under `name`.
pub fn find(name: &str) -> Option<&'static Function> {
    let index = FUNCTIONS
        .binary_search_by(|function| function.name.cmp(name))
        .ok()?;
    FUNCTIONS.get(index)
}

/// The name of the function with this number.
pub fn name(id: FunctionId) -> &'static str {
    id.name()
}

/// The driver function that `cuGetProcAddress(base, version, flags)` means: of the signatures that the name has had,
/// the newest that the release `version` (CUDA's number, e.g. 12090) knew. With `per_thread`, the twin whose default
/// stream is the thread's own, where there is one. (CUDA Driver API, section 6.35, Driver Entry Point Access.)
///
/// ```
/// use vcuda_api::driver_entry;
///
/// let named = |version, per_thread| driver_entry("cuMemcpyHtoD", version, per_thread).map(|f| f.name);
/// assert_eq!(named(13000, false), Some("cuMemcpyHtoD_v2"));
/// assert_eq!(named(13000, true), Some("cuMemcpyHtoD_v2_ptds"));
/// assert_eq!(named(2000, false), Some("cuMemcpyHtoD"));
/// assert_eq!(named(1000, false), None);
/// ```
pub fn driver_entry(base: &str, version: u32, per_thread: bool) -> Option<&'static Function> {
    // CUDA 12 gave this name to a function that already had another one.
    let base = match base {
        "cuGraphInstantiate" if version >= 12000 => "cuGraphInstantiateWithFlags",
        other => other,
    };
    let known = |name: &str| {
        find(name).filter(|function| {
            function.library == Library::Driver && function.first.number() <= version
        })
    };
    // No name has had more than four signatures; the table's tests see to it that this stays enough.
    let newest = ["_v4", "_v3", "_v2", ""]
        .into_iter()
        .find_map(|generation| known(&format!("{base}{generation}")))?;
    let twin = ["_ptds", "_ptsz"]
        .into_iter()
        .find_map(|twin| known(&format!("{}{twin}", newest.name)));
    Some(twin.filter(|_| per_thread).unwrap_or(newest))
}

/// One meaning of a runtime name whose signature or structures changed between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The oldest version node with this meaning.
    pub since: Version,
    /// The symbol of the body that implements it: the name, `__v`, and the oldest node, whose minor number is left out
    /// if it is zero. `cudaGetDeviceProperties__v11`, `cudaStreamBeginCapture__v10_1`.
    pub symbol: &'static str,
    /// The version that it ends before.
    before: Version,
}

impl Meaning {
    /// The version nodes with this meaning, oldest first; at least one.
    pub fn nodes(&self) -> &'static [Node] {
        let start = NODES.partition_point(|node| node.version < self.since);
        let end = NODES.partition_point(|node| node.version < self.before);
        NODES.get(start..end).unwrap_or_default()
    }
}

impl Function {
    /// Whether libvcuda.so does its work.
    pub fn is_implemented(&self) -> bool {
        self.status == Status::Implemented
    }

    /// Whether the release has it.
    pub fn is_in(&self, version: Version) -> bool {
        self.first <= version && self.last.is_none_or(|last| version <= last)
    }

    /// What the name means to a program that asks for it in this version node (`libcudart.so.12`). `None` if the node
    /// does not have it, and if it has only one meaning.
    pub fn meaning_in(&self, soname: &str) -> Option<&'static Meaning> {
        let node = Node::named(soname)?;
        self.meanings
            .iter()
            .find(|meaning| meaning.nodes().contains(node))
    }

    /// The symbols of the bodies that implement it: its own name, or one per meaning, oldest first.
    pub fn bodies(&self) -> impl DoubleEndedIterator<Item = &'static str> + use<> {
        let own = self.meanings.is_empty().then_some(self.name);
        self.meanings
            .iter()
            .map(|meaning| meaning.symbol)
            .chain(own)
    }
}
