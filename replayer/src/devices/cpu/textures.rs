// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texture and surface objects, as the engine knows them.

use std::sync::Arc;

use vcuda_protocol::{Status, Texture, TextureShape};
use vcuda_ptx::{Channel, Edge, Image, Images, Level, Sampler, Shape};

use crate::status;

/// Objects that a device may have.
const MAX_OBJECTS: usize = 1 << 20;
/// Objects are numbered in steps, so that a GPU can give the same numbers: there they ascend one by
/// one, and the driver takes some for itself.
const STEP: u64 = 8;
/// Levels of a mipmap: one for each power of two of a 32-bit size.
const MAX_LEVELS: usize = 32;

/// `CU_TRSF_READ_AS_INTEGER`, `CU_TRSF_NORMALIZED_COORDINATES` and `CU_TRSF_SRGB`
const AS_INTEGER: u32 = 1;
const NORMALIZED: u32 = 2;
const SRGB: u32 = 0x10;

/// The objects of a device. A launch keeps those that there were when it was issued.
#[derive(Default)]
pub(super) struct Textures {
    images: Arc<Images>,
    count: usize,
    /// All numbers up to this one were given, or are a GPU's driver's.
    given: u64,
}

impl Textures {
    /// Makes an object of this number, or of the next where it is 0.
    pub(super) fn create(&mut self, object: u64, texture: &Texture) -> Result<u64, Status> {
        if self.count >= MAX_OBJECTS {
            return Err(status::OUT_OF_MEMORY);
        }
        let image = image(texture).ok_or(status::INVALID_VALUE)?;
        let object = match object {
            0 => self.next(),
            wish => wish,
        };
        let images = Arc::make_mut(&mut self.images);
        if images.contains(object) || !images.insert(object, image) {
            return Err(status::INVALID_VALUE);
        }
        if object == self.given + STEP {
            self.given = object;
        }
        self.count += 1;
        Ok(object)
    }

    /// An array was made: a GPU's driver may take a number for it.
    pub(super) fn leave_room(&mut self) {
        self.given = self.given.saturating_add(1);
    }

    fn next(&mut self) -> u64 {
        while self.images.contains(self.given + STEP) {
            self.given += STEP;
        }
        self.given + STEP
    }

    pub(super) fn destroy(&mut self, object: u64) -> Result<(), Status> {
        if !Arc::make_mut(&mut self.images).remove(object) {
            return Err(status::INVALID_VALUE);
        }
        self.count -= 1;
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        *self = Textures::default();
    }

    pub(super) fn images(&self) -> Arc<Images> {
        self.images.clone()
    }
}

fn image(texture: &Texture) -> Option<Image> {
    // CUarray_format
    let channel = match texture.format {
        0x01 => Channel::Unsigned(1),
        0x02 => Channel::Unsigned(2),
        0x03 => Channel::Unsigned(4),
        0x08 => Channel::Signed(1),
        0x09 => Channel::Signed(2),
        0x0a => Channel::Signed(4),
        0x10 => Channel::Half,
        0x20 => Channel::Float,
        _ => return None,
    };
    let shape = match texture.shape {
        TextureShape::Buffer => Shape::Buffer,
        TextureShape::Plain => Shape::Plain,
        TextureShape::Layered => Shape::Layered,
        TextureShape::Cube => Shape::Cube,
    };
    // CUaddress_mode
    let edge = |mode| match mode {
        0 => Some(Edge::Wrap),
        1 => Some(Edge::Clamp),
        2 => Some(Edge::Mirror),
        3 => Some(Edge::Border),
        _ => None,
    };
    let [x, y, z] = texture.address_modes.map(edge);
    if texture.levels.len() > MAX_LEVELS {
        return None;
    }
    let level = |level: &vcuda_protocol::TextureLevel| Level {
        address: level.address,
        row: level.pitch.row,
        slice: level.pitch.slice,
        size: level.size,
    };
    Some(Image {
        shape,
        channel,
        channels: texture.channels,
        levels: texture.levels.iter().map(level).collect(),
        sampler: Sampler {
            edges: [x?, y?, z?],
            linear: texture.filter != 0,
            linear_levels: texture.level_filter != 0,
            normalized: texture.flags & NORMALIZED != 0,
            to_float: texture.flags & AS_INTEGER == 0,
            srgb: texture.flags & SRGB != 0,
            border: texture.border,
            level_bias: texture.level_bias,
            levels: texture.level_clamp,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::{Pitch, TextureLevel};

    fn texture(format: u32) -> Texture {
        let level = TextureLevel {
            address: 0,
            pitch: Pitch::default(),
            size: [1; 3],
        };
        Texture {
            format,
            channels: 1,
            shape: TextureShape::Plain,
            levels: vec![level],
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
    fn objects_have_ascending_numbers_and_never_the_same() {
        let mut textures = Textures::default();
        let mut make = |wish| textures.create(wish, &texture(0x20));
        assert_eq!([make(0), make(0), make(0)], [Ok(8), Ok(16), Ok(24)]);
        assert_eq!([make(40), make(5), make(0)], [Ok(40), Ok(5), Ok(32)]);
        assert_eq!(make(5), Err(status::INVALID_VALUE));
        for object in [40, 16] {
            textures.destroy(object).unwrap();
            assert_eq!(textures.destroy(object), Err(status::INVALID_VALUE));
        }
        let mut make = |wish, format| textures.create(wish, &texture(format));
        assert_eq!(make(0, 7), Err(status::INVALID_VALUE));
        assert_eq!([make(40, 1), make(0, 1)], [Ok(40), Ok(48)]);
        assert_eq!(make(u64::MAX, 1), Ok(u64::MAX));
        assert_eq!(make(0, 1), Ok(56));
        textures.leave_room();
        assert_eq!(textures.create(0, &texture(0x20)), Ok(65));
    }
}
