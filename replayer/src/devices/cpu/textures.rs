// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texture and surface objects, as the engine knows them.

use std::sync::Arc;

use vcuda_protocol::{Status, Texture, TextureShape};
use vcuda_ptx::{Channel, Edge, Image, Images, Level, Sampler, Shape};

use crate::status;

/// Objects that a device may have.
const MAX_OBJECTS: usize = 1 << 20;
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
}

impl Textures {
    pub(super) fn create(&mut self, object: u64, texture: &Texture) -> Result<(), Status> {
        if self.count >= MAX_OBJECTS {
            return Err(status::OUT_OF_MEMORY);
        }
        let image = image(texture).ok_or(status::INVALID_VALUE)?;
        let images = Arc::make_mut(&mut self.images);
        if images.contains(object) || !images.insert(object, image) {
            return Err(status::INVALID_VALUE);
        }
        self.count += 1;
        Ok(())
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
