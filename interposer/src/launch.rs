// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel launches.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vcuda_protocol::{Bytes, Command, Dim3, Reply, Stream};

use crate::abi::In;
use crate::contexts::{self, Device, unexpected};
use crate::graph::{self, Operation};
use crate::modules::Function;
use crate::streams::Target;
use crate::{Result, error, session, streams};

/// Where a launch's arguments are.
pub(crate) enum Arguments<'a> {
    /// A pointer to each argument, as many as the kernel has parameters (`kernelParams`).
    Pointers(*const *const c_void),
    /// The argument buffer, already laid out.
    Packed(&'a [u8]),
    /// What leads to the argument buffer (`extra`).
    Extra(In<u64>),
}

impl Arguments<'_> {
    /// The arguments of a launch that may give them in either way, but in one only.
    pub(crate) fn of(pointers: In<*const c_void>, extra: In<u64>) -> Result<Self> {
        match (pointers.is_null(), extra.is_null()) {
            (_, true) => Ok(Arguments::Pointers(pointers.as_ptr())),
            (true, false) => Ok(Arguments::Extra(extra)),
            (false, false) => Err(error::INVALID_VALUE),
        }
    }
}

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

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) grid: Dim3,
    pub(crate) block: Dim3,
    pub(crate) shared: u64,
    pub(crate) cooperative: bool,
}

/// A launch with its arguments, checked: it can be issued on a stream, or kept in a graph.
#[derive(Clone)]
pub(crate) struct Kernel {
    pub(crate) function: Arc<Function>,
    /// What the program named the kernel by.
    pub(crate) named: u64,
    pub(crate) launch: Launch,
    /// The argument buffer, as long as the kernel's parameters.
    pub(crate) params: Vec<u8>,
    /// The device's number on the wire.
    device: u32,
}

impl Kernel {
    /// Checks a launch and takes a copy of its arguments.
    ///
    /// # Safety
    /// `Arguments::Pointers` points to as many readable pointers as the kernel has parameters, each
    /// to a value of the parameter's size; `Arguments::Extra` leads to a buffer as long as it says.
    pub(crate) unsafe fn new(
        function: Arc<Function>,
        named: u64,
        launch: Launch,
        arguments: Arguments<'_>,
    ) -> Result<Self> {
        let device = contexts::device(function.module.ordinal as i32)?;
        check(device, &function, &launch)?;
        if launch.cooperative {
            check_cooperative(device, &function, &launch)?;
        }
        let params = match arguments {
            Arguments::Packed(bytes) => packed(&function, bytes)?,
            // SAFETY: by this function's contract.
            Arguments::Pointers(pointers) => unsafe { gather(&function, pointers) }?,
            Arguments::Extra(extra) => {
                let (address, size) = buffer(extra)?;
                // What is beyond the parameters is not read.
                let size = size.min(function.info.param_bytes as usize);
                let bytes = match (address, size) {
                    (_, 0) => &[][..],
                    (0, _) => return Err(error::INVALID_VALUE),
                    // SAFETY: by this function's contract the buffer is as long as `extra` says.
                    _ => unsafe { std::slice::from_raw_parts(address as *const u8, size) },
                };
                packed(&function, bytes)?
            }
        };
        Ok(Kernel {
            function,
            named,
            launch,
            params,
            device: device.wire,
        })
    }

    /// Launches on the stream of a handle. If that is being captured the launch goes into the graph.
    pub(crate) fn start(self, stream: u64) -> Result<()> {
        match streams::target(stream, true)? {
            Target::Stream(stream) => self.issue(stream),
            Target::Capture(stream) => self.capture(stream),
        }
    }

    #[cold]
    fn capture(self, stream: Stream) -> Result<()> {
        self.check_stream(stream)?;
        graph::capture(stream, Operation::Kernel(self))
    }

    pub(crate) fn check_stream(&self, stream: Stream) -> Result<()> {
        match stream.device == self.device {
            true => Ok(()),
            false => Err(error::INVALID_HANDLE),
        }
    }

    pub(crate) fn issue(self, stream: Stream) -> Result<()> {
        self.check_stream(stream)?;
        session::get()?.post(&Command::Launch {
            stream,
            function: self.function.id,
            grid: self.launch.grid,
            block: self.launch.block,
            dynamic_shared: self.launch.shared as u32,
            cooperative: self.launch.cooperative,
            params: Bytes(self.params),
        })
    }
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
/// As for [`Kernel::new`].
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

#[cfg(test)]
mod tests {
    use super::*;

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
