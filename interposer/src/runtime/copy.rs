// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: copies and fills.

use vcuda_protocol::Pitch;

use super::memory::{Extent, PitchedPtr};
use crate::abi::In;
use crate::arrays::Array;
use crate::copy::{Direction, Side, Transfer, copy};
use crate::entry::export;
use crate::error::unsupported;
use crate::fill::{Fill, fill};
use crate::{Result, arrays, contexts, error, streams};

/// The null stream, in functions that take no stream.
pub(super) const DEFAULT: u64 = 0;

/// Whether the caller waits.
pub(super) const WAIT: bool = false;
pub(super) const ASYNC: bool = true;

pub(super) fn linear(
    dst: u64,
    src: u64,
    size: usize,
    direction: Direction,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let stream = streams::target(stream, asynchronous)?;
    let extent = vcuda_protocol::Extent::linear(size as u64);
    let (dst, src) = (Side::linear(dst), Side::linear(src));
    copy(stream, dst, src, extent, direction, asynchronous)
}

/// Copies a rectangle between the two sides, destination first, if it is not empty.
pub(super) fn rectangle(
    sides: impl FnOnce() -> Result<(Side, Side)>,
    (width, height): (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let direction = Direction::from_kind(kind)?;
    let stream = streams::target(stream, asynchronous)?;
    if width == 0 || height == 0 {
        return Ok(());
    }
    let (dst, src) = sides()?;
    let extent = Extent {
        width,
        height,
        depth: 1,
    };
    copy(stream, dst, src, extent.into(), direction, asynchronous)
}

/// One side of a rectangle in memory: address and pitch.
type Rows = (u64, usize);

fn pitched(
    dst: Rows,
    src: Rows,
    size: (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let side = |(address, pitch): Rows| match size.0 > pitch {
        true => Err(error::INVALID_PITCH_VALUE),
        false => Ok(Side::pitched(address, pitch as u64)),
    };
    let sides = || Ok((side(dst)?, side(src)?));
    rectangle(sides, size, kind, stream, asynchronous)
}

/// `cudaPos`
#[repr(C)]
#[derive(Clone, Copy)]
struct Pos {
    x: usize,
    y: usize,
    z: usize,
}

/// `cudaMemcpy3DParms`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Memcpy3D {
    src_array: u64,
    src_pos: Pos,
    src: PitchedPtr,
    dst_array: u64,
    dst_pos: Pos,
    dst: PitchedPtr,
    extent: Extent,
    kind: u32,
}

/// Where a box of `extent` begins within pitched memory.
fn corner(memory: PitchedPtr, pos: Pos, extent: Extent) -> Result<Side> {
    let fits = |pos: usize, extent: usize, size: usize| {
        pos.checked_add(extent).is_some_and(|end| end <= size)
    };
    if !fits(pos.x, extent.width, memory.pitch) {
        return Err(error::INVALID_PITCH_VALUE);
    }
    // Where there is one slice, nothing depends on its height, and programs leave it out.
    if (pos.z != 0 || extent.depth > 1) && !fits(pos.y, extent.height, memory.height) {
        return Err(error::INVALID_VALUE);
    }
    let slice = memory
        .pitch
        .checked_mul(memory.height)
        .ok_or(error::INVALID_VALUE)?;
    let offset = |count: usize, size: usize| count.checked_mul(size);
    let address = offset(pos.z, slice)
        .zip(offset(pos.y, memory.pitch))
        .and_then(|(z, y)| z.checked_add(y)?.checked_add(pos.x))
        .and_then(|offset| memory.pointer.checked_add(offset as u64))
        .filter(|_| memory.pointer != 0)
        .ok_or(error::INVALID_VALUE)?;
    let pitch = Pitch {
        row: memory.pitch as u64,
        slice: slice as u64,
    };
    Ok(Side { address, pitch })
}

/// A side of a box: pitched memory, or an array where there is one.
fn cuboid_side(
    array: Option<&Array>,
    memory: PitchedPtr,
    pos: Pos,
    extent: Extent,
    bytes: Extent,
) -> Result<Side> {
    match array {
        Some(array) => super::array_copy::corner(array, [pos.x, pos.y, pos.z], extent),
        None => corner(memory, pos, bytes),
    }
}

impl Memcpy3D {
    /// The copy that the structure describes.
    pub(super) fn transfer(self) -> Result<Transfer> {
        let p = self;
        let direction = Direction::from_kind(p.kind)?;
        let array = |handle: u64| match handle {
            0 => Ok(None),
            handle => arrays::find(handle, false).map(Some),
        };
        let (to, from) = (array(p.dst_array)?, array(p.src_array)?);
        if p.extent.width == 0 || p.extent.height == 0 || p.extent.depth == 0 {
            let nowhere = Side::linear(0);
            return Ok(Transfer {
                dst: nowhere,
                src: nowhere,
                extent: p.extent.into(),
                direction,
            });
        }
        // With an array, the extent counts its texels (CUDA Runtime API, cudaMemcpy3D).
        let texel = match from.as_ref().or(to.as_ref()) {
            Some(array) => array.format.bytes()? as usize,
            None => 1,
        };
        let width = p
            .extent
            .width
            .checked_mul(texel)
            .ok_or(error::INVALID_VALUE)?;
        let bytes = Extent { width, ..p.extent };
        Ok(Transfer {
            dst: cuboid_side(to.as_deref(), p.dst, p.dst_pos, p.extent, bytes)?,
            src: cuboid_side(from.as_deref(), p.src, p.src_pos, p.extent, bytes)?,
            extent: bytes.into(),
            direction,
        })
    }

    /// The structure that describes a copy.
    pub(super) fn of(transfer: &Transfer) -> Result<Self> {
        if transfer.involves_array() {
            return Err(unsupported("what a copy of an array was made with"));
        }
        let extent = transfer.extent;
        let origin = Pos { x: 0, y: 0, z: 0 };
        let memory = |side: Side| {
            let pitch = side.full_pitch(extent);
            PitchedPtr {
                pointer: side.address,
                pitch: pitch.row as usize,
                width: extent.width as usize,
                height: (pitch.slice / pitch.row.max(1)) as usize,
            }
        };
        Ok(Memcpy3D {
            src_array: 0,
            src_pos: origin,
            src: memory(transfer.src),
            dst_array: 0,
            dst_pos: origin,
            dst: memory(transfer.dst),
            extent: Extent {
                width: extent.width as usize,
                height: extent.height as usize,
                depth: extent.depth as usize,
            },
            kind: transfer.direction as u32,
        })
    }
}

fn cuboid(p: Memcpy3D, stream: u64, asynchronous: bool) -> Result<()> {
    let stream = streams::target(stream, asynchronous)?;
    let Transfer {
        dst,
        src,
        extent,
        direction,
    } = p.transfer()?;
    copy(stream, dst, src, extent, direction, asynchronous)
}

/// Copies between devices, which their numbers and the addresses both name.
fn peer(
    dst: u64,
    dst_device: i32,
    src: u64,
    src_device: i32,
    size: usize,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    contexts::device(dst_device)?;
    contexts::device(src_device)?;
    linear(
        dst,
        src,
        size,
        Direction::DeviceToDevice,
        stream,
        asynchronous,
    )
}

/// `cudaMemcpy3DPeerParms`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Memcpy3DPeer {
    src_array: u64,
    src_pos: Pos,
    src: PitchedPtr,
    src_device: i32,
    dst_array: u64,
    dst_pos: Pos,
    dst: PitchedPtr,
    dst_device: i32,
    extent: Extent,
}

/// [`cuboid`] between devices.
fn peer_cuboid(parameters: In<Memcpy3DPeer>, stream: u64, asynchronous: bool) -> Result<()> {
    /// `cudaMemcpyDeviceToDevice`
    const DEVICE_TO_DEVICE: u32 = 3;
    let p = parameters.get()?;
    contexts::device(p.dst_device)?;
    contexts::device(p.src_device)?;
    let p = Memcpy3D {
        src_array: p.src_array,
        src_pos: p.src_pos,
        src: p.src,
        dst_array: p.dst_array,
        dst_pos: p.dst_pos,
        dst: p.dst,
        extent: p.extent,
        kind: DEVICE_TO_DEVICE,
    };
    cuboid(p, stream, asynchronous)
}

/// Sets bytes; only the low byte of the value counts.
fn set(dst: Side, value: i32, extent: Extent, stream: u64, asynchronous: bool) -> Result<()> {
    let stream = streams::target(stream, asynchronous)?;
    let bytes = Fill {
        dst,
        value: value as u32 & 0xff,
        element: 1,
        extent: extent.into(),
    };
    fill(stream, bytes, asynchronous)
}

fn row(width: usize) -> Extent {
    Extent {
        width,
        height: 1,
        depth: 1,
    }
}

fn box_of(memory: PitchedPtr) -> Result<Side> {
    let slice = (memory.pitch as u64)
        .checked_mul(memory.height as u64)
        .ok_or(error::INVALID_VALUE)?;
    Ok(Side {
        address: memory.pointer,
        pitch: Pitch {
            row: memory.pitch as u64,
            slice,
        },
    })
}

export! { runtime:
    /// `cudaMemcpy` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy / cudaMemcpy_ptds(dst: u64, src: u64, size: usize, kind: u32) {
        linear(dst, src, size, Direction::from_kind(kind)?, DEFAULT, WAIT)
    }

    /// `cudaMemcpyAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyAsync / cudaMemcpyAsync_ptsz(dst: u64, src: u64, size: usize, kind: u32, stream: u64) {
        linear(dst, src, size, Direction::from_kind(kind)?, stream, ASYNC)
    }

    /// `cudaMemcpy2D` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2D / cudaMemcpy2D_ptds(
        dst: u64, dst_pitch: usize, src: u64, src_pitch: usize, width: usize, height: usize, kind: u32,
    ) {
        pitched((dst, dst_pitch), (src, src_pitch), (width, height), kind, DEFAULT, WAIT)
    }

    /// `cudaMemcpy2DAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy2DAsync / cudaMemcpy2DAsync_ptsz(
        dst: u64, dst_pitch: usize, src: u64, src_pitch: usize, width: usize, height: usize, kind: u32, stream: u64,
    ) {
        pitched((dst, dst_pitch), (src, src_pitch), (width, height), kind, stream, ASYNC)
    }

    /// `cudaMemcpy3D` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy3D / cudaMemcpy3D_ptds(parameters: In<Memcpy3D>) {
        cuboid(parameters.get()?, DEFAULT, WAIT)
    }

    /// `cudaMemcpy3DAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy3DAsync / cudaMemcpy3DAsync_ptsz(parameters: In<Memcpy3D>, stream: u64) {
        cuboid(parameters.get()?, stream, ASYNC)
    }

    /// `cudaMemcpyPeer` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyPeer(dst: u64, dst_device: i32, src: u64, src_device: i32, size: usize) {
        peer(dst, dst_device, src, src_device, size, DEFAULT, WAIT)
    }

    /// `cudaMemcpyPeerAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyPeerAsync(dst: u64, dst_device: i32, src: u64, src_device: i32, size: usize, stream: u64) {
        peer(dst, dst_device, src, src_device, size, stream, ASYNC)
    }

    /// `cudaMemcpy3DPeer` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy3DPeer / cudaMemcpy3DPeer_ptds(parameters: In<Memcpy3DPeer>) {
        peer_cuboid(parameters, DEFAULT, WAIT)
    }

    /// `cudaMemcpy3DPeerAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpy3DPeerAsync / cudaMemcpy3DPeerAsync_ptsz(parameters: In<Memcpy3DPeer>, stream: u64) {
        peer_cuboid(parameters, stream, ASYNC)
    }

    /// `cudaMemset` — CUDA Runtime API, Memory Management.
    fn cudaMemset / cudaMemset_ptds(dst: u64, value: i32, size: usize) {
        set(Side::linear(dst), value, row(size), DEFAULT, WAIT)
    }

    /// `cudaMemsetAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemsetAsync / cudaMemsetAsync_ptsz(dst: u64, value: i32, size: usize, stream: u64) {
        set(Side::linear(dst), value, row(size), stream, ASYNC)
    }

    /// `cudaMemset2D` — CUDA Runtime API, Memory Management.
    fn cudaMemset2D / cudaMemset2D_ptds(dst: u64, pitch: usize, value: i32, width: usize, height: usize) {
        set(Side::pitched(dst, pitch as u64), value, Extent { width, height, depth: 1 }, DEFAULT, WAIT)
    }

    /// `cudaMemset2DAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemset2DAsync / cudaMemset2DAsync_ptsz(
        dst: u64, pitch: usize, value: i32, width: usize, height: usize, stream: u64,
    ) {
        set(Side::pitched(dst, pitch as u64), value, Extent { width, height, depth: 1 }, stream, ASYNC)
    }

    /// `cudaMemset3D` — CUDA Runtime API, Memory Management.
    fn cudaMemset3D / cudaMemset3D_ptds(dst: PitchedPtr, value: i32, extent: Extent) {
        set(box_of(dst)?, value, extent, DEFAULT, WAIT)
    }

    /// `cudaMemset3DAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemset3DAsync / cudaMemset3DAsync_ptsz(dst: PitchedPtr, value: i32, extent: Extent, stream: u64) {
        set(box_of(dst)?, value, extent, stream, ASYNC)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::layouts::{assert_layout, offsets};

    #[test]
    fn structures_are_laid_out_as_in_each_release() {
        let parameters = offsets!(Memcpy3D:
            "srcArray" src_array, "srcPos" src_pos, "srcPtr" src, "dstArray" dst_array,
            "dstPos" dst_pos, "dstPtr" dst, "extent" extent, "kind" kind);
        let pitched = offsets!(PitchedPtr:
            "ptr" pointer, "pitch" pitch, "xsize" width, "ysize" height);
        for release in ["11.8", "12.0", "12.9", "13.0"] {
            assert_layout(
                "cudaMemcpy3DParms",
                release,
                size_of::<Memcpy3D>(),
                &parameters,
            );
            assert_layout("cudaPitchedPtr", release, size_of::<PitchedPtr>(), &pitched);
        }
    }

    #[test]
    fn copies_between_devices_are_laid_out_as_in_driver_types_h() {
        assert_eq!(size_of::<Memcpy3DPeer>(), 168);
        assert_eq!(std::mem::offset_of!(Memcpy3DPeer, dst_array), 72);
        assert_eq!(std::mem::offset_of!(Memcpy3DPeer, extent), 144);
    }

    fn memory(pitch: usize, height: usize) -> PitchedPtr {
        PitchedPtr {
            pointer: 0x1000,
            pitch,
            width: pitch,
            height,
        }
    }

    #[test]
    fn a_box_begins_at_its_position_in_the_memory() {
        let side = corner(
            memory(100, 10),
            Pos { x: 3, y: 2, z: 4 },
            Extent {
                width: 97,
                height: 8,
                depth: 2,
            },
        );
        let side = side.expect("the box lies within rows and slices");
        assert_eq!(side.address, 0x1000 + 4 * 1000 + 200 + 3);
        assert_eq!((side.pitch.row, side.pitch.slice), (100, 1000));
    }

    #[test]
    fn a_box_beyond_a_row_or_slice_is_refused() {
        let at = |x, y, z| Pos { x, y, z };
        let box_of = |width, height, depth| Extent {
            width,
            height,
            depth,
        };
        let outcome = |pos, extent| corner(memory(100, 10), pos, extent).map(drop);
        assert_eq!(
            outcome(at(4, 0, 0), box_of(97, 1, 1)),
            Err(error::INVALID_PITCH_VALUE)
        );
        assert_eq!(
            outcome(at(0, 3, 0), box_of(1, 8, 2)),
            Err(error::INVALID_VALUE)
        );
        assert_eq!(outcome(at(0, 3, 0), box_of(1, 8, 1)), Ok(()));
        let far = at(0, 0, usize::MAX);
        assert_eq!(outcome(far, box_of(1, 1, 1)), Err(error::INVALID_VALUE));
    }
}
