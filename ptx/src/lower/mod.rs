// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the syntax tree to code: names are resolved, widths checked, instructions given the
//! functions that execute them, registers allocated.
//!
//! A kernel is lowered together with all functions that it may call. `function` walks over the
//! statements, `table` finds the row of an opcode, and the row's function (in `integer`, `float`,
//! `convert`, `memory`, `control`, `collective`) writes the lowered instruction. `fuse` then finds
//! sequences that one handler can execute, and `allocate` gives registers their places.

mod address;
mod allocate;
mod atomic;
mod bits;
mod builder;
mod collective;
mod compare;
mod control;
mod convert;
mod eighths;
mod float;
mod form;
mod function;
mod fuse;
mod halves;
mod integer;
mod matrix;
mod mbarrier;
mod memory;
mod mixed;
mod operand;
mod packed;
mod rare;
mod scope;
mod special;
mod system;
mod table;
mod texture;
mod video;

use crate::exec::chain::Chain;
use crate::exec::code::{Code, FunctionCode, ParamRow, Row, Wide, Width};
use crate::exec::indexed::Indexed;
use crate::exec::{Checks, Lanes};
use crate::parse::ast::{Function, Operand, Statement};
use crate::parse::{Module, Symbol};
use builder::{Constants, Draft, Patch};
use std::collections::HashMap;
use std::sync::Arc;

/// Why something cannot be lowered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Known or not: this engine does not execute it.
    Unsupported,
    /// It is not valid PTX; what is wrong, as a noun phrase.
    Invalid(String),
}

impl Refusal {
    pub fn invalid(what: &str) -> Refusal {
        Refusal::Invalid(what.into())
    }
}

/// A refusal with its place.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub function: String,
    pub line: u32,
    pub instruction: String,
    pub why: Refusal,
}

/// A module-scope variable that has an address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Global {
    pub address: u64,
    pub size: u64,
}

/// What the functions of a kernel share while they are lowered.
pub(crate) struct Shared {
    pub constants: Constants,
    /// A guard that is always true.
    pub always: (Row, u32),
    pub tables: Vec<Vec<u32>>,
    /// Instructions that are executed together.
    pub chains: Vec<Chain>,
    pub indexed: Vec<Indexed>,
    /// Instructions with many rows.
    pub wides: Vec<Wide>,
    /// Parameters that are kept as rows, and the bytes of these.
    pub params: Vec<ParamRow>,
    pub param_rows: u32,
    /// What is known of each name of the module in the function that is being lowered.
    pub marks: Vec<Mark>,
    pub globals: Arc<HashMap<Symbol, Global>>,
    pub functions: Arc<HashMap<Symbol, usize>>,
    /// Module-scope variables in shared memory that were used: offset.
    pub shared_offsets: HashMap<Symbol, u64>,
    pub shared_bytes: u64,
    /// The memory in it that the system keeps for itself, if the kernel asks: its offset, and bytes with those for its alignment.
    pub reserved: Option<(u64, u32)>,
    /// Dynamic shared memory is used.
    pub uses_dynamic: bool,
    /// Rows that hold the address of dynamic shared memory plus an offset.
    pub dynamic: Vec<(Row, Width, i64)>,
    /// Special registers that are read.
    pub specials: u32,
    /// Opcodes that were looked up.
    pub forms: HashMap<Symbol, Option<(Arc<form::Form>, &'static table::Instruction)>>,
    /// What to look for while the kernel runs.
    pub checks: Checks,
}

/// What is known of a name within one function.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    /// Line of the function, plus 1, for which the rest holds.
    pub function: usize,
    /// How often it is written to, at most.
    pub definitions: u32,
    /// It was read or written already.
    pub seen: bool,
}

/// A function lowered, but not yet placed.
pub(crate) struct Lowered {
    pub drafts: Vec<Draft>,
    /// Label number -> index of the draft that it precedes.
    pub labels: Vec<u32>,
    /// Jump tables of this function: index in `Shared::tables`, whose entries are labels.
    pub tables: core::ops::Range<usize>,
    pub frame_bytes: u32,
    pub local_bytes: u32,
    pub argument_bytes: u32,
    pub callees: Vec<usize>,
    pub calls_indirectly: bool,
}

/// A lowered kernel.
pub(crate) struct LoweredKernel {
    pub code: Code,
    pub static_shared: u32,
    pub reserved_shared: u32,
    pub dynamic_shared: bool,
    pub specials: u32,
    pub registers: u32,
}

/// Lowers a kernel and everything that it may call.
pub(crate) fn kernel(
    module: &Module,
    index: usize,
    globals: &Arc<HashMap<Symbol, Global>>,
    functions: &Arc<HashMap<Symbol, usize>>,
    (lanes, checks): (Lanes, Checks),
) -> Result<LoweredKernel, Refused> {
    let whole = |why| {
        let function = &module.functions[index];
        let name = module.names.text(function.name);
        Refused {
            function: name.into(),
            line: function.line,
            instruction: name.into(),
            why,
        }
    };
    let mut constants = Constants::default();
    let ones = constants
        .spread(Width::Predicate, u64::from(u32::MAX))
        .map_err(whole)?;
    let mut shared = Shared {
        constants,
        always: (ones, 0),
        tables: Vec::new(),
        chains: Vec::new(),
        indexed: Vec::new(),
        wides: Vec::new(),
        params: Vec::new(),
        param_rows: 0,
        marks: vec![Mark::default(); module.names.len()],
        globals: globals.clone(),
        functions: functions.clone(),
        shared_offsets: HashMap::new(),
        shared_bytes: 0,
        reserved: None,
        uses_dynamic: false,
        dynamic: Vec::new(),
        specials: 0,
        forms: HashMap::new(),
        checks,
    };
    let mut order = vec![index];
    let mut place: HashMap<usize, u32> = HashMap::from([(index, 0)]);
    let mut lowered: Vec<Lowered> = Vec::new();
    let mut indirect = false;
    while let Some(&next) = order.get(lowered.len()) {
        let one = function::lower(module, next, &mut shared, lanes)?;
        let mut callees = one.callees.clone();
        if one.calls_indirectly && !indirect {
            indirect = true;
            callees.extend(address_taken(module, functions));
        }
        for callee in callees {
            place.entry(callee).or_insert_with(|| {
                order.push(callee);
                order.len() as u32 - 1
            });
        }
        lowered.push(one);
    }
    let dynamic_base = shared.shared_bytes.next_multiple_of(16);
    for (row, width, offset) in core::mem::take(&mut shared.dynamic) {
        let value = dynamic_base.wrapping_add(offset as u64);
        let bytes = if width == Width::Double {
            value.to_le_bytes().repeat(32)
        } else {
            (value as u32).to_le_bytes().repeat(32)
        };
        shared.constants.rows.put(row.offset(), &bytes);
    }
    let static_shared = if shared.uses_dynamic {
        dynamic_base
    } else {
        shared.shared_bytes
    };
    let static_shared = u32::try_from(static_shared).map_err(|_| {
        whole(Refusal::invalid(
            "a kernel with more than 4 GiB of shared memory",
        ))
    })?;
    let reserved_shared = shared.reserved.map_or(0, |(_, bytes)| bytes);
    let static_shared = static_shared - reserved_shared;
    let registers = lowered
        .iter()
        .map(|f| f.frame_bytes / 128)
        .max()
        .unwrap_or(0);
    let mut callable = Vec::new();
    if indirect {
        callable = (0..module.functions.len())
            .map(|f| place.get(&f).copied())
            .collect();
    }
    let dynamic_shared = shared.uses_dynamic;
    let code = link(
        lowered,
        &place,
        shared.constants,
        shared.tables,
        (shared.chains, shared.indexed, shared.wides),
        callable,
        shared.params,
    );
    Ok(LoweredKernel {
        code,
        static_shared,
        reserved_shared,
        dynamic_shared,
        specials: shared.specials,
        registers,
    })
}

/// Functions whose address may be taken.
fn address_taken(module: &Module, functions: &HashMap<Symbol, usize>) -> Vec<usize> {
    use crate::parse::ast::Initializer;
    let mut taken = Vec::new();
    for variable in &module.variables {
        for value in &variable.init {
            if let Initializer::Address { name, .. } = value {
                taken.extend(functions.get(name));
            }
        }
    }
    for body in module.functions.iter().filter_map(|f| f.body.as_ref()) {
        for statement in &body.statements {
            if let Statement::Instruction(instruction) = statement
                && !module.names.text(instruction.opcode).starts_with("call")
            {
                for operand in body.list(&instruction.operands) {
                    if let Operand::Name(name) = operand {
                        taken.extend(functions.get(name));
                    }
                }
            }
        }
    }
    taken.retain(|&index| is_callable(&module.functions[index]));
    taken.sort_unstable();
    taken.dedup();
    taken
}

/// Offset and size of each parameter of a kernel, and the bytes of all.
pub(crate) fn parameters(
    module: &Module,
    kernel: &Function,
) -> Result<(Vec<(u64, u64)>, u64), Refused> {
    function::layout(&kernel.params).map_err(|why| {
        let name = module.names.text(kernel.name);
        Refused {
            function: name.into(),
            line: kernel.line,
            instruction: name.into(),
            why,
        }
    })
}

fn is_callable(function: &Function) -> bool {
    !function.kernel && function.body.is_some()
}

/// Puts functions one after the other and fills in their addresses.
fn link(
    lowered: Vec<Lowered>,
    place: &HashMap<usize, u32>,
    constants: Constants,
    mut tables: Vec<Vec<u32>>,
    (chains, indexed, wides): (Vec<Chain>, Vec<Indexed>, Vec<Wide>),
    callable: Vec<Option<u32>>,
    params: Vec<ParamRow>,
) -> Code {
    let mut entries = Vec::new();
    let mut entry = 0;
    for function in &lowered {
        entries.push(entry);
        entry += function.drafts.len() as u32;
    }
    let mut insts = Vec::with_capacity(entry as usize);
    let mut lines = Vec::with_capacity(entry as usize);
    let mut functions = Vec::new();
    for (function, &entry) in lowered.into_iter().zip(&entries) {
        for table in &mut tables[function.tables.clone()] {
            for target in table {
                *target = entry + function.labels.get(*target as usize).copied().unwrap_or(0);
            }
        }
        let frame = u64::from(function.frame_bytes) << 32 | u64::from(function.local_bytes);
        for draft in function.drafts {
            let mut inst = draft.inst;
            match draft.patch {
                Patch::None => {}
                Patch::Label => {
                    let label = function.labels.get(inst.imm as usize).copied().unwrap_or(0);
                    inst.imm = i64::from(entry + label);
                }
                Patch::Call => {
                    inst.imm = place
                        .get(&(inst.imm as usize))
                        .map_or(i64::MAX, |&index| index.into());
                    inst.aux = frame;
                }
                Patch::IndirectCall => inst.aux = frame,
                Patch::ArgumentTo | Patch::Argument => inst.imm += i64::from(function.local_bytes),
                Patch::ArgumentFrom => inst.imm += i64::from(function.local_bytes) << 32,
            }
            insts.push(inst);
            lines.push(draft.line);
        }
        functions.push(FunctionCode {
            entry,
            frame_bytes: function.frame_bytes,
            local_bytes: function.local_bytes + function.argument_bytes,
        });
    }
    Code {
        insts,
        lines,
        constants: constants.rows,
        functions,
        callable,
        tables,
        chains,
        indexed,
        wides,
        params,
    }
}
