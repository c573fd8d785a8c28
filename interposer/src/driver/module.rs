// SPDX-License-Identifier: MIT OR Apache-2.0
//! Module management.

use std::time::Instant;

use crate::abi::{In, Out, Text};
use crate::contexts::{self, Device};
use crate::driver::jit::Options;
use crate::entry::export;
use crate::modules::{self, Module};
use crate::{Result, error, images};

/// Reads an image from a file.
pub(super) fn read(path: Text) -> Result<Vec<u8>> {
    let path = path.get()?;
    std::fs::read(path).map_err(|cause| {
        vcuda_transport::say!("{path} could not be read: {cause}.");
        error::FILE_NOT_FOUND
    })
}

fn load(device: &Device, image: &[u8], options: &Options) -> Result<Module> {
    let began = Instant::now();
    let (module, info) = modules::load(device, image)?;
    options.report(&info, began.elapsed())?;
    match info.status.is_success() {
        true => Ok(module),
        false => Err(info.status),
    }
}

fn load_at(out: Out<u64>, image: In<u8>, options: &Options) -> Result<()> {
    let device = contexts::bound()?;
    out.present()?;
    // SAFETY: by the contract of the functions that load a module the pointer is null or leads to a
    // cubin, a fat binary or PTX text.
    let image = unsafe { images::image_at(image.as_ptr().cast()) }?;
    out.set(modules::open(load(device, image, options)?))
}

export! { initialized:
    /// `cuModuleLoad` — CUDA Driver API, Module Management: from a file.
    fn cuModuleLoad(out: Out<u64>, path: Text) {
        let device = contexts::bound()?;
        out.present()?;
        let image = read(path)?;
        out.set(modules::open(load(device, &image, &Options::default())?))
    }

    /// `cuModuleLoadData` — CUDA Driver API, Module Management.
    fn cuModuleLoadData(out: Out<u64>, image: In<u8>) {
        load_at(out, image, &Options::default())
    }

    /// `cuModuleLoadDataEx` — CUDA Driver API, Module Management.
    fn cuModuleLoadDataEx(out: Out<u64>, image: In<u8>, count: u32, keys: In<u32>, values: Out<u64>) {
        load_at(out, image, &Options::read(keys, values, count)?)
    }

    /// `cuModuleLoadFatBinary` — CUDA Driver API, Module Management.
    fn cuModuleLoadFatBinary(out: Out<u64>, image: In<u8>) {
        load_at(out, image, &Options::default())
    }

    /// `cuModuleUnload` — CUDA Driver API, Module Management.
    fn cuModuleUnload(module: u64) {
        contexts::bound()?;
        modules::close(module)
    }

    /// `cuModuleGetLoadingMode` — CUDA Driver API 11.7, Module Management. What a program registers
    /// loads when it is first used.
    fn cuModuleGetLoadingMode(out: Out<u32>) {
        const LAZY_LOADING: u32 = 2;
        out.set(LAZY_LOADING)
    }

    /// `cuModuleGetFunction` — CUDA Driver API, Module Management.
    fn cuModuleGetFunction(out: Out<u64>, module: u64, name: Text) {
        contexts::bound()?;
        out.present()?;
        let name = name.name()?;
        out.set(modules::function(modules::opened(module)?, name)?.handle())
    }

    /// `cuModuleGetGlobal_v2` — CUDA Driver API, Module Management. One of the pointers may be
    /// null.
    fn cuModuleGetGlobal_v2(address: Out<u64>, size: Out<usize>, module: u64, name: Text) {
        contexts::bound()?;
        let name = name.name()?;
        if address.is_null() && size.is_null() {
            return Err(error::INVALID_VALUE);
        }
        let module = modules::opened(module)?;
        let device = contexts::device(module.ordinal as i32)?;
        let global = modules::global(device, module, name)?;
        address.set_if_wanted(global.address);
        size.set_if_wanted(global.size as usize);
        Ok(())
    }
}
