// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: what texture and surface objects stand for (CUDA C++ Programming Guide, "Texture and
//! Surface Memory" and "Texture Fetching").

use crate::numeric::decode_half;
use std::collections::HashMap;
use std::sync::Arc;

/// What a channel of a texel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Unsigned integers of 1, 2 or 4 bytes.
    Unsigned(u8),
    /// Signed integers of 1, 2 or 4 bytes.
    Signed(u8),
    /// Half precision.
    Half,
    /// Single precision.
    Float,
}

impl Channel {
    /// Bytes of the channel; `None` if the number of bytes is another than 1, 2 and 4.
    pub fn bytes(self) -> Option<u32> {
        match self {
            Channel::Unsigned(bytes) | Channel::Signed(bytes) => {
                matches!(bytes, 1 | 2 | 4).then_some(bytes.into())
            }
            Channel::Half => Some(2),
            Channel::Float => Some(4),
        }
    }
}

/// How texels lie in memory and what surrounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Texels side by side, read by integers alone: a linear buffer.
    Buffer,
    /// One, two or three dimensions.
    Plain,
    /// Layers of one or two dimensions; the depth is their number.
    Layered,
    /// Six faces of a cube, for each layer; the depth is the number of faces in all.
    Cube,
}

/// One level of an image in device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// Address of the first texel.
    pub address: u64,
    /// Bytes from row to row.
    pub row: u64,
    /// Bytes from slice to slice, layer to layer or face to face.
    pub slice: u64,
    /// Texels in each direction; 1 where there is none. Width 0 is not possible.
    pub size: [u32; 3],
}

/// What lies beyond the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The image again; with unnormalized coordinates as `Clamp`.
    Wrap,
    /// The texel at the edge.
    Clamp,
    /// The image mirrored; with unnormalized coordinates as `Clamp`.
    Mirror,
    /// The border's colour.
    Border,
}

/// How a texture is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    /// For each direction.
    pub edges: [Edge; 3],
    /// Texels are interpolated, not the nearest taken.
    pub linear: bool,
    /// The same for the levels of a mipmap.
    pub linear_levels: bool,
    /// Coordinates are from 0 to 1.
    pub normalized: bool,
    /// Integers become numbers from 0 or -1 to 1.
    pub to_float: bool,
    /// The first three channels are sRGB-encoded bytes.
    pub srgb: bool,
    /// The colour of the border.
    pub border: [f32; 4],
    /// Added to the level of detail, and its range.
    pub level_bias: f32,
    /// The lowest and the highest level of detail.
    pub levels: [f32; 2],
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler {
            edges: [Edge::Clamp; 3],
            linear: false,
            linear_levels: false,
            normalized: false,
            to_float: false,
            srgb: false,
            border: [0.0; 4],
            level_bias: 0.0,
            levels: [0.0, f32::MAX],
        }
    }
}

/// A texture or surface.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// What surrounds the texels.
    pub shape: Shape,
    /// What a channel is.
    pub channel: Channel,
    /// 1, 2 or 4.
    pub channels: u32,
    /// From the largest to the smallest; at least one.
    pub levels: Vec<Level>,
    /// How it is read as a texture.
    pub sampler: Sampler,
}

/// The images that the kernels of a launch may use, by the number that they know them by.
///
/// ```
/// use vcuda_ptx::{Channel, Image, Images, Level, Sampler, Shape};
/// let level = Level { address: 0x1000, row: 64, slice: 64, size: [16, 1, 1] };
/// let image = Image {
///     shape: Shape::Plain, channel: Channel::Float, channels: 1, levels: vec![level], sampler: Sampler::default(),
/// };
/// let mut images = Images::default();
/// assert!(images.insert(7, image.clone()));
/// assert!(!images.insert(8, Image { channels: 3, ..image }));
/// assert!(images.remove(7));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Images(HashMap<u64, Arc<Image>>);

impl Images {
    /// Adds an image under a number; false if there is no such image: no level, a level without
    /// texels, or texels of another kind than those that exist.
    pub fn insert(&mut self, object: u64, image: Image) -> bool {
        let sized = image.levels.iter().all(|level| !level.size.contains(&0));
        let valid = sized
            && !image.levels.is_empty()
            && image.channel.bytes().is_some()
            && matches!(image.channels, 1 | 2 | 4);
        if valid {
            self.0.insert(object, Arc::new(image));
        }
        valid
    }

    /// Removes an image; false if there was none.
    pub fn remove(&mut self, object: u64) -> bool {
        self.0.remove(&object).is_some()
    }

    /// Whether there is an image of this number.
    pub fn contains(&self, object: u64) -> bool {
        self.0.contains_key(&object)
    }

    pub(crate) fn get(&self, object: u64) -> Option<&Arc<Image>> {
        self.0.get(&object)
    }
}

/// A texel, or a mixture of some: floats as such, integers as their bits.
pub(crate) type Texel = [u32; 4];

/// Where a kernel reads: coordinates as it gave them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Float([f32; 3]),
    Integer([i32; 3]),
}

/// Reads texels: `fetch(address, bytes)` gives the memory, up to 16 bytes, in the low ones.
pub(crate) trait Fetch {
    type Error;
    fn fetch(&mut self, address: u64, bytes: u32) -> Result<u128, Self::Error>;
}

impl Image {
    /// Bytes of a texel.
    pub(crate) fn texel_bytes(&self) -> u32 {
        self.channel.bytes().unwrap_or(1) * self.channels
    }

    /// Whether results are numbers, which can be mixed.
    fn gives_floats(&self) -> bool {
        match self.channel {
            Channel::Half | Channel::Float => true,
            Channel::Unsigned(bytes) | Channel::Signed(bytes) => self.sampler.to_float && bytes < 4,
        }
    }

    /// The border's colour as results have it.
    fn border(&self) -> Texel {
        let floats = self.gives_floats();
        let channel = |value: f32| match self.channel {
            _ if floats => value.to_bits(),
            Channel::Signed(_) => value as i32 as u32,
            _ => value as u32,
        };
        self.sampler.border.map(channel)
    }

    fn decode(&self, raw: u128) -> Texel {
        let bytes = self.channel.bytes().unwrap_or(1);
        let floats = self.gives_floats();
        let one = if floats { 1f32.to_bits() } else { 1 };
        let mut texel = [0, 0, 0, one];
        for (i, result) in texel.iter_mut().enumerate().take(self.channels as usize) {
            let value = (raw >> (i as u32 * bytes * 8)) as u32;
            *result = match self.channel {
                Channel::Float => value,
                Channel::Half => decode_half(value as u16).to_bits(),
                Channel::Unsigned(1) if floats => {
                    let value = f32::from(value as u8) / 255.0;
                    let encoded = self.sampler.srgb && i < 3;
                    if encoded { linear(value) } else { value }.to_bits()
                }
                Channel::Unsigned(2) if floats => (f32::from(value as u16) / 65535.0).to_bits(),
                Channel::Signed(1) if floats => {
                    (f32::from(value as i8) / 127.0).max(-1.0).to_bits()
                }
                Channel::Signed(2) if floats => {
                    (f32::from(value as i16) / 32767.0).max(-1.0).to_bits()
                }
                Channel::Unsigned(1) => value & 0xff,
                Channel::Unsigned(2) => value & 0xffff,
                Channel::Signed(1) => value as i8 as u32,
                Channel::Signed(2) => value as i16 as u32,
                Channel::Unsigned(_) | Channel::Signed(_) => value,
            };
        }
        texel
    }

    /// The texel at an index, or the border where there is none.
    fn texel<F: Fetch>(
        &self,
        fetch: &mut F,
        level: &Level,
        index: [Option<u32>; 3],
    ) -> Result<Texel, F::Error> {
        let [Some(x), Some(y), Some(z)] = index else {
            return Ok(self.border());
        };
        let bytes = self.texel_bytes();
        let address = level
            .address
            .wrapping_add(u64::from(z).wrapping_mul(level.slice))
            .wrapping_add(u64::from(y).wrapping_mul(level.row))
            .wrapping_add(u64::from(x) * u64::from(bytes));
        Ok(self.decode(fetch.fetch(address, bytes)?))
    }

    /// Reads with coordinates: `dimensions` of them count, and `layer` is the slice of a layered
    /// image or cube. `lod` is the level of detail.
    pub(crate) fn sample<F: Fetch>(
        &self,
        fetch: &mut F,
        at: At,
        dimensions: usize,
        layer: u32,
        lod: f32,
    ) -> Result<Texel, F::Error> {
        let last = self.levels.len() - 1;
        let [low, high] = self.sampler.levels;
        let lod = (lod + self.sampler.level_bias).max(low).min(high);
        let lod = lod.max(0.0).min(last as f32);
        let linear_levels = self.sampler.linear_levels && lod.fract() != 0.0;
        let nearest = if self.sampler.linear_levels {
            lod
        } else {
            (lod + 0.5).floor()
        };
        let first = &self.levels[(nearest as usize).min(last)];
        let texel = self.sample_level(fetch, first, at, dimensions, layer)?;
        if !linear_levels || !self.gives_floats() {
            return Ok(texel);
        }
        let second = &self.levels[(nearest as usize + 1).min(last)];
        let other = self.sample_level(fetch, second, at, dimensions, layer)?;
        Ok(mix(&[
            (texel, 1.0 - fraction(lod.fract())),
            (other, fraction(lod.fract())),
        ]))
    }

    fn sample_level<F: Fetch>(
        &self,
        fetch: &mut F,
        level: &Level,
        at: At,
        dimensions: usize,
        layer: u32,
    ) -> Result<Texel, F::Error> {
        let slice = self.slice(level, layer);
        let used = |direction: usize| direction < dimensions;
        let coordinates = match at {
            At::Integer(index) => {
                let index = core::array::from_fn(|i| match i {
                    _ if !used(i) => Some(if i == 2 { slice } else { 0 }),
                    _ => self.edge_of_integer(i, index[i], level.size[i]),
                });
                return self.texel(fetch, level, index);
            }
            At::Float(coordinates) => coordinates,
        };
        let footprint: [[(Option<u32>, f32); 2]; 3] = core::array::from_fn(|i| match i {
            _ if !used(i) => [(Some(if i == 2 { slice } else { 0 }), 1.0), (None, 0.0)],
            _ => self.footprint(i, coordinates[i], level.size[i]),
        });
        let mut parts = [([0; 4], 0f32); 8];
        let mut count = 0;
        for &(z, c) in &footprint[2] {
            for &(y, b) in &footprint[1] {
                for &(x, a) in &footprint[0] {
                    if a * b * c != 0.0 {
                        parts[count] = (self.texel(fetch, level, [x, y, z])?, a * b * c);
                        count += 1;
                    }
                }
            }
        }
        Ok(if count == 1 {
            parts[0].0
        } else {
            mix(&parts[..count])
        })
    }

    /// The four texels that would be mixed, from the lower left counterclockwise, one channel of
    /// each (PTX ISA, "tld4").
    pub(crate) fn gather<F: Fetch>(
        &self,
        fetch: &mut F,
        at: [f32; 3],
        layer: u32,
        channel: usize,
    ) -> Result<Texel, F::Error> {
        let level = &self.levels[0];
        let slice = Some(self.slice(level, layer));
        let [x, y]: [[(Option<u32>, f32); 2]; 2] =
            core::array::from_fn(|i| self.pair(i, at[i], level.size[i]));
        let corners = [(0, 1), (1, 1), (1, 0), (0, 0)];
        let mut texel = [0; 4];
        for (result, (i, j)) in texel.iter_mut().zip(corners) {
            *result = self.texel(fetch, level, [x[i].0, y[j].0, slice])?[channel & 3];
        }
        Ok(texel)
    }

    fn slice(&self, level: &Level, layer: u32) -> u32 {
        match self.shape {
            Shape::Layered | Shape::Cube => layer.min(level.size[2] - 1),
            _ => 0,
        }
    }

    /// The texels that a coordinate lies between, and their weights.
    fn footprint(&self, direction: usize, x: f32, size: u32) -> [(Option<u32>, f32); 2] {
        if self.sampler.linear && self.gives_floats() {
            return self.pair(direction, x, size);
        }
        let edge = self.edge(direction);
        let x = self.placed(edge, x, size);
        [(resolve(edge, x.floor(), size), 1.0), (None, 0.0)]
    }

    fn pair(&self, direction: usize, x: f32, size: u32) -> [(Option<u32>, f32); 2] {
        let edge = self.edge(direction);
        let x = self.placed(edge, x, size) - 0.5;
        let (below, part) = (x.floor(), fraction(x - x.floor()));
        [
            (resolve(edge, below, size), 1.0 - part),
            (resolve(edge, below + 1.0, size), part),
        ]
    }

    fn edge(&self, direction: usize) -> Edge {
        if self.shape == Shape::Cube {
            return Edge::Clamp;
        }
        match self.sampler.edges[direction] {
            Edge::Wrap | Edge::Mirror if !self.sampler.normalized => Edge::Clamp,
            edge => edge,
        }
    }

    /// A coordinate in texels, in the first copy of the image.
    fn placed(&self, edge: Edge, x: f32, size: u32) -> f32 {
        // Beyond this, single precision has no fractions, and sizes are smaller.
        let x = if x.is_nan() { 0.0 } else { x.clamp(-1e9, 1e9) };
        if !self.sampler.normalized {
            return x;
        }
        let x = match edge {
            Edge::Wrap => x - x.floor(),
            Edge::Mirror if x.floor().rem_euclid(2.0) != 0.0 => 1.0 - (x - x.floor()),
            Edge::Mirror => x - x.floor(),
            _ => x,
        };
        x * size as f32
    }

    /// What an integer coordinate names. A buffer has a border of zeros.
    fn edge_of_integer(&self, direction: usize, x: i32, size: u32) -> Option<u32> {
        if (0..i64::from(size)).contains(&i64::from(x)) {
            return Some(x as u32);
        }
        match self.edge(direction) {
            Edge::Border => None,
            _ if self.shape == Shape::Buffer => None,
            _ => Some(x.clamp(0, size as i32 - 1) as u32),
        }
    }
}

/// The index of a texel, in the middle of which it lies or which a copy of the image has there.
fn resolve(edge: Edge, index: f32, size: u32) -> Option<u32> {
    let last = size - 1;
    match edge {
        Edge::Border if index < 0.0 || index > last as f32 => None,
        Edge::Wrap if index < 0.0 => Some(last),
        Edge::Wrap if index > last as f32 => Some(0),
        // The neighbour of the texel at a mirror is the same texel.
        _ => Some((index.max(0.0) as u32).min(last)),
    }
}

/// Weights have eight bits after the point.
fn fraction(x: f32) -> f32 {
    (x * 256.0).round() / 256.0
}

fn mix(parts: &[(Texel, f32)]) -> Texel {
    core::array::from_fn(|i| {
        let sum: f32 = parts
            .iter()
            .map(|(texel, weight)| f32::from_bits(texel[i]) * weight)
            .sum();
        sum.to_bits()
    })
}

/// What an sRGB-encoded value from 0 to 1 stands for.
fn linear(value: f32) -> f32 {
    if value <= 0.04045 {
        value / 12.92
    } else {
        ((value + 0.055) / 1.055).powf(2.4)
    }
}

/// The face of a cube that a direction meets, and where (CUDA C++ Programming Guide, "Cubemap
/// Textures"): face, and coordinates from 0 to 1.
pub(crate) fn cube_face([x, y, z]: [f32; 3]) -> (u32, [f32; 2]) {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let (face, m, s, t) = if ax >= ay && ax >= az {
        if x >= 0.0 {
            (0, ax, -z, -y)
        } else {
            (1, ax, z, -y)
        }
    } else if ay >= az {
        if y >= 0.0 {
            (2, ay, x, z)
        } else {
            (3, ay, x, -z)
        }
    } else if z >= 0.0 {
        (4, az, x, -y)
    } else {
        (5, az, -x, -y)
    };
    let place = |s: f32| if m == 0.0 { 0.5 } else { (s / m + 1.0) / 2.0 };
    (face, [place(s), place(t)])
}
