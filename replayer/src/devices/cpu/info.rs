// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a CPU device says about itself.

use vcuda_protocol::DeviceInfo;

use super::memory::heap;
use super::options::CpuOptions;

pub(super) const MAX_THREADS_PER_BLOCK: u32 = 1024;
pub(super) const MAX_BLOCK: [u32; 3] = [1024, 1024, 64];
pub(super) const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65535, 65535];
pub(super) const WARP: u32 = 32;
pub(super) const REGISTERS: u32 = 65536;
/// Shared memory of a block, in bytes: without opting in, with opting in, and of all blocks that
/// are on a multiprocessor (compute capability 8.6: CUDA Programming Guide, "Technical
/// Specifications per Compute Capability").
pub(super) const SHARED_PER_BLOCK: u32 = 48 << 10;
pub(super) const SHARED_PER_BLOCK_OPTIN: u32 = 99 << 10;
pub(super) const SHARED_PER_MULTIPROCESSOR: u32 = 100 << 10;
/// What the system takes of each block's shared memory.
pub(super) const SHARED_RESERVED: u32 = 1 << 10;
pub(super) const THREADS_PER_MULTIPROCESSOR: u32 = 1536;
pub(super) const BLOCKS_PER_MULTIPROCESSOR: u32 = 16;
const PITCH_ALIGNMENT: i32 = 32;

/// The highest CUDA version whose programs this is meant for.
const DRIVER_VERSION: u32 = 13000;

/// Threads of the machine stand for multiprocessors.
pub(super) fn multiprocessors(options: &CpuOptions) -> u32 {
    options.threads.clamp(1, 1024) as u32
}

pub(super) fn device_info(index: u32, options: &CpuOptions) -> DeviceInfo {
    let (heap_base, heap_len) = heap(index, options);
    let mut uuid = *b"vcuda-cpu-dev-00";
    uuid[14] += (index / 10) as u8;
    uuid[15] += (index % 10) as u8;
    DeviceInfo {
        name: "vcuda CPU device".into(),
        uuid,
        total_memory: options.memory,
        heap_base,
        heap_len,
        attributes: attributes(index, options),
        driver_version: DRIVER_VERSION,
    }
}

/// By `CUdevice_attribute` number (CUDA Driver API, `cuDeviceGetAttribute`), ascending. What is
/// left out is not there: clusters, virtual memory management. Textures and surfaces are as large as
/// on compute capability 8.6 (CUDA Programming Guide, "Technical Specifications per Compute
/// Capability").
fn attributes(index: u32, options: &CpuOptions) -> Vec<(u32, i32)> {
    let [block_x, block_y, block_z] = MAX_BLOCK.map(|n| n as i32);
    let [grid_x, grid_y, grid_z] = MAX_GRID.map(|n| n as i32);
    let capability = options.compute_capability as i32;
    vec![
        (1, MAX_THREADS_PER_BLOCK as i32),
        (2, block_x),
        (3, block_y),
        (4, block_z),
        (5, grid_x),
        (6, grid_y),
        (7, grid_z),
        (8, SHARED_PER_BLOCK as i32),
        (9, 64 << 10), // total constant memory
        (10, WARP as i32),
        (11, i32::MAX), // max pitch
        (12, REGISTERS as i32),
        (13, clock_khz()),
        (14, 512), // texture alignment
        (15, 1),   // GPU overlap
        (16, multiprocessors(options) as i32),
        (17, options.time_limit.is_some() as i32), // kernel execution timeout
        (18, 0),                                   // integrated
        (19, 1),                                   // can map host memory
        (20, 0),                                   // compute mode: default
        (21, 131072),                              // 1D textures
        (22, 131072),                              // 2D textures
        (23, 65536),
        (24, 16384), // 3D textures
        (25, 16384),
        (26, 16384),
        (27, 32768), // layered 2D textures
        (28, 32768),
        (29, 2048),
        (30, 512),          // surface alignment
        (31, 1),            // concurrent kernels
        (32, 0),            // ECC
        (33, 0),            // PCI bus
        (34, index as i32), // PCI device
        (35, 0),            // TCC driver
        (36, clock_khz()),  // memory clock
        (37, 64),           // memory bus width
        (38, 1 << 20),      // L2 cache size
        (39, THREADS_PER_MULTIPROCESSOR as i32),
        (40, 1),     // asynchronous engines
        (41, 1),     // unified addressing
        (42, 32768), // layered 1D textures
        (43, 2048),
        (45, 32768), // gathering textures
        (46, 32768),
        (47, 8192), // 3D textures of another shape
        (48, 8192),
        (49, 32768),
        (50, 0), // PCI domain
        (51, PITCH_ALIGNMENT),
        (52, 32768), // cube maps
        (53, 32768), // layered cube maps
        (54, 2046),
        (55, 32768),  // 1D surfaces
        (56, 131072), // 2D surfaces
        (57, 65536),
        (58, 16384), // 3D surfaces
        (59, 16384),
        (60, 16384),
        (61, 32768), // layered 1D surfaces
        (62, 2048),
        (63, 32768), // layered 2D surfaces
        (64, 32768),
        (65, 2048),
        (66, 32768), // cube surfaces
        (67, 32768), // layered cube surfaces
        (68, 2046),
        (69, 268435456), // linear 1D textures
        (70, 131072),    // pitched 2D textures
        (71, 65000),
        (72, 2097120),
        (73, 32768), // mipmapped 2D textures
        (74, 32768),
        (75, capability / 10),
        (76, capability % 10),
        (77, 32768), // mipmapped 1D textures
        (78, 0),     // stream priorities
        (79, 1),     // globals are cached in L1
        (80, 1),     // locals are cached in L1
        (81, SHARED_PER_MULTIPROCESSOR as i32),
        (82, REGISTERS as i32), // per multiprocessor
        (83, 1),                // managed memory
        (84, 0),                // multi-GPU board
        (85, index as i32),     // multi-GPU board group
        (86, 1),                // native atomics with the host
        (87, 2),                // single to double precision ratio
        (88, 0),                // pageable memory access
        (89, 1),                // concurrent managed access
        (90, 1),                // compute preemption
        (91, 1),                // host pointer of registered memory is the device's
        (95, 1),                // cooperative launch
        (96, 0),                // cooperative launch on several devices
        (97, SHARED_PER_BLOCK_OPTIN as i32),
        (98, 0),  // flushing remote writes
        (99, 0),  // host register
        (100, 0), // pageable memory through host page tables
        (101, 1), // the host reaches managed memory without migration
        (102, 0), // virtual memory management
        (106, BLOCKS_PER_MULTIPROCESSOR as i32),
        (107, 0), // compression
        (108, 0), // persisting L2
        (109, 0), // access policy window
        (111, SHARED_RESERVED as i32),
        (112, 0), // sparse arrays
        (113, 0), // read-only host register
        (114, 0), // timeline semaphores
        (115, 1), // memory pools
        (116, 0), // GPU direct RDMA
        (119, 0), // handle types of memory pools
        (120, 0), // cluster launch
        (121, 0), // deferred mapping of arrays
        (125, 0), // IPC events
        (126, 1), // memory synchronisation domains
        (127, 0), // tensor maps
        (129, 0), // unified function pointers
        (130, 0), // NUMA configuration
        (132, 0), // multicast
        (133, 0), // MPS
        (147, 0), // only some host atomics are native
    ]
}

/// The processor's clock in kHz, or 1 GHz where it does not say.
fn clock_khz() -> i32 {
    let mhz = || {
        let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("cpu MHz"))?;
        line.split(':').nth(1)?.trim().parse::<f64>().ok()
    };
    (mhz().unwrap_or(1000.0) * 1000.0) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_ascend() {
        let attributes = attributes(0, &CpuOptions::default());
        assert!(attributes.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn devices_differ_in_uuid_and_place() {
        let options = CpuOptions::default();
        let all: Vec<_> = (0..16).map(|index| device_info(index, &options)).collect();
        for (i, a) in all.iter().enumerate() {
            for b in &all[..i] {
                assert_ne!(a.uuid, b.uuid);
                assert!(a.heap_base >= b.heap_base + b.heap_len);
            }
        }
    }
}
