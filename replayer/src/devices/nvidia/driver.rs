// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CUDA driver, loaded at run time.
//!
//! The types are cudarc's. Its functions are not used: they find the library on the library path,
//! where `vcuda run` puts its own stand-in first, and panic where a driver lacks one of them.

use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use cudarc::driver::sys;
pub(super) use cudarc::driver::sys::{
    CUDA_MEMCPY3D, CUarray, CUcontext, CUdeviceptr, CUevent, CUfunction,
    CUmemAccess_flags_enum as Access, CUmemAccessDesc,
    CUmemAllocationHandleType_enum as HandleType, CUmemAllocationProp,
    CUmemAllocationType_enum as AllocationType, CUmemLocation,
    CUmemLocationType_enum as LocationType, CUmemorytype_enum as MemoryType, CUmipmappedArray,
    CUmodule, CUstream, CUuuid,
};
use vcuda_protocol::Status;

/// A `CUresult`, by number: a driver may give codes that no list here knows.
pub(super) type Code = u32;
pub(super) type HostFn = unsafe extern "C" fn(*mut c_void);

// What arrays, textures and surfaces are described by. cudarc's types hold enums, of which a guest's
// numbers need not be values.

/// `CUDA_ARRAY3D_DESCRIPTOR`
#[repr(C)]
pub(super) struct ArrayDescriptor {
    pub(super) size: [usize; 3],
    /// `CUarray_format`
    pub(super) format: u32,
    pub(super) channels: u32,
    pub(super) flags: u32,
}

/// `CUDA_RESOURCE_DESC`
#[repr(C)]
#[derive(Default)]
pub(super) struct ResourceDesc {
    /// `CUresourcetype`
    pub(super) kind: u32,
    /// An array, or the address of memory.
    pub(super) handle: u64,
    /// Of memory: its texels, and bytes; or width, height and pitch.
    pub(super) format: u32,
    pub(super) channels: u32,
    pub(super) sizes: [usize; 3],
    pub(super) reserved: [u64; 11],
    pub(super) flags: u32,
}

/// `CUDA_TEXTURE_DESC`
#[repr(C)]
pub(super) struct TextureDesc {
    pub(super) address_modes: [u32; 3],
    pub(super) filter: u32,
    pub(super) flags: u32,
    pub(super) max_anisotropy: u32,
    pub(super) level_filter: u32,
    pub(super) level_bias: f32,
    pub(super) level_clamp: [f32; 2],
    pub(super) border: [f32; 4],
    pub(super) reserved: [u32; 12],
}

/// `CUDA_RESOURCE_VIEW_DESC`
#[repr(C)]
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ViewDesc {
    /// `CUresourceViewFormat`
    pub(super) format: u32,
    pub(super) size: [usize; 3],
    /// The first and the last.
    pub(super) levels: [u32; 2],
    pub(super) layers: [u32; 2],
    pub(super) reserved: [u32; 16],
}

const _: () = {
    assert!(size_of::<ArrayDescriptor>() == size_of::<sys::CUDA_ARRAY3D_DESCRIPTOR>());
    assert!(size_of::<ResourceDesc>() == size_of::<sys::CUDA_RESOURCE_DESC>());
    assert!(size_of::<TextureDesc>() == size_of::<sys::CUDA_TEXTURE_DESC>());
    assert!(size_of::<ViewDesc>() == size_of::<sys::CUDA_RESOURCE_VIEW_DESC>());
};

/// Names a driver other than the system's, by the path of its library.
pub const DRIVER_VARIABLE: &str = "VCUDA_CUDA_DRIVER";

/// Where drivers install their library. What the loader finds by itself comes last, because the
/// library path may lead to vcuda's stand-in for it.
const PLACES: [&str; 7] = [
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib/aarch64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/usr/local/nvidia/lib/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "libcuda.so.1",
];

/// Why there is no driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    #[error("No NVIDIA driver is installed: libcuda.so.1 was not found.")]
    NotFound,
    #[error("The CUDA driver {path} could not be loaded: {reason}.")]
    Load { path: String, reason: String },
    #[error("The CUDA driver {path} has no function {name}; it is older than CUDA 12.0.")]
    TooOld { path: String, name: &'static str },
    #[error("The CUDA driver {path} does not start: {name} (error {code}).")]
    Init {
        path: String,
        code: u32,
        name: String,
    },
}

macro_rules! functions {
    ($( $name:ident ( $($type:ty),* ); )* ? $( $optional:ident ( $($otype:ty),* ); )*) => {
        /// Functions of the CUDA Driver API by their exported names.
        #[allow(non_snake_case)]
        pub(super) struct Driver {
            /// Where it was loaded from.
            pub(super) path: String,
            $( pub(super) $name: unsafe extern "C" fn($($type),*) -> Code, )*
            $( pub(super) $optional: Option<unsafe extern "C" fn($($otype),*) -> Code>, )*
        }

        impl Driver {
            fn of(library: &'static libloading::Library, path: String) -> Result<Driver, DriverError> {
                Ok(Driver {
                    $( $name: symbol(library, stringify!($name)).ok_or_else(|| DriverError::TooOld {
                        path: path.clone(),
                        name: stringify!($name),
                    })?, )*
                    $( $optional: symbol(library, stringify!($optional)), )*
                    path,
                })
            }
        }
    };
}

fn symbol<F: Copy>(library: &'static libloading::Library, name: &str) -> Option<F> {
    // SAFETY: the signatures in this file are those of cuda.h.
    let found = unsafe { library.get::<F>(name) };
    found.ok().map(|symbol| *symbol)
}

functions! {
    cuInit(u32);
    cuDriverGetVersion(*mut i32);
    cuGetErrorName(Code, *mut *const c_char);
    cuDeviceGetCount(*mut i32);
    cuDeviceGet(*mut i32, i32);
    cuDeviceGetName(*mut c_char, i32, i32);
    cuDeviceGetUuid_v2(*mut CUuuid, i32);
    cuDeviceTotalMem_v2(*mut usize, i32);
    cuDeviceGetAttribute(*mut i32, i32, i32);
    cuCtxCreate_v2(*mut CUcontext, u32, i32);
    cuCtxDestroy_v2(CUcontext);
    cuCtxSetCurrent(CUcontext);
    cuCtxSynchronize();
    cuCtxSetLimit(u32, usize);
    cuCtxGetStreamPriorityRange(*mut i32, *mut i32);
    cuCtxEnablePeerAccess(CUcontext, u32);
    cuCtxDisablePeerAccess(CUcontext);
    cuDeviceCanAccessPeer(*mut i32, i32, i32);
    cuDeviceGetP2PAttribute(*mut i32, i32, i32, i32);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuMemAddressReserve(*mut CUdeviceptr, usize, usize, CUdeviceptr, u64);
    cuMemGetAllocationGranularity(*mut usize, *const CUmemAllocationProp, u32);
    cuMemCreate(*mut u64, usize, *const CUmemAllocationProp, u64);
    cuMemRelease(u64);
    cuMemMap(CUdeviceptr, usize, usize, u64, u64);
    cuMemUnmap(CUdeviceptr, usize);
    cuMemSetAccess(CUdeviceptr, usize, *const CUmemAccessDesc, usize);
    cuMemHostRegister_v2(*mut c_void, usize, u32);
    cuMemHostUnregister(*mut c_void);
    cuMemcpyAsync(CUdeviceptr, CUdeviceptr, usize, CUstream);
    cuMemcpyHtoDAsync_v2(CUdeviceptr, *const c_void, usize, CUstream);
    cuMemcpyPeerAsync(CUdeviceptr, CUcontext, CUdeviceptr, CUcontext, usize, CUstream);
    cuMemcpy3DAsync_v2(*const CUDA_MEMCPY3D, CUstream);
    cuArray3DCreate_v2(*mut CUarray, *const ArrayDescriptor);
    cuArrayDestroy(CUarray);
    cuMipmappedArrayCreate(*mut CUmipmappedArray, *const ArrayDescriptor, u32);
    cuMipmappedArrayGetLevel(*mut CUarray, CUmipmappedArray, u32);
    cuMipmappedArrayDestroy(CUmipmappedArray);
    cuTexObjectCreate(*mut u64, *const ResourceDesc, *const TextureDesc, *const ViewDesc);
    cuTexObjectDestroy(u64);
    cuSurfObjectCreate(*mut u64, *const ResourceDesc);
    cuSurfObjectDestroy(u64);
    cuMemsetD8Async(CUdeviceptr, u8, usize, CUstream);
    cuMemsetD16Async(CUdeviceptr, u16, usize, CUstream);
    cuMemsetD32Async(CUdeviceptr, u32, usize, CUstream);
    cuMemsetD2D8Async(CUdeviceptr, usize, u8, usize, usize, CUstream);
    cuMemsetD2D16Async(CUdeviceptr, usize, u16, usize, usize, CUstream);
    cuMemsetD2D32Async(CUdeviceptr, usize, u32, usize, usize, CUstream);
    cuStreamCreateWithPriority(*mut CUstream, u32, i32);
    cuStreamDestroy_v2(CUstream);
    cuStreamQuery(CUstream);
    cuStreamSynchronize(CUstream);
    cuStreamWaitEvent(CUstream, CUevent, u32);
    cuStreamWriteValue32_v2(CUstream, CUdeviceptr, u32, u32);
    cuStreamWaitValue32_v2(CUstream, CUdeviceptr, u32, u32);
    cuEventCreate(*mut CUevent, u32);
    cuEventRecord(CUevent, CUstream);
    cuEventQuery(CUevent);
    cuEventSynchronize(CUevent);
    cuEventElapsedTime(*mut f32, CUevent, CUevent);
    cuEventDestroy_v2(CUevent);
    cuLaunchHostFunc(CUstream, HostFn, *mut c_void);
    cuModuleLoadDataEx(*mut CUmodule, *const c_void, u32, *mut u32, *mut *mut c_void);
    cuModuleUnload(CUmodule);
    cuModuleGetFunction(*mut CUfunction, CUmodule, *const c_char);
    cuModuleGetGlobal_v2(*mut CUdeviceptr, *mut usize, CUmodule, *const c_char);
    cuFuncGetAttribute(*mut i32, i32, CUfunction);
    cuFuncSetAttribute(CUfunction, i32, i32);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut i32, CUfunction, i32, usize);
    cuLaunchKernel(
        CUfunction, u32, u32, u32, u32, u32, u32, u32, CUstream, *mut *mut c_void, *mut *mut c_void
    );
    cuLaunchCooperativeKernel(
        CUfunction, u32, u32, u32, u32, u32, u32, u32, CUstream, *mut *mut c_void
    );
    ?
    cuFuncGetParamInfo(CUfunction, usize, *mut usize, *mut usize);
    cuModuleGetFunctionCount(*mut u32, CUmodule);
    cuLinkCreate_v2(u32, *mut u32, *mut *mut c_void, *mut *mut c_void);
    cuLinkAddData_v2(
        *mut c_void, u32, *mut c_void, usize, *const c_char, u32, *mut u32, *mut *mut c_void
    );
    cuLinkComplete(*mut c_void, *mut *mut c_void, *mut usize);
    cuLinkDestroy(*mut c_void);
}

/// The driver, loaded and started. It stays loaded as long as the process.
pub(super) fn driver() -> Result<&'static Driver, &'static DriverError> {
    static DRIVER: OnceLock<Result<Driver, DriverError>> = OnceLock::new();
    DRIVER
        .get_or_init(|| {
            let driver = load()?;
            // SAFETY: cuInit has no preconditions.
            match unsafe { (driver.cuInit)(0) } {
                0 => Ok(driver),
                code => Err(DriverError::Init {
                    name: driver.name_of(code),
                    path: driver.path,
                    code,
                }),
            }
        })
        .as_ref()
}

fn load() -> Result<Driver, DriverError> {
    let named = std::env::var_os(DRIVER_VARIABLE).map(PathBuf::from);
    if let Some(path) = named {
        let shown = path.display().to_string();
        let library = open(&path).map_err(|error| DriverError::Load {
            path: shown.clone(),
            reason: error.to_string(),
        })?;
        return Driver::of(library, shown);
    }
    for place in PLACES {
        let path = PathBuf::from(place);
        if path.is_absolute() && !path.exists() {
            continue;
        }
        let Ok(library) = open(&path) else {
            continue;
        };
        // Both APIs in one library are vcuda's own stand-in, which would lead back here.
        if symbol::<*const c_void>(library, "cudaMalloc").is_none() {
            return Driver::of(library, place.to_owned());
        }
    }
    Err(DriverError::NotFound)
}

fn open(path: &std::path::Path) -> Result<&'static libloading::Library, libloading::Error> {
    // SAFETY: what a CUDA driver does when it is loaded is its own affair, and wanted.
    let library = unsafe { libloading::Library::new(path) }?;
    Ok(Box::leak(Box::new(library)))
}

impl Driver {
    /// The name of a code, such as `CUDA_ERROR_NO_DEVICE`.
    pub(super) fn name_of(&self, code: Code) -> String {
        let mut name = std::ptr::null();
        // SAFETY: the pointer is to a local variable, which is set to a static string or left.
        let known = unsafe { (self.cuGetErrorName)(code, &mut name) } == 0 && !name.is_null();
        match known {
            // SAFETY: the driver gave a NUL-terminated string that lives as long as itself.
            true => unsafe { std::ffi::CStr::from_ptr(name) }
                .to_string_lossy()
                .into_owned(),
            false => format!("error {code}"),
        }
    }
}

/// A driver's code as a result.
pub(super) fn check(code: Code) -> Result<(), Status> {
    match code {
        0 => Ok(()),
        code => Err(Status(code)),
    }
}

/// Calls a driver function whose arguments are valid: `call!(driver.cuName(…))`.
macro_rules! call {
    ($driver:expr, $name:ident ( $($argument:expr),* $(,)? )) => {{
        // SAFETY: handles are live and of the current context, and pointers point to variables or
        // to memory that is as long as the arguments beside them say.
        let code = unsafe { ($driver.$name)($($argument),*) };
        $crate::devices::nvidia::driver::check(code)
    }};
}

pub(super) use call;
