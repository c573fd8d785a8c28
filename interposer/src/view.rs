// SPDX-License-Identifier: MIT OR Apache-2.0
//! Resource views: texels of an array read as if they were of another format, or some of its
//! layers and mipmap levels (CUDA Driver API, `cuTexObjectCreate`).

use vcuda_protocol::{TextureLevel, TextureShape};

use crate::abi::{In, Out};
use crate::arrays::{self, Format, Resource};
use crate::error::unsupported;
use crate::{Result, error};

/// `cudaResourceViewDesc` and `CUDA_RESOURCE_VIEW_DESC`, which are alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct ViewDesc {
    view: View,
    reserved: [u32; 16],
}

/// What a view says.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct View {
    /// `CUresourceViewFormat`
    format: u32,
    /// Width, height and depth: those of the resource.
    size: [usize; 3],
    levels: Range,
    layers: Range,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Range {
    first: u32,
    last: u32,
}

impl Range {
    fn all_of_one(self) -> bool {
        self.first == 0 && self.last == 0
    }
}

impl ViewDesc {
    /// The view that a program wants, if it wants one.
    pub(crate) fn view(desc: In<ViewDesc>) -> Result<Option<View>> {
        match desc.is_null() {
            true => Ok(None),
            false => Ok(Some(desc.get()?.view)),
        }
    }

    /// The view that a texture object was made with. For one without a view, the CUDA manual has an
    /// error; NVIDIA's library returns none, and this one a view of no format.
    pub(crate) fn of(out: Out<ViewDesc>, object: u64) -> Result<()> {
        let of = |view| ViewDesc {
            view,
            reserved: [0; 16],
        };
        match arrays::texture_object(object)?.0.view {
            Some(view) => out.set(of(view)),
            None => {
                out.set_if_wanted(of(View::default()));
                Ok(())
            }
        }
    }
}

impl View {
    /// Restricts the levels of an array, and says as what their texels are read.
    pub(crate) fn apply(
        self,
        resource: Resource,
        format: Format,
        shape: TextureShape,
        levels: &mut Vec<TextureLevel>,
    ) -> Result<Format> {
        let size = match resource {
            Resource::Array(handle) => arrays::find(handle, false)?.size,
            Resource::Mipmapped(handle) => arrays::find(handle, true)?.size,
            // Not in the manual, but so it is on a GPU: views of memory are ignored.
            _ => return Ok(format),
        };
        let read = self.read_as()?;
        let same_size = self.size.map(|extent| extent as u64) == size;
        if !same_size || read.bytes()? != format.bytes()? {
            return Err(error::INVALID_VALUE);
        }
        let Range { first, last } = self.levels;
        if first > last || last as usize >= levels.len() {
            return Err(error::INVALID_VALUE);
        }
        levels.truncate(last as usize + 1);
        levels.drain(..first as usize);
        let Range { first, last } = self.layers;
        let slices = match shape {
            TextureShape::Layered => 1,
            // Cubes are counted from a face on.
            TextureShape::Cube => 6,
            _ if self.layers.all_of_one() => return Ok(read),
            _ => return Err(error::INVALID_VALUE),
        };
        for level in levels {
            if first > last || last >= level.size[2] {
                return Err(error::INVALID_VALUE);
            }
            let there = (level.size[2] - first) / slices * slices;
            if there == 0 {
                return Err(error::INVALID_VALUE);
            }
            level.address += u64::from(first) * level.pitch.slice;
            level.size[2] = there.min((last - first + 1).saturating_mul(slices));
        }
        Ok(read)
    }

    /// `CUresourceViewFormat`: one, two and four channels of each kind, one kind after the other.
    fn read_as(self) -> Result<Format> {
        const KINDS: [u32; 8] = [0x01, 0x08, 0x02, 0x09, 0x03, 0x0a, 0x10, 0x20];
        const COMPRESSED: std::ops::RangeInclusive<u32> = 0x19..=0x22;
        let index = self.format.checked_sub(1).ok_or(error::INVALID_VALUE)?;
        if COMPRESSED.contains(&self.format) {
            return Err(unsupported("resource views of block-compressed texels"));
        }
        let format = KINDS.get(index as usize / 3).ok_or(error::INVALID_VALUE)?;
        Ok(Format {
            format: *format,
            channels: 1 << (index % 3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn descriptions_are_laid_out_as_in_the_headers() {
        assert_eq!(size_of::<ViewDesc>(), 112);
        assert_eq!(offset_of!(View, size), 8);
        assert_eq!(offset_of!(View, levels), 32);
        assert_eq!(offset_of!(View, layers), 40);
        assert_eq!(offset_of!(ViewDesc, reserved), 48);
    }

    #[test]
    fn formats_are_numbered_as_in_the_headers() {
        let view = |format| View {
            format,
            size: [1, 0, 0],
            levels: Range { first: 0, last: 0 },
            layers: Range { first: 0, last: 0 },
        };
        let format = |format, channels| Ok(Format { format, channels });
        assert_eq!(view(0).read_as(), Err(error::INVALID_VALUE));
        assert_eq!(view(0x01).read_as(), format(0x01, 1));
        assert_eq!(view(0x06).read_as(), format(0x08, 4));
        assert_eq!(view(0x0e).read_as(), format(0x03, 2));
        assert_eq!(view(0x13).read_as(), format(0x10, 1));
        assert_eq!(view(0x18).read_as(), format(0x20, 4));
        assert_eq!(view(0x23).read_as(), Err(error::INVALID_VALUE));
    }
}
