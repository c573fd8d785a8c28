// SPDX-License-Identifier: MIT OR Apache-2.0
//! `wmma`, `mma`, `ldmatrix`, `stmatrix` and `movmatrix` (PTX ISA, "Warp Level Matrix Instructions").

use super::Refusal;
use super::builder::Builder;
use super::form::{Form, Modifier};
use crate::exec::access::flags;
use crate::exec::code::{Detail, Row, Wide, Width};
use crate::exec::fragment::{self as fragments, Fragment};
use crate::exec::matrix::{Element, Role};
use crate::exec::product::{self, Product};
use crate::numeric::NEAREST;
use crate::parse::ast::{Operand, Type};

const COUNT: &str = "another number of operands";

fn element(ty: Type) -> Result<Element, Refusal> {
    Ok(match ty {
        Type::F16 => Element::F16,
        Type::Bf16 => Element::Bf16,
        Type::Tf32 => Element::Tf32,
        Type::F32 => Element::F32,
        Type::F64 => Element::F64,
        Type::U8 => Element::U8,
        Type::S8 => Element::S8,
        Type::U4 => Element::U4,
        Type::S4 => Element::S4,
        Type::B1 => Element::Bits,
        Type::S32 => Element::S32,
        Type::E4m3 => Element::E4m3,
        Type::E5m2 => Element::E5m2,
        _ => return Err(Refusal::Unsupported),
    })
}

/// `m`, `n` and `k` of a shape such as `m16n8k16`.
fn shape(form: &Form) -> Result<[usize; 3], Refusal> {
    let parsed = form.words.iter().find_map(|word| {
        let (m, rest) = word.strip_prefix('m')?.split_once('n')?;
        let (n, k) = rest.split_once('k')?;
        Some([m.parse().ok()?, n.parse().ok()?, k.parse().ok()?])
    });
    parsed.ok_or(Refusal::Unsupported)
}

/// `k` in the units of which A and B consist: elements, or words of single bits.
fn units(k: usize, element: Element) -> usize {
    if element == Element::Bits { k / 32 } else { k }
}

/// Whether each `.row` and `.col` is `.col`, in the order of the text.
fn layouts(form: &Form) -> Vec<bool> {
    let layout = |word: &String| match word.as_str() {
        "row" => Some(false),
        "col" => Some(true),
        _ => None,
    };
    form.words.iter().filter_map(layout).collect()
}

fn width(element: Element) -> Width {
    if element == Element::F64 {
        Width::Double
    } else {
        Width::Word
    }
}

/// The registers of a fragment, of which there are `count`: those of a vector, or the one operand.
fn fragment(b: &Builder<'_>, operand: &Operand, count: usize) -> Result<Vec<Operand>, Refusal> {
    let operands = match operand {
        Operand::Vector(list) => b.list(list).to_vec(),
        other => vec![other.clone()],
    };
    match operands.len() == count {
        true => Ok(operands),
        false => Err(Refusal::invalid("a fragment of another size")),
    }
}

fn sources(
    b: &mut Builder<'_>,
    operand: &Operand,
    element: Element,
    count: usize,
) -> Result<Vec<Row>, Refusal> {
    fragment(b, operand, count)?
        .iter()
        .map(|operand| b.source(operand, width(element)))
        .collect()
}

fn destinations(
    b: &mut Builder<'_>,
    operand: &Operand,
    element: Element,
    count: usize,
) -> Result<Vec<Row>, Refusal> {
    fragment(b, operand, count)?
        .iter()
        .map(|operand| b.destination(operand, width(element)))
        .collect()
}

/// Registers of a fragment of C or D.
fn sum_registers(m: usize, n: usize, element: Element) -> usize {
    m * n / (32 * element.per_register())
}

/// Registers of a fragment of A or B of this many units in all.
fn factor_registers(size: usize, element: Element) -> usize {
    size / (32 * element.per_register())
}

/// The member mask of a whole warp.
fn everybody(b: &mut Builder<'_>) -> Result<Row, Refusal> {
    b.constant(Width::Word, u64::from(u32::MAX))
}

/// Whether `wmma` has the shape for the element.
fn has_wmma(element: Element, shape: [usize; 3]) -> bool {
    match element {
        Element::F16 | Element::Bf16 | Element::U8 | Element::S8 => {
            matches!(shape, [16, 16, 16] | [8, 32, 16] | [32, 8, 16])
        }
        Element::Tf32 => shape == [16, 16, 8],
        Element::F64 => shape == [8, 8, 4],
        Element::U4 | Element::S4 => shape == [8, 8, 32],
        Element::Bits => shape == [8, 8, 128],
        Element::E4m3 | Element::E5m2 | Element::F32 | Element::S32 => false,
    }
}

/// Whether `mma` has it; `m8n8k4` of f16 apart.
fn has_mma(element: Element, shape: [usize; 3]) -> bool {
    match element {
        Element::F16 | Element::Bf16 => matches!(shape, [16, 8, 8 | 16]),
        Element::Tf32 => matches!(shape, [16, 8, 4 | 8]),
        Element::F64 => matches!(shape, [8, 8, 4] | [16, 8, 4 | 8 | 16]),
        Element::U8 | Element::S8 => matches!(shape, [8, 8, 16] | [16, 8, 16 | 32]),
        Element::U4 | Element::S4 => matches!(shape, [8, 8, 32] | [16, 8, 32 | 64]),
        Element::E4m3 | Element::E5m2 => matches!(shape, [16, 8, 16 | 32]),
        Element::Bits => matches!(shape, [8, 8, 128] | [16, 8, 128 | 256]),
        Element::F32 | Element::S32 => false,
    }
}

/// Whether `mma.sp` has it: `k` is that of B.
fn has_sparse(element: Element, shape: [usize; 3]) -> bool {
    match element {
        Element::F16 | Element::Bf16 => matches!(shape, [16, 8, 16 | 32]),
        Element::Tf32 => matches!(shape, [16, 8, 8 | 16]),
        Element::U8 | Element::S8 => matches!(shape, [16, 8, 32 | 64]),
        Element::U4 | Element::S4 => matches!(shape, [16, 8, 64 | 128]),
        Element::E4m3 | Element::E5m2 => shape == [16, 8, 64],
        Element::F64 | Element::Bits | Element::F32 | Element::S32 => false,
    }
}

/// Whether C or D can be of a type where A and B are of another.
fn has_sum(factor: Element, sum: Element) -> bool {
    match factor {
        Element::F16 | Element::E4m3 | Element::E5m2 => {
            matches!(sum, Element::F16 | Element::F32)
        }
        Element::Bf16 | Element::Tf32 => sum == Element::F32,
        Element::F64 => sum == Element::F64,
        _ => sum == Element::S32,
    }
}

/// Whether A and B can go together: they differ at most in their sign, or in what their eight bits are.
fn are_alike(a: Element, b: Element) -> bool {
    use Element::{E4m3, E5m2, S4, S8, U4, U8};
    let alike = [[U8, S8], [U4, S4], [E4m3, E5m2]];
    a == b || alike.iter().any(|two| two.contains(&a) && two.contains(&b))
}

/// `wmma`
pub(crate) fn wmma(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let shape = shape(form)?;
    if form.says("mma") {
        let &[d, c] = &form.types[..] else {
            let &[d, x, y, c] = &form.types[..] else {
                return Err(Refusal::Unsupported);
            };
            return product(b, form, operands, shape, [d, x, y, c], true);
        };
        return product(b, form, operands, shape, [d, Type::F16, Type::F16, c], true);
    }
    let [m, n, k] = shape;
    let (&[ty], &[columns]) = (&form.types[..], &layouts(form)[..]) else {
        return Err(Refusal::Unsupported);
    };
    let element = element(ty)?;
    let (role, rows, columns_of) = match form.words.get(1).map(String::as_str) {
        Some("a") => (Role::A, m, units(k, element)),
        Some("b") => (Role::B, units(k, element), n),
        Some("c" | "d") => (Role::C, m, n),
        _ => return Err(Refusal::Unsupported),
    };
    let known = match role {
        Role::C => [
            Element::F16,
            Element::Bf16,
            Element::Tf32,
            Element::F64,
            Element::U8,
            Element::U4,
            Element::Bits,
        ]
        .into_iter()
        .any(|factor| has_wmma(factor, shape) && has_sum(factor, element)),
        // Elements below a byte lie along `k`.
        Role::A if matches!(element, Element::U4 | Element::S4 | Element::Bits) => {
            has_wmma(element, shape) && !columns
        }
        Role::B if matches!(element, Element::U4 | Element::S4 | Element::Bits) => {
            has_wmma(element, shape) && columns
        }
        _ => has_wmma(element, shape),
    };
    if !known {
        return Err(Refusal::Unsupported);
    }
    let store = form.says("store");
    let (fragment, address, stride) = match (operands, store) {
        ([d, address], false) => (d, address, None),
        ([d, address, stride], false) => (d, address, Some(stride)),
        ([address, d], true) => (d, address, None),
        ([address, d, stride], true) => (d, address, Some(stride)),
        _ => return Err(Refusal::invalid(COUNT)),
    };
    let count = match role {
        Role::C => sum_registers(m, n, element),
        _ if element == Element::F16 => 8,
        _ => factor_registers(rows * columns_of, element),
    };
    let (address, offset) = address_row(b, address)?;
    // Without a stride, lines lie side by side.
    let line = match (columns, element) {
        (true, Element::Bits) => 32 * rows,
        (false, Element::Bits) => 32 * columns_of,
        (true, _) => rows,
        (false, _) => columns_of,
    };
    let stride = match stride {
        Some(stride) => b.source(stride, Width::Word)?,
        None => b.constant(Width::Word, line as u64)?,
    };
    let members = everybody(b)?;
    let detail = Detail::Fragment(Fragment {
        role,
        element,
        extent: [rows, columns_of],
        columns,
        space: form.space(),
        offset,
        store,
    });
    let (rows, writes) = if store {
        (sources(b, fragment, element, count)?, 0)
    } else {
        (destinations(b, fragment, element, count)?, count)
    };
    let run = fragments::fragment(b.lanes);
    let fixed = [Row::NONE, address, stride, Row::NONE, Row::NONE, members];
    b.emit_wide(
        run,
        &fixed,
        Wide {
            rows,
            writes,
            detail,
        },
    );
    Ok(())
}

/// `mma`
pub(crate) fn mma(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let &[d, x, y, c] = &form.types[..] else {
        return Err(Refusal::Unsupported);
    };
    let shape = shape(form)?;
    product(b, form, operands, shape, [d, x, y, c], false)
}

fn product(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
    shape: [usize; 3],
    types: [Type; 4],
    wmma: bool,
) -> Result<(), Refusal> {
    let sparse = form.says("sp") || form.says("sp::ordered_metadata");
    let (d, x, y, z, stored) = match operands {
        [d, x, y, z] if !sparse => (d, x, y, z, None),
        [d, x, y, z, which, selector] if sparse => (d, x, y, z, Some((which, selector))),
        _ => return Err(Refusal::invalid(COUNT)),
    };
    let [d_type, a_type, b_type, c_type] = types;
    let (de, ae) = (element(d_type)?, element(a_type)?);
    let (be, ce) = (element(b_type)?, element(c_type)?);
    let layouts = layouts(form);
    let quads = !wmma && !sparse && ae == Element::F16 && shape == [8, 8, 4];
    let known = match () {
        () if wmma => has_wmma(ae, shape),
        () if sparse => has_sparse(ae, shape),
        () => has_mma(ae, shape) || quads,
    };
    let fixed_layout = !wmma && !quads;
    if !known
        || !are_alike(ae, be)
        || !has_sum(ae, de)
        || !has_sum(ae, ce)
        || layouts.len() != 2
        || fixed_layout && layouts != [false, true]
        || fixed_layout && de != ce
        || ae == Element::Bits && !form.has(Modifier::Popc)
    {
        return Err(Refusal::Unsupported);
    }
    let [m, n, k] = shape;
    let k = units(k, ae);
    // Half of a sparse A is stored.
    let depth = if sparse { k / 2 } else { k };
    let registers = match () {
        () if quads => [2, 2],
        () if wmma && ae == Element::F16 => [8, 8],
        () => [factor_registers(m * depth, ae), factor_registers(k * n, be)],
    };
    // In place of one sum for the warp, there are four for eight lanes each.
    let sums = |element| if quads { 4 } else { 1 } * sum_registers(m, n, element);
    let a_rows = sources(b, x, ae, registers[0])?;
    let b_rows = sources(b, y, be, registers[1])?;
    let c_rows = sources(b, z, ce, sums(ce))?;
    let mut rows = destinations(b, d, de, sums(de))?;
    let writes = rows.len();
    rows.extend(a_rows.into_iter().chain(b_rows).chain(c_rows));
    let selector = match stored {
        Some((which, &Operand::Int(selector))) => {
            rows.push(b.source(which, Width::Word)?);
            let lanes = product::metadata_lanes(ae, depth);
            if selector >= 4 / lanes as u64 {
                return Err(Refusal::invalid("a sparsity selector that is too large"));
            }
            Some(selector as usize)
        }
        Some(_) => return Err(Refusal::invalid("a sparsity selector that is no constant")),
        None => None,
    };
    let rounds = form.has_any(super::form::set(&[
        Modifier::Rz,
        Modifier::Rm,
        Modifier::Rp,
    ]));
    let detail = Detail::Product(Product {
        m,
        n,
        k,
        depth,
        selector,
        a: ae,
        b: be,
        c: ce,
        d: de,
        registers,
        mode: if rounds {
            super::float::rounding(form)
        } else {
            NEAREST
        },
        saturate: form.has(Modifier::Satfinite),
        and: form.has(Modifier::And),
        quads: quads.then(|| [layouts[0], layouts[1]]),
    });
    let members = everybody(b)?;
    let run = product::product(b.lanes);
    let fixed = [
        Row::NONE,
        Row::NONE,
        Row::NONE,
        Row::NONE,
        Row::NONE,
        members,
    ];
    b.emit_wide(
        run,
        &fixed,
        Wide {
            rows,
            writes,
            detail,
        },
    );
    Ok(())
}

/// A row of 64-bit addresses, and an offset.
pub(crate) fn address_row(b: &mut Builder<'_>, operand: &Operand) -> Result<(Row, i64), Refusal> {
    b.address(operand, "an address in another state space")
}

/// `ldmatrix`
pub(crate) fn ldmatrix(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [d, address] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let (count, aux) = eights(form)?;
    let (address, offset) = address_row(b, address)?;
    let members = everybody(b)?;
    let mut rows = [Row::NONE, Row::NONE, Row::NONE, Row::NONE, address, members];
    let results = destinations(b, d, Element::S32, count)?;
    rows[..count].copy_from_slice(&results);
    let run = fragments::load_matrix(b.lanes);
    b.emit(run, &rows, &[0, 1, 2, 3], offset, aux);
    Ok(())
}

/// `stmatrix`
pub(crate) fn stmatrix(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [address, matrices] = operands else {
        return Err(Refusal::invalid(COUNT));
    };
    let (count, aux) = eights(form)?;
    let (address, offset) = address_row(b, address)?;
    let members = everybody(b)?;
    let mut rows = [Row::NONE, Row::NONE, Row::NONE, Row::NONE, address, members];
    let sources = sources(b, matrices, Element::S32, count)?;
    rows[..count].copy_from_slice(&sources);
    let run = fragments::store_matrix(b.lanes);
    b.emit(run, &rows, &[], offset, aux);
    Ok(())
}

/// How many 8x8 matrices `ldmatrix` or `stmatrix` moves, and its constant.
fn eights(form: &Form) -> Result<(usize, u64), Refusal> {
    let count = [("x1", 1), ("x2", 2), ("x4", 4)];
    let count = count.into_iter().find(|(word, _)| form.says(word));
    let (Some((_, count)), [Type::B16], true) = (count, &form.types[..], form.says("m8n8")) else {
        return Err(Refusal::Unsupported);
    };
    let transposed = if form.says("trans") { 16 } else { 0 };
    Ok((
        count,
        count as u64 | transposed | flags::of(form.space(), 1) << 8,
    ))
}

/// `movmatrix`
pub(crate) fn movmatrix(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let ([d, a], [Type::B16], true) = (operands, &form.types[..], form.says("trans")) else {
        return Err(Refusal::Unsupported);
    };
    let (a, members) = (b.source(a, Width::Word)?, everybody(b)?);
    let d = b.destination(d, Width::Word)?;
    let run = fragments::move_matrix(b.lanes);
    let rows = [d, a, Row::NONE, Row::NONE, Row::NONE, members];
    b.emit(run, &rows, &[0], 0, 0);
    Ok(())
}
