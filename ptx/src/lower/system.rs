// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls of functions that are only declared: the system has them.

use super::builder::{Builder, Patch};
use super::control::local_variable;
use super::{Refusal, memory};
use crate::exec::code::{Handler, Row};
use crate::exec::{Lanes, system};
use crate::parse::ast::{Function, Operand, Variable};

/// A function of the system.
struct System {
    name: &'static str,
    /// Bytes of its result, if it has one.
    returns: &'static [u64],
    /// Bytes of its arguments.
    params: &'static [u64],
    run: fn(Lanes) -> Handler,
}

const FUNCTIONS: &[System] = &[
    System {
        name: "vprintf",
        returns: &[4],
        params: &[8, 8],
        run: system::vprintf,
    },
    System {
        name: "__assertfail",
        returns: &[],
        params: &[8, 8, 4, 8, 8],
        run: system::assertfail,
    },
    System {
        name: "malloc",
        returns: &[8],
        params: &[8],
        run: system::malloc,
    },
    System {
        name: "free",
        returns: &[],
        params: &[8],
        run: system::free,
    },
];

/// A call of a function without a body.
pub(super) fn call(
    b: &mut Builder<'_>,
    function: &Function,
    results: &[Operand],
    arguments: &[Operand],
) -> Result<(), Refusal> {
    let name = b.module.names.text(function.name);
    let known = FUNCTIONS.iter().find(|known| known.name == name);
    let known = known.ok_or(Refusal::Unsupported)?;
    if !matches(&function.returns, known.returns) || !matches(&function.params, known.params) {
        return Err(Refusal::Invalid(format!(
            "{name} declared with other parameters than it has"
        )));
    }
    if results.len() != known.returns.len() || arguments.len() != known.params.len() {
        return Err(Refusal::invalid(
            "a call with another number of values than the function has",
        ));
    }
    let mut rows = vec![Row::NONE];
    for (argument, variable) in arguments.iter().zip(&function.params) {
        let width = Builder::type_width(variable.ty);
        rows.push(match local_variable(b, argument)? {
            Some((from, _)) => {
                let row = b.new_register(width)?;
                memory::load_frame(b, variable.ty, row, from as i64, Patch::None)?;
                row
            }
            None => b.source(argument, width)?,
        });
    }
    let run = (known.run)(b.lanes);
    let (Some(result), Some(variable)) = (results.first(), function.returns.first()) else {
        b.emit(run, &rows, &[], 0, 0);
        return Ok(());
    };
    let width = Builder::type_width(variable.ty);
    match local_variable(b, result)? {
        Some((to, _)) => {
            rows[0] = b.new_register(width)?;
            b.emit(run, &rows, &[0], 0, 0);
            memory::store_frame(b, variable.ty, rows[0], to as i64, Patch::None)
        }
        None => {
            rows[0] = b.destination(result, width)?;
            b.emit(run, &rows, &[0], 0, 0);
            Ok(())
        }
    }
}

fn matches(variables: &[Variable], sizes: &[u64]) -> bool {
    let declared = variables.iter().map(|variable| {
        let size = variable.ty.size();
        (variable.size, size)
    });
    declared.eq(sizes.iter().map(|&size| (Some(size), size)))
}
