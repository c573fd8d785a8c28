// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host memory: the window that the worker has mapped, and what is pinned of it.

use std::ffi::c_void;
use std::sync::Arc;

use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{Extent, Pitch};
use vcuda_replayer::Window;
use vcuda_replayer::devices::Operand;
use vcuda_replayer::rows::Rows;

use crate::{Code, Gpu, INVALID_VALUE, RANGE, code, current, driver, ok};

/// The window of the session that this process serves or replays, which it maps before it starts
/// the driver.
pub(crate) fn window() -> Option<Window> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let mappings: Vec<_> = maps.lines().filter_map(mapping).collect();
    let named = |name: &str| name.contains("vcuda-window") || name.contains("vcuda-replay");
    let first = mappings
        .iter()
        .position(|&(from, _, name)| named(name) || is_base_for_guests(from))?;
    let (base, mut end, name) = mappings[first];
    if !named(name) {
        // Address space, with pages of the guest here and there.
        for &(from, to, _) in &mappings[first + 1..] {
            if from != end {
                break;
            }
            end = to;
        }
    }
    Some(Window {
        base,
        memory: memory_at(base, end - base),
        backing: None,
    })
}

/// A line of /proc/self/maps: from, to, and the rest.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(from)?, number(to)?, rest))
}

/// Where clients in virtual machines have their windows, and nothing else is.
fn is_base_for_guests(address: u64) -> bool {
    let high = 0x2000_0000_0000..=0x2f00_0000_0000;
    let low = 0x20_0000_0000..=0x40_0000_0000;
    (high.contains(&address) && address.is_multiple_of(1 << 40))
        || (low.contains(&address) && address.is_multiple_of(1 << 36))
}

/// Memory of this process. Its owner keeps it while the driver may use it.
fn memory_at(address: u64, len: u64) -> SharedMemory {
    // SAFETY: who calls the driver keeps the memory until the work that uses it is done.
    unsafe { SharedMemory::new(address as *mut u8, len as usize, Arc::new(())) }
}

fn is_device(address: u64) -> bool {
    let gpus = driver().map(|driver| driver.devices.as_slice());
    let in_range = |gpu: &Gpu| {
        // Variables of modules lie behind the heap.
        address.wrapping_sub(gpu.info.heap_base) < RANGE * 8
    };
    gpus.unwrap_or_default().iter().any(in_range)
}

/// An address of either side as the CPU device takes it.
pub(crate) fn operand(address: u64, extent: Extent, pitch: Pitch) -> Result<Operand, Code> {
    if is_device(address) {
        return Ok(Operand::Device { address, pitch });
    }
    let rows = Rows::new(extent, pitch).ok_or(INVALID_VALUE)?;
    let offset = address % 64;
    Ok(Operand::Host {
        memory: memory_at(address - offset, offset + rows.span()).into(),
        offset,
        pitch,
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostRegister_v2(memory: *mut c_void, size: usize, _flags: u32) -> Code {
    code(current().and_then(|gpu| {
        match ok(gpu.device.host_allocate(memory as u64, size as u64)) {
            // Memory outside of the window kernels do not see, and copies see all.
            Ok(()) | Err(INVALID_VALUE) => Ok(()),
            Err(other) => Err(other),
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemHostUnregister(memory: *mut c_void) -> Code {
    code(current().map(|gpu| gpu.device.host_free(memory as u64)))
}
