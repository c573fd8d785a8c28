// SPDX-License-Identifier: MIT OR Apache-2.0
//! Textures and surfaces (PTX ISA, "Texture Instructions" and "Surface Instructions").

use super::access::{illegal, misaligned};
use super::code::{Detail, Flow, Inst, LANES, Row};
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

/// Where a surface instruction is outside of the surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    Trap,
    Clamp,
    Zero,
}

/// What a surface instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SurfaceOp {
    Load,
    Store,
    /// Values are converted to the format of the surface; the first coordinate counts texels.
    StoreFormatted,
    Add,
    Min,
    Max,
    And,
    Or,
}

/// `suld`, `sust` and `sured`: rows are the results, the object, the layer, coordinates, values.
#[derive(Debug, Clone)]
pub(crate) struct Surface {
    pub geometry: Geometry,
    pub op: SurfaceOp,
    /// Bytes of an element; elements.
    pub bytes: u32,
    pub elements: u32,
    /// Bytes of a register that holds one.
    pub register: u32,
    /// Minimum and maximum are those of signed numbers.
    pub signed: bool,
    pub float: bool,
    pub outside: Outside,
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
fn image(cx: &Context<'_>, object: u64, last: &mut Option<(u64, Arc<Image>)>) -> bool {
    if last.as_ref().is_none_or(|(known, _)| *known != object) {
        let found = cx.images.and_then(|images| images.get(object));
        *last = found.map(|image| (object, image.clone()));
    }
    last.is_some()
}

#[cold]
fn unknown(cx: &mut Context<'_>, lane: usize, object: u64) -> Flow {
    let lane = lane as u32;
    cx.fail(Trouble::InvalidObject {
        lane,
        what: "use of the texture or surface object",
        object,
    })
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
    let (results, rest) = wide.rows.split_at(wide.writes);
    let [object, layer, rest @ ..] = rest else {
        return Flow::Fault;
    };
    let dimensions = s.geometry.dimensions();
    let (coordinates, more) = rest.split_at(dimensions);
    let mut last = None;
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let word = |row: Row| unsafe { *cx.row::<u32>(row).add(lane) };
        // SAFETY: as above.
        let object = unsafe { *cx.row::<u64>(*object).add(lane) };
        if !image(cx, object, &mut last) {
            return unknown(cx, lane, object);
        }
        let Some((_, image)) = &last else {
            return Flow::Fault;
        };
        let mut layer = if s.geometry.layered() {
            word(*layer)
        } else {
            0
        };
        let mut words = [0u32; 3];
        for (word_of, row) in words.iter_mut().zip(coordinates) {
            *word_of = word(*row);
        }
        let mut at = words.map(f32::from_bits);
        let mut dimensions = dimensions;
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
            Method::Level => more.first().map_or(0.0, |row| f32::from_bits(word(*row))),
            Method::Gradient => {
                let gradients: Vec<f32> =
                    more.iter().map(|row| f32::from_bits(word(*row))).collect();
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
            Ok(texel) => unsafe { returned(cx, s, results, lane, texel) },
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

/// `suld`, `sust` and `sured`
#[inline(always)]
unsafe fn surface_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let code = cx.code;
    let Some(wide) = code.wides.get(inst.imm as usize) else {
        return Flow::Fault;
    };
    let Detail::Surface(s) = &wide.detail else {
        return Flow::Fault;
    };
    let (results, rest) = wide.rows.split_at(wide.writes);
    let [object, layer, rest @ ..] = rest else {
        return Flow::Fault;
    };
    let dimensions = s.geometry.dimensions();
    let (coordinates, values) = rest.split_at(dimensions);
    let mut last = None;
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let word = |row: Row| unsafe { *cx.row::<u32>(row).add(lane) };
        // SAFETY: as above.
        let object = unsafe { *cx.row::<u64>(*object).add(lane) };
        if !image(cx, object, &mut last) {
            return unknown(cx, lane, object);
        }
        let Some((_, image)) = &last else {
            return Flow::Fault;
        };
        let mut at = [0i64; 3];
        for (at, row) in at.iter_mut().zip(coordinates) {
            *at = i64::from(word(*row) as i32);
        }
        if s.geometry.layered() {
            at[2] = word(*layer).into();
        }
        let formatted = s.op == SurfaceOp::StoreFormatted;
        let texel = image.texel_bytes();
        let bytes = if formatted {
            texel
        } else {
            s.bytes * s.elements
        };
        if formatted {
            at[0] *= i64::from(texel);
        }
        let level = &image.levels[0];
        let extent = [
            u64::from(level.size[0]) * u64::from(texel),
            level.size[1].into(),
            level.size[2].into(),
        ];
        let inside = |i: usize| {
            let width = if i == 0 { i64::from(bytes) } else { 1 };
            at[i] >= 0 && at[i] + width <= extent[i] as i64
        };
        let inside = [inside(0), inside(1), inside(2)];
        let place = |at: [i64; 3]| {
            level
                .address
                .wrapping_add((at[2] as u64).wrapping_mul(level.slice))
                .wrapping_add((at[1] as u64).wrapping_mul(level.row))
                .wrapping_add(at[0] as u64)
        };
        let access = if s.op == SurfaceOp::Load {
            "surface load"
        } else {
            "surface store"
        };
        if inside.contains(&false) {
            match s.outside {
                Outside::Trap => {
                    return illegal(cx, lane, place(at), bytes.into(), access, Space::Global);
                }
                Outside::Zero => {
                    // SAFETY: as above.
                    unsafe { load(cx, s, results, lane, 0) };
                    continue;
                }
                Outside::Clamp => {
                    let width = [u64::from(bytes), 1, 1];
                    for ((at, extent), width) in at.iter_mut().zip(extent).zip(width) {
                        *at = (*at).clamp(0, extent.saturating_sub(width) as i64);
                    }
                }
            }
        }
        let address = place(at);
        let unit = if formatted {
            image.channel.bytes().unwrap_or(1)
        } else {
            s.bytes
        };
        if !address.is_multiple_of(u64::from(bytes)) {
            return misaligned(cx, lane, address, bytes.into(), access, Space::Global);
        }
        let kind = match s.op {
            SurfaceOp::Load => watch::LOAD,
            SurfaceOp::Store | SurfaceOp::StoreFormatted => watch::STORE,
            _ => watch::ATOMIC,
        };
        cx.watch(kind, Space::Global, lane, address, bytes.into());
        if s.op != SurfaceOp::Load {
            cx.space.set_written(address, bytes.into());
        }
        let host = cx.space.locate(address, bytes.into(), &mut cx.region);
        let Some(host) = host else {
            return illegal(cx, lane, address, bytes.into(), access, Space::Global);
        };
        // SAFETY: the lowering stage checked the rows; `locate` vouches for all bytes.
        unsafe {
            match s.op {
                SurfaceOp::Load => {
                    let mut value = 0u128;
                    for e in 0..s.elements {
                        value |= u128::from(element(host, unit, e)) << (e * unit * 8 % 128);
                    }
                    load(cx, s, results, lane, value);
                }
                SurfaceOp::Store => {
                    for (e, &row) in values.iter().enumerate() {
                        let value = register(cx, row, s.register, lane);
                        put(host, unit, e as u32, value);
                    }
                }
                SurfaceOp::StoreFormatted => {
                    for e in 0..image.channels {
                        let value = values
                            .get(e as usize)
                            .map_or(0, |&row| word_of(cx, row, lane));
                        put(
                            host,
                            unit,
                            e,
                            converted(image.channel, value, s.float).into(),
                        );
                    }
                }
                op => {
                    let Some(&row) = values.first() else {
                        return Flow::Fault;
                    };
                    let value = register(cx, row, s.register, lane);
                    reduce(host, s, op, value);
                }
            }
        }
    }
    Flow::Next
}

/// # Safety
/// The row holds words.
unsafe fn word_of(cx: &Context<'_>, row: Row, lane: usize) -> u32 {
    // SAFETY: the caller vouches for the row.
    unsafe { *cx.row::<u32>(row).add(lane) }
}

/// # Safety
/// The row holds values of this many bytes.
unsafe fn register(cx: &Context<'_>, row: Row, bytes: u32, lane: usize) -> u64 {
    // SAFETY: the caller vouches for the row.
    unsafe {
        match bytes {
            2 => (*cx.row::<u16>(row).add(lane)).into(),
            4 => (*cx.row::<u32>(row).add(lane)).into(),
            _ => *cx.row::<u64>(row).add(lane),
        }
    }
}

/// # Safety
/// There are that many aligned elements at `host`.
unsafe fn element(host: *mut u8, bytes: u32, index: u32) -> u64 {
    // SAFETY: the caller vouches for the address.
    unsafe {
        let host = host.add((bytes * index) as usize);
        match bytes {
            1 => u8::load(host).into(),
            2 => u16::load(host).into(),
            4 => u32::load(host).into(),
            _ => u64::load(host),
        }
    }
}

/// # Safety
/// There are that many aligned elements at `host`.
unsafe fn put(host: *mut u8, bytes: u32, index: u32, value: u64) {
    // SAFETY: the caller vouches for the address.
    unsafe {
        let host = host.add((bytes * index) as usize);
        match bytes {
            1 => (value as u8).store(host),
            2 => (value as u16).store(host),
            4 => (value as u32).store(host),
            _ => value.store(host),
        }
    }
}

/// # Safety
/// The rows are of the width of the instruction's registers.
unsafe fn load(cx: &Context<'_>, s: &Surface, results: &[Row], lane: usize, value: u128) {
    for (e, &row) in results.iter().enumerate() {
        let value =
            (value >> (e as u32 * s.bytes * 8 % 128)) as u64 & (u64::MAX >> (64 - 8 * s.bytes));
        // SAFETY: the caller vouches for the rows.
        unsafe {
            match s.register {
                2 => *cx.row::<u16>(row).add(lane) = value as u16,
                4 => *cx.row::<u32>(row).add(lane) = value as u32,
                _ => *cx.row::<u64>(row).add(lane) = value,
            }
        }
    }
}

/// A value as the surface stores it: floats of normal formats as they are, integers clamped.
fn converted(channel: Channel, value: u32, float: bool) -> u32 {
    match channel {
        Channel::Half if float => encode(f32::from_bits(value).into(), HALF, NEAREST).into(),
        Channel::Unsigned(1) => value.min(0xff),
        Channel::Unsigned(2) => value.min(0xffff),
        Channel::Signed(1) => (value as i32).clamp(-128, 127) as u32,
        Channel::Signed(2) => (value as i32).clamp(-0x8000, 0x7fff) as u32,
        _ => value,
    }
}

/// # Safety
/// There is an aligned element at `host`.
unsafe fn reduce(host: *mut u8, s: &Surface, op: SurfaceOp, value: u64) {
    use super::atomic::AtomicValue;
    let narrow = s.bytes == 4;
    let combine = move |old: u64| match op {
        SurfaceOp::Add => old.wrapping_add(value),
        SurfaceOp::And => old & value,
        SurfaceOp::Or => old | value,
        SurfaceOp::Min | SurfaceOp::Max => {
            let key = |x: u64| match (s.signed, narrow) {
                (true, true) => i128::from(x as i32),
                (true, false) => i128::from(x as i64),
                (false, true) => i128::from(x as u32),
                (false, false) => i128::from(x),
            };
            if (key(value) < key(old)) == (op == SurfaceOp::Min) {
                value
            } else {
                old
            }
        }
        _ => old,
    };
    // SAFETY: the caller vouches for the address.
    unsafe {
        if narrow {
            u32::update(host, |old| combine(old.into()) as u32);
        } else {
            u64::update(host, combine);
        }
    }
}

/// `txq` and `suq`: row 0 the result, row 1 the object; `aux` is the query.
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
        let Some(query) = QUERIES.get(inst.aux as usize) else {
            return Flow::Fault;
        };
        let answer = answer(image, *query);
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

fn answer(image: &Image, query: Query) -> u32 {
    let [width, height, depth] = image.levels[0].size;
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
    one sample = sample_body;
    one surface = surface_body;
    one query = query_body;
}
