// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: copies to and from CUDA arrays.

use super::copy::{self, ASYNC, DEFAULT, WAIT};
use super::memory::Extent;
use crate::arrays::{self, Array};
use crate::copy::Side;
use crate::entry::export;
use crate::{Result, error};

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
    size: (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let side = |place: Place| place.side(size.0, size.1);
    let sides = || Ok((side(dst)?, side(src)?));
    copy::rectangle(sides, size, kind, stream, asynchronous)
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
