// SPDX-License-Identifier: MIT OR Apache-2.0
//! Event management.

use crate::abi::Out;
use crate::entry::export;
use crate::{contexts, streams};

export! { initialized:
    /// `cuEventCreate` — CUDA Driver API, Event Management.
    fn cuEventCreate(out: Out<u64>, flags: u32) {
        out.present()?;
        out.set(streams::create_event(contexts::bound()?, flags)?)
    }

    /// `cuEventDestroy` — CUDA Driver API, Event Management.
    fn cuEventDestroy | cuEventDestroy_v2(event: u64) {
        contexts::bound()?;
        streams::destroy_event(event)
    }

    /// `cuEventRecord` — CUDA Driver API, Event Management.
    fn cuEventRecord / cuEventRecord_ptsz(event: u64, stream: u64) {
        contexts::bound()?;
        streams::record_event(event, stream)
    }

    /// `cuEventRecordWithFlags` — CUDA Driver API 11.1, Event Management.
    fn cuEventRecordWithFlags / cuEventRecordWithFlags_ptsz(event: u64, stream: u64, flags: u32) {
        contexts::bound()?;
        streams::record_event_with(event, stream, flags)
    }

    /// `cuEventSynchronize` — CUDA Driver API, Event Management.
    fn cuEventSynchronize(event: u64) {
        contexts::bound()?;
        streams::synchronize_event(event)
    }

    /// `cuEventQuery` — CUDA Driver API, Event Management.
    fn cuEventQuery(event: u64) {
        contexts::bound()?;
        streams::query_event(event)
    }

    /// `cuEventElapsedTime` — CUDA Driver API, Event Management.
    fn cuEventElapsedTime | cuEventElapsedTime_v2(milliseconds: Out<f32>, start: u64, end: u64) {
        milliseconds.present()?;
        contexts::bound()?;
        milliseconds.set(streams::elapsed(start, end)?)
    }
}
