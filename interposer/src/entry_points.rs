// SPDX-License-Identifier: MIT OR Apache-2.0
//! Driver entry points: the functions of the Driver API that names mean.
//!
//! A name that vcuda only has a stub of is found like any other: it is the address that dlsym gives
//! for it. CUDA's own runtime, NCCL and PyTorch look up hundreds of names when they start, refuse to
//! start if one of theirs is missing, and then use few of them; they learn what a device can do from
//! its attributes, which say no to all that the stubs stand for. A program that calls a stub all the
//! same gets an error, and a line on standard error that names the function. With a null pointer it
//! would crash, or go without a word.

use std::ffi::c_void;

use crate::abi::{Out, Text};
use crate::thread::{self, DefaultStream};
use crate::{Result, error, settings, stubs};

/// `CU_GET_PROC_ADDRESS_LEGACY_STREAM`, `CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM`
const LEGACY_STREAM: u64 = 1;
const PER_THREAD_STREAM: u64 = 2;

/// `CUdriverProcAddressQueryResult`
const SUCCESS: u32 = 0;
const SYMBOL_NOT_FOUND: u32 = 1;
const VERSION_NOT_SUFFICIENT: u32 = 2;

/// Looks an entry point up; what became of it, where it was not found.
fn look_up(name: &str, version: u32, per_thread: bool) -> std::result::Result<*const c_void, u32> {
    // Names are looked for without the signs of their generation and stream.
    let (_, suffix) = name.rsplit_once('_').unwrap_or((name, ""));
    if matches!(suffix, "v2" | "v3" | "v4" | "ptsz" | "ptds") {
        return Err(SYMBOL_NOT_FOUND);
    }
    match vcuda_api::driver_entry(name, version, per_thread) {
        Some(function) => stubs::address_of(function.name).ok_or(SYMBOL_NOT_FOUND),
        None => match vcuda_api::driver_entry(name, u32::MAX, per_thread) {
            Some(_) => Err(VERSION_NOT_SUFFICIENT),
            None => Err(SYMBOL_NOT_FOUND),
        },
    }
}

/// Finds the function that a name, a release and flags mean. What is not there is told by `status`
/// and a null pointer, and is no error. Without flags, the caller's own default stream counts.
pub(crate) fn find(
    name: Text,
    out: Out<*const c_void>,
    version: i32,
    flags: u64,
    status: Out<u32>,
) -> Result<()> {
    out.present()?;
    let name = name.get()?;
    if version > settings::NEWEST || flags & !(LEGACY_STREAM | PER_THREAD_STREAM) != 0 {
        return Err(error::INVALID_VALUE);
    }
    // As in the driver, a negative version is newer than any.
    let version = u32::try_from(version).unwrap_or(u32::MAX);
    let per_thread = match flags {
        0 => thread::with(|t| t.default_stream.get()) == DefaultStream::PerThread,
        _ => flags & PER_THREAD_STREAM != 0,
    };
    let found = look_up(name, version, per_thread);
    status.set_if_wanted(found.err().unwrap_or(SUCCESS));
    out.set(found.unwrap_or(std::ptr::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_and_the_flags_choose_among_the_functions_of_a_name() {
        let found = |name, version, per_thread| look_up(name, version, per_thread).unwrap();
        let address = |name| stubs::address_of(name).unwrap();
        assert_eq!(found("cuMemAlloc", 12000, false), address("cuMemAlloc_v2"));
        assert_eq!(found("cuMemAlloc", 2000, false), address("cuMemAlloc"));
        assert_eq!(
            found("cuMemcpyHtoD", 12000, true),
            address("cuMemcpyHtoD_v2_ptds")
        );
        assert_eq!(found("cuInit", 12000, true), address("cuInit"));
    }

    #[test]
    fn a_name_that_is_not_found_says_why() {
        assert_eq!(look_up("cuNo", 12000, false), Err(SYMBOL_NOT_FOUND));
        assert_eq!(look_up("cudaMalloc", 12000, false), Err(SYMBOL_NOT_FOUND));
        assert_eq!(
            look_up("cuMemAlloc_v2", 12000, false),
            Err(SYMBOL_NOT_FOUND)
        );
        assert_eq!(look_up("", 12000, false), Err(SYMBOL_NOT_FOUND));
        assert_eq!(
            look_up("cuLaunchKernelEx", 9000, false),
            Err(VERSION_NOT_SUFFICIENT)
        );
    }

    #[test]
    fn a_stub_is_found_as_dlsym_finds_it() {
        let stub = vcuda_api::find("cuGetExportTable").unwrap();
        assert!(!stub.is_implemented());
        assert_eq!(
            look_up("cuGetExportTable", 12000, false).ok(),
            stubs::address_of("cuGetExportTable")
        );
    }
}
