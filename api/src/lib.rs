// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one list of CUDA functions: their names, the releases that have them, and whether vcuda implements them.
//!
//! The exports and the stubs of `libvcuda.so`, the verdicts of `vcuda analyze` and the names in a trace all come from
//! this list, so that they cannot disagree. It is a text file, `functions.tsv`, that people edit; a second one,
//! `errors.tsv`, holds the error codes. Both become static tables when the crate is built, so nothing is parsed at run
//! time. The crate knows names and numbers only: it must never know an argument, a device or a file format.
//!
//! ```
//! use vcuda_api::{Library, error, find, id, name};
//!
//! let malloc = find("cudaMalloc").expect("every libcudart has it");
//! assert_eq!(malloc.library, Library::Runtime);
//! assert_eq!(malloc.id, id::cudaMalloc);
//! assert_eq!(name(id::cudaMalloc), "cudaMalloc");
//! assert_eq!(error::description(error::OUT_OF_MEMORY), c"out of memory");
//! ```

#![warn(missing_docs)]

pub mod error;
mod function;
mod version;

pub use function::{
    Function, FunctionId, Library, Meaning, Returns, Status, TABLE_HASH, all, driver_entry, find,
    id, name,
};
pub use version::{NODES, Node, Version};
