// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device management, but for the properties: choosing, attributes, limits, flags, reset.

use std::ffi::c_char;

use crate::abi::{In, Out, Text};
use crate::contexts::{self, Device};
use crate::entry::export;
use crate::{Result, error, peers, settings, streams};

/// `cudaFuncCachePreferEqual` and `cudaSharedMemBankSizeEightByte`, each the last of its enumeration.
pub(super) const LAST_CACHE_CONFIG: u32 = 3;
pub(super) const LAST_BANK_SIZE: u32 = 2;

/// Makes a device the calling thread's.
fn choose(ordinal: i32) -> Result<()> {
    contexts::select(contexts::device(ordinal)?);
    Ok(())
}

fn set_flags(device: &Device, flags: u32) -> Result<()> {
    settings::check_flags(flags)?;
    device.state.lock().flags = flags;
    Ok(())
}

fn synchronize() -> Result<()> {
    streams::synchronize_device(contexts::active()?)
}

export! { runtime:
    /// `cudaGetDeviceCount` — CUDA Runtime API, Device Management. No device is an error, and the
    /// count 0.
    fn cudaGetDeviceCount(count: Out<i32>) {
        count.set(0)?;
        match contexts::devices()?.len() {
            0 => Err(error::NO_DEVICE),
            devices => count.set(devices as i32),
        }
    }

    /// `cudaGetDevice` — CUDA Runtime API, Device Management.
    fn cudaGetDevice(ordinal: Out<i32>) {
        ordinal.present()?;
        ordinal.set(contexts::current()?.ordinal as i32)
    }

    /// `cudaSetDevice` — CUDA Runtime API, Device Management.
    fn cudaSetDevice(ordinal: i32) {
        choose(ordinal)
    }

    /// `cudaSetValidDevices` — CUDA Runtime API, Device Management. The first of the list becomes
    /// the thread's device; an empty list stands for all devices.
    fn cudaSetValidDevices(list: In<i32>, len: i32) {
        let len = usize::try_from(len).map_err(|_| error::INVALID_VALUE)?;
        if len > contexts::devices()?.len() {
            return Err(error::INVALID_VALUE);
        }
        let mut first = 0;
        for index in (0..len).rev() {
            first = list.at(index)?;
            contexts::device(first)?;
        }
        choose(first)
    }

    /// `cudaInitDevice` — CUDA Runtime API, Device Management. The device does not become current.
    fn cudaInitDevice(ordinal: i32, device_flags: u32, flags: u32) {
        /// `cudaInitDeviceFlagsAreValid`
        const FLAGS_ARE_VALID: u32 = 1;
        let device = contexts::device(ordinal)?;
        match flags {
            0 => {}
            FLAGS_ARE_VALID => set_flags(device, device_flags)?,
            _ => return Err(error::INVALID_VALUE),
        }
        contexts::keep_primary(device);
        Ok(())
    }

    /// `cudaDeviceSynchronize` — CUDA Runtime API, Device Management.
    fn cudaDeviceSynchronize() {
        synchronize()
    }

    /// `cudaThreadSynchronize` — CUDA Runtime API 12, Thread Management.
    fn cudaThreadSynchronize() {
        synchronize()
    }

    /// `cudaDeviceReset` — CUDA Runtime API, Device Management.
    fn cudaDeviceReset() {
        contexts::reset(contexts::current()?)
    }

    /// `cudaThreadExit` — CUDA Runtime API 12, Thread Management.
    fn cudaThreadExit() {
        contexts::reset(contexts::current()?)
    }

    /// `cudaDeviceGetAttribute` — CUDA Runtime API, Device Management. The numbers are those of
    /// `CUdevice_attribute`.
    fn cudaDeviceGetAttribute(value: Out<i32>, attribute: u32, ordinal: i32) {
        value.present()?;
        value.set(settings::attribute(contexts::device(ordinal)?, attribute)?)
    }

    /// `cudaDeviceGetPCIBusId` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetPCIBusId(text: Out<c_char>, len: i32, ordinal: i32) {
        text.present()?;
        let address = settings::pci_text(contexts::device(ordinal)?);
        match usize::try_from(len) {
            Ok(len) if len > address.len() => text.set_text(&address, len),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaDeviceGetByPCIBusId` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetByPCIBusId(ordinal: Out<i32>, text: Text) {
        ordinal.present()?;
        ordinal.set(settings::at_pci(text.get()?)?.ordinal as i32)
    }

    /// `cudaDeviceCanAccessPeer` — CUDA Runtime API, Peer Device Memory Access.
    fn cudaDeviceCanAccessPeer(answer: Out<i32>, ordinal: i32, peer: i32) {
        answer.present()?;
        let (device, peer) = (contexts::device(ordinal)?, contexts::device(peer)?);
        answer.set(peers::can_access(device, peer)?.into())
    }

    /// `cudaDeviceEnablePeerAccess` — CUDA Runtime API, Peer Device Memory Access. `flags` must be 0.
    fn cudaDeviceEnablePeerAccess(peer: i32, flags: u32) {
        let (device, peer) = (contexts::active()?, contexts::device(peer)?);
        match flags {
            0 => peers::enable(device, peer),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaDeviceDisablePeerAccess` — CUDA Runtime API, Peer Device Memory Access.
    fn cudaDeviceDisablePeerAccess(peer: i32) {
        peers::disable(contexts::active()?, contexts::device(peer)?)
    }

    /// `cudaDeviceGetP2PAttribute` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetP2PAttribute(value: Out<i32>, attribute: u32, ordinal: i32, peer: i32) {
        value.present()?;
        let (device, peer) = (contexts::device(ordinal)?, contexts::device(peer)?);
        value.set(peers::attribute(device, peer, attribute)? as i32)
    }

    /// `cudaDeviceGetLimit` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetLimit(value: Out<usize>, limit: u32) {
        value.present()?;
        value.set(settings::limit(contexts::active()?, limit)? as usize)
    }

    /// `cudaDeviceSetLimit` — CUDA Runtime API, Device Management.
    fn cudaDeviceSetLimit(limit: u32, value: usize) {
        settings::set_limit(contexts::active()?, limit, value as u64)
    }

    /// `cudaDeviceGetCacheConfig` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetCacheConfig(config: Out<u32>) {
        config.present()?;
        config.set(contexts::active()?.state.lock().cache_config)
    }

    /// `cudaDeviceSetCacheConfig` — CUDA Runtime API, Device Management. A preference.
    fn cudaDeviceSetCacheConfig(config: u32) {
        if config > LAST_CACHE_CONFIG {
            return Err(error::INVALID_VALUE);
        }
        contexts::active()?.state.lock().cache_config = config;
        Ok(())
    }

    /// `cudaDeviceGetSharedMemConfig` — CUDA Runtime API, Device Management. Banks have had four
    /// bytes since compute capability 5.0.
    fn cudaDeviceGetSharedMemConfig(config: Out<u32>) {
        const FOUR_BYTES: u32 = 1;
        config.present()?;
        contexts::active()?;
        config.set(FOUR_BYTES)
    }

    /// `cudaDeviceSetSharedMemConfig` — CUDA Runtime API, Device Management. Without effect where
    /// banks have a fixed size.
    fn cudaDeviceSetSharedMemConfig(config: u32) {
        match config {
            0..=LAST_BANK_SIZE => contexts::active().map(drop),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaSetDeviceFlags` — CUDA Runtime API, Device Management.
    fn cudaSetDeviceFlags(flags: u32) {
        set_flags(contexts::current()?, flags)
    }

    /// `cudaGetDeviceFlags` — CUDA Runtime API, Device Management. Host memory can always be
    /// mapped, because addresses are unified.
    fn cudaGetDeviceFlags(flags: Out<u32>) {
        const MAP_HOST: u32 = 8;
        flags.present()?;
        flags.set(contexts::current()?.state.lock().flags | MAP_HOST)
    }

    /// `cudaCtxResetPersistingL2Cache` — CUDA Runtime API, Device Management. Only speed can tell.
    fn cudaCtxResetPersistingL2Cache() {
        contexts::active().map(drop)
    }

    /// `cudaDriverGetVersion` — CUDA Runtime API, Version Management. Where nothing can execute
    /// CUDA calls, the version is 0, as it is without a driver.
    fn cudaDriverGetVersion(version: Out<i32>) {
        version.present()?;
        version.set(settings::driver_version().unwrap_or(0))
    }

    /// `cudaProfilerStart` — CUDA Runtime API, Profiler Control. There is no profiler to control.
    fn cudaProfilerStart() {
        Ok(())
    }

    /// `cudaProfilerStop` — CUDA Runtime API, Profiler Control.
    fn cudaProfilerStop() {
        Ok(())
    }
}

/// `cudaRuntimeGetVersion` — CUDA Runtime API, Version Management: for each version node the newest
/// release that had it, as if the newest libcudart of that SONAME were installed.
macro_rules! runtime_version {
    ($($name:ident: $version:literal),* $(,)?) => {
        export! { runtime: $(
            fn $name(version: Out<i32>) {
                version.set($version)
            }
        )* }
    };
}

runtime_version! {
    cudaRuntimeGetVersion__v9: 9000,
    cudaRuntimeGetVersion__v9_1: 9010,
    cudaRuntimeGetVersion__v9_2: 9020,
    cudaRuntimeGetVersion__v10: 10000,
    cudaRuntimeGetVersion__v10_1: 10010,
    cudaRuntimeGetVersion__v10_2: 10020,
    cudaRuntimeGetVersion__v11: 11080,
    cudaRuntimeGetVersion__v12: 12090,
    cudaRuntimeGetVersion__v13: 13000,
}
