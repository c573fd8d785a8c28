// SPDX-License-Identifier: MIT OR Apache-2.0
//! Library management: images and kernels that belong to no context.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::Instant;

use crate::abi::{In, Out, Text};
use crate::contexts::{self, Device};
use crate::driver::context::LAST_CACHE_CONFIG;
use crate::driver::function;
use crate::driver::jit::Options;
use crate::driver::module::read;
use crate::entry::export;
use crate::modules::{self, FatBinary, Function};
use crate::{Result, error, images, launch, libraries};

/// `CU_LIBRARY_NUM_OPTIONS`. What they say (host functions and data, whether the image stays where
/// it is) has no bearing here: the image is copied.
const LIBRARY_OPTIONS: u32 = 2;

/// Opens a library, and loads it where there is a context already, to tell of errors now.
fn open(out: Out<u64>, image: &[u8], options: &Options) -> Result<()> {
    let binary = FatBinary::copied(image);
    if contexts::current_context().is_some() {
        let began = Instant::now();
        let mut reported = Ok(());
        let loaded = binary.load(contexts::bound()?, |info| {
            reported = options.report(info, began.elapsed());
        });
        reported?;
        loaded?;
    }
    out.set(libraries::open(binary))
}

fn check_options(keys: In<u32>, count: u32) -> Result<()> {
    for index in 0..count as usize {
        if keys.at(index)? >= LIBRARY_OPTIONS {
            return Err(error::INVALID_VALUE);
        }
    }
    Ok(())
}

/// The device where a library's kernels are looked for: any has them all.
fn somewhere() -> Result<&'static Device> {
    match contexts::current_context() {
        Some(context) => context.device(),
        None => contexts::device(0),
    }
}

/// A `CUkernel` on a device.
fn kernel_on(device: &Device, kernel: u64) -> Result<Arc<Function>> {
    function::find(device, kernel)
}

export! { initialized:
    /// `cuLibraryLoadData` — CUDA Driver API 12.0, Library Management.
    fn cuLibraryLoadData(
        out: Out<u64>,
        image: In<u8>,
        keys: In<u32>,
        values: Out<u64>,
        count: u32,
        library_keys: In<u32>,
        _library_values: In<u64>,
        library_count: u32,
    ) {
        out.present()?;
        let options = Options::read(keys, values, count)?;
        check_options(library_keys, library_count)?;
        // SAFETY: by the contract of this function the pointer is null or leads to a cubin, a fat
        // binary or PTX text.
        open(out, unsafe { images::image_at(image.as_ptr().cast()) }?, &options)
    }

    /// `cuLibraryLoadFromFile` — CUDA Driver API 12.0, Library Management.
    fn cuLibraryLoadFromFile(
        out: Out<u64>,
        path: Text,
        keys: In<u32>,
        values: Out<u64>,
        count: u32,
        library_keys: In<u32>,
        _library_values: In<u64>,
        library_count: u32,
    ) {
        out.present()?;
        let options = Options::read(keys, values, count)?;
        check_options(library_keys, library_count)?;
        open(out, &read(path)?, &options)
    }

    /// `cuLibraryUnload` — CUDA Driver API 12.0, Library Management.
    fn cuLibraryUnload(library: u64) {
        libraries::close(library)
    }

    /// `cuLibraryGetKernel` — CUDA Driver API 12.0, Library Management.
    fn cuLibraryGetKernel(out: Out<u64>, library: u64, name: Text) {
        out.present()?;
        let name = name.name()?;
        out.set(libraries::find(somewhere()?, library, name)?)
    }

    /// `cuLibraryGetModule` — CUDA Driver API 12.0, Library Management: of the current context.
    fn cuLibraryGetModule(out: Out<u64>, library: u64) {
        out.present()?;
        let device = contexts::bound()?;
        out.set(modules::handle_of(libraries::opened(library)?.module(device)?))
    }

    /// `cuLibraryGetGlobal` — CUDA Driver API 12.0, Library Management. Either pointer may be null.
    fn cuLibraryGetGlobal(address: Out<u64>, size: Out<usize>, library: u64, name: Text) {
        let device = contexts::bound()?;
        let name = name.name()?;
        let module = libraries::opened(library)?.module(device)?;
        let global = modules::global(device, module, name)?;
        address.set_if_wanted(global.address);
        size.set_if_wanted(global.size as usize);
        Ok(())
    }

    /// `cuKernelGetFunction` — CUDA Driver API 12.0, Library Management: of the current context.
    fn cuKernelGetFunction(out: Out<u64>, kernel: u64) {
        out.present()?;
        out.set(kernel_on(contexts::bound()?, kernel)?.handle())
    }

    /// `cuKernelGetLibrary` — CUDA Driver API 12.5, Library Management.
    fn cuKernelGetLibrary(out: Out<u64>, kernel: u64) {
        out.present()?;
        out.set(libraries::described(kernel).ok_or(error::INVALID_HANDLE)?.library)
    }

    /// `cuKernelGetName` — CUDA Driver API 12.3, Library Management. The name lives as long as the
    /// library is loaded on the device.
    fn cuKernelGetName(out: Out<*const c_char>, kernel: u64) {
        out.present()?;
        out.set(kernel_on(somewhere()?, kernel)?.name.as_ptr())
    }

    /// `cuKernelGetAttribute` — CUDA Driver API 12.0, Library Management.
    fn cuKernelGetAttribute(out: Out<i32>, attribute: u32, kernel: u64, device: i32) {
        out.present()?;
        let device = contexts::device(device)?;
        out.set(launch::attribute(device, &*kernel_on(device, kernel)?, attribute)?)
    }

    /// `cuKernelSetAttribute` — CUDA Driver API 12.0, Library Management.
    fn cuKernelSetAttribute(attribute: u32, value: i32, kernel: u64, device: i32) {
        let function = kernel_on(contexts::device(device)?, kernel)?;
        launch::set_attribute(&function, attribute, value)
    }

    /// `cuKernelSetCacheConfig` — CUDA Driver API 12.0, Library Management. A preference.
    fn cuKernelSetCacheConfig(kernel: u64, config: u32, device: i32) {
        match config {
            0..=LAST_CACHE_CONFIG => kernel_on(contexts::device(device)?, kernel).map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuKernelGetParamInfo` — CUDA Driver API 12.4, Library Management.
    fn cuKernelGetParamInfo(kernel: u64, index: usize, offset: Out<usize>, size: Out<usize>) {
        function::parameter(&*kernel_on(somewhere()?, kernel)?, index, offset, size)
    }
}
