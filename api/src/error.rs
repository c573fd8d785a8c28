// SPDX-License-Identifier: MIT OR Apache-2.0
//! The error codes, which `cudaError_t` and `CUresult` share, as constants and with their names and descriptions.
//!
//! A code that both APIs name has a constant for each name: `OUT_OF_MEMORY` and `MEMORY_ALLOCATION` are both 2.
//!
//! ```
//! use vcuda_api::error;
//!
//! assert_eq!(error::runtime_name(error::NOT_READY), c"cudaErrorNotReady");
//! assert_eq!(error::driver_name(error::NOT_READY), Some(c"CUDA_ERROR_NOT_READY"));
//! // libcudart 9.0 to 10.0 counted differently.
//! assert_eq!(error::before_10_1(error::NOT_READY), 34);
//! ```

use std::ffi::CStr;

include!(concat!(env!("OUT_DIR"), "/errors.rs"));

/// An error code of CUDA 13.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// The number, from CUDA 10.1 on.
    pub code: u32,
    /// Its name in `cudaError_t`, if it is one.
    pub runtime: Option<&'static CStr>,
    /// Its name in `CUresult`, if it is one.
    pub driver: Option<&'static CStr>,
    /// The number that libcudart 9.0 to 10.0 used.
    pub before_10_1: Option<u32>,
    /// A short phrase without a full stop.
    pub description: &'static CStr,
}

/// What CUDA says of a code that it does not know.
const UNRECOGNIZED: &CStr = c"unrecognized error code";

/// `cudaErrorUnknown` of libcudart 9.0 to 10.0.
const UNKNOWN_BEFORE_10_1: u32 = 30;

/// Every error code, in ascending order.
pub fn all() -> &'static [ErrorCode] {
    &ERRORS
}

/// The entry of a code.
pub fn find(code: u32) -> Option<&'static ErrorCode> {
    let index = ERRORS
        .binary_search_by_key(&code, |error| error.code)
        .ok()?;
    ERRORS.get(index)
}

/// What `cudaGetErrorName` returns: never null, whatever the code.
pub fn runtime_name(code: u32) -> &'static CStr {
    find(code)
        .and_then(|error| error.runtime)
        .unwrap_or(UNRECOGNIZED)
}

/// What `cuGetErrorName` stores, or `None` where it returns `CUDA_ERROR_INVALID_VALUE`.
pub fn driver_name(code: u32) -> Option<&'static CStr> {
    find(code).and_then(|error| error.driver)
}

/// What `cudaGetErrorString` returns: never null, whatever the code.
pub fn description(code: u32) -> &'static CStr {
    find(code).map_or(UNRECOGNIZED, |error| error.description)
}

/// The number that a program linked with libcudart 9.0 to 10.0 expects for `code`; that of `cudaErrorUnknown` for an
/// error that those releases did not have.
pub fn before_10_1(code: u32) -> u32 {
    find(code)
        .and_then(|error| error.before_10_1)
        .unwrap_or(UNKNOWN_BEFORE_10_1)
}

/// The code that libcudart 9.0 to 10.0 called `number`.
pub fn from_before_10_1(number: u32) -> Option<u32> {
    ERRORS
        .iter()
        .find(|error| error.before_10_1 == Some(number))
        .map(|error| error.code)
}
