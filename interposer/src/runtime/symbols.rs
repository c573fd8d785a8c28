// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: variables of the program, named by their host shadow.

use super::copy::linear;
use crate::abi::Out;
use crate::copy::Direction;
use crate::entry::export;
use crate::{Result, contexts, error, modules};

/// The null stream, in functions that take no stream.
const DEFAULT: u64 = 0;

/// The device address of `[offset, offset + size)` in a variable.
pub(super) fn range(symbol: u64, size: usize, offset: usize) -> Result<u64> {
    let global = modules::registered_global(contexts::active()?, symbol)?;
    let end = (offset as u64).checked_add(size as u64);
    match end.is_some_and(|end| end <= global.size) {
        true => Ok(global.address + offset as u64),
        false => Err(error::INVALID_VALUE),
    }
}

/// The direction of a copy, if it is one of those that CUDA has for it.
pub(super) fn direction(kind: u32, allowed: Direction) -> Result<Direction> {
    let direction = Direction::from_kind(kind)?;
    let fits = matches!(direction, Direction::DeviceToDevice | Direction::Default);
    match fits || direction == allowed {
        true => Ok(direction),
        false => Err(error::INVALID_MEMCPY_DIRECTION),
    }
}

fn upload(
    symbol: u64,
    src: u64,
    (size, offset): (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let direction = direction(kind, Direction::HostToDevice)?;
    let dst = range(symbol, size, offset)?;
    linear(dst, src, size, direction, stream, asynchronous)
}

fn download(
    dst: u64,
    symbol: u64,
    (size, offset): (usize, usize),
    kind: u32,
    stream: u64,
    asynchronous: bool,
) -> Result<()> {
    let direction = direction(kind, Direction::DeviceToHost)?;
    let src = range(symbol, size, offset)?;
    linear(dst, src, size, direction, stream, asynchronous)
}

export! { runtime:
    /// `cudaMemcpyToSymbol` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyToSymbol / cudaMemcpyToSymbol_ptds(
        symbol: u64, src: u64, size: usize, offset: usize, kind: u32,
    ) {
        upload(symbol, src, (size, offset), kind, DEFAULT, false)
    }

    /// `cudaMemcpyToSymbolAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyToSymbolAsync / cudaMemcpyToSymbolAsync_ptsz(
        symbol: u64, src: u64, size: usize, offset: usize, kind: u32, stream: u64,
    ) {
        upload(symbol, src, (size, offset), kind, stream, true)
    }

    /// `cudaMemcpyFromSymbol` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyFromSymbol / cudaMemcpyFromSymbol_ptds(
        dst: u64, symbol: u64, size: usize, offset: usize, kind: u32,
    ) {
        download(dst, symbol, (size, offset), kind, DEFAULT, false)
    }

    /// `cudaMemcpyFromSymbolAsync` — CUDA Runtime API, Memory Management.
    fn cudaMemcpyFromSymbolAsync / cudaMemcpyFromSymbolAsync_ptsz(
        dst: u64, symbol: u64, size: usize, offset: usize, kind: u32, stream: u64,
    ) {
        download(dst, symbol, (size, offset), kind, stream, true)
    }

    /// `cudaGetSymbolAddress` — CUDA Runtime API, Memory Management.
    fn cudaGetSymbolAddress(address: Out<u64>, symbol: u64) {
        address.present()?;
        address.set(modules::registered_global(contexts::active()?, symbol)?.address)
    }

    /// `cudaGetSymbolSize` — CUDA Runtime API, Memory Management.
    fn cudaGetSymbolSize(size: Out<usize>, symbol: u64) {
        size.present()?;
        size.set(modules::registered_global(contexts::active()?, symbol)?.size as usize)
    }
}
