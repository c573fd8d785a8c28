// SPDX-License-Identifier: MIT OR Apache-2.0
//! Arrays, and texture and surface objects, which are numbered as a GPU's driver does: from 1 on in
//! each context, all together, and some numbers are the driver's own.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use vcuda_protocol::{Array, Pitch, Texture, TextureLevel, TextureShape, texel_bytes};

use crate::{
    CURRENT, Code, Gpu, INVALID_VALUE, MEMORY, OUT_OF_MEMORY, code, current, ok, put, wait,
};

/// `CUarray` and `CUmipmappedArray` by handle.
static ARRAYS: Mutex<Handles> = Mutex::new(Handles {
    next: 1,
    made: BTreeMap::new(),
});

/// The highest number that a texture or surface object has on each device.
static OBJECTS: Mutex<BTreeMap<usize, u64>> = Mutex::new(BTreeMap::new());

struct Handles {
    next: u64,
    made: BTreeMap<u64, Made>,
}

/// An array, or a level of a mipmapped one.
#[derive(Clone)]
pub(crate) struct Made {
    device: usize,
    of: Array,
    places: Vec<TextureLevel>,
    owner: bool,
}

impl Handles {
    fn insert(&mut self, made: Made) -> u64 {
        let handle = 0xa_0000_0000 + self.next * 16;
        self.next += 1;
        self.made.insert(handle, made);
        handle
    }

    fn get(&self, handle: u64) -> Result<Made, Code> {
        self.made.get(&handle).cloned().ok_or(INVALID_VALUE)
    }
}

/// What a context that is destroyed takes with it.
pub(crate) fn forget(device: usize) {
    ARRAYS.lock().made.retain(|_, made| made.device != device);
    OBJECTS.lock().remove(&device);
}

/// The address and pitches of texels of an array, for a copy.
pub(crate) fn texels(handle: u64, at: [usize; 3]) -> Result<(u64, Pitch), Code> {
    let made = ARRAYS.lock().get(handle)?;
    let place = made.places.first().ok_or(INVALID_VALUE)?;
    let [x, y, z] = at.map(|n| n as u64);
    let address = place.address + z * place.pitch.slice + y * place.pitch.row + x;
    Ok((address, place.pitch))
}

/// `CUDA_ARRAY3D_DESCRIPTOR`
#[repr(C)]
struct Descriptor {
    size: [usize; 3],
    format: u32,
    channels: u32,
    flags: u32,
}

fn create(descriptor: *const Descriptor, levels: u32) -> Result<u64, Code> {
    let gpu = current()?;
    // SAFETY: the caller passes a pointer to the structure.
    let descriptor = unsafe { &*descriptor };
    let mut of = Array {
        address: 0,
        format: descriptor.format,
        channels: descriptor.channels,
        size: descriptor.size.map(|extent| extent as u32),
        flags: descriptor.flags,
        levels: 0,
    };
    of.levels = levels.min(of.most_levels());
    let size = of.bytes().ok_or(INVALID_VALUE)?;
    let room = |used: u64| used.checked_add(size).filter(|&all| all <= MEMORY);
    let taken = gpu
        .created
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, room);
    taken.map_err(|_| OUT_OF_MEMORY)?;
    let device = CURRENT.get() - 1;
    let mut arrays = ARRAYS.lock();
    of.address = free_address(&arrays, gpu, device, size);
    if let Err(status) = ok(gpu.device.array_create(&of, 0)) {
        gpu.created.fetch_sub(size, Ordering::Relaxed);
        return Err(status);
    }
    if arrays.next.is_multiple_of(4) {
        *OBJECTS.lock().entry(device).or_default() += 1;
    }
    Ok(arrays.insert(Made {
        device,
        places: of.places().ok_or(INVALID_VALUE)?,
        of,
        owner: true,
    }))
}

/// The first gap between a device's arrays that is large enough.
fn free_address(arrays: &Handles, gpu: &Gpu, device: usize, size: u64) -> u64 {
    let mut taken: Vec<(u64, u64)> = (arrays.made.values())
        .filter(|made| made.device == device && made.owner)
        .map(|made| (made.of.address, made.of.bytes().unwrap_or(0)))
        .collect();
    taken.sort_unstable();
    let mut address = gpu.info.arrays().0;
    for (from, len) in taken {
        if from - address >= size {
            break;
        }
        address = (from + len).next_multiple_of(512);
    }
    address
}

/// Waits for all work, as a GPU's driver does.
fn destroy(handle: u64) -> Result<(), Code> {
    let gpu = current()?;
    let made = ARRAYS.lock().made.remove(&handle).ok_or(INVALID_VALUE)?;
    let size = made.of.bytes().unwrap_or(0);
    wait(|done| gpu.device.array_destroy(made.of.address, done))?;
    gpu.created.fetch_sub(size, Ordering::Relaxed);
    Ok(())
}

#[unsafe(no_mangle)]
extern "C" fn cuArray3DCreate_v2(to: *mut u64, descriptor: *const Descriptor) -> Code {
    code(create(descriptor, 0).and_then(|array| put(to, array)))
}

#[unsafe(no_mangle)]
extern "C" fn cuArrayDestroy(array: u64) -> Code {
    code(destroy(array))
}

#[unsafe(no_mangle)]
extern "C" fn cuMipmappedArrayCreate(
    to: *mut u64,
    descriptor: *const Descriptor,
    levels: u32,
) -> Code {
    code(create(descriptor, levels.max(1)).and_then(|array| put(to, array)))
}

#[unsafe(no_mangle)]
extern "C" fn cuMipmappedArrayGetLevel(to: *mut u64, array: u64, level: u32) -> Code {
    code((|| {
        let mut arrays = ARRAYS.lock();
        let made = arrays.get(array)?;
        let place = *made.places.get(level as usize).ok_or(INVALID_VALUE)?;
        let one = Made {
            places: vec![place],
            owner: false,
            ..made
        };
        put(to, arrays.insert(one))
    })())
}

#[unsafe(no_mangle)]
extern "C" fn cuMipmappedArrayDestroy(array: u64) -> Code {
    code(destroy(array))
}

/// `CUDA_RESOURCE_DESC`
#[repr(C)]
struct Resource {
    kind: u32,
    handle: u64,
    format: u32,
    channels: u32,
    sizes: [usize; 3],
    reserved: [u64; 11],
    flags: u32,
}

/// `CUDA_TEXTURE_DESC`
#[repr(C)]
#[derive(Default)]
struct Reading {
    address_modes: [u32; 3],
    filter: u32,
    flags: u32,
    max_anisotropy: u32,
    level_filter: u32,
    level_bias: f32,
    level_clamp: [f32; 2],
    border: [f32; 4],
    reserved: [u32; 12],
}

/// `CUDA_RESOURCE_VIEW_DESC`
#[repr(C)]
struct View {
    format: u32,
    size: [usize; 3],
    levels: [u32; 2],
    layers: [u32; 2],
    reserved: [u32; 16],
}

fn describe(resource: &Resource, reading: &Reading, surface: bool) -> Result<Texture, Code> {
    const CUBE: u32 = Array::CUBEMAP;
    let (format, channels) = (resource.format, resource.channels);
    let level = |size: [usize; 3], row: usize| TextureLevel {
        address: resource.handle,
        pitch: Pitch {
            row: row as u64,
            slice: 0,
        },
        size: size.map(|extent| extent as u32),
    };
    let [a, b, c] = resource.sizes;
    let (format, channels, shape, levels) = match resource.kind {
        0 | 1 => {
            let made = ARRAYS.lock().get(resource.handle)?;
            let shape = match made.of.flags & (CUBE | Array::LAYERED) {
                0 => TextureShape::Plain,
                Array::LAYERED => TextureShape::Layered,
                _ => TextureShape::Cube,
            };
            (made.of.format, made.of.channels, shape, made.places)
        }
        2 => {
            let texel = texel_bytes(format, channels).ok_or(INVALID_VALUE)? as usize;
            let line = level([a / texel, 1, 1], 0);
            (format, channels, TextureShape::Buffer, vec![line])
        }
        3 => (
            format,
            channels,
            TextureShape::Plain,
            vec![level([a, b, 1], c)],
        ),
        _ => return Err(INVALID_VALUE),
    };
    Ok(Texture {
        format,
        channels,
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
        surface,
    })
}

fn apply(view: &View, texture: &mut Texture) -> Result<(), Code> {
    const KINDS: [u32; 8] = [0x01, 0x08, 0x02, 0x09, 0x03, 0x0a, 0x10, 0x20];
    let texel = texel_bytes(texture.format, texture.channels);
    if let Some(index) = view.format.checked_sub(1) {
        texture.format = *KINDS.get(index as usize / 3).ok_or(INVALID_VALUE)?;
        texture.channels = 1 << (index % 3);
    }
    let size = texture.levels.first().ok_or(INVALID_VALUE)?.size;
    let same = view.size.map(|extent| extent.max(1) as u32) == size;
    let [first, last] = view.levels.map(|level| level as usize);
    if !same || texel != texel_bytes(texture.format, texture.channels) {
        return Err(INVALID_VALUE);
    }
    let levels = texture.levels.get(first..=last).ok_or(INVALID_VALUE)?;
    texture.levels = levels.to_vec();
    let slices = match texture.shape {
        TextureShape::Layered => 1,
        TextureShape::Cube => 6,
        _ => return Ok(()),
    };
    let [first, last] = view.layers;
    for level in &mut texture.levels {
        if first > last || last >= level.size[2] {
            return Err(INVALID_VALUE);
        }
        let there = (level.size[2] - first) / slices * slices;
        level.address += u64::from(first) * level.pitch.slice;
        level.size[2] = there.min((last - first + 1) * slices);
    }
    Ok(())
}

fn create_object(to: *mut u64, texture: &Texture) -> Result<(), Code> {
    let gpu = current()?;
    let device = CURRENT.get() - 1;
    let mut objects = OBJECTS.lock();
    let last = objects.entry(device).or_default();
    let made = ok(gpu.device.texture_create(*last + 1, texture))?;
    *last = made;
    put(to, made)
}

fn destroy_object(number: u64) -> Result<(), Code> {
    let gpu = current()?;
    ok(gpu.device.texture_destroy(number))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuTexObjectCreate(
    to: *mut u64,
    resource: *const Resource,
    reading: *const Reading,
    view: *const View,
) -> Code {
    // SAFETY: the caller passes pointers to the structures; there need not be a view.
    let (resource, reading, view) = unsafe { (&*resource, &*reading, view.as_ref()) };
    let texture = describe(resource, reading, false).and_then(|mut texture| {
        view.map_or(Ok(()), |view| apply(view, &mut texture))?;
        Ok(texture)
    });
    code(texture.and_then(|texture| create_object(to, &texture)))
}

#[unsafe(no_mangle)]
extern "C" fn cuTexObjectDestroy(number: u64) -> Code {
    code(destroy_object(number))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuSurfObjectCreate(to: *mut u64, resource: *const Resource) -> Code {
    // SAFETY: the caller passes a pointer to the structure.
    let texture = describe(unsafe { &*resource }, &Reading::default(), true);
    code(texture.and_then(|texture| create_object(to, &texture)))
}

#[unsafe(no_mangle)]
extern "C" fn cuSurfObjectDestroy(number: u64) -> Code {
    code(destroy_object(number))
}
