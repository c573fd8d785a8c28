// SPDX-License-Identifier: MIT OR Apache-2.0
//! A kernel that is ready to run.

use crate::exec::Checks;
use crate::exec::code::Code;
use crate::parse::Sources;
use std::sync::Arc;

/// A parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Bytes from the start of the parameters.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
    /// Its alignment in bytes.
    pub align: u32,
}

/// A lowered kernel, with everything that it calls.
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: u32,
    pub(crate) static_shared: u32,
    /// Bytes that every block has besides.
    pub(crate) reserved_shared: u32,
    pub(crate) uses_dynamic_shared: bool,
    pub(crate) max_threads: u32,
    pub(crate) required_block: Option<[u32; 3]>,
    pub(crate) registers: u32,
    pub(crate) target: u32,
    /// Special registers that it reads.
    pub(crate) specials: u32,
    /// Source lines of its module.
    pub(crate) sources: Arc<Sources>,
    pub(crate) checks: Checks,
    pub(crate) code: Code,
}

impl Kernel {
    /// Its name in the module.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters in order; together they take [`Kernel::param_bytes`].
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Bytes of all parameters.
    pub fn param_bytes(&self) -> u32 {
        self.param_bytes
    }

    /// Bytes of shared memory that every launch has.
    pub fn static_shared(&self) -> u32 {
        self.static_shared
    }

    /// Whether it uses dynamic shared memory.
    pub fn uses_dynamic_shared(&self) -> bool {
        self.uses_dynamic_shared
    }

    /// Bytes of local memory per thread, without the frames of recursive calls.
    pub fn local_bytes(&self) -> u32 {
        self.code
            .functions
            .iter()
            .map(|function| function.local_bytes)
            .sum()
    }

    /// 32-bit registers per thread after allocation: of the order that ptxas would report.
    pub fn registers(&self) -> u32 {
        self.registers.clamp(16, 255)
    }

    /// From `.maxntid` or `.reqntid`, otherwise 1024.
    pub fn max_threads_per_block(&self) -> u32 {
        self.max_threads
    }

    /// The only block shape that it may be launched with, from `.reqntid`.
    pub fn required_block(&self) -> Option<[u32; 3]> {
        self.required_block
    }

    /// The number in `.target sm_NN` of its module.
    pub fn target(&self) -> u32 {
        self.target
    }

    /// How many lowered instructions it has, those of functions it calls included.
    pub fn instructions(&self) -> usize {
        self.code.insts.len()
    }
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel")
            .field("name", &self.name)
            .field("params", &self.params)
            .field("static_shared", &self.static_shared)
            .field("registers", &self.registers)
            .field("instructions", &self.code.insts.len())
            .finish()
    }
}
