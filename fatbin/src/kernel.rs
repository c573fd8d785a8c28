// SPDX-License-Identifier: MIT OR Apache-2.0

/// One parameter of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Param {
    /// Position in the kernel's parameter list, from 0.
    pub ordinal: u32,
    /// Where it begins in the parameter buffer, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// A kernel's name and parameter layout, as PTX and cubins both give it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct KernelInfo {
    /// The name as the compiler mangled it.
    pub name: String,
    /// The parameters in order.
    pub params: Vec<Param>,
    /// Bytes from the start of the parameter buffer to the end of the last parameter.
    pub param_bytes: u32,
    /// Greatest block shape, from `__launch_bounds__` or `.maxntid`/`.reqntid`.
    pub max_threads: Option<[u32; 3]>,
    /// Registers per thread, which only a cubin knows.
    pub registers: Option<u32>,
}

impl KernelInfo {
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
