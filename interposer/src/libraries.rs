// SPDX-License-Identifier: MIT OR Apache-2.0
//! Libraries of the Driver API (CUDA Driver API, "Library Management"): images that belong to no
//! context, and load on each device when something of them is first used there.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;

use crate::contexts::Device;
use crate::modules::{self, FatBinary, Function};
use crate::{Result, error};

/// Libraries and their kernels are handed out 16 apart from here.
const LIBRARY_HANDLES: u64 = 0x776c_0000_0000;
const KERNEL_HANDLES: u64 = 0x776b_0000_0000;

/// A kernel of a library, before it is one of a device.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Kernel {
    /// The handle of its library.
    pub(crate) library: u64,
    pub(crate) name: String,
}

#[derive(Default)]
struct Libraries {
    created: u64,
    open: HashMap<u64, Arc<FatBinary>>,
    kernels: HashMap<u64, Kernel>,
    /// The handles of the kernels, so that each has one however often it is looked up.
    handles: HashMap<Kernel, u64>,
}

impl Libraries {
    fn next(&mut self, base: u64) -> u64 {
        self.created += 1;
        base + self.created * 16
    }
}

static LIBRARIES: LazyLock<RwLock<Libraries>> = LazyLock::new(RwLock::default);

/// Gives the program a handle of a library (`CUlibrary`).
pub(crate) fn open(binary: FatBinary) -> u64 {
    let mut libraries = LIBRARIES.write();
    let handle = libraries.next(LIBRARY_HANDLES);
    libraries.open.insert(handle, Arc::new(binary));
    handle
}

/// The library of a `CUlibrary`.
pub(crate) fn opened(handle: u64) -> Result<Arc<FatBinary>> {
    let found = LIBRARIES.read().open.get(&handle).cloned();
    found.ok_or(error::INVALID_HANDLE)
}

/// `cuLibraryUnload`
pub(crate) fn close(handle: u64) -> Result<()> {
    let binary = {
        let mut libraries = LIBRARIES.write();
        let binary = libraries.open.remove(&handle);
        libraries.kernels.retain(|_, k| k.library != handle);
        libraries.handles.retain(|k, _| k.library != handle);
        binary.ok_or(error::INVALID_HANDLE)?
    };
    binary.unload()
}

/// Looks a kernel up in a library (`CUkernel`). `device` is where it is looked for.
pub(crate) fn find(device: &Device, library: u64, name: &str) -> Result<u64> {
    let binary = opened(library)?;
    modules::function(binary.module(device)?, name)?;
    let kernel = Kernel {
        library,
        name: name.to_owned(),
    };
    let mut libraries = LIBRARIES.write();
    if let Some(&handle) = libraries.handles.get(&kernel) {
        return Ok(handle);
    }
    let handle = libraries.next(KERNEL_HANDLES);
    libraries.kernels.insert(handle, kernel.clone());
    libraries.handles.insert(kernel, handle);
    Ok(handle)
}

/// What a `CUkernel` of a library names.
pub(crate) fn described(handle: u64) -> Option<Kernel> {
    LIBRARIES.read().kernels.get(&handle).cloned()
}

/// The kernel of a `CUkernel` on a device; `None` where it is no library's.
pub(crate) fn kernel(device: &Device, handle: u64) -> Result<Option<Arc<Function>>> {
    let Some(kernel) = described(handle) else {
        return Ok(None);
    };
    let binary = opened(kernel.library)?;
    modules::function(binary.module(device)?, &kernel.name).map(Some)
}

/// The device was reset: libraries load again when they are needed.
pub(crate) fn forget(device: &Device) {
    for binary in LIBRARIES.read().open.values() {
        binary.forget(device);
    }
}
