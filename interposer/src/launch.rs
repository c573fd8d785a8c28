// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel launches.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use vcuda_protocol::{Bytes, Command, Dim3, Reply};

use crate::contexts::{self, Device, unexpected};
use crate::modules::Function;
use crate::{Result, error, session, streams};

/// Where a launch's arguments are.
pub(crate) enum Arguments<'a> {
    /// A pointer to each argument, as many as the kernel has parameters (`kernelParams`).
    Pointers(*const *const c_void),
    /// The argument buffer, already laid out.
    Packed(&'a [u8]),
}

pub(crate) struct Launch {
    pub(crate) grid: Dim3,
    pub(crate) block: Dim3,
    pub(crate) shared: u64,
    pub(crate) stream: u64,
    pub(crate) cooperative: bool,
}

/// Launches a kernel.
///
/// # Safety
/// `Arguments::Pointers` points to as many readable pointers as the kernel has parameters, each to
/// a value of the parameter's size.
pub(crate) unsafe fn launch(
    function: &Function,
    launch: &Launch,
    arguments: Arguments<'_>,
) -> Result<()> {
    let device = contexts::device(function.module.ordinal as i32)?;
    check(device, function, launch)?;
    if launch.cooperative {
        check_cooperative(device, function, launch)?;
    }
    let stream = streams::resolve(launch.stream)?;
    if stream.device != device.wire {
        return Err(error::INVALID_HANDLE);
    }
    let params = match arguments {
        Arguments::Packed(bytes) => packed(function, bytes)?,
        // SAFETY: by this function's contract.
        Arguments::Pointers(pointers) => unsafe { gather(function, pointers) }?,
    };
    session::get()?.post(&Command::Launch {
        stream,
        function: function.id,
        grid: launch.grid,
        block: launch.block,
        dynamic_shared: launch.shared as u32,
        cooperative: launch.cooperative,
        params: Bytes(params),
    })
}

/// The argument buffer as long as the kernel's parameters. Callers of the old launch ABI leave out
/// padding at the end, but no argument may be missing.
fn packed(function: &Function, bytes: &[u8]) -> Result<Vec<u8>> {
    let ends = function.info.params.iter();
    let ends = ends.map(|&(offset, size)| u64::from(offset) + u64::from(size));
    if (bytes.len() as u64) < ends.max().unwrap_or(0) {
        return Err(error::INVALID_VALUE);
    }
    let mut params = bytes.to_vec();
    params.resize(function.info.param_bytes as usize, 0);
    Ok(params)
}

/// Lays the arguments out as the kernel's parameters are.
///
/// # Safety
/// As for [`launch`].
unsafe fn gather(function: &Function, pointers: *const *const c_void) -> Result<Vec<u8>> {
    let info = &function.info;
    let mut params = vec![0; info.param_bytes as usize];
    if info.params.is_empty() {
        return Ok(params);
    }
    if pointers.is_null() {
        return Err(error::INVALID_VALUE);
    }
    for (index, &(offset, size)) in info.params.iter().enumerate() {
        // SAFETY: by the contract there are as many pointers as parameters.
        let argument = unsafe { pointers.add(index).read_unaligned() };
        let end = offset.checked_add(size).ok_or(error::INVALID_VALUE)?;
        let room = params
            .get_mut(offset as usize..end as usize)
            .ok_or(error::INVALID_VALUE)?;
        if argument.is_null() {
            return Err(error::INVALID_VALUE);
        }
        // SAFETY: by the contract the argument has the parameter's size; `room` is ours.
        unsafe { std::ptr::copy_nonoverlapping(argument.cast(), room.as_mut_ptr(), size as usize) };
    }
    Ok(params)
}

/// What the driver refuses at the call (CUDA Driver API, cuLaunchKernel): shapes beyond the
/// device's limits, more threads or shared memory than the kernel can have.
fn check(device: &Device, function: &Function, launch: &Launch) -> Result<()> {
    /// `CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X` and following, `..._MAX_GRID_DIM_X` and following.
    const MAX_THREADS_PER_BLOCK: u32 = 1;
    const MAX_BLOCK_DIM: u32 = 2;
    const MAX_GRID_DIM: u32 = 5;
    let limit = |number| {
        device
            .attribute(number)
            .map_or(u64::MAX, |v| v.max(0) as u64)
    };
    let sides = |d: Dim3| [d.x, d.y, d.z];
    for (first, dim) in [(MAX_GRID_DIM, launch.grid), (MAX_BLOCK_DIM, launch.block)] {
        for (number, side) in (first..).zip(sides(dim)) {
            if side == 0 || u64::from(side) > limit(number) {
                return Err(error::INVALID_CONFIGURATION);
            }
        }
    }
    let threads: u64 = sides(launch.block).into_iter().map(u64::from).product();
    if threads > limit(MAX_THREADS_PER_BLOCK) {
        return Err(error::INVALID_CONFIGURATION);
    }
    if threads > u64::from(function.info.max_threads_per_block) {
        return Err(error::LAUNCH_OUT_OF_RESOURCES);
    }
    match launch.shared > dynamic_shared_limit(device, function) {
        true => Err(error::INVALID_VALUE),
        false => Ok(()),
    }
}

/// All blocks of a cooperative grid must be on the device at once (CUDA Driver API,
/// cuLaunchCooperativeKernel).
fn check_cooperative(device: &Device, function: &Function, launch: &Launch) -> Result<()> {
    const MULTIPROCESSOR_COUNT: u32 = 16;
    const COOPERATIVE_LAUNCH: u32 = 95;
    let attribute = |number| device.attribute(number).unwrap_or(0).max(0) as u64;
    if attribute(COOPERATIVE_LAUNCH) == 0 {
        return Err(error::NOT_SUPPORTED);
    }
    let count = |d: Dim3| {
        u64::from(d.x)
            .checked_mul(u64::from(d.y))?
            .checked_mul(u64::from(d.z))
    };
    // `check` has seen that a block has no more threads than the device allows.
    let threads = count(launch.block).and_then(|threads| i32::try_from(threads).ok());
    let threads = threads.ok_or(error::INVALID_CONFIGURATION)?;
    let each = u64::from(occupancy(function, threads, launch.shared)?);
    match count(launch.grid) {
        Some(blocks) if blocks <= each * attribute(MULTIPROCESSOR_COUNT) => Ok(()),
        _ => Err(error::COOPERATIVE_LAUNCH_TOO_LARGE),
    }
}

/// Dynamic shared memory that a launch may ask for: what the attribute was set to, or what fits
/// beside the static memory without opting in.
pub(crate) fn dynamic_shared_limit(device: &Device, function: &Function) -> u64 {
    const MAX_SHARED_MEMORY_PER_BLOCK: u32 = 8;
    match function.max_dynamic_shared.load(Ordering::Relaxed) {
        set @ 0.. => set as u64,
        _ => {
            let all = device.attribute(MAX_SHARED_MEMORY_PER_BLOCK).unwrap_or(0);
            (all.max(0) as u64).saturating_sub(u64::from(function.info.static_shared))
        }
    }
}

/// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` and `..._PREFERRED_SHARED_MEMORY_CARVEOUT`,
/// the attributes that can be set.
pub(crate) const ATTRIBUTE_MAX_DYNAMIC_SHARED: u32 = 8;
pub(crate) const ATTRIBUTE_CARVEOUT: u32 = 9;

/// The value of a `CUfunction_attribute`.
pub(crate) fn attribute(device: &Device, function: &Function, number: u32) -> Result<i32> {
    let info = &function.info;
    let value = match number {
        0 => u64::from(info.max_threads_per_block),
        1 => u64::from(info.static_shared),
        2 => u64::from(info.const_bytes),
        3 => u64::from(info.local_bytes),
        4 => u64::from(info.registers),
        5 => u64::from(info.ptx_version),
        6 => u64::from(info.binary_version),
        ATTRIBUTE_MAX_DYNAMIC_SHARED => dynamic_shared_limit(device, function),
        ATTRIBUTE_CARVEOUT => return Ok(function.carveout.load(Ordering::Relaxed)),
        // Compiled for caching in L1; cluster size and scheduling. There is none of it.
        7 | 10..=15 => 0,
        _ => return Err(error::INVALID_VALUE),
    };
    Ok(i32::try_from(value).unwrap_or(i32::MAX))
}

/// `cudaFuncSetAttribute`, `cuFuncSetAttribute`
pub(crate) fn set_attribute(function: &Function, attribute: u32, value: i32) -> Result<()> {
    let device = contexts::device(function.module.ordinal as i32)?;
    match attribute {
        ATTRIBUTE_MAX_DYNAMIC_SHARED => {
            const MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: u32 = 97;
            let all = device
                .attribute(MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
                .unwrap_or(0);
            let room = i64::from(all) - i64::from(function.info.static_shared);
            if value < 0 || i64::from(value) > room {
                return Err(error::INVALID_VALUE);
            }
            function.max_dynamic_shared.store(value, Ordering::Relaxed);
        }
        ATTRIBUTE_CARVEOUT => {
            if !(-1..=100).contains(&value) {
                return Err(error::INVALID_VALUE);
            }
            function.carveout.store(value, Ordering::Relaxed);
        }
        // A cluster of one block is what there is. Leave for larger ones, and a preference for
        // their scheduling, change nothing.
        11..=13 if matches!(value, 0 | 1) => return Ok(()),
        14 => return Ok(()),
        15 if matches!(value, 0..=2) => return Ok(()),
        11..=13 if value > 1 => return Err(error::unsupported("thread block clusters")),
        _ => return Err(error::INVALID_VALUE),
    }
    session::get()?.post(&Command::FunctionSetAttribute {
        function: function.id,
        attribute,
        value,
    })
}

/// Blocks of a kernel that fit one multiprocessor at once.
pub(crate) fn occupancy(function: &Function, block_size: i32, dynamic_shared: u64) -> Result<u32> {
    let block_size = u32::try_from(block_size).map_err(|_| error::INVALID_VALUE)?;
    if block_size == 0 {
        return Err(error::INVALID_VALUE);
    }
    let command = Command::Occupancy {
        function: function.id,
        block_size,
        dynamic_shared,
    };
    match session::get()?.call(&command)? {
        Reply::Count(blocks) => Ok(blocks),
        other => Err(unexpected("Occupancy", &other)),
    }
}
