// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ld`, `st`, `atom`, `red`, `cvta` and what else has to do with memory.

use super::Refusal;
use super::address::Target;
use super::builder::{Builder, Patch};
use super::form::{Form, Modifier, set};
use crate::exec::access::{self, flags};
use crate::exec::code::{Handler, Row, Width};
use crate::exec::{Lanes, control, window};
use crate::exec::{frame, value, watch};
use crate::parse::ast::{Operand, Space, Type};

/// The handlers of a load or store of a type.
#[derive(Clone, Copy)]
enum Kind {
    Load {
        wide_address: bool,
        known: Option<Space>,
    },
    Store {
        wide_address: bool,
        known: Option<Space>,
    },
    LoadParam,
    LoadFrame,
    StoreFrame,
}

fn handler_of<T: value::Transfer>(kind: Kind, lanes: Lanes) -> Handler {
    use crate::exec::{load::load, store::store};
    use access::{Anywhere, InGlobal, InShared};
    match kind {
        Kind::Load {
            wide_address: true,
            known: Some(Space::Shared),
        } => load::<T, u64, InShared>(lanes),
        Kind::Load {
            wide_address: true,
            known: Some(Space::Global),
        } => load::<T, u64, InGlobal>(lanes),
        Kind::Load {
            wide_address: true, ..
        } => load::<T, u64, Anywhere>(lanes),
        Kind::Load {
            wide_address: false,
            known: Some(Space::Shared),
        } => load::<T, u32, InShared>(lanes),
        Kind::Load {
            wide_address: false,
            ..
        } => load::<T, u32, Anywhere>(lanes),
        Kind::Store {
            wide_address: true,
            known: Some(Space::Shared),
        } => store::<T, u64, InShared>(lanes),
        Kind::Store {
            wide_address: true,
            known: Some(Space::Global),
        } => store::<T, u64, InGlobal>(lanes),
        Kind::Store {
            wide_address: true, ..
        } => store::<T, u64, Anywhere>(lanes),
        Kind::Store {
            wide_address: false,
            known: Some(Space::Shared),
        } => store::<T, u32, InShared>(lanes),
        Kind::Store {
            wide_address: false,
            ..
        } => store::<T, u32, Anywhere>(lanes),
        Kind::LoadParam => frame::load_param::<T>(lanes),
        Kind::LoadFrame => frame::load_frame::<T>(lanes),
        Kind::StoreFrame => frame::store_frame::<T>(lanes),
    }
}

/// The state space of an access that is as simple as can be: one element, no order.
fn known_space(space: Space, elements: u64, order: u64) -> Option<Space> {
    (elements == 1 && order == 0 && matches!(space, Space::Shared | Space::Global)).then_some(space)
}

/// The handler for a type in memory and a width in registers.
fn handler(kind: Kind, ty: Type, width: Width, lanes: Lanes) -> Result<Handler, Refusal> {
    use Width::{Double, Half, Word};
    Ok(match (ty, width) {
        (Type::B8 | Type::U8, Half) => handler_of::<value::U8Half>(kind, lanes),
        (Type::B8 | Type::U8, Word) => handler_of::<value::U8Word>(kind, lanes),
        (Type::B8 | Type::U8, Double) => handler_of::<value::U8Double>(kind, lanes),
        (Type::S8, Half) => handler_of::<value::S8Half>(kind, lanes),
        (Type::S8, Word) => handler_of::<value::S8Word>(kind, lanes),
        (Type::S8, Double) => handler_of::<value::S8Double>(kind, lanes),
        (Type::B16 | Type::U16 | Type::F16 | Type::Bf16 | Type::S16, Half) => {
            handler_of::<value::U16Half>(kind, lanes)
        }
        (Type::B16 | Type::U16 | Type::F16 | Type::Bf16, Word) => {
            handler_of::<value::U16Word>(kind, lanes)
        }
        (Type::B16 | Type::U16 | Type::F16 | Type::Bf16, Double) => {
            handler_of::<value::U16Double>(kind, lanes)
        }
        (Type::S16, Word) => handler_of::<value::S16Word>(kind, lanes),
        (Type::S16, Double) => handler_of::<value::S16Double>(kind, lanes),
        (Type::B32 | Type::U32 | Type::S32 | Type::F32 | Type::F16x2 | Type::Bf16x2, Word) => {
            handler_of::<value::U32Word>(kind, lanes)
        }
        (Type::B32 | Type::U32 | Type::F32, Double) => handler_of::<value::U32Double>(kind, lanes),
        (Type::S32, Double) => handler_of::<value::S32Double>(kind, lanes),
        (Type::B64 | Type::U64 | Type::S64 | Type::F64, Double) => {
            handler_of::<value::U64Double>(kind, lanes)
        }
        (Type::B128, _) => return Err(Refusal::Unsupported),
        _ => return Err(Refusal::invalid("a register that does not fit the type")),
    })
}

impl Builder<'_> {
    /// The operands of a vector, or the one operand.
    fn elements(&self, form: &Form, operand: &Operand) -> Result<Vec<Operand>, Refusal> {
        let count = form.elements() as usize;
        let list = match operand {
            Operand::Vector(list) => self.list(list).to_vec(),
            other => vec![other.clone()],
        };
        if list.len() != count || count > 4 {
            return Err(if count > 4 {
                Refusal::Unsupported
            } else {
                Refusal::invalid("a vector of another length")
            });
        }
        Ok(list)
    }
}

const ORDERED: u128 = set(&[
    Modifier::Volatile,
    Modifier::Relaxed,
    Modifier::Acquire,
    Modifier::Mmio,
]);

fn order_flags(form: &Form) -> u64 {
    let mut bits = 0;
    if form.has(Modifier::Acquire) {
        bits |= flags::ACQUIRE;
    }
    if form.has_any(ORDERED) {
        bits |= flags::SPIN;
    }
    if form.has(Modifier::Release) {
        bits |= flags::RELEASE;
    }
    bits
}

fn ordered(form: &Form) -> u64 {
    if order_flags(form) == 0 {
        0
    } else {
        watch::ORDERED
    }
}

/// `ld` and `ldu` (PTX ISA, "ld").
pub(crate) fn ld(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([d, address], Some(ty)) = (operands, form.ty(0)) else {
        return Err(Refusal::invalid("a load without type or operands"));
    };
    let elements = b.elements(form, d)?;
    let mut rows = [Row::NONE; 5];
    let mut width = Builder::type_width(ty);
    let target = b.target(address)?;
    if let (Space::Param, &Target::Param(offset), [element]) =
        (form.space(), &target, &elements[..])
        && check_param(b, offset, ty, 1).is_ok()
        && b.shared.params.len() < PARAM_ROWS
    {
        // Sign and zero extension of narrower registers is left to the instruction.
        let row = b.param_row(offset as u32, ty, width)?;
        if b.declared_width(element) == Some(width) && b.alias(element, width, row)? {
            return Ok(());
        }
    }
    for (row, element) in rows.iter_mut().zip(&elements) {
        match b.register(element)? {
            Some(found) => {
                width = b.width(found).unwrap_or(width);
                *row = found;
            }
            None => *row = b.destination(element, width)?,
        }
    }
    if rows[..elements.len()]
        .iter()
        .any(|row| b.width(*row) != Some(width))
    {
        return Err(Refusal::invalid("a vector of registers of several widths"));
    }
    let count = elements.len() as u64;
    let space = form.space();
    match (space, target) {
        (Space::Param, Target::Param(offset)) => {
            let run = handler(Kind::LoadParam, ty, width, b.lanes)?;
            check_param(b, offset, ty, count)?;
            b.emit(run, &rows, &[0, 1, 2, 3], offset, flags::of(space, count));
        }
        (Space::Param | Space::Local | Space::Generic, Target::Frame(offset)) => {
            let run = handler(Kind::LoadFrame, ty, width, b.lanes)?;
            check_frame(offset, ty)?;
            b.emit(
                run,
                &rows,
                &[0, 1, 2, 3],
                offset,
                flags::of(Space::Local, count),
            );
        }
        (_, Target::Row { row, wide, offset }) => {
            let run = handler(
                Kind::Load {
                    wide_address: wide,
                    known: known_space(space, count, order_flags(form)),
                },
                ty,
                width,
                b.lanes,
            )?;
            let kind = watch::LOAD | ordered(form);
            let at = (row, wide, offset);
            b.watch_load(space, kind, at, ty.size() * count, ty.size());
            rows[4] = row;
            // Parameters of a function are local memory.
            let space = if space == Space::Param && !b.kernel {
                Space::Local
            } else {
                space
            };
            b.emit(
                run,
                &rows,
                &[0, 1, 2, 3],
                offset,
                flags::of(space, count) | order_flags(form),
            );
        }
        _ => {
            return Err(Refusal::invalid(
                "a load from another state space than its variable's",
            ));
        }
    }
    Ok(())
}

/// Parameters of a kernel that are kept as rows at most.
const PARAM_ROWS: usize = 1024;

fn check_param(b: &Builder<'_>, offset: i64, ty: Type, count: u64) -> Result<(), Refusal> {
    let bytes = ty.size() * count;
    if offset < 0
        || !(offset as u64).is_multiple_of(ty.size())
        || offset as u64 + bytes > b.param_bytes
    {
        return Err(Refusal::invalid("a load outside of the parameters"));
    }
    Ok(())
}

fn check_frame(offset: i64, ty: Type) -> Result<(), Refusal> {
    if offset < 0 || !(offset as u64).is_multiple_of(ty.size()) || offset > 1 << 24 {
        return Err(Refusal::invalid("an address outside of local memory"));
    }
    Ok(())
}

/// `st` (PTX ISA, "st").
pub(crate) fn st(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let ([address, value], Some(ty)) = (operands, form.ty(0)) else {
        return Err(Refusal::invalid("a store without type or operands"));
    };
    let elements = b.elements(form, value)?;
    let mut rows = [Row::NONE; 5];
    // All elements in registers of one width; constants take it.
    let mut width = None;
    for element in &elements {
        if let Some(row) = b.register(element)? {
            width = width.or(b.width(row));
        }
    }
    let width = width.unwrap_or(Builder::type_width(ty));
    let target = b.target(address)?;
    for (row, element) in rows.iter_mut().zip(&elements) {
        *row = b.source(element, width)?;
    }
    let count = elements.len() as u64;
    let space = form.space();
    match (space, target) {
        (Space::Param | Space::Local | Space::Generic, Target::Frame(offset)) => {
            let run = handler(Kind::StoreFrame, ty, width, b.lanes)?;
            check_frame(offset, ty)?;
            b.emit(run, &rows, &[], offset, flags::of(Space::Local, count));
        }
        (Space::Const, _) | (_, Target::Param(_)) => {
            return Err(Refusal::invalid("a store to constant memory"));
        }
        (_, Target::Row { row, wide, offset }) => {
            let run = handler(
                Kind::Store {
                    wide_address: wide,
                    known: known_space(space, count, order_flags(form)),
                },
                ty,
                width,
                b.lanes,
            )?;
            let kind = watch::STORE | ordered(form);
            b.watch(space, kind, (row, wide, offset), ty.size() * count);
            rows[4] = row;
            let space = if space == Space::Param && !b.kernel {
                Space::Local
            } else {
                space
            };
            b.emit(
                run,
                &rows,
                &[],
                offset,
                flags::of(space, count) | order_flags(form),
            );
        }
        _ => {
            return Err(Refusal::invalid(
                "a store to another state space than its variable's",
            ));
        }
    }
    Ok(())
}

/// Loads a value of the frame's local memory at an offset into a register.
pub(crate) fn load_frame(
    b: &mut Builder<'_>,
    ty: Type,
    d: Row,
    offset: i64,
    patch: Patch,
) -> Result<(), Refusal> {
    let width = b.width(d).unwrap_or(Builder::type_width(ty));
    let run = handler(Kind::LoadFrame, ty, width, b.lanes)?;
    let rows = [d, Row::NONE, Row::NONE, Row::NONE];
    b.emit(
        run,
        &rows,
        &[0, 1, 2, 3],
        offset,
        flags::of(Space::Local, 1),
    )
    .patch = patch;
    Ok(())
}

/// Stores a register to the frame's local memory at an offset.
pub(crate) fn store_frame(
    b: &mut Builder<'_>,
    ty: Type,
    a: Row,
    offset: i64,
    patch: Patch,
) -> Result<(), Refusal> {
    let width = b.width(a).unwrap_or(Builder::type_width(ty));
    let run = handler(Kind::StoreFrame, ty, width, b.lanes)?;
    b.emit(run, &[a], &[], offset, flags::of(Space::Local, 1))
        .patch = patch;
    Ok(())
}

impl Builder<'_> {
    /// A 64-bit copy of a 32-bit row.
    pub fn widened(&mut self, row: Row) -> Result<Row, Refusal> {
        let d = self.new_register(Width::Double)?;
        let run = crate::exec::lanes::op1::<super::integer::WidenU32>(self.lanes);
        self.unguarded(|b| {
            b.emit(run, &[d, row], &[0], 0, 0);
        });
        Ok(d)
    }
}

/// `cvta` (PTX ISA, "cvta"): windows are added or taken off.
pub(crate) fn cvta(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    let [d, a] = operands else {
        return Err(Refusal::invalid("cvta without two operands"));
    };
    let base = match form.space() {
        Space::Shared => window::start(window::SHARED),
        Space::Local => window::start(window::LOCAL),
        Space::Param if b.kernel => window::start(window::PARAM),
        Space::Param => window::start(window::LOCAL),
        _ => 0,
    };
    if form.ty(0) == Some(Type::U32) {
        return Err(Refusal::Unsupported);
    }
    let a = b.source(a, Width::Double)?;
    if base == 0 && b.alias(d, Width::Double, a)? {
        return Ok(());
    }
    let d = b.destination(d, Width::Double)?;
    if base == 0 {
        return b.copy(Width::Double, d, a);
    }
    let delta = if form.has(Modifier::To) {
        base.wrapping_neg()
    } else {
        base
    };
    let delta = b.constant(Width::Double, delta)?;
    let run = crate::exec::lanes::op2::<super::integer::Add64>(b.lanes);
    b.emit(run, &[d, a, delta], &[0], 0, 0);
    Ok(())
}

/// `isspacep`
pub(crate) fn isspacep(
    b: &mut Builder<'_>,
    form: &Form,
    operands: &[Operand],
) -> Result<(), Refusal> {
    let [d, a] = operands else {
        return Err(Refusal::invalid("isspacep without two operands"));
    };
    let a = b.source(a, Width::Double)?;
    let d = b.destination(d, Width::Predicate)?;
    let run = access::is_space(b.lanes);
    b.emit(run, &[d, a], &[0], 0, flags::of(form.space(), 1));
    Ok(())
}

/// `membar`, `fence` and everything that orders memory.
pub(crate) fn fence(
    b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    let run = control::memory_fence(b.lanes);
    b.emit(run, &[], &[], 0, 0);
    Ok(())
}

/// `prefetch`, `discard` and other hints.
pub(crate) fn hint(
    _b: &mut Builder<'_>,
    _form: &Form,
    _operands: &[Operand],
) -> Result<(), Refusal> {
    Ok(())
}

/// `cp.async`: the copy is made at once, so that there is never a group to wait for.
pub(crate) fn cp(b: &mut Builder<'_>, form: &Form, operands: &[Operand]) -> Result<(), Refusal> {
    use Modifier::{Async, Ca, Cg, CommitGroup, Global, Shared, WaitAll, WaitGroup};
    if form.says("mbarrier") {
        return super::mbarrier::copies_arrive(b, form, operands);
    }
    if !form.has(Async) || !form.types.is_empty() {
        return Err(Refusal::Unsupported);
    }
    if form.has_any(set(&[CommitGroup, WaitGroup, WaitAll])) {
        return Ok(());
    }
    if !form.has(Shared) || !form.has(Global) || !form.has_any(set(&[Ca, Cg])) {
        return Err(Refusal::Unsupported);
    }
    let (to, from, size, have) = match operands {
        [to, from, Operand::Int(size)] => (to, from, *size, Operand::Int(*size)),
        [to, from, Operand::Int(size), have] => (to, from, *size, have.clone()),
        _ => return Err(Refusal::Unsupported),
    };
    if !matches!(size, 4 | 8 | 16) {
        return Err(Refusal::invalid("a size other than 4, 8 and 16"));
    }
    // Otherwise the source may be read in part, or not at all.
    let whole = operands.len() == 3;
    let have = match b.declared_width(&have) {
        // The source is ignored where the predicate holds.
        Some(Width::Predicate) => {
            let ignored = b.source(&have, Width::Predicate)?;
            let (none, all) = (b.constant(Width::Word, 0)?, b.constant(Width::Word, size)?);
            let d = b.new_register(Width::Word)?;
            let run = crate::exec::lanes::select::<u32>(b.lanes);
            b.unguarded(|b| {
                b.emit(run, &[d, none, all, ignored], &[0], 0, 0);
            });
            d
        }
        _ => b.source(&have, Width::Word)?,
    };
    let mut place = |operand| b.address(operand, "a copy of another state space");
    let ((to, to_offset), (from, from_offset)) = (place(to)?, place(from)?);
    let (Ok(high), Ok(low)) = (i32::try_from(to_offset), i32::try_from(from_offset)) else {
        return Err(Refusal::Unsupported);
    };
    if whole {
        b.watch(Space::Global, watch::LOAD, (from, true, from_offset), size);
    }
    b.watch(Space::Shared, watch::STORE, (to, true, to_offset), size);
    let imm = i64::from(high) << 32 | i64::from(low as u32);
    let run = frame::copy_to_shared(b.lanes);
    b.emit(run, &[to, from, have], &[], imm, size);
    Ok(())
}
