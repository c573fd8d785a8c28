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

use crate::abi::{In, Out};
use crate::entry::export;
use crate::launch::{self, Arguments, Launch};
use crate::modules;
use crate::thread::{self, Configuration};
use crate::{Result, contexts, error, streams};

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

/// Launches on the current device.
fn start(kernel: u64, launch: &Launch, arguments: Arguments<'_>) -> Result<()> {
    let function = modules::kernel(contexts::active()?, kernel)?;
    // SAFETY: the pointers are arguments of a launch function, whose contract is to have as many as
    // the kernel has parameters, each to a value of that parameter's type.
    unsafe { launch::launch(&function, launch, arguments) }
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
        stream,
        cooperative,
    };
    start(kernel, &launch, Arguments::Pointers(arguments.as_ptr()))
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
    thread::with(|t| t.configurations.borrow_mut().pop())
        .flatten()
        .ok_or(error::MISSING_CONFIGURATION)
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
    .unwrap_or(Err(error::UNKNOWN))
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
            stream: configuration.stream,
            cooperative: false,
        };
        start(kernel, &launch, Arguments::Packed(&configuration.arguments))
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

    /// `cudaLaunchKernel` — CUDA Runtime API, Execution Control.
    fn cudaLaunchKernel / cudaLaunchKernel_ptsz(
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

    /// `cudaError_t __cudaGetKernel(cudaKernel_t *, const void *)`: the handle that the host stub
    /// launches by. It is the stub's own address, which is valid on every device.
    fn __cudaGetKernel(handle: Out<u64>, host: u64) {
        handle.present()?;
        match modules::is_kernel(host) {
            true => handle.set(host),
            false => Err(error::INVALID_DEVICE_FUNCTION),
        }
    }

    /// `cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void **, size_t, cudaStream_t)`
    fn __cudaLaunchKernel / __cudaLaunchKernel_ptsz(
        kernel: u64,
        grid: Dim3,
        block: Dim3,
        arguments: Pointers,
        shared: usize,
        stream: u64,
    ) {
        start_with_pointers(kernel, grid, block, arguments, shared, stream, false)
    }

    /// `cudaLaunchKernelExC` — CUDA Runtime API, Execution Control.
    fn cudaLaunchKernelExC / cudaLaunchKernelExC_ptsz(
        configuration: In<LaunchConfig>,
        kernel: u64,
        arguments: Pointers,
    ) {
        let configuration = configuration.get()?;
        let wanted = configuration.wanted()?;
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
    attributes: In<LaunchAttribute>,
    count: u32,
}

/// `cudaLaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
struct LaunchAttribute {
    id: u32,
    padding: [u8; 4],
    value: [u64; 8],
}

/// What the attributes of a launch ask for.
#[derive(Default)]
struct Wanted {
    cooperative: bool,
    /// An event to record at the launch.
    event: Option<u64>,
}

impl LaunchConfig {
    /// Reads the attributes (`cudaLaunchAttributeID`). Those that only tune are accepted: what
    /// they ask for may be left undone by CUDA's own definition.
    fn wanted(&self) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for index in 0..self.count as usize {
            let attribute = self.attributes.at(index)?;
            let first = attribute.value[0];
            match attribute.id {
                // Ignore, access policy window, synchronization policy, cluster scheduling
                // preference, programmatic stream serialization, priority, memory synchronization
                // domains, preferred cluster dimension, shared memory carveout, NVLink scheduling.
                0 | 1 | 3 | 5 | 6 | 8..=11 | 14 | 16 => {}
                2 => wanted.cooperative = first as u32 != 0,
                4 => {
                    let z = attribute.value[1] as u32;
                    let cluster = [first as u32, (first >> 32) as u32, z];
                    if cluster != [1, 1, 1] {
                        return Err(unsupported(&format!(
                            "thread block clusters of {}x{}x{} blocks",
                            cluster[0], cluster[1], cluster[2]
                        )));
                    }
                }
                // Programmatic and launch completion events may be triggered as late as the end of
                // the kernel, which is where a record behind the launch is.
                7 | 12 => wanted.event = Some(first),
                13 if first as u32 == 0 => {}
                id => return Err(unsupported(&format!("launch attribute {id}"))),
            }
        }
        Ok(wanted)
    }
}

fn unsupported(what: &str) -> vcuda_protocol::Status {
    eprintln!(
        "vcuda: cudaLaunchKernelExC with {what} is not supported; it returns cudaErrorNotSupported (801)."
    );
    error::NOT_SUPPORTED
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
        let attribute = offsets!(LaunchAttribute: "id" id, "pad" padding, "val" value);
        for release in ["11.8", "12.0", "12.9", "13.0"] {
            assert_layout(
                "cudaLaunchConfig_st",
                release,
                size_of::<LaunchConfig>(),
                &config,
            );
            let size = size_of::<LaunchAttribute>();
            assert_layout("cudaLaunchAttribute_st", release, size, &attribute);
        }
    }

    fn with_attribute(id: u32, value: [u64; 8]) -> Result<Wanted> {
        let attribute = LaunchAttribute {
            id,
            padding: [0; 4],
            value,
        };
        let one = Dim3 { x: 1, y: 1, z: 1 };
        let config = LaunchConfig {
            grid: one,
            block: one,
            shared: 0,
            stream: 0,
            attributes: In::of(&attribute),
            count: 1,
        };
        config.wanted()
    }

    #[test]
    fn attributes_that_change_the_result_are_done_or_refused() {
        let value = |words: [u64; 2]| [words[0], words[1], 0, 0, 0, 0, 0, 0];
        let outcome =
            |id, words| with_attribute(id, value(words)).map(|w| (w.cooperative, w.event));
        assert_eq!(outcome(2, [1, 0]), Ok((true, None)), "cooperative");
        assert_eq!(
            outcome(4, [1 << 32 | 1, 1]),
            Ok((false, None)),
            "cluster of one block"
        );
        assert_eq!(
            outcome(4, [1 << 32 | 2, 1]),
            Err(error::NOT_SUPPORTED),
            "cluster of two"
        );
        assert_eq!(
            outcome(6, [1, 0]),
            Ok((false, None)),
            "programmatic serialization"
        );
        assert_eq!(
            outcome(12, [0x77, 0]),
            Ok((false, Some(0x77))),
            "completion event"
        );
        assert_eq!(
            outcome(13, [1, 0]),
            Err(error::NOT_SUPPORTED),
            "updatable node"
        );
        assert_eq!(outcome(999, [0, 0]), Err(error::NOT_SUPPORTED), "unknown");
    }
}
