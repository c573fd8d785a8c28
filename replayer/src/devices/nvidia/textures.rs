// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texture and surface objects: the driver's, under the numbers that it gives them.
//!
//! The driver numbers the objects of a context from 1 on, textures and surfaces together, takes a
//! few numbers for itself (for copies between arrays and its memory), and uses numbers again in no order that could be foretold
//! (driver 580). So that a recording's numbers can be had again, objects that are destroyed stay for
//! a long time, and numbers ascend.

use std::collections::HashMap;

use vcuda_protocol::{Array, Status, Texture, TextureLevel, TextureShape, texel_bytes};

use super::arrays::{Arrays, Made};
use super::driver::{Driver, ResourceDesc, TextureDesc, ViewDesc, call};
use super::machine::{Machine, State};
use crate::status;

/// Objects that a GPU may have at once.
const MAX_OBJECTS: usize = 1 << 20;
/// So many objects are made at most to get one of a certain number.
const MOST_TRIES: usize = 4096;
/// So many destroyed objects stay.
const MOST_RETIRED: usize = 1 << 18;

/// `CUresourcetype`
const ARRAY: u32 = 0;
const MIPMAPPED_ARRAY: u32 = 1;
const LINEAR: u32 = 2;
const PITCH2D: u32 = 3;

/// `CU_TRSF_READ_AS_INTEGER`, `..._NORMALIZED_COORDINATES`, `..._SRGB`,
/// `..._DISABLE_TRILINEAR_OPTIMIZATION` and `..._SEAMLESS_CUBEMAP`
const KNOWN_FLAGS: u32 = 0x73;

/// The objects of one GPU.
#[derive(Default)]
pub(super) struct Objects {
    live: HashMap<u64, Kind>,
    /// The client has destroyed them, or did not want them.
    retired: Vec<(u64, Kind)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Texture,
    Surface,
}

/// An object as the driver is asked for it.
struct Described {
    kind: Kind,
    resource: ResourceDesc,
    reading: TextureDesc,
    view: Option<ViewDesc>,
}

impl Described {
    fn of(arrays: &Arrays, texture: &Texture) -> Result<Described, Status> {
        let first = texture.levels.first().ok_or(status::INVALID_VALUE)?;
        let (resource, view) = match arrays.at(first.address) {
            Some(made) => of_array(made, texture).ok_or(status::INVALID_VALUE)?,
            None if texture.surface => return Err(status::INVALID_VALUE),
            None => (of_memory(first, texture)?, None),
        };
        Ok(Described {
            kind: match texture.surface {
                true => Kind::Surface,
                false => Kind::Texture,
            },
            resource,
            reading: TextureDesc {
                address_modes: texture.address_modes,
                filter: texture.filter,
                flags: texture.flags & KNOWN_FLAGS,
                max_anisotropy: texture.max_anisotropy,
                level_filter: texture.level_filter,
                level_bias: texture.level_bias,
                level_clamp: texture.level_clamp,
                border: texture.border,
                reserved: [0; 12],
            },
            view,
        })
    }

    /// The driver may have no room but that of objects which the client does not use any more.
    fn create(&self, driver: &Driver, objects: &mut Objects) -> Result<u64, Status> {
        match self.try_create(driver) {
            Err(_) if !objects.retired.is_empty() => {
                objects.give_back(driver);
                self.try_create(driver)
            }
            other => other,
        }
    }

    fn try_create(&self, driver: &Driver) -> Result<u64, Status> {
        let mut number = 0;
        let view = self.view.as_ref().map_or(std::ptr::null(), |view| view);
        match self.kind {
            Kind::Texture => call!(
                driver,
                cuTexObjectCreate(&mut number, &self.resource, &self.reading, view)
            ),
            Kind::Surface => call!(driver, cuSurfObjectCreate(&mut number, &self.resource)),
        }?;
        Ok(number)
    }
}

impl Kind {
    fn destroy(self, driver: &Driver, number: u64) -> Result<(), Status> {
        match self {
            Kind::Texture => call!(driver, cuTexObjectDestroy(number)),
            Kind::Surface => call!(driver, cuSurfObjectDestroy(number)),
        }
    }
}

impl Objects {
    fn retire(&mut self, driver: &Driver, number: u64, kind: Kind) {
        self.retired.push((number, kind));
        if self.retired.len() >= MOST_RETIRED {
            self.give_back(driver);
        }
    }

    fn give_back(&mut self, driver: &Driver) {
        for (number, kind) in self.retired.drain(..) {
            // What cannot be destroyed goes with the context.
            let _ = kind.destroy(driver, number);
        }
    }
}

/// Memory, of which the driver looks at nothing before a kernel reads it.
fn of_memory(level: &TextureLevel, texture: &Texture) -> Result<ResourceDesc, Status> {
    let texel = texel_bytes(texture.format, texture.channels).ok_or(status::INVALID_VALUE)?;
    let [width, height, depth] = level.size.map(|extent| extent as usize);
    let (kind, sizes) = match texture.shape {
        TextureShape::Buffer => (LINEAR, [width * texel as usize, 0, 0]),
        TextureShape::Plain if depth == 1 && texture.levels.len() == 1 => {
            (PITCH2D, [width, height, level.pitch.row as usize])
        }
        _ => return Err(status::INVALID_VALUE),
    };
    Ok(ResourceDesc {
        kind,
        handle: level.address,
        format: texture.format,
        channels: texture.channels,
        sizes,
        ..Default::default()
    })
}

/// An array, and what is different about it, if anything is: the format as which its texels are
/// read, and some of its levels or layers. `None`: the levels are not such.
fn of_array(made: &Made, texture: &Texture) -> Option<(ResourceDesc, Option<ViewDesc>)> {
    let Made {
        of,
        places,
        handles,
    } = made;
    let address = texture.levels.first()?.address;
    let first = places.iter().rposition(|place| place.address <= address)?;
    let count = texture.levels.len();
    let part = places.get(first..)?.get(..count)?;
    let slice = part.first()?.pitch.slice;
    let layer = (address - part.first()?.address) / slice;
    let layers = texture.levels.first()?.size[2];
    for (level, place) in texture.levels.iter().zip(part) {
        let [width, height, _] = place.size;
        let begins = place
            .address
            .checked_add(layer.checked_mul(place.pitch.slice)?)?;
        let end = layer.checked_add(level.size[2].into())?;
        let same = level.address == begins
            && level.pitch == place.pitch
            && level.size[..2] == [width, height];
        if !same || end > place.size[2].into() {
            return None;
        }
    }
    let all_layers = layers == part.first()?.size[2];
    if !all_layers && of.flags & Array::LAYERED == 0 {
        return None;
    }
    // One level by itself is an array too.
    let whole = count > 1;
    let (kind, handle) = match whole {
        true => (MIPMAPPED_ARRAY, handles.mipmapped),
        false => (ARRAY, *handles.levels.get(first)?),
    };
    let resource = ResourceDesc {
        kind,
        handle,
        ..Default::default()
    };
    let same_format = (texture.format, texture.channels) == (of.format, of.channels);
    if texture.surface {
        return (count == 1 && all_layers && same_format).then_some((resource, None));
    }
    if same_format && all_layers && (!whole || count == places.len()) {
        return Some((resource, None));
    }
    let (of_level, levels) = match whole {
        true => (0, [first as u32, (first + count - 1) as u32]),
        false => (first as u32, [0, 0]),
    };
    // Whole cubes are counted, from a face on.
    let one = match of.flags & Array::CUBEMAP {
        0 => 1,
        _ => 6,
    };
    let last = (layer as u32).checked_add(layers / one)?.checked_sub(1)?;
    if !layers.is_multiple_of(one) {
        return None;
    }
    let view = ViewDesc {
        format: view_format(texture.format, texture.channels)?,
        size: of.size_of(of_level).map(|extent| extent as usize),
        levels,
        layers: match of.flags & Array::LAYERED {
            0 => [0, 0],
            _ => [layer as u32, last],
        },
        reserved: [0; 16],
    };
    Some((resource, Some(view)))
}

/// `CUresourceViewFormat`: one, two and four channels of each kind, one kind after the other.
fn view_format(format: u32, channels: u32) -> Option<u32> {
    const KINDS: [u32; 8] = [0x01, 0x08, 0x02, 0x09, 0x03, 0x0a, 0x10, 0x20];
    let kind = KINDS.iter().position(|&kind| kind == format)? as u32;
    let known = matches!(channels, 1 | 2 | 4);
    known.then(|| 1 + 3 * kind + channels.ilog2())
}

impl State {
    /// Makes an object. Where it is to have a certain number, objects are made until the driver is
    /// there. Gives the number in any case.
    pub(super) fn create_object(
        &mut self,
        machine: &Machine,
        device: usize,
        wish: u64,
        texture: &Texture,
    ) -> Result<u64, Status> {
        machine.enter(device)?;
        let driver = machine.driver;
        let described = Described::of(&self.devices[device].arrays, texture)?;
        let objects = &mut self.devices[device].objects;
        if objects.live.len() >= MAX_OBJECTS {
            return Err(status::OUT_OF_MEMORY);
        }
        let mut number = described.create(driver, objects)?;
        for _ in 1..MOST_TRIES {
            if number >= wish {
                break;
            }
            objects.retire(driver, number, described.kind);
            number = described.create(driver, objects)?;
        }
        objects.live.insert(number, described.kind);
        Ok(number)
    }

    pub(super) fn destroy_object(
        &mut self,
        machine: &Machine,
        device: usize,
        number: u64,
    ) -> Result<(), Status> {
        machine.enter(device)?;
        let objects = &mut self.devices[device].objects;
        let kind = objects.live.remove(&number);
        let kind = kind.ok_or(status::INVALID_HANDLE)?;
        objects.retire(machine.driver, number, kind);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::arrays::Handles;
    use super::*;

    /// 16 x 8 texels in 4 layers and 3 levels.
    fn made() -> Made {
        let of = Array {
            address: 0x1000,
            format: 0x20,
            channels: 1,
            size: [16, 8, 4],
            flags: Array::LAYERED,
            levels: 3,
        };
        Made {
            places: of.places().unwrap(),
            of,
            handles: Handles {
                mipmapped: 77,
                levels: vec![10, 11, 12],
                bytes: 0,
            },
        }
    }

    fn texture(levels: &[TextureLevel]) -> Texture {
        Texture {
            format: 0x20,
            channels: 1,
            shape: TextureShape::Layered,
            levels: levels.to_vec(),
            address_modes: [0; 3],
            filter: 0,
            level_filter: 0,
            flags: 0,
            border: [0.0; 4],
            level_bias: 0.0,
            level_clamp: [0.0; 2],
            max_anisotropy: 0,
            surface: false,
        }
    }

    #[test]
    fn all_levels_are_the_mipmapped_array_and_one_is_an_array() {
        let made = made();
        let (resource, view) = of_array(&made, &texture(&made.places)).unwrap();
        assert_eq!((resource.kind, resource.handle), (MIPMAPPED_ARRAY, 77));
        assert_eq!(view, None);
        let (resource, view) = of_array(&made, &texture(&made.places[1..2])).unwrap();
        assert_eq!((resource.kind, resource.handle), (ARRAY, 11));
        assert_eq!(view, None);
    }

    #[test]
    fn some_levels_or_layers_or_another_format_are_a_view() {
        let made = made();
        let (resource, view) = of_array(&made, &texture(&made.places[1..])).unwrap();
        assert_eq!((resource.kind, resource.handle), (MIPMAPPED_ARRAY, 77));
        let view = view.unwrap();
        assert_eq!((view.format, view.size), (0x16, [16, 8, 4]));
        assert_eq!((view.levels, view.layers), ([1, 2], [0, 3]));

        let mut layers = made.places.clone();
        for level in &mut layers {
            level.address += level.pitch.slice;
            level.size[2] = 2;
        }
        let (_, view) = of_array(&made, &texture(&layers)).unwrap();
        let view = view.unwrap();
        assert_eq!((view.levels, view.layers), ([0, 2], [1, 2]));

        let mut bytes = texture(&made.places[2..]);
        (bytes.format, bytes.channels) = (0x01, 4);
        let (resource, view) = of_array(&made, &bytes).unwrap();
        assert_eq!((resource.kind, resource.handle), (ARRAY, 12));
        let view = view.unwrap();
        assert_eq!((view.format, view.size), (3, [4, 2, 4]));
        assert_eq!((view.levels, view.layers), ([0, 0], [0, 3]));
    }

    #[test]
    fn views_of_cubes_count_cubes_from_a_face_on() {
        let of = Array {
            size: [8, 8, 24],
            flags: Array::LAYERED | Array::CUBEMAP,
            levels: 0,
            ..made().of
        };
        let made = Made {
            places: of.places().unwrap(),
            of,
            handles: Handles {
                mipmapped: 0,
                levels: vec![10],
                bytes: 0,
            },
        };
        let mut level = made.places[0];
        level.address += 6 * level.pitch.slice;
        level.size[2] = 12;
        let (_, view) = of_array(&made, &texture(&[level])).unwrap();
        assert_eq!(view.unwrap().layers, [6, 7]);
        level.size[2] = 11;
        assert!(of_array(&made, &texture(&[level])).is_none());
    }

    #[test]
    fn levels_that_are_not_the_arrays_are_refused() {
        let made = made();
        type Change = fn(&mut TextureLevel);
        let changes: [Change; 6] = [
            |level| level.address += 64,
            |level| level.pitch.row += 64,
            |level| level.pitch.slice = 0,
            |level| level.size[0] += 1,
            |level| level.size[2] = 5,
            |level| level.size[2] = u32::MAX,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut levels = made.places.clone();
            change(&mut levels[0]);
            assert!(of_array(&made, &texture(&levels)).is_none(), "{index}");
        }
        let twice = [made.places.clone(), made.places.clone()].concat();
        assert!(of_array(&made, &texture(&twice)).is_none());
        let mut surface = texture(&made.places);
        surface.surface = true;
        assert!(of_array(&made, &surface).is_none());
    }
}
