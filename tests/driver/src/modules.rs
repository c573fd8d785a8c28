// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules, functions, launches.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};

use vcuda_fatbin::{Container, Cubin};
use vcuda_protocol::{Bytes, Dim3, FunctionInfo};
use vcuda_replayer::devices::{FunctionHandle, LaunchRequest, ModuleHandle};

use crate::{Code, INVALID_VALUE, code, current, driver, ok, put, stream};

/// The bytes of an image, which says itself how many they are.
unsafe fn image<'a>(from: *const c_void) -> Result<&'a [u8], Code> {
    let bytes = from.cast::<u8>();
    // SAFETY: no image is shorter than four bytes, and a header is as long as its kind says.
    let (magic, header) = unsafe {
        let magic: [u8; 4] = std::slice::from_raw_parts(bytes, 4)
            .try_into()
            .unwrap_or_default();
        let header = if magic == *b"\x7fELF" { 64 } else { 16 };
        (magic, header)
    };
    let len = match magic {
        [0x50, 0xed, 0x55, 0xba] | [0x7f, b'E', b'L', b'F'] => {
            // SAFETY: as above.
            let head = unsafe { std::slice::from_raw_parts(bytes, header) };
            match magic[0] {
                0x50 => Container::total_len(head),
                _ => Cubin::total_len(head),
            }
            .map_err(|_| INVALID_VALUE)?
        }
        // SAFETY: anything else is text that ends with NUL.
        _ => unsafe { CStr::from_ptr(from.cast()) }.count_bytes(),
    };
    // SAFETY: the image is as long as it says.
    Ok(unsafe { std::slice::from_raw_parts(bytes, len) })
}

unsafe fn text<'a>(name: *const c_char) -> Result<&'a str, Code> {
    // SAFETY: names end with NUL.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_str().map_err(|_| INVALID_VALUE)
}

/// Logs are the last two of the four options that the caller passes.
unsafe fn write_log(log: &str, options: u32, values: *mut *mut c_void) {
    if options != 4 {
        return;
    }
    // SAFETY: the error log's buffer and its size are the third and fourth value.
    unsafe {
        let buffer = values.add(2).read().cast::<u8>();
        let room = values.add(3).read() as usize;
        let len = log.len().min(room.saturating_sub(1));
        std::ptr::copy_nonoverlapping(log.as_ptr(), buffer, len);
        buffer.add(len).write(0);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadDataEx(
    to: *mut u64,
    from: *const c_void,
    options: u32,
    _names: *mut u32,
    values: *mut *mut c_void,
) -> Code {
    code(current().and_then(|gpu| {
        // SAFETY: the caller passes an image.
        let image = unsafe { image(from) }?;
        let (module, info) = gpu.device.module_load(image, &HashMap::new());
        match module {
            Some(module) => {
                driver()?.kernels.lock().insert(module.0, info.kernels);
                put(to, module.0)
            }
            None => {
                // SAFETY: the caller's options are as described there.
                unsafe { write_log(&info.error_log, options, values) };
                Err(info.status.0)
            }
        }
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleGetFunctionCount(to: *mut u32, module: u64) -> Code {
    code(driver().and_then(|driver| {
        let kernels = driver.kernels.lock().get(&module).copied();
        put(to, kernels.ok_or(INVALID_VALUE)?)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: u64) -> Code {
    code(current().and_then(|gpu| ok(gpu.device.module_unload(ModuleHandle(module)))))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(to: *mut u64, module: u64, name: *const c_char) -> Code {
    code(current().and_then(|gpu| {
        // SAFETY: the caller passes a name.
        let name = unsafe { text(name) }?;
        let (function, info) = ok(gpu.device.function(ModuleHandle(module), name))?;
        driver()?.functions.lock().insert(function.0, info);
        put(to, function.0)
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetGlobal_v2(
    address: *mut u64,
    size: *mut usize,
    module: u64,
    name: *const c_char,
) -> Code {
    code(current().and_then(|gpu| {
        // SAFETY: the caller passes a name.
        let name = unsafe { text(name) }?;
        let global = ok(gpu.device.global(ModuleHandle(module), name))?;
        put(address, global.address)?;
        put(size, global.size as usize)
    }))
}

fn info(function: u64) -> Result<FunctionInfo, Code> {
    let found = driver()?.functions.lock().get(&function).cloned();
    found.ok_or(400)
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetAttribute(to: *mut i32, attribute: i32, function: u64) -> Code {
    code(info(function).and_then(|info| {
        let value = match attribute {
            0 => info.max_threads_per_block,
            1 => info.static_shared,
            2 => info.const_bytes,
            3 => info.local_bytes,
            4 => info.registers,
            5 => info.ptx_version,
            6 => info.binary_version,
            8 => info.max_dynamic_shared,
            _ => return Err(INVALID_VALUE),
        };
        put(to, value as i32)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: u64, attribute: i32, value: i32) -> Code {
    code(current().and_then(|gpu| {
        let function = FunctionHandle(function);
        ok(gpu
            .device
            .function_set_attribute(function, attribute as u32, value))
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncGetParamInfo(
    function: u64,
    index: usize,
    offset: *mut usize,
    size: *mut usize,
) -> Code {
    code(info(function).and_then(|info| {
        let &(at, bytes) = info.params.get(index).ok_or(INVALID_VALUE)?;
        put(offset, at as usize)?;
        put(size, bytes as usize)
    }))
}

#[unsafe(no_mangle)]
extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    to: *mut i32,
    function: u64,
    block_size: i32,
    shared: usize,
) -> Code {
    code(current().and_then(|gpu| {
        let function = FunctionHandle(function);
        let blocks = ok(gpu
            .device
            .occupancy(function, block_size as u32, shared as u64))?;
        put(to, blocks as i32)
    }))
}

struct Shape {
    grid: Dim3,
    block: Dim3,
    shared: u32,
    cooperative: bool,
}

fn launch(function: u64, shape: Shape, of: u64, params: Vec<u8>) -> Result<(), Code> {
    let gpu = current()?;
    let request = LaunchRequest {
        function: FunctionHandle(function),
        grid: shape.grid,
        block: shape.block,
        dynamic_shared: shape.shared,
        cooperative: shape.cooperative,
        params: Bytes(params),
    };
    ok(gpu.device.launch(stream(gpu, of), request, 0))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    gx: u32,
    gy: u32,
    gz: u32,
    bx: u32,
    by: u32,
    bz: u32,
    shared: u32,
    of: u64,
    _params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    let params = match extra.is_null() {
        true => Vec::new(),
        // SAFETY: the caller passes the packed arguments and then their size, each behind its
        // number.
        false => unsafe {
            let buffer = extra.add(1).read().cast::<u8>();
            let size = extra.add(3).read().cast::<usize>().read();
            std::slice::from_raw_parts(buffer, size).to_vec()
        },
    };
    let shape = Shape {
        grid: dim(gx, gy, gz),
        block: dim(bx, by, bz),
        shared,
        cooperative: false,
    };
    code(launch(function, shape, of, params))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchCooperativeKernel(
    function: u64,
    gx: u32,
    gy: u32,
    gz: u32,
    bx: u32,
    by: u32,
    bz: u32,
    shared: u32,
    of: u64,
    params: *mut *mut c_void,
) -> Code {
    code(info(function).and_then(|info| {
        let mut packed = vec![0; info.param_bytes as usize];
        for (index, &(offset, size)) in info.params.iter().enumerate() {
            let room = &mut packed[offset as usize..(offset + size) as usize];
            // SAFETY: the caller passes a pointer to each argument.
            unsafe {
                let argument = params.add(index).read().cast::<u8>();
                std::ptr::copy_nonoverlapping(argument, room.as_mut_ptr(), room.len());
            }
        }
        let shape = Shape {
            grid: dim(gx, gy, gz),
            block: dim(bx, by, bz),
            shared,
            cooperative: true,
        };
        launch(function, shape, of, packed)
    }))
}

fn dim(x: u32, y: u32, z: u32) -> Dim3 {
    Dim3 { x, y, z }
}
