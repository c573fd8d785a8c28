// SPDX-License-Identifier: MIT OR Apache-2.0
//! Branches, calls and returns.

use super::builder::{Builder, Patch};
use super::form::Form;
use super::function::signature;
use super::operand::PlaceOf;
use super::scope::Binding;
use super::{Refusal, memory, system};
use crate::exec::code::{Row, Width};
use crate::exec::{control, frame};
use crate::parse::ast::{Operand, Variable};

/// `bra`
pub(crate) fn bra(b: &mut Builder<'_>, _form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [target] = operands else {
        return Err(Refusal::invalid("a branch without one target"));
    };
    let label = b.label(target)?;
    b.jump(label);
    Ok(())
}

/// `brx.idx`
pub(crate) fn brx(b: &mut Builder<'_>, _form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [index, Operand::Name(list)] = operands else {
        return Err(Refusal::invalid(
            "an indexed branch without index and targets",
        ));
    };
    let Some(Binding::Targets(number)) = b.lookup(*list)? else {
        return Err(Refusal::invalid(
            "an indexed branch without a list of targets",
        ));
    };
    let table = b.jump_table(number)?;
    let index = b.source(index, Width::Word)?;
    let run = control::indexed_branch(b.lanes);
    b.emit(run, &[Row::NONE, index], &[], table, 0);
    Ok(())
}

/// `ret`
pub(crate) fn ret(b: &mut Builder<'_>, _form: &Form, _operands: &[Operand]) -> Result<(), Refusal> {
    leave(b)
}

/// Returns from a function, or ends the thread of a kernel, under the present guard.
pub(crate) fn leave(b: &mut Builder<'_>) -> Result<(), Refusal> {
    if b.kernel {
        let run = control::exit(b.lanes);
        b.emit(run, &[], &[], 0, 0);
        return Ok(());
    }
    for (ty, row, offset) in b.returned.clone() {
        memory::store_frame(b, ty, row, offset, Patch::None)?;
    }
    let run = control::function_return(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `exit`
pub(crate) fn exit(
    b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    let run = control::exit(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `trap`
pub(crate) fn trap(
    b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    let run = control::trap(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `nanosleep`
pub(crate) fn nanosleep(
    b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    let run = control::sleep(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `brkpt`, `pmevent`: nothing to do.
pub(crate) fn nothing(
    b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    let run = control::nothing(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `call (results), function, (arguments), prototype;`
pub(crate) fn call(b: &mut Builder<'_>, _form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let mut rest = operands;
    let mut results: &[Operand] = &[];
    if let [Operand::Paren(list), after @ ..] = rest {
        results = b.list(list);
        rest = after;
    }
    let [Operand::Name(target), rest @ ..] = rest else {
        return Err(Refusal::invalid("a call without a function"));
    };
    let mut rest = rest;
    let mut arguments: &[Operand] = &[];
    if let [Operand::Paren(list), after @ ..] = rest {
        arguments = b.list(list);
        rest = after;
    }
    // A prototype or list of targets after the arguments makes the call indirect.
    let indirect = match b.lookup(*target)? {
        Some(Binding::Register(row)) => Some(row),
        _ => None,
    };
    if let Some(row) = indirect {
        let [Operand::Name(prototype)] = rest else {
            return Err(Refusal::Unsupported);
        };
        let Some(Binding::Prototype(number)) = b.lookup(*prototype)? else {
            return Err(Refusal::Unsupported);
        };
        let prototype = b.prototypes[number as usize];
        if b.width(row) != Some(Width::Double) {
            return Err(Refusal::invalid(
                "a call of an address that does not have 64 bits",
            ));
        }
        let places = pass(b, &prototype.returns, &prototype.params, results, arguments)?;
        b.calls_indirectly = true;
        let run = control::indirect_call(b.lanes);
        let row = b.aliased(row);
        b.emit(run, &[Row::NONE, row], &[], 0, 0).patch = Patch::IndirectCall;
        return fetch(b, &prototype.returns, results, &places);
    }
    let PlaceOf::Function(number) = b.place_of(*target)? else {
        return Err(Refusal::invalid(
            "a call of something that is not a function",
        ));
    };
    let module = b.module;
    let function = &module.functions[number];
    if function.kernel {
        return Err(Refusal::invalid("a call of a kernel"));
    }
    if function.body.is_none() {
        return system::call(b, function, results, arguments);
    }
    let places = pass(b, &function.returns, &function.params, results, arguments)?;
    b.callees.push(number);
    let run = control::call(b.lanes);
    b.emit(run, &[], &[], number as i64, 0).patch = Patch::Call;
    fetch(b, &function.returns, results, &places)
}

/// Puts the arguments where the callee expects them. Returns the places of all values.
fn pass(
    b: &mut Builder<'_>,
    returns: &[Variable],
    params: &[Variable],
    results: &[Operand],
    arguments: &[Operand],
) -> Result<Vec<(u64, u64)>, Refusal> {
    if results.len() != returns.len() || arguments.len() != params.len() {
        return Err(Refusal::invalid(
            "a call with another number of values than the function has",
        ));
    }
    let signature = signature(returns, params)?;
    b.argument_bytes = b.argument_bytes.max(signature.bytes);
    for ((argument, variable), &(offset, size)) in arguments
        .iter()
        .zip(params)
        .zip(&signature.places[returns.len()..])
    {
        if let Some((from, have)) = local_variable(b, argument)? {
            let run = frame::copy_frame(b.lanes);
            let imm = (from << 32 | offset) as i64;
            b.emit(run, &[], &[], imm, size.min(have)).patch = Patch::ArgumentTo;
        } else {
            let row = b.source(argument, Builder::type_width(variable.ty))?;
            memory::store_frame(b, variable.ty, row, offset as i64, Patch::Argument)?;
        }
    }
    Ok(signature.places)
}

/// Takes the results from where the callee left them.
fn fetch(
    b: &mut Builder<'_>,
    returns: &[Variable],
    results: &[Operand],
    places: &[(u64, u64)],
) -> Result<(), Refusal> {
    for ((result, variable), &(offset, size)) in results.iter().zip(returns).zip(places) {
        if let Some((to, have)) = local_variable(b, result)? {
            let run = frame::copy_frame(b.lanes);
            let imm = (offset << 32 | to) as i64;
            b.emit(run, &[], &[], imm, size.min(have)).patch = Patch::ArgumentFrom;
        } else {
            let row = b.destination(result, Builder::type_width(variable.ty))?;
            memory::load_frame(b, variable.ty, row, offset as i64, Patch::Argument)?;
        }
    }
    Ok(())
}

/// Offset and size of the variable in local memory that an operand names.
pub(super) fn local_variable(
    b: &mut Builder<'_>,
    operand: &Operand,
) -> Result<Option<(u64, u64)>, Refusal> {
    let Operand::Name(name) = operand else {
        return Ok(None);
    };
    Ok(match b.lookup(*name)? {
        Some(Binding::Local { offset, size }) => Some((offset, size)),
        _ => None,
    })
}
