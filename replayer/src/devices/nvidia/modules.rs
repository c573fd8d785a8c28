// SPDX-License-Identifier: MIT OR Apache-2.0
//! Modules, which the driver loads as they are, and their functions.

use std::collections::HashMap;
use std::ffi::{CString, c_void};

use vcuda_fatbin::{Entry, EntryKind, Image};
use vcuda_protocol::{FunctionInfo, GlobalInfo, ModuleInfo, Status};

use super::driver::{CUdeviceptr, CUfunction, CUmodule, CUstream, call, check};
use super::machine::{Jobs, Machine, State};
use super::managed;
use crate::devices::{Completion, FunctionHandle, LaunchRequest, ModuleHandle, StreamHandle};
use crate::status;

/// Room for each of the two logs.
const LOG: usize = 8 << 10;

/// A payload that takes more than this is not looked into.
const PAYLOAD: usize = 256 << 20;

/// Parameters of a kernel that are asked for at most. CUDA allows kernels 32764 bytes of them.
const MAX_PARAMS: usize = 32 << 10;

#[derive(Default)]
pub(super) struct Modules {
    modules: HashMap<u64, Module>,
    functions: HashMap<u64, Function>,
}

struct Module {
    device: usize,
    /// Addresses of the variables that were asked for.
    globals: Vec<u64>,
    /// Parameter layouts by kernel, where the driver cannot be asked for them.
    layouts: HashMap<String, Vec<(u32, u32)>>,
}

struct Function {
    device: usize,
    module: u64,
    /// Offset and size of each parameter.
    params: Vec<(u32, u32)>,
}

/// Numbers of `CUfunction_attribute`.
mod attribute {
    pub(super) const MAX_THREADS: i32 = 0;
    pub(super) const STATIC_SHARED: i32 = 1;
    pub(super) const CONST_BYTES: i32 = 2;
    pub(super) const LOCAL_BYTES: i32 = 3;
    pub(super) const REGISTERS: i32 = 4;
    pub(super) const PTX_VERSION: i32 = 5;
    pub(super) const BINARY_VERSION: i32 = 6;
    pub(super) const MAX_DYNAMIC_SHARED: i32 = 8;
}

impl State {
    pub(super) fn load_module(
        &mut self,
        machine: &Machine,
        device: usize,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> (Option<ModuleHandle>, ModuleInfo) {
        let refused = |status, error_log| {
            let info = ModuleInfo {
                status,
                info_log: String::new(),
                error_log,
                kernels: 0,
            };
            (None, info)
        };
        if let Err(status) = machine.enter(device) {
            return refused(status, String::new());
        }
        // PTX text ends with a NUL, which may not have travelled.
        let made = if !managed.is_empty() {
            Some(machine.with_managed(device, image, managed))
        } else if machine.has_to_link(device, image) {
            Some(machine.machine_code(device, image))
        } else {
            None
        };
        let bytes = match made {
            None => [image, &[0]].concat(),
            Some(Ok(cubin)) => cubin,
            Some(Err((status, reason))) => return refused(status, reason),
        };
        let (loaded, info_log, error_log) = load(machine, &bytes);
        let cu = match loaded {
            Ok(cu) => cu,
            Err(status) => return refused(status, error_log),
        };
        let mut kernels = 0;
        if let Some(count) = machine.driver.cuModuleGetFunctionCount {
            // SAFETY: the module was just loaded; the pointer is to a local variable.
            unsafe { count(&mut kernels, cu as CUmodule) };
        }
        let module = Module {
            device,
            globals: Vec::new(),
            layouts: match machine.driver.cuFuncGetParamInfo {
                Some(_) => HashMap::new(),
                None => layouts(image),
            },
        };
        self.devices[device].prints |= prints(image, machine.capability(device));
        self.modules.modules.insert(cu, module);
        let info = ModuleInfo {
            status: Status::SUCCESS,
            info_log,
            error_log,
            kernels,
        };
        (Some(ModuleHandle(cu)), info)
    }

    /// Its functions are invalid at once; the driver unloads it when work that may use them has
    /// finished.
    pub(super) fn unload_module(
        &mut self,
        machine: &Machine,
        device: usize,
        module: ModuleHandle,
        jobs: &mut Jobs,
    ) -> Result<(), Status> {
        let unloaded = self.modules.modules.remove(&module.0);
        let unloaded = unloaded.ok_or(status::INVALID_HANDLE)?;
        self.modules
            .functions
            .retain(|_, function| function.module != module.0);
        for global in unloaded.globals {
            self.devices[device].memory.globals.remove(&global);
        }
        let this = machine.this();
        let unload: Completion = Box::new(move |idle| {
            // With a context that failed or is gone, its modules are gone too.
            if idle.is_ok() && this.enter(device).is_ok() {
                let _ = call!(this.driver, cuModuleUnload(module.0 as CUmodule));
            }
        });
        self.when_idle(machine, Some(device), unload, jobs);
        Ok(())
    }

    pub(super) fn forget_modules(&mut self, device: usize) {
        let modules = &mut self.modules;
        modules.modules.retain(|_, module| module.device != device);
        modules.functions.retain(|_, f| f.device != device);
        self.devices[device].prints = false;
    }

    pub(super) fn find_function(
        &mut self,
        machine: &Machine,
        module: ModuleHandle,
        name: &str,
    ) -> Result<(FunctionHandle, FunctionInfo), Status> {
        let of = self.modules.modules.get(&module.0);
        let of = of.ok_or(status::INVALID_HANDLE)?;
        let device = of.device;
        machine.enter(device)?;
        let c_name = CString::new(name).map_err(|_| status::NOT_FOUND)?;
        let driver = machine.driver;
        let mut function: CUfunction = std::ptr::null_mut();
        call!(
            driver,
            cuModuleGetFunction(&mut function, module.0 as CUmodule, c_name.as_ptr())
        )?;
        let attribute = |number| {
            let mut value = 0;
            call!(driver, cuFuncGetAttribute(&mut value, number, function))?;
            Ok::<_, Status>(u32::try_from(value).unwrap_or(0))
        };
        let params = match driver.cuFuncGetParamInfo {
            Some(info) => (0..MAX_PARAMS)
                .map_while(|index| {
                    let (mut offset, mut size) = (0, 0);
                    // SAFETY: the function is live; the pointers are to local variables.
                    let code = unsafe { info(function, index, &mut offset, &mut size) };
                    (code == 0).then_some((offset as u32, size as u32))
                })
                .collect(),
            None => of.layouts.get(name).cloned().unwrap_or_default(),
        };
        let ends = params.iter().map(|&(offset, size)| offset + size);
        let info = FunctionInfo {
            param_bytes: ends.max().unwrap_or(0),
            params: params.clone(),
            max_threads_per_block: attribute(attribute::MAX_THREADS)?,
            static_shared: attribute(attribute::STATIC_SHARED)?,
            const_bytes: attribute(attribute::CONST_BYTES)?,
            local_bytes: attribute(attribute::LOCAL_BYTES)?,
            registers: attribute(attribute::REGISTERS)?,
            ptx_version: attribute(attribute::PTX_VERSION)?,
            binary_version: attribute(attribute::BINARY_VERSION)?,
            max_dynamic_shared: attribute(attribute::MAX_DYNAMIC_SHARED)?,
        };
        let found = Function {
            device,
            module: module.0,
            params,
        };
        self.modules.functions.insert(function as u64, found);
        Ok((FunctionHandle(function as u64), info))
    }

    pub(super) fn find_global(
        &mut self,
        machine: &Machine,
        module: ModuleHandle,
        name: &str,
    ) -> Result<GlobalInfo, Status> {
        let of = self.modules.modules.get_mut(&module.0);
        let of = of.ok_or(status::INVALID_HANDLE)?;
        machine.enter(of.device)?;
        let c_name = CString::new(name).map_err(|_| status::NOT_FOUND)?;
        let (mut address, mut size): (CUdeviceptr, usize) = (0, 0);
        call!(
            machine.driver,
            cuModuleGetGlobal_v2(
                &mut address,
                &mut size,
                module.0 as CUmodule,
                c_name.as_ptr()
            )
        )?;
        let size = size as u64;
        of.globals.push(address);
        let globals = &mut self.devices[of.device].memory.globals;
        globals.insert(address, size);
        Ok(GlobalInfo { address, size })
    }

    fn function(&self, function: FunctionHandle) -> Result<&Function, Status> {
        let found = self.modules.functions.get(&function.0);
        found.ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn set_attribute(
        &mut self,
        machine: &Machine,
        function: FunctionHandle,
        attribute: u32,
        value: i32,
    ) -> Result<(), Status> {
        machine.enter(self.function(function)?.device)?;
        let number = i32::try_from(attribute).map_err(|_| status::INVALID_VALUE)?;
        let function = function.0 as CUfunction;
        call!(machine.driver, cuFuncSetAttribute(function, number, value))
    }

    pub(super) fn occupancy(
        &mut self,
        machine: &Machine,
        function: FunctionHandle,
        block_size: u32,
        dynamic_shared: u64,
    ) -> Result<u32, Status> {
        machine.enter(self.function(function)?.device)?;
        let block_size = i32::try_from(block_size).map_err(|_| status::INVALID_VALUE)?;
        let shared = dynamic_shared as usize;
        let function = function.0 as CUfunction;
        let mut blocks = 0;
        call!(
            machine.driver,
            cuOccupancyMaxActiveBlocksPerMultiprocessor(&mut blocks, function, block_size, shared)
        )?;
        Ok(u32::try_from(blocks).unwrap_or(0))
    }

    pub(super) fn launch(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        mut request: LaunchRequest,
        tag: u64,
    ) -> Result<(), Status> {
        let (_, cu) = self.issue(machine, stream)?;
        match request.cooperative {
            true => {
                let params = self.function(request.function)?.params.clone();
                launch_cooperative(machine, cu, &mut request, &params)?;
            }
            false => launch(machine, cu, &mut request)?,
        }
        self.launched(stream, tag);
        Ok(())
    }
}

impl Machine {
    /// Ten times the compute capability of a GPU.
    fn capability(&self, device: usize) -> u32 {
        const MAJOR: u32 = 75;
        const MINOR: u32 = 76;
        let attributes = &self.gpus[device].info.attributes;
        let value = |number| {
            let found = attributes.iter().find(|&&(n, _)| n == number);
            found.map_or(0, |&(_, value)| value.max(0) as u32)
        };
        10 * value(MAJOR) + value(MINOR)
    }
}

/// Why machine code is not to be had: for the program, and for people.
type Refusal = (Status, String);

impl Machine {
    /// An image's machine code for a GPU, which finds its managed variables at these addresses.
    fn with_managed(
        &self,
        device: usize,
        image: &[u8],
        managed: &HashMap<String, u64>,
    ) -> Result<Vec<u8>, Refusal> {
        let refused = |reason: &dyn std::fmt::Display| (status::NOT_SUPPORTED, reason.to_string());
        let mut cubin = self.machine_code(device, image)?;
        let initial = managed::place(&mut cubin, managed).map_err(|error| refused(&error))?;
        for value in initial {
            let window = self.window.as_ref();
            let written = window.and_then(|window| {
                let offset = window.offset_of(value.address)?;
                let written = window.memory.write(offset as usize, &value.bytes);
                written.then_some(())
            });
            written.ok_or_else(|| refused(&"A managed variable lies outside of the window."))?;
        }
        Ok(cubin)
    }

    /// Whether the translation units of an image have to be linked: together they have PTX for a GPU, and what was linked
    /// when the program was built has no code for it.
    fn has_to_link(&self, device: usize, image: &[u8]) -> bool {
        let capability = self.capability(device);
        Image::parse(image).is_ok_and(|image| {
            let linked = image.whole().iter().any(|entry| match entry.kind {
                EntryKind::Cubin => runs_on(entry.arch.sm, capability),
                _ => true,
            });
            !linked && !image.ptx_to_link(capability).is_empty()
        })
    }

    /// The machine code that the driver would run, compiled and linked if there is only PTX.
    fn machine_code(&self, device: usize, image: &[u8]) -> Result<Vec<u8>, Refusal> {
        let capability = self.capability(device);
        let parsed = Image::parse(image);
        let parsed = parsed.map_err(|error| (status::INVALID_IMAGE, error.to_string()))?;
        let payload = |entry: &Entry| {
            let payload = entry.payload_within(PAYLOAD);
            let payload = payload.map_err(|error| (status::INVALID_IMAGE, error.to_string()))?;
            Ok(payload.into_owned())
        };
        let code = (parsed.whole().iter())
            .filter(|entry| entry.kind == EntryKind::Cubin && runs_on(entry.arch.sm, capability))
            .max_by_key(|entry| entry.arch.sm);
        if let Some(code) = code {
            return payload(code);
        }
        let texts: Result<Vec<_>, _> = (parsed.ptx_to_link(capability).into_iter())
            .map(payload)
            .collect();
        match texts?.as_slice() {
            [] => {
                let reason = "There is neither machine code nor PTX for this GPU.";
                Err((status::NO_BINARY_FOR_GPU, reason.to_owned()))
            }
            texts => self.compile(texts).map_err(|status| {
                let reason = "PTX that is linked or has managed variables could not be compiled.";
                (status, reason.to_owned())
            }),
        }
    }

    /// Compiles PTX and links it to a cubin, in the current context.
    fn compile(&self, texts: &[Vec<u8>]) -> Result<Vec<u8>, Status> {
        /// `CU_JIT_INPUT_PTX`
        const PTX: u32 = 1;
        let driver = self.driver;
        let (Some(create), Some(add), Some(complete), Some(destroy)) = (
            driver.cuLinkCreate_v2,
            driver.cuLinkAddData_v2,
            driver.cuLinkComplete,
            driver.cuLinkDestroy,
        ) else {
            return Err(status::NOT_SUPPORTED);
        };
        let none = std::ptr::null_mut();
        let mut link = std::ptr::null_mut();
        let (mut cubin, mut size) = (std::ptr::null_mut(), 0);
        // SAFETY: without options; each text is as long as it is said to be and ends with a NUL; the
        // cubin belongs to the link and is copied before that is destroyed.
        unsafe {
            check(create(0, none, none.cast(), &mut link))?;
            let mut add = |text: &Vec<u8>| {
                let mut text = [text.as_slice(), &[0]].concat();
                let (text_at, name) = (text.as_mut_ptr().cast(), c"unit".as_ptr());
                let len = text.len();
                check(add(link, PTX, text_at, len, name, 0, none, none.cast()))
            };
            let linked = (texts.iter().try_for_each(&mut add))
                .and_then(|()| check(complete(link, &mut cubin, &mut size)))
                .map(|()| std::slice::from_raw_parts(cubin.cast::<u8>(), size).to_vec());
            let _ = destroy(link);
            linked
        }
    }
}

/// Loads an image that ends with a NUL; gives what the driver says of one that does not load, too.
fn load(machine: &Machine, image: &[u8]) -> (Result<u64, Status>, String, String) {
    let mut module: CUmodule = std::ptr::null_mut();
    let none = std::ptr::null_mut();
    // The driver keeps what it compiled for the next time only where nobody asks for logs.
    let loaded = call!(
        machine.driver,
        cuModuleLoadDataEx(&mut module, image.as_ptr().cast(), 0, none, none.cast())
    );
    match loaded {
        Ok(()) => (Ok(module as u64), String::new(), String::new()),
        Err(status) if status::is_sticky(status) => (Err(status), String::new(), String::new()),
        Err(_) => load_with_logs(machine, image),
    }
}

fn load_with_logs(machine: &Machine, image: &[u8]) -> (Result<u64, Status>, String, String) {
    /// `CU_JIT_INFO_LOG_BUFFER` and `..._SIZE_BYTES`, `CU_JIT_ERROR_LOG_BUFFER` and so on.
    const OPTIONS: [u32; 4] = [3, 4, 5, 6];
    let mut logs = [vec![0u8; LOG], vec![0u8; LOG]];
    let [info, error] = &mut logs;
    let mut options = OPTIONS;
    let mut values = [
        info.as_mut_ptr().cast::<c_void>(),
        LOG as *mut c_void,
        error.as_mut_ptr().cast(),
        LOG as *mut c_void,
    ];
    let mut module: CUmodule = std::ptr::null_mut();
    let loaded = call!(
        machine.driver,
        cuModuleLoadDataEx(
            &mut module,
            image.as_ptr().cast(),
            OPTIONS.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    );
    let [info, error] = logs.map(|log| {
        let text = log.split(|&byte| byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    });
    (loaded.map(|()| module as u64), info, error)
}

/// Parameter layouts of all kernels of an image.
fn layouts(image: &[u8]) -> HashMap<String, Vec<(u32, u32)>> {
    let mut layouts = HashMap::new();
    let Ok(image) = Image::parse(image) else {
        return layouts;
    };
    for kernel in image
        .entries()
        .iter()
        .filter_map(|e| e.kernels().ok())
        .flatten()
    {
        let params = kernel.params.iter().map(|p| (p.offset, p.size)).collect();
        layouts.insert(kernel.name, params);
    }
    layouts
}

/// Whether kernels of an image may print, so that the driver has to be given a chance to write it.
fn prints(image: &[u8], capability: u32) -> bool {
    let Ok(image) = Image::parse(image) else {
        return true;
    };
    let machine_code = (image.entries().iter())
        .filter(|entry| entry.kind == EntryKind::Cubin && runs_on(entry.arch.sm, capability));
    machine_code
        .chain(image.ptx_to_link(capability))
        .any(|entry| match entry.payload_within(PAYLOAD) {
            Ok(payload) => contains(&payload, b"vprintf"),
            Err(_) => true,
        })
}

/// Whether machine code for one architecture runs on a GPU of ten times this compute capability.
fn runs_on(sm: u32, capability: u32) -> bool {
    sm / 10 == capability / 10 && sm <= capability
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let first = word[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(word) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

fn launch(machine: &Machine, stream: CUstream, request: &mut LaunchRequest) -> Result<(), Status> {
    /// `CU_LAUNCH_PARAM_BUFFER_POINTER`, `CU_LAUNCH_PARAM_BUFFER_SIZE`
    const BUFFER_POINTER: *mut c_void = std::ptr::without_provenance_mut(1);
    const BUFFER_SIZE: *mut c_void = std::ptr::without_provenance_mut(2);
    let params = &mut request.params.0;
    let mut size = params.len();
    let mut packed = [
        BUFFER_POINTER,
        params.as_mut_ptr().cast(),
        BUFFER_SIZE,
        (&raw mut size).cast(),
        std::ptr::null_mut(),
    ];
    let extra = match size {
        0 => std::ptr::null_mut(),
        _ => packed.as_mut_ptr(),
    };
    let (grid, block) = (request.grid, request.block);
    call!(
        machine.driver,
        cuLaunchKernel(
            request.function.0 as CUfunction,
            grid.x,
            grid.y,
            grid.z,
            block.x,
            block.y,
            block.z,
            request.dynamic_shared,
            stream,
            std::ptr::null_mut(),
            extra,
        )
    )
}

/// Cooperative launches take no packed arguments.
fn launch_cooperative(
    machine: &Machine,
    stream: CUstream,
    request: &mut LaunchRequest,
    params: &[(u32, u32)],
) -> Result<(), Status> {
    let bytes = &mut request.params.0;
    let mut pointers = Vec::with_capacity(params.len());
    for &(offset, size) in params {
        let argument = bytes.get_mut(offset as usize..offset as usize + size as usize);
        let argument = argument.ok_or(status::INVALID_VALUE)?;
        pointers.push(argument.as_mut_ptr().cast::<c_void>());
    }
    let (grid, block) = (request.grid, request.block);
    call!(
        machine.driver,
        cuLaunchCooperativeKernel(
            request.function.0 as CUfunction,
            grid.x,
            grid.y,
            grid.z,
            block.x,
            block.y,
            block.z,
            request.dynamic_shared,
            stream,
            pointers.as_mut_ptr(),
        )
    )
}
