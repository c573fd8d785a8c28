// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a GPU is, as far as vcuda lets programs use it.

use std::ffi::{CStr, c_char};

use vcuda_protocol::{DeviceInfo, Status};

use super::driver::{CUuuid, Driver, call};
use super::memory::Memory;

/// The highest `CUdevice_attribute` of CUDA 13.0, and a few to come.
const LAST_ATTRIBUTE: u32 = 160;

/// The newest release that vcuda speaks for.
const NEWEST: i32 = 13000;

/// What a GPU may have and vcuda does not offer: programs that look choose another way. Concurrent
/// use of managed memory is among it because that lies in host memory here, where the GPU's
/// atomics and the processor's do not exclude each other.
const NOT_OFFERED: [u32; 26] = [
    88,  // pageable memory access
    89,  // concurrent managed access
    92,  // stream memory operations, first version
    93,  // 64-bit ones
    94,  // waiting for NOR
    96,  // cooperative launch on several devices
    99,  // registered host memory is mapped
    100, // pageable memory through host page tables
    102, // virtual memory management
    103, // handles of memory as file descriptors
    107, // compression
    112, // sparse arrays
    113, // read-only host register
    114, // timeline semaphores
    116, // GPU direct RDMA
    119, // handle types of memory pools
    120, // cluster launch
    121, // deferred mapping of arrays
    122, // 64-bit stream memory operations
    123, // waiting for NOR
    124, // DMA buffers
    125, // IPC events
    127, // tensor maps
    128, // handles of memory as fabric handles
    129, // unified function pointers
    132, // multicast
];

pub(super) fn device_info(
    driver: &Driver,
    device: i32,
    memory: &Memory,
) -> Result<DeviceInfo, Status> {
    let mut name = [0 as c_char; 256];
    call!(
        driver,
        cuDeviceGetName(name.as_mut_ptr(), name.len() as i32 - 1, device)
    )?;
    // SAFETY: the driver wrote at most 255 bytes; the last one is zero.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    let mut uuid = CUuuid { bytes: [0; 16] };
    call!(driver, cuDeviceGetUuid_v2(&mut uuid, device))?;
    let mut version = 0;
    call!(driver, cuDriverGetVersion(&mut version))?;
    Ok(DeviceInfo {
        name: name.to_string_lossy().into_owned(),
        uuid: uuid.bytes.map(|byte| byte as u8),
        total_memory: memory.total,
        heap_base: memory.base,
        heap_len: memory.len,
        attributes: attributes(driver, device),
        driver_version: version.min(NEWEST) as u32,
    })
}

fn attributes(driver: &Driver, device: i32) -> Vec<(u32, i32)> {
    let known = (1..=LAST_ATTRIBUTE).filter_map(|number| {
        if NOT_OFFERED.contains(&number) {
            return Some((number, 0));
        }
        let mut value = 0;
        let asked = call!(
            driver,
            cuDeviceGetAttribute(&mut value, number as i32, device)
        );
        asked.ok().map(|()| (number, value))
    });
    known.collect()
}
