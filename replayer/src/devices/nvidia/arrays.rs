// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays: the driver's, by the addresses that the client gave to their texels. There is no
//! memory at these addresses: a copy that names some is one from or to the array.

use std::collections::BTreeMap;

use vcuda_protocol::{Array, Extent, Pitch, Status, TextureLevel, texel_bytes};

use super::driver::{ArrayDescriptor, CUarray, CUmipmappedArray, Driver, call};
use super::machine::{Jobs, Machine, State};
use super::memory::Memory;
use crate::devices::Completion;
use crate::devices::allocations::Allocations;
use crate::status;

/// Arrays that a GPU may have at once.
const MAX_ARRAYS: usize = 1 << 20;

/// The arrays of one GPU.
#[derive(Default)]
pub(super) struct Arrays {
    live: BTreeMap<u64, Made>,
    taken: Allocations,
    /// Arrays that the client has destroyed and the driver has not: it would wait for all work.
    leaving: Vec<Handles>,
}

/// An array that the driver has made.
pub(super) struct Made {
    pub(super) of: Array,
    pub(super) places: Vec<TextureLevel>,
    pub(super) handles: Handles,
}

/// What the driver calls an array.
pub(super) struct Handles {
    /// 0 if it is not mipmapped.
    pub(super) mipmapped: u64,
    /// Each level.
    pub(super) levels: Vec<u64>,
    /// How much of the session's memory it counts for.
    pub(super) bytes: u64,
}

/// Where a box of texels begins: in which array, and the byte of a row, the row and the slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corner {
    pub(super) array: u64,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) z: usize,
}

impl Handles {
    fn create(driver: &Driver, of: &Array, levels: usize, bytes: u64) -> Result<Handles, Status> {
        let descriptor = ArrayDescriptor {
            size: of.size.map(|extent| extent as usize),
            format: of.format,
            channels: of.channels,
            flags: of.flags,
        };
        let mut array: CUarray = std::ptr::null_mut();
        if of.levels == 0 {
            call!(driver, cuArray3DCreate_v2(&mut array, &descriptor))?;
            return Ok(Handles {
                mipmapped: 0,
                levels: vec![array as u64],
                bytes,
            });
        }
        let mut mipmapped: CUmipmappedArray = std::ptr::null_mut();
        call!(
            driver,
            cuMipmappedArrayCreate(&mut mipmapped, &descriptor, of.levels)
        )?;
        let mut handles = Handles {
            mipmapped: mipmapped as u64,
            levels: Vec::with_capacity(levels),
            bytes,
        };
        for level in 0..levels as u32 {
            let got = call!(
                driver,
                cuMipmappedArrayGetLevel(&mut array, mipmapped, level)
            );
            if let Err(status) = got {
                handles.destroy(driver);
                return Err(status);
            }
            handles.levels.push(array as u64);
        }
        Ok(handles)
    }

    /// Waits for all work of the GPU.
    fn destroy(self, driver: &Driver) {
        // What cannot be destroyed goes with the context.
        let _ = match (self.mipmapped, self.levels.first()) {
            (0, Some(&array)) => call!(driver, cuArrayDestroy(array as CUarray)),
            (0, None) => Ok(()),
            (array, _) => call!(driver, cuMipmappedArrayDestroy(array as CUmipmappedArray)),
        };
    }
}

impl Arrays {
    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        self.taken.holds(address, len)
    }

    /// The array that an address belongs to.
    pub(super) fn at(&self, address: u64) -> Option<&Made> {
        let (_, made) = self.live.range(..=address).next_back()?;
        self.holds(address, 0).then_some(made)
    }

    /// The box of texels that begins at an address. `None`: the address is not of an array.
    pub(super) fn corner(
        &self,
        address: u64,
        pitch: Pitch,
        extent: Extent,
    ) -> Option<Result<Corner, Status>> {
        let made = self.at(address)?;
        let texel = texel_bytes(made.of.format, made.of.channels).unwrap_or(1);
        let found = locate(&made.places, texel, address, pitch, extent);
        let corner = found.and_then(|(level, [x, y, z])| {
            Some(Corner {
                array: *made.handles.levels.get(level)?,
                x: x as usize,
                y: y as usize,
                z: z as usize,
            })
        });
        Some(corner.ok_or(status::INVALID_VALUE))
    }
}

/// The level that an address belongs to, and the byte of a row, the row and the slice there, if a
/// box that is described as one of memory lies within the level.
fn locate(
    places: &[TextureLevel],
    texel: u32,
    address: u64,
    pitch: Pitch,
    extent: Extent,
) -> Option<(usize, [u64; 3])> {
    let level = places.iter().rposition(|place| place.address <= address)?;
    let place = places.get(level)?;
    let offset = address - place.address;
    let (z, in_slice) = (offset / place.pitch.slice, offset % place.pitch.slice);
    let (y, x) = (in_slice / place.pitch.row, in_slice % place.pitch.row);
    let same_rows = extent.height <= 1 || pitch.row == place.pitch.row;
    let same_slices = extent.depth <= 1 || pitch.slice == place.pitch.slice;
    let [width, height, depth] = place.size.map(u64::from);
    let within =
        |from: u64, len: u64, all: u64| from.checked_add(len).is_some_and(|end| end <= all);
    let fits = within(x, extent.width, width * u64::from(texel))
        && within(y, extent.height, height)
        && within(z, extent.depth, depth);
    (same_rows && same_slices && fits).then_some((level, [x, y, z]))
}

/// Makes an array if the session may have the memory.
fn create_within(
    memory: &mut Memory,
    driver: &Driver,
    of: &Array,
    levels: usize,
) -> Result<Handles, Status> {
    /// What the driver may take for the smallest one.
    const LEAST: u64 = 64 << 10;
    let bytes = of.bytes().ok_or(status::INVALID_VALUE)?.max(LEAST);
    memory.take_for_array(bytes)?;
    Handles::create(driver, of, levels, bytes).inspect_err(|_| memory.return_of_array(bytes))
}

impl State {
    pub(super) fn create_array(
        &mut self,
        machine: &Machine,
        device: usize,
        of: &Array,
    ) -> Result<(), Status> {
        const KNOWN: u32 = Array::LAYERED | Array::SURFACE | Array::CUBEMAP | Array::GATHER;
        let places = of.places().ok_or(status::INVALID_VALUE)?;
        let size = of.bytes().ok_or(status::INVALID_VALUE)?;
        let (base, len) = machine.gpus[device].info.arrays();
        let offset = of.address.checked_sub(base).ok_or(status::INVALID_VALUE)?;
        let fits = offset <= len && size <= len - offset && of.flags & !KNOWN == 0;
        let arrays = &mut self.devices[device].arrays;
        if !fits || !arrays.taken.insert(of.address, size) {
            return Err(status::INVALID_VALUE);
        }
        let made = self.make_array(machine, device, of, places.len());
        let arrays = &mut self.devices[device].arrays;
        match made {
            Ok(handles) => {
                let made = Made {
                    of: of.clone(),
                    places,
                    handles,
                };
                arrays.live.insert(of.address, made);
                Ok(())
            }
            Err(status) => {
                arrays.taken.remove(of.address);
                Err(status)
            }
        }
    }

    fn make_array(
        &mut self,
        machine: &Machine,
        device: usize,
        of: &Array,
        levels: usize,
    ) -> Result<Handles, Status> {
        machine.enter(device)?;
        self.bury_arrays(machine, device);
        if self.devices[device].arrays.live.len() >= MAX_ARRAYS {
            return Err(status::OUT_OF_MEMORY);
        }
        let memory = &mut self.devices[device].memory;
        match create_within(memory, machine.driver, of, levels) {
            Err(status::OUT_OF_MEMORY) => {
                memory.give_back(machine);
                create_within(memory, machine.driver, of, levels)
            }
            other => other,
        }
    }

    /// Forgets an array, and calls back when all work issued before has finished.
    pub(super) fn destroy_array(
        &mut self,
        machine: &Machine,
        device: usize,
        address: u64,
        done: Completion,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        let arrays = &mut self.devices[device].arrays;
        let made = arrays.live.remove(&address).ok_or(status::INVALID_VALUE)?;
        arrays.taken.remove(address);
        arrays.leaving.push(made.handles);
        let this = machine.this();
        let gone: Completion = Box::new(move |outcome| {
            if outcome.is_ok() {
                this.state.lock().bury_arrays(&this, device);
            }
            done(outcome);
        });
        // Work of other GPUs may use it too.
        self.when_idle(machine, None, gone, jobs);
        Ok(())
    }

    /// Destroys what the client has destroyed, unless there is work: the driver would wait for it,
    /// and the session, on which it may depend, with the driver. Whether there was anything to do.
    pub(super) fn bury_arrays(&mut self, machine: &Machine, device: usize) -> bool {
        if self.devices[device].arrays.leaving.is_empty() {
            return false;
        }
        let idle = self.unfinished(machine).is_ok_and(|left| left.is_empty());
        if !idle || machine.enter(device).is_err() {
            return false;
        }
        for handles in std::mem::take(&mut self.devices[device].arrays.leaving) {
            self.devices[device].memory.return_of_array(handles.bytes);
            handles.destroy(machine.driver);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 x 6 texels of 4 bytes in 3 layers, and the level below.
    fn places() -> Vec<TextureLevel> {
        let array = Array {
            address: 0x1000,
            format: 0x20,
            channels: 1,
            size: [20, 6, 3],
            flags: Array::LAYERED,
            levels: 2,
        };
        array.places().unwrap()
    }

    fn located(address: u64, row: u64, slice: u64, extent: [u64; 3]) -> Option<(usize, [u64; 3])> {
        let [width, height, depth] = extent;
        let extent = Extent {
            width,
            height,
            depth,
        };
        locate(&places(), 4, address, Pitch { row, slice }, extent)
    }

    #[test]
    fn an_address_is_a_level_a_slice_a_row_and_a_byte_of_it() {
        let whole = [80, 6, 3];
        assert_eq!(located(0x1000, 128, 768, whole), Some((0, [0; 3])));
        let inner = 0x1000 + 2 * 768 + 3 * 128 + 8;
        assert_eq!(located(inner, 0, 0, [4, 1, 1]), Some((0, [8, 3, 2])));
        let below = 0x1000 + 3 * 768;
        assert_eq!(located(below, 64, 192, [40, 3, 3]), Some((1, [0; 3])));
    }

    #[test]
    fn a_box_that_leaves_its_level_is_refused() {
        for (offset, extent) in [
            (0, [81, 1, 1]),
            (4, [80, 1, 1]),
            (128, [4, 6, 1]),
            (768, [4, 1, 3]),
            (0, [4, 7, 1]),
            (0, [u64::MAX, 1, 1]),
            (4, [1, u64::MAX, u64::MAX]),
            // In the gap behind a row.
            (80, [1, 1, 1]),
            // Behind the last level.
            (3 * 768 + 3 * 192, [1, 1, 1]),
        ] {
            let found = located(0x1000 + offset, 128, 768, extent);
            assert_eq!(found, None, "{offset} {extent:?}");
        }
        assert_eq!(located(0xfff, 128, 768, [1, 1, 1]), None);
    }

    #[test]
    fn rows_and_slices_have_to_be_the_arrays() {
        assert_eq!(located(0x1000, 80, 768, [80, 2, 1]), None);
        assert_eq!(located(0x1000, 128, 700, [80, 2, 2]), None);
        assert!(located(0x1000, 0, 0, [80, 1, 1]).is_some());
        assert!(located(0x1000, 0, 768, [80, 1, 3]).is_some());
    }
}
