// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a launch the driver refuses at once (CUDA Driver API, `cuLaunchKernel`).

use vcuda_protocol::{Dim3, Status};

use super::info::*;
use super::modules::Function;
use super::options::CpuOptions;
use crate::devices::LaunchRequest;
use crate::status;

pub(super) fn check(
    function: &Function,
    request: &LaunchRequest,
    options: &CpuOptions,
) -> Result<(), Status> {
    let (grid, block) = (extents(request.grid), extents(request.block));
    let fits = |extents: [u32; 3], limits: [u32; 3]| {
        extents
            .iter()
            .zip(limits)
            .all(|(&extent, limit)| (1..=limit).contains(&extent))
    };
    if !fits(grid, MAX_GRID) || !fits(block, MAX_BLOCK) {
        return Err(status::INVALID_CONFIGURATION);
    }
    // At most 2^10 * 2^10 * 2^6.
    let threads: u32 = block.iter().product();
    if threads > MAX_THREADS_PER_BLOCK {
        return Err(status::INVALID_CONFIGURATION);
    }
    if threads > function.max_threads() {
        return Err(status::LAUNCH_OUT_OF_RESOURCES);
    }
    let kernel = &function.kernel;
    if kernel.required_block().is_some_and(|only| only != block) {
        return Err(status::INVALID_VALUE);
    }
    if request.dynamic_shared > function.max_dynamic_shared
        || request.params.0.len() < kernel.param_bytes() as usize
    {
        return Err(status::INVALID_VALUE);
    }
    if request.cooperative {
        let resident = function.occupancy(threads, request.dynamic_shared.into())?;
        let most = u64::from(resident) * u64::from(multiprocessors(options));
        // At most 2^31 * 2^16 * 2^16.
        if grid
            .iter()
            .map(|&extent| u64::from(extent))
            .product::<u64>()
            > most
        {
            return Err(status::COOPERATIVE_LAUNCH_TOO_LARGE);
        }
    }
    Ok(())
}

pub(super) fn extents(dim: Dim3) -> [u32; 3] {
    [dim.x, dim.y, dim.z]
}
