// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of the recording on a device that has other ones.

use std::collections::BTreeMap;

use vcuda_protocol::{Command, DeviceInfo, Place};

/// Where ranges of recorded device addresses are now. Empty where all are as they were, which is
/// the rule on one kind of device.
///
/// Addresses in commands are moved. So are those in the parameters of a launch: each aligned
/// double word that lies in a moved range. A number that happens to look like such an address would
/// be moved with them; device heaps lie where programs' numbers rarely do. Addresses that a program
/// has stored in device memory itself are not found.
#[derive(Debug, Default)]
pub(super) struct Relocation {
    /// Old beginning: old length, new beginning. Do not overlap.
    ranges: BTreeMap<u64, (u64, u64)>,
}

impl Relocation {
    /// Moves a device's heap if the new device's does not hold it. False if there is no room.
    pub fn heap(&mut self, old: &DeviceInfo, new: &DeviceInfo) -> bool {
        let held = old.heap_base >= new.heap_base
            && old.heap_base.saturating_add(old.heap_len)
                <= new.heap_base.saturating_add(new.heap_len);
        if held {
            return true;
        }
        self.range(old.heap_base, old.heap_len, new.heap_base);
        let (arrays, len) = old.arrays();
        self.range(arrays, len, new.arrays().0);
        old.heap_len <= new.heap_len
    }

    /// Moves a range.
    pub fn range(&mut self, old: u64, len: u64, new: u64) {
        if old != new && len > 0 {
            self.ranges.insert(old, (len, new));
        }
    }

    /// Where an address is now.
    pub fn address(&self, address: u64) -> u64 {
        match self.ranges.range(..=address).next_back() {
            Some((&old, &(len, new))) if address - old < len => new.wrapping_add(address - old),
            _ => address,
        }
    }

    /// The command with its addresses as they are now.
    pub fn apply(&self, mut command: Command) -> Command {
        if self.ranges.is_empty() {
            return command;
        }
        match &mut command {
            Command::MemAlloc { address, .. }
            | Command::MemFree { address, .. }
            | Command::MemAllocAsync { address, .. }
            | Command::MemFreeAsync { address, .. }
            | Command::Fill { address, .. } => *address = self.address(*address),
            Command::Copy { dst, src, .. } => {
                for place in [dst, src] {
                    if let Place::Device { address, .. } = place {
                        *address = self.address(*address);
                    }
                }
            }
            Command::ArrayCreate { array, .. } => array.address = self.address(array.address),
            Command::ArrayDestroy { address, .. } => *address = self.address(*address),
            Command::TextureCreate { texture, .. } => {
                for level in &mut texture.levels {
                    level.address = self.address(level.address);
                }
            }
            Command::Launch { params, .. } => {
                for word in params.0.chunks_exact_mut(8) {
                    let mut old = [0; 8];
                    old.copy_from_slice(word);
                    let new = self.address(u64::from_le_bytes(old));
                    word.copy_from_slice(&new.to_le_bytes());
                }
            }
            _ => {}
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::{Bytes, Dim3, Stream};

    fn moved() -> Relocation {
        let mut relocation = Relocation::default();
        relocation.range(0x1000, 0x100, 0x9000);
        relocation
    }

    #[test]
    fn addresses_within_a_moved_range_move_and_others_stay() {
        let relocation = moved();
        let pairs = [
            (0xfff, 0xfff),
            (0x1000, 0x9000),
            (0x10ff, 0x90ff),
            (0x1100, 0x1100),
        ];
        for (old, new) in pairs {
            assert_eq!(relocation.address(old), new, "{old:x}");
        }
    }

    #[test]
    fn pointers_in_launch_parameters_move() {
        let params = [7u64, 0x1010, 0x2000];
        let bytes = |words: &[u64]| Bytes(words.iter().flat_map(|w| w.to_le_bytes()).collect());
        let unit = Dim3 { x: 1, y: 1, z: 1 };
        let launch = |params| Command::Launch {
            stream: Stream { device: 0, id: 0 },
            function: 1,
            grid: unit,
            block: unit,
            dynamic_shared: 0,
            cooperative: false,
            params,
        };
        let now = moved().apply(launch(bytes(&params)));
        assert_eq!(now, launch(bytes(&[7, 0x9010, 0x2000])));
    }

    #[test]
    fn nothing_moves_where_the_new_heap_holds_the_old_one() {
        let info = |heap_base, heap_len| DeviceInfo {
            name: String::new(),
            uuid: [0; 16],
            total_memory: 0,
            heap_base,
            heap_len,
            attributes: Vec::new(),
            driver_version: 0,
        };
        let mut relocation = Relocation::default();
        assert!(relocation.heap(&info(100, 10), &info(100, 20)));
        assert_eq!(relocation.address(105), 105);
        assert!(relocation.heap(&info(100, 10), &info(500, 20)));
        assert_eq!(relocation.address(105), 505);
        assert!(!relocation.heap(&info(100, 10), &info(500, 5)));
    }
}
