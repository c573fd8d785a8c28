// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texture objects and surface objects.

use super::array::{ChannelDesc, desc_of, format_of};
use crate::abi::{In, Out};
use crate::arrays::{
    self, AS_INTEGER, NO_TRILINEAR, NORMALIZED, Reading, Resource, SEAMLESS, SRGB,
};
use crate::entry::export;
use crate::view::ViewDesc;
use crate::{Result, contexts};

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
        let (kind, handle, format, sizes) = resource.parts();
        let desc = format.map_or(Ok(ChannelDesc::default()), desc_of)?;
        Ok(ResourceDesc {
            kind,
            handle,
            desc,
            sizes,
        })
    }

    fn resource(&self) -> Result<Resource> {
        Resource::of_parts(self.kind, self.handle, || format_of(self.desc), self.sizes)
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

export! { runtime:
    /// `cudaCreateTextureObject` — CUDA Runtime API, Texture Object Management. The description of
    /// the texture grew at its end.
    fn cudaCreateTextureObject__v9(
        out: Out<u64>, resource: In<ResourceDesc>, texture: In<TextureDesc>, view: In<ViewDesc>,
    ) {
        create_texture(out, resource, texture.get().map(|desc| desc.reading()), view)
    }

    /// `cudaCreateTextureObject` — as above; in 11.8 it was `cudaCreateTextureObject_v2`.
    fn cudaCreateTextureObject__v12 | cudaCreateTextureObject_v2(
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
    fn cudaGetTextureObjectTextureDesc__v9 | cudaGetTextureObjectTextureDesc__v10(
        out: Out<TextureDesc>, object: u64,
    ) {
        texture_reading(out, object, TextureDesc::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — as above; the structure grew at its end.
    fn cudaGetTextureObjectTextureDesc__v11(out: Out<TextureDesc11>, object: u64) {
        texture_reading(out, object, TextureDesc11::of)
    }

    /// `cudaGetTextureObjectTextureDesc` — as above; in 11.8 it was
    /// `cudaGetTextureObjectTextureDesc_v2`.
    fn cudaGetTextureObjectTextureDesc__v12 | cudaGetTextureObjectTextureDesc_v2(
        out: Out<TextureDesc12>, object: u64,
    ) {
        texture_reading(out, object, TextureDesc12::of)
    }

    /// `cudaGetTextureObjectResourceViewDesc` — CUDA Runtime API, Texture Object Management.
    fn cudaGetTextureObjectResourceViewDesc__v9 | cudaGetTextureObjectResourceViewDesc__v13(
        out: Out<ViewDesc>, object: u64,
    ) {
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
}
