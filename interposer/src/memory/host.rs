// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pinned and managed memory: the window behind its staging area.

use std::sync::OnceLock;

use parking_lot::Mutex;
use vcuda_protocol::{Command, HostMemory, layout};

use super::{Memory, classify, registered};
use crate::contexts::Device;
use crate::session::heap::Heap;
use crate::session::{self, Session};
use crate::{Result, error};

const PAGE: u64 = 4096;

/// Pinned and managed memory: the window behind its staging area.
struct HostWindow {
    base: u64,
    len: u64,
    heap: Mutex<HostHeap>,
}

struct HostHeap {
    offsets: Heap,
    blocks: Vec<HostBlock>,
}

struct HostBlock {
    offset: u64,
    kind: HostMemory,
    /// The flags that the program allocated it with.
    flags: u32,
    /// The device that was current then.
    device: u32,
}

static HOST: OnceLock<HostWindow> = OnceLock::new();

fn host_window(session: &'static Session) -> &'static HostWindow {
    HOST.get_or_init(|| {
        let len = session.window.len() as u64;
        let free = len - layout::STAGING_LEN;
        HostWindow {
            base: session.window_base,
            len,
            heap: Mutex::new(HostHeap {
                offsets: Heap::new(layout::STAGING_LEN, free, PAGE, free.min(physical_memory())),
                blocks: Vec::new(),
            }),
        }
    })
}

/// What `address` points into, if it lies in the window.
pub(super) fn look_up(address: u64) -> Option<Memory> {
    let host = HOST.get()?;
    let offset = address.wrapping_sub(host.base);
    if offset >= host.len {
        return None;
    }
    let heap = host.heap.lock();
    let found = heap.offsets.find(offset).and_then(|(start, len)| {
        let block = heap.blocks.iter().find(|b| b.offset == start)?;
        Some((start, len, block.kind, block.flags, block.device))
    });
    Some(match found {
        Some((start, len, kind, flags, device)) => Memory::Window {
            kind,
            flags,
            device,
            start: host.base + start,
            len,
        },
        None => Memory::Stray,
    })
}

/// A number that no other allocation of the window has or had.
pub(super) fn identity(address: u64) -> Option<u64> {
    let host = HOST.get()?;
    let offset = address.wrapping_sub(host.base);
    host.heap.lock().offsets.identity(offset)
}

/// Bytes of the pages that `len` bytes take.
fn pages(len: u64) -> u64 {
    len.max(1).next_multiple_of(PAGE)
}

/// The machine's memory: what is beyond it cannot be pinned.
fn physical_memory() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let (pages, page) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    u64::try_from(pages).unwrap_or(0) * u64::try_from(page).unwrap_or(PAGE)
}

/// Allocates pinned or managed host memory; returns its address on both sides.
pub(crate) fn allocate_host(
    device: &Device,
    size: u64,
    kind: HostMemory,
    flags: u32,
) -> Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    let session = session::get()?;
    let host = host_window(session);
    let mut heap = host.heap.lock();
    let offset = heap.offsets.allocate(size).ok_or(error::OUT_OF_MEMORY)?;
    let backed = pages(size);
    session.back(offset, backed).inspect_err(|_| {
        heap.offsets.free(offset);
    })?;
    let command = Command::HostAlloc { kind, offset, size };
    session.post(&command).inspect_err(|_| {
        session.discard(offset, backed);
        heap.offsets.free(offset);
    })?;
    heap.blocks.push(HostBlock {
        offset,
        kind,
        flags,
        device: device.ordinal,
    });
    Ok(host.base + offset)
}

/// Allocates managed memory. Unlike other allocations, one of no bytes is an error
/// (cuMemAllocManaged).
pub(crate) fn allocate_managed(device: &Device, size: u64, flags: u32) -> Result<u64> {
    /// `CU_MEM_ATTACH_GLOBAL`, `CU_MEM_ATTACH_HOST`
    const ATTACH: [u32; 2] = [1, 2];
    /// `CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY`
    const MANAGED_MEMORY: u32 = 83;
    if size == 0 || !ATTACH.contains(&flags) {
        return Err(error::INVALID_VALUE);
    }
    if device.attribute(MANAGED_MEMORY).unwrap_or(0) == 0 {
        return Err(error::NOT_SUPPORTED);
    }
    allocate_host(device, size, HostMemory::Managed, flags)
}

/// The flags of pinned or registered memory. All pinned memory is mapped, because addresses are
/// unified.
pub(crate) fn host_flags(address: u64) -> Result<u32> {
    /// `cudaHostAllocMapped`, `CU_MEMHOSTALLOC_DEVICEMAP`
    const MAPPED: u32 = 2;
    if let Memory::Window {
        kind: HostMemory::Pinned,
        flags,
        ..
    } = classify(address)
    {
        return Ok(flags | MAPPED);
    }
    let (_, _, flags) = registered(address).ok_or(error::INVALID_VALUE)?;
    Ok(flags)
}

/// Frees pinned or managed memory, once the device's work with it is done. The address must be
/// the start of an allocation of that kind.
pub(crate) fn free_host(address: u64, kind: HostMemory) -> Result<()> {
    let session = session::get()?;
    let host = host_window(session);
    let offset = address.wrapping_sub(host.base);
    let block = {
        let mut heap = host.heap.lock();
        let found = heap
            .blocks
            .iter()
            .position(|b| b.offset == offset && b.kind == kind)
            .ok_or(error::INVALID_VALUE)?;
        heap.blocks.swap_remove(found)
    };
    // The range stays taken until the worker has let go of it.
    session.call(&Command::HostFree {
        offset: block.offset,
    })?;
    give_back(session, host, offset);
    Ok(())
}

fn give_back(session: &Session, host: &HostWindow, offset: u64) {
    let mut heap = host.heap.lock();
    if let Some((_, len)) = heap.offsets.find(offset) {
        session.discard(offset, pages(len));
        heap.offsets.free(offset);
    }
}

/// Lends `bytes` to the worker through the window, for as long as `f` runs.
pub(crate) fn with_bytes_in_window<R>(bytes: &[u8], f: impl FnOnce(u64) -> Result<R>) -> Result<R> {
    let session = session::get()?;
    let host = host_window(session);
    let len = bytes.len() as u64;
    let offset = {
        let mut heap = host.heap.lock();
        let offset = heap.offsets.allocate(len).ok_or(error::OUT_OF_MEMORY)?;
        session.back(offset, pages(len)).inspect_err(|_| {
            heap.offsets.free(offset);
        })?;
        offset
    };
    let written = session.window.write(offset as usize, bytes);
    let result = match written {
        true => f(offset),
        false => Err(error::UNKNOWN),
    };
    give_back(session, host, offset);
    result
}
