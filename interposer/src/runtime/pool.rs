// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream Ordered Memory Allocator: pools.

use crate::abi::{In, Out};
use crate::entry::export;
use crate::graph::capture;
use crate::pools::{self, Properties, Value};
use crate::{contexts, streams};

export! { runtime:
    /// `cudaDeviceGetDefaultMemPool` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetDefaultMemPool(out: Out<u64>, ordinal: i32) {
        out.present()?;
        out.set(pools::default_of(contexts::device(ordinal)?))
    }

    /// `cudaDeviceGetMemPool` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetMemPool(out: Out<u64>, ordinal: i32) {
        out.present()?;
        out.set(pools::current_of(contexts::device(ordinal)?))
    }

    /// `cudaDeviceSetMemPool` — CUDA Runtime API, Device Management.
    fn cudaDeviceSetMemPool(ordinal: i32, pool: u64) {
        pools::set_current(contexts::device(ordinal)?, pool)
    }

    /// `cudaMemPoolCreate` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMemPoolCreate(out: Out<u64>, properties: In<Properties>) {
        out.present()?;
        out.set(pools::create(&properties.get()?)?)
    }

    /// `cudaMemPoolDestroy` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMemPoolDestroy(pool: u64) {
        pools::destroy(pool)
    }

    /// `cudaMemPoolTrimTo` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMemPoolTrimTo(pool: u64, _keep: usize) {
        pools::trim(pool)
    }

    /// `cudaMemPoolGetAttribute` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMemPoolGetAttribute(pool: u64, attribute: u32, out: Out<u8>) {
        out.present()?;
        match pools::get(pool, attribute)? {
            Value::Int(value) => out.cast::<i32>().set(value),
            Value::Long(value) => out.cast::<u64>().set(value),
        }
    }

    /// `cudaMemPoolSetAttribute` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMemPoolSetAttribute(pool: u64, attribute: u32, value: Out<u8>) {
        let value = match pools::is_int(attribute)? {
            true => Value::Int(value.cast().get()?),
            false => Value::Long(value.cast().get()?),
        };
        pools::set(pool, attribute, value)
    }

    /// `cudaMallocFromPoolAsync` — CUDA Runtime API, Stream Ordered Memory Allocator.
    fn cudaMallocFromPoolAsync / cudaMallocFromPoolAsync_ptsz(out: Out<u64>, size: usize, pool: u64, stream: u64) {
        out.present()?;
        capture::refuse_nodes(stream, "memory allocation nodes")?;
        out.set(pools::allocate_from(pool, streams::resolve(stream)?, size as u64)?)
    }
}
