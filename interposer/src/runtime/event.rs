// SPDX-License-Identifier: MIT OR Apache-2.0
//! Event management.

use crate::abi::Out;
use crate::entry::export;
use crate::{Result, contexts, streams};

fn elapsed(milliseconds: Out<f32>, start: u64, end: u64) -> Result<()> {
    milliseconds.present()?;
    milliseconds.set(streams::elapsed(start, end)?)
}

export! { runtime:
    /// `cudaEventCreate` — CUDA Runtime API, Event Management.
    fn cudaEventCreate(event: Out<u64>) {
        event.present()?;
        event.set(streams::create_event(contexts::active()?, 0)?)
    }

    /// `cudaEventCreateWithFlags` — CUDA Runtime API, Event Management.
    fn cudaEventCreateWithFlags(event: Out<u64>, flags: u32) {
        event.present()?;
        event.set(streams::create_event(contexts::active()?, flags)?)
    }

    /// `cudaEventDestroy` — CUDA Runtime API, Event Management.
    fn cudaEventDestroy(event: u64) {
        streams::destroy_event(event)
    }

    /// `cudaEventRecord` — CUDA Runtime API, Event Management.
    fn cudaEventRecord / cudaEventRecord_ptsz(event: u64, stream: u64) {
        streams::record_event(event, stream)
    }

    /// `cudaEventRecordWithFlags` — CUDA Runtime API, Event Management.
    fn cudaEventRecordWithFlags / cudaEventRecordWithFlags_ptsz(event: u64, stream: u64, flags: u32) {
        streams::record_event_with(event, stream, flags)
    }

    /// `cudaEventSynchronize` — CUDA Runtime API, Event Management.
    fn cudaEventSynchronize(event: u64) {
        streams::synchronize_event(event)
    }

    /// `cudaEventQuery` — CUDA Runtime API, Event Management.
    fn cudaEventQuery(event: u64) {
        streams::query_event(event)
    }

    /// `cudaEventElapsedTime` — CUDA Runtime API, Event Management.
    fn cudaEventElapsedTime(milliseconds: Out<f32>, start: u64, end: u64) {
        elapsed(milliseconds, start, end)
    }

    /// `cudaEventElapsedTime_v2` — CUDA Runtime API 12.8, Event Management.
    fn cudaEventElapsedTime_v2(milliseconds: Out<f32>, start: u64, end: u64) {
        elapsed(milliseconds, start, end)
    }
}
