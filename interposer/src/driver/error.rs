// SPDX-License-Identifier: MIT OR Apache-2.0
//! Error handling.

use std::ffi::{CStr, c_char};

use crate::abi::Out;
use crate::entry::export;
use crate::{Result, error};

/// Gives the program a text that lives as long as the library. A code without one gives a null
/// pointer and an error.
fn give(out: Out<*const c_char>, text: Option<&'static CStr>) -> Result<()> {
    out.set(text.map_or(std::ptr::null(), CStr::as_ptr))?;
    text.map(drop).ok_or(error::INVALID_VALUE)
}

export! { driver:
    /// `cuGetErrorName` — CUDA Driver API, Error Handling.
    fn cuGetErrorName(code: u32, out: Out<*const c_char>) {
        give(out, vcuda_api::error::driver_name(code))
    }

    /// `cuGetErrorString` — CUDA Driver API, Error Handling.
    fn cuGetErrorString(code: u32, out: Out<*const c_char>) {
        let known = vcuda_api::error::find(code).filter(|error| error.driver.is_some());
        give(out, known.map(|error| error.description))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the function gives for a code.
    fn ask(
        function: unsafe extern "C" fn(u32, Out<*const c_char>) -> u32,
        code: u32,
    ) -> (u32, Option<&'static CStr>) {
        let mut text = c"untouched".as_ptr();
        // SAFETY: the pointer leads to `text`.
        let status = unsafe { function(code, Out::of(&mut text)) };
        // SAFETY: what the function left is null or one of its static texts.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
        (status, text)
    }

    #[test]
    fn a_code_has_a_name_and_a_description() {
        assert_eq!(
            ask(cuGetErrorName, 218),
            (0, Some(c"CUDA_ERROR_INVALID_PTX"))
        );
        assert_eq!(ask(cuGetErrorString, 0), (0, Some(c"no error")));
    }

    #[test]
    fn a_code_that_the_driver_does_not_have_gives_a_null_pointer_and_an_error() {
        // 98 is cudaErrorInvalidDeviceFunction, which only the Runtime API returns.
        for code in [12345, 98, u32::MAX] {
            assert_eq!(ask(cuGetErrorName, code), (1, None));
            assert_eq!(ask(cuGetErrorString, code), (1, None));
        }
    }
}
