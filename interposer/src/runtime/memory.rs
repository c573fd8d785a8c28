// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: allocation.

use vcuda_protocol::HostMemory;

use crate::abi::Out;
use crate::entry::export;
use crate::graph::capture;
use crate::managed::{self, Place};
use crate::memory::{self, Memory};
use crate::pools::{self, Location};
use crate::{Result, contexts, error, streams};

/// `cudaExtent`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) depth: usize,
}

impl From<Extent> for vcuda_protocol::Extent {
    fn from(extent: Extent) -> Self {
        vcuda_protocol::Extent {
            width: extent.width as u64,
            height: extent.height as u64,
            depth: extent.depth as u64,
        }
    }
}

/// `cudaPitchedPtr`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct PitchedPtr {
    pub(super) pointer: u64,
    pub(super) pitch: usize,
    /// Logical width in bytes, and height in rows.
    pub(super) width: usize,
    pub(super) height: usize,
}

/// `cudaHostAllocPortable` | `Mapped` | `WriteCombined`
const HOST_ALLOC_FLAGS: u32 = 7;
/// `cudaHostRegisterPortable` | `Mapped` | `IoMemory` | `ReadOnly`
const HOST_REGISTER_FLAGS: u32 = 15;

/// Allocates `rows` rows of `width` bytes; returns address and pitch.
fn allocate_pitched(width: usize, rows: Option<usize>) -> Result<(u64, usize)> {
    capture::refuse_unsafe()?;
    let device = contexts::active()?;
    let rows = rows.ok_or(error::OUT_OF_MEMORY)?;
    let (address, pitch) = memory::allocate_pitched(device, width as u64, rows as u64)?;
    Ok((address, pitch as usize))
}

fn allocate_host(out: Out<u64>, size: usize, flags: u32) -> Result<()> {
    capture::refuse_unsafe()?;
    out.present()?;
    if flags & !HOST_ALLOC_FLAGS != 0 {
        return Err(error::INVALID_VALUE);
    }
    let device = contexts::active()?;
    out.set(memory::allocate_host(
        device,
        size as u64,
        HostMemory::Pinned,
        flags,
    )?)
}

export! { runtime:
    /// `cudaMalloc` — CUDA Runtime API, Memory Management.
    fn cudaMalloc(out: Out<u64>, size: usize) {
        capture::refuse_unsafe()?;
        out.present()?;
        out.set(memory::allocate(contexts::active()?, size as u64)?)
    }

    /// `cudaMallocPitch` — CUDA Runtime API, Memory Management.
    fn cudaMallocPitch(out: Out<u64>, pitch: Out<usize>, width: usize, height: usize) {
        out.present()?;
        pitch.present()?;
        let (address, row) = allocate_pitched(width, Some(height))?;
        out.set(address)?;
        pitch.set(row)
    }

    /// `cudaMalloc3D` — CUDA Runtime API, Memory Management.
    fn cudaMalloc3D(out: Out<PitchedPtr>, extent: Extent) {
        out.present()?;
        let rows = extent.height.checked_mul(extent.depth);
        let (pointer, pitch) = allocate_pitched(extent.width, rows)?;
        out.set(PitchedPtr { pointer, pitch, width: extent.width, height: extent.height })
    }

    /// `cudaMallocAsync` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMallocAsync / cudaMallocAsync_ptsz(out: Out<u64>, size: usize, stream: u64) {
        out.present()?;
        capture::refuse_nodes(stream, "memory allocation nodes")?;
        let entry = streams::entry(stream)?;
        let stream = streams::resolve(stream)?;
        let device = contexts::device(entry.ordinal as i32)?;
        out.set(pools::allocate(device, stream, size as u64)?)
    }

    /// `cudaFree` — CUDA Runtime API, Memory Management. A null pointer is no error; programs free
    /// one to have the device initialised.
    fn cudaFree(address: u64) {
        capture::refuse_unsafe()?;
        contexts::active()?;
        match address {
            0 => Ok(()),
            _ => memory::free(address),
        }
    }

    /// `cudaFreeAsync` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaFreeAsync / cudaFreeAsync_ptsz(address: u64, stream: u64) {
        capture::refuse_nodes(stream, "memory free nodes")?;
        let stream = streams::resolve(stream)?;
        match address {
            0 => Ok(()),
            _ => memory::free_on(stream, address),
        }
    }

    /// `cudaMallocHost` — CUDA Runtime API, Memory Management.
    fn cudaMallocHost(out: Out<u64>, size: usize) {
        allocate_host(out, size, 0)
    }

    /// `cudaHostAlloc` — CUDA Runtime API, Memory Management.
    fn cudaHostAlloc(out: Out<u64>, size: usize, flags: u32) {
        allocate_host(out, size, flags)
    }

    /// `cudaFreeHost` — CUDA Runtime API, Memory Management.
    fn cudaFreeHost(address: u64) {
        capture::refuse_unsafe()?;
        contexts::active()?;
        match address {
            0 => Ok(()),
            _ => memory::free_host(address, HostMemory::Pinned),
        }
    }

    /// `cudaHostGetFlags` — CUDA Runtime API, Memory Management.
    fn cudaHostGetFlags(flags: Out<u32>, address: u64) {
        flags.present()?;
        flags.set(memory::host_flags(address)?)
    }

    /// `cudaHostGetDevicePointer` — CUDA Runtime API, Memory Management. `flags` must be 0.
    /// Registered memory stays where the device does not see it.
    fn cudaHostGetDevicePointer(out: Out<u64>, address: u64, flags: u32) {
        out.present()?;
        match memory::classify(address) {
            _ if flags != 0 => Err(error::INVALID_VALUE),
            Memory::Window { .. } => out.set(address),
            _ if memory::registered(address).is_some() => {
                Err(error::unsupported("memory of cudaHostRegister"))
            }
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaHostRegister` — CUDA Runtime API, Memory Management.
    fn cudaHostRegister(address: u64, size: usize, flags: u32) {
        capture::refuse_unsafe()?;
        if flags & !HOST_REGISTER_FLAGS != 0 {
            return Err(error::INVALID_VALUE);
        }
        contexts::active()?;
        memory::register(address, size as u64, flags)
    }

    /// `cudaHostUnregister` — CUDA Runtime API, Memory Management.
    fn cudaHostUnregister(address: u64) {
        capture::refuse_unsafe()?;
        contexts::active()?;
        memory::unregister(address)
    }

    /// `cudaMallocManaged` — CUDA Runtime API, Memory Management.
    fn cudaMallocManaged(out: Out<u64>, size: usize, flags: u32) {
        capture::refuse_unsafe()?;
        out.present()?;
        out.set(memory::allocate_managed(contexts::active()?, size as u64, flags)?)
    }

    /// `cudaMemAdvise` — CUDA Runtime API 9.0 to 12.9, Memory Management.
    fn cudaMemAdvise__v9(address: u64, size: usize, advice: u32, device: i32) {
        managed::advise(address, size, advice, Place::Number(device))
    }

    /// `cudaMemAdvise` — CUDA Runtime API 13.0, Memory Management; before it `cudaMemAdvise_v2`.
    fn cudaMemAdvise__v13 | cudaMemAdvise_v2(address: u64, size: usize, advice: u32, location: Location) {
        managed::advise(address, size, advice, Place::Location(location))
    }

    /// `cudaMemPrefetchAsync` — CUDA Runtime API 9.0 to 12.9, Memory Management.
    fn cudaMemPrefetchAsync__v9 / cudaMemPrefetchAsync_ptsz__v9(address: u64, size: usize, device: i32, stream: u64) {
        managed::prefetch(address, size, Place::Number(device), stream)
    }

    /// `cudaMemPrefetchAsync` — CUDA Runtime API 13.0, Memory Management; before it `cudaMemPrefetchAsync_v2`. `flags` must
    /// be 0.
    fn cudaMemPrefetchAsync__v13 | cudaMemPrefetchAsync_v2 / cudaMemPrefetchAsync_ptsz__v13 / cudaMemPrefetchAsync_v2_ptsz(
        address: u64, size: usize, location: Location, flags: u32, stream: u64,
    ) {
        if flags != 0 {
            return Err(error::INVALID_VALUE);
        }
        managed::prefetch(address, size, Place::Location(location), stream)
    }

    /// `cudaStreamAttachMemAsync` — CUDA Runtime API, Stream Management.
    fn cudaStreamAttachMemAsync / cudaStreamAttachMemAsync_ptsz(stream: u64, address: u64, size: usize, flags: u32) {
        managed::attach(stream, address, size, flags)
    }

    /// `cudaMemGetInfo` — CUDA Runtime API, Memory Management.
    fn cudaMemGetInfo(free: Out<usize>, total: Out<usize>) {
        free.present()?;
        total.present()?;
        let info = memory::info(contexts::active()?)?;
        free.set(info.free as usize)?;
        total.set(info.total as usize)
    }
}
