// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error handling.

use std::ffi::c_char;

use vcuda_protocol::Status;

use crate::entry::export;
use crate::{contexts, numbering, session, thread};

/// The calling thread's last error.
fn last() -> Status {
    thread::with(|t| t.last_error.get())
}

/// Whether the current device is lost to this process with this very error: nothing clears it but
/// a reset of the device.
fn is_sticky(status: Status) -> bool {
    // Asked first, because asking for the device may start a session.
    session::running().is_some_and(|session| {
        contexts::current().is_ok_and(|device| session.sticky_error(device.wire) == Some(status))
    })
}

export! { reporting:
    /// `cudaGetLastError` — CUDA Runtime API, Error Handling.
    fn cudaGetLastError() {
        let status = last();
        if status.is_success() {
            return Ok(());
        }
        if !is_sticky(status) {
            thread::with(|t| t.last_error.set(Status::SUCCESS));
        }
        Err(status)
    }

    /// `cudaPeekAtLastError` — CUDA Runtime API, Error Handling.
    fn cudaPeekAtLastError() {
        match last() {
            Status::SUCCESS => Ok(()),
            status => Err(status),
        }
    }
}

/// `cudaGetErrorName` — CUDA Runtime API, Error Handling.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cudaGetErrorName(code: u32) -> *const c_char {
    vcuda_api::error::runtime_name(numbering::inward(code)).as_ptr()
}

/// `cudaGetErrorString` — CUDA Runtime API, Error Handling.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cudaGetErrorString(code: u32) -> *const c_char {
    vcuda_api::error::description(numbering::inward(code)).as_ptr()
}
