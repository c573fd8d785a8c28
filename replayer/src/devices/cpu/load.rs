// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the image of a module to PTX, and from that to a program with its variables in memory.

use std::collections::HashMap;

use vcuda_fatbin::{EntryKind, Image};
use vcuda_protocol::{ModuleInfo, Status};
use vcuda_ptx::{Lanes, MemoryError, Program};

use super::CpuDevice;
use crate::devices::ModuleHandle;
use crate::status;

/// Most bytes that a compressed image may grow to.
const MAX_PTX: usize = 256 << 20;

/// The highest known version of the PTX ISA. Within one major version, what is new is
/// instructions, and a kernel that uses one that is not known is refused by itself.
const MAX_PTX_MAJOR: u16 = 9;

impl CpuDevice {
    /// Loads an image: chooses its PTX, parses it, and places its variables.
    pub(super) fn load(
        &self,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> Result<(ModuleHandle, u32), ModuleInfo> {
        let text = choose_ptx(image, self.machine.options.compute_capability)?;
        let parsed = vcuda_ptx::parse(&text)
            .map_err(|error| failure(status::INVALID_PTX, error.to_string()))?;
        let machine = &self.machine;
        let space = &machine.core.space;
        let mut globals = Vec::new();
        let mut allocate = |name: &str, size: u64, align: u64| {
            if let Some(&address) = managed.get(name) {
                let held = machine.tables.lock().memory.holds(address, size);
                return match held {
                    true => Ok(address),
                    false => Err(MemoryError::InvalidRange {
                        addr: address,
                        len: size,
                    }),
                };
            }
            let out_of_room = MemoryError::Map {
                len: size,
                reason: "the device has not so much memory left".into(),
            };
            let address = machine
                .tables
                .lock()
                .memory
                .allocate_global(self.index, size, align)
                .map_err(|_| out_of_room)?;
            globals.push((address, size.max(1)));
            space.allocate(address, size.max(1))?;
            Ok(address)
        };
        let checks = machine
            .core
            .checker
            .as_ref()
            .map(|checker| checker.checks())
            .unwrap_or_default();
        match Program::load_checked(parsed, space, &mut allocate, Lanes::detect(), checks) {
            Ok(program) => {
                let kernels = program.kernel_names().count() as u32;
                let modules = &mut machine.tables.lock().modules;
                Ok((modules.insert(self.index, program, globals), kernels))
            }
            Err(error) => {
                let memory = &mut machine.tables.lock().memory;
                for (address, _) in globals {
                    memory.remove_global(self.index, address);
                    // The last one may not have got as far as the address space.
                    let _ = space.free(address);
                }
                Err(failure(status::INVALID_PTX, error.to_string()))
            }
        }
    }
}

/// The PTX of an image that suits a device: of all its parts, one behind the other, if it is still to be linked.
fn choose_ptx(image: &[u8], compute_capability: u32) -> Result<Vec<u8>, ModuleInfo> {
    let parsed = Image::parse(image).map_err(|error| {
        failure(
            status::INVALID_IMAGE,
            format!("The module is not an image that can be loaded: {error}."),
        )
    })?;
    let mut text = Vec::new();
    for entry in parsed.ptx_to_link(compute_capability) {
        if entry.version.major > MAX_PTX_MAJOR {
            return Err(failure(
                status::UNSUPPORTED_PTX_VERSION,
                format!(
                    "The module's PTX has version {}, and versions up to {MAX_PTX_MAJOR}.x are known.",
                    entry.version
                ),
            ));
        }
        let left = MAX_PTX.saturating_sub(text.len());
        let part = entry.payload_within(left).map_err(|error| {
            failure(
                status::INVALID_IMAGE,
                format!("The PTX of the module cannot be read: {error}."),
            )
        })?;
        if !text.is_empty() {
            text.push(b'\n');
        }
        text.extend_from_slice(without_zeros(&part));
    }
    match text.is_empty() {
        true => Err(no_ptx(&parsed, compute_capability)),
        false => Ok(text),
    }
}

/// PTX may be filled up with zeros at its end.
fn without_zeros(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte != 0);
    text.get(..end.map_or(0, |last| last + 1))
        .unwrap_or_default()
}

fn no_ptx(image: &Image, compute_capability: u32) -> ModuleInfo {
    let (major, minor) = (compute_capability / 10, compute_capability % 10);
    let held: Vec<_> = image
        .entries()
        .iter()
        .map(|entry| format!("{} for {}", entry.kind, entry.arch))
        .collect();
    if held.is_empty() {
        return failure(
            status::NO_BINARY_FOR_GPU,
            "The module holds nothing, neither PTX nor parts with PTX to link.".to_owned(),
        );
    }
    let held = held.join(", ");
    let too_new = image
        .entries()
        .iter()
        .any(|entry| entry.kind == EntryKind::Ptx);
    let advice = match too_new {
        true => format!(
            "its PTX is for newer devices than compute capability {major}.{minor}: compile for \
             an older one, or choose one with VCUDA_CPU_COMPUTE_CAPABILITY"
        ),
        false => "it has no PTX: compile with PTX included, for example with nvcc -arch=sm_80 or \
                  -gencode arch=compute_80,code=compute_80"
            .to_owned(),
    };
    failure(
        status::NO_BINARY_FOR_GPU,
        format!("The module holds {held}, and the CPU device executes PTX; {advice}."),
    )
}

fn failure(status: Status, sentence: String) -> ModuleInfo {
    ModuleInfo {
        status,
        info_log: String::new(),
        error_log: sentence,
        kernels: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptx_text_may_end_with_zeros() {
        let text = b".version 7.0\n.target sm_80\n.address_size 64\n\0\0";
        assert!(choose_ptx(text, 86).unwrap().ends_with(b"64\n"));
    }

    #[test]
    fn ptx_for_a_newer_device_is_refused_with_advice() {
        let text = b".version 8.0\n.target sm_90\n.address_size 64\n";
        let refused = choose_ptx(text, 86).unwrap_err();
        assert_eq!(refused.status, status::NO_BINARY_FOR_GPU);
        assert!(refused.error_log.contains("sm_90") && refused.error_log.contains("8.6"));
    }

    #[test]
    fn bytes_that_are_no_image_are_refused() {
        assert_eq!(
            choose_ptx(b"hello", 86).unwrap_err().status,
            status::INVALID_IMAGE
        );
    }
}
