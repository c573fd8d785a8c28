// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies and fills.

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{Extent, Pitch, Status};

use super::arrays::Corner;
use super::driver::{CUDA_MEMCPY3D, CUarray, CUdeviceptr, CUstream, MemoryType, call};
use super::machine::{Jobs, Machine, State};
use super::peers::Side;
use crate::devices::{Completion, Operand, StreamHandle};
use crate::rows::Rows;
use crate::status;

/// Most bytes that go through a buffer of ours. What is larger, the driver copies as it can.
const MOST_BUFFERED: u64 = 4 << 20;

/// One side of a copy, as it was named.
enum Named {
    Visible(Side),
    /// Memory of this process that the GPUs do not see.
    Private(Scattered, u64, Rows),
}

/// One end of a copy by the driver.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// Memory that the GPUs use by address.
    Memory(u64, Rows),
    Array(Corner),
}

impl State {
    fn side(
        &mut self,
        machine: &Machine,
        operand: Operand,
        extent: Extent,
    ) -> Result<Named, Status> {
        match operand {
            Operand::Device { address, pitch } => {
                let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
                let mut devices = self.devices.iter().enumerate();
                let array = devices.find_map(|(device, state)| {
                    let corner = state.arrays.corner(address, pitch, extent)?;
                    Some((Some(device), corner))
                });
                let (owner, end) = match array {
                    Some((owner, corner)) => (owner, End::Array(corner?)),
                    None => {
                        let owner = self.owner(address, rows.span());
                        let owner = owner.ok_or(status::INVALID_VALUE)?;
                        (owner, End::Memory(address, rows))
                    }
                };
                Ok(Named::Visible(Side { end, owner }))
            }
            Operand::Host {
                memory,
                offset,
                pitch,
            } => {
                let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
                if !memory.holds(offset, rows.span()) {
                    return Err(status::INVALID_VALUE);
                }
                let here = contiguous(&memory, offset, rows.span());
                let pinned = here.filter(|&here| {
                    self.is_staging(machine, here, rows.span()) || self.is_lasting(machine, &memory)
                });
                Ok(match pinned {
                    Some(here) => Named::Visible(pinned_side(here, rows)),
                    None => Named::Private(memory, offset, rows),
                })
            }
        }
    }

    /// Whether a range lies within one allocation, array or variable, of any device or the host.
    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        let mut arrays = self.devices.iter().map(|device| &device.arrays);
        arrays.any(|all| all.holds(address, len)) || self.owner(address, len).is_some()
    }

    pub(super) fn copy(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        (dst, src): (Operand, Operand),
        extent: Extent,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        let packed = Rows::packed(extent).ok_or(status::INVALID_VALUE)?;
        let dst = self.side(machine, dst, extent)?;
        let src = self.side(machine, src, extent)?;
        let bytes = packed.bytes();
        if bytes == 0 {
            return Ok(());
        }
        match (dst, src) {
            (Named::Visible(to), Named::Visible(from)) => {
                self.move_box(machine, stream, to, from, extent)
            }
            (Named::Visible(to), Named::Private(memory, offset, rows)) => {
                let here = contiguous(&memory, offset, rows.span());
                if let Some(here) = here.filter(|_| is_gapless(rows))
                    && let Some(address) = to.end.gapless()
                {
                    let here = here as *const std::ffi::c_void;
                    let bytes = bytes as usize;
                    // The driver has taken the bytes when it returns.
                    return self.issue_at(machine, stream, to.owner, |cu| {
                        let to = address;
                        call!(machine.driver, cuMemcpyHtoDAsync_v2(to, here, bytes, cu))
                    });
                }
                let buffer = self.buffer(machine, bytes)?;
                gather(&memory, offset, rows, buffer.address)?;
                let from = pinned_side(buffer.address, packed);
                self.move_box(machine, stream, to, from, extent)?;
                let this = machine.this();
                let used: Completion = Box::new(move |used| {
                    if used.is_ok() {
                        this.state.lock().put_back(buffer);
                    }
                });
                self.wait_for_stream(machine, stream, used, jobs)
            }
            (Named::Private(memory, offset, rows), Named::Visible(from)) => {
                let here = contiguous(&memory, offset, rows.span());
                if let Some(here) = here.filter(|_| bytes > MOST_BUFFERED && is_gapless(rows)) {
                    let to = pinned_side(here, rows);
                    return self.move_box(machine, stream, to, from, extent);
                }
                let buffer = self.buffer(machine, bytes)?;
                let to = pinned_side(buffer.address, packed);
                self.move_box(machine, stream, to, from, extent)?;
                let this = machine.this();
                let arrived: Completion = Box::new(move |arrived| {
                    if arrived.is_ok() {
                        // It was found to lie within.
                        let _ = scatter(&memory, offset, rows, buffer.address);
                        this.state.lock().put_back(buffer);
                    }
                });
                self.wait_for_stream(machine, stream, arrived, jobs)
            }
            (
                Named::Private(to, to_offset, to_rows),
                Named::Private(from, from_offset, from_rows),
            ) => {
                let (device, cu) = self.issue(machine, stream)?;
                let copy: Completion = Box::new(move |well| {
                    let mut bytes: Vec<u8> = Vec::new();
                    let len = packed.bytes() as usize;
                    if well.is_ok() && bytes.try_reserve_exact(len).is_ok() {
                        bytes.extend(std::iter::repeat_n(0, len));
                        let between = bytes.as_mut_ptr() as u64;
                        // Both were found to lie within.
                        let _ = gather(&from, from_offset, from_rows, between)
                            .and_then(|()| scatter(&to, to_offset, to_rows, between));
                    }
                });
                machine.call_on(device, cu, copy)
            }
        }
    }

    pub(super) fn fill(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        (address, pitch): (u64, Pitch),
        value: u32,
        element: u8,
        extent: Extent,
    ) -> Result<(), Status> {
        let rows = Rows::of_elements(element, address, extent, pitch);
        let rows = rows.ok_or(status::INVALID_VALUE)?;
        let owner = self.owner(address, rows.span());
        let owner = owner.ok_or(status::INVALID_VALUE)?;
        if rows.bytes() == 0 {
            return Ok(());
        }
        self.issue_at(machine, stream, owner, |cu| {
            set(machine, cu, (address, rows), value, element, extent)
        })
    }
}

/// Fills a box at an address that the driver knows with elements of 1, 2 or 4 bytes.
fn set(
    machine: &Machine,
    cu: CUstream,
    (address, rows): (u64, Rows),
    value: u32,
    element: u8,
    extent: Extent,
) -> Result<(), Status> {
    let driver = machine.driver;
    let size = u64::from(element);
    if is_gapless(rows) {
        let count = (rows.bytes() / size) as usize;
        return match element {
            1 => call!(driver, cuMemsetD8Async(address, value as u8, count, cu)),
            2 => call!(driver, cuMemsetD16Async(address, value as u16, count, cu)),
            _ => call!(driver, cuMemsetD32Async(address, value, count, cu)),
        };
    }
    let width = (extent.width / size) as usize;
    // One row in each slice is a plane by itself.
    let (height, depth, row) = match extent.height {
        1 => (extent.depth, 1, rows.pitch().slice),
        height => (height, extent.depth, rows.pitch().row),
    };
    let (row, height) = (row as usize, height as usize);
    for slice in 0..depth {
        let at = address + slice * rows.pitch().slice;
        match element {
            1 => {
                let value = value as u8;
                call!(driver, cuMemsetD2D8Async(at, row, value, width, height, cu))?;
            }
            2 => {
                let value = value as u16;
                call!(
                    driver,
                    cuMemsetD2D16Async(at, row, value, width, height, cu)
                )?;
            }
            _ => call!(
                driver,
                cuMemsetD2D32Async(at, row, value, width, height, cu)
            )?,
        }
    }
    Ok(())
}

/// Memory of this process that all GPUs know, or that the driver reads and writes for them.
fn pinned_side(address: u64, rows: Rows) -> Side {
    Side {
        end: End::Memory(address, rows),
        owner: None,
    }
}

fn is_gapless(rows: Rows) -> bool {
    rows.span() == rows.bytes()
}

/// The address in this process of a range that lies in one piece of a memory.
fn contiguous(memory: &Scattered, offset: u64, len: u64) -> Option<u64> {
    Some(memory.contiguous(offset, len)? as u64)
}

impl End {
    /// The address of memory without gaps.
    pub(super) fn gapless(self) -> Option<u64> {
        match self {
            End::Memory(address, rows) if is_gapless(rows) => Some(address),
            _ => None,
        }
    }

    /// Whether slices are so many rows apart, as which the driver counts them.
    fn has_whole_slices(self) -> bool {
        match self {
            End::Memory(_, rows) => rows.pitch().slice.is_multiple_of(rows.pitch().row.max(1)),
            End::Array(_) => true,
        }
    }

    /// How the driver is told of the slices from this one on.
    fn part(self, slice: u64, height: Option<u64>) -> Part {
        match self {
            End::Memory(address, rows) => {
                let Pitch { row, slice: plane } = rows.pitch();
                Part {
                    kind: MemoryType::CU_MEMORYTYPE_UNIFIED,
                    address: address + slice * plane,
                    pitch: row as usize,
                    height: height.unwrap_or(plane / row.max(1)) as usize,
                    ..Part::default()
                }
            }
            End::Array(Corner { array, x, y, z }) => Part {
                kind: MemoryType::CU_MEMORYTYPE_ARRAY,
                array,
                x,
                y,
                z: z + slice as usize,
                ..Part::default()
            },
        }
    }
}

/// One end as `CUDA_MEMCPY3D` names it.
struct Part {
    kind: MemoryType,
    address: u64,
    pitch: usize,
    /// Rows of a slice.
    height: usize,
    array: u64,
    x: usize,
    y: usize,
    z: usize,
}

impl Default for Part {
    fn default() -> Self {
        Part {
            kind: MemoryType::CU_MEMORYTYPE_UNIFIED,
            address: 0,
            pitch: 0,
            height: 0,
            array: 0,
            x: 0,
            y: 0,
            z: 0,
        }
    }
}

/// Copies a box between ends that the driver knows.
pub(super) fn transfer(
    machine: &Machine,
    stream: CUstream,
    to: End,
    from: End,
    extent: Extent,
) -> Result<(), Status> {
    if let (Some(to), Some(from)) = (to.gapless(), from.gapless()) {
        let bytes = (extent.width * extent.height * extent.depth) as usize;
        return call!(machine.driver, cuMemcpyAsync(to, from, bytes, stream));
    }
    let slices = match extent.depth > 1 && !(to.has_whole_slices() && from.has_whole_slices()) {
        true => extent.depth,
        false => 1,
    };
    let height = (slices > 1 || extent.depth <= 1).then_some(extent.height);
    for slice in 0..slices {
        let (to, from) = (to.part(slice, height), from.part(slice, height));
        let copy = CUDA_MEMCPY3D {
            srcXInBytes: from.x,
            srcY: from.y,
            srcZ: from.z,
            srcLOD: 0,
            srcMemoryType: from.kind,
            srcHost: std::ptr::null(),
            srcDevice: from.address as CUdeviceptr,
            srcArray: from.array as CUarray,
            reserved0: std::ptr::null_mut(),
            srcPitch: from.pitch,
            srcHeight: from.height,
            dstXInBytes: to.x,
            dstY: to.y,
            dstZ: to.z,
            dstLOD: 0,
            dstMemoryType: to.kind,
            dstHost: std::ptr::null_mut(),
            dstDevice: to.address as CUdeviceptr,
            dstArray: to.array as CUarray,
            reserved1: std::ptr::null_mut(),
            dstPitch: to.pitch,
            dstHeight: to.height,
            WidthInBytes: extent.width as usize,
            Height: extent.height as usize,
            Depth: (extent.depth / slices) as usize,
        };
        call!(machine.driver, cuMemcpy3DAsync_v2(&copy, stream))?;
    }
    Ok(())
}

/// Reads a box of a memory, packed, into memory of ours at an address, which is long enough.
fn gather(memory: &Scattered, offset: u64, rows: Rows, to: u64) -> Result<(), Status> {
    let mut position = 0;
    for (at, len) in rows.runs() {
        let read = super::in_parts::in_parts(len, |from, part| {
            let place = (to + position + from) as *mut u8;
            // SAFETY: the callers' buffers hold all bytes of the box, and are in no other use.
            let room = unsafe { std::slice::from_raw_parts_mut(place, part as usize) };
            memory.read(offset + at + from, room)
        });
        if !read {
            return Err(status::INVALID_VALUE);
        }
        position += len;
    }
    Ok(())
}

/// Writes a box of a memory from packed bytes at an address.
fn scatter(memory: &Scattered, offset: u64, rows: Rows, from: u64) -> Result<(), Status> {
    let mut position = 0;
    for (at, len) in rows.runs() {
        let written = super::in_parts::in_parts(len, |start, part| {
            let place = (from + position + start) as *const u8;
            // SAFETY: the callers' buffers hold all bytes of the box, and the copy into them is over.
            let bytes = unsafe { std::slice::from_raw_parts(place, part as usize) };
            memory.write(offset + at + start, bytes)
        });
        if !written {
            return Err(status::INVALID_VALUE);
        }
        position += len;
    }
    Ok(())
}
