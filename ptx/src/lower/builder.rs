// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the lowering of single instructions works with: operands in, lowered instructions out.

use super::scope::Scopes;
use super::{Refusal, Shared};
use crate::exec::code::{Base, Handler, Inst, LANES, OPERANDS, Row, Wide, Width};
use crate::exec::lanes::{self, Op1, Op2, Op3};
use crate::exec::{Lanes, apply, control};
use crate::parse::Module;
use crate::parse::ast::{Body, Operand, Type};
use std::collections::HashMap;

/// What is still to be filled in once addresses are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patch {
    None,
    /// `imm` is a label: its PC goes there.
    Label,
    /// `imm` is a function of the module: its index in the code goes there, and the size of the
    /// caller's frame to `aux`.
    Call,
    /// The size of the caller's frame goes to `aux`.
    IndirectCall,
    /// `imm`'s low half is an offset in the area for arguments, behind the frame's local memory.
    ArgumentTo,
    /// The same for its high half.
    ArgumentFrom,
    /// `imm` is an offset in the area for arguments.
    Argument,
}

/// An instruction before register allocation.
#[derive(Clone, Copy)]
pub(crate) struct Draft {
    pub inst: Inst,
    /// Which rows it writes.
    pub defs: u8,
    pub patch: Patch,
    /// Which of `Shared::wides` holds more of its rows.
    pub wide: Option<u32>,
    pub line: u32,
}

/// Constants of a kernel, each once.
#[derive(Default)]
pub(crate) struct Constants {
    pub rows: crate::exec::code::Rows,
    len: u32,
    known: HashMap<(Width, u64), Row>,
    lanes: HashMap<&'static str, Row>,
}

impl Constants {
    /// More constants than this are refused.
    const LIMIT: u32 = 1 << 26;

    fn reserve(&mut self, width: Width) -> Result<u32, Refusal> {
        let bytes = width.row_bytes();
        let at = self.len.next_multiple_of(bytes.min(64));
        if at > Constants::LIMIT {
            return Err(Refusal::invalid(
                "a kernel with more than 64 MiB of constants",
            ));
        }
        self.len = at + bytes;
        Ok(at)
    }

    /// A row whose lanes all have this value.
    pub fn spread(&mut self, width: Width, value: u64) -> Result<Row, Refusal> {
        if let Some(&row) = self.known.get(&(width, value)) {
            return Ok(row);
        }
        let at = self.reserve(width)?;
        let row = Row::new(Base::Constant, at);
        let bytes: Vec<u8> = match width {
            Width::Predicate => (value as u32).to_le_bytes().to_vec(),
            Width::Half => (value as u16).to_le_bytes().repeat(LANES),
            Width::Word => (value as u32).to_le_bytes().repeat(LANES),
            Width::Double => value.to_le_bytes().repeat(LANES),
            Width::Quad => u128::from(value).to_le_bytes().repeat(LANES),
        };
        self.rows.put(at as usize, &bytes);
        self.known.insert((width, value), row);
        Ok(row)
    }

    /// A row of its own, to be filled in later.
    pub fn fresh(&mut self, width: Width) -> Result<Row, Refusal> {
        let at = self.reserve(width)?;
        self.rows.grow((at + width.row_bytes()) as usize);
        Ok(Row::new(Base::Constant, at))
    }

    /// A row of words that differ between lanes.
    pub fn per_lane(
        &mut self,
        name: &'static str,
        value: impl Fn(u32) -> u32,
    ) -> Result<Row, Refusal> {
        if let Some(&row) = self.lanes.get(name) {
            return Ok(row);
        }
        let at = self.reserve(Width::Word)?;
        let bytes: Vec<u8> = (0..LANES as u32)
            .flat_map(|lane| value(lane).to_le_bytes())
            .collect();
        self.rows.put(at as usize, &bytes);
        let row = Row::new(Base::Constant, at);
        self.lanes.insert(name, row);
        Ok(row)
    }
}

/// Lowers one function.
pub(crate) struct Builder<'a> {
    pub module: &'a Module,
    pub shared: &'a mut Shared,
    pub lanes: Lanes,
    pub body: &'a Body,
    pub scopes: Scopes,
    /// Widths of the virtual registers.
    pub registers: Vec<Width>,
    pub drafts: Vec<Draft>,
    /// Local memory of the frame: bytes so far.
    pub local_bytes: u64,
    /// The largest area for the arguments of a call.
    pub argument_bytes: u64,
    /// Guard of the instruction being lowered.
    pub guard: (Row, u32),
    pub line: u32,
    /// The carry flag, once used.
    pub carry: Option<Row>,
    /// This is a kernel, not a function.
    pub kernel: bool,
    /// Bytes of the kernel's parameters.
    pub param_bytes: u64,
    /// Functions of the module that are called.
    pub callees: Vec<usize>,
    pub calls_indirectly: bool,
    /// Signatures and jump targets named by `Binding::Prototype` and `Binding::Targets`.
    pub prototypes: Vec<&'a crate::parse::ast::Prototype>,
    pub targets: Vec<(crate::parse::ast::List, Option<i64>)>,
    /// Return values that live in registers: type, register, offset in local memory.
    pub returned: Vec<(Type, Row, i64)>,
    /// Virtual registers that always hold the same as a row that never changes.
    pub aliases: Vec<Option<Row>>,
    /// Where in the frame `alloca` takes memory, and the register that says how much is used.
    pub stack: Option<(u64, Row)>,
    /// Of the bytes that the next instruction loads, those that are used, as bits.
    pub used_bytes: u32,
    /// Number of the function in `Shared::marks`.
    pub number: usize,
}

impl<'a> Builder<'a> {
    // --- registers and constants ---

    pub fn new_register(&mut self, width: Width) -> Result<Row, Refusal> {
        let number = self.registers.len() as u32;
        if number >= Row::MAX_OFFSET {
            return Err(Refusal::invalid("a function with more than 2^30 registers"));
        }
        self.registers.push(width);
        Ok(Row::new(Base::Frame, number))
    }

    pub fn constant(&mut self, width: Width, value: u64) -> Result<Row, Refusal> {
        self.shared.constants.spread(width, value)
    }

    /// The width of a row; constants and special registers fit any.
    pub fn width(&self, row: Row) -> Option<Width> {
        (row.base() == Base::Frame as usize).then(|| self.registers[row.offset()])
    }

    // --- emission ---

    /// Appends an instruction; `defs` are the numbers of the rows that it writes.
    pub fn emit(
        &mut self,
        run: Handler,
        rows: &[Row],
        defs: &[usize],
        imm: i64,
        aux: u64,
    ) -> &mut Draft {
        let mut all = [Row::NONE; OPERANDS];
        all[..rows.len()].copy_from_slice(rows);
        let defs = defs.iter().fold(0, |set, i| set | 1 << i);
        let inst = Inst {
            run,
            guard: self.guard.0,
            guard_xor: self.guard.1,
            rows: all,
            imm,
            aux,
        };
        self.drafts.push(Draft {
            inst,
            defs,
            patch: Patch::None,
            wide: None,
            line: self.line,
        });
        let last = self.drafts.len() - 1;
        &mut self.drafts[last]
    }

    /// Appends an instruction with more rows than fit into `Inst`, whose number in the code is in
    /// `imm`. `rows` are further rows that it reads.
    pub fn emit_wide(&mut self, run: Handler, rows: &[Row], wide: Wide) -> &mut Draft {
        let number = self.shared.wides.len() as u32;
        self.shared.wides.push(wide);
        let draft = self.emit(run, rows, &[], number.into(), 0);
        draft.wide = Some(number);
        draft
    }

    /// Emits a plain operation of one operand.
    pub fn op1<O: Op1>(&mut self, d: &Operand, a: &Operand) -> Result<(), Refusal> {
        self.plain1::<O>(lanes::op1::<O>(self.lanes), d, a)
    }

    /// The same for an operation that is rare, or slow in itself.
    pub fn rare1<O: Op1>(&mut self, d: &Operand, a: &Operand) -> Result<(), Refusal> {
        self.plain1::<O>(lanes::rare1::<O>(self.lanes), d, a)
    }

    /// Emits a plain operation of two operands.
    pub fn op2<O: Op2>(&mut self, d: &Operand, a: &Operand, b: &Operand) -> Result<(), Refusal> {
        self.plain2::<O>(lanes::op2::<O>(self.lanes), d, a, b)
    }

    /// The same for an operation that is rare, or slow in itself.
    pub fn rare2<O: Op2>(&mut self, d: &Operand, a: &Operand, b: &Operand) -> Result<(), Refusal> {
        self.plain2::<O>(lanes::rare2::<O>(self.lanes), d, a, b)
    }

    /// Emits a plain operation of three operands.
    pub fn op3<O: Op3>(
        &mut self,
        d: &Operand,
        a: &Operand,
        b: &Operand,
        c: &Operand,
    ) -> Result<(), Refusal> {
        self.plain3::<O>(lanes::op3::<O>(self.lanes), d, a, b, c)
    }

    /// The same for an operation that is rare, or slow in itself.
    pub fn rare3<O: Op3>(
        &mut self,
        d: &Operand,
        a: &Operand,
        b: &Operand,
        c: &Operand,
    ) -> Result<(), Refusal> {
        self.plain3::<O>(lanes::rare3::<O>(self.lanes), d, a, b, c)
    }

    fn plain1<O: Op1>(&mut self, run: Handler, d: &Operand, a: &Operand) -> Result<(), Refusal> {
        let a = self.source(a, Width::of::<O::A>())?;
        let d = self.destination(d, Width::of::<O::D>())?;
        self.emit(run, &[d, a], &[0], 0, 0);
        Ok(())
    }

    fn plain2<O: Op2>(
        &mut self,
        run: Handler,
        d: &Operand,
        a: &Operand,
        b: &Operand,
    ) -> Result<(), Refusal> {
        let a = self.source(a, Width::of::<O::A>())?;
        let b = self.source(b, Width::of::<O::B>())?;
        let d = self.destination(d, Width::of::<O::D>())?;
        self.emit(run, &[d, a, b], &[0], 0, 0);
        Ok(())
    }

    fn plain3<O: Op3>(
        &mut self,
        run: Handler,
        d: &Operand,
        a: &Operand,
        b: &Operand,
        c: &Operand,
    ) -> Result<(), Refusal> {
        let a = self.source(a, Width::of::<O::A>())?;
        let b = self.source(b, Width::of::<O::B>())?;
        let c = self.source(c, Width::of::<O::C>())?;
        let d = self.destination(d, Width::of::<O::D>())?;
        self.emit(run, &[d, a, b, c], &[0], 0, 0);
        Ok(())
    }

    /// Emits an operation that is rare: a function of up to three operands.
    pub fn apply(
        &mut self,
        function: apply::Function,
        constant: u64,
        (d, width): (&Operand, Width),
        operands: &[(&Operand, Width)],
    ) -> Result<(), Refusal> {
        let sources = self.sources(operands)?;
        let d = self.destination(d, width)?;
        self.apply_rows(function, constant, d, width, &sources);
        Ok(())
    }

    /// The same, with a result of its own.
    pub fn apply_to_new(
        &mut self,
        function: apply::Function,
        constant: u64,
        width: Width,
        operands: &[(&Operand, Width)],
    ) -> Result<Row, Refusal> {
        let sources = self.sources(operands)?;
        let d = self.new_register(width)?;
        self.unguarded(|b| b.apply_rows(function, constant, d, width, &sources));
        Ok(d)
    }

    fn sources(&mut self, operands: &[(&Operand, Width)]) -> Result<Vec<(Row, Width)>, Refusal> {
        let mut sources = Vec::with_capacity(operands.len());
        for &(operand, width) in operands {
            sources.push((self.source(operand, width)?, width));
        }
        Ok(sources)
    }

    /// The same on rows, of which there is at least one.
    pub fn apply_rows(
        &mut self,
        function: apply::Function,
        constant: u64,
        d: Row,
        width: Width,
        sources: &[(Row, Width)],
    ) {
        let mut rows = [d; 4];
        let mut widths = [width; 4];
        for i in 1..4 {
            let source = sources.get(i - 1).or(sources.first());
            if let Some(&(row, width)) = source {
                (rows[i], widths[i]) = (row, width);
            }
        }
        let run = apply::apply(self.lanes);
        let (imm, aux) = (apply::imm(widths, constant), apply::aux(function));
        self.emit(run, &rows, &[0], imm, aux);
    }

    /// Emits a copy between rows of a width.
    pub fn copy(&mut self, width: Width, d: Row, a: Row) -> Result<(), Refusal> {
        let run = match width {
            Width::Predicate => {
                let run = lanes::logic(self.lanes);
                self.emit(run, &[d, a, a], &[0], 0, 0b1100);
                return Ok(());
            }
            Width::Half => lanes::copy::<u16>(self.lanes),
            Width::Word => lanes::copy::<u32>(self.lanes),
            Width::Double => lanes::copy::<u64>(self.lanes),
            Width::Quad => lanes::copy::<u128>(self.lanes),
        };
        self.emit(run, &[d, a], &[0], 0, 0);
        Ok(())
    }

    // --- operands ---

    /// Emits something that runs for all lanes, whatever the guard.
    pub fn unguarded<T>(&mut self, emit: impl FnOnce(&mut Self) -> T) -> T {
        let guard = core::mem::replace(&mut self.guard, self.shared.always);
        let result = emit(self);
        self.guard = guard;
        result
    }

    /// A label's number.
    pub fn label(&mut self, operand: &Operand) -> Result<u32, Refusal> {
        let Operand::Name(name) = operand else {
            return Err(Refusal::invalid("a target that is not a label"));
        };
        let label = self.scopes.label(*name);
        label.ok_or_else(|| {
            Refusal::Invalid(format!(
                "the unknown label `{}`",
                self.module.names.text(*name)
            ))
        })
    }

    /// Emits a jump to a label under the present guard.
    pub fn jump(&mut self, label: u32) {
        let run = control::branch(self.lanes);
        self.emit(run, &[], &[], i64::from(label), 0).patch = Patch::Label;
    }

    /// The jump table of a `.branchtargets` list, made once.
    pub fn jump_table(&mut self, number: u32) -> Result<i64, Refusal> {
        let (list, made) = self.targets[number as usize].clone();
        if let Some(table) = made {
            return Ok(table);
        }
        let labels = self
            .list(&list)
            .iter()
            .map(|target| self.label(target))
            .collect::<Result<Vec<_>, _>>()?;
        self.shared.tables.push(labels);
        let table = self.shared.tables.len() as i64 - 1;
        self.targets[number as usize].1 = Some(table);
        Ok(table)
    }
}
