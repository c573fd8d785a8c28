// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules and functions: the fat binaries that the program registers before main, and what the
//! Driver API loads.
//!
//! Registration only remembers pointers. A fat binary goes to the worker when a device first needs
//! something of it, once for each device; what a function needs to be launched is asked for once
//! and kept.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_void};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::{Mutex, RwLock};
use vcuda_protocol::{Bytes, Command, FunctionInfo, GlobalInfo, Image, ModuleInfo, Reply, Status};

use crate::contexts::{self, Device, unexpected};
use crate::handles::Spread;
use crate::images::{Data, FatBinaryWrapper, WRAPPER_MAGIC};
use crate::{Result, error, libraries, memory, session};

/// Modules are handed to the program 16 apart from here, functions from there.
const MODULE_HANDLES: u64 = 0x776d_0000_0000;
const FUNCTION_HANDLES: u64 = 0x7766_0000_0000;

/// A module that is loaded on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) id: u32,
    /// The device's number for the program.
    pub(crate) ordinal: u32,
}

impl Module {
    /// The `CUmodule` that names it, once it is [open](open).
    fn handle(self) -> u64 {
        MODULE_HANDLES + u64::from(self.id) * 16
    }
}

/// A kernel of a loaded module.
pub(crate) struct Function {
    pub(crate) id: u32,
    pub(crate) module: Module,
    pub(crate) name: CString,
    pub(crate) info: FunctionInfo,
    /// `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` and
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT` as set, or -1.
    pub(crate) max_dynamic_shared: AtomicI32,
    pub(crate) carveout: AtomicI32,
}

impl Function {
    /// The `CUfunction` that names it, also for `cudaGetFuncBySymbol`.
    pub(crate) fn handle(&self) -> u64 {
        FUNCTION_HANDLES + u64::from(self.id) * 16
    }
}

/// The functions of loaded modules that were looked up.
#[derive(Default)]
struct Functions {
    by_handle: HashMap<u64, Arc<Function>>,
    /// By module id and name.
    by_name: HashMap<(u32, String), Arc<Function>>,
}

impl Functions {
    /// Keeps those of the modules that `stay` holds for.
    fn retain(&mut self, stay: impl Fn(Module) -> bool) {
        self.by_handle.retain(|_, f| stay(f.module));
        self.by_name.retain(|_, f| stay(f.module));
    }
}

static LOOKED_UP: LazyLock<RwLock<Functions>> = LazyLock::new(RwLock::default);

/// A module that the Driver API may name by its handle.
#[derive(Clone, Copy)]
struct Open {
    module: Module,
    /// Whether it is a library's or was registered, which the program may not unload.
    of_library: bool,
}

static OPEN: LazyLock<RwLock<HashMap<u64, Open>>> = LazyLock::new(RwLock::default);

static NEXT_MODULE: AtomicU32 = AtomicU32::new(1);
static NEXT_FUNCTION: AtomicU32 = AtomicU32::new(1);

/// Images up to this size travel in the command.
const INLINE_IMAGE: usize = 16 << 10;

/// Loads an image on a device. A module that did not load is `Err` within `ModuleInfo.status`.
pub(crate) fn load(device: &Device, image: &[u8]) -> Result<(Module, ModuleInfo)> {
    load_with(device, image, &[])
}

/// The same, with names and addresses of managed variables.
fn load_with(
    device: &Device,
    image: &[u8],
    managed: &[(String, u64)],
) -> Result<(Module, ModuleInfo)> {
    let id = NEXT_MODULE.fetch_add(1, Ordering::Relaxed);
    for (name, address) in managed {
        session::get()?.post(&Command::ManagedVariable {
            module: id,
            name: name.clone(),
            address: *address,
        })?;
    }
    let send = |image| {
        session::get()?.call(&Command::ModuleLoad {
            device: device.wire,
            module: id,
            image,
        })
    };
    let reply = match image.len() {
        0..=INLINE_IMAGE => send(Image::Inline(Bytes(image.to_vec())))?,
        len => memory::with_bytes_in_window(image, |offset| {
            send(Image::Window {
                offset,
                len: len as u64,
            })
        })?,
    };
    match reply {
        Reply::Module(info) => Ok((
            Module {
                id,
                ordinal: device.ordinal,
            },
            info,
        )),
        other => Err(unexpected("ModuleLoad", &other)),
    }
}

pub(crate) fn unload(module: Module) -> Result<()> {
    LOOKED_UP.write().retain(|m| m != module);
    OPEN.write().remove(&module.handle());
    session::get()?.post(&Command::ModuleUnload { module: module.id })
}

/// Gives the program a handle of a module that it loaded (`CUmodule`).
pub(crate) fn open(module: Module) -> u64 {
    let of_library = false;
    let handle = module.handle();
    OPEN.write().insert(handle, Open { module, of_library });
    handle
}

/// The handle of a module, which is a library's or was registered if the program did not load it.
pub(crate) fn handle_of(module: Module) -> u64 {
    let of_library = true;
    let handle = module.handle();
    let mut open = OPEN.write();
    open.entry(handle).or_insert(Open { module, of_library });
    handle
}

/// The module of a `CUmodule`.
pub(crate) fn opened(handle: u64) -> Result<Module> {
    let found = OPEN.read().get(&handle).copied();
    found.map(|open| open.module).ok_or(error::INVALID_HANDLE)
}

/// `cuModuleUnload`. The module of a library goes with its library.
pub(crate) fn close(handle: u64) -> Result<()> {
    let found = OPEN.read().get(&handle).copied();
    match found.ok_or(error::INVALID_HANDLE)? {
        Open {
            of_library: true, ..
        } => Err(error::NOT_PERMITTED),
        Open { module, .. } => unload(module),
    }
}

/// The kernel that any of CUDA's handles means on a device: a `CUfunction`, which is of one device
/// already, a `CUkernel` of a library, or a kernel's host stub, whose address is also its
/// `cudaKernel_t`.
pub(crate) fn kernel(device: &Device, handle: u64) -> Result<Arc<Function>> {
    if let Some(function) = FUNCTIONS.read().get(&(device.ordinal, handle)) {
        return Ok(function.clone());
    }
    if let Ok(function) = function_of(handle) {
        return Ok(function);
    }
    match libraries::kernel(device, handle)? {
        Some(function) => Ok(function),
        None => registered_function(device, handle),
    }
}

/// The function of a `CUfunction`.
pub(crate) fn function_of(handle: u64) -> Result<Arc<Function>> {
    let found = LOOKED_UP.read().by_handle.get(&handle).cloned();
    found.ok_or(error::INVALID_HANDLE)
}

/// Looks a kernel up in a module. Each has one handle, however often it is looked up.
pub(crate) fn function(module: Module, name: &str) -> Result<Arc<Function>> {
    let c_name = CString::new(name).map_err(|_| error::NOT_FOUND)?;
    let key = (module.id, name.to_owned());
    if let Some(function) = LOOKED_UP.read().by_name.get(&key) {
        return Ok(function.clone());
    }
    let id = NEXT_FUNCTION.fetch_add(1, Ordering::Relaxed);
    let command = Command::FunctionGet {
        module: module.id,
        function: id,
        name: name.to_owned(),
    };
    match session::get()?.call(&command)? {
        Reply::Function(info) => {
            let found = Arc::new(Function {
                id,
                module,
                name: c_name,
                info,
                max_dynamic_shared: AtomicI32::new(-1),
                carveout: AtomicI32::new(-1),
            });
            let mut looked_up = LOOKED_UP.write();
            // Two threads may have looked at once; both must go on with one.
            let kept = looked_up.by_name.entry(key).or_insert(found).clone();
            looked_up.by_handle.insert(kept.handle(), kept.clone());
            Ok(kept)
        }
        other => Err(unexpected("FunctionGet", &other)),
    }
}

/// Looks a global variable up in a module.
pub(crate) fn global(device: &Device, module: Module, name: &str) -> Result<GlobalInfo> {
    let command = Command::GlobalGet {
        module: module.id,
        name: name.to_owned(),
    };
    match session::get()?.call(&command)? {
        Reply::Global(global) => {
            device.memory.add_global(global.address, global.size);
            Ok(global)
        }
        other => Err(unexpected("GlobalGet", &other)),
    }
}

/// A fat binary that loads on each device when something of it is first used there: one that the
/// program registered, whose address is the handle that the program keeps, or a library's.
pub(crate) struct FatBinary {
    data: Data,
    /// The module on each device that has it, by ordinal, or why it did not load.
    modules: Mutex<Vec<(u32, std::result::Result<Module, Status>)>>,
    managed: Mutex<Vec<ManagedVariable>>,
}

/// A `__managed__` variable: the program reads and writes it through a pointer of its own, and it
/// lies in managed memory, where all devices have it.
struct ManagedVariable {
    /// The address of that pointer.
    pointer: u64,
    name: String,
    size: u64,
    /// Where the variable is, once it is.
    address: Option<u64>,
}

#[derive(Clone)]
struct Registered {
    binary: &'static FatBinary,
    name: String,
}

#[derive(Default)]
struct Registry {
    /// By the address of the host stub of a kernel, and of the host shadow of a variable.
    kernels: HashMap<u64, Registered>,
    variables: HashMap<u64, (Registered, u64)>,
    /// Sizes of managed variables, which are named by where they are.
    managed: HashMap<u64, u64>,
}

static REGISTRY: LazyLock<RwLock<Registry>> = LazyLock::new(RwLock::default);
/// Functions that were looked up, by device ordinal and host stub.
static FUNCTIONS: LazyLock<RwLock<FunctionsByStub>> = LazyLock::new(RwLock::default);
type FunctionsByStub = HashMap<(u32, u64), Arc<Function>, BuildHasherDefault<Spread>>;

/// Variables that were looked up, by device ordinal and host shadow.
static GLOBALS: LazyLock<RwLock<HashMap<(u32, u64), GlobalInfo>>> = LazyLock::new(RwLock::default);

/// `__cudaRegisterFatBinary`. The registration is never dropped: programs unregister while they
/// exit, when other threads may still launch.
///
/// # Safety
/// `wrapper` is null or points to a wrapper that nvcc or clang made.
pub(crate) unsafe fn register_fat_binary(wrapper: *const FatBinaryWrapper) -> *mut c_void {
    if wrapper.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: not null, so by this function's contract a wrapper.
    let data = match unsafe { Data::registered(wrapper) } {
        Ok(data) => data,
        Err(magic) => {
            vcuda_transport::say!(
                "a fat binary wrapper begins with {magic:#010x} instead of {WRAPPER_MAGIC:#010x}; its kernels cannot be launched.",
            );
            return std::ptr::null_mut();
        }
    };
    let binary: &'static FatBinary = Box::leak(Box::new(FatBinary {
        data,
        modules: Mutex::default(),
        managed: Mutex::default(),
    }));
    BINARIES.lock().push(binary);
    std::ptr::from_ref(binary).cast_mut().cast()
}

/// All registered fat binaries, to tell a handle from any other value.
static BINARIES: Mutex<Vec<&'static FatBinary>> = Mutex::new(Vec::new());

/// The fat binary of a handle that `__cudaRegisterFatBinary` returned.
pub(crate) fn binary(handle: *mut c_void) -> Result<&'static FatBinary> {
    let binaries = BINARIES.lock();
    let found = binaries
        .iter()
        .rev()
        .copied()
        .find(|&b| std::ptr::eq(b, handle.cast()));
    found.ok_or(error::INVALID_IMAGE)
}

fn name_at(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: nvcc and clang register NUL-terminated names.
    Some(
        unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned(),
    )
}

/// `__cudaRegisterFunction`
pub(crate) fn register_function(handle: *mut c_void, host: *const c_void, name: *const c_char) {
    if let (Ok(binary), Some(name)) = (binary(handle), name_at(name)) {
        let registered = Registered { binary, name };
        REGISTRY.write().kernels.insert(host as u64, registered);
    }
}

/// `__cudaRegisterVar`
pub(crate) fn register_variable(
    handle: *mut c_void,
    host: *const c_void,
    name: *const c_char,
    size: u64,
) {
    if let (Ok(binary), Some(name)) = (binary(handle), name_at(name)) {
        let registered = Registered { binary, name };
        let mut registry = REGISTRY.write();
        registry.variables.insert(host as u64, (registered, size));
    }
}

/// `__cudaRegisterManagedVar`
pub(crate) fn register_managed_variable(
    handle: *mut c_void,
    pointer: *mut *mut c_void,
    name: *const c_char,
    size: u64,
) {
    if let (Ok(binary), Some(name)) = (binary(handle), name_at(name)) {
        binary.managed.lock().push(ManagedVariable {
            pointer: pointer as u64,
            name,
            size,
            address: None,
        });
    }
}

impl FatBinary {
    /// A library's image.
    pub(crate) fn copied(image: &[u8]) -> Self {
        FatBinary {
            data: Data::copied(image),
            modules: Mutex::default(),
            managed: Mutex::default(),
        }
    }

    /// The module on a device, loaded if it is not yet.
    pub(crate) fn module(&self, device: &Device) -> Result<Module> {
        self.load(device, |info| {
            if !info.status.is_success() {
                vcuda_transport::say!("a fat binary did not load: {}", info.error_log.trim_end());
            }
        })
    }

    /// Like [`FatBinary::module`]; `report` sees how loading went, if it was not loaded before.
    pub(crate) fn load(&self, device: &Device, report: impl FnOnce(&ModuleInfo)) -> Result<Module> {
        let mut modules = self.modules.lock();
        if let Some(&(_, module)) = modules.iter().find(|&&(d, _)| d == device.ordinal) {
            return module;
        }
        let image = &*self.data.bytes()?;
        let managed = self.place_managed(device)?;
        if !managed.is_empty() {
            // Loading gives managed variables their first values, so that all devices have to do
            // it before the program can use them.
            for other in contexts::devices()?.iter() {
                let known = modules.iter().any(|&(d, _)| d == other.ordinal);
                if other.ordinal != device.ordinal && !known {
                    let (module, info) = load_with(other, image, &managed)?;
                    modules.push((
                        other.ordinal,
                        info.status
                            .is_success()
                            .then_some(module)
                            .ok_or(info.status),
                    ));
                }
            }
        }
        let (module, info) = load_with(device, image, &managed)?;
        report(&info);
        let outcome = info
            .status
            .is_success()
            .then_some(module)
            .ok_or(info.status);
        modules.push((device.ordinal, outcome));
        outcome
    }

    /// Gives managed variables their memory, and the program the pointers to them.
    fn place_managed(&self, device: &Device) -> Result<Vec<(String, u64)>> {
        /// `cudaMemAttachGlobal`
        const ATTACH_GLOBAL: u32 = 1;
        let mut variables = self.managed.lock();
        let mut placed = Vec::new();
        for variable in &mut *variables {
            let address = match variable.address {
                Some(address) => address,
                None => memory::allocate_managed(device, variable.size, ATTACH_GLOBAL)?,
            };
            if variable.address.replace(address).is_none() {
                let mut registry = REGISTRY.write();
                registry.managed.insert(address, variable.size);
                // SAFETY: the program registered the address of a pointer, which it reads only
                // when the module is loaded.
                unsafe { (variable.pointer as *mut u64).write(address) };
            }
            placed.push((variable.name.clone(), address));
        }
        Ok(placed)
    }

    /// Unloads it from all devices.
    pub(crate) fn unload(&self) -> Result<()> {
        let modules = std::mem::take(&mut *self.modules.lock());
        modules
            .into_iter()
            .filter_map(|(_, module)| module.ok())
            .try_for_each(unload)
    }

    /// The device was reset.
    pub(crate) fn forget(&self, device: &Device) {
        self.modules.lock().retain(|&(d, _)| d != device.ordinal);
    }
}

/// Whether a host address is a registered kernel.
pub(crate) fn is_kernel(host: u64) -> bool {
    REGISTRY.read().kernels.contains_key(&host)
}

/// The kernel that a host stub stands for, on a device.
pub(crate) fn registered_function(device: &Device, host: u64) -> Result<Arc<Function>> {
    let key = (device.ordinal, host);
    if let Some(function) = FUNCTIONS.read().get(&key) {
        return Ok(function.clone());
    }
    let registered = REGISTRY.read().kernels.get(&host).cloned();
    let registered = registered.ok_or(error::INVALID_DEVICE_FUNCTION)?;
    let module = registered.binary.module(device)?;
    let found = function(module, &registered.name).map_err(|status| match status {
        error::NOT_FOUND => error::INVALID_DEVICE_FUNCTION,
        other => other,
    })?;
    // Two threads may have looked at once; both must go on with one.
    Ok(FUNCTIONS.write().entry(key).or_insert(found).clone())
}

/// The variable that a host shadow stands for, on a device. Also takes what CUDA 4 and older
/// toolchains pass: nothing here accepts names.
pub(crate) fn registered_global(device: &Device, host: u64) -> Result<GlobalInfo> {
    let key = (device.ordinal, host);
    if let Some(&global) = GLOBALS.read().get(&key) {
        return Ok(global);
    }
    if let Some(&size) = REGISTRY.read().managed.get(&host) {
        let address = host;
        return Ok(GlobalInfo { address, size });
    }
    let registered = REGISTRY.read().variables.get(&host).cloned();
    let (registered, _) = registered.ok_or(error::INVALID_SYMBOL)?;
    let module = registered.binary.module(device)?;
    match global(device, module, &registered.name) {
        Ok(global) => {
            GLOBALS.write().insert(key, global);
            Ok(global)
        }
        Err(error::NOT_FOUND) => Err(error::INVALID_SYMBOL),
        other => other,
    }
}

/// The device was reset: its modules are gone, and load again when they are needed.
pub(crate) fn forget(device: &Device) {
    for binary in BINARIES.lock().iter() {
        binary.forget(device);
    }
    libraries::forget(device);
    LOOKED_UP.write().retain(|m| m.ordinal != device.ordinal);
    OPEN.write()
        .retain(|_, open| open.module.ordinal != device.ordinal);
    FUNCTIONS.write().retain(|&(d, _), _| d != device.ordinal);
    GLOBALS.write().retain(|&(d, _), _| d != device.ordinal);
}
