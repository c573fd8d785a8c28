// SPDX-License-Identifier: MIT OR Apache-2.0
//! The exports of libvcuda.so: stubs for what is not implemented, and the addresses of everything.
//!
//! The list of CUDA functions (`functions.tsv` in the crate `vcuda-api`) decides; `build.rs` generates the rest.
//!
//! # Writing a body
//! Set the status of the name in the table to `implemented`, and write the function:
//!
//! - A name that never changed (its `nodes` are `-`) is a C function of that name, `#[unsafe(no_mangle)]`, as
//!   [`entry::export`] makes it. The `_ptsz` or `_ptds` twin is a name of its own.
//! - A name that changed has a body per meaning, named after the oldest version node that has the meaning: with
//!   `nodes` of `9.0 10.0 11.0 13` those are `cudaGetDeviceProperties__v9`, `__v10`, `__v11` and `__v13`, of which
//!   `__v11` serves the nodes libcudart.so.11.0 and libcudart.so.12. A minor number that is not zero is kept:
//!   `cudaStreamBeginCapture__v10_1`. Do not write a function with the plain name: the versioned exports are made here.
//!
//! The constants of `vcuda_api::id` number the bodies like the names: `id::cudaGetDeviceProperties__v11` is
//! `id::cudaGetDeviceProperties`. A body that is missing is a link error; one whose status is still `stub` is a compile
//! error (its symbol is then there twice).

use std::ffi::c_void;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use vcuda_api::{FunctionId, Library, Returns, error};
use vcuda_protocol::Status;

use crate::entry;
use crate::thread::DefaultStream;

/// The address of the function that is exported as `name`. Of a name that changed, its newest meaning.
pub(crate) fn address_of(name: &str) -> Option<*const c_void> {
    let function = vcuda_api::find(name)?;
    let address = ADDRESSES.get(usize::from(function.id.number()))?;
    Some(address.0)
}

/// The address of an exported function.
struct Address(*const c_void);

// SAFETY: the address of code, which never changes and is not read through this pointer.
unsafe impl Sync for Address {}

/// Says, at the first call of the function, that there is only a stub of it.
#[cold]
fn not_implemented(id: FunctionId, said: &AtomicBool) {
    if said.swap(true, Ordering::Relaxed) {
        return;
    }
    let function = id.function();
    let consequence = match function.returns {
        Returns::Error { unless_implemented } => {
            let name = match function.library {
                Library::Runtime => Some(error::runtime_name(unless_implemented)),
                Library::Driver => error::driver_name(unless_implemented),
            };
            let name = name.map_or("error".into(), |name| name.to_string_lossy());
            format!("it returns {name} ({unless_implemented})")
        }
        Returns::Void => "the call has no effect".to_owned(),
        Returns::Pointer | Returns::String => "it returns a null pointer".to_owned(),
        Returns::Flag => "it returns 0".to_owned(),
        Returns::Channel => "it returns a description that holds nothing".to_owned(),
    };
    let name = function.name;
    let hint = match name {
        // What a program sees that was built as nvcc does it by default.
        "cuGetExportTable" => {
            " It is called by a CUDA runtime that is linked in statically: link the program with `--cudart shared`."
        }
        _ => "",
    };
    // A program may have closed its standard error, and then there is nobody to tell.
    let _ = writeln!(
        std::io::stderr(),
        "vcuda: {name} is not implemented; {consequence}.{hint}"
    );
}

/// An exported function that does nothing but say so. It takes no notice of its arguments, which the C calling
/// convention allows: the caller removes them.
macro_rules! stub {
    ($name:ident returns $library:ident error $code:literal) => {
        stub!($name, u32, |id: FunctionId| {
            entry::$library(id.number(), DefaultStream::Legacy, || Err(Status($code)))
        });
    };
    ($name:ident returns nothing) => {
        stub!($name, (), |_| ());
    };
    ($name:ident returns pointer) => {
        stub!($name, *const c_void, |_| std::ptr::null());
    };
    ($name:ident returns flag) => {
        stub!($name, std::ffi::c_char, |_| 0);
    };
    ($name:ident, $type:ty, $result:expr) => {
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)]
        extern "C" fn $name() -> $type {
            static SAID: AtomicBool = AtomicBool::new(false);
            not_implemented(vcuda_api::id::$name, &SAID);
            $result(vcuda_api::id::$name)
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/exports.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_of_the_table_has_an_address() {
        for function in vcuda_api::all() {
            let address = address_of(function.name);
            assert!(
                address.is_some_and(|address| !address.is_null()),
                "{}",
                function.name
            );
        }
    }

    #[test]
    fn a_name_that_is_no_cuda_function_has_no_address() {
        assert_eq!(address_of("cudaMallocEverything"), None);
    }
}
