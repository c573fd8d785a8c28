// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution control: what functions are.

use std::ffi::c_char;
use std::sync::Arc;

use crate::abi::Out;
use crate::contexts::{self, Device};
use crate::driver::context::{LAST_BANK_SIZE, LAST_CACHE_CONFIG};
use crate::entry::export;
use crate::modules::{self, Function};
use crate::{Result, error, launch};

/// The kernel of a `CUfunction`, or of a `CUkernel`, which may stand in its place.
pub(super) fn find(device: &Device, handle: u64) -> Result<Arc<Function>> {
    modules::kernel(device, handle).map_err(|status| match status {
        error::INVALID_DEVICE_FUNCTION => error::INVALID_HANDLE,
        other => other,
    })
}

/// Where a parameter lies in the argument buffer. The size is optional.
pub(super) fn parameter(
    function: &Function,
    index: usize,
    offset: Out<usize>,
    size: Out<usize>,
) -> Result<()> {
    offset.present()?;
    let parameter = function.info.params.get(index);
    let &(start, len) = parameter.ok_or(error::INVALID_VALUE)?;
    size.set_if_wanted(len as usize);
    offset.set(start as usize)
}

export! { initialized:
    /// `cuFuncGetAttribute` — CUDA Driver API, Execution Control.
    fn cuFuncGetAttribute(out: Out<i32>, attribute: u32, function: u64) {
        out.present()?;
        let function = find(contexts::bound()?, function)?;
        let device = contexts::device(function.module.ordinal as i32)?;
        out.set(launch::attribute(device, &function, attribute)?)
    }

    /// `cuFuncSetAttribute` — CUDA Driver API, Execution Control.
    fn cuFuncSetAttribute(function: u64, attribute: u32, value: i32) {
        launch::set_attribute(&*find(contexts::bound()?, function)?, attribute, value)
    }

    /// `cuFuncSetCacheConfig` — CUDA Driver API, Execution Control. A preference.
    fn cuFuncSetCacheConfig(function: u64, config: u32) {
        let device = contexts::bound()?;
        match config {
            0..=LAST_CACHE_CONFIG => find(device, function).map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuFuncSetSharedMemConfig` — CUDA Driver API, Execution Control (deprecated). Without effect
    /// where banks have a fixed size.
    fn cuFuncSetSharedMemConfig(function: u64, config: u32) {
        let device = contexts::bound()?;
        match config {
            0..=LAST_BANK_SIZE => find(device, function).map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuFuncGetName` — CUDA Driver API 12.3, Execution Control. The name lives as long as the
    /// module.
    fn cuFuncGetName(out: Out<*const c_char>, function: u64) {
        out.present()?;
        out.set(find(contexts::bound()?, function)?.name.as_ptr())
    }

    /// `cuFuncGetModule` — CUDA Driver API 11.0, Execution Control.
    fn cuFuncGetModule(out: Out<u64>, function: u64) {
        out.present()?;
        let function = find(contexts::bound()?, function)?;
        out.set(modules::handle_of(function.module))
    }

    /// `cuFuncGetParamInfo` — CUDA Driver API 12.4, Execution Control.
    fn cuFuncGetParamInfo(function: u64, index: usize, offset: Out<usize>, size: Out<usize>) {
        parameter(&*find(contexts::bound()?, function)?, index, offset, size)
    }
}
