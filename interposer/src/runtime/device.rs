// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device management, but for the properties: choosing, attributes, limits, flags, reset.

use std::ffi::c_char;

use vcuda_protocol::Command;

use crate::abi::{In, Out, Text};
use crate::contexts::{self, Context, Device, DeviceState};
use crate::entry::export;
use crate::{Result, error, modules, session, streams, thread};

/// `CUdevice_attribute` numbers of where a device is.
const PCI_BUS: u32 = 33;
const PCI_DEVICE: u32 = 34;
const PCI_DOMAIN: u32 = 50;

/// The highest `cudaDeviceAttr` of CUDA 13.0. Of those that a device says nothing of, it has none.
const LAST_ATTRIBUTE: u32 = 147;

/// The newest release that this library speaks for; a device side may know less.
const NEWEST: i32 = 13000;

/// `cudaFuncCachePreferEqual` and `cudaSharedMemBankSizeEightByte`, each the last of its enumeration.
pub(super) const LAST_CACHE_CONFIG: u32 = 3;
pub(super) const LAST_BANK_SIZE: u32 = 2;

/// Makes a device the calling thread's. A context of the Driver API that is current gives way to
/// the device's primary one.
fn choose(ordinal: i32) -> Result<&'static Device> {
    let device = contexts::device(ordinal)?;
    device.state.lock().active = true;
    thread::with(|t| {
        t.device.set(device.ordinal);
        if let Some(top) = t.contexts.borrow_mut().last_mut() {
            *top = Context {
                ordinal: device.ordinal,
                id: 0,
            };
        }
    });
    Ok(device)
}

/// What a limit is before a program sets it (`cudaLimit`): stack size, printf buffer, heap, depth
/// of synchronization and number of launches from kernels, L2 fetch granularity, persisting L2.
const LIMITS: [u64; 7] = [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0];

fn default_limit(limit: u32) -> Result<u64> {
    LIMITS
        .get(limit as usize)
        .copied()
        .ok_or(error::UNSUPPORTED_LIMIT)
}

/// Sets the flags of a device (`cudaDeviceScheduleSpin` and following).
fn set_flags(device: &Device, flags: u32) -> Result<()> {
    /// Automatic, spin, yield, blocking: one of them.
    const SCHEDULES: [u32; 4] = [0, 1, 2, 4];
    const SCHEDULE_MASK: u32 = 7;
    /// `cudaDeviceMapHost`, `cudaDeviceLmemResizeToMax`, `cudaDeviceSyncMemops`
    const OTHERS: u32 = 0x98;
    let known = flags & !(SCHEDULE_MASK | OTHERS) == 0;
    if !known || !SCHEDULES.contains(&(flags & SCHEDULE_MASK)) {
        return Err(error::INVALID_VALUE);
    }
    device.state.lock().flags = flags;
    Ok(())
}

/// Destroys what the program made on the current device.
fn reset() -> Result<()> {
    let device = contexts::current()?;
    session::get()?.call(&Command::DeviceReset {
        device: device.wire,
    })?;
    streams::forget(device);
    modules::forget(device);
    device.memory.clear();
    let mut state = device.state.lock();
    *state = DeviceState {
        retained: state.retained,
        ..DeviceState::default()
    };
    Ok(())
}

fn synchronize() -> Result<()> {
    streams::synchronize_device(contexts::active()?)
}

/// Domain, bus and device number of a PCI address like `0000:3b:00.0`. Domain and function may be
/// left out.
fn parse_pci(text: &str) -> Option<[i32; 3]> {
    let text = text
        .split_once('.')
        .map_or(text, |(address, _function)| address);
    let fields: Option<Vec<i32>> = text
        .split(':')
        .map(|field| i32::from_str_radix(field, 16).ok())
        .collect();
    match fields?.as_slice() {
        &[bus, device] => Some([0, bus, device]),
        &[domain, bus, device] => Some([domain, bus, device]),
        _ => None,
    }
}

fn pci(device: &Device) -> [i32; 3] {
    [PCI_DOMAIN, PCI_BUS, PCI_DEVICE].map(|number| device.attribute(number).unwrap_or(0))
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
        choose(ordinal).map(drop)
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
        choose(first).map(drop)
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
        device.state.lock().active = true;
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
        reset()
    }

    /// `cudaThreadExit` — CUDA Runtime API 12, Thread Management.
    fn cudaThreadExit() {
        reset()
    }

    /// `cudaDeviceGetAttribute` — CUDA Runtime API, Device Management. The numbers are those of
    /// `CUdevice_attribute`.
    fn cudaDeviceGetAttribute(value: Out<i32>, attribute: u32, ordinal: i32) {
        value.present()?;
        let device = contexts::device(ordinal)?;
        if !(1..=LAST_ATTRIBUTE).contains(&attribute) {
            return Err(error::INVALID_VALUE);
        }
        value.set(device.attribute(attribute).unwrap_or(0))
    }

    /// `cudaDeviceGetPCIBusId` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetPCIBusId(text: Out<c_char>, len: i32, ordinal: i32) {
        text.present()?;
        let [domain, bus, device] = pci(contexts::device(ordinal)?);
        let address = format!("{domain:04x}:{bus:02x}:{device:02x}.0");
        match usize::try_from(len) {
            Ok(len) if len > address.len() => text.set_text(&address, len),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaDeviceGetByPCIBusId` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetByPCIBusId(ordinal: Out<i32>, text: Text) {
        ordinal.present()?;
        let wanted = parse_pci(text.get()?).ok_or(error::INVALID_VALUE)?;
        let found = contexts::devices()?.iter().find(|device| pci(device) == wanted);
        ordinal.set(found.ok_or(error::INVALID_DEVICE)?.ordinal as i32)
    }

    /// `cudaDeviceCanAccessPeer` — CUDA Runtime API, Peer Device Memory Access. No device's memory
    /// is mapped into another's.
    fn cudaDeviceCanAccessPeer(answer: Out<i32>, ordinal: i32, peer: i32) {
        answer.present()?;
        contexts::device(ordinal)?;
        contexts::device(peer)?;
        answer.set(0)
    }

    /// `cudaDeviceGetLimit` — CUDA Runtime API, Device Management.
    fn cudaDeviceGetLimit(value: Out<usize>, limit: u32) {
        value.present()?;
        let default = default_limit(limit)?;
        let device = contexts::active()?;
        let set = device.state.lock().limits.iter().find(|&&(l, _)| l == limit).map(|&(_, v)| v);
        value.set(set.unwrap_or(default) as usize)
    }

    /// `cudaDeviceSetLimit` — CUDA Runtime API, Device Management. The value is a request; what a
    /// device makes of it is its own affair.
    fn cudaDeviceSetLimit(limit: u32, value: usize) {
        default_limit(limit)?;
        let device = contexts::active()?;
        let mut state = device.state.lock();
        state.limits.retain(|&(l, _)| l != limit);
        state.limits.push((limit, value as u64));
        Ok(())
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
        version.set(match contexts::devices() {
            Ok(devices) => devices.first().map_or(NEWEST, |device| device.info.driver_version as i32),
            Err(_) => 0,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_may_leave_out_domain_and_function() {
        assert_eq!(parse_pci("0001:3b:1f.0"), Some([1, 0x3b, 0x1f]));
        assert_eq!(parse_pci("3b:00.0"), Some([0, 0x3b, 0]));
        assert_eq!(parse_pci("3b:00"), Some([0, 0x3b, 0]));
        for wrong in ["", "3b", "x:y:z", "1:2:3:4", "3b:"] {
            assert_eq!(parse_pci(wrong), None, "{wrong:?}");
        }
    }
}
