// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution control: launches.
//!
//! Programs launch in three ways, by the age of their compiler:
//! - up to CUDA 9.1: cudaConfigureCall, a cudaSetupArgument for each argument with its place in the
//!   argument buffer, cudaLaunch;
//! - from 9.2: __cudaPushCallConfiguration before and __cudaPopCallConfiguration inside the host
//!   stub, which calls cudaLaunchKernel with a pointer to each argument;
//! - from 13.0: the same with __cudaGetKernel and __cudaLaunchKernel.

use std::ffi::c_void;

use super::function::{OTHER_ERRORS, kernel_on};
use crate::abi::{In, Out};
use crate::contexts::{self, Device};
use crate::entry::export;
use crate::launch::{Arguments, Kernel, Launch};
use crate::launch_attributes::{self, Attribute};
use crate::thread::{self, Configuration};
use crate::{Result, error, release, streams};

/// `dim3`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Dim3 {
    x: u32,
    y: u32,
    z: u32,
}

impl From<Dim3> for vcuda_protocol::Dim3 {
    fn from(Dim3 { x, y, z }: Dim3) -> Self {
        vcuda_protocol::Dim3 { x, y, z }
    }
}

impl From<vcuda_protocol::Dim3> for Dim3 {
    fn from(vcuda_protocol::Dim3 { x, y, z }: vcuda_protocol::Dim3) -> Self {
        Dim3 { x, y, z }
    }
}

/// `void **args`: a pointer to each argument.
type Pointers = In<*const c_void>;

/// `cudaKernelNodeParams`. The CUDA 12.2 variant for `cudaGraphAddNode` is alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct KernelNodeParams {
    pub(super) kernel: u64,
    pub(super) grid: Dim3,
    pub(super) block: Dim3,
    pub(super) shared: u32,
    pub(super) arguments: Pointers,
    pub(super) extra: In<u64>,
}

impl KernelNodeParams {
    /// The launch that the structure describes, on the current device.
    pub(super) fn launch(self) -> Result<Kernel> {
        let launch = Launch {
            grid: self.grid.into(),
            block: self.block.into(),
            shared: self.shared.into(),
            cooperative: false,
        };
        let arguments = Arguments::of(self.arguments, self.extra)?;
        prepare(contexts::active()?, self.kernel, launch, arguments)
    }

    /// The structure that describes a launch, whose arguments are at `arguments`.
    pub(super) fn of(kernel: &Kernel, arguments: Pointers) -> Self {
        KernelNodeParams {
            kernel: kernel.named,
            grid: kernel.launch.grid.into(),
            block: kernel.launch.block.into(),
            shared: kernel.launch.shared as u32,
            arguments,
            extra: In::null(),
        }
    }
}

/// Where a launch goes: to the stream's device, since CUDA 13 also where that is not the current one.
fn target(stream: u64) -> Result<&'static Device> {
    let current = contexts::active()?;
    match streams::entry(stream) {
        Ok(entry) if entry.ordinal != current.ordinal && !release::is_before(OTHER_ERRORS) => {
            contexts::device(entry.ordinal as i32)
        }
        _ => Ok(current),
    }
}

/// A launch on a device. Since CUDA 13 a wrong configuration is just a wrong value.
fn prepare(
    device: &Device,
    named: u64,
    launch: Launch,
    arguments: Arguments<'_>,
) -> Result<Kernel> {
    let function = kernel_on(device, named)?;
    // SAFETY: the pointers are arguments of a launch function, whose contract is to have as many as
    // the kernel has parameters, each to a value of that parameter's type.
    let outcome = unsafe { Kernel::new(function, named, launch, arguments) };
    outcome.map_err(|status| match status {
        error::INVALID_CONFIGURATION if !release::is_before(OTHER_ERRORS) => error::INVALID_VALUE,
        other => other,
    })
}

fn start(kernel: u64, launch: Launch, stream: u64, arguments: Arguments<'_>) -> Result<()> {
    prepare(target(stream)?, kernel, launch, arguments)?.start(stream)
}

fn start_with_pointers(
    kernel: u64,
    grid: Dim3,
    block: Dim3,
    arguments: Pointers,
    shared: usize,
    stream: u64,
    cooperative: bool,
) -> Result<()> {
    let launch = Launch {
        grid: grid.into(),
        block: block.into(),
        shared: shared as u64,
        cooperative,
    };
    let arguments = Arguments::Pointers(arguments.as_ptr());
    start(kernel, launch, stream, arguments)
}

fn push(grid: Dim3, block: Dim3, shared: usize, stream: u64) {
    let configuration = Configuration {
        grid: grid.into(),
        block: block.into(),
        shared: shared as u64,
        stream,
        arguments: Vec::new(),
    };
    thread::with(|t| t.configurations.borrow_mut().push(configuration));
}

fn pop() -> Result<Configuration> {
    thread::with(|t| t.configurations.borrow_mut().pop()).ok_or(error::MISSING_CONFIGURATION)
}

/// Longest argument buffer of a kernel (CUDA Programming Guide, "Function parameters").
const MAX_ARGUMENTS: usize = 32764;

/// Places an argument in the buffer of the launch that is being put together.
fn set_argument(argument: In<u8>, size: usize, offset: usize) -> Result<()> {
    let end = offset
        .checked_add(size)
        .filter(|&end| end <= MAX_ARGUMENTS)
        .ok_or(error::INVALID_VALUE)?;
    if argument.is_null() {
        return Err(error::INVALID_VALUE);
    }
    thread::with(|t| {
        let mut configurations = t.configurations.borrow_mut();
        let configuration = configurations
            .last_mut()
            .ok_or(error::MISSING_CONFIGURATION)?;
        let buffer = &mut configuration.arguments;
        buffer.resize(buffer.len().max(end), 0);
        let room = buffer.get_mut(offset..end).ok_or(error::INVALID_VALUE)?;
        // SAFETY: by the contract of cudaSetupArgument the argument has `size` bytes, and `room`,
        // which is as long, is ours.
        unsafe { std::ptr::copy_nonoverlapping(argument.as_ptr(), room.as_mut_ptr(), size) };
        Ok(())
    })
}

export! { runtime:
    /// `cudaConfigureCall` — CUDA Runtime API 9.0, Execution Control.
    fn cudaConfigureCall(grid: Dim3, block: Dim3, shared: usize, stream: u64) {
        push(grid, block, shared, stream);
        Ok(())
    }

    /// `cudaSetupArgument` — CUDA Runtime API 9.0, Execution Control.
    fn cudaSetupArgument(argument: In<u8>, size: usize, offset: usize) {
        set_argument(argument, size, offset)
    }

    /// `cudaLaunch` — CUDA Runtime API 9.0, Execution Control.
    fn cudaLaunch / cudaLaunch_ptsz(kernel: u64) {
        let configuration = pop()?;
        let launch = Launch {
            grid: configuration.grid,
            block: configuration.block,
            shared: configuration.shared,
            cooperative: false,
        };
        let arguments = Arguments::Packed(&configuration.arguments);
        start(kernel, launch, configuration.stream, arguments)
    }

    /// `unsigned __cudaPushCallConfiguration(dim3, dim3, size_t, CUstream_st *)`: what `<<<...>>>`
    /// becomes. Zero: the host stub is to be called.
    fn __cudaPushCallConfiguration(grid: Dim3, block: Dim3, shared: usize, stream: u64) {
        push(grid, block, shared, stream);
        Ok(())
    }

    /// `cudaError_t __cudaPopCallConfiguration(dim3 *, dim3 *, size_t *, void *)`: the first thing
    /// that a host stub does.
    fn __cudaPopCallConfiguration(
        grid: Out<Dim3>,
        block: Out<Dim3>,
        shared: Out<usize>,
        stream: Out<u64>,
    ) {
        let configuration = pop()?;
        grid.set(configuration.grid.into())?;
        block.set(configuration.block.into())?;
        shared.set(configuration.shared as usize)?;
        stream.set(configuration.stream)
    }

    /// `cudaLaunchKernel` — CUDA Runtime API, Execution Control. Host stubs of CUDA 13 call it
    /// as `__cudaLaunchKernel`, with what `__cudaGetKernel` gave.
    fn cudaLaunchKernel | __cudaLaunchKernel / cudaLaunchKernel_ptsz / __cudaLaunchKernel_ptsz(
        kernel: u64,
        grid: Dim3,
        block: Dim3,
        arguments: Pointers,
        shared: usize,
        stream: u64,
    ) {
        start_with_pointers(kernel, grid, block, arguments, shared, stream, false)
    }

    /// `cudaLaunchCooperativeKernel` — CUDA Runtime API, Execution Control.
    fn cudaLaunchCooperativeKernel / cudaLaunchCooperativeKernel_ptsz(
        kernel: u64,
        grid: Dim3,
        block: Dim3,
        arguments: Pointers,
        shared: usize,
        stream: u64,
    ) {
        start_with_pointers(kernel, grid, block, arguments, shared, stream, true)
    }

    /// `cudaLaunchKernelExC` — CUDA Runtime API, Execution Control.
    fn cudaLaunchKernelExC / cudaLaunchKernelExC_ptsz(
        configuration: In<LaunchConfig>,
        kernel: u64,
        arguments: Pointers,
    ) {
        let configuration = configuration.get()?;
        let wanted = launch_attributes::read(configuration.attributes, configuration.count)?;
        start_with_pointers(
            kernel,
            configuration.grid,
            configuration.block,
            arguments,
            configuration.shared,
            configuration.stream,
            wanted.cooperative,
        )?;
        match wanted.event {
            Some(event) => streams::record_event(event, configuration.stream),
            None => Ok(()),
        }
    }
}

/// `cudaLaunchConfig_t`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct LaunchConfig {
    grid: Dim3,
    block: Dim3,
    shared: usize,
    stream: u64,
    attributes: In<Attribute>,
    count: u32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::layouts::{assert_layout, offsets};

    #[test]
    fn structures_are_laid_out_as_in_each_release() {
        let config = offsets!(LaunchConfig:
            "gridDim" grid, "blockDim" block, "dynamicSmemBytes" shared, "stream" stream,
            "attrs" attributes, "numAttrs" count);
        let attribute = offsets!(Attribute: "id" id, "pad" padding, "val" value);
        for release in ["11.8", "12.0", "12.9", "13.0"] {
            assert_layout(
                "cudaLaunchConfig_st",
                release,
                size_of::<LaunchConfig>(),
                &config,
            );
            let size = size_of::<Attribute>();
            assert_layout("cudaLaunchAttribute_st", release, size, &attribute);
        }
    }
}
