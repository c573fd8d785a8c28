// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays, texture objects and surface objects.

use super::memory::Extent;
use crate::abi::{In, Out};
use crate::arrays::{
    self, AS_INTEGER, Array, Format, NO_TRILINEAR, NORMALIZED, Reading, Resource, SEAMLESS, SRGB,
};
use crate::copy::{Direction, Side, copy};
use crate::entry::export;
use crate::view::ViewDesc;
use crate::{Result, contexts, error, streams};
use vcuda_protocol::Status;

/// The null stream, in functions that take no stream.
const DEFAULT: u64 = 0;
/// Whether the caller waits.
const WAIT: bool = false;
const ASYNC: bool = true;

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

fn format_of(desc: ChannelDesc) -> Result<Format> {
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

fn desc_of(format: Format) -> Result<ChannelDesc> {
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

/// `cudaResourceDesc`, as far as it says anything.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ResourceDesc {
    kind: u32,
    /// An array, or the address of memory.
    handle: u64,
    desc: ChannelDesc,
    /// Bytes; or width, height and pitch.
    sizes: [usize; 3],
}

/// `cudaResourceDesc` as a whole, before CUDA 13.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ResourceDesc9 {
    said: ResourceDesc,
    reserved: [u64; 9],
}

/// `cudaResourceDesc` as a whole.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct ResourceDesc13 {
    older: ResourceDesc9,
    flags: u32,
}

impl ResourceDesc9 {
    fn of(resource: Resource) -> Result<Self> {
        let said = ResourceDesc::of(resource)?;
        Ok(ResourceDesc9 {
            said,
            reserved: [0; 9],
        })
    }
}

impl ResourceDesc13 {
    fn of(resource: Resource) -> Result<Self> {
        let older = ResourceDesc9::of(resource)?;
        Ok(ResourceDesc13 { older, flags: 0 })
    }
}

impl ResourceDesc {
    fn of(resource: Resource) -> Result<Self> {
        let (kind, handle, format, sizes) = match resource {
            Resource::Array(handle) => (0, handle, None, [0; 3]),
            Resource::Mipmapped(handle) => (1, handle, None, [0; 3]),
            Resource::Linear {
                address,
                format,
                bytes,
            } => (2, address, Some(format), [bytes, 0, 0]),
            Resource::Pitched {
                address,
                format,
                width,
                height,
                pitch,
            } => (3, address, Some(format), [width, height, pitch]),
        };
        let desc = format.map_or(Ok(ChannelDesc::default()), desc_of)?;
        Ok(ResourceDesc {
            kind,
            handle,
            desc,
            sizes: sizes.map(|size| size as usize),
        })
    }

    fn resource(&self) -> Result<Resource> {
        Ok(match self.kind {
            0 => Resource::Array(self.handle),
            1 => Resource::Mipmapped(self.handle),
            2 => Resource::Linear {
                address: self.handle,
                format: format_of(self.desc)?,
                bytes: self.sizes[0] as u64,
            },
            3 => Resource::Pitched {
                address: self.handle,
                format: format_of(self.desc)?,
                width: self.sizes[0] as u64,
                height: self.sizes[1] as u64,
                pitch: self.sizes[2] as u64,
            },
            _ => return Err(error::INVALID_VALUE),
        })
    }
}

/// `cudaTextureDesc`, up to what all releases have.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct TextureDesc {
    address_modes: [u32; 3],
    filter: u32,
    read_mode: u32,
    srgb: i32,
    border: [f32; 4],
    normalized: i32,
    max_anisotropy: u32,
    level_filter: u32,
    level_bias: f32,
    level_clamp: [f32; 2],
}

/// `cudaTextureDesc` of CUDA 11.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct TextureDesc11 {
    older: TextureDesc,
    no_trilinear_optimization: i32,
}

/// `cudaTextureDesc` since CUDA 12, and of 11.8 under another name.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct TextureDesc12 {
    older: TextureDesc11,
    seamless_cubemap: i32,
}

fn flag(on: bool, bit: u32) -> u32 {
    if on { bit } else { 0 }
}

impl TextureDesc {
    fn reading(&self) -> Reading {
        Reading {
            address_modes: self.address_modes,
            filter: self.filter,
            level_filter: self.level_filter,
            flags: flag(self.read_mode == 0, AS_INTEGER)
                | flag(self.normalized != 0, NORMALIZED)
                | flag(self.srgb != 0, SRGB),
            border: self.border,
            level_bias: self.level_bias,
            level_clamp: self.level_clamp,
            max_anisotropy: self.max_anisotropy,
        }
    }

    fn of(reading: Reading) -> Self {
        let set = |bit: u32| reading.flags & bit != 0;
        TextureDesc {
            address_modes: reading.address_modes,
            filter: reading.filter,
            read_mode: u32::from(!set(AS_INTEGER)),
            srgb: set(SRGB).into(),
            border: reading.border,
            normalized: set(NORMALIZED).into(),
            max_anisotropy: reading.max_anisotropy,
            level_filter: reading.level_filter,
            level_bias: reading.level_bias,
            level_clamp: reading.level_clamp,
        }
    }
}

impl TextureDesc11 {
    fn reading(&self) -> Reading {
        let mut reading = self.older.reading();
        reading.flags |= flag(self.no_trilinear_optimization != 0, NO_TRILINEAR);
        reading
    }

    fn of(reading: Reading) -> Self {
        TextureDesc11 {
            older: TextureDesc::of(reading),
            no_trilinear_optimization: (reading.flags & NO_TRILINEAR != 0).into(),
        }
    }
}

impl TextureDesc12 {
    fn reading(&self) -> Reading {
        let mut reading = self.older.reading();
        reading.flags |= flag(self.seamless_cubemap != 0, SEAMLESS);
        reading
    }

    fn of(reading: Reading) -> Self {
        TextureDesc12 {
            older: TextureDesc11::of(reading),
            seamless_cubemap: (reading.flags & SEAMLESS != 0).into(),
        }
    }
}

fn create_texture(
    out: Out<u64>,
    resource: In<ResourceDesc>,
    reading: Result<Reading>,
    view: In<ViewDesc>,
) -> Result<()> {
    out.present()?;
    let resource = resource.get()?.resource()?;
    let view = ViewDesc::view(view)?;
    out.set(arrays::create_object(
        contexts::active()?,
        resource,
        Some(reading?),
        view,
    )?)
}

/// What a texture object was made of, as a structure of the caller's release.
fn texture_resource<T>(
    out: Out<T>,
    object: u64,
    of: impl FnOnce(Resource) -> Result<T>,
) -> Result<()> {
    contexts::active()?;
    out.present()?;
    out.set(of(arrays::texture_object(object)?.0.resource)?)
}

/// The same of a surface object.
fn surface_resource<T>(
    out: Out<T>,
    object: u64,
    of: impl FnOnce(Resource) -> Result<T>,
) -> Result<()> {
    contexts::active()?;
    out.present()?;
    out.set(of(arrays::surface_object(object)?.resource)?)
}

/// How a texture object is read, as a structure of the caller's release.
fn texture_reading<T>(out: Out<T>, object: u64, of: impl FnOnce(Reading) -> T) -> Result<()> {
    contexts::active()?;
    out.present()?;
    out.set(of(arrays::texture_object(object)?.1))
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

/// One side of a rectangle: memory with a pitch, or an array with the corner there.
#[derive(Clone, Copy)]
enum Place {
    Memory { address: u64, pitch: usize },
    Array { handle: u64, x: usize, y: usize },
}

impl Place {
    fn side(self, width: usize, height: usize) -> Result<Side> {
        match self {
            Place::Memory { pitch, .. } if height > 1 && width > pitch => {
                Err(error::INVALID_PITCH_VALUE)
            }
            Place::Memory { address, pitch } => Ok(Side::pitched(address, pitch as u64)),
            Place::Array { handle, x, y } => {
                let array = arrays::find(handle, false)?;
                array.side([x as u64, y as u64, 0], [width as u64, height as u64, 1])
            }
        }
    }
}

fn rectangle(
    dst: Place,
    src: Place,
    (width, height): (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let direction = Direction::from_kind(kind)?;
    let stream = streams::resolve(stream)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let (dst, src) = (dst.side(width, height)?, src.side(width, height)?);
    let extent = Extent {
        width,
        height,
        depth: 1,
    };
    copy(stream, dst, src, extent.into(), direction, asynchronous)
}

/// Copies bytes that follow each other in memory, and in an array from row to row.
fn run_of_bytes(
    handle: u64,
    (mut x, mut y): (usize, usize),
    mut memory: u64,
    mut count: usize,
    to_array: bool,
    (kind, stream, asynchronous): (u32, u64, bool),
) -> Result<()> {
    let row = arrays::find(handle, false)?.row_bytes()? as usize;
    while count > 0 {
        // A part of a row, or as many whole rows as there are.
        let (width, height) = match x {
            0 if count >= row => (row, count / row),
            _ => (count.min(row.saturating_sub(x)), 1),
        };
        if width == 0 {
            return Err(error::INVALID_VALUE);
        }
        let array = Place::Array { handle, x, y };
        let linear = Place::Memory {
            address: memory,
            pitch: width,
        };
        let (dst, src) = if to_array {
            (array, linear)
        } else {
            (linear, array)
        };
        rectangle(dst, src, (width, height), kind, stream, asynchronous)?;
        let bytes = width * height;
        memory = memory.wrapping_add(bytes as u64);
        count -= bytes;
        y += height;
        x = 0;
    }
    Ok(())
}

/// A side of a three-dimensional copy that is an array: positions and extents count its texels.
pub(super) fn corner(array: &Array, pos: [usize; 3], extent: Extent) -> Result<Side> {
    let texel = array.format.bytes()?;
    let bytes = |texels: usize| {
        (texels as u64)
            .checked_mul(texel)
            .ok_or(error::INVALID_VALUE)
    };
    array.side(
        [bytes(pos[0])?, pos[1] as u64, pos[2] as u64],
        [
            bytes(extent.width)?,
            extent.height as u64,
            extent.depth as u64,
        ],
    )
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

    /// `cudaCreateTextureObject` — CUDA Runtime API, Texture Object Management. The description of
    /// the texture grew at its end.
    fn cudaCreateTextureObject__v9(
        out: Out<u64>, resource: In<ResourceDesc>, texture: In<TextureDesc>, view: In<ViewDesc>,
    ) {
        create_texture(out, resource, texture.get().map(|desc| desc.reading()), view)
    }

    /// `cudaCreateTextureObject` — as above.
    fn cudaCreateTextureObject__v12(
        out: Out<u64>, resource: In<ResourceDesc>, texture: In<TextureDesc12>, view: In<ViewDesc>,
    ) {
        create_texture(out, resource, texture.get().map(|desc| desc.reading()), view)
    }

    /// `cudaCreateTextureObject_v2` — as above, in 11.8.
    fn cudaCreateTextureObject_v2(
        out: Out<u64>, resource: In<ResourceDesc>, texture: In<TextureDesc12>, view: In<ViewDesc>,
    ) {
        create_texture(out, resource, texture.get().map(|desc| desc.reading()), view)
    }

    /// `cudaDestroyTextureObject` — CUDA Runtime API, Texture Object Management.
    fn cudaDestroyTextureObject(object: u64) {
        contexts::active()?;
        match object {
            0 => Ok(()),
            _ => arrays::destroy_object(object),
        }
    }

    /// `cudaCreateSurfaceObject` — CUDA Runtime API, Surface Object Management.
    fn cudaCreateSurfaceObject(out: Out<u64>, resource: In<ResourceDesc>) {
        out.present()?;
        let resource = resource.get()?.resource()?;
        out.set(arrays::create_object(contexts::active()?, resource, None, None)?)
    }

    /// `cudaDestroySurfaceObject` — CUDA Runtime API, Surface Object Management.
    fn cudaDestroySurfaceObject(object: u64) {
        contexts::active()?;
        match object {
            0 => Ok(()),
            _ => arrays::destroy_object(object),
        }
    }

    /// `cudaGetTextureObjectResourceDesc` — CUDA Runtime API, Texture Object Management.
    fn cudaGetTextureObjectResourceDesc__v9(out: Out<ResourceDesc9>, object: u64) {
        texture_resource(out, object, ResourceDesc9::of)
    }

    /// `cudaGetTextureObjectResourceDesc` — as above; the structure grew at its end.
    fn cudaGetTextureObjectResourceDesc__v13(out: Out<ResourceDesc13>, object: u64) {
        texture_resource(out, object, ResourceDesc13::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — CUDA Runtime API, Texture Object Management.
    fn cudaGetTextureObjectTextureDesc__v9(out: Out<TextureDesc>, object: u64) {
        texture_reading(out, object, TextureDesc::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — as above.
    fn cudaGetTextureObjectTextureDesc__v10(out: Out<TextureDesc>, object: u64) {
        texture_reading(out, object, TextureDesc::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — as above; the structure grew at its end.
    fn cudaGetTextureObjectTextureDesc__v11(out: Out<TextureDesc11>, object: u64) {
        texture_reading(out, object, TextureDesc11::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — as above.
    fn cudaGetTextureObjectTextureDesc__v12(out: Out<TextureDesc12>, object: u64) {
        texture_reading(out, object, TextureDesc12::of)
    }

    /// `cudaGetTextureObjectTextureDesc_v2` — as above, in 11.8.
    fn cudaGetTextureObjectTextureDesc_v2(out: Out<TextureDesc12>, object: u64) {
        texture_reading(out, object, TextureDesc12::of)
    }

    /// `cudaGetTextureObjectResourceViewDesc` — CUDA Runtime API, Texture Object Management.
    fn cudaGetTextureObjectResourceViewDesc__v9(out: Out<ViewDesc>, object: u64) {
        contexts::active()?;
        ViewDesc::of(out, object)
    }

    /// `cudaGetTextureObjectResourceViewDesc` — as above.
    fn cudaGetTextureObjectResourceViewDesc__v13(out: Out<ViewDesc>, object: u64) {
        contexts::active()?;
        ViewDesc::of(out, object)
    }

    /// `cudaGetSurfaceObjectResourceDesc` — CUDA Runtime API, Surface Object Management.
    fn cudaGetSurfaceObjectResourceDesc__v9(out: Out<ResourceDesc9>, object: u64) {
        surface_resource(out, object, ResourceDesc9::of)
    }

    /// `cudaGetSurfaceObjectResourceDesc` — as above.
    fn cudaGetSurfaceObjectResourceDesc__v13(out: Out<ResourceDesc13>, object: u64) {
        surface_resource(out, object, ResourceDesc13::of)
    }

    /// `cudaMemcpy2DToArray` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DToArray / cudaMemcpy2DToArray_ptds(
        array: u64, x: usize, y: usize, src: u64, pitch: usize, width: usize, height: usize, kind: u32,
    ) {
        let src = Place::Memory { address: src, pitch };
        rectangle(Place::Array { handle: array, x, y }, src, (width, height), kind, DEFAULT, WAIT)
    }

    /// `cudaMemcpy2DToArrayAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DToArrayAsync / cudaMemcpy2DToArrayAsync_ptsz(
        array: u64, x: usize, y: usize, src: u64, pitch: usize, width: usize, height: usize, kind: u32, stream: u64,
    ) {
        let src = Place::Memory { address: src, pitch };
        rectangle(Place::Array { handle: array, x, y }, src, (width, height), kind, stream, ASYNC)
    }

    /// `cudaMemcpy2DFromArray` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DFromArray / cudaMemcpy2DFromArray_ptds(
        dst: u64, pitch: usize, array: u64, x: usize, y: usize, width: usize, height: usize, kind: u32,
    ) {
        let dst = Place::Memory { address: dst, pitch };
        rectangle(dst, Place::Array { handle: array, x, y }, (width, height), kind, DEFAULT, WAIT)
    }

    /// `cudaMemcpy2DFromArrayAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DFromArrayAsync / cudaMemcpy2DFromArrayAsync_ptsz(
        dst: u64, pitch: usize, array: u64, x: usize, y: usize, width: usize, height: usize, kind: u32, stream: u64,
    ) {
        let dst = Place::Memory { address: dst, pitch };
        rectangle(dst, Place::Array { handle: array, x, y }, (width, height), kind, stream, ASYNC)
    }

    /// `cudaMemcpy2DArrayToArray` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DArrayToArray / cudaMemcpy2DArrayToArray_ptds(
        dst: u64, dst_x: usize, dst_y: usize, src: u64, src_x: usize, src_y: usize, width: usize, height: usize,
        kind: u32,
    ) {
        let dst = Place::Array { handle: dst, x: dst_x, y: dst_y };
        let src = Place::Array { handle: src, x: src_x, y: src_y };
        rectangle(dst, src, (width, height), kind, DEFAULT, WAIT)
    }

    /// `cudaMemcpyToArray` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyToArray / cudaMemcpyToArray_ptds(
        array: u64, x: usize, y: usize, src: u64, count: usize, kind: u32,
    ) {
        run_of_bytes(array, (x, y), src, count, true, (kind, DEFAULT, WAIT))
    }

    /// `cudaMemcpyToArrayAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyToArrayAsync / cudaMemcpyToArrayAsync_ptsz(
        array: u64, x: usize, y: usize, src: u64, count: usize, kind: u32, stream: u64,
    ) {
        run_of_bytes(array, (x, y), src, count, true, (kind, stream, ASYNC))
    }

    /// `cudaMemcpyFromArray` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyFromArray / cudaMemcpyFromArray_ptds(
        dst: u64, array: u64, x: usize, y: usize, count: usize, kind: u32,
    ) {
        run_of_bytes(array, (x, y), dst, count, false, (kind, DEFAULT, WAIT))
    }

    /// `cudaMemcpyFromArrayAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyFromArrayAsync / cudaMemcpyFromArrayAsync_ptsz(
        dst: u64, array: u64, x: usize, y: usize, count: usize, kind: u32, stream: u64,
    ) {
        run_of_bytes(array, (x, y), dst, count, false, (kind, stream, ASYNC))
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
    use std::mem::offset_of;

    #[test]
    fn descriptions_are_laid_out_as_in_driver_types_h() {
        assert_eq!(offset_of!(ResourceDesc, handle), 8);
        assert_eq!(offset_of!(ResourceDesc, desc), 16);
        assert_eq!(offset_of!(ResourceDesc, sizes), 40);
        assert_eq!(offset_of!(TextureDesc, border), 24);
        assert_eq!(offset_of!(TextureDesc, level_clamp), 56);
        assert_eq!(size_of::<ChannelDesc>(), 20);
        assert_eq!(size_of::<ResourceDesc9>(), 136);
        assert_eq!(offset_of!(ResourceDesc13, flags), 136);
        assert_eq!(size_of::<ResourceDesc13>(), 144);
        assert_eq!(size_of::<TextureDesc>(), 64);
        assert_eq!(size_of::<TextureDesc11>(), 68);
        assert_eq!(size_of::<TextureDesc12>(), 72);
    }

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
