// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: allocation, and the stream ordered allocator.

use vcuda_protocol::HostMemory;

use crate::abi::Out;
use crate::entry::export;
use crate::error::unsupported;
use crate::graph::capture;
use crate::managed::{self, Place};
use crate::memory::{self, Memory};
use crate::pools::{self, Location};
use crate::{Result, contexts, error, streams};

/// `CU_MEMHOSTALLOC_PORTABLE` | `..._DEVICEMAP` | `..._WRITECOMBINED`
const HOST_ALLOC_FLAGS: u32 = 7;
/// `CU_MEMHOSTREGISTER_PORTABLE` | `..._DEVICEMAP` | `..._IOMEMORY` | `..._READ_ONLY`
const HOST_REGISTER_FLAGS: u32 = 15;

/// Unlike the Runtime API, the driver refuses to allocate nothing on a device, but for allocations
/// on a stream.
fn some(size: usize) -> Result<u64> {
    match size {
        0 => Err(error::INVALID_VALUE),
        _ => Ok(size as u64),
    }
}

fn allocate_host(out: Out<u64>, size: usize, flags: u32) -> Result<()> {
    capture::refuse_unsafe()?;
    let device = contexts::bound()?;
    out.present()?;
    if flags & !HOST_ALLOC_FLAGS != 0 {
        return Err(error::INVALID_VALUE);
    }
    let kind = HostMemory::Pinned;
    out.set(memory::allocate_host(device, size as u64, kind, flags)?)
}

fn register(address: u64, size: usize, flags: u32) -> Result<()> {
    capture::refuse_unsafe()?;
    contexts::bound()?;
    if flags & !HOST_REGISTER_FLAGS != 0 {
        return Err(error::INVALID_VALUE);
    }
    memory::register(address, size as u64, flags)
}

export! { initialized:
    /// `cuMemGetInfo_v2` — CUDA Driver API, Memory Management.
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let device = contexts::bound()?;
        free.present()?;
        total.present()?;
        let info = memory::info(device)?;
        free.set(info.free as usize)?;
        total.set(info.total as usize)
    }

    /// `cuMemAlloc_v2` — CUDA Driver API, Memory Management.
    fn cuMemAlloc_v2(out: Out<u64>, size: usize) {
        capture::refuse_unsafe()?;
        let device = contexts::bound()?;
        out.present()?;
        out.set(memory::allocate(device, some(size)?)?)
    }

    /// `cuMemAllocPitch_v2` — CUDA Driver API, Memory Management. `element` is the size of what the
    /// program will read at once.
    fn cuMemAllocPitch_v2(out: Out<u64>, pitch: Out<usize>, width: usize, height: usize, element: u32) {
        capture::refuse_unsafe()?;
        let device = contexts::bound()?;
        out.present()?;
        pitch.present()?;
        if !matches!(element, 4 | 8 | 16) {
            return Err(error::INVALID_VALUE);
        }
        let (address, row) = memory::allocate_pitched(device, some(width)?, some(height)?)?;
        out.set(address)?;
        pitch.set(row as usize)
    }

    /// `cuMemFree_v2` — CUDA Driver API, Memory Management. A null pointer is no error, even
    /// without a context.
    fn cuMemFree_v2(address: u64) {
        capture::refuse_unsafe()?;
        if address == 0 {
            return Ok(());
        }
        contexts::bound()?;
        memory::free(address)
    }

    /// `cuMemGetAddressRange_v2` — CUDA Driver API, Memory Management. Either pointer may be null.
    fn cuMemGetAddressRange_v2(base: Out<u64>, size: Out<usize>, address: u64) {
        contexts::bound()?;
        match memory::classify(address) {
            Memory::Device { start, len, .. } | Memory::Window { start, len, .. } => {
                base.set_if_wanted(start);
                size.set_if_wanted(len as usize);
                Ok(())
            }
            _ => Err(error::NOT_FOUND),
        }
    }

    /// `cuMemAllocHost_v2` — CUDA Driver API, Memory Management.
    fn cuMemAllocHost_v2(out: Out<u64>, size: usize) {
        allocate_host(out, size, 0)
    }

    /// `cuMemHostAlloc` — CUDA Driver API, Memory Management.
    fn cuMemHostAlloc(out: Out<u64>, size: usize, flags: u32) {
        allocate_host(out, size, flags)
    }

    /// `cuMemFreeHost` — CUDA Driver API, Memory Management.
    fn cuMemFreeHost(address: u64) {
        capture::refuse_unsafe()?;
        if address == 0 {
            return Ok(());
        }
        contexts::bound()?;
        memory::free_host(address, HostMemory::Pinned)
    }

    /// `cuMemHostGetDevicePointer_v2` — CUDA Driver API, Memory Management. No flags are defined.
    /// Memory that was registered stays where the device does not see it.
    fn cuMemHostGetDevicePointer_v2(out: Out<u64>, address: u64, flags: u32) {
        contexts::bound()?;
        out.present()?;
        match memory::classify(address) {
            _ if flags != 0 => Err(error::INVALID_VALUE),
            Memory::Window { .. } => out.set(address),
            _ if memory::registered(address).is_some() => {
                Err(unsupported("memory of cuMemHostRegister"))
            }
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuMemHostGetFlags` — CUDA Driver API, Memory Management.
    fn cuMemHostGetFlags(out: Out<u32>, address: u64) {
        contexts::bound()?;
        out.present()?;
        out.set(memory::host_flags(address)?)
    }

    /// `cuMemHostRegister` — CUDA Driver API, Memory Management.
    fn cuMemHostRegister | cuMemHostRegister_v2(address: u64, size: usize, flags: u32) {
        register(address, size, flags)
    }

    /// `cuMemHostUnregister` — CUDA Driver API, Memory Management.
    fn cuMemHostUnregister(address: u64) {
        capture::refuse_unsafe()?;
        contexts::bound()?;
        memory::unregister(address)
    }

    /// `cuMemAllocManaged` — CUDA Driver API, Memory Management.
    fn cuMemAllocManaged(out: Out<u64>, size: usize, flags: u32) {
        capture::refuse_unsafe()?;
        let device = contexts::bound()?;
        out.present()?;
        out.set(memory::allocate_managed(device, size as u64, flags)?)
    }

    /// `cuMemAdvise` — CUDA Driver API, Unified Addressing.
    fn cuMemAdvise(address: u64, size: usize, advice: u32, device: i32) {
        contexts::bound()?;
        managed::advise(address, size, advice, Place::Number(device))
    }

    /// `cuMemAdvise_v2` — CUDA Driver API 12.2, Unified Addressing.
    fn cuMemAdvise_v2(address: u64, size: usize, advice: u32, location: Location) {
        contexts::bound()?;
        managed::advise(address, size, advice, Place::Location(location))
    }

    /// `cuMemPrefetchAsync` — CUDA Driver API, Unified Addressing.
    fn cuMemPrefetchAsync / cuMemPrefetchAsync_ptsz(address: u64, size: usize, device: i32, stream: u64) {
        contexts::bound()?;
        managed::prefetch(address, size, Place::Number(device), stream)
    }

    /// `cuMemPrefetchAsync_v2` — CUDA Driver API 12.2, Unified Addressing. `flags` must be 0.
    fn cuMemPrefetchAsync_v2 / cuMemPrefetchAsync_v2_ptsz(
        address: u64, size: usize, location: Location, flags: u32, stream: u64,
    ) {
        contexts::bound()?;
        if flags != 0 {
            return Err(error::INVALID_VALUE);
        }
        managed::prefetch(address, size, Place::Location(location), stream)
    }

    /// `cuStreamAttachMemAsync` — CUDA Driver API, Stream Management.
    fn cuStreamAttachMemAsync / cuStreamAttachMemAsync_ptsz(stream: u64, address: u64, size: usize, flags: u32) {
        contexts::bound()?;
        managed::attach(stream, address, size, flags)
    }

    /// `cuMemAllocAsync` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemAllocAsync / cuMemAllocAsync_ptsz(out: Out<u64>, size: usize, stream: u64) {
        contexts::bound()?;
        out.present()?;
        capture::refuse_nodes(stream, "memory allocation nodes")?;
        let device = contexts::device(streams::entry(stream)?.ordinal as i32)?;
        let stream = streams::resolve(stream)?;
        out.set(pools::allocate(device, stream, size as u64)?)
    }

    /// `cuMemFreeAsync` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemFreeAsync / cuMemFreeAsync_ptsz(address: u64, stream: u64) {
        contexts::bound()?;
        capture::refuse_nodes(stream, "memory free nodes")?;
        let stream = streams::resolve(stream)?;
        match address {
            0 => Ok(()),
            _ => memory::free_on(stream, address),
        }
    }
}
