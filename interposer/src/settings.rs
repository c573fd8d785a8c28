// SPDX-License-Identifier: MIT OR Apache-2.0
//! What both APIs let a program ask of a device and set on it: attributes, limits, flags, where it
//! is on the bus.

use crate::contexts::{self, Device};
use crate::{Result, error, session};
use vcuda_protocol::Command;

/// The highest `CUdevice_attribute` of CUDA 13.0.
const LAST_ATTRIBUTE: u32 = 147;

/// The newest release that this library speaks for; a device side may know less.
pub(crate) const NEWEST: i32 = 13000;

/// `CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID`, `..._PCI_BUS_ID`, `..._PCI_DEVICE_ID`
const PCI: [u32; 3] = [50, 33, 34];

/// What a limit is before a program sets it (`CUlimit`, `cudaLimit`): stack size, printf buffer,
/// heap, depth of synchronization (which devices since compute capability 9.0 do not have) and
/// number of launches from kernels, L2 fetch granularity, persisting L2; what is not here belongs
/// to graphics interoperation.
const LIMITS: [Option<u64>; 10] = [
    Some(1024),
    Some(1 << 20),
    Some(8 << 20),
    None,
    Some(2048),
    Some(64),
    Some(0),
    None,
    None,
    None,
];
const STACK_SIZE: u32 = 0;
const HEAP_SIZE: u32 = 2;
/// Stacks are multiples of this.
const STACK_ALIGN: u64 = 16;

/// The version of the driver: that of the device side, or ours where it has no device.
pub(crate) fn driver_version() -> Result<i32> {
    let first = contexts::devices()?.first();
    Ok(first.map_or(NEWEST, |device| device.info.driver_version as i32))
}

/// An attribute by its number. Of those that a device says nothing of, it has none.
pub(crate) fn attribute(device: &Device, number: u32) -> Result<i32> {
    match (1..=LAST_ATTRIBUTE).contains(&number) {
        true => Ok(device.attribute(number).unwrap_or(0)),
        false => Err(error::INVALID_VALUE),
    }
}

fn default_limit(limit: u32) -> Result<u64> {
    let default = LIMITS.get(limit as usize).ok_or(error::INVALID_VALUE)?;
    default.ok_or(error::UNSUPPORTED_LIMIT)
}

pub(crate) fn limit(device: &Device, limit: u32) -> Result<u64> {
    let default = default_limit(limit)?;
    let state = device.state.lock();
    let set = state.limits.iter().find(|&&(number, _)| number == limit);
    Ok(set.map_or(default, |&(_, value)| value))
}

/// Sets a limit. The value is a request; what a device makes of it is its own affair.
pub(crate) fn set_limit(device: &Device, limit: u32, value: u64) -> Result<()> {
    default_limit(limit)?;
    let value = match limit {
        STACK_SIZE => value.checked_next_multiple_of(STACK_ALIGN),
        _ => Some(value),
    };
    let value = value.ok_or(error::INVALID_VALUE)?;
    if limit == HEAP_SIZE {
        session::get()?.post(&Command::KernelHeap {
            device: device.wire,
            size: value,
        })?;
    }
    let mut state = device.state.lock();
    state.limits.retain(|&(number, _)| number != limit);
    state.limits.push((limit, value));
    Ok(())
}

/// Checks the flags of a device or context (`CUctx_flags`; `cudaDeviceScheduleSpin` and following).
pub(crate) fn check_flags(flags: u32) -> Result<()> {
    /// Automatic, spin, yield, blocking: one of them.
    const SCHEDULES: [u32; 4] = [0, 1, 2, 4];
    const SCHEDULE_MASK: u32 = 7;
    /// Map host memory, keep local memory, core dumps, synchronous memory operations.
    const OTHERS: u32 = 0xf8;
    let known = flags & !(SCHEDULE_MASK | OTHERS) == 0;
    match known && SCHEDULES.contains(&(flags & SCHEDULE_MASK)) {
        true => Ok(()),
        false => Err(error::INVALID_VALUE),
    }
}

/// Domain, bus and device number of a PCI address like `0000:3b:00.0`. Domain and function may be
/// left out.
fn parse_pci(text: &str) -> Option<[i32; 3]> {
    let address = text.split_once('.').map_or(text, |(address, _)| address);
    let fields: Option<Vec<i32>> = address
        .split(':')
        .map(|field| i32::from_str_radix(field, 16).ok())
        .collect();
    match *fields?.as_slice() {
        [bus, device] => Some([0, bus, device]),
        [domain, bus, device] => Some([domain, bus, device]),
        _ => None,
    }
}

fn pci(device: &Device) -> [i32; 3] {
    PCI.map(|number| device.attribute(number).unwrap_or(0))
}

/// A device's PCI address.
pub(crate) fn pci_text(device: &Device) -> String {
    let [domain, bus, device] = pci(device);
    format!("{domain:04x}:{bus:02x}:{device:02x}.0")
}

/// The device at a PCI address.
pub(crate) fn at_pci(address: &str) -> Result<&'static Device> {
    let wanted = parse_pci(address).ok_or(error::INVALID_VALUE)?;
    let mut devices = contexts::devices()?.iter();
    devices
        .find(|device| pci(device) == wanted)
        .ok_or(error::INVALID_DEVICE)
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

    #[test]
    fn a_context_has_one_way_of_waiting() {
        for flags in [0, 1, 2, 4, 8, 0x14, 0x80] {
            assert_eq!(check_flags(flags), Ok(()), "{flags:#x}");
        }
        for flags in [3, 5, 6, 7, 0x100, u32::MAX] {
            assert_eq!(check_flags(flags), Err(error::INVALID_VALUE), "{flags:#x}");
        }
    }
}
