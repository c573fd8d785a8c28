// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loading modules.

use std::collections::HashMap;

use vcuda_protocol::{Image, Reply};

use super::shared::Ticket;
use super::{Module, Outcome, Session, room};
use crate::status;

/// Most bytes that the names of managed variables may take before their modules are loaded.
const MAX_NAMES: usize = 16 << 20;

/// Where managed variables of modules lie that are not loaded yet.
#[derive(Default)]
pub(super) struct ManagedVariables {
    modules: HashMap<u32, HashMap<String, u64>>,
    /// Bytes of names, and a little for each.
    bytes: usize,
}

/// What a variable takes besides its name.
const ENTRY: usize = 128;

impl ManagedVariables {
    pub(super) fn add(&mut self, module: u32, name: String, address: u64) -> Outcome {
        let bytes = self.bytes + name.len() + ENTRY;
        if bytes > MAX_NAMES {
            return Err(status::OUT_OF_MEMORY);
        }
        let variables = self.modules.entry(module).or_default();
        if variables.contains_key(&name) {
            return Err(status::INVALID_VALUE);
        }
        variables.insert(name, address);
        self.bytes = bytes;
        Ok(Some(Reply::Done))
    }

    fn take(&mut self, module: u32) -> HashMap<String, u64> {
        let taken = self.modules.remove(&module).unwrap_or_default();
        let bytes: usize = taken.keys().map(|name| name.len() + ENTRY).sum();
        self.bytes -= bytes;
        taken
    }
}

impl Session {
    pub(super) fn module_load(
        &mut self,
        ticket: Ticket,
        device: u32,
        module: u32,
        image: Image,
    ) -> Outcome {
        let managed = self.managed.take(module);
        let target = self.device(device)?;
        if self.modules.contains_key(&module) {
            return Err(status::INVALID_HANDLE);
        }
        room(self.modules.len())?;
        let image = match image {
            Image::Inline(bytes) => bytes.0,
            Image::Window { offset, len } => {
                if !self.window.holds(offset, len) {
                    return Err(status::INVALID_VALUE);
                }
                let mut bytes = vec![0; len as usize];
                if !self.window.memory.read(offset as usize, &mut bytes) {
                    return Err(status::INVALID_VALUE);
                }
                if let Some(observer) = &self.shared.observer {
                    observer.input(ticket.sequence, 0, &bytes);
                }
                bytes
            }
        };
        let (handle, info) = target.module_load(&image, &managed);
        match handle {
            Some(handle) => {
                self.modules.insert(module, Module { device, handle });
            }
            None if ticket.slot.is_none() => return Err(info.status),
            None => {}
        }
        Ok(Some(Reply::Module(info)))
    }
}
