// SPDX-License-Identifier: MIT OR Apache-2.0
//! Occupancy: how many blocks of a kernel fit a multiprocessor, and which block size fills it.

use std::ffi::c_int;

use crate::abi::Out;
use crate::contexts;
use crate::driver::function::find;
use crate::entry::export;
use crate::{Result, error, launch};

/// `CUoccupancyB2DSize`: the bytes of dynamic shared memory that a block of this size needs.
type SharedOfBlock = Option<extern "C" fn(c_int) -> usize>;

fn check(flags: u32) -> Result<()> {
    /// `CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE`
    const DISABLE_CACHING_OVERRIDE: u32 = 1;
    match flags & !DISABLE_CACHING_OVERRIDE {
        0 => Ok(()),
        _ => Err(error::INVALID_VALUE),
    }
}

fn blocks(out: Out<i32>, function: u64, block_size: i32, shared: usize, flags: u32) -> Result<()> {
    out.present()?;
    let function = find(contexts::bound()?, function)?;
    check(flags)?;
    out.set(launch::occupancy(&function, block_size, shared as u64)? as i32)
}

/// The block size with which the most threads are on a multiprocessor, and of several the largest;
/// and how many such blocks fill the device. Both are 0 if no block fits.
fn potential(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    shared_of_block: SharedOfBlock,
    shared: usize,
    limit: i32,
    flags: u32,
) -> Result<()> {
    const WARP: i32 = 32;
    /// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`
    const MULTIPROCESSOR_COUNT: u32 = 16;
    grid.present()?;
    block.present()?;
    let function = find(contexts::bound()?, function)?;
    check(flags)?;
    let device = contexts::device(function.module.ordinal as i32)?;
    let most = function.info.max_threads_per_block as i32;
    let most = match limit {
        ..0 => return Err(error::INVALID_VALUE),
        0 => most,
        _ => most.min(limit),
    };
    let (mut threads, mut best) = (0, (0, 0));
    // A limit that does not fill its last warp is tried as it is, and below it whole warps.
    let whole_warps = (1..=(most - 1) / WARP).rev().map(|warps| warps * WARP);
    for size in std::iter::once(most).chain(whole_warps) {
        let shared = shared_of_block.map_or(shared, |shared_of_block| shared_of_block(size));
        let blocks = launch::occupancy(&function, size, shared as u64)? as i32;
        if blocks.saturating_mul(size) > threads {
            threads = blocks.saturating_mul(size);
            best = (blocks, size);
        }
    }
    let multiprocessors = device.attribute(MULTIPROCESSOR_COUNT).unwrap_or(1);
    grid.set(best.0.saturating_mul(multiprocessors as i32))?;
    block.set(best.1)
}

export! { initialized:
    /// `cuOccupancyMaxActiveBlocksPerMultiprocessor` — CUDA Driver API, Occupancy.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
        out: Out<i32>, function: u64, block_size: i32, shared: usize,
    ) {
        blocks(out, function, block_size, shared, 0)
    }

    /// `cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags` — CUDA Driver API, Occupancy.
    fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        out: Out<i32>, function: u64, block_size: i32, shared: usize, flags: u32,
    ) {
        blocks(out, function, block_size, shared, flags)
    }

    /// `cuOccupancyMaxPotentialBlockSize` — CUDA Driver API, Occupancy.
    fn cuOccupancyMaxPotentialBlockSize(
        grid: Out<i32>, block: Out<i32>, function: u64, shared_of_block: SharedOfBlock,
        shared: usize, limit: i32,
    ) {
        potential(grid, block, function, shared_of_block, shared, limit, 0)
    }

    /// `cuOccupancyMaxPotentialBlockSizeWithFlags` — CUDA Driver API, Occupancy.
    fn cuOccupancyMaxPotentialBlockSizeWithFlags(
        grid: Out<i32>, block: Out<i32>, function: u64, shared_of_block: SharedOfBlock,
        shared: usize, limit: i32, flags: u32,
    ) {
        potential(grid, block, function, shared_of_block, shared, limit, flags)
    }
}
