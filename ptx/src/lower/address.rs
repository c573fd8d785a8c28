// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operands that are addresses.

use super::Refusal;
use super::builder::Builder;
use super::operand::PlaceOf;
use crate::exec::code::{Row, Width};
use crate::exec::watch;
use crate::parse::ast::{Operand, Space};

/// Where an address operand points.
pub(crate) enum Target {
    /// A row of addresses, and an offset.
    Row {
        row: Row,
        wide: bool,
        offset: i64,
    },
    Frame(i64),
    Param(i64),
}

impl Builder<'_> {
    /// Has an access watched that the next instruction makes, in kernels that are: `bytes` from the
    /// address on, of the kind that `watch` defines.
    pub fn watch(&mut self, space: Space, kind: u64, at: (Row, bool, i64), bytes: u64) {
        self.watch_numbers(space, kind, at, bytes, 1);
    }

    /// The same for numbers of `size` bytes, of which those that follow the first may be padding.
    fn watch_numbers(
        &mut self,
        space: Space,
        kind: u64,
        (row, wide, offset): (Row, bool, i64),
        bytes: u64,
        size: u64,
    ) {
        let watched = matches!(space, Space::Shared | Space::Global | Space::Generic);
        if watched && self.shared.checks.any() {
            let rows = [row, if wide { row } else { Row::NONE }];
            let run = watch::watch(self.lanes);
            let aux = watch::aux(space, kind, bytes, size);
            self.emit(run, &rows, &[], offset, aux);
        }
    }

    /// The same for a load of numbers. Compilers load padding along with what lies beside it, and
    /// may say which bytes are not.
    pub fn watch_load(
        &mut self,
        space: Space,
        kind: u64,
        at: (Row, bool, i64),
        bytes: u64,
        size: u64,
    ) {
        if self.used_bytes == u32::MAX {
            return self.watch_numbers(space, kind, at, bytes, size);
        }
        let (row, wide, offset) = at;
        let mut used = u64::from(self.used_bytes) & ((1 << bytes.min(32)) - 1);
        while used != 0 {
            let start = used.trailing_zeros();
            let len = (used >> start).trailing_ones();
            let at = (row, wide, offset.wrapping_add(start.into()));
            self.watch(space, kind, at, len.into());
            used &= !(((1 << len) - 1) << start);
        }
    }

    /// Resolves `[a+4]`.
    pub fn target(&mut self, operand: &Operand) -> Result<Target, Refusal> {
        let Operand::Address { base, offset } = operand else {
            return Err(Refusal::invalid("an operand that is not an address"));
        };
        let Some(base) = base else {
            let row = self.constant(Width::Double, *offset as u64)?;
            return Ok(Target::Row {
                row,
                wide: true,
                offset: 0,
            });
        };
        if let Some(row) = self.register(&Operand::Name(*base))? {
            let wide = match self.width(row) {
                Some(Width::Double) => true,
                Some(Width::Word) => false,
                _ => {
                    return Err(Refusal::invalid(
                        "an address register of another width than 32 or 64 bits",
                    ));
                }
            };
            let row = self.aliased(row);
            return Ok(Target::Row {
                row,
                wide,
                offset: *offset,
            });
        }
        Ok(match self.place_of(*base)? {
            PlaceOf::Frame(at) => Target::Frame((at as i64).wrapping_add(*offset)),
            PlaceOf::Param(at) => Target::Param((at as i64).wrapping_add(*offset)),
            PlaceOf::Function(_) => return Err(Refusal::invalid("an access to a function")),
            _ => {
                let row = self.source(&Operand::Name(*base), Width::Double)?;
                Target::Row {
                    row,
                    wide: true,
                    offset: *offset,
                }
            }
        })
    }

    /// Resolves `[a+4]` to a row of 64-bit addresses and an offset. If it is in the frame or a
    /// parameter, it is `elsewhere`, which is invalid.
    pub fn address(
        &mut self,
        operand: &Operand,
        elsewhere: &'static str,
    ) -> Result<(Row, i64), Refusal> {
        match self.target(operand)? {
            Target::Row {
                row,
                wide: true,
                offset,
            } => Ok((row, offset)),
            Target::Row {
                row,
                wide: false,
                offset,
            } => Ok((self.widened(row)?, offset)),
            Target::Frame(_) | Target::Param(_) => Err(Refusal::invalid(elsewhere)),
        }
    }
}
