// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies and fills.

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{Extent, Pitch, Status};

use super::driver::{CUDA_MEMCPY3D, CUdeviceptr, CUstream, MemoryType, call};
use super::machine::{Jobs, Machine, State};
use super::peers::Side;
use crate::devices::{Completion, Operand, StreamHandle};
use crate::rows::Rows;
use crate::status;

/// Most bytes that go through a buffer of ours. What is larger, the driver copies as it can.
const MOST_BUFFERED: u64 = 4 << 20;

/// One side of a copy, as it was named.
enum Named {
    /// Memory that the GPUs use by address.
    Visible(Side),
    /// Other memory of this process.
    Private(Scattered, u64, Rows),
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
                let owner = self.owner(address, rows.span());
                let owner = owner.ok_or(status::INVALID_VALUE)?;
                Ok(Named::Visible(Side {
                    address,
                    rows,
                    owner,
                }))
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
                let pinned = here.filter(|&here| self.is_staging(machine, here, rows.span()));
                Ok(match pinned {
                    Some(here) => Named::Visible(pinned_side(here, rows)),
                    None => Named::Private(memory, offset, rows),
                })
            }
        }
    }

    /// Whether a range lies within one allocation or variable, of any device or the host.
    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        self.owner(address, len).is_some()
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
                if let Some(here) = here.filter(|_| is_gapless(rows) && is_gapless(to.rows)) {
                    let here = here as *const std::ffi::c_void;
                    let bytes = bytes as usize;
                    // The driver has taken the bytes when it returns.
                    return self.issue_at(machine, stream, to.owner, |cu| {
                        let to = to.address;
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
        let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
        let size = u64::from(element);
        let strides = [address, rows.pitch().row, rows.pitch().slice, extent.width];
        let aligned = matches!(element, 1 | 2 | 4) && strides.iter().all(|n| n % size == 0);
        if !aligned {
            return Err(status::INVALID_VALUE);
        }
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
        address,
        rows,
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

/// Copies a box between addresses that the driver knows.
pub(super) fn transfer(
    machine: &Machine,
    stream: CUstream,
    (to, to_rows): (u64, Rows),
    (from, from_rows): (u64, Rows),
    extent: Extent,
) -> Result<(), Status> {
    if is_gapless(to_rows) && is_gapless(from_rows) {
        let bytes = to_rows.bytes() as usize;
        return call!(machine.driver, cuMemcpyAsync(to, from, bytes, stream));
    }
    // The driver counts slices in rows.
    let whole = |rows: Rows| rows.pitch().slice.is_multiple_of(rows.pitch().row.max(1));
    let slices = match extent.depth > 1 && !(whole(to_rows) && whole(from_rows)) {
        true => extent.depth,
        false => 1,
    };
    for slice in 0..slices {
        let at = |base: u64, rows: Rows| base + slice * rows.pitch().slice;
        let height = |rows: Rows| match slices == 1 && extent.depth > 1 {
            true => (rows.pitch().slice / rows.pitch().row.max(1)) as usize,
            false => extent.height as usize,
        };
        let copy = CUDA_MEMCPY3D {
            srcXInBytes: 0,
            srcY: 0,
            srcZ: 0,
            srcLOD: 0,
            srcMemoryType: MemoryType::CU_MEMORYTYPE_UNIFIED,
            srcHost: std::ptr::null(),
            srcDevice: at(from, from_rows) as CUdeviceptr,
            srcArray: std::ptr::null_mut(),
            reserved0: std::ptr::null_mut(),
            srcPitch: from_rows.pitch().row as usize,
            srcHeight: height(from_rows),
            dstXInBytes: 0,
            dstY: 0,
            dstZ: 0,
            dstLOD: 0,
            dstMemoryType: MemoryType::CU_MEMORYTYPE_UNIFIED,
            dstHost: std::ptr::null_mut(),
            dstDevice: at(to, to_rows) as CUdeviceptr,
            dstArray: std::ptr::null_mut(),
            reserved1: std::ptr::null_mut(),
            dstPitch: to_rows.pitch().row as usize,
            dstHeight: height(to_rows),
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
        // SAFETY: the callers' buffers hold all bytes of the box, and are in no other use.
        let room =
            unsafe { std::slice::from_raw_parts_mut((to as *mut u8).add(position), len as usize) };
        if !memory.read(offset + at, room) {
            return Err(status::INVALID_VALUE);
        }
        position += len as usize;
    }
    Ok(())
}

/// Writes a box of a memory from packed bytes at an address.
fn scatter(memory: &Scattered, offset: u64, rows: Rows, from: u64) -> Result<(), Status> {
    let mut position = 0;
    for (at, len) in rows.runs() {
        // SAFETY: the callers' buffers hold all bytes of the box, and the copy into them is over.
        let bytes =
            unsafe { std::slice::from_raw_parts((from as *const u8).add(position), len as usize) };
        if !memory.write(offset + at, bytes) {
            return Err(status::INVALID_VALUE);
        }
        position += len as usize;
    }
    Ok(())
}
