// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices as the program counts them, and which of them a thread uses.
//!
//! The Runtime API has one primary context for each device. Contexts that the Driver API creates
//! share their device's session state: handles of one are valid in another, which is more than
//! CUDA allows and nothing that a correct program can tell.

use std::sync::OnceLock;

use parking_lot::Mutex;
use vcuda_protocol::{Command, DeviceInfo, Reply, Status};

use crate::memory::DeviceMemory;
use crate::session::{self, Session};
use crate::{Result, error, thread};

/// A device that CUDA_VISIBLE_DEVICES lets the program see.
pub(crate) struct Device {
    /// Its number for the program, and on the wire.
    pub(crate) ordinal: u32,
    pub(crate) wire: u32,
    pub(crate) info: DeviceInfo,
    pub(crate) memory: DeviceMemory,
    pub(crate) state: Mutex<DeviceState>,
}

/// What the program has set on a device.
#[derive(Debug, Default)]
pub(crate) struct DeviceState {
    /// Uses of the primary context by the Driver API.
    pub(crate) retained: u32,
    /// Whether the primary context exists.
    pub(crate) active: bool,
    pub(crate) flags: u32,
    pub(crate) cache_config: u32,
    /// `cudaLimit` numbers and values that were set.
    pub(crate) limits: Vec<(u32, u64)>,
}

impl Device {
    /// The value of a `CUdevice_attribute`.
    pub(crate) fn attribute(&self, number: u32) -> Option<i32> {
        let attributes = &self.info.attributes;
        let index = attributes.binary_search_by_key(&number, |&(n, _)| n).ok()?;
        Some(attributes[index].1)
    }
}

static DEVICES: OnceLock<std::result::Result<Vec<Device>, Status>> = OnceLock::new();

/// All devices that the program may see.
pub(crate) fn devices() -> Result<&'static [Device]> {
    let session = session::get()?;
    match DEVICES.get_or_init(|| enumerate(session)) {
        Ok(devices) => Ok(devices),
        Err(status) => Err(*status),
    }
}

fn enumerate(session: &'static Session) -> Result<Vec<Device>> {
    let mut infos = Vec::new();
    for device in 0..session.devices {
        match session.call(&Command::DeviceInfo { device })? {
            Reply::Device(info) => infos.push(info),
            other => return Err(unexpected("DeviceInfo", &other)),
        }
    }
    let order = visible(
        std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref(),
        &infos,
    );
    Ok(order
        .into_iter()
        .enumerate()
        .map(|(ordinal, wire)| {
            let info = infos[wire].clone();
            Device {
                ordinal: ordinal as u32,
                wire: wire as u32,
                memory: DeviceMemory::new(&info),
                info,
                state: Mutex::default(),
            }
        })
        .collect())
}

/// Which devices CUDA_VISIBLE_DEVICES names, in its order: numbers or UUID prefixes; what follows
/// the first entry that names no device, or one again, is not visible (CUDA Programming Guide,
/// "CUDA environment variables").
fn visible(variable: Option<&str>, infos: &[DeviceInfo]) -> Vec<usize> {
    let Some(list) = variable else {
        return (0..infos.len()).collect();
    };
    let mut order = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let found = match entry.parse::<usize>() {
            Ok(number) => (number < infos.len()).then_some(number),
            Err(_) => {
                let mut matching = (0..infos.len())
                    .filter(|&i| entry.len() > 4 && uuid_text(&infos[i].uuid).starts_with(entry));
                matching.next().filter(|_| matching.next().is_none())
            }
        };
        match found {
            Some(index) if !order.contains(&index) => order.push(index),
            _ => break,
        }
    }
    order
}

/// A UUID as nvidia-smi prints it.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::from("GPU-");
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The device of a number, if the program may see it.
pub(crate) fn device(ordinal: i32) -> Result<&'static Device> {
    let devices = devices()?;
    usize::try_from(ordinal)
        .ok()
        .and_then(|index| devices.get(index))
        .ok_or(if devices.is_empty() {
            error::NO_DEVICE
        } else {
            error::INVALID_DEVICE
        })
}

/// A context: a device's primary one, or one that cuCtxCreate made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) ordinal: u32,
    /// 0: the primary context.
    pub(crate) id: u32,
}

/// The device that the calling thread uses: that of its current context, or the one that
/// cudaSetDevice chose.
pub(crate) fn current() -> Result<&'static Device> {
    let ordinal = thread::with(|t| match t.contexts.borrow().last() {
        Some(context) => context.ordinal,
        None => t.device.get(),
    });
    device(ordinal.unwrap_or(0) as i32)
}

/// Like [`current`], for calls that use the device: they report what earlier work left behind.
pub(crate) fn active() -> Result<&'static Device> {
    let device = current()?;
    session::get()?.asynchronous_error(device.wire)?;
    device.state.lock().active = true;
    Ok(device)
}

/// A reply that does not belong to its command: the worker is not what it says it is.
pub(crate) fn unexpected(command: &str, reply: &Reply) -> Status {
    eprintln!(
        "vcuda: the worker answered {command} with {}.",
        reply.kind()
    );
    error::UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos() -> Vec<DeviceInfo> {
        (0..3u8)
            .map(|i| DeviceInfo {
                name: String::new(),
                uuid: [i + 1; 16],
                total_memory: 0,
                heap_base: 0,
                heap_len: 0,
                attributes: Vec::new(),
                driver_version: 13000,
            })
            .collect()
    }

    #[test]
    fn without_the_variable_all_devices_are_visible() {
        assert_eq!(visible(None, &infos()), [0, 1, 2]);
    }

    #[test]
    fn the_variable_orders_devices_and_ends_at_its_first_wrong_entry() {
        assert_eq!(visible(Some("2,0"), &infos()), [2, 0]);
        assert_eq!(visible(Some("1,7,0"), &infos()), [1]);
        assert_eq!(visible(Some("1,1"), &infos()), [1]);
        assert_eq!(visible(Some("-1"), &infos()), [0usize; 0]);
        assert_eq!(visible(Some(""), &infos()), [0usize; 0]);
    }

    #[test]
    fn a_uuid_prefix_names_the_one_device_that_has_it() {
        assert_eq!(visible(Some("GPU-0202"), &infos()), [1]);
        assert_eq!(visible(Some("GPU-0"), &infos()), [0usize; 0]);
    }
}
