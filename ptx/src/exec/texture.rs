// SPDX-License-Identifier: MIT OR Apache-2.0
//! Textures, and what is asked of textures and surfaces (PTX ISA, "Texture Instructions").

use super::access::illegal;
use super::code::{Detail, Flow, Inst, LANES, Row, Wide};
use super::context::Context;
use super::fault::Trouble;
use super::isa::handlers;
use super::value::Value;
use super::watch;
use crate::image::{At, Channel, Fetch, Image, Shape, Texel, cube_face};
use crate::numeric::{HALF, NEAREST, encode};
use crate::parse::ast::Space;
use std::sync::Arc;

/// What an instruction expects of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Geometry {
    Line,
    Plane,
    Volume,
    Lines,
    Planes,
    Cube,
    Cubes,
}

impl Geometry {
    /// Coordinates, without that of the layer.
    pub fn dimensions(self) -> usize {
        match self {
            Geometry::Line | Geometry::Lines => 1,
            Geometry::Plane | Geometry::Planes => 2,
            Geometry::Volume | Geometry::Cube | Geometry::Cubes => 3,
        }
    }

    /// A layer stands before the coordinates.
    pub fn layered(self) -> bool {
        matches!(self, Geometry::Lines | Geometry::Planes | Geometry::Cubes)
    }
}

/// What a texture instruction returns in each of four registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    Words,
    /// Two registers with two halves each.
    Halves,
}

/// How the level of detail is found, or which channel of four texels is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Base,
    /// The row after the coordinates is the level.
    Level,
    /// The rows after the coordinates are the gradients.
    Gradient,
    Gather(usize),
}

/// `tex` and `tld4`: rows are the results, the object, the layer, coordinates, and what the method
/// needs.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub geometry: Geometry,
    pub integer: bool,
    pub returned: Returned,
    pub method: Method,
}

/// What is asked of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    Width,
    Height,
    Depth,
    Layers,
    Levels,
    Samples,
    Normalized,
    DataType,
    Order,
}

/// Memory as a lane reads it.
struct Memory<'a, 'b>(&'a mut Context<'b>, usize);

impl Fetch for Memory<'_, '_> {
    type Error = u64;

    fn fetch(&mut self, address: u64, bytes: u32) -> Result<u128, u64> {
        let unit = bytes.min(4);
        let aligned = address.is_multiple_of(unit.into());
        let host = self
            .0
            .space
            .locate(address, bytes.into(), &mut self.0.region);
        let host = host.filter(|_| aligned).ok_or(address)?;
        (self.0).watch(watch::LOAD, Space::Global, self.1, address, bytes.into());
        let mut value = 0;
        for at in (0..bytes).step_by(unit as usize) {
            // SAFETY: `locate` vouches for all bytes; units are aligned.
            let part = unsafe {
                match unit {
                    1 => u128::from(u8::load(host.add(at as usize))),
                    2 => u128::from(u16::load(host.add(at as usize))),
                    _ => u128::from(u32::load(host.add(at as usize))),
                }
            };
            value |= part << (8 * at);
        }
        Ok(value)
    }
}

/// The image of an object; the last one found is at hand.
pub(super) fn image(cx: &Context<'_>, object: u64, last: &mut Option<(u64, Arc<Image>)>) -> bool {
    if last.as_ref().is_none_or(|(known, _)| *known != object) {
        let found = cx.images.and_then(|images| images.get(object));
        *last = found.map(|image| (object, image.clone()));
    }
    last.is_some()
}

#[cold]
pub(super) fn unknown(cx: &mut Context<'_>, lane: usize, object: u64) -> Flow {
    let lane = lane as u32;
    cx.fail(Trouble::InvalidObject {
        lane,
        what: "use of the texture or surface object",
        object,
    })
}

/// The rows of an instruction on an object.
pub(super) struct Operands<'a> {
    pub results: &'a [Row],
    object: Row,
    layer: Row,
    coordinates: &'a [Row],
    pub more: &'a [Row],
}

impl<'a> Operands<'a> {
    /// Of a wide instruction's rows: results, the object, the layer, coordinates, more.
    pub fn of(wide: &'a Wide, geometry: Geometry) -> Option<Self> {
        let (results, rest) = wide.rows.split_at(wide.writes);
        let [object, layer, rest @ ..] = rest else {
            return None;
        };
        let (coordinates, more) = rest.split_at_checked(geometry.dimensions())?;
        Some(Operands {
            results,
            object: *object,
            layer: *layer,
            coordinates,
            more,
        })
    }

    /// The object of a lane.
    ///
    /// # Safety
    /// The row of the object has double words.
    pub unsafe fn object(&self, cx: &Context<'_>, lane: usize) -> u64 {
        // SAFETY: the caller vouches for the row.
        unsafe { *cx.row::<u64>(self.object).add(lane) }
    }

    /// The layer and the coordinates of a lane.
    ///
    /// # Safety
    /// The other rows have words.
    pub unsafe fn place(
        &self,
        cx: &Context<'_>,
        lane: usize,
        geometry: Geometry,
    ) -> (u32, [u32; 3]) {
        // SAFETY: the caller vouches for the rows.
        let word = |row: Row| unsafe { *cx.row::<u32>(row).add(lane) };
        let layer = match geometry.layered() {
            true => word(self.layer),
            false => 0,
        };
        let mut coordinates = [0; 3];
        for (to, row) in coordinates.iter_mut().zip(self.coordinates) {
            *to = word(*row);
        }
        (layer, coordinates)
    }
}

/// `tex` and `tld4`
#[inline(always)]
unsafe fn sample_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let code = cx.code;
    let Some(wide) = code.wides.get(inst.imm as usize) else {
        return Flow::Fault;
    };
    let Detail::Sample(s) = &wide.detail else {
        return Flow::Fault;
    };
    let Some(operands) = Operands::of(wide, s.geometry) else {
        return Flow::Fault;
    };
    let mut last = None;
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let word = |row: Row| unsafe { *cx.row::<u32>(row).add(lane) };
        // SAFETY: as above.
        let (object, (mut layer, words)) = unsafe {
            (
                operands.object(cx, lane),
                operands.place(cx, lane, s.geometry),
            )
        };
        if !image(cx, object, &mut last) {
            return unknown(cx, lane, object);
        }
        let Some((_, image)) = &last else {
            return Flow::Fault;
        };
        let mut at = words.map(f32::from_bits);
        let mut dimensions = s.geometry.dimensions();
        if matches!(s.geometry, Geometry::Cube | Geometry::Cubes) {
            let (face, [x, y]) = cube_face(at);
            let scale = |x: f32, size: u32| {
                if image.sampler.normalized {
                    x
                } else {
                    x * size as f32
                }
            };
            let size = image.levels[0].size;
            at = [scale(x, size[0]), scale(y, size[1]), 0.0];
            layer = layer.saturating_mul(6).saturating_add(face);
            dimensions = 2;
        }
        let lod = match s.method {
            Method::Level => operands
                .more
                .first()
                .map_or(0.0, |row| f32::from_bits(word(*row))),
            Method::Gradient => {
                let gradients: Vec<f32> = operands
                    .more
                    .iter()
                    .map(|row| f32::from_bits(word(*row)))
                    .collect();
                level_of(image, &gradients)
            }
            _ => 0.0,
        };
        let texel = match s.method {
            Method::Gather(channel) => image.gather(&mut Memory(cx, lane), at, layer, channel),
            _ if s.integer => {
                let at = At::Integer(words.map(|word| word as i32));
                image.sample(&mut Memory(cx, lane), at, dimensions, layer, lod)
            }
            _ => image.sample(&mut Memory(cx, lane), At::Float(at), dimensions, layer, lod),
        };
        let bytes = image.texel_bytes();
        match texel {
            // SAFETY: as above.
            Ok(texel) => unsafe { returned(cx, s, operands.results, lane, texel) },
            Err(address) => {
                return illegal(
                    cx,
                    lane,
                    address,
                    bytes.into(),
                    "texture load",
                    Space::Global,
                );
            }
        }
    }
    Flow::Next
}

/// # Safety
/// The rows hold words.
unsafe fn returned(cx: &Context<'_>, s: &Sample, results: &[Row], lane: usize, texel: Texel) {
    match s.returned {
        Returned::Words => {
            for (&row, value) in results.iter().zip(texel) {
                // SAFETY: the caller vouches for the rows.
                unsafe { *cx.row::<u32>(row).add(lane) = value };
            }
        }
        Returned::Halves => {
            let half = |bits: u32| u32::from(encode(f32::from_bits(bits).into(), HALF, NEAREST));
            for (&row, pair) in results.iter().zip(texel.chunks(2)) {
                // SAFETY: the caller vouches for the rows.
                unsafe { *cx.row::<u32>(row).add(lane) = half(pair[1]) << 16 | half(pair[0]) };
            }
        }
    }
}

/// The level of detail of gradients: first all by x, then all by y.
fn level_of(image: &Image, gradients: &[f32]) -> f32 {
    let size = image.levels[0].size;
    let length = |part: &[f32]| {
        let squares = part.iter().zip(size).map(|(gradient, size)| {
            let texels = if image.sampler.normalized {
                gradient * size as f32
            } else {
                *gradient
            };
            texels * texels
        });
        squares.sum::<f32>().sqrt()
    };
    let (x, y) = gradients.split_at(gradients.len() / 2);
    length(x).max(length(y)).log2()
}

/// Set in `aux` if the query is about a level of a mipmap.
pub(crate) const OF_LEVEL: u64 = 1 << 8;

/// `txq` and `suq`: row 0 the result, row 1 the object, row 2 the level if there is one; `aux` is the
/// query.
#[inline(always)]
unsafe fn query_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let mut last = None;
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let object = unsafe { *cx.row::<u64>(inst.rows[1]).add(lane) };
        if !image(cx, object, &mut last) {
            return unknown(cx, lane, object);
        }
        let Some((_, image)) = &last else {
            return Flow::Fault;
        };
        let Some(query) = QUERIES.get((inst.aux & !OF_LEVEL) as usize) else {
            return Flow::Fault;
        };
        let level = match inst.aux & OF_LEVEL {
            0 => 0,
            // SAFETY: as above.
            _ => unsafe { *cx.row::<u32>(inst.rows[2]).add(lane) },
        };
        let answer = answer(image, *query, level);
        // SAFETY: as above.
        unsafe { *cx.row::<u32>(inst.rows[0]).add(lane) = answer };
    }
    Flow::Next
}

/// Queries by number.
pub(crate) const QUERIES: [Query; 9] = [
    Query::Width,
    Query::Height,
    Query::Depth,
    Query::Layers,
    Query::Levels,
    Query::Samples,
    Query::Normalized,
    Query::DataType,
    Query::Order,
];

fn answer(image: &Image, query: Query, level: u32) -> u32 {
    let level = image.levels.get(level as usize);
    let [width, height, depth] = level.map_or([0; 3], |level| level.size);
    match query {
        Query::Width => width,
        Query::Height => height,
        Query::Depth if image.shape == Shape::Plain => depth,
        Query::Depth => 0,
        Query::Layers if matches!(image.shape, Shape::Layered | Shape::Cube) => depth,
        Query::Layers => 0,
        Query::Levels => image.levels.len() as u32,
        Query::Samples => 1,
        Query::Normalized => image.sampler.normalized.into(),
        // PTX ISA, "Channel Data Type and Channel Order Fields": the numbers of OpenCL.
        Query::DataType => match image.channel {
            Channel::Signed(1) => 0x10d7,
            Channel::Signed(2) => 0x10d8,
            Channel::Signed(_) => 0x10d9,
            Channel::Unsigned(1) => 0x10da,
            Channel::Unsigned(2) => 0x10db,
            Channel::Unsigned(_) => 0x10dc,
            Channel::Half => 0x10dd,
            Channel::Float => 0x10de,
        },
        Query::Order => match image.channels {
            1 => 0x10b0,
            2 => 0x10b2,
            _ => 0x10b5,
        },
    }
}

handlers! {
    one sample = sample_body as Memory;
    one query = query_body as Memory;
}
