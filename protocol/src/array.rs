// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays (CUDA Driver API, "Memory Management", `cuArray3DCreate`).

use serde::{Deserialize, Serialize};

use crate::types::{Pitch, TextureLevel};

/// An array as it is created. Numbers are those of the CUDA Driver API.
///
/// Its texels have addresses, as if they lay in memory, level behind level, in rows and slices
/// ([`Array::places`]). A copy names texels by these, and the levels of a [`crate::Texture`] say
/// by them which array it is made of; kernels do not see them. What is behind them is the device's
/// affair: memory, or an array of the driver's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// The address of the first texel.
    pub address: u64,
    /// `CUarray_format`
    pub format: u32,
    /// Channels of a texel.
    pub channels: u32,
    /// Width, height and depth in texels; 0 where there is none. Layers and faces count as depth.
    pub size: [u32; 3],
    /// `CUDA_ARRAY3D_LAYERED` and so on.
    pub flags: u32,
    /// Levels of a mipmapped array, at most one for each time that it can be halved; 0 for one that
    /// is not mipmapped.
    pub levels: u32,
}

/// Bytes of a texel, if there are such texels: `CUarray_format`, and how many channels.
pub fn texel_bytes(format: u32, channels: u32) -> Option<u32> {
    let channel = match format {
        0x01 | 0x08 => 1,
        0x02 | 0x09 | 0x10 => 2,
        0x03 | 0x0a | 0x20 => 4,
        _ => return None,
    };
    matches!(channels, 1 | 2 | 4).then_some(channel * channels)
}

impl Array {
    /// `CUDA_ARRAY3D_LAYERED`, `..._SURFACE_LDST`, `..._CUBEMAP` and `..._TEXTURE_GATHER`, which the
    /// Runtime API numbers alike.
    pub const LAYERED: u32 = 1;
    pub const SURFACE: u32 = 2;
    pub const CUBEMAP: u32 = 4;
    pub const GATHER: u32 = 8;

    /// Rows begin at multiples of this.
    const ROW_ALIGN: u64 = 64;

    /// Most levels that an array of this size has: the last one is a single texel.
    pub fn most_levels(&self) -> u32 {
        let [width, height, depth] = self.size;
        let depth = if self.has_layers() { 0 } else { depth };
        u32::BITS - width.max(height).max(depth).leading_zeros()
    }

    /// Width, height and depth of a level, 0 where there is none.
    pub fn size_of(&self, level: u32) -> [u32; 3] {
        let half = |extent: u32| match extent {
            0 => 0,
            _ => extent.checked_shr(level).unwrap_or(0).max(1),
        };
        let [width, height, depth] = self.size;
        let depth = if self.has_layers() {
            depth
        } else {
            half(depth)
        };
        [half(width), half(height), depth]
    }

    /// Where each level is; one, if the array is not mipmapped. `None` where there is no such array
    /// whatever the device: no width, unknown texels, more levels than there can be, or more bytes
    /// than there are addresses.
    pub fn places(&self) -> Option<Vec<TextureLevel>> {
        let texel = u64::from(texel_bytes(self.format, self.channels)?);
        if self.size[0] == 0 || self.levels > self.most_levels() {
            return None;
        }
        let mut address = self.address;
        let place = |level| {
            let size = self.size_of(level).map(|extent| extent.max(1));
            let [width, height, depth] = size.map(u64::from);
            let row = (width * texel).next_multiple_of(Self::ROW_ALIGN);
            let slice = row.checked_mul(height)?;
            let at = address;
            address = address.checked_add(slice.checked_mul(depth)?)?;
            let pitch = Pitch { row, slice };
            Some(TextureLevel {
                address: at,
                pitch,
                size,
            })
        };
        (0..self.levels.max(1)).map(place).collect()
    }

    /// How many addresses its texels take, gaps included; `None` as for [`Array::places`].
    pub fn bytes(&self) -> Option<u64> {
        let last = self.places()?.pop()?;
        let end = last.address + last.pitch.slice * u64::from(last.size[2]);
        Some(end - self.address)
    }

    fn has_layers(&self) -> bool {
        self.flags & (Self::LAYERED | Self::CUBEMAP) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn array(size: [u32; 3], flags: u32, levels: u32) -> Array {
        Array {
            address: 1 << 40,
            format: 0x20,
            channels: 1,
            size,
            flags,
            levels,
        }
    }

    #[test]
    fn levels_lie_behind_each_other_and_halve() {
        let places = array([20, 6, 0], 0, 3).places().unwrap();
        let sizes: Vec<_> = places.iter().map(|place| place.size).collect();
        assert_eq!(sizes, [[20, 6, 1], [10, 3, 1], [5, 1, 1]]);
        let offsets: Vec<_> = places.iter().map(|p| p.address - (1 << 40)).collect();
        assert_eq!(offsets, [0, 128 * 6, 128 * 6 + 64 * 3]);
        let bytes = array([20, 6, 0], 0, 3).bytes();
        assert_eq!(bytes, Some(128 * 6 + 64 * 3 + 64));
    }

    #[test]
    fn layers_do_not_halve_and_depth_does() {
        assert_eq!(array([8, 8, 6], Array::CUBEMAP, 4).size_of(2), [2, 2, 6]);
        assert_eq!(array([8, 0, 3], Array::LAYERED, 4).size_of(3), [1, 0, 3]);
        assert_eq!(array([8, 8, 4], 0, 4).size_of(2), [2, 2, 1]);
    }

    #[test]
    fn a_mipmap_ends_with_a_single_texel() {
        for (size, flags, most) in [
            ([1, 0, 0], 0, 1),
            ([64, 64, 0], 0, 7),
            ([3, 100, 0], 0, 7),
            ([4, 4, 32], 0, 6),
            ([4, 4, 32], Array::LAYERED, 3),
        ] {
            assert_eq!(array(size, flags, 0).most_levels(), most, "{size:?}");
            assert!(array(size, flags, most).places().is_some());
            assert!(array(size, flags, most + 1).places().is_none());
        }
    }

    #[test]
    fn what_cannot_be_has_no_places() {
        assert!(array([0, 1, 1], 0, 0).places().is_none());
        assert!(array([u32::MAX; 3], 0, 0).places().is_none());
        assert!(array([1, 1, 0], 0, u32::MAX).places().is_none());
        for (format, channels) in [(0x20, 3), (0x20, 0), (0, 1), (0x21, 1), (u32::MAX, 1)] {
            let odd = Array {
                format,
                channels,
                ..array([4, 4, 0], 0, 0)
            };
            assert!(odd.places().is_none(), "{format} {channels}");
        }
        let last = Array {
            address: u64::MAX - 8,
            ..array([4, 0, 0], 0, 0)
        };
        assert!(last.places().is_none());
    }

    proptest! {
        #[test]
        fn any_numbers_give_an_answer(
            address: u64, format in 0u32..0x22, channels in 0u32..5, size: [u32; 3], flags: u32, levels in 0u32..40,
        ) {
            let any = Array { address, format, channels, size, flags, levels };
            prop_assert_eq!(any.places().is_some(), any.bytes().is_some());
        }
    }
}
