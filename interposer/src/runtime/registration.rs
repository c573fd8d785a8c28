// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the code that nvcc and clang generate calls before main: registration of fat binaries,
//! kernels and variables (prototypes: crt/host_runtime.h of the toolkit).
//!
//! Nothing here starts a session or loads a module; that happens when something is first used.

use std::ffi::{c_char, c_int, c_void};

use crate::images::FatBinaryWrapper;
use crate::modules;
use crate::{contexts, entry};

/// `void **__cudaRegisterFatBinary(void *)`
///
/// # Safety
/// The argument is null or points to a fat binary wrapper.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __cudaRegisterFatBinary(
    wrapper: *const FatBinaryWrapper,
) -> *mut c_void {
    // SAFETY: by this function's contract.
    unsafe { modules::register_fat_binary(wrapper) }
}

/// `void __cudaRegisterFatBinaryEnd(void **)`: all kernels and variables of the fat binary are
/// registered. They are looked up by name when they are used, so there is nothing to complete.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaRegisterFatBinaryEnd(_binary: *mut c_void) {}

/// `void __cudaUnregisterFatBinary(void **)`: called from an exit handler, and when a plugin is
/// unloaded. Other threads may still launch, and CUDA functions may follow in later handlers, so
/// the registration stays; the device memory goes with the process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaUnregisterFatBinary(_binary: *mut c_void) {}

/// `char __cudaInitModule(void **)`: loads the module now, because the program is about to use its
/// managed variables. Zero: it did not load, and the program will call again.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaInitModule(binary: *mut c_void) -> c_char {
    let api = vcuda_api::id::__cudaInitModule.number();
    let status = entry::runtime(api, crate::thread::DefaultStream::Legacy, || {
        modules::binary(binary)?
            .module(contexts::active()?)
            .map(drop)
    });
    c_char::from(status == 0)
}

/// `void __cudaRegisterFunction(...)`: kernel `name` of the fat binary is launched by the address
/// of its host stub.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaRegisterFunction(
    binary: *mut c_void,
    host: *const c_void,
    _device: *mut c_char,
    name: *const c_char,
    _thread_limit: c_int,
    _tid: *mut c_void,
    _bid: *mut c_void,
    _block: *mut c_void,
    _grid: *mut c_void,
    _warp: *mut c_int,
) {
    modules::register_function(binary, host, name);
}

/// `void __cudaRegisterVar(...)`: variable `name` of the fat binary is named by the address of its
/// host shadow.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaRegisterVar(
    binary: *mut c_void,
    host: *mut c_char,
    _device: *mut c_char,
    name: *const c_char,
    _external: c_int,
    size: usize,
    _constant: c_int,
    _global: c_int,
) {
    modules::register_variable(binary, host.cast(), name, size as u64);
}

/// `void __cudaRegisterManagedVar(...)`: variable `name` of the fat binary lies in managed memory,
/// and the program finds it by the pointer at `host`, which is set when the module is loaded.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn __cudaRegisterManagedVar(
    binary: *mut c_void,
    host: *mut *mut c_void,
    _device: *mut c_char,
    name: *const c_char,
    _external: c_int,
    size: usize,
    _constant: c_int,
    _global: c_int,
) {
    modules::register_managed_variable(binary, host, name, size as u64);
}
