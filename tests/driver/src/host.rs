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
    let named =
        |line: &&str| line.contains("memfd:vcuda-window") || line.contains("memfd:vcuda-replay");
    let line = maps.lines().find(named)?;
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    let base = u64::from_str_radix(from, 16).ok()?;
    let end = u64::from_str_radix(to, 16).ok()?;
    Some(Window {
        base,
        memory: memory_at(base, end - base),
        backing: None,
    })
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
