// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution control: launches.

use std::ffi::c_void;

use vcuda_protocol::Dim3;

use crate::abi::In;
use crate::driver::function::find;
use crate::entry::export;
use crate::launch::{self, Arguments, Launch};
use crate::launch_attributes::{self, Attribute};
use crate::{Result, contexts, error, streams};

/// `CUlaunchConfig`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct LaunchConfig {
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    stream: u64,
    attributes: In<Attribute>,
    count: u32,
}

/// A pointer to each argument (`kernelParams`), or the words of `extra`.
type Pointers = In<*const c_void>;

/// The argument buffer that `extra` leads to: pairs of a key and a value, up to
/// `CU_LAUNCH_PARAM_END`.
fn buffer(extra: In<u64>) -> Result<(u64, usize)> {
    /// Two keys are known; a list that goes on is none.
    const MOST: usize = 8;
    const END: u64 = 0;
    const BUFFER_POINTER: u64 = 1;
    const BUFFER_SIZE: u64 = 2;
    let (mut pointer, mut size) = (0, None);
    for pair in 0..MOST {
        let value = || extra.at(pair * 2 + 1);
        match extra.at(pair * 2)? {
            END => return Ok((pointer, size.ok_or(error::INVALID_VALUE)?)),
            BUFFER_POINTER => pointer = value()?,
            // The value is the address of the size.
            BUFFER_SIZE => size = Some(extra.cast::<In<usize>>().at(pair * 2 + 1)?.get()?),
            _ => break,
        }
    }
    Err(error::INVALID_VALUE)
}

fn start(handle: u64, launch: &Launch, pointers: Pointers, extra: In<u64>) -> Result<()> {
    let function = find(contexts::bound()?, handle)?;
    let outcome = if extra.is_null() {
        let arguments = Arguments::Pointers(pointers.as_ptr());
        // SAFETY: by the contract of the launch functions there are as many pointers as the kernel
        // has parameters, each to a value of that parameter's type.
        unsafe { launch::launch(&function, launch, arguments) }
    } else {
        if !pointers.is_null() {
            return Err(error::INVALID_VALUE);
        }
        let (address, size) = buffer(extra)?;
        // What is beyond the parameters is not read.
        let size = size.min(function.info.param_bytes as usize);
        let bytes = match (address, size) {
            (_, 0) => Vec::new(),
            (0, _) => return Err(error::INVALID_VALUE),
            // SAFETY: by the contract of the launch functions the buffer is as long as `extra` says.
            _ => unsafe { std::slice::from_raw_parts(address as *const u8, size) }.to_vec(),
        };
        // SAFETY: there are no pointers.
        unsafe { launch::launch(&function, launch, Arguments::Packed(&bytes)) }
    };
    // The driver has no code of its own for a wrong shape.
    outcome.map_err(|status| match status {
        error::INVALID_CONFIGURATION => error::INVALID_VALUE,
        other => other,
    })
}

fn shape([x, y, z]: [u32; 3]) -> Dim3 {
    Dim3 { x, y, z }
}

export! { initialized:
    /// `cuLaunchKernel` — CUDA Driver API, Execution Control.
    fn cuLaunchKernel / cuLaunchKernel_ptsz(
        function: u64,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: u64,
        pointers: Pointers,
        extra: In<u64>,
    ) {
        let launch = Launch {
            grid: shape([grid_x, grid_y, grid_z]),
            block: shape([block_x, block_y, block_z]),
            shared: shared.into(),
            stream,
            cooperative: false,
        };
        start(function, &launch, pointers, extra)
    }

    /// `cuLaunchCooperativeKernel` — CUDA Driver API, Execution Control.
    fn cuLaunchCooperativeKernel / cuLaunchCooperativeKernel_ptsz(
        function: u64,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        block_x: u32,
        block_y: u32,
        block_z: u32,
        shared: u32,
        stream: u64,
        pointers: Pointers,
    ) {
        let launch = Launch {
            grid: shape([grid_x, grid_y, grid_z]),
            block: shape([block_x, block_y, block_z]),
            shared: shared.into(),
            stream,
            cooperative: true,
        };
        start(function, &launch, pointers, In::null())
    }

    /// `cuLaunchKernelEx` — CUDA Driver API 11.6, Execution Control.
    fn cuLaunchKernelEx / cuLaunchKernelEx_ptsz(
        config: In<LaunchConfig>,
        function: u64,
        pointers: Pointers,
        extra: In<u64>,
    ) {
        let config = config.get()?;
        let wanted = launch_attributes::read(config.attributes, config.count)?;
        let launch = Launch {
            grid: shape(config.grid),
            block: shape(config.block),
            shared: config.shared.into(),
            stream: config.stream,
            cooperative: wanted.cooperative,
        };
        start(function, &launch, pointers, extra)?;
        match wanted.event {
            Some(event) => streams::record_event(event, config.stream),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn a_configuration_is_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<LaunchConfig>(), 56);
        assert_eq!(offset_of!(LaunchConfig, shared), 24);
        assert_eq!(offset_of!(LaunchConfig, stream), 32);
        assert_eq!(offset_of!(LaunchConfig, attributes), 40);
        assert_eq!(offset_of!(LaunchConfig, count), 48);
    }

    #[test]
    fn an_argument_buffer_is_a_pointer_and_the_address_of_a_size() {
        let size = 28usize;
        let at = &raw const size as u64;
        let found = |words: &[u64]| buffer(In::of(&words[0]));
        assert_eq!(found(&[1, 0x1000, 2, at, 0]), Ok((0x1000, 28)));
        assert_eq!(found(&[2, at, 1, 0x1000, 0]), Ok((0x1000, 28)));
        assert_eq!(found(&[1, 0x1000, 0]), Err(error::INVALID_VALUE), "no size");
        assert_eq!(found(&[2, 0, 0]), Err(error::INVALID_VALUE), "null size");
        assert_eq!(found(&[7, 0, 0]), Err(error::INVALID_VALUE), "unknown key");
        assert_eq!(found(&[1; 16]), Err(error::INVALID_VALUE), "no end");
    }
}
