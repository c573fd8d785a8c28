// SPDX-License-Identifier: MIT OR Apache-2.0
//! Initialization, version and device management.

use std::ffi::c_char;

use crate::abi::{Out, Text};
use crate::contexts::{self, Device};
use crate::entry::export;
use crate::{Result, error, peers, settings};

/// `CUdevice_attribute`
mod attribute {
    pub(super) const MAX_THREADS_PER_BLOCK: u32 = 1;
    pub(super) const MAX_BLOCK_DIM: [u32; 3] = [2, 3, 4];
    pub(super) const MAX_GRID_DIM: [u32; 3] = [5, 6, 7];
    pub(super) const SHARED_MEMORY_PER_BLOCK: u32 = 8;
    pub(super) const TOTAL_CONSTANT_MEMORY: u32 = 9;
    pub(super) const WARP_SIZE: u32 = 10;
    pub(super) const MAX_PITCH: u32 = 11;
    pub(super) const REGISTERS_PER_BLOCK: u32 = 12;
    pub(super) const CLOCK_RATE: u32 = 13;
    pub(super) const TEXTURE_ALIGNMENT: u32 = 14;
    pub(super) const COMPUTE_CAPABILITY: [u32; 2] = [75, 76];
}

/// `CUdevprop`
#[repr(C)]
pub(super) struct Properties {
    max_threads_per_block: i32,
    max_threads_dim: [i32; 3],
    max_grid_size: [i32; 3],
    shared_memory_per_block: i32,
    total_constant_memory: i32,
    simd_width: i32,
    memory_pitch: i32,
    registers_per_block: i32,
    clock_rate: i32,
    texture_alignment: i32,
}

fn value(device: &Device, attribute: u32) -> i32 {
    device.attribute(attribute).unwrap_or(0)
}

/// A buffer's length, which C passes as a signed number.
fn length(len: i32) -> Result<usize> {
    usize::try_from(len).map_err(|_| error::INVALID_VALUE)
}

fn uuid(out: Out<[u8; 16]>, ordinal: i32) -> Result<()> {
    out.present()?;
    out.set(contexts::device(ordinal)?.info.uuid)
}

export! { driver:
    /// `cuInit` — CUDA Driver API, Initialization. No flags are defined.
    fn cuInit(flags: u32) {
        match flags {
            0 => contexts::initialize(),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuDriverGetVersion` — CUDA Driver API, Version Management.
    fn cuDriverGetVersion(version: Out<i32>) {
        version.present()?;
        version.set(settings::driver_version()?)
    }
}

export! { initialized:
    /// `cuDeviceGetCount` — CUDA Driver API, Device Management.
    fn cuDeviceGetCount(count: Out<i32>) {
        count.present()?;
        count.set(contexts::devices()?.len() as i32)
    }

    /// `cuDeviceGet` — CUDA Driver API, Device Management. The handle is the number.
    fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        device.present()?;
        contexts::device(ordinal)?;
        device.set(ordinal)
    }

    /// `cuDeviceGetName` — CUDA Driver API, Device Management.
    fn cuDeviceGetName(name: Out<c_char>, len: i32, device: i32) {
        name.present()?;
        name.set_text(&contexts::device(device)?.info.name, length(len)?)
    }

    /// `cuDeviceGetUuid` — CUDA Driver API, Device Management.
    fn cuDeviceGetUuid | cuDeviceGetUuid_v2(out: Out<[u8; 16]>, device: i32) {
        uuid(out, device)
    }

    /// `cuDeviceTotalMem_v2` — CUDA Driver API, Device Management.
    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) {
        bytes.present()?;
        bytes.set(contexts::device(device)?.info.total_memory as usize)
    }

    /// `cuDeviceGetAttribute` — CUDA Driver API, Device Management.
    fn cuDeviceGetAttribute(out: Out<i32>, attribute: u32, device: i32) {
        out.present()?;
        out.set(settings::attribute(contexts::device(device)?, attribute)?)
    }

    /// `cuDeviceComputeCapability` — CUDA Driver API, Device Management (deprecated).
    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        major.present()?;
        minor.present()?;
        let device = contexts::device(device)?;
        let [high, low] = attribute::COMPUTE_CAPABILITY.map(|number| value(device, number));
        major.set(high)?;
        minor.set(low)
    }

    /// `cuDeviceGetProperties` — CUDA Driver API, Device Management (deprecated).
    fn cuDeviceGetProperties(out: Out<Properties>, device: i32) {
        out.present()?;
        let device = contexts::device(device)?;
        let value = |number| value(device, number);
        out.set(Properties {
            max_threads_per_block: value(attribute::MAX_THREADS_PER_BLOCK),
            max_threads_dim: attribute::MAX_BLOCK_DIM.map(value),
            max_grid_size: attribute::MAX_GRID_DIM.map(value),
            shared_memory_per_block: value(attribute::SHARED_MEMORY_PER_BLOCK),
            total_constant_memory: value(attribute::TOTAL_CONSTANT_MEMORY),
            simd_width: value(attribute::WARP_SIZE),
            memory_pitch: value(attribute::MAX_PITCH),
            registers_per_block: value(attribute::REGISTERS_PER_BLOCK),
            clock_rate: value(attribute::CLOCK_RATE),
            texture_alignment: value(attribute::TEXTURE_ALIGNMENT),
        })
    }

    /// `cuDeviceGetPCIBusId` — CUDA Driver API, Device Management.
    fn cuDeviceGetPCIBusId(text: Out<c_char>, len: i32, device: i32) {
        text.present()?;
        let address = settings::pci_text(contexts::device(device)?);
        text.set_text(&address, length(len)?)
    }

    /// `cuDeviceGetByPCIBusId` — CUDA Driver API, Device Management.
    fn cuDeviceGetByPCIBusId(device: Out<i32>, text: Text) {
        device.present()?;
        device.set(settings::at_pci(text.get()?)?.ordinal as i32)
    }

    /// `cuDeviceCanAccessPeer` — CUDA Driver API, Peer Context Memory Access.
    fn cuDeviceCanAccessPeer(answer: Out<i32>, device: i32, peer: i32) {
        answer.present()?;
        let (device, peer) = (contexts::device(device)?, contexts::device(peer)?);
        answer.set(peers::can_access(device, peer)?.into())
    }

    /// `cuDeviceGetP2PAttribute` — CUDA Driver API, Peer Context Memory Access.
    fn cuDeviceGetP2PAttribute(value: Out<i32>, attribute: u32, device: i32, peer: i32) {
        value.present()?;
        let (device, peer) = (contexts::device(device)?, contexts::device(peer)?);
        value.set(peers::attribute(device, peer, attribute)? as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<Properties>(), 56);
        assert_eq!(std::mem::offset_of!(Properties, max_grid_size), 16);
        assert_eq!(std::mem::offset_of!(Properties, texture_alignment), 52);
    }
}
