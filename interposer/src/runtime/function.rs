// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution control and occupancy: what kernels are, and handles of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vcuda_api::Version;

use super::device::{LAST_BANK_SIZE, LAST_CACHE_CONFIG};
use crate::abi::Out;
use crate::contexts::Device;
use crate::entry::export;
use crate::modules::Function;
use crate::{Result, contexts, error, launch, modules, release};

/// `cudaFuncAttributes` of 12.0 and later
#[repr(C)]
pub(super) struct Attributes12 {
    shared: usize,
    constant: usize,
    local: usize,
    max_threads_per_block: i32,
    registers: i32,
    ptx_version: i32,
    binary_version: i32,
    cache_mode_ca: i32,
    max_dynamic_shared: i32,
    preferred_carveout: i32,
    cluster_must_be_set: i32,
    cluster_width: i32,
    cluster_height: i32,
    cluster_depth: i32,
    cluster_scheduling: i32,
    non_portable_cluster: i32,
    reserved: [i32; 16],
}

/// `cudaFuncAttributes` of 9.0 to 11.8
#[repr(C)]
pub(super) struct Attributes9 {
    shared: usize,
    constant: usize,
    local: usize,
    max_threads_per_block: i32,
    registers: i32,
    ptx_version: i32,
    binary_version: i32,
    cache_mode_ca: i32,
    max_dynamic_shared: i32,
    preferred_carveout: i32,
}

impl Attributes12 {
    fn of(device: &Device, function: &Function) -> Self {
        let info = &function.info;
        let int = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let dynamic = launch::dynamic_shared_limit(device, function);
        Attributes12 {
            shared: info.static_shared as usize,
            constant: info.const_bytes as usize,
            local: info.local_bytes as usize,
            max_threads_per_block: int(info.max_threads_per_block),
            registers: int(info.registers),
            ptx_version: int(info.ptx_version),
            binary_version: int(info.binary_version),
            cache_mode_ca: 0,
            max_dynamic_shared: i32::try_from(dynamic).unwrap_or(i32::MAX),
            preferred_carveout: function.carveout.load(Ordering::Relaxed),
            cluster_must_be_set: 0,
            cluster_width: 0,
            cluster_height: 0,
            cluster_depth: 0,
            cluster_scheduling: 0,
            non_portable_cluster: 0,
            reserved: [0; 16],
        }
    }
}

impl From<Attributes12> for Attributes9 {
    fn from(a: Attributes12) -> Self {
        Attributes9 {
            shared: a.shared,
            constant: a.constant,
            local: a.local,
            max_threads_per_block: a.max_threads_per_block,
            registers: a.registers,
            ptx_version: a.ptx_version,
            binary_version: a.binary_version,
            cache_mode_ca: a.cache_mode_ca,
            max_dynamic_shared: a.max_dynamic_shared,
            preferred_carveout: a.preferred_carveout,
        }
    }
}

/// CUDA 13 returns other errors for wrong launches.
pub(super) const OTHER_ERRORS: Version = Version::new(13, 0);

/// The kernel of a pointer or handle, on the current device.
pub(super) fn kernel(pointer: u64) -> Result<(&'static Device, Arc<Function>)> {
    let device = contexts::active()?;
    Ok((device, kernel_on(device, pointer)?))
}

/// The same on a device. A pointer that is neither null nor known is taken for a wrong handle since
/// CUDA 13.
pub(super) fn kernel_on(device: &Device, pointer: u64) -> Result<Arc<Function>> {
    match modules::kernel(device, pointer) {
        Ok(function) => Ok(function),
        Err(error::INVALID_DEVICE_FUNCTION)
            if pointer != 0
                && !modules::is_kernel(pointer)
                && !release::is_before(OTHER_ERRORS) =>
        {
            Err(error::INVALID_HANDLE)
        }
        Err(status) => Err(status),
    }
}

fn blocks(out: Out<i32>, pointer: u64, block_size: i32, shared: usize, flags: u32) -> Result<()> {
    /// `cudaOccupancyDisableCachingOverride`
    const DISABLE_CACHING_OVERRIDE: u32 = 1;
    out.present()?;
    if flags & !DISABLE_CACHING_OVERRIDE != 0 {
        return Err(error::INVALID_VALUE);
    }
    let (_, function) = kernel(pointer)?;
    out.set(launch::occupancy(&function, block_size, shared as u64)? as i32)
}

export! { runtime:
    /// `cudaFuncGetAttributes` — CUDA Runtime API 9.0 to 11.8, Execution Control.
    fn cudaFuncGetAttributes__v9(out: Out<Attributes9>, pointer: u64) {
        out.present()?;
        let (device, function) = kernel(pointer)?;
        out.set(Attributes12::of(device, &function).into())
    }

    /// `cudaFuncGetAttributes` — CUDA Runtime API, Execution Control.
    fn cudaFuncGetAttributes__v12(out: Out<Attributes12>, pointer: u64) {
        out.present()?;
        let (device, function) = kernel(pointer)?;
        out.set(Attributes12::of(device, &function))
    }

    /// `cudaFuncSetAttribute` — CUDA Runtime API, Execution Control. The numbers are those of
    /// `CUfunction_attribute`.
    fn cudaFuncSetAttribute(pointer: u64, attribute: u32, value: i32) {
        let (_, function) = kernel(pointer)?;
        launch::set_attribute(&function, attribute, value)
    }

    /// `cudaFuncSetCacheConfig` — CUDA Runtime API, Execution Control. A preference.
    fn cudaFuncSetCacheConfig(pointer: u64, config: u32) {
        match config {
            0..=LAST_CACHE_CONFIG => kernel(pointer).map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaFuncSetSharedMemConfig` — CUDA Runtime API, Execution Control. Without effect where
    /// banks have a fixed size.
    fn cudaFuncSetSharedMemConfig(pointer: u64, config: u32) {
        match config {
            0..=LAST_BANK_SIZE => kernel(pointer).map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaGetFuncBySymbol` — CUDA Runtime API, Interactions with the CUDA Driver API.
    fn cudaGetFuncBySymbol(out: Out<u64>, pointer: u64) {
        out.present()?;
        out.set(kernel(pointer)?.1.handle())
    }

    /// `cudaGetKernel` — CUDA Runtime API, Interactions with the CUDA Driver API. The address of
    /// the host stub is the handle, which is valid on every device. Host stubs of CUDA 13 call it as
    /// `__cudaGetKernel`, and launch by the handle.
    fn cudaGetKernel | __cudaGetKernel(out: Out<u64>, host: u64) {
        out.present()?;
        match modules::is_kernel(host) {
            true => out.set(host),
            false => Err(error::INVALID_DEVICE_FUNCTION),
        }
    }

    /// `cudaOccupancyMaxActiveBlocksPerMultiprocessor` — CUDA Runtime API, Occupancy.
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        out: Out<i32>, pointer: u64, block_size: i32, shared: usize,
    ) {
        blocks(out, pointer, block_size, shared, 0)
    }

    /// `cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags` — CUDA Runtime API, Occupancy.
    fn cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        out: Out<i32>, pointer: u64, block_size: i32, shared: usize, flags: u32,
    ) {
        blocks(out, pointer, block_size, shared, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::layouts::{assert_layout, offsets};

    #[test]
    fn structures_are_laid_out_as_in_each_release() {
        let nine = offsets!(Attributes9:
            "sharedSizeBytes" shared, "constSizeBytes" constant, "localSizeBytes" local,
            "maxThreadsPerBlock" max_threads_per_block, "numRegs" registers,
            "ptxVersion" ptx_version, "binaryVersion" binary_version,
            "cacheModeCA" cache_mode_ca, "maxDynamicSharedSizeBytes" max_dynamic_shared,
            "preferredShmemCarveout" preferred_carveout);
        // The manuals of 9.0 and 10.0 declare the same.
        assert_layout(
            "cudaFuncAttributes",
            "11.8",
            size_of::<Attributes9>(),
            &nine,
        );
        let twelve = offsets!(Attributes12:
            "sharedSizeBytes" shared, "constSizeBytes" constant, "localSizeBytes" local,
            "maxThreadsPerBlock" max_threads_per_block, "numRegs" registers,
            "ptxVersion" ptx_version, "binaryVersion" binary_version,
            "cacheModeCA" cache_mode_ca, "maxDynamicSharedSizeBytes" max_dynamic_shared,
            "preferredShmemCarveout" preferred_carveout,
            "clusterDimMustBeSet" cluster_must_be_set, "requiredClusterWidth" cluster_width,
            "requiredClusterHeight" cluster_height, "requiredClusterDepth" cluster_depth,
            "clusterSchedulingPolicyPreference" cluster_scheduling,
            "nonPortableClusterSizeAllowed" non_portable_cluster, "reserved" reserved);
        for release in ["12.0", "12.9", "13.0"] {
            assert_layout(
                "cudaFuncAttributes",
                release,
                size_of::<Attributes12>(),
                &twelve,
            );
        }
    }
}
