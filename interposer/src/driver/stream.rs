// SPDX-License-Identifier: MIT OR Apache-2.0
//! Stream management.

use std::ffi::c_void;

use crate::abi::Out;
use crate::contexts::{self, Context};
use crate::entry::export;
use crate::host_functions::{self, Function, HostFn, StreamCallback};
use crate::{Result, error, streams};

/// The context of a stream: the current one, if it is of the same device.
fn context(stream: u64) -> Result<Context> {
    let ordinal = streams::entry(stream)?.ordinal;
    match contexts::current_context() {
        Some(context) if context.ordinal == ordinal => Ok(context),
        _ => Ok(Context::primary(contexts::device(ordinal as i32)?)),
    }
}

export! { initialized:
    /// `cuStreamCreate` — CUDA Driver API, Stream Management.
    fn cuStreamCreate(out: Out<u64>, flags: u32) {
        out.present()?;
        out.set(streams::create(contexts::bound()?, flags, 0)?)
    }

    /// `cuStreamCreateWithPriority` — CUDA Driver API, Stream Management.
    fn cuStreamCreateWithPriority(out: Out<u64>, flags: u32, priority: i32) {
        out.present()?;
        out.set(streams::create(contexts::bound()?, flags, priority)?)
    }

    /// `cuStreamDestroy` — CUDA Driver API, Stream Management.
    fn cuStreamDestroy | cuStreamDestroy_v2(stream: u64) {
        contexts::bound()?;
        streams::destroy(stream)
    }

    /// `cuStreamSynchronize` — CUDA Driver API, Stream Management.
    fn cuStreamSynchronize / cuStreamSynchronize_ptsz(stream: u64) {
        contexts::bound()?;
        streams::synchronize(stream)
    }

    /// `cuStreamQuery` — CUDA Driver API, Stream Management.
    fn cuStreamQuery / cuStreamQuery_ptsz(stream: u64) {
        contexts::bound()?;
        streams::query(stream)
    }

    /// `cuStreamWaitEvent` — CUDA Driver API, Stream Management.
    fn cuStreamWaitEvent / cuStreamWaitEvent_ptsz(stream: u64, event: u64, flags: u32) {
        contexts::bound()?;
        streams::wait_event(stream, event, flags)
    }

    /// `cuLaunchHostFunc` — CUDA Driver API, Execution Control.
    fn cuLaunchHostFunc / cuLaunchHostFunc_ptsz(stream: u64, function: Option<HostFn>, data: *mut c_void) {
        contexts::bound()?;
        let function = function.ok_or(error::INVALID_VALUE)?;
        host_functions::start(stream, Function::Launched(function), data)
    }

    /// `cuStreamAddCallback` — CUDA Driver API, Stream Management. `flags` must be 0.
    fn cuStreamAddCallback / cuStreamAddCallback_ptsz(stream: u64, callback: Option<StreamCallback>, data: *mut c_void, flags: u32) {
        contexts::bound()?;
        if flags != 0 {
            return Err(error::INVALID_VALUE);
        }
        let function = callback.ok_or(error::INVALID_VALUE)?;
        let outward = std::convert::identity;
        host_functions::start(stream, Function::Callback { function, stream, outward }, data)
    }

    /// `cuStreamGetFlags` — CUDA Driver API, Stream Management.
    fn cuStreamGetFlags / cuStreamGetFlags_ptsz(stream: u64, out: Out<u32>) {
        out.present()?;
        contexts::bound()?;
        out.set(streams::entry(stream)?.flags)
    }

    /// `cuStreamGetPriority` — CUDA Driver API, Stream Management.
    fn cuStreamGetPriority / cuStreamGetPriority_ptsz(stream: u64, out: Out<i32>) {
        out.present()?;
        contexts::bound()?;
        out.set(streams::entry(stream)?.priority)
    }

    /// `cuStreamGetCtx` — CUDA Driver API, Stream Management.
    fn cuStreamGetCtx / cuStreamGetCtx_ptsz(stream: u64, out: Out<u64>) {
        out.present()?;
        contexts::bound()?;
        out.set(context(stream)?.handle())
    }

    /// `cuStreamGetCtx_v2` — CUDA Driver API 12.5, Stream Management. No stream is of a green
    /// context.
    fn cuStreamGetCtx_v2 / cuStreamGetCtx_v2_ptsz(stream: u64, out: Out<u64>, green: Out<u64>) {
        out.present()?;
        contexts::bound()?;
        green.set_if_wanted(0);
        out.set(context(stream)?.handle())
    }

    /// `cuStreamGetDevice` — CUDA Driver API 12.8, Stream Management.
    fn cuStreamGetDevice / cuStreamGetDevice_ptsz(stream: u64, out: Out<i32>) {
        out.present()?;
        contexts::bound()?;
        out.set(streams::entry(stream)?.ordinal as i32)
    }

    /// `cuStreamGetId` — CUDA Driver API 12.0, Stream Management.
    fn cuStreamGetId / cuStreamGetId_ptsz(stream: u64, out: Out<u64>) {
        out.present()?;
        contexts::bound()?;
        let stream = streams::entry(stream)?.stream;
        out.set(u64::from(stream.device) << 32 | u64::from(stream.id))
    }
}
