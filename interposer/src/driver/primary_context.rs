// SPDX-License-Identifier: MIT OR Apache-2.0
//! Primary context management.

use crate::abi::Out;
use crate::contexts::{self, Context};
use crate::entry::export;
use crate::settings;

export! { initialized:
    /// `cuDevicePrimaryCtxRetain` — CUDA Driver API, Primary Context Management. The context does
    /// not become current.
    fn cuDevicePrimaryCtxRetain(context: Out<u64>, device: i32) {
        context.present()?;
        let device = contexts::device(device)?;
        {
            let mut state = device.state.lock();
            state.retained = state.retained.saturating_add(1);
            state.active = true;
        }
        context.set(Context::primary(device).handle())
    }

    /// `cuDevicePrimaryCtxRelease` — CUDA Driver API, Primary Context Management.
    fn cuDevicePrimaryCtxRelease | cuDevicePrimaryCtxRelease_v2(device: i32) {
        contexts::release_primary(contexts::device(device)?)
    }

    /// `cuDevicePrimaryCtxReset` — CUDA Driver API, Primary Context Management. Those who retained
    /// the context still have to release it.
    fn cuDevicePrimaryCtxReset | cuDevicePrimaryCtxReset_v2(device: i32) {
        contexts::reset(contexts::device(device)?)
    }

    /// `cuDevicePrimaryCtxSetFlags` — CUDA Driver API, Primary Context Management.
    fn cuDevicePrimaryCtxSetFlags | cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        let device = contexts::device(device)?;
        settings::check_flags(flags)?;
        device.state.lock().flags = flags;
        Ok(())
    }

    /// `cuDevicePrimaryCtxGetState` — CUDA Driver API, Primary Context Management.
    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        flags.present()?;
        active.present()?;
        let device = contexts::device(device)?;
        let (set, exists) = {
            let state = device.state.lock();
            (state.flags, state.active)
        };
        flags.set(set)?;
        active.set(i32::from(exists))
    }
}
