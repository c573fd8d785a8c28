// SPDX-License-Identifier: MIT OR Apache-2.0
//! Context management.

use crate::abi::{In, Out};
use crate::contexts::{self, Context};
use crate::entry::export;
use crate::error::unsupported;
use crate::{Result, error, peers, settings, streams};

/// `CUctxCreateParams`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct CreateParams {
    affinity: u64,
    affinities: i32,
    graphics: u64,
}

/// The version of the API that contexts have had since 64-bit addresses.
const API_VERSION: u32 = 3020;

/// `CU_FUNC_CACHE_PREFER_EQUAL`, `CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE`: the last ones.
pub(super) const LAST_CACHE_CONFIG: u32 = 3;
pub(super) const LAST_BANK_SIZE: u32 = 2;

fn create(out: Out<u64>, flags: u32, device: i32) -> Result<()> {
    out.present()?;
    settings::check_flags(flags)?;
    out.set(contexts::create(contexts::device(device)?, flags)?.handle())
}

/// The context of a handle, or the current one for a null handle.
fn named_or_current(handle: u64) -> Result<Context> {
    match handle {
        0 => {
            contexts::bound()?;
            contexts::current_context().ok_or(error::INVALID_CONTEXT)
        }
        _ => Context::named(handle),
    }
}

fn pop(out: Out<u64>) -> Result<()> {
    let popped = contexts::pop().ok_or(error::INVALID_CONTEXT)?;
    out.set_if_wanted(popped.handle());
    Ok(())
}

export! { initialized:
    /// `cuCtxCreate` — CUDA Driver API, Context Management.
    fn cuCtxCreate | cuCtxCreate_v2(out: Out<u64>, flags: u32, device: i32) {
        create(out, flags, device)
    }

    /// `cuCtxCreate_v3` — CUDA Driver API 11.4, Context Management: with a share of the device's
    /// multiprocessors.
    fn cuCtxCreate_v3(out: Out<u64>, _affinity: u64, affinities: i32, flags: u32, device: i32) {
        match affinities {
            0 => create(out, flags, device),
            _ => Err(unsupported("execution affinity")),
        }
    }

    /// `cuCtxCreate_v4` — CUDA Driver API 12.5, Context Management.
    fn cuCtxCreate_v4(out: Out<u64>, params: In<CreateParams>, flags: u32, device: i32) {
        if !params.is_null() {
            let params = params.get()?;
            if params.affinities != 0 || params.graphics != 0 {
                return Err(unsupported("execution affinity and graphics interoperation"));
            }
        }
        create(out, flags, device)
    }

    /// `cuCtxDestroy` — CUDA Driver API, Context Management.
    fn cuCtxDestroy | cuCtxDestroy_v2(context: u64) {
        contexts::destroy(Context::named(context)?)
    }

    /// `cuCtxAttach` — CUDA Driver API, Context Management (deprecated). No flags are defined.
    fn cuCtxAttach(out: Out<u64>, flags: u32) {
        out.present()?;
        if flags != 0 {
            return Err(error::INVALID_VALUE);
        }
        let context = named_or_current(0)?;
        let attached = context.with_created(|created| created.attached += 1);
        attached.ok_or(error::INVALID_CONTEXT)?;
        out.set(context.handle())
    }

    /// `cuCtxDetach` — CUDA Driver API, Context Management (deprecated). The last use destroys it.
    fn cuCtxDetach(context: u64) {
        let context = Context::named(context)?;
        let others = context.with_created(|created| {
            let others = created.attached;
            created.attached = others.saturating_sub(1);
            others
        });
        match others.ok_or(error::INVALID_CONTEXT)? {
            0 => contexts::destroy(context),
            _ => Ok(()),
        }
    }

    /// `cuCtxPushCurrent` — CUDA Driver API, Context Management.
    fn cuCtxPushCurrent | cuCtxPushCurrent_v2(context: u64) {
        contexts::push(Context::named(context)?);
        Ok(())
    }

    /// `cuCtxPopCurrent` — CUDA Driver API, Context Management.
    fn cuCtxPopCurrent | cuCtxPopCurrent_v2(out: Out<u64>) {
        pop(out)
    }

    /// `cuCtxSetCurrent` — CUDA Driver API, Context Management. A null context: the one below in
    /// the stack becomes current.
    fn cuCtxSetCurrent(context: u64) {
        match context {
            0 => {
                contexts::pop();
            }
            _ => contexts::make_current(Context::named(context)?),
        }
        Ok(())
    }

    /// `cuCtxGetCurrent` — CUDA Driver API, Context Management.
    fn cuCtxGetCurrent(out: Out<u64>) {
        out.set(contexts::current_context().map_or(0, Context::handle))
    }

    /// `cuCtxGetDevice` — CUDA Driver API, Context Management.
    fn cuCtxGetDevice(out: Out<i32>) {
        out.present()?;
        let context = contexts::current_context().ok_or(error::INVALID_CONTEXT)?;
        out.set(context.ordinal as i32)
    }

    /// `cuCtxGetDevice_v2` — CUDA Driver API 13.0, Context Management.
    fn cuCtxGetDevice_v2(out: Out<i32>, context: u64) {
        out.present()?;
        out.set(named_or_current(context)?.ordinal as i32)
    }

    /// `cuCtxGetFlags` — CUDA Driver API, Context Management.
    fn cuCtxGetFlags(out: Out<u32>) {
        out.present()?;
        let device = contexts::bound()?;
        let created = named_or_current(0)?.with_created(|created| created.flags);
        out.set(created.unwrap_or_else(|| device.state.lock().flags))
    }

    /// `cuCtxSetFlags` — CUDA Driver API 12.1, Context Management.
    fn cuCtxSetFlags(flags: u32) {
        settings::check_flags(flags)?;
        let device = contexts::bound()?;
        let created = named_or_current(0)?.with_created(|created| created.flags = flags);
        created.unwrap_or_else(|| device.state.lock().flags = flags);
        Ok(())
    }

    /// `cuCtxGetId` — CUDA Driver API 12.0, Context Management.
    fn cuCtxGetId(context: u64, out: Out<u64>) {
        out.present()?;
        out.set(named_or_current(context)?.handle())
    }

    /// `cuCtxGetApiVersion` — CUDA Driver API, Context Management.
    fn cuCtxGetApiVersion(context: u64, out: Out<u32>) {
        out.present()?;
        named_or_current(context)?;
        out.set(API_VERSION)
    }

    /// `cuCtxSynchronize` — CUDA Driver API, Context Management.
    fn cuCtxSynchronize() {
        streams::synchronize_device(contexts::bound()?)
    }

    /// `cuCtxSynchronize_v2` — CUDA Driver API 13.0, Context Management.
    fn cuCtxSynchronize_v2(context: u64) {
        streams::synchronize_device(named_or_current(context)?.device()?)
    }

    /// `cuCtxGetLimit` — CUDA Driver API, Context Management.
    fn cuCtxGetLimit(out: Out<usize>, limit: u32) {
        out.present()?;
        out.set(settings::limit(contexts::bound()?, limit)? as usize)
    }

    /// `cuCtxSetLimit` — CUDA Driver API, Context Management.
    fn cuCtxSetLimit(limit: u32, value: usize) {
        settings::set_limit(contexts::bound()?, limit, value as u64)
    }

    /// `cuCtxGetCacheConfig` — CUDA Driver API, Context Management.
    fn cuCtxGetCacheConfig(out: Out<u32>) {
        out.present()?;
        out.set(contexts::bound()?.state.lock().cache_config)
    }

    /// `cuCtxSetCacheConfig` — CUDA Driver API, Context Management. A preference.
    fn cuCtxSetCacheConfig(config: u32) {
        if config > LAST_CACHE_CONFIG {
            return Err(error::INVALID_VALUE);
        }
        contexts::bound()?.state.lock().cache_config = config;
        Ok(())
    }

    /// `cuCtxGetSharedMemConfig` — CUDA Driver API, Context Management (deprecated). Banks have had
    /// four bytes since compute capability 5.0.
    fn cuCtxGetSharedMemConfig(out: Out<u32>) {
        const FOUR_BYTES: u32 = 1;
        out.present()?;
        contexts::bound()?;
        out.set(FOUR_BYTES)
    }

    /// `cuCtxSetSharedMemConfig` — CUDA Driver API, Context Management (deprecated). Without effect
    /// where banks have a fixed size.
    fn cuCtxSetSharedMemConfig(config: u32) {
        match config {
            0..=LAST_BANK_SIZE => contexts::bound().map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuCtxGetStreamPriorityRange` — CUDA Driver API, Context Management. Either pointer may be
    /// null.
    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        let range = streams::priorities(contexts::bound()?)?;
        least.set_if_wanted(*range.end());
        greatest.set_if_wanted(*range.start());
        Ok(())
    }

    /// `cuProfilerStart` — CUDA Driver API, Profiler Control. There is no profiler to control.
    fn cuProfilerStart() {
        contexts::bound().map(drop)
    }

    /// `cuProfilerStop` — CUDA Driver API, Profiler Control.
    fn cuProfilerStop() {
        contexts::bound().map(drop)
    }

    /// `cuCtxEnablePeerAccess` — CUDA Driver API, Peer Context Memory Access. The contexts of a
    /// device have one memory.
    fn cuCtxEnablePeerAccess(peer: u64, flags: u32) {
        let device = contexts::bound()?;
        let peer = Context::named(peer)?;
        match flags {
            0 if contexts::current_context() == Some(peer) => Err(error::INVALID_CONTEXT),
            0 => peers::enable(device, peer.device()?),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cuCtxDisablePeerAccess` — CUDA Driver API, Peer Context Memory Access.
    fn cuCtxDisablePeerAccess(peer: u64) {
        let device = contexts::bound()?;
        peers::disable(device, Context::named(peer)?.device()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_context_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<CreateParams>(), 24);
        assert_eq!(std::mem::offset_of!(CreateParams, affinities), 8);
        assert_eq!(std::mem::offset_of!(CreateParams, graphics), 16);
    }
}
