// SPDX-License-Identifier: MIT OR Apache-2.0
//! `atom` and `red` (PTX ISA, "atom" and "red").

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::access::flags;
use crate::exec::atomic::{self, AtomicOp};
use crate::exec::code::{Handler, Row, Width};
use crate::exec::watch;
use crate::parse::ast::{Operand, Space, Type};

/// `atom` and `red` (PTX ISA, "atom").
pub(crate) fn atom(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let &[ty] = &form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    let (d, rest) = match operands {
        rest if form.name == "red" => (None, rest),
        [d, rest @ ..] => (Some(d), rest),
        [] => return Err(Refusal::invalid("an atomic operation without operands")),
    };
    let (address, values) = rest
        .split_first()
        .ok_or(Refusal::invalid("an atomic operation without address"))?;
    let width = Builder::type_width(ty);
    if form.elements() > 1 {
        return vector(b, form, (ty, width), d, address, values);
    }
    let d = match d {
        Some(d) => b.destination(d, width)?,
        None => b.new_register(width)?,
    };
    one(b, form, ty, d, (address, 0), values)
}

/// Of a vector, each element is an atomic operation by itself (sm_90).
fn vector(
    b: &mut Builder<'_>,
    form: &Form,
    (ty, width): (Type, Width),
    d: Option<&Operand>,
    address: &Operand,
    values: &[Operand],
) -> Result<(), Refusal> {
    use Type::{Bf16, Bf16x2, F16, F16x2, F32};
    let elements = form.elements() as usize;
    let known = matches!(
        (ty, elements),
        (F32 | F16x2 | Bf16x2, 2 | 4) | (F16 | Bf16, 2 | 4 | 8)
    );
    let places = matches!(form.space(), Space::Global | Space::Generic);
    let [Operand::Vector(values)] = values else {
        return Err(Refusal::Unsupported);
    };
    if !known || !places || !form.has(Modifier::Add) {
        return Err(Refusal::Unsupported);
    }
    let values = b.list(values);
    let results = match d {
        Some(Operand::Vector(list)) => b.list(list),
        Some(_) => &[],
        None => values,
    };
    if (values.len(), results.len()) != (elements, elements) {
        return Err(Refusal::invalid("another number of elements"));
    }
    // Results may be operands of elements that follow.
    let mut rows = Vec::with_capacity(elements);
    for (e, value) in values.iter().enumerate() {
        let row = b.new_register(width)?;
        let at = (address, e as i64 * ty.size() as i64);
        one(b, form, ty, row, at, core::slice::from_ref(value))?;
        rows.push(row);
    }
    if d.is_some() {
        for (result, row) in results.iter().zip(rows) {
            let result = b.destination(result, width)?;
            b.copy(width, result, row)?;
        }
    }
    Ok(())
}

/// One atomic operation, with its result in a row; the address has an offset.
fn one(
    b: &mut Builder<'_>,
    form: &Form,
    ty: Type,
    d: Row,
    address: (&Operand, i64),
    values: &[Operand],
) -> Result<(), Refusal> {
    use Modifier::*;
    let operation = [Add, Min, Max, And, Or, Xor, Inc, Dec, Exch, Cas]
        .into_iter()
        .find(|m| form.has(*m));
    let operation = operation.ok_or(Refusal::Unsupported)?;
    let lanes = b.lanes;
    macro_rules! pick {
        ($($operation:pat, $types:pat => $op:ty;)*) => {
            match (operation, ty) {
                $(($operation, $types) => emit::<$op>(b, atomic::atomic::<$op>(lanes), form, d, address, values),)*
                _ => Err(Refusal::Unsupported),
            }
        };
    }
    pick! {
        Add, Type::U32 | Type::S32 => atomic::Add32;
        Add, Type::U64 | Type::S64 => atomic::Add64;
        Add, Type::F32 => atomic::AddF32;
        Add, Type::F64 => atomic::AddF64;
        Add, Type::F16 => atomic::Add16;
        Add, Type::Bf16 => atomic::AddBf16;
        Add, Type::F16x2 => atomic::Add16x2;
        Add, Type::Bf16x2 => atomic::AddBf16x2;
        Min, Type::U32 => atomic::MinU32;
        Min, Type::S32 => atomic::MinS32;
        Min, Type::U64 => atomic::MinU64;
        Min, Type::S64 => atomic::MinS64;
        Max, Type::U32 => atomic::MaxU32;
        Max, Type::S32 => atomic::MaxS32;
        Max, Type::U64 => atomic::MaxU64;
        Max, Type::S64 => atomic::MaxS64;
        And, Type::B32 => atomic::And32;
        And, Type::B64 => atomic::And64;
        Or, Type::B32 => atomic::Or32;
        Or, Type::B64 => atomic::Or64;
        Xor, Type::B32 => atomic::Xor32;
        Xor, Type::B64 => atomic::Xor64;
        Inc, Type::U32 => atomic::Inc32;
        Dec, Type::U32 => atomic::Dec32;
        Exch, Type::B32 => atomic::Exch32;
        Exch, Type::B64 => atomic::Exch64;
        Cas, Type::B16 => atomic::Cas16;
        Cas, Type::B32 => atomic::Cas32;
        Cas, Type::B64 => atomic::Cas64;
    }
}

fn emit<O: AtomicOp>(
    b: &mut Builder<'_>,
    run: Handler,
    form: &Form,
    d: Row,
    (address, more): (&Operand, i64),
    values: &[Operand],
) -> Result<(), Refusal> {
    let width = Width::of::<O::Value>();
    let (row, offset) = b.address(address, "an atomic operation on local memory")?;
    let expected = if form.has(Modifier::Cas) { 2 } else { 1 };
    if values.len() != expected {
        return Err(Refusal::Unsupported);
    }
    let first = b.source(&values[0], width)?;
    let second = match values.get(1) {
        Some(value) => b.source(value, width)?,
        None => first,
    };
    let offset = offset.wrapping_add(more);
    let bytes = size_of::<O::Value>() as u64;
    b.watch(form.space(), watch::ATOMIC, (row, true, offset), bytes);
    b.emit(
        run,
        &[d, row, first, second],
        &[0],
        offset,
        flags::of(form.space(), 1),
    );
    Ok(())
}
