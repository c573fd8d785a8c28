// SPDX-License-Identifier: MIT OR Apache-2.0
//! `mbarrier`, and `cp.async.mbarrier.arrive`.

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use super::matrix::address_row;
use crate::exec::access::flags;
use crate::exec::code::{Row, Width};
use crate::exec::mbarrier::{self, op};
use crate::parse::ast::{Operand, Type};

const COUNT: &str = "another number of operands";

pub(crate) fn mbarrier_(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    if form.types[..] != [Type::B64] {
        return Err(Refusal::Unsupported);
    }
    if form.says("pending_count") {
        let [d, token] = operands else {
            return Err(Refusal::invalid(COUNT));
        };
        return b.apply(
            mbarrier::pending_count,
            0,
            (d, Width::Word),
            &[(token, Width::Double)],
        );
    }
    let one = Operand::Int(1);
    if form.says("init") {
        let [address, count] = operands else {
            return Err(Refusal::invalid(COUNT));
        };
        return emit(b, form, op::INIT, None, address, Some((count, Width::Word)));
    }
    if form.says("inval") {
        let [address] = operands else {
            return Err(Refusal::invalid(COUNT));
        };
        return emit(b, form, op::INVALIDATE, None, address, None);
    }
    if form.has(Modifier::Arrive) || form.says("arrive_drop") {
        let (d, address, count) = match operands {
            [d, address] => (d, address, &one),
            [d, address, count] => (d, address, count),
            _ => return Err(Refusal::invalid(COUNT)),
        };
        let kind = if form.has(Modifier::Arrive) {
            op::ARRIVE
        } else {
            op::ARRIVE_DROP
        };
        let d = b.destination(d, Width::Double)?;
        return emit(b, form, kind, Some(d), address, Some((count, Width::Word)));
    }
    if form.says("test_wait") || form.says("try_wait") {
        // `try_wait` may wait for a while, of which a third operand says how long at most.
        let (d, address, value) = match operands {
            [d, address, value] => (d, address, value),
            [d, address, value, _] if form.says("try_wait") => (d, address, value),
            _ => return Err(Refusal::invalid(COUNT)),
        };
        let d = b.destination(d, Width::Predicate)?;
        let (kind, width) = if form.says("parity") {
            (op::TEST_PARITY, Width::Word)
        } else {
            (op::TEST, Width::Double)
        };
        return emit(b, form, kind, Some(d), address, Some((value, width)));
    }
    Err(Refusal::Unsupported)
}

/// `cp.async.mbarrier.arrive`: the thread arrives when its copies have been made, which is now.
/// Without `.noinc`, that arrival was not counted on, and so does not count.
pub(crate) fn copies_arrive(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let ([address], [Type::B64]) = (operands, &form.types[..]) else {
        return Err(Refusal::Unsupported);
    };
    if !form.says("noinc") {
        return emit(b, form, op::COPIES, None, address, None);
    }
    let token = b.new_register(Width::Double)?;
    let one = Operand::Int(1);
    emit(
        b,
        form,
        op::ARRIVE,
        Some(token),
        address,
        Some((&one, Width::Word)),
    )
}

fn emit(
    b: &mut Builder<'_>,
    form: &Form,
    kind: u64,
    d: Option<Row>,
    address: &Operand,
    value: Option<(&Operand, Width)>,
) -> Result<(), Refusal> {
    let (address, offset) = address_row(b, address)?;
    let value = match value {
        Some((value, width)) => b.source(value, width)?,
        None => Row::NONE,
    };
    let run = mbarrier::barrier(b.lanes);
    let rows = [d.unwrap_or(Row::NONE), address, value];
    let aux = kind | flags::of(form.space(), 1) << 8;
    b.emit(run, &rows, &[0], offset, aux);
    Ok(())
}
