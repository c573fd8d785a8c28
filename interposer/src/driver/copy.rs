// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: copies.

use vcuda_protocol::{Extent, Pitch};

use crate::abi::In;
use crate::contexts::{Context, Device};
use crate::copy::{self, Direction, Side, Transfer};
use crate::entry::export;
use crate::error::unsupported;
use crate::{Result, arrays, contexts, error, streams};

/// `CU_DEVICE_ATTRIBUTE_MAX_PITCH`
const MAX_PITCH: u32 = 11;

/// `CUmemorytype`
const HOST: u32 = 1;
const DEVICE: u32 = 2;
const ARRAY: u32 = 3;
const UNIFIED: u32 = 4;

fn linear(
    dst: u64,
    src: u64,
    bytes: usize,
    direction: Direction,
    stream: u64,
    wait: bool,
) -> Result<()> {
    let (dst, src) = (Side::linear(dst), Side::linear(src));
    move_bytes(dst, src, bytes, direction, stream, wait)
}

/// Copies bytes that follow each other on both sides.
pub(super) fn move_bytes(
    dst: Side,
    src: Side,
    bytes: usize,
    direction: Direction,
    stream: u64,
    wait: bool,
) -> Result<()> {
    contexts::bound()?;
    let stream = streams::target(stream, !wait)?;
    copy::copy(
        stream,
        dst,
        src,
        Extent::linear(bytes as u64),
        direction,
        !wait,
    )
}

/// One side of a `CUDA_MEMCPY2D_v2`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Side2d {
    x: usize,
    y: usize,
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    pitch: usize,
}

/// `CUDA_MEMCPY2D_v2`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Memcpy2d {
    src: Side2d,
    dst: Side2d,
    width: usize,
    height: usize,
}

/// One side of a `CUDA_MEMCPY3D_v2`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Side3d {
    x: usize,
    y: usize,
    z: usize,
    level: usize,
    kind: u32,
    host: u64,
    device: u64,
    array: u64,
    reserved: u64,
    pitch: usize,
    height: usize,
}

/// `CUDA_MEMCPY3D_v2`
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Memcpy3d {
    src: Side3d,
    dst: Side3d,
    width: usize,
    height: usize,
    depth: usize,
}

/// A two-dimensional copy is a three-dimensional one of one slice.
impl From<Memcpy2d> for Memcpy3d {
    fn from(copy: Memcpy2d) -> Self {
        let side = |side: Side2d| Side3d {
            x: side.x,
            y: side.y,
            kind: side.kind,
            host: side.host,
            device: side.device,
            array: side.array,
            pitch: side.pitch,
            ..Side3d::default()
        };
        Memcpy3d {
            src: side(copy.src),
            dst: side(copy.dst),
            width: copy.width,
            height: copy.height,
            depth: 1,
        }
    }
}

/// `CUDA_MEMCPY3D_PEER`. Each side's `reserved` is its context.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Memcpy3dPeer(Memcpy3d);

impl Memcpy3dPeer {
    fn between(self) -> Result<Memcpy3d> {
        for side in [self.0.dst, self.0.src] {
            if matches!(side.kind, DEVICE | UNIFIED) {
                Context::named(side.reserved)?;
            }
        }
        Ok(self.0)
    }
}

fn check_contexts(dst: u64, src: u64) -> Result<()> {
    Context::named(dst)?;
    Context::named(src)?;
    Ok(())
}

/// What a side is, for the direction of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Host,
    Device,
    Unified,
}

impl Side3d {
    /// The first byte of the box and the pitches of its rows and slices. A pitch of 0 stands for
    /// rows without gaps, a height of 0 for slices without gaps; the level of detail is for arrays.
    fn locate(&self, extent: Extent, max_pitch: u64) -> Result<(Kind, Side)> {
        let (kind, base) = match self.kind {
            HOST => (Kind::Host, self.host),
            DEVICE => (Kind::Device, self.device),
            UNIFIED => (Kind::Unified, self.device),
            ARRAY => {
                let corner = [self.x, self.y, self.z].map(|at| at as u64);
                let extent = [extent.width, extent.height, extent.depth];
                let side = arrays::find(self.array, false)?.side(corner, extent)?;
                return Ok((Kind::Device, side));
            }
            _ => return Err(error::INVALID_VALUE),
        };
        let (x, y, z) = (self.x as u64, self.y as u64, self.z as u64);
        let width = x.checked_add(extent.width).ok_or(error::INVALID_VALUE)?;
        let rows = y.checked_add(extent.height).ok_or(error::INVALID_VALUE)?;
        let row = match self.pitch as u64 {
            0 => width,
            pitch => pitch,
        };
        let height = match self.height as u64 {
            0 => rows,
            height => height,
        };
        if row < width || row > max_pitch || height < rows {
            return Err(error::INVALID_VALUE);
        }
        let place = || {
            let slice = row.checked_mul(height)?;
            let offset = slice.checked_mul(z)?;
            let offset = offset.checked_add(row.checked_mul(y)?)?.checked_add(x)?;
            let address = base.checked_add(offset)?;
            Some(Side {
                address,
                pitch: Pitch { row, slice },
            })
        };
        match base {
            0 => Err(error::INVALID_VALUE),
            _ => Ok((kind, place().ok_or(error::INVALID_VALUE)?)),
        }
    }
}

/// The direction that the memory types say. Where one is unified the address decides.
fn direction(dst: Kind, src: Kind) -> Direction {
    match (src, dst) {
        (Kind::Host, Kind::Host) => Direction::HostToHost,
        (Kind::Host, Kind::Device) => Direction::HostToDevice,
        (Kind::Device, Kind::Host) => Direction::DeviceToHost,
        (Kind::Device, Kind::Device) => Direction::DeviceToDevice,
        (Kind::Unified, _) | (_, Kind::Unified) => Direction::Default,
    }
}

impl Memcpy3d {
    /// The copy that the structure describes, on a device.
    pub(super) fn transfer(self, device: &Device) -> Result<Transfer> {
        let extent = Extent {
            width: self.width as u64,
            height: self.height as u64,
            depth: self.depth as u64,
        };
        if extent.bytes().ok_or(error::INVALID_VALUE)? == 0 {
            let nowhere = Side::linear(0);
            return Ok(Transfer {
                dst: nowhere,
                src: nowhere,
                extent,
                direction: Direction::Default,
            });
        }
        let max_pitch = device
            .attribute(MAX_PITCH)
            .map_or(u64::MAX, |pitch| pitch.max(0) as u64);
        let (from, src) = self.src.locate(extent, max_pitch)?;
        let (to, dst) = self.dst.locate(extent, max_pitch)?;
        Ok(Transfer {
            dst,
            src,
            extent,
            direction: direction(to, from),
        })
    }

    /// The structure that describes a copy.
    pub(super) fn of(transfer: &Transfer) -> Result<Self> {
        if transfer.involves_array() {
            return Err(unsupported("what a copy of an array was made with"));
        }
        let extent = transfer.extent;
        let side = |side: Side, host: bool| {
            let pitch = side.full_pitch(extent);
            Side3d {
                kind: match (transfer.direction, host) {
                    (Direction::Default, _) => UNIFIED,
                    (_, true) => HOST,
                    (_, false) => DEVICE,
                },
                host: if host { side.address } else { 0 },
                device: if host { 0 } else { side.address },
                pitch: pitch.row as usize,
                height: (pitch.slice / pitch.row.max(1)) as usize,
                ..Side3d::default()
            }
        };
        let (from_host, to_host) = match transfer.direction {
            Direction::HostToHost => (true, true),
            Direction::HostToDevice => (true, false),
            Direction::DeviceToHost => (false, true),
            Direction::DeviceToDevice | Direction::Default => (false, false),
        };
        Ok(Memcpy3d {
            src: side(transfer.src, from_host),
            dst: side(transfer.dst, to_host),
            width: extent.width as usize,
            height: extent.height as usize,
            depth: extent.depth as usize,
        })
    }
}

fn boxed(copy: Memcpy3d, stream: u64, wait: bool) -> Result<()> {
    let Transfer {
        dst,
        src,
        extent,
        direction,
    } = copy.transfer(contexts::bound()?)?;
    let stream = streams::target(stream, !wait)?;
    copy::copy(stream, dst, src, extent, direction, !wait)
}

export! { initialized:
    /// `cuMemcpy` — CUDA Driver API, Memory Management. The addresses say which memory is meant.
    fn cuMemcpy / cuMemcpy_ptds(dst: u64, src: u64, bytes: usize) {
        linear(dst, src, bytes, Direction::Default, 0, true)
    }

    /// `cuMemcpyAsync` — CUDA Driver API, Memory Management.
    fn cuMemcpyAsync / cuMemcpyAsync_ptsz(dst: u64, src: u64, bytes: usize, stream: u64) {
        linear(dst, src, bytes, Direction::Default, stream, false)
    }

    /// `cuMemcpyHtoD_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyHtoD_v2 / cuMemcpyHtoD_v2_ptds(dst: u64, src: u64, bytes: usize) {
        linear(dst, src, bytes, Direction::HostToDevice, 0, true)
    }

    /// `cuMemcpyHtoDAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyHtoDAsync_v2 / cuMemcpyHtoDAsync_v2_ptsz(dst: u64, src: u64, bytes: usize, stream: u64) {
        linear(dst, src, bytes, Direction::HostToDevice, stream, false)
    }

    /// `cuMemcpyDtoH_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyDtoH_v2 / cuMemcpyDtoH_v2_ptds(dst: u64, src: u64, bytes: usize) {
        linear(dst, src, bytes, Direction::DeviceToHost, 0, true)
    }

    /// `cuMemcpyDtoHAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyDtoHAsync_v2 / cuMemcpyDtoHAsync_v2_ptsz(dst: u64, src: u64, bytes: usize, stream: u64) {
        linear(dst, src, bytes, Direction::DeviceToHost, stream, false)
    }

    /// `cuMemcpyDtoD_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyDtoD_v2 / cuMemcpyDtoD_v2_ptds(dst: u64, src: u64, bytes: usize) {
        linear(dst, src, bytes, Direction::DeviceToDevice, 0, true)
    }

    /// `cuMemcpyDtoDAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpyDtoDAsync_v2 / cuMemcpyDtoDAsync_v2_ptsz(dst: u64, src: u64, bytes: usize, stream: u64) {
        linear(dst, src, bytes, Direction::DeviceToDevice, stream, false)
    }

    /// `cuMemcpy2D_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpy2D_v2 / cuMemcpy2D_v2_ptds(copy: In<Memcpy2d>) {
        boxed(copy.get()?.into(), 0, true)
    }

    /// `cuMemcpy2DUnaligned_v2` — CUDA Driver API, Memory Management. Any pitch is as good as
    /// another here.
    fn cuMemcpy2DUnaligned_v2 / cuMemcpy2DUnaligned_v2_ptds(copy: In<Memcpy2d>) {
        boxed(copy.get()?.into(), 0, true)
    }

    /// `cuMemcpy2DAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpy2DAsync_v2 / cuMemcpy2DAsync_v2_ptsz(copy: In<Memcpy2d>, stream: u64) {
        boxed(copy.get()?.into(), stream, false)
    }

    /// `cuMemcpy3D_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpy3D_v2 / cuMemcpy3D_v2_ptds(copy: In<Memcpy3d>) {
        boxed(copy.get()?, 0, true)
    }

    /// `cuMemcpyPeer` — CUDA Driver API, Memory Management. The addresses say which devices are
    /// meant.
    fn cuMemcpyPeer / cuMemcpyPeer_ptds(dst: u64, dst_context: u64, src: u64, src_context: u64, bytes: usize) {
        check_contexts(dst_context, src_context)?;
        linear(dst, src, bytes, Direction::DeviceToDevice, 0, true)
    }

    /// `cuMemcpyPeerAsync` — CUDA Driver API, Memory Management.
    fn cuMemcpyPeerAsync / cuMemcpyPeerAsync_ptsz(
        dst: u64, dst_context: u64, src: u64, src_context: u64, bytes: usize, stream: u64,
    ) {
        check_contexts(dst_context, src_context)?;
        linear(dst, src, bytes, Direction::DeviceToDevice, stream, false)
    }

    /// `cuMemcpy3DPeer` — CUDA Driver API, Memory Management.
    fn cuMemcpy3DPeer / cuMemcpy3DPeer_ptds(copy: In<Memcpy3dPeer>) {
        boxed(copy.get()?.between()?, 0, true)
    }

    /// `cuMemcpy3DPeerAsync` — CUDA Driver API, Memory Management.
    fn cuMemcpy3DPeerAsync / cuMemcpy3DPeerAsync_ptsz(copy: In<Memcpy3dPeer>, stream: u64) {
        boxed(copy.get()?.between()?, stream, false)
    }

    /// `cuMemcpy3DAsync_v2` — CUDA Driver API, Memory Management.
    fn cuMemcpy3DAsync_v2 / cuMemcpy3DAsync_v2_ptsz(copy: In<Memcpy3d>, stream: u64) {
        boxed(copy.get()?, stream, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn two_dimensional_copies_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<Memcpy2d>(), 128);
        assert_eq!(offset_of!(Memcpy2d, src.kind), 16);
        assert_eq!(offset_of!(Memcpy2d, src.host), 24);
        assert_eq!(offset_of!(Memcpy2d, src.device), 32);
        assert_eq!(offset_of!(Memcpy2d, src.pitch), 48);
        assert_eq!(offset_of!(Memcpy2d, dst), 56);
        assert_eq!(offset_of!(Memcpy2d, width), 112);
        assert_eq!(offset_of!(Memcpy2d, height), 120);
    }

    #[test]
    fn three_dimensional_copies_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<Memcpy3d>(), 200);
        assert_eq!(offset_of!(Memcpy3d, src.level), 24);
        assert_eq!(offset_of!(Memcpy3d, src.kind), 32);
        assert_eq!(offset_of!(Memcpy3d, src.array), 56);
        assert_eq!(offset_of!(Memcpy3d, src.pitch), 72);
        assert_eq!(offset_of!(Memcpy3d, src.height), 80);
        assert_eq!(offset_of!(Memcpy3d, dst), 88);
        assert_eq!(offset_of!(Memcpy3d, width), 176);
        assert_eq!(offset_of!(Memcpy3d, depth), 192);
    }

    const EXTENT: Extent = Extent {
        width: 8,
        height: 3,
        depth: 2,
    };

    fn side() -> Side3d {
        Side3d {
            x: 4,
            y: 1,
            z: 2,
            kind: DEVICE,
            device: 0x1000,
            pitch: 16,
            height: 5,
            ..Side3d::default()
        }
    }

    #[test]
    fn a_box_begins_where_its_corner_is() {
        let (kind, found) = side().locate(EXTENT, u64::MAX).unwrap();
        assert_eq!(kind, Kind::Device);
        assert_eq!(found.address, 0x1000 + 2 * 16 * 5 + 16 + 4);
        assert_eq!(found.pitch, Pitch { row: 16, slice: 80 });
    }

    #[test]
    fn rows_and_slices_must_hold_the_box() {
        let wrong = [
            Side3d {
                pitch: 11,
                ..side()
            },
            Side3d {
                height: 3,
                ..side()
            },
            Side3d { kind: 0, ..side() },
            Side3d { kind: 5, ..side() },
            Side3d {
                device: 0,
                ..side()
            },
            Side3d {
                x: usize::MAX,
                ..side()
            },
            Side3d {
                y: usize::MAX,
                ..side()
            },
            Side3d {
                z: usize::MAX,
                ..side()
            },
            Side3d {
                device: u64::MAX,
                ..side()
            },
        ];
        for side in wrong {
            assert_eq!(
                side.locate(EXTENT, u64::MAX).err(),
                Some(error::INVALID_VALUE)
            );
        }
        assert_eq!(side().locate(EXTENT, 15).err(), Some(error::INVALID_VALUE));
    }

    #[test]
    fn zeros_stand_for_rows_and_slices_without_gaps() {
        let side = Side3d {
            x: 0,
            y: 0,
            z: 0,
            pitch: 0,
            height: 0,
            ..side()
        };
        let (_, found) = side.locate(EXTENT, u64::MAX).unwrap();
        assert_eq!(found.pitch, Pitch { row: 8, slice: 24 });
    }
}
