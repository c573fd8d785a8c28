// SPDX-License-Identifier: MIT OR Apache-2.0
//! A module with its variables in memory.

use crate::exec::window;
use crate::exec::{Checks, Lanes};
use crate::kernel::{Kernel, Param};
use crate::lower::{self, Global, Refusal};
use crate::memory::{AddressSpace, MemoryError};
use crate::parse::ast::{Initializer, Linkage, Module, Space, Variable};
use crate::parse::{Sources, Symbol};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Why a module cannot be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A variable found no place.
    #[error("Variable {name} of {size} bytes found no place: {source}")]
    Placement {
        /// The variable.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// Why.
        source: MemoryError,
    },
    /// A variable's declaration makes no sense.
    #[error("PTX line {line}: variable {name} {problem}.")]
    InvalidVariable {
        /// The variable.
        name: String,
        /// Line of the text.
        line: u32,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is declared twice.
    #[error("PTX line {line}: {name} is defined twice.")]
    Duplicate {
        /// Its name.
        name: String,
        /// Line of the second definition.
        line: u32,
    },
}

/// Why a kernel is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The module has no kernel of that name.
    #[error("The module has no kernel named {name}.")]
    NotFound {
        /// The name that was asked for.
        name: String,
    },
    /// The kernel, or a function that it calls, uses an instruction that is not supported.
    #[error(
        "Kernel {kernel}: PTX line {line} in {function}: unsupported instruction `{instruction}`."
    )]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// The function that holds the instruction.
        function: String,
        /// Line of the text.
        line: u32,
        /// The instruction.
        instruction: String,
    },
    /// The kernel, or a function that it calls, is not valid PTX.
    #[error("Kernel {kernel}: PTX line {line} in {function}: `{instruction}` has {problem}.")]
    Invalid {
        /// The kernel.
        kernel: String,
        /// The function that holds the instruction.
        function: String,
        /// Line of the text.
        line: u32,
        /// The instruction.
        instruction: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A module with its module-scope variables placed and initialised. Kernels are lowered when they
/// are first asked for.
pub struct Program {
    module: Module,
    globals: Arc<HashMap<Symbol, Global>>,
    functions: Arc<HashMap<Symbol, usize>>,
    kernels: Mutex<HashMap<usize, Result<Arc<Kernel>, KernelError>>>,
    sources: Arc<Sources>,
    lanes: Lanes,
    checks: Checks,
}

impl Program {
    /// Places and initialises the module's variables. `place(name, size, align)` returns an address
    /// that is already allocated in `space`, for each `.global` and `.const` variable.
    pub fn load(
        module: Module,
        space: &AddressSpace,
        place: &mut dyn FnMut(&str, u64, u64) -> Result<u64, MemoryError>,
    ) -> Result<Program, LoadError> {
        Program::load_for(module, space, place, Lanes::detect())
    }

    /// The same, with lane functions for these host instructions, which the machine must have;
    /// all give the same results.
    pub fn load_for(
        module: Module,
        space: &AddressSpace,
        place: &mut dyn FnMut(&str, u64, u64) -> Result<u64, MemoryError>,
        lanes: Lanes,
    ) -> Result<Program, LoadError> {
        Program::load_checked(module, space, place, lanes, Checks::default())
    }

    /// The same, for kernels that look for mistakes while they run, slowly. What they find goes to
    /// [`Limits::findings`](crate::Limits::findings). To look for uninitialized memory, the space
    /// must be [tracked](AddressSpace::tracked).
    pub fn load_checked(
        mut module: Module,
        space: &AddressSpace,
        place: &mut dyn FnMut(&str, u64, u64) -> Result<u64, MemoryError>,
        lanes: Lanes,
        checks: Checks,
    ) -> Result<Program, LoadError> {
        let lanes = if Lanes::available().contains(&lanes) {
            lanes
        } else {
            Lanes::Portable
        };
        let mut functions: HashMap<Symbol, usize> = HashMap::new();
        for (index, function) in module.functions.iter().enumerate() {
            match functions.get(&function.name) {
                // A declaration may precede or follow the definition. Of weak ones the first is taken.
                Some(&other)
                    if module.functions[other].body.is_some()
                        && function.body.is_some()
                        && function.linkage != Linkage::Weak
                        && module.functions[other].linkage != Linkage::Weak =>
                {
                    let name = module.names.text(function.name).to_owned();
                    return Err(LoadError::Duplicate {
                        name,
                        line: function.line,
                    });
                }
                Some(&other)
                    if module.functions[other].body.is_some()
                        && (function.body.is_none() || function.linkage == Linkage::Weak) => {}
                _ => {
                    functions.insert(function.name, index);
                }
            }
        }
        for (alias, target) in &module.aliases {
            if let Some(&index) = functions.get(target) {
                functions.insert(*alias, index);
            }
        }
        let definitions = definitions(&module)?;
        let globals = place_variables(&module, &definitions, space, place)?;
        for index in definitions {
            let variable = &module.variables[index];
            initialise(&module, space, &globals, &functions, variable)?;
        }
        Ok(Program {
            sources: Arc::new(core::mem::take(&mut module.sources)),
            module,
            globals: Arc::new(globals),
            functions: Arc::new(functions),
            kernels: Mutex::new(HashMap::new()),
            lanes,
            checks,
        })
    }

    /// Names of the kernels, in the order of the text.
    pub fn kernel_names(&self) -> impl Iterator<Item = &str> {
        self.module
            .functions
            .iter()
            .enumerate()
            .filter(|(index, f)| {
                f.kernel && f.body.is_some() && self.functions.get(&f.name) == Some(index)
            })
            .map(|(_, f)| self.module.names.text(f.name))
    }

    /// The kernel of a name. Checks and lowers it and everything that it may call, once.
    pub fn kernel(&self, name: &str) -> Result<Arc<Kernel>, KernelError> {
        let not_found = || KernelError::NotFound { name: name.into() };
        let symbol = self.module.names.get(name).ok_or_else(not_found)?;
        let &index = self.functions.get(&symbol).ok_or_else(not_found)?;
        let function = &self.module.functions[index];
        if !function.kernel || function.body.is_none() {
            return Err(not_found());
        }
        self.kernels
            .lock()
            .entry(index)
            .or_insert_with(|| self.lower(index).map(Arc::new))
            .clone()
    }

    /// Address and size of a module-scope variable.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        let global = self.globals.get(&self.module.names.get(name)?)?;
        Some((global.address, global.size))
    }

    /// `.version` as (major, minor).
    pub fn version(&self) -> (u32, u32) {
        self.module.version
    }

    /// The number in `.target sm_NN`.
    pub fn target(&self) -> u32 {
        self.module.target
    }

    fn lower(&self, index: usize) -> Result<Kernel, KernelError> {
        let module = &self.module;
        let function = &module.functions[index];
        let name = module.names.text(function.name).to_owned();
        let refuse = |refused: lower::Refused| match refused.why {
            Refusal::Unsupported => KernelError::Unsupported {
                kernel: name.clone(),
                function: refused.function,
                line: refused.line,
                instruction: refused.instruction,
            },
            Refusal::Invalid(problem) => KernelError::Invalid {
                kernel: name.clone(),
                function: refused.function,
                line: refused.line,
                instruction: refused.instruction,
                problem,
            },
        };
        let (params, param_bytes) = lower::parameters(module, function).map_err(refuse)?;
        let lowered = lower::kernel(
            module,
            index,
            &self.globals,
            &self.functions,
            (self.lanes, self.checks),
        )
        .map_err(refuse)?;
        let product = |extents: [u32; 3]| extents.into_iter().fold(1u32, u32::saturating_mul);
        let bounds = &function.bounds;
        let max_threads = bounds
            .required_threads
            .or(bounds.max_threads)
            .map_or(1024, product);
        Ok(Kernel {
            name: name.clone(),
            params: params
                .into_iter()
                .zip(&function.params)
                .map(|((offset, size), variable)| Param {
                    offset: offset as u32,
                    size: size as u32,
                    align: variable.align as u32,
                })
                .collect(),
            param_bytes: param_bytes as u32,
            static_shared: lowered.static_shared,
            reserved_shared: lowered.reserved_shared,
            uses_dynamic_shared: lowered.dynamic_shared,
            max_threads: max_threads.min(1024),
            required_block: bounds.required_threads,
            registers: lowered.registers,
            target: module.target,
            sources: self.sources.clone(),
            checks: self.checks,
            specials: lowered.specials,
            code: lowered.code,
        })
    }
}

impl core::fmt::Debug for Program {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Program")
            .field("version", &self.module.version)
            .field("target", &self.module.target)
            .field("kernels", &self.kernel_names().collect::<Vec<_>>())
            .finish()
    }
}

/// Which of the module's variables in device memory count, in the order of the text: of several weak ones the first of the
/// largest, unless one is not weak.
fn definitions(module: &Module) -> Result<Vec<usize>, LoadError> {
    let mut chosen: HashMap<Symbol, usize> = HashMap::new();
    for (index, variable) in module.variables.iter().enumerate() {
        if !matches!(variable.space, Space::Global | Space::Const) {
            continue;
        }
        if variable.linkage == Linkage::Extern {
            // Defined elsewhere in the text, or nowhere: then a kernel that names it is refused.
            continue;
        }
        let other = match chosen.entry(variable.name) {
            Entry::Vacant(entry) => {
                entry.insert(index);
                continue;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        let before = &module.variables[*other];
        match (
            before.linkage == Linkage::Weak,
            variable.linkage == Linkage::Weak,
        ) {
            (false, false) => {
                return Err(LoadError::Duplicate {
                    name: module.names.text(variable.name).into(),
                    line: variable.line,
                });
            }
            (true, false) => *other = index,
            (true, true) if size_of(variable) > size_of(before) => *other = index,
            _ => {}
        }
    }
    let mut chosen: Vec<usize> = chosen.into_values().collect();
    chosen.sort_unstable();
    Ok(chosen)
}

fn place_variables(
    module: &Module,
    definitions: &[usize],
    space: &AddressSpace,
    place: &mut dyn FnMut(&str, u64, u64) -> Result<u64, MemoryError>,
) -> Result<HashMap<Symbol, Global>, LoadError> {
    let mut globals: HashMap<Symbol, Global> = HashMap::new();
    for &index in definitions {
        let variable = &module.variables[index];
        let name = module.names.text(variable.name);
        let size = size_of(variable).max(1);
        let placement = |source| LoadError::Placement {
            name: name.into(),
            size,
            source,
        };
        let address = place(name, size, variable.align).map_err(placement)?;
        space.host_range(address, size).map_err(placement)?;
        if !address.is_multiple_of(variable.align) {
            return Err(placement(MemoryError::Misaligned {
                addr: address,
                align: variable.align,
            }));
        }
        globals.insert(variable.name, Global { address, size });
    }
    Ok(globals)
}

/// Bytes of a variable: declared, or by its initializer.
fn size_of(variable: &Variable) -> u64 {
    let given = variable.init.len() as u64 * variable.ty.size();
    variable.size.unwrap_or(given)
}

/// Writes a variable's first value; what has no initializer is zero.
fn initialise(
    module: &Module,
    space: &AddressSpace,
    globals: &HashMap<Symbol, Global>,
    functions: &HashMap<Symbol, usize>,
    variable: &Variable,
) -> Result<(), LoadError> {
    let Some(global) = globals.get(&variable.name) else {
        return Ok(());
    };
    let invalid = |problem: &str| LoadError::InvalidVariable {
        name: module.names.text(variable.name).into(),
        line: variable.line,
        problem: problem.into(),
    };
    let element = variable.ty.size() as usize;
    let mut bytes = Vec::with_capacity(variable.init.len() * element);
    for value in &variable.init {
        let bits = match *value {
            Initializer::Int(value) => value,
            Initializer::F32(bits) if element == 8 => f64::from(f32::from_bits(bits)).to_bits(),
            Initializer::F32(bits) => u64::from(bits),
            Initializer::F64(bits) if element == 4 => {
                u64::from((f64::from_bits(bits) as f32).to_bits())
            }
            Initializer::F64(bits) => bits,
            Initializer::Address { name, offset, .. } => {
                let address = match (globals.get(&name), functions.get(&name)) {
                    (Some(global), _) => global.address,
                    (None, Some(&index)) => window::start(window::FUNCTION) + index as u64 * 16,
                    (None, None) => {
                        return Err(invalid(&format!(
                            "is initialised with the unknown {}",
                            module.names.text(name)
                        )));
                    }
                };
                address.wrapping_add(offset as u64)
            }
        };
        let bits = u128::from(bits).to_le_bytes();
        bytes.extend_from_slice(bits.get(..element).unwrap_or(&bits));
    }
    if bytes.len() as u64 > global.size {
        return Err(invalid("has more initial values than elements"));
    }
    let placement = |source| LoadError::Placement {
        name: module.names.text(variable.name).into(),
        size: global.size,
        source,
    };
    space
        .fill(global.address, &[0], global.size)
        .map_err(placement)?;
    space.write(global.address, &bytes).map_err(placement)
}
