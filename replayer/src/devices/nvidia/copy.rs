// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies and fills.

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::{Extent, Pitch, Status};

use super::driver::{CUDA_MEMCPY3D, CUdeviceptr, CUstream, MemoryType, call};
use super::machine::{Jobs, Machine, State};
use crate::devices::{Completion, Operand, StreamHandle};
use crate::rows::Rows;
use crate::status;

/// Most bytes that go through a buffer of ours. What is larger, the driver copies as it can.
const MOST_BUFFERED: u64 = 4 << 20;

/// One side of a copy.
enum Side {
    /// Memory that the GPUs use by address.
    Visible(u64, Rows),
    /// Other memory of this process.
    Private(Scattered, u64, Rows),
}

impl State {
    fn side(
        &mut self,
        machine: &Machine,
        operand: Operand,
        extent: Extent,
    ) -> Result<Side, Status> {
        match operand {
            Operand::Device { address, pitch } => {
                let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
                match self.holds(address, rows.span()) {
                    true => Ok(Side::Visible(address, rows)),
                    false => Err(status::INVALID_VALUE),
                }
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
                    Some(here) => Side::Visible(here, rows),
                    None => Side::Private(memory, offset, rows),
                })
            }
        }
    }

    /// Whether a range lies within one allocation or variable, of any device or the host.
    pub(super) fn holds(&self, address: u64, len: u64) -> bool {
        self.devices
            .iter()
            .any(|device| device.memory.holds(address, len))
            || self.host_holds(address, len)
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
            (Side::Visible(to, to_rows), Side::Visible(from, from_rows)) => {
                let (_, cu) = self.issue(machine, stream)?;
                transfer(machine, cu, (to, to_rows), (from, from_rows), extent)
            }
            (Side::Visible(to, to_rows), Side::Private(memory, offset, rows)) => {
                let here = contiguous(&memory, offset, rows.span());
                if let Some(here) = here.filter(|_| is_gapless(rows) && is_gapless(to_rows)) {
                    let (_, cu) = self.issue(machine, stream)?;
                    // The driver has taken the bytes when it returns.
                    return call!(
                        machine.driver,
                        cuMemcpyHtoDAsync_v2(
                            to,
                            here as *const std::ffi::c_void,
                            bytes as usize,
                            cu
                        )
                    );
                }
                let buffer = self.buffer(machine, bytes)?;
                gather(&memory, offset, rows, buffer.address)?;
                let (_, cu) = self.issue(machine, stream)?;
                transfer(machine, cu, (to, to_rows), (buffer.address, packed), extent)?;
                let this = machine.this();
                let used: Completion = Box::new(move |used| {
                    if used.is_ok() {
                        this.state.lock().put_back(buffer);
                    }
                });
                self.wait_for_stream(machine, stream, used, jobs)
            }
            (Side::Private(memory, offset, rows), Side::Visible(from, from_rows)) => {
                let here = contiguous(&memory, offset, rows.span());
                if let Some(here) = here.filter(|_| bytes > MOST_BUFFERED && is_gapless(rows)) {
                    let (_, cu) = self.issue(machine, stream)?;
                    return transfer(machine, cu, (here, rows), (from, from_rows), extent);
                }
                let buffer = self.buffer(machine, bytes)?;
                let (_, cu) = self.issue(machine, stream)?;
                transfer(
                    machine,
                    cu,
                    (buffer.address, packed),
                    (from, from_rows),
                    extent,
                )?;
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
                Side::Private(to, to_offset, to_rows),
                Side::Private(from, from_offset, from_rows),
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
        if !aligned || !self.holds(address, rows.span()) {
            return Err(status::INVALID_VALUE);
        }
        if rows.bytes() == 0 {
            return Ok(());
        }
        let (_, cu) = self.issue(machine, stream)?;
        let driver = machine.driver;
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
}

fn is_gapless(rows: Rows) -> bool {
    rows.span() == rows.bytes()
}

/// The address in this process of a range that lies in one piece of a memory.
fn contiguous(memory: &Scattered, offset: u64, len: u64) -> Option<u64> {
    Some(memory.contiguous(offset, len)? as u64)
}

/// Copies a box between addresses that the driver knows.
fn transfer(
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
