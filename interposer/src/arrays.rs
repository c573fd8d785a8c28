// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA arrays, and the texture and surface objects that are made of them or of linear memory.
//!
//! The texels of an array have addresses as if they were pitched device memory
//! ([`vcuda_protocol::Array`]), so that all ways of copying are those of [`copy`](crate::copy).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use vcuda_protocol::layout::MAX_DEVICES;
use vcuda_protocol::{Command, Pitch, Reply, Status, Texture, TextureLevel, TextureShape};

use crate::contexts::Device;
use crate::copy::Side;
use crate::graph::capture;
use crate::view::View;
use crate::{Result, contexts, error, memory, session};

const LAYERED: u32 = vcuda_protocol::Array::LAYERED;
const SURFACE: u32 = vcuda_protocol::Array::SURFACE;
const CUBEMAP: u32 = vcuda_protocol::Array::CUBEMAP;
const GATHER: u32 = vcuda_protocol::Array::GATHER;

/// `CU_TRSF_READ_AS_INTEGER` and `CU_TRSF_NORMALIZED_COORDINATES`
pub(crate) const AS_INTEGER: u32 = 1;
pub(crate) const NORMALIZED: u32 = 2;
pub(crate) const SRGB: u32 = 0x10;
/// `CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION` and `CU_TRSF_SEAMLESS_CUBEMAP`
pub(crate) const NO_TRILINEAR: u32 = 0x20;
pub(crate) const SEAMLESS: u32 = 0x40;

/// `CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT` and `..._TEXTURE_PITCH_ALIGNMENT`
const TEXTURE_ALIGNMENT: u32 = 14;
const TEXTURE_PITCH_ALIGNMENT: u32 = 51;

/// Width, height and depth as the program gave them: 0 where there is none. The depth of layered
/// arrays is the number of layers.
pub(crate) type Dimensions = [u64; 3];

/// What a texel is: `CUarray_format`, and how many channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) format: u32,
    pub(crate) channels: u32,
}

impl Format {
    /// Bytes of a texel, if there are such texels.
    pub(crate) fn bytes(self) -> Result<u64> {
        let bytes = vcuda_protocol::texel_bytes(self.format, self.channels);
        bytes.map(u64::from).ok_or(error::INVALID_VALUE)
    }

    fn is_float(self) -> bool {
        matches!(self.format, 0x10 | 0x20)
    }
}

/// An array, or a level of a mipmapped one.
#[derive(Clone)]
pub(crate) struct Array {
    pub(crate) device: &'static Device,
    pub(crate) format: Format,
    pub(crate) size: Dimensions,
    pub(crate) flags: u32,
    /// Where each level is; one, if this is no mipmapped array.
    levels: Vec<Level>,
    /// It is no level of another.
    owner: bool,
    mipmapped: bool,
}

#[derive(Clone, Copy)]
struct Level {
    address: u64,
    pitch: Pitch,
    size: Dimensions,
}

#[derive(Default)]
struct Tables {
    next_array: u64,
    arrays: BTreeMap<u64, Arc<Array>>,
    /// Texture and surface objects by their device and their number there.
    objects: BTreeMap<(u32, u64), Object>,
}

static TABLES: Mutex<Tables> = Mutex::new(Tables {
    next_array: 1,
    arrays: BTreeMap::new(),
    objects: BTreeMap::new(),
});

/// The device was reset.
pub(crate) fn forget(device: &Device) {
    let mut tables = TABLES.lock();
    tables
        .arrays
        .retain(|_, array| array.device.ordinal != device.ordinal);
    tables
        .objects
        .retain(|_, object| object.device.ordinal != device.ordinal);
}

/// Makes an array of this many levels, or as many as it can have; 0 for one that is not mipmapped.
/// Returns its handle.
pub(crate) fn create(
    device: &'static Device,
    format: Format,
    size: Dimensions,
    flags: u32,
    levels: u32,
) -> Result<u64> {
    capture::refuse_unsafe()?;
    format.bytes()?;
    let [width, height, depth] = size;
    let layered = flags & LAYERED != 0;
    let cube = flags & CUBEMAP != 0;
    let known = flags & !(LAYERED | SURFACE | CUBEMAP | GATHER) == 0;
    let shaped = match (cube, layered) {
        (true, false) => width == height && depth == 6,
        (true, true) => width == height && depth > 0 && depth % 6 == 0,
        (false, true) => depth > 0,
        (false, false) => depth == 0 || height > 0,
    };
    if width == 0 || !known || !shaped || !fits(device, size, flags, levels) {
        return Err(error::INVALID_VALUE);
    }
    let mut described = vcuda_protocol::Array {
        address: 0,
        format: format.format,
        channels: format.channels,
        size: size.map(|extent| extent as u32),
        flags,
        levels: 0,
    };
    described.levels = levels.min(described.most_levels());
    let made = memory::allocate_array(device, described)?;
    let places = made.places().ok_or(error::INVALID_VALUE)?;
    let level = |(level, place): (u32, TextureLevel)| Level {
        address: place.address,
        pitch: place.pitch,
        size: made.size_of(level).map(u64::from),
    };
    Ok(insert(Array {
        device,
        format,
        size,
        flags,
        levels: (0..).zip(places).map(level).collect(),
        owner: true,
        mipmapped: levels > 0,
    }))
}

/// Whether the device has textures, and if need be surfaces, of this size.
fn fits(device: &Device, size: Dimensions, flags: u32, levels: u32) -> bool {
    /// `CU_DEVICE_ATTRIBUTE_MAXIMUM_...`: the extents of textures and of surfaces of a kind, the
    /// attributes of each ascending from this one.
    const TEXTURE_1D: u32 = 21;
    const TEXTURE_2D: u32 = 22;
    const TEXTURE_3D: u32 = 24;
    const TEXTURE_2D_LAYERED: u32 = 27;
    const TEXTURE_1D_LAYERED: u32 = 42;
    const TEXTURE_2D_GATHER: u32 = 45;
    const TEXTURE_3D_ALTERNATE: u32 = 47;
    const TEXTURE_CUBE: u32 = 52;
    const TEXTURE_CUBE_LAYERED: u32 = 53;
    const SURFACE_1D: u32 = 55;
    const SURFACE_2D: u32 = 56;
    const SURFACE_3D: u32 = 58;
    const SURFACE_1D_LAYERED: u32 = 61;
    const SURFACE_2D_LAYERED: u32 = 63;
    const SURFACE_CUBE: u32 = 66;
    const SURFACE_CUBE_LAYERED: u32 = 67;
    const TEXTURE_2D_MIPMAPPED: u32 = 73;
    const TEXTURE_1D_MIPMAPPED: u32 = 77;
    let [width, height, depth] = size;
    // A device that names no limit has none.
    let within = |first: u32, extents: &[u64]| {
        (first..).zip(extents).all(|(attribute, &extent)| {
            let limit = device.attribute(attribute).filter(|&limit| limit > 0);
            limit.is_none_or(|limit| extent <= limit as u64)
        })
    };
    let is = |flag: u32| flags & flag != 0;
    let flat = height == 0;
    let texture = match (is(CUBEMAP), is(LAYERED)) {
        (true, true) => within(TEXTURE_CUBE_LAYERED, &[width, depth]),
        (true, false) => within(TEXTURE_CUBE, &[width]),
        (false, true) if flat => within(TEXTURE_1D_LAYERED, &[width, depth]),
        (false, true) => within(TEXTURE_2D_LAYERED, &[width, height, depth]),
        _ if depth > 0 => within(TEXTURE_3D, &size) || within(TEXTURE_3D_ALTERNATE, &size),
        _ if flat && levels > 0 => within(TEXTURE_1D_MIPMAPPED, &[width]),
        _ if flat => within(TEXTURE_1D, &[width]),
        _ if levels > 0 => within(TEXTURE_2D_MIPMAPPED, &[width, height]),
        _ if is(GATHER) => within(TEXTURE_2D_GATHER, &[width, height]),
        _ => within(TEXTURE_2D, &[width, height]),
    };
    let surface = match (is(CUBEMAP), is(LAYERED)) {
        _ if !is(SURFACE) => true,
        (true, true) => within(SURFACE_CUBE_LAYERED, &[width, depth]),
        (true, false) => within(SURFACE_CUBE, &[width]),
        (false, true) if flat => within(SURFACE_1D_LAYERED, &[width, depth]),
        (false, true) => within(SURFACE_2D_LAYERED, &[width, height, depth]),
        _ if depth > 0 => within(SURFACE_3D, &size),
        _ if flat => within(SURFACE_1D, &[width]),
        _ => within(SURFACE_2D, &[width, height]),
    };
    // Whatever the device says, no product of extents overflows.
    texture && surface && size.iter().all(|&extent| extent <= 1 << 17)
}

/// Handles look like pointers, which no device memory has.
fn insert(array: Array) -> u64 {
    const FIRST: u64 = 0x0a77_0000_0000_0000;
    let mut tables = TABLES.lock();
    let handle = FIRST + tables.next_array * 16;
    tables.next_array += 1;
    tables.arrays.insert(handle, Arc::new(array));
    handle
}

/// The array of a handle; `mipmapped` says which kind is asked for.
pub(crate) fn find(handle: u64, mipmapped: bool) -> Result<Arc<Array>> {
    let tables = TABLES.lock();
    let array = tables.arrays.get(&handle);
    let array = array.filter(|array| array.mipmapped == mipmapped);
    array.cloned().ok_or(error::INVALID_HANDLE)
}

/// Frees an array. A level lives as long as its mipmapped array.
pub(crate) fn destroy(handle: u64, mipmapped: bool) -> Result<()> {
    capture::refuse_unsafe()?;
    let array = find(handle, mipmapped)?;
    TABLES.lock().arrays.remove(&handle);
    match array.levels.first() {
        Some(level) if array.owner => memory::free_array(array.device, level.address),
        _ => Ok(()),
    }
}

/// A level of a mipmapped array as an array.
pub(crate) fn level(handle: u64, level: u32) -> Result<u64> {
    let array = find(handle, true)?;
    let place = array
        .levels
        .get(level as usize)
        .ok_or(error::INVALID_VALUE)?;
    let one = Array {
        size: place.size,
        levels: vec![*place],
        owner: false,
        mipmapped: false,
        ..(*array).clone()
    };
    Ok(insert(one))
}

impl Array {
    fn first(&self) -> Result<Level> {
        self.levels.first().copied().ok_or(error::INVALID_VALUE)
    }

    /// The box of `extent` bytes, rows and slices from a corner on, for a copy.
    pub(crate) fn side(&self, corner: [u64; 3], extent: [u64; 3]) -> Result<Side> {
        let level = self.first()?;
        let row = level.size[0] * self.format.bytes()?;
        let limits = [row, level.size[1].max(1), level.size[2].max(1)];
        for i in 0..3 {
            let end = corner[i].checked_add(extent[i]);
            if end.is_none_or(|end| end > limits[i]) {
                return Err(error::INVALID_VALUE);
            }
        }
        let [x, y, z] = corner;
        Ok(Side {
            address: level.address + z * level.pitch.slice + y * level.pitch.row + x,
            pitch: level.pitch,
        })
    }

    /// Bytes of a row.
    pub(crate) fn row_bytes(&self) -> Result<u64> {
        Ok(self.first()?.size[0] * self.format.bytes()?)
    }
}

/// What an object is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    Array(u64),
    Mipmapped(u64),
    Linear {
        address: u64,
        format: Format,
        bytes: u64,
    },
    Pitched {
        address: u64,
        format: Format,
        width: u64,
        height: u64,
        pitch: u64,
    },
}

impl Resource {
    /// The resource as both APIs describe it: its kind (`CUresourcetype`), its handle or address, and
    /// of memory the format and the bytes; or width, height and pitch.
    pub(crate) fn parts(self) -> (u32, u64, Option<Format>, [usize; 3]) {
        let (kind, handle, format, sizes) = match self {
            Resource::Array(handle) => (0, handle, None, [0; 3]),
            Resource::Mipmapped(handle) => (1, handle, None, [0; 3]),
            Resource::Linear {
                address,
                format,
                bytes,
            } => (2, address, Some(format), [bytes, 0, 0]),
            Resource::Pitched {
                address,
                format,
                width,
                height,
                pitch,
            } => (3, address, Some(format), [width, height, pitch]),
        };
        (kind, handle, format, sizes.map(|size| size as usize))
    }

    /// The resource that is described so. Arrays are not asked for a format.
    pub(crate) fn of_parts(
        kind: u32,
        handle: u64,
        format: impl FnOnce() -> Result<Format>,
        sizes: [usize; 3],
    ) -> Result<Self> {
        let [first, height, pitch] = sizes.map(|size| size as u64);
        Ok(match kind {
            0 => Resource::Array(handle),
            1 => Resource::Mipmapped(handle),
            2 => Resource::Linear {
                address: handle,
                format: format()?,
                bytes: first,
            },
            3 => Resource::Pitched {
                address: handle,
                format: format()?,
                width: first,
                height,
                pitch,
            },
            _ => return Err(error::INVALID_VALUE),
        })
    }
}

/// How a texture is read; numbers are those of the Driver API.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) address_modes: [u32; 3],
    pub(crate) filter: u32,
    pub(crate) level_filter: u32,
    pub(crate) flags: u32,
    pub(crate) border: [f32; 4],
    pub(crate) level_bias: f32,
    pub(crate) level_clamp: [f32; 2],
    /// The CPU device reads texels as if it were 1, as CUDA allows.
    pub(crate) max_anisotropy: u32,
}

/// A texture or surface object, as it was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Object {
    device: &'static Device,
    pub(crate) resource: Resource,
    /// `None` for a surface.
    pub(crate) reading: Option<Reading>,
    pub(crate) view: Option<View>,
}

/// Looks for an object by its number: among those of the current device, and then of the others,
/// which may have the same numbers.
fn find_object(
    object: u64,
    mut look: impl FnMut(&mut BTreeMap<(u32, u64), Object>, (u32, u64)) -> Option<Object>,
) -> Option<Object> {
    let current = contexts::current_context().map(|context| context.ordinal);
    let mut tables = TABLES.lock();
    let devices = current.into_iter().chain(0..MAX_DEVICES as u32);
    let mut found = devices.map(|device| look(&mut tables.objects, (device, object)));
    found.find_map(|object| object)
}

/// The texture object of a number.
pub(crate) fn texture_object(object: u64) -> Result<(Object, Reading)> {
    find_object(object, |objects, key| objects.get(&key).copied())
        .and_then(|object| Some((object, object.reading?)))
        .ok_or(error::INVALID_VALUE)
}

/// The surface object of a number.
pub(crate) fn surface_object(object: u64) -> Result<Object> {
    find_object(object, |objects, key| objects.get(&key).copied())
        .filter(|object| object.reading.is_none())
        .ok_or(error::INVALID_VALUE)
}

/// Makes a texture object, or with no reading a surface object. Returns its number.
pub(crate) fn create_object(
    device: &'static Device,
    resource: Resource,
    reading: Option<Reading>,
    view: Option<View>,
) -> Result<u64> {
    /// `CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH`
    const MAX_WIDTH: u32 = 21;
    if device.attribute(MAX_WIDTH) == Some(0) {
        return Err(error::unsupported("textures and surfaces on this device"));
    }
    let entry = Object {
        device,
        resource,
        reading,
        view,
    };
    let (mut format, shape, mut levels) = describe(device, resource, reading.is_none())?;
    // The format that counts is that of the resource, not that of a view, as on a GPU.
    let reading = match reading {
        Some(reading) => check(format, shape, reading)?,
        None => Reading::default(),
    };
    if let Some(view) = view {
        format = view.apply(resource, format, shape, &mut levels)?;
    }
    let texture = Texture {
        format: format.format,
        channels: format.channels,
        shape,
        levels,
        address_modes: reading.address_modes,
        filter: reading.filter,
        level_filter: reading.level_filter,
        flags: reading.flags,
        border: reading.border,
        level_bias: reading.level_bias,
        level_clamp: reading.level_clamp,
        max_anisotropy: reading.max_anisotropy,
        surface: entry.reading.is_none(),
    };
    let reply = session::get()?.call(&Command::TextureCreate {
        device: device.wire,
        object: 0,
        texture,
    })?;
    let Reply::Object(object) = reply else {
        return Err(contexts::unexpected("TextureCreate", &reply));
    };
    TABLES
        .lock()
        .objects
        .insert((device.ordinal, object), entry);
    Ok(object)
}

pub(crate) fn destroy_object(object: u64) -> Result<()> {
    let removed = find_object(object, |objects, key| objects.remove(&key));
    let device = removed.ok_or(error::INVALID_HANDLE)?.device;
    session::get()?.post(&Command::TextureDestroy {
        device: device.wire,
        object,
    })
}

fn describe(
    device: &'static Device,
    resource: Resource,
    surface: bool,
) -> Result<(Format, TextureShape, Vec<TextureLevel>)> {
    let size = |extent: u64| u32::try_from(extent.max(1)).map_err(|_| error::INVALID_VALUE);
    let aligned = |attribute: u32, value: u64| {
        let align = device.attribute(attribute).unwrap_or(1).max(1) as u64;
        value
            .is_multiple_of(align)
            .then_some(())
            .ok_or(error::INVALID_VALUE)
    };
    match resource {
        Resource::Array(handle) | Resource::Mipmapped(handle) => {
            let array = find(handle, matches!(resource, Resource::Mipmapped(_)))?;
            if array.device.ordinal != device.ordinal || surface && array.mipmapped {
                return Err(error::INVALID_VALUE);
            }
            let shape = match array.flags & (CUBEMAP | LAYERED) {
                0 => TextureShape::Plain,
                LAYERED => TextureShape::Layered,
                _ => TextureShape::Cube,
            };
            let levels = array.levels.iter().map(|level| {
                let [x, y, z] = level.size;
                Ok(TextureLevel {
                    address: level.address,
                    pitch: level.pitch,
                    size: [size(x)?, size(y)?, size(z)?],
                })
            });
            Ok((array.format, shape, levels.collect::<Result<_>>()?))
        }
        _ if surface => Err(error::INVALID_VALUE),
        Resource::Linear {
            address,
            format,
            bytes,
        } => {
            aligned(TEXTURE_ALIGNMENT, address)?;
            let texels = bytes / format.bytes()?;
            if address == 0 || texels == 0 {
                return Err(error::INVALID_VALUE);
            }
            let level = TextureLevel {
                address,
                pitch: Pitch::default(),
                size: [size(texels)?, 1, 1],
            };
            Ok((format, TextureShape::Buffer, vec![level]))
        }
        Resource::Pitched {
            address,
            format,
            width,
            height,
            pitch,
        } => {
            aligned(TEXTURE_ALIGNMENT, address)?;
            if height > 1 {
                aligned(TEXTURE_PITCH_ALIGNMENT, pitch)?;
            }
            let row = width.checked_mul(format.bytes()?);
            if address == 0 || width == 0 || height == 0 || row.is_none_or(|row| row > pitch) {
                return Err(error::INVALID_VALUE);
            }
            let level = TextureLevel {
                address,
                pitch: Pitch {
                    row: pitch,
                    slice: 0,
                },
                size: [size(width)?, size(height)?, 1],
            };
            Ok((format, TextureShape::Plain, vec![level]))
        }
    }
}

/// Linear filters mix numbers: texels that are read as integers have none (CUDA Runtime API,
/// `cudaErrorInvalidFilterSetting` and `cudaErrorInvalidNormSetting`).
fn check(format: Format, shape: TextureShape, reading: Reading) -> Result<Reading> {
    let integers = !format.is_float();
    let wide = matches!(format.format, 0x03 | 0x0a);
    let as_integer = reading.flags & AS_INTEGER != 0;
    if integers && wide && !as_integer {
        return Err(Status(vcuda_api::error::INVALID_NORM_SETTING));
    }
    let linear = reading.filter != 0 && shape != TextureShape::Buffer;
    if integers && as_integer && linear {
        return Err(Status(vcuda_api::error::INVALID_FILTER_SETTING));
    }
    let known = reading.address_modes.iter().all(|&mode| mode <= 3)
        && reading.filter <= 1
        && reading.level_filter <= 1;
    if !known {
        return Err(error::INVALID_VALUE);
    }
    Ok(reading)
}
