// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays, texture objects and surface objects.

use super::copy::move_bytes;
use crate::abi::{In, Out};
use crate::arrays::{self, Format, Reading, Resource};
use crate::copy::{Direction, Side};
use crate::entry::export;
use crate::view::ViewDesc;
use crate::{Result, contexts};

/// `CUDA_ARRAY_DESCRIPTOR_v2`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ArrayDescriptor {
    width: usize,
    height: usize,
    format: u32,
    channels: u32,
}

/// `CUDA_ARRAY3D_DESCRIPTOR_v2`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Array3dDescriptor {
    width: usize,
    height: usize,
    depth: usize,
    format: u32,
    channels: u32,
    flags: u32,
}

impl Array3dDescriptor {
    fn create(&self, levels: u32) -> Result<u64> {
        let format = Format {
            format: self.format,
            channels: self.channels,
        };
        let size = [self.width, self.height, self.depth].map(|extent| extent as u64);
        arrays::create(contexts::bound()?, format, size, self.flags, levels)
    }

    fn of(handle: u64) -> Result<Self> {
        let array = arrays::find(handle, false)?;
        let [width, height, depth] = array.size.map(|extent| extent as usize);
        Ok(Array3dDescriptor {
            width,
            height,
            depth,
            format: array.format.format,
            channels: array.format.channels,
            flags: array.flags,
        })
    }
}

/// `CUDA_RESOURCE_DESC`, as far as it says anything.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ResourceDesc {
    kind: u32,
    /// An array, or the address of memory.
    handle: u64,
    format: u32,
    channels: u32,
    /// Bytes; or width, height and pitch.
    sizes: [usize; 3],
}

/// `CUDA_RESOURCE_DESC` as a whole.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct WholeResourceDesc {
    said: ResourceDesc,
    reserved: [u64; 11],
    flags: u32,
}

impl WholeResourceDesc {
    fn of(resource: Resource) -> Self {
        let (kind, handle, format, sizes) = resource.parts();
        let said = ResourceDesc {
            kind,
            handle,
            format: format.map_or(0, |format| format.format),
            channels: format.map_or(0, |format| format.channels),
            sizes,
        };
        WholeResourceDesc {
            said,
            ..Default::default()
        }
    }
}

impl ResourceDesc {
    fn resource(&self) -> Result<Resource> {
        let format = Format {
            format: self.format,
            channels: self.channels,
        };
        Resource::of_parts(self.kind, self.handle, || Ok(format), self.sizes)
    }
}

/// `CUDA_TEXTURE_DESC`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct TextureDesc {
    address_modes: [u32; 3],
    filter: u32,
    flags: u32,
    max_anisotropy: u32,
    level_filter: u32,
    level_bias: f32,
    level_clamp: [f32; 2],
    border: [f32; 4],
    reserved: [u32; 12],
}

impl TextureDesc {
    fn reading(&self) -> Reading {
        Reading {
            address_modes: self.address_modes,
            filter: self.filter,
            level_filter: self.level_filter,
            flags: self.flags,
            border: self.border,
            level_bias: self.level_bias,
            level_clamp: self.level_clamp,
            max_anisotropy: self.max_anisotropy,
        }
    }

    fn of(reading: Reading) -> Self {
        TextureDesc {
            address_modes: reading.address_modes,
            filter: reading.filter,
            flags: reading.flags,
            max_anisotropy: reading.max_anisotropy,
            level_filter: reading.level_filter,
            level_bias: reading.level_bias,
            level_clamp: reading.level_clamp,
            border: reading.border,
            reserved: [0; 12],
        }
    }
}

/// Bytes of an array's row from an offset on.
fn row(array: u64, offset: usize, bytes: usize) -> Result<Side> {
    arrays::find(array, false)?.side([offset as u64, 0, 0], [bytes as u64, 1, 1])
}

export! { initialized:
    /// `cuArrayCreate_v2` — CUDA Driver API, Memory Management.
    fn cuArrayCreate_v2(out: Out<u64>, desc: In<ArrayDescriptor>) {
        out.present()?;
        let ArrayDescriptor { width, height, format, channels } = desc.get()?;
        let desc = Array3dDescriptor { width, height, format, channels, ..Default::default() };
        out.set(desc.create(0)?)
    }

    /// `cuArray3DCreate_v2` — CUDA Driver API, Memory Management.
    fn cuArray3DCreate_v2(out: Out<u64>, desc: In<Array3dDescriptor>) {
        out.present()?;
        out.set(desc.get()?.create(0)?)
    }

    /// `cuArrayGetDescriptor_v2` — CUDA Driver API, Memory Management.
    fn cuArrayGetDescriptor_v2(out: Out<ArrayDescriptor>, array: u64) {
        contexts::bound()?;
        let Array3dDescriptor { width, height, format, channels, .. } = Array3dDescriptor::of(array)?;
        out.set(ArrayDescriptor { width, height, format, channels })
    }

    /// `cuArray3DGetDescriptor_v2` — CUDA Driver API, Memory Management.
    fn cuArray3DGetDescriptor_v2(out: Out<Array3dDescriptor>, array: u64) {
        contexts::bound()?;
        out.set(Array3dDescriptor::of(array)?)
    }

    /// `cuArrayDestroy` — CUDA Driver API, Memory Management.
    fn cuArrayDestroy(array: u64) {
        contexts::bound()?;
        arrays::destroy(array, false)
    }

    /// `cuMipmappedArrayCreate` — CUDA Driver API, Memory Management.
    fn cuMipmappedArrayCreate(out: Out<u64>, desc: In<Array3dDescriptor>, levels: u32) {
        out.present()?;
        out.set(desc.get()?.create(levels.max(1))?)
    }

    /// `cuMipmappedArrayGetLevel` — CUDA Driver API, Memory Management.
    fn cuMipmappedArrayGetLevel(out: Out<u64>, array: u64, level: u32) {
        contexts::bound()?;
        out.present()?;
        out.set(arrays::level(array, level)?)
    }

    /// `cuMipmappedArrayDestroy` — CUDA Driver API, Memory Management.
    fn cuMipmappedArrayDestroy(array: u64) {
        contexts::bound()?;
        arrays::destroy(array, true)
    }

    /// `cuTexObjectCreate` — CUDA Driver API, Texture Object Management.
    fn cuTexObjectCreate(
        out: Out<u64>, resource: In<ResourceDesc>, texture: In<TextureDesc>, view: In<ViewDesc>,
    ) {
        let device = contexts::bound()?;
        out.present()?;
        let (resource, reading) = (resource.get()?.resource()?, texture.get()?.reading());
        let view = ViewDesc::view(view)?;
        out.set(arrays::create_object(device, resource, Some(reading), view)?)
    }

    /// `cuTexObjectGetResourceDesc` — CUDA Driver API, Texture Object Management.
    fn cuTexObjectGetResourceDesc(out: Out<WholeResourceDesc>, object: u64) {
        contexts::bound()?;
        out.present()?;
        out.set(WholeResourceDesc::of(arrays::texture_object(object)?.0.resource))
    }

    /// `cuTexObjectGetTextureDesc` — CUDA Driver API, Texture Object Management.
    fn cuTexObjectGetTextureDesc(out: Out<TextureDesc>, object: u64) {
        contexts::bound()?;
        out.present()?;
        out.set(TextureDesc::of(arrays::texture_object(object)?.1))
    }

    /// `cuTexObjectGetResourceViewDesc` — CUDA Driver API, Texture Object Management.
    fn cuTexObjectGetResourceViewDesc(out: Out<ViewDesc>, object: u64) {
        contexts::bound()?;
        ViewDesc::of(out, object)
    }

    /// `cuSurfObjectGetResourceDesc` — CUDA Driver API, Surface Object Management.
    fn cuSurfObjectGetResourceDesc(out: Out<WholeResourceDesc>, object: u64) {
        contexts::bound()?;
        out.present()?;
        out.set(WholeResourceDesc::of(arrays::surface_object(object)?.resource))
    }

    /// `cuTexObjectDestroy` — CUDA Driver API, Texture Object Management.
    fn cuTexObjectDestroy(object: u64) {
        contexts::bound()?;
        arrays::destroy_object(object)
    }

    /// `cuSurfObjectCreate` — CUDA Driver API, Surface Object Management.
    fn cuSurfObjectCreate(out: Out<u64>, resource: In<ResourceDesc>) {
        let device = contexts::bound()?;
        out.present()?;
        out.set(arrays::create_object(device, resource.get()?.resource()?, None, None)?)
    }

    /// `cuSurfObjectDestroy` — CUDA Driver API, Surface Object Management.
    fn cuSurfObjectDestroy(object: u64) {
        contexts::bound()?;
        arrays::destroy_object(object)
    }

    /// `cuMemcpyHtoA_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyHtoA_v2 / cuMemcpyHtoA_v2_ptds(array: u64, offset: usize, src: u64, bytes: usize) {
        let dst = row(array, offset, bytes)?;
        move_bytes(dst, Side::linear(src), bytes, Direction::HostToDevice, 0, true)
    }

    /// `cuMemcpyHtoAAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyHtoAAsync_v2 / cuMemcpyHtoAAsync_v2_ptsz(
        array: u64, offset: usize, src: u64, bytes: usize, stream: u64,
    ) {
        let dst = row(array, offset, bytes)?;
        move_bytes(dst, Side::linear(src), bytes, Direction::HostToDevice, stream, false)
    }

    /// `cuMemcpyAtoH_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyAtoH_v2 / cuMemcpyAtoH_v2_ptds(dst: u64, array: u64, offset: usize, bytes: usize) {
        let src = row(array, offset, bytes)?;
        move_bytes(Side::linear(dst), src, bytes, Direction::DeviceToHost, 0, true)
    }

    /// `cuMemcpyAtoHAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyAtoHAsync_v2 / cuMemcpyAtoHAsync_v2_ptsz(
        dst: u64, array: u64, offset: usize, bytes: usize, stream: u64,
    ) {
        let src = row(array, offset, bytes)?;
        move_bytes(Side::linear(dst), src, bytes, Direction::DeviceToHost, stream, false)
    }

    /// `cuMemcpyDtoA_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyDtoA_v2 / cuMemcpyDtoA_v2_ptds(array: u64, offset: usize, src: u64, bytes: usize) {
        let dst = row(array, offset, bytes)?;
        move_bytes(dst, Side::linear(src), bytes, Direction::DeviceToDevice, 0, true)
    }

    /// `cuMemcpyAtoD_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyAtoD_v2 / cuMemcpyAtoD_v2_ptds(dst: u64, array: u64, offset: usize, bytes: usize) {
        let src = row(array, offset, bytes)?;
        move_bytes(Side::linear(dst), src, bytes, Direction::DeviceToDevice, 0, true)
    }

    /// `cuMemcpyAtoA_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyAtoA_v2 / cuMemcpyAtoA_v2_ptds(
        dst: u64, dst_offset: usize, src: u64, src_offset: usize, bytes: usize,
    ) {
        let (dst, src) = (row(dst, dst_offset, bytes)?, row(src, src_offset, bytes)?);
        move_bytes(dst, src, bytes, Direction::DeviceToDevice, 0, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn descriptions_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<ArrayDescriptor>(), 24);
        assert_eq!(size_of::<Array3dDescriptor>(), 40);
        assert_eq!(offset_of!(Array3dDescriptor, flags), 32);
        assert_eq!(offset_of!(ResourceDesc, handle), 8);
        assert_eq!(offset_of!(ResourceDesc, format), 16);
        assert_eq!(offset_of!(ResourceDesc, sizes), 24);
        assert_eq!(offset_of!(TextureDesc, flags), 16);
        assert_eq!(size_of::<WholeResourceDesc>(), 144);
        assert_eq!(offset_of!(WholeResourceDesc, flags), 136);
        assert_eq!(offset_of!(TextureDesc, border), 40);
        assert_eq!(size_of::<TextureDesc>(), 104);
    }
}
