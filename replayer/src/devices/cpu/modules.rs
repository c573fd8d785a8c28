// SPDX-License-Identifier: MIT OR Apache-2.0
//! Loaded modules, their kernels, and what a kernel allows.

use std::collections::HashMap;
use std::sync::Arc;

use vcuda_protocol::{FunctionInfo, Status};
use vcuda_ptx::{Kernel, KernelError, Program};

use super::info::*;
use crate::devices::{FunctionHandle, ModuleHandle};
use crate::status;

/// A loaded module.
pub(super) struct Module {
    pub(super) device: u32,
    pub(super) program: Program,
    /// Addresses and sizes of its variables.
    pub(super) globals: Vec<(u64, u64)>,
    /// Kernels that were asked for: their handles, or why they cannot be had.
    by_name: HashMap<String, Result<FunctionHandle, Status>>,
}

/// A kernel that was asked for.
pub(super) struct Function {
    pub(super) device: u32,
    module: ModuleHandle,
    pub(super) kernel: Arc<Kernel>,
    /// Bytes that a launch may ask for.
    pub(super) max_dynamic_shared: u32,
}

/// The modules and functions of all devices.
#[derive(Default)]
pub(super) struct Modules {
    modules: HashMap<u64, Module>,
    functions: HashMap<u64, Function>,
    named: u64,
}

impl Modules {
    pub(super) fn insert(
        &mut self,
        device: u32,
        program: Program,
        globals: Vec<(u64, u64)>,
    ) -> ModuleHandle {
        self.named += 1;
        let module = Module {
            device,
            program,
            globals,
            by_name: HashMap::new(),
        };
        self.modules.insert(self.named, module);
        ModuleHandle(self.named)
    }

    pub(super) fn get(&self, module: ModuleHandle) -> Result<&Module, Status> {
        self.modules.get(&module.0).ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn remove(&mut self, module: ModuleHandle) -> Result<Module, Status> {
        let removed = self.modules.remove(&module.0);
        self.functions
            .retain(|_, function| function.module != module);
        removed.ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn reset(&mut self, device: u32) {
        self.modules.retain(|_, module| module.device != device);
        self.functions
            .retain(|_, function| function.device != device);
    }

    pub(super) fn function(&self, function: FunctionHandle) -> Result<&Function, Status> {
        self.functions
            .get(&function.0)
            .ok_or(status::INVALID_HANDLE)
    }

    pub(super) fn function_mut(
        &mut self,
        function: FunctionHandle,
    ) -> Result<&mut Function, Status> {
        self.functions
            .get_mut(&function.0)
            .ok_or(status::INVALID_HANDLE)
    }

    /// Finds a kernel, and lowers it the first time. One name is one function, so that its
    /// attributes hold for all who asked for it.
    pub(super) fn find(
        &mut self,
        module: ModuleHandle,
        name: &str,
    ) -> Result<FunctionHandle, Status> {
        let of = self
            .modules
            .get_mut(&module.0)
            .ok_or(status::INVALID_HANDLE)?;
        if let Some(&known) = of.by_name.get(name) {
            return known;
        }
        let kernel = match of.program.kernel(name) {
            Ok(kernel) => kernel,
            Err(KernelError::NotFound { .. }) => return Err(status::NOT_FOUND),
            Err(error) => {
                // Said once; there are only so many kernels that exist and cannot be had.
                vcuda_transport::say!("{error}");
                let status = status_of(&error);
                of.by_name.insert(name.to_owned(), Err(status));
                return Err(status);
            }
        };
        self.named += 1;
        let function = Function {
            device: of.device,
            module,
            max_dynamic_shared: SHARED_PER_BLOCK.saturating_sub(kernel.static_shared()),
            kernel,
        };
        of.by_name
            .insert(name.to_owned(), Ok(FunctionHandle(self.named)));
        self.functions.insert(self.named, function);
        Ok(FunctionHandle(self.named))
    }
}

fn status_of(error: &KernelError) -> Status {
    match error {
        KernelError::Unsupported { .. } => status::NO_BINARY_FOR_GPU,
        _ => status::INVALID_PTX,
    }
}

impl Function {
    pub(super) fn max_threads(&self) -> u32 {
        self.kernel
            .max_threads_per_block()
            .min(MAX_THREADS_PER_BLOCK)
    }

    pub(super) fn info(&self, compute_capability: u32) -> FunctionInfo {
        let kernel = &self.kernel;
        FunctionInfo {
            params: kernel
                .params()
                .iter()
                .map(|param| (param.offset, param.size))
                .collect(),
            param_bytes: kernel.param_bytes(),
            max_threads_per_block: self.max_threads(),
            static_shared: kernel.static_shared(),
            const_bytes: 0,
            local_bytes: kernel.local_bytes(),
            registers: kernel.registers(),
            ptx_version: kernel.target(),
            binary_version: compute_capability,
            max_dynamic_shared: self.max_dynamic_shared,
        }
    }

    /// Sets a `CUfunction_attribute` (CUDA Driver API, `cuFuncSetAttribute`).
    pub(super) fn set_attribute(&mut self, attribute: u32, value: i32) -> Result<(), Status> {
        const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
        const PREFERRED_SHARED_MEMORY_CARVEOUT: u32 = 9;
        match attribute {
            MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let value = u32::try_from(value).map_err(|_| status::INVALID_VALUE)?;
                if value > SHARED_PER_BLOCK_OPTIN.saturating_sub(self.kernel.static_shared()) {
                    return Err(status::INVALID_VALUE);
                }
                self.max_dynamic_shared = value;
                Ok(())
            }
            // A wish about caches, which may be ignored.
            PREFERRED_SHARED_MEMORY_CARVEOUT if (-1..=100).contains(&value) => Ok(()),
            _ => Err(status::INVALID_VALUE),
        }
    }

    /// Blocks that fit one multiprocessor
    /// (`cuOccupancyMaxActiveBlocksPerMultiprocessor`).
    pub(super) fn occupancy(&self, block_size: u32, dynamic_shared: u64) -> Result<u32, Status> {
        if block_size == 0 {
            return Err(status::INVALID_VALUE);
        }
        if block_size > self.max_threads() || dynamic_shared > u64::from(self.max_dynamic_shared) {
            return Ok(0);
        }
        let threads = block_size.next_multiple_of(WARP);
        let shared = (u64::from(self.kernel.static_shared()) + dynamic_shared)
            .next_multiple_of(128)
            + u64::from(SHARED_RESERVED);
        let by_shared = u64::from(SHARED_PER_MULTIPROCESSOR) / shared;
        let registers = self.kernel.registers().max(1).next_multiple_of(8) * threads;
        Ok(BLOCKS_PER_MULTIPROCESSOR
            .min(THREADS_PER_MULTIPROCESSOR / threads)
            .min(by_shared as u32)
            .min((REGISTERS / registers).max(1)))
    }
}
