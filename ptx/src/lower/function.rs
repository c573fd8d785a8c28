// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lowers a function: declarations, labels, and one instruction after the other.

use super::allocate;
use super::builder::{Builder, Draft, Patch};
use super::fuse::Fuser;
use super::scope::{Binding, Scopes};
use super::{Lowered, Mark, Refusal, Refused, Shared, control as lower_control, table};
use crate::exec::code::Width;
use crate::exec::{Lanes, control};
use crate::parse::ast::{Body, Function, Instruction, Operand, Space, Statement, Variable};
use crate::parse::{Module, Symbol};
use std::sync::Arc;

/// Bytes of local memory or parameters of one function that are still accepted.
const FRAME_LIMIT: u64 = 512 << 10;

pub(crate) fn lower(
    module: &Module,
    index: usize,
    shared: &mut Shared,
    lanes: Lanes,
) -> Result<Lowered, Refused> {
    let function = &module.functions[index];
    let name = module.names.text(function.name);
    let refused = |line: u32, instruction: &str, why: Refusal| Refused {
        function: name.into(),
        line,
        instruction: instruction.into(),
        why,
    };
    let Some(body) = &function.body else {
        return Err(refused(
            function.line,
            &format!("call of {name}"),
            Refusal::Unsupported,
        ));
    };
    if function.bounds.cluster {
        return Err(refused(
            function.line,
            ".explicitcluster",
            Refusal::Unsupported,
        ));
    }
    let tables_from = shared.tables.len();
    let guard = shared.always;
    count_definitions(module, shared, body, index + 1);
    let mut b = Builder {
        module,
        shared,
        lanes,
        body,
        scopes: Scopes::new(body),
        registers: Vec::new(),
        drafts: Vec::new(),
        local_bytes: 0,
        argument_bytes: 0,
        guard,
        line: function.line,
        carry: None,
        kernel: function.kernel,
        param_bytes: 0,
        callees: Vec::new(),
        calls_indirectly: false,
        prototypes: Vec::new(),
        targets: Vec::new(),
        returned: Vec::new(),
        aliases: Vec::new(),
        stack: None,
        used_bytes: u32::MAX,
        number: index + 1,
    };
    parameters(&mut b, function).map_err(|why| refused(function.line, name, why))?;
    stack(&mut b, body).map_err(|why| refused(function.line, name, why))?;
    let mut labels = vec![0u32; b.scopes.label_count as usize];
    for statement in &body.statements {
        match statement {
            Statement::Open => b.scopes.open(),
            Statement::Close => b.scopes.close(),
            Statement::Label(label) => {
                if let Some(number) = b.scopes.label(*label) {
                    labels[number as usize] = b.drafts.len() as u32;
                }
            }
            Statement::Registers { ty, name, count } => {
                let width = Builder::type_width(*ty);
                match count {
                    Some(count) => b.scopes.declare_numbered(*name, width, *count),
                    None => {
                        let row = b
                            .new_register(width)
                            .map_err(|why| refused(b.line, ".reg", why))?;
                        b.scopes.bind(*name, Binding::Register(row));
                    }
                }
            }
            Statement::Variable(variable) => {
                local_variable(&mut b, variable)
                    .map_err(|why| refused(variable.line, module.names.text(variable.name), why))?;
            }
            Statement::BranchTargets { name, targets } => {
                b.targets.push((targets.clone(), None));
                let number = b.targets.len() as u32 - 1;
                b.scopes.bind(*name, Binding::Targets(number));
            }
            Statement::Prototype(prototype) => {
                b.prototypes.push(prototype);
                let number = b.prototypes.len() as u32 - 1;
                b.scopes.bind(prototype.name, Binding::Prototype(number));
            }
            Statement::CallTargets(_) => {}
            Statement::UsedBytes(mask) => b.used_bytes = *mask,
            Statement::Instruction(instruction) => {
                b.line = instruction.line;
                lower_instruction(&mut b, instruction).map_err(|why| {
                    refused(instruction.line, &show(module, body, instruction), why)
                })?;
                b.used_bytes = u32::MAX;
            }
            Statement::Unknown { text, line } => {
                return Err(refused(
                    *line,
                    module.names.text(*text),
                    Refusal::Unsupported,
                ));
            }
        }
    }
    // The end of the body is a return.
    b.guard = b.shared.always;
    lower_control::leave(&mut b).map_err(|why| refused(function.line, name, why))?;
    let header = if function.kernel {
        0
    } else {
        control::FRAME_HEADER
    };
    let Builder {
        mut drafts,
        registers,
        local_bytes,
        argument_bytes,
        callees,
        calls_indirectly,
        ..
    } = b;
    let always = shared.always.0;
    let enders = [
        control::exit(lanes),
        control::function_return(lanes),
        control::trap(lanes),
    ];
    let indexed = control::indexed_branch(lanes);
    let ends = |draft: &Draft| {
        let inst = &draft.inst;
        inst.guard == always
            && inst.guard_xor == 0
            && (draft.patch == Patch::Label
                || enders.iter().any(|end| end.is(inst.run))
                || indexed.is(inst.run))
    };
    let table = |draft: &Draft| {
        indexed
            .is(draft.inst.run)
            .then_some(draft.inst.imm as usize)
    };
    let flow = allocate::Flow {
        labels: &labels,
        tables: &shared.tables,
        ends: &ends,
        table: &table,
    };
    let lives = allocate::lives(&drafts, &shared.wides, registers.len(), &flow, always);
    Fuser::new(&drafts, &lives, &labels, always, lanes)
        .fuse(&mut drafts, shared)
        .map_err(|why| refused(function.line, name, why))?;
    let frame_bytes =
        allocate::allocate(&mut drafts, &mut shared.wides, &registers, &lives, header)
            .map_err(|why| refused(function.line, name, why))?;
    // The frame of a function that is called must not begin where that of the kernel does.
    let frame_bytes = frame_bytes.max(64);
    let local_bytes = u32::try_from(local_bytes.next_multiple_of(16)).unwrap_or(u32::MAX);
    Ok(Lowered {
        drafts,
        labels,
        tables: tables_from..shared.tables.len(),
        frame_bytes,
        local_bytes,
        argument_bytes: argument_bytes.next_multiple_of(16) as u32,
        callees,
        calls_indirectly,
    })
}

/// Gives a function that has `alloca` a part of its frame for that.
fn stack(b: &mut Builder<'_>, body: &Body) -> Result<(), Refusal> {
    let names = &b.module.names;
    let allocates = body.statements.iter().any(|statement| match statement {
        Statement::Instruction(instruction) => {
            let opcode = names.text(instruction.opcode);
            opcode.starts_with("alloca") || opcode.starts_with("stack")
        }
        _ => false,
    });
    if allocates {
        let start = b.local_bytes.next_multiple_of(256);
        b.local_bytes = start + super::rare::STACK;
        let (top, zero) = (b.new_register(Width::Word)?, b.constant(Width::Word, 0)?);
        b.copy(Width::Word, top, zero)?;
        b.stack = Some((start, top));
    }
    Ok(())
}

/// Counts, at most too high, how often each name is written to: it is when it stands first.
fn count_definitions(module: &Module, shared: &mut Shared, body: &Body, number: usize) {
    let mut count = |name: Symbol| {
        if let Some(mark) = shared.marks.get_mut(name.0 as usize) {
            if mark.function != number {
                *mark = Mark {
                    function: number,
                    definitions: 0,
                    seen: false,
                };
            }
            mark.definitions += 1;
        }
    };
    for statement in &body.statements {
        let Statement::Instruction(instruction) = statement else {
            continue;
        };
        match body.list(&instruction.operands).first() {
            Some(Operand::Name(name)) => {
                count(*name);
                // Video instructions write to parts: `%r1.b2`.
                if module.names.text(instruction.opcode).starts_with('v')
                    && let Some((register, _)) = module.names.text(*name).rsplit_once('.')
                    && let Some(register) = module.names.get(register)
                {
                    count(register);
                }
            }
            Some(Operand::Pair(first, second)) => {
                [*first, *second].into_iter().for_each(&mut count)
            }
            Some(Operand::Vector(list) | Operand::Paren(list)) => {
                for operand in body.list(list) {
                    if let Operand::Name(name) = operand {
                        count(*name);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The text of an instruction, for messages.
fn show(module: &Module, body: &crate::parse::ast::Body, instruction: &Instruction) -> String {
    let mut text = module.names.text(instruction.opcode).to_owned();
    for (i, operand) in body.list(&instruction.operands).iter().enumerate() {
        text.push_str(if i == 0 { " " } else { ", " });
        show_operand(module, body, operand, &mut text);
        if text.len() > 200 {
            break;
        }
    }
    text
}

fn show_operand(
    module: &Module,
    body: &crate::parse::ast::Body,
    operand: &Operand,
    text: &mut String,
) {
    let name = |symbol| module.names.text(symbol);
    let mut list = |open: char, list: &crate::parse::ast::List, close: char| {
        text.push(open);
        for (i, operand) in body.list(list).iter().take(8).enumerate() {
            if i > 0 {
                text.push_str(", ");
            }
            // Lists nest no deeper than the parser allows.
            show_operand(module, body, operand, text);
        }
        text.push(close);
    };
    match operand {
        Operand::Vector(inner) => list('{', inner, '}'),
        Operand::Bracket(inner) => list('[', inner, ']'),
        Operand::Paren(inner) => list('(', inner, ')'),
        Operand::Name(symbol) => text.push_str(name(*symbol)),
        Operand::Not(symbol) => text.push_str(&format!("!{}", name(*symbol))),
        Operand::Negated(symbol) => text.push_str(&format!("-{}", name(*symbol))),
        Operand::Int(value) => text.push_str(&(*value as i64).to_string()),
        Operand::F32(bits) => text.push_str(&format!("0f{bits:08X}")),
        Operand::F64(bits) => text.push_str(&format!("0d{bits:016X}")),
        Operand::Sum(symbol, offset) => text.push_str(&format!("{}+{offset}", name(*symbol))),
        Operand::Pair(p, q) => text.push_str(&format!("{}|{}", name(*p), name(*q))),
        Operand::Address {
            base: Some(base),
            offset: 0,
        } => text.push_str(&format!("[{}]", name(*base))),
        Operand::Address {
            base: Some(base),
            offset,
        } => text.push_str(&format!("[{}+{offset}]", name(*base))),
        Operand::Address { base: None, offset } => text.push_str(&format!("[{offset:#x}]")),
    }
}

/// Binds the parameters. Those of a kernel lie in the launch's parameter block; those of a function
/// at the start of its local memory, the return values first.
fn parameters(b: &mut Builder<'_>, function: &Function) -> Result<(), Refusal> {
    if function.kernel {
        let (places, bytes) = layout(&function.params)?;
        b.param_bytes = bytes;
        for (variable, (offset, size)) in function.params.iter().zip(places) {
            b.scopes
                .bind(variable.name, Binding::Param { offset, size });
        }
        return Ok(());
    }
    let signature = signature(&function.returns, &function.params)?;
    b.local_bytes = signature.bytes;
    let all = function
        .returns
        .iter()
        .chain(&function.params)
        .zip(&signature.places)
        .enumerate();
    for (i, (variable, &(offset, size))) in all {
        if !variable.register {
            b.scopes
                .bind(variable.name, Binding::Local { offset, size });
            continue;
        }
        // `.func (.reg .u32 r) f (.reg .u32 a)`: copied from its place on entry, to it on return.
        let width = Builder::type_width(variable.ty);
        let row = b.new_register(width)?;
        b.scopes.bind(variable.name, Binding::Register(row));
        // It has a value already: whatever is written to it later does not stand for it everywhere.
        b.lookup(variable.name)?;
        if i >= function.returns.len() {
            super::memory::load_frame(b, variable.ty, row, offset as i64, Patch::None)?;
        } else {
            b.returned.push((variable.ty, row, offset as i64));
        }
    }
    Ok(())
}

/// Where the values of a call lie, relative to the start of the callee's local memory.
pub(crate) struct Signature {
    pub places: Vec<(u64, u64)>,
    pub bytes: u64,
}

pub(crate) fn signature(returns: &[Variable], params: &[Variable]) -> Result<Signature, Refusal> {
    let (mut places, bytes) = laid_out(returns, LOCAL_UNIT)?;
    let base = bytes.next_multiple_of(16);
    let (inputs, bytes) = laid_out(params, LOCAL_UNIT)?;
    places.extend(
        inputs
            .into_iter()
            .map(|(offset, size)| (base + offset, size)),
    );
    Ok(Signature {
        places,
        bytes: (base + bytes).next_multiple_of(16),
    })
}

/// Words are the unit of local memory, in which values are copied to and from calls.
const LOCAL_UNIT: u64 = 4;

/// Offsets and sizes of a kernel's parameters, by natural alignment, and the bytes of all.
pub(crate) fn layout(variables: &[Variable]) -> Result<(Vec<(u64, u64)>, u64), Refusal> {
    laid_out(variables, 1)
}

fn laid_out(variables: &[Variable], unit: u64) -> Result<(Vec<(u64, u64)>, u64), Refusal> {
    let mut at = 0u64;
    let mut places = Vec::with_capacity(variables.len());
    for variable in variables {
        // A parameter without a size: the values of a variadic call.
        let size = variable.size.unwrap_or(0);
        let offset = at.next_multiple_of(variable.align.max(unit));
        at = offset + size.next_multiple_of(unit);
        if at > FRAME_LIMIT {
            return Err(Refusal::invalid("more than 512 KiB of parameters"));
        }
        places.push((offset, size));
    }
    Ok((places, at))
}

fn local_variable(b: &mut Builder<'_>, variable: &Variable) -> Result<(), Refusal> {
    match variable.space {
        Space::Local | Space::Param => {
            let size = variable.size.unwrap_or(0);
            let offset = b
                .local_bytes
                .next_multiple_of(variable.align.max(LOCAL_UNIT));
            b.local_bytes = offset + size.next_multiple_of(LOCAL_UNIT);
            if b.local_bytes > FRAME_LIMIT {
                return Err(Refusal::invalid("more than 512 KiB of local memory"));
            }
            b.scopes
                .bind(variable.name, Binding::Local { offset, size });
        }
        Space::Shared => {
            let Some(size) = variable.size else {
                b.scopes.bind(variable.name, Binding::DynamicShared);
                return Ok(());
            };
            let offset = b.shared_variable(variable.align, size)?;
            b.scopes.bind(variable.name, Binding::Shared(offset));
        }
        _ => return Err(Refusal::Unsupported),
    }
    Ok(())
}

fn lower_instruction(b: &mut Builder<'_>, instruction: &Instruction) -> Result<(), Refusal> {
    let known = b.shared.forms.get(&instruction.opcode).cloned();
    let (form, row) = match known {
        Some(found) => found.ok_or(Refusal::Unsupported)?,
        None => {
            let found = table::find(b.module.names.text(instruction.opcode));
            let found = found.map(|(form, row)| (Arc::new(form), row));
            b.shared.forms.insert(instruction.opcode, found.clone());
            found.ok_or(Refusal::Unsupported)?
        }
    };
    b.guard = b.shared.always;
    if let Some((name, negated)) = instruction.guard {
        let predicate = b.source(&Operand::Name(name), Width::Predicate)?;
        b.guard = (predicate, if negated { u32::MAX } else { 0 });
    }
    let mut operands = b.list(&instruction.operands);
    if form.policy {
        operands = operands.split_last().map_or(operands, |(_, rest)| rest);
    }
    (row.lower)(b, &form, operands)
}
