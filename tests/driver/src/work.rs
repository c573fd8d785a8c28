// SPDX-License-Identifier: MIT OR Apache-2.0
//! Streams, events, copies, fills, and functions that streams call.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vcuda_protocol::{Extent, Pitch};
use vcuda_replayer::devices::Completion;

use crate::arrays::texels;
use crate::host::operand;
use crate::{Code, INVALID_VALUE, NOT_READY, code, current, event, ok, put, reaches, stream, wait};

#[unsafe(no_mangle)]
extern "C" fn cuStreamCreateWithPriority(to: *mut u64, flags: u32, priority: i32) -> Code {
    code(current().and_then(|gpu| {
        let made = ok(gpu.device.stream_create(flags & 1 == 0, priority))?;
        put(to, made.0 + 16)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(of: u64) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.stream_destroy(stream(gpu, of)))))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(of: u64) -> Code {
    code(
        current().and_then(|gpu| match ok(gpu.device.stream_query(stream(gpu, of)))? {
            true => Ok(()),
            false => Err(NOT_READY),
        }),
    )
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(of: u64) -> Code {
    code(
        current().and_then(|gpu| wait(|done| gpu.device.stream_synchronize(stream(gpu, of), done))),
    )
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(of: u64, on: u64, _flags: u32) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.stream_wait_event(stream(gpu, of), event(on)))))
}

fn word(address: u64) -> &'static AtomicU32 {
    // SAFETY: the caller passes the address of an aligned word that it keeps.
    unsafe { AtomicU32::from_ptr(address as *mut u32) }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWriteValue32_v2(of: u64, address: u64, value: u32, _flags: u32) -> Code {
    let write: Completion = Box::new(move |well| {
        if well.is_ok() {
            word(address).store(value, Ordering::Release);
        }
    });
    code(current().and_then(|gpu| ok(gpu.device.host_function(stream(gpu, of), write, true))))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitValue32_v2(of: u64, address: u64, value: u32, _flags: u32) -> Code {
    let wait: Completion = Box::new(move |well| {
        while well.is_ok() && word(address).load(Ordering::Acquire) != value {
            std::thread::sleep(Duration::from_micros(20));
        }
    });
    code(current().and_then(|gpu| ok(gpu.device.host_function(stream(gpu, of), wait, false))))
}

#[unsafe(no_mangle)]
extern "C" fn cuLaunchHostFunc(
    of: u64,
    function: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Code {
    let data = data as u64;
    let call: Completion = Box::new(move |well| {
        if well.is_ok() {
            // SAFETY: the function was passed to be called with this, once.
            unsafe { function(data as *mut c_void) };
        }
    });
    code(current().and_then(|gpu| ok(gpu.device.host_function(stream(gpu, of), call, false))))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventCreate(to: *mut u64, flags: u32) -> Code {
    code(current().and_then(|gpu| {
        let made = ok(gpu.device.event_create(flags & 2 == 0))?;
        put(to, made.0 + 16)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(of: u64) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.event_destroy(event(of)))))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(of: u64, on: u64) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.event_record(event(of), stream(gpu, on)))))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(of: u64) -> Code {
    code(
        current().and_then(|gpu| match ok(gpu.device.event_query(event(of)))? {
            true => Ok(()),
            false => Err(NOT_READY),
        }),
    )
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(of: u64) -> Code {
    code(current().and_then(|gpu| wait(|done| gpu.device.event_synchronize(event(of), done))))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventElapsedTime(to: *mut f32, start: u64, end: u64) -> Code {
    code(current().and_then(|gpu| put(to, ok(gpu.device.event_elapsed(event(start), event(end)))?)))
}

fn copy(of: u64, to: (u64, Pitch), from: (u64, Pitch), extent: Extent) -> Result<(), Code> {
    reaches(to.0)?;
    reaches(from.0)?;
    copy_anywhere(of, to, from, extent)
}

fn copy_anywhere(
    of: u64,
    to: (u64, Pitch),
    from: (u64, Pitch),
    extent: Extent,
) -> Result<(), Code> {
    let gpu = current()?;
    let dst = operand(to.0, extent, to.1)?;
    let src = operand(from.0, extent, from.1)?;
    ok(gpu.device.copy(stream(gpu, of), dst, src, extent, 0))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, of: u64) -> Code {
    let linear = Extent::linear(bytes as u64);
    code(copy(
        of,
        (to, Pitch::default()),
        (from, Pitch::default()),
        linear,
    ))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    _dst: u64,
    from: u64,
    _src: u64,
    bytes: usize,
    of: u64,
) -> Code {
    let (to, from) = ((to, Pitch::default()), (from, Pitch::default()));
    code(copy_anywhere(of, to, from, Extent::linear(bytes as u64)))
}

/// The source may be changed when this returns, whatever the stream does: it is read at once.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, of: u64) -> Code {
    code((|| {
        let gpu = current()?;
        let linear = Extent::linear(bytes as u64);
        let memory = vcuda_protocol::shared::SharedMemory::anonymous(bytes);
        // SAFETY: the caller passes a pointer to so many bytes.
        let source = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) };
        if !memory.write(0, source) {
            return Err(INVALID_VALUE);
        }
        let src = vcuda_replayer::devices::Operand::Host {
            memory: memory.into(),
            offset: 0,
            pitch: Pitch::default(),
        };
        let dst = operand(to, linear, Pitch::default())?;
        ok(gpu.device.copy(stream(gpu, of), dst, src, linear, 0))
    })())
}

/// `CU_MEMORYTYPE_ARRAY`
const ARRAY: u32 = 3;

/// `CUDA_MEMCPY3D`
#[repr(C)]
struct Copy3D {
    src_x: usize,
    src_y: usize,
    src_z: usize,
    src_lod: usize,
    src_type: u32,
    src_host: u64,
    src_device: u64,
    src_array: u64,
    reserved0: u64,
    src_pitch: usize,
    src_height: usize,
    dst_x: usize,
    dst_y: usize,
    dst_z: usize,
    dst_lod: usize,
    dst_type: u32,
    dst_host: u64,
    dst_device: u64,
    dst_array: u64,
    reserved1: u64,
    dst_pitch: usize,
    dst_height: usize,
    width: usize,
    height: usize,
    depth: usize,
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpy3DAsync_v2(of: *const Copy3D, on: u64) -> Code {
    // SAFETY: the caller passes a pointer to the structure.
    let of = unsafe { &*of };
    let extent = Extent {
        width: of.width as u64,
        height: of.height as u64,
        depth: of.depth as u64,
    };
    let memory = |address: u64, row: usize, height: usize| {
        let pitch = Pitch {
            row: row as u64,
            slice: (row * height) as u64,
        };
        let fits = row >= of.width && height >= of.height;
        fits.then_some((address, pitch)).ok_or(INVALID_VALUE)
    };
    let dst = match of.dst_type {
        ARRAY => texels(of.dst_array, [of.dst_x, of.dst_y, of.dst_z]),
        _ => memory(of.dst_device, of.dst_pitch, of.dst_height),
    };
    let src = match of.src_type {
        ARRAY => texels(of.src_array, [of.src_x, of.src_y, of.src_z]),
        _ => memory(of.src_device, of.src_pitch, of.src_height),
    };
    code(dst.and_then(|dst| copy(on, dst, src?, extent)))
}

fn fill(of: u64, place: (u64, u64), value: u32, element: u8, count: (usize, usize)) -> Code {
    let extent = Extent {
        width: (count.0 * element as usize) as u64,
        height: count.1 as u64,
        depth: 1,
    };
    let pitch = Pitch {
        row: place.1,
        slice: 0,
    };
    code(reaches(place.0).and_then(|()| current()).and_then(|gpu| {
        let stream = stream(gpu, of);
        ok(gpu
            .device
            .fill(stream, (place.0, pitch), value, element, extent, 0))
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(at: u64, value: u8, count: usize, of: u64) -> Code {
    fill(of, (at, 0), value.into(), 1, (count, 1))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD16Async(at: u64, value: u16, count: usize, of: u64) -> Code {
    fill(of, (at, 0), value.into(), 2, (count, 1))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD32Async(at: u64, value: u32, count: usize, of: u64) -> Code {
    fill(of, (at, 0), value, 4, (count, 1))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD2D8Async(at: u64, pitch: usize, v: u8, w: usize, h: usize, of: u64) -> Code {
    fill(of, (at, pitch as u64), v.into(), 1, (w, h))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD2D16Async(
    at: u64,
    pitch: usize,
    v: u16,
    w: usize,
    h: usize,
    of: u64,
) -> Code {
    fill(of, (at, pitch as u64), v.into(), 2, (w, h))
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD2D32Async(
    at: u64,
    pitch: usize,
    v: u32,
    w: usize,
    h: usize,
    of: u64,
) -> Code {
    fill(of, (at, pitch as u64), v, 4, (w, h))
}
