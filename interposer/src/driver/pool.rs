// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream Ordered Memory Allocator: pools.

use crate::abi::{In, Out};
use crate::entry::export;
use crate::graph::capture;
use crate::pools::{self, Properties, Value};
use crate::{contexts, streams};

export! { initialized:
    /// `cuDeviceGetDefaultMemPool` — CUDA Driver API, Device Management.
    fn cuDeviceGetDefaultMemPool(out: Out<u64>, ordinal: i32) {
        out.present()?;
        out.set(pools::default_of(contexts::device(ordinal)?))
    }

    /// `cuDeviceGetMemPool` — CUDA Driver API, Device Management.
    fn cuDeviceGetMemPool(out: Out<u64>, ordinal: i32) {
        out.present()?;
        out.set(pools::current_of(contexts::device(ordinal)?))
    }

    /// `cuDeviceSetMemPool` — CUDA Driver API, Device Management.
    fn cuDeviceSetMemPool(ordinal: i32, pool: u64) {
        pools::set_current(contexts::device(ordinal)?, pool)
    }

    /// `cuMemPoolCreate` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemPoolCreate(out: Out<u64>, properties: In<Properties>) {
        out.present()?;
        out.set(pools::create(&properties.get()?)?)
    }

    /// `cuMemPoolDestroy` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemPoolDestroy(pool: u64) {
        pools::destroy(pool)
    }

    /// `cuMemPoolTrimTo` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemPoolTrimTo(pool: u64, _keep: usize) {
        pools::trim(pool)
    }

    /// `cuMemPoolGetAttribute` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemPoolGetAttribute(pool: u64, attribute: u32, out: Out<u8>) {
        out.present()?;
        match pools::get(pool, attribute)? {
            Value::Int(value) => out.cast::<i32>().set(value),
            Value::Long(value) => out.cast::<u64>().set(value),
        }
    }

    /// `cuMemPoolSetAttribute` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemPoolSetAttribute(pool: u64, attribute: u32, value: Out<u8>) {
        let value = match pools::is_int(attribute)? {
            true => Value::Int(value.cast().get()?),
            false => Value::Long(value.cast().get()?),
        };
        pools::set(pool, attribute, value)
    }

    /// `cuMemAllocFromPoolAsync` — CUDA Driver API, Stream Ordered Memory Allocator.
    fn cuMemAllocFromPoolAsync / cuMemAllocFromPoolAsync_ptsz(out: Out<u64>, size: usize, pool: u64, stream: u64) {
        out.present()?;
        capture::refuse_nodes(stream, "memory allocation nodes")?;
        out.set(pools::allocate_from(pool, streams::resolve(stream)?, size as u64)?)
    }
}
