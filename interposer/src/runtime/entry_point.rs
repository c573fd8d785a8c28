// SPDX-License-Identifier: MIT OR Apache-2.0
//! Driver entry point access.

use std::ffi::c_void;

use crate::abi::{Out, Text};
use crate::entry::export;
use crate::{contexts, entry_points};

/// `cudaGetDriverEntryPoint` — CUDA Runtime API 12.0, Driver Entry Point Access: the function that the newest release of the
/// program's libcudart knows. `status` may be null.
macro_rules! of_release {
    ($($name:ident / $twin:ident: $version:literal),* $(,)?) => {
        export! { runtime: $(
            fn $name / $twin(name: Text, out: Out<*const c_void>, flags: u64, status: Out<u32>) {
                contexts::initialize()?;
                entry_points::find(name, out, $version, flags, status)
            }
        )* }
    };
}

of_release! {
    cudaGetDriverEntryPoint__v12 / cudaGetDriverEntryPoint_ptsz__v12: 12090,
    cudaGetDriverEntryPoint__v13 / cudaGetDriverEntryPoint_ptsz__v13: 13000,
}

export! { runtime:
    /// `cudaGetDriverEntryPoint` — CUDA Runtime API 11.3 to 11.8, Driver Entry Point Access.
    fn cudaGetDriverEntryPoint__v11 / cudaGetDriverEntryPoint_ptsz__v11(
        name: Text, out: Out<*const c_void>, flags: u64,
    ) {
        contexts::initialize()?;
        entry_points::find(name, out, 11080, flags, Out::null())
    }

    /// `cudaGetDriverEntryPointByVersion` — CUDA Runtime API 12.5, Driver Entry Point Access. `status`
    /// may be null.
    fn cudaGetDriverEntryPointByVersion / cudaGetDriverEntryPointByVersion_ptsz(
        name: Text, out: Out<*const c_void>, version: u32, flags: u64, status: Out<u32>,
    ) {
        contexts::initialize()?;
        let version = i32::try_from(version).unwrap_or(i32::MAX);
        entry_points::find(name, out, version, flags, status)
    }
}
