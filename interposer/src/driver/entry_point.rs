// SPDX-License-Identifier: MIT OR Apache-2.0
//! Driver entry point access.

use std::ffi::c_void;

use crate::abi::{Out, Text};
use crate::entry::export;
use crate::entry_points::find;

export! { driver:
    /// `cuGetProcAddress` — CUDA Driver API 11.3, Driver Entry Point Access.
    fn cuGetProcAddress(name: Text, out: Out<*const c_void>, version: i32, flags: u64) {
        find(name, out, version, flags, Out::null())
    }

    /// `cuGetProcAddress_v2` — CUDA Driver API 12.0, Driver Entry Point Access. `status` may be
    /// null.
    fn cuGetProcAddress_v2(
        name: Text, out: Out<*const c_void>, version: i32, flags: u64, status: Out<u32>,
    ) {
        find(name, out, version, flags, status)
    }
}
