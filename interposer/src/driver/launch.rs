// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution control: launches.

use std::ffi::c_void;

use vcuda_protocol::Dim3;

use crate::abi::In;
use crate::contexts::{Context, Device};
use crate::driver::function::find;
use crate::entry::export;
use crate::launch::{Arguments, Kernel, Launch};
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
pub(super) type Pointers = In<*const c_void>;

/// A launch on a device.
fn prepare(
    device: &Device,
    handle: u64,
    launch: Launch,
    pointers: Pointers,
    extra: In<u64>,
) -> Result<Kernel> {
    let function = find(device, handle)?;
    let arguments = Arguments::of(pointers, extra)?;
    // SAFETY: by the contract of the launch functions there are as many pointers as the kernel has
    // parameters, each to a value of that parameter's type, and a buffer is as long as `extra` says.
    let outcome = unsafe { Kernel::new(function, handle, launch, arguments) };
    // The driver has no code of its own for a wrong shape.
    outcome.map_err(|status| match status {
        error::INVALID_CONFIGURATION => error::INVALID_VALUE,
        other => other,
    })
}

fn start(
    handle: u64,
    launch: Launch,
    stream: u64,
    pointers: Pointers,
    extra: In<u64>,
) -> Result<()> {
    prepare(contexts::bound()?, handle, launch, pointers, extra)?.start(stream)
}

/// `CUDA_KERNEL_NODE_PARAMS_v1`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct KernelNodeParams1 {
    function: u64,
    grid: [u32; 3],
    block: [u32; 3],
    shared: u32,
    pointers: Pointers,
    extra: In<u64>,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`, and `..._v3`, which is alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct KernelNodeParams {
    first: KernelNodeParams1,
    /// In the place of a function.
    kernel: u64,
    context: u64,
}

impl From<KernelNodeParams1> for KernelNodeParams {
    fn from(first: KernelNodeParams1) -> Self {
        KernelNodeParams {
            first,
            kernel: 0,
            context: 0,
        }
    }
}

impl KernelNodeParams {
    /// The launch that the structure describes, on the device of its context or of the current one.
    pub(super) fn launch(self) -> Result<Kernel> {
        let device = match self.context {
            0 => contexts::bound()?,
            context => Context::named(context)?.device()?,
        };
        let p = self.first;
        let named = match (p.function, self.kernel) {
            (0, kernel) => kernel,
            (function, _) => function,
        };
        let launch = Launch {
            grid: shape(p.grid),
            block: shape(p.block),
            shared: p.shared.into(),
            cooperative: false,
        };
        prepare(device, named, launch, p.pointers, p.extra)
    }

    /// The structure that describes a launch, whose arguments are at `pointers`.
    pub(super) fn of(kernel: &Kernel, pointers: Pointers) -> Result<Self> {
        let sides = |d: Dim3| [d.x, d.y, d.z];
        let device = contexts::device(kernel.function.module.ordinal as i32)?;
        Ok(KernelNodeParams {
            first: KernelNodeParams1 {
                function: kernel.function.handle(),
                grid: sides(kernel.launch.grid),
                block: sides(kernel.launch.block),
                shared: kernel.launch.shared as u32,
                pointers,
                extra: In::null(),
            },
            kernel: 0,
            context: Context::primary(device).handle(),
        })
    }

    /// What the older structure has.
    pub(super) fn first(self) -> KernelNodeParams1 {
        self.first
    }
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
            cooperative: false,
        };
        start(function, launch, stream, pointers, extra)
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
            cooperative: true,
        };
        start(function, launch, stream, pointers, In::null())
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
            cooperative: wanted.cooperative,
        };
        start(function, launch, config.stream, pointers, extra)?;
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
    fn parameters_of_kernel_nodes_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<KernelNodeParams1>(), 56);
        assert_eq!(offset_of!(KernelNodeParams1, shared), 32);
        assert_eq!(offset_of!(KernelNodeParams1, pointers), 40);
        assert_eq!(size_of::<KernelNodeParams>(), 72);
        assert_eq!(offset_of!(KernelNodeParams, kernel), 56);
    }
}
