// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operands stand for: registers, constants, and the addresses of what has a name.

use super::builder::Builder;
use super::scope::Binding;
use super::{Mark, Refusal};
use crate::exec::code::{Base, ParamRow, Row, Width};
use crate::exec::{frame, lanes, window};
use crate::parse::Symbol;
use crate::parse::ast::{Linkage, Operand, Space, Type};

impl<'a> Builder<'a> {
    /// A row to read a value of the width from.
    pub fn source(&mut self, operand: &Operand, width: Width) -> Result<Row, Refusal> {
        match operand {
            Operand::Name(name) => self.named_source(*name, 0, width),
            Operand::Sum(name, offset) => self.named_source(*name, *offset, width),
            Operand::Int(value) => {
                let value = if width == Width::Predicate && *value != 0 {
                    u64::from(u32::MAX)
                } else {
                    *value
                };
                self.constant(width, truncate(value, width))
            }
            Operand::F32(bits) if width == Width::Double => {
                self.constant(width, f64::from(f32::from_bits(*bits)).to_bits())
            }
            Operand::F32(bits) => self.constant(width, u64::from(*bits)),
            Operand::F64(bits) if width == Width::Word => {
                self.constant(width, u64::from((f64::from_bits(*bits) as f32).to_bits()))
            }
            Operand::F64(bits) => self.constant(width, *bits),
            Operand::Not(name) if width == Width::Predicate => {
                let a = self.named_source(*name, 0, width)?;
                let d = self.new_register(Width::Predicate)?;
                let run = lanes::logic(self.lanes);
                let guard = core::mem::replace(&mut self.guard, self.shared.always);
                self.emit(run, &[d, a, a], &[0], 0, 0b0011);
                self.guard = guard;
                Ok(d)
            }
            _ => Err(Refusal::invalid("an operand that is not a value")),
        }
    }

    fn named_source(&mut self, name: Symbol, offset: i64, width: Width) -> Result<Row, Refusal> {
        let binding = self.lookup(name)?;
        if let Some(Binding::Register(row)) = binding {
            if offset != 0 {
                return Err(Refusal::invalid(
                    "an offset to a register outside of brackets",
                ));
            }
            return match self.width(row) {
                Some(found) if found != width => Err(Refusal::Invalid(format!(
                    "the register {} of another width",
                    self.module.names.text(name)
                ))),
                _ => Ok(self.aliased(row)),
            };
        }
        if let Some(row) = self.special(name, width)? {
            return Ok(row);
        }
        self.address_of(name, offset, width)
    }

    /// A row to write a value of the width to; `_` is a register that nobody reads.
    pub fn destination(&mut self, operand: &Operand, width: Width) -> Result<Row, Refusal> {
        let Operand::Name(name) = operand else {
            return Err(Refusal::invalid("a destination that is not a register"));
        };
        match self.lookup(*name)? {
            Some(Binding::Register(row)) if self.width(row) == Some(width) => Ok(row),
            Some(Binding::Register(_)) => Err(Refusal::Invalid(format!(
                "the register {} of another width",
                self.module.names.text(*name)
            ))),
            _ if self.module.names.text(*name) == "_" => self.new_register(width),
            _ => Err(Refusal::Invalid(format!(
                "`{}`, which is not a register",
                self.module.names.text(*name)
            ))),
        }
    }

    /// The register that a name is bound to.
    pub fn register(&mut self, operand: &Operand) -> Result<Option<Row>, Refusal> {
        let Operand::Name(name) = operand else {
            return Ok(None);
        };
        Ok(match self.lookup(*name)? {
            Some(Binding::Register(row)) => Some(row),
            _ => None,
        })
    }

    /// The row to read a register from.
    pub fn aliased(&self, row: Row) -> Row {
        let known =
            (row.base() == Base::Frame as usize).then(|| self.aliases.get(row.offset()).copied());
        known.flatten().flatten().unwrap_or(row)
    }

    /// Lets a register stand for a row that never changes, instead of copying it; false if the
    /// register is not one that is written once, by this instruction, before it is read.
    pub fn alias(&mut self, d: &Operand, width: Width, row: Row) -> Result<bool, Refusal> {
        let Operand::Name(name) = d else {
            return Ok(false);
        };
        let mark = self
            .shared
            .marks
            .get(name.0 as usize)
            .copied()
            .unwrap_or_default();
        let once = mark.function == self.number && mark.definitions == 1 && !mark.seen;
        if !once || self.guard != self.shared.always || row.base() == Base::Frame as usize {
            return Ok(false);
        }
        let d = self.destination(d, width)?;
        if self.aliases.len() <= d.offset() {
            self.aliases.resize(d.offset() + 1, None);
        }
        self.aliases[d.offset()] = Some(row);
        Ok(true)
    }

    /// The width that a register was declared with; does not count as a use of it.
    pub fn declared_width(&self, operand: &Operand) -> Option<Width> {
        let Operand::Name(name) = operand else {
            return None;
        };
        match self.scopes.find(*name) {
            Some((_, Binding::Register(row))) => self.width(row),
            Some(_) => None,
            None => self.numbered(*name).map(|(_, width)| width),
        }
    }

    /// The row of a kernel parameter, or of a part of it.
    pub fn param_row(&mut self, offset: u32, ty: Type, width: Width) -> Result<Row, Refusal> {
        let signed = matches!(ty, Type::S8 | Type::S16 | Type::S32);
        let bytes = ty.size() as u32;
        let known = self
            .shared
            .params
            .iter()
            .find(|p| (p.offset, p.bytes, p.signed, p.width) == (offset, bytes, signed, width));
        if let Some(known) = known {
            return Ok(Row::new(Base::Launch, known.row));
        }
        let row = self.shared.param_rows;
        self.shared.param_rows += width.row_bytes();
        self.shared.params.push(ParamRow {
            offset,
            bytes,
            signed,
            width,
            row,
        });
        Ok(Row::new(Base::Launch, row))
    }

    /// What a name stands for here; makes a numbered register on its first use.
    pub fn lookup(&mut self, name: Symbol) -> Result<Option<Binding>, Refusal> {
        if let Some(mark) = self.shared.marks.get_mut(name.0 as usize) {
            if mark.function != self.number {
                *mark = Mark {
                    function: self.number,
                    definitions: 0,
                    seen: false,
                };
            }
            mark.seen = true;
        }
        let found = self.scopes.find(name);
        if let Some((depth, binding)) = found
            && (depth == self.scopes.depth() || self.scopes.depth() == 0)
        {
            return Ok(Some(binding));
        }
        let known = found.map_or(-1, |(depth, _)| i64::from(depth));
        if let Some((depth, width)) = self.numbered(name)
            && i64::from(depth) > known
        {
            let row = self.new_register(width)?;
            self.scopes.bind_at(name, depth, Binding::Register(row));
            return Ok(Some(Binding::Register(row)));
        }
        Ok(found.map(|(_, binding)| binding))
    }

    /// If a name is a prefix declared like `%r<10>` and a number below the count: the depth of that
    /// declaration, and the width.
    fn numbered(&self, name: Symbol) -> Option<(u32, Width)> {
        let module = self.module;
        let text = module.names.text(name);
        let digits = text
            .bytes()
            .rev()
            .take(10)
            .take_while(u8::is_ascii_digit)
            .count();
        (1..=digits).rev().find_map(|digits| {
            let (prefix, number) = text.split_at(text.len() - digits);
            if digits > 1 && number.starts_with('0') {
                return None;
            }
            let number: u32 = number.parse().ok()?;
            match self.scopes.find_numbered(module.names.get(prefix)?)? {
                (depth, width, count) if number < count => Some((depth, width)),
                _ => None,
            }
        })
    }

    /// The width that a value of a type has in a register.
    pub fn type_width(ty: Type) -> Width {
        match ty {
            Type::Pred => Width::Predicate,
            _ => Width::of_bytes(ty.size()),
        }
    }

    /// The operands of an instruction.
    pub fn list(&self, list: &crate::parse::ast::List) -> &'a [Operand] {
        self.body.list(list)
    }

    /// Places a variable in static shared memory and returns its offset.
    pub fn shared_variable(&mut self, align: u64, size: u64) -> Result<u64, Refusal> {
        let offset = self.shared.shared_bytes.next_multiple_of(align);
        self.shared.shared_bytes = offset + size;
        if self.shared.shared_bytes > 1 << 24 {
            return Err(Refusal::invalid("more than 16 MiB of shared memory"));
        }
        Ok(offset)
    }

    /// What the address of a name is made of.
    pub fn place_of(&mut self, name: Symbol) -> Result<PlaceOf, Refusal> {
        match self.lookup(name)? {
            Some(Binding::Local { offset, .. }) => return Ok(PlaceOf::Frame(offset)),
            Some(Binding::Param { offset, .. }) => return Ok(PlaceOf::Param(offset)),
            Some(Binding::Shared(offset)) => return Ok(PlaceOf::Shared(offset)),
            Some(Binding::DynamicShared) => return Ok(PlaceOf::DynamicShared),
            Some(Binding::Register(_)) => {
                return Err(Refusal::invalid("the address of a register"));
            }
            Some(_) => return Err(Refusal::invalid("the address of a label")),
            None => {}
        }
        if let Some(global) = self.shared.globals.get(&name) {
            return Ok(PlaceOf::Global(global.address));
        }
        if let Some(&function) = self.shared.functions.get(&name) {
            return Ok(PlaceOf::Function(function));
        }
        if let Some(&offset) = self.shared.shared_offsets.get(&name) {
            return Ok(PlaceOf::Shared(offset));
        }
        let module = self.module;
        if let Some(variable) = module
            .variables
            .iter()
            .find(|v| v.name == name && v.space == Space::Shared)
        {
            let Some(size) = variable
                .size
                .filter(|_| variable.linkage != Linkage::Extern)
            else {
                return Ok(PlaceOf::DynamicShared);
            };
            let offset = self.shared_variable(variable.align, size)?;
            self.shared.shared_offsets.insert(name, offset);
            return Ok(PlaceOf::Shared(offset));
        }
        Err(Refusal::Invalid(format!(
            "the unknown name `{}`",
            self.module.names.text(name)
        )))
    }

    /// A row with the address of a variable or function.
    fn address_of(&mut self, name: Symbol, offset: i64, width: Width) -> Result<Row, Refusal> {
        if !matches!(width, Width::Word | Width::Double) {
            return Err(Refusal::Invalid(format!(
                "the name `{}`",
                self.module.names.text(name)
            )));
        }
        let add = |address: u64| address.wrapping_add(offset as u64);
        match self.place_of(name)? {
            PlaceOf::Global(address) | PlaceOf::Shared(address) => {
                self.constant(width, truncate(add(address), width))
            }
            PlaceOf::Param(address) => self.constant(width, truncate(add(address), width)),
            PlaceOf::Function(number) => {
                let start = window::start(window::FUNCTION);
                self.constant(width, truncate(start + number as u64 * 16, width))
            }
            PlaceOf::DynamicShared => {
                self.shared.uses_dynamic = true;
                let row = self.shared.constants.fresh(width)?;
                self.shared.dynamic.push((row, width, offset));
                Ok(row)
            }
            PlaceOf::Frame(at) => {
                let d = self.new_register(width)?;
                let run = match width {
                    Width::Word => frame::frame_address::<u32>(self.lanes),
                    _ => frame::frame_address::<u64>(self.lanes),
                };
                let guard = core::mem::replace(&mut self.guard, self.shared.always);
                self.emit(run, &[d], &[0], add(at) as i64, 0);
                self.guard = guard;
                Ok(d)
            }
        }
    }
}

/// What the address of a name is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceOf {
    /// An address in global memory.
    Global(u64),
    /// An offset in shared memory.
    Shared(u64),
    /// An offset behind static shared memory.
    DynamicShared,
    /// An offset in the frame's local memory.
    Frame(u64),
    /// An offset in the kernel's parameters.
    Param(u64),
    /// A function's number in the module.
    Function(usize),
}

fn truncate(value: u64, width: Width) -> u64 {
    match width {
        Width::Half => value & 0xffff,
        Width::Word | Width::Predicate => value & 0xffff_ffff,
        _ => value,
    }
}
