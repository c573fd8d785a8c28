// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error handling.

use std::ffi::c_char;

use vcuda_protocol::Status;

use crate::entry::export;
use crate::{Result, release, thread};

fn reported(last: Status) -> Result<()> {
    match last {
        Status::SUCCESS => Ok(()),
        status => Err(status),
    }
}

export! { reporting:
    /// `cudaGetLastError` — CUDA Runtime API, Error Handling. Also clears an error that later calls
    /// will give again.
    fn cudaGetLastError() {
        reported(thread::with(|t| t.last_error.replace(Status::SUCCESS)))
    }

    /// `cudaPeekAtLastError` — CUDA Runtime API, Error Handling.
    fn cudaPeekAtLastError() {
        reported(thread::with(|t| t.last_error.get()))
    }
}

/// `cudaGetErrorName` — CUDA Runtime API, Error Handling.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cudaGetErrorName(code: u32) -> *const c_char {
    vcuda_api::error::runtime_name(release::inward(code)).as_ptr()
}

/// `cudaGetErrorString` — CUDA Runtime API, Error Handling.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cudaGetErrorString(code: u32) -> *const c_char {
    vcuda_api::error::description(release::inward(code)).as_ptr()
}
