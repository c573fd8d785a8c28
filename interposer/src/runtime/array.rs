// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays: what their texels are, allocation.

use super::memory::Extent;
use crate::abi::{In, Out};
use crate::arrays::{self, Format};
use crate::entry::export;
use crate::{Result, contexts};
use vcuda_protocol::Status;

/// `cudaChannelFormatDesc`
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ChannelDesc {
    bits: [i32; 4],
    kind: u32,
}

/// `cudaChannelFormatKind`
const SIGNED: u32 = 0;
const UNSIGNED: u32 = 1;
const FLOAT: u32 = 2;

pub(super) fn format_of(desc: ChannelDesc) -> Result<Format> {
    let invalid = Status(vcuda_api::error::INVALID_CHANNEL_DESCRIPTOR);
    let first = desc.bits[0];
    let channels = desc.bits.iter().take_while(|&&bits| bits == first).count();
    if desc.bits[channels..].iter().any(|&bits| bits != 0) || channels == 3 {
        return Err(invalid);
    }
    // CUarray_format
    let format = match (desc.kind, first) {
        (UNSIGNED, 8) => 0x01,
        (UNSIGNED, 16) => 0x02,
        (UNSIGNED, 32) => 0x03,
        (SIGNED, 8) => 0x08,
        (SIGNED, 16) => 0x09,
        (SIGNED, 32) => 0x0a,
        (FLOAT, 16) => 0x10,
        (FLOAT, 32) => 0x20,
        _ => return Err(invalid),
    };
    Ok(Format {
        format,
        channels: channels as u32,
    })
}

pub(super) fn desc_of(format: Format) -> Result<ChannelDesc> {
    let kind = match format.format {
        0x01..=0x03 => UNSIGNED,
        0x08..=0x0a => SIGNED,
        _ => FLOAT,
    };
    let each = (format.bytes()? * 8) as i32 / format.channels as i32;
    let bits = std::array::from_fn(|i| {
        if i < format.channels as usize {
            each
        } else {
            0
        }
    });
    Ok(ChannelDesc { bits, kind })
}

fn allocate(out: Out<u64>, desc: In<ChannelDesc>, size: [usize; 3], flags: u32) -> Result<()> {
    out.present()?;
    let format = format_of(desc.get()?)?;
    let device = contexts::active()?;
    out.set(arrays::create(
        device,
        format,
        size.map(|extent| extent as u64),
        flags,
        0,
    )?)
}

export! { runtime:
    /// `cudaMallocArray` — CUDA Runtime API, Memory Management.
    fn cudaMallocArray(out: Out<u64>, desc: In<ChannelDesc>, width: usize, height: usize, flags: u32) {
        allocate(out, desc, [width, height, 0], flags)
    }

    /// `cudaMalloc3DArray` — CUDA Runtime API, Memory Management.
    fn cudaMalloc3DArray(out: Out<u64>, desc: In<ChannelDesc>, extent: Extent, flags: u32) {
        allocate(out, desc, [extent.width, extent.height, extent.depth], flags)
    }

    /// `cudaMallocMipmappedArray` — CUDA Runtime API, Memory Management.
    fn cudaMallocMipmappedArray(
        out: Out<u64>, desc: In<ChannelDesc>, extent: Extent, levels: u32, flags: u32,
    ) {
        out.present()?;
        let format = format_of(desc.get()?)?;
        let size = [extent.width, extent.height, extent.depth].map(|extent| extent as u64);
        out.set(arrays::create(contexts::active()?, format, size, flags, levels.max(1))?)
    }

    /// `cudaGetMipmappedArrayLevel` — CUDA Runtime API, Memory Management.
    fn cudaGetMipmappedArrayLevel(out: Out<u64>, array: u64, level: u32) {
        out.present()?;
        contexts::active()?;
        out.set(arrays::level(array, level)?)
    }

    /// `cudaFreeArray` — CUDA Runtime API, Memory Management.
    fn cudaFreeArray(array: u64) {
        contexts::active()?;
        match array {
            0 => Ok(()),
            _ => arrays::destroy(array, false),
        }
    }

    /// `cudaFreeMipmappedArray` — CUDA Runtime API, Memory Management.
    fn cudaFreeMipmappedArray(array: u64) {
        contexts::active()?;
        match array {
            0 => Ok(()),
            _ => arrays::destroy(array, true),
        }
    }

    /// `cudaArrayGetInfo` — CUDA Runtime API, Memory Management.
    fn cudaArrayGetInfo(desc: Out<ChannelDesc>, extent: Out<Extent>, flags: Out<u32>, array: u64) {
        let array = arrays::find(array, false)?;
        let [width, height, depth] = array.size.map(|extent| extent as usize);
        desc.set_if_wanted(desc_of(array.format)?);
        extent.set_if_wanted(Extent { width, height, depth });
        flags.set_if_wanted(array.flags);
        Ok(())
    }

    /// `cudaGetChannelDesc` — CUDA Runtime API, Texture Object Management.
    fn cudaGetChannelDesc(desc: Out<ChannelDesc>, array: u64) {
        desc.set(desc_of(arrays::find(array, false)?.format)?)
    }
}

/// `cudaCreateChannelDesc` — CUDA Runtime API, Texture Object Management. Asks nothing of a device.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn cudaCreateChannelDesc(
    x: i32,
    y: i32,
    z: i32,
    w: i32,
    kind: u32,
) -> ChannelDesc {
    ChannelDesc {
        bits: [x, y, z, w],
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_description_names_a_format_and_back() {
        for (bits, kind) in [
            (8, 0),
            (8, 1),
            (16, 0),
            (16, 1),
            (16, 2),
            (32, 0),
            (32, 1),
            (32, 2),
        ] {
            for channels in [1, 2, 4] {
                let bits = std::array::from_fn(|i| if i < channels { bits } else { 0 });
                let desc = ChannelDesc { bits, kind };
                let format = format_of(desc).expect("a known format");
                assert_eq!(format.channels as usize, channels);
                assert_eq!(desc_of(format), Ok(desc));
            }
        }
    }

    #[test]
    fn channels_of_different_sizes_are_refused() {
        for bits in [
            [8, 8, 8, 0],
            [8, 16, 0, 0],
            [8, 0, 8, 0],
            [0; 4],
            [64, 0, 0, 0],
            [-8, 0, 0, 0],
        ] {
            assert!(
                format_of(ChannelDesc { bits, kind: 1 }).is_err(),
                "{bits:?}"
            );
        }
    }
}
