// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reader for the images that CUDA programs carry: fat binaries, cubins and PTX text.
//!
//! `cuModuleLoadData` accepts any of the three, and `__cudaRegisterFatBinary` always hands over the first; [`Image::parse`]
//! takes them all and presents what it finds as a list of [`Entry`]. Payloads are decompressed on demand and within a
//! limit. Kernel parameter layouts come from the `.nv.info` sections of a cubin ([`Cubin::kernels`]) or from a light scan
//! of PTX text ([`ptx::kernels`]).
//!
//! This crate must never know who is asking: neither devices, nor sessions, nor the PTX language beyond its entry
//! declarations. Its input comes from a guest, so every offset and size is checked before use, and nothing in here
//! panics, recurses, or allocates more than the input or the caller's limit allows.
//!
//! ```
//! use vcuda_fatbin::{EntryKind, Image};
//!
//! let text = b".version 8.0\n.target sm_80\n.address_size 64\n\
//!              .visible .entry scale(.param .u64 data, .param .f32 factor) { ret; }\n";
//! let image = Image::parse(text)?;
//! let entry = image.best_ptx(86).expect("sm_80 PTX runs on a device of compute capability 8.6");
//! assert_eq!(entry.kind, EntryKind::Ptx);
//!
//! let kernels = entry.kernels()?;
//! assert_eq!(kernels[0].name, "scale");
//! assert_eq!((kernels[0].params[1].offset, kernels[0].param_bytes), (8, 12));
//! # Ok::<(), vcuda_fatbin::Error>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod bytes;
mod compression;
mod container;
mod cubin;
mod entry;
mod error;
mod image;
mod kernel;
pub mod ptx;

pub use compression::Compression;
pub use container::{Container, containers, containers_through};
pub use cubin::Cubin;
pub use entry::{Arch, ArchVariant, DEFAULT_PAYLOAD_LIMIT, Entry, EntryKind, IsaVersion};
pub use error::Error;
pub use image::Image;
pub use kernel::{KernelInfo, Param};
