// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream management.

use std::ffi::c_void;

use crate::abi::Out;
use crate::entry::export;
use crate::host_functions::{self, Function, HostFn, StreamCallback};
use crate::{contexts, error, release, streams};

export! { runtime:
    /// `cudaStreamCreate` — CUDA Runtime API, Stream Management.
    fn cudaStreamCreate(stream: Out<u64>) {
        stream.present()?;
        stream.set(streams::create(contexts::active()?, 0, 0)?)
    }

    /// `cudaStreamCreateWithFlags` — CUDA Runtime API, Stream Management.
    fn cudaStreamCreateWithFlags(stream: Out<u64>, flags: u32) {
        stream.present()?;
        stream.set(streams::create(contexts::active()?, flags, 0)?)
    }

    /// `cudaStreamCreateWithPriority` — CUDA Runtime API, Stream Management.
    fn cudaStreamCreateWithPriority(stream: Out<u64>, flags: u32, priority: i32) {
        stream.present()?;
        stream.set(streams::create(contexts::active()?, flags, priority)?)
    }

    /// `cudaStreamDestroy` — CUDA Runtime API, Stream Management.
    fn cudaStreamDestroy(stream: u64) {
        streams::destroy(stream)
    }

    /// `cudaStreamSynchronize` — CUDA Runtime API, Stream Management.
    fn cudaStreamSynchronize / cudaStreamSynchronize_ptsz(stream: u64) {
        streams::synchronize(stream)
    }

    /// `cudaStreamQuery` — CUDA Runtime API, Stream Management.
    fn cudaStreamQuery / cudaStreamQuery_ptsz(stream: u64) {
        streams::query(stream)
    }

    /// `cudaStreamWaitEvent` — CUDA Runtime API, Stream Management.
    fn cudaStreamWaitEvent / cudaStreamWaitEvent_ptsz(stream: u64, event: u64, flags: u32) {
        streams::wait_event(stream, event, flags)
    }

    /// `cudaLaunchHostFunc` — CUDA Runtime API, Execution Control.
    fn cudaLaunchHostFunc / cudaLaunchHostFunc_ptsz(stream: u64, function: Option<HostFn>, data: *mut c_void) {
        let function = function.ok_or(error::INVALID_VALUE)?;
        host_functions::start(stream, Function::Launched(function), data)
    }

    /// `cudaStreamAddCallback` — CUDA Runtime API, Stream Management. `flags` must be 0.
    fn cudaStreamAddCallback / cudaStreamAddCallback_ptsz(stream: u64, callback: Option<StreamCallback>, data: *mut c_void, flags: u32) {
        if flags != 0 {
            return Err(error::INVALID_VALUE);
        }
        let function = callback.ok_or(error::INVALID_VALUE)?;
        let outward = release::outward;
        host_functions::start(stream, Function::Callback { function, stream, outward }, data)
    }

    /// `cudaStreamGetFlags` — CUDA Runtime API, Stream Management.
    fn cudaStreamGetFlags / cudaStreamGetFlags_ptsz(stream: u64, flags: Out<u32>) {
        flags.present()?;
        flags.set(streams::entry(stream)?.flags)
    }

    /// `cudaStreamGetPriority` — CUDA Runtime API, Stream Management.
    fn cudaStreamGetPriority / cudaStreamGetPriority_ptsz(stream: u64, priority: Out<i32>) {
        priority.present()?;
        priority.set(streams::entry(stream)?.priority)
    }

    /// `cudaStreamGetId` — CUDA Runtime API 12.0, Stream Management.
    fn cudaStreamGetId / cudaStreamGetId_ptsz(stream: u64, out: Out<u64>) {
        out.present()?;
        let stream = streams::entry(stream)?.stream;
        out.set(u64::from(stream.device) << 32 | u64::from(stream.id))
    }

    /// `cudaDeviceGetStreamPriorityRange` — CUDA Runtime API, Device Management. Either pointer may
    /// be null.
    fn cudaDeviceGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        let range = streams::priorities(contexts::active()?)?;
        least.set_if_wanted(*range.end());
        greatest.set_if_wanted(*range.start());
        Ok(())
    }
}
