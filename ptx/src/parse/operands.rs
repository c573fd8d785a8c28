// SPDX-License-Identifier: MIT OR Apache-2.0
//! Operands, by recursive descent.

use super::ParseError;
use super::ast::*;
use super::lexer::Kind;
use super::parser::Parser;

/// How deep operands may nest: `[t, {a, b}]` needs two levels.
const OPERAND_DEPTH: u32 = 4;

impl Parser<'_> {
    /// Operands separated by commas up to `close`, which is left.
    pub(super) fn operand_list(
        &mut self,
        close: u8,
        body: &mut Body,
        depth: u32,
    ) -> Result<List, ParseError> {
        let first = self.scratch.len();
        while self.token.kind != Kind::Punct(close) {
            let operand = self.operand(body, depth)?;
            self.scratch.push(operand);
            if !self.eat(b',') {
                break;
            }
        }
        let start = body.operands.len() as u32;
        body.operands.extend(self.scratch.drain(first..));
        Ok(start..body.operands.len() as u32)
    }

    fn operand(&mut self, body: &mut Body, depth: u32) -> Result<Operand, ParseError> {
        match self.token.kind {
            Kind::Word => self.named_operand(),
            Kind::F32(bits) => {
                self.advance();
                Ok(Operand::F32(bits))
            }
            Kind::F64(bits) => {
                self.advance();
                Ok(Operand::F64(bits))
            }
            Kind::Punct(b'!') => {
                self.advance();
                Ok(Operand::Not(self.word("a predicate is expected")?))
            }
            Kind::Punct(b'-') => {
                self.advance();
                if self.token.kind == Kind::Word {
                    let operand = self.named_operand()?;
                    let Operand::Name(name) = operand else {
                        return Err(self.error("a register is expected before it"));
                    };
                    return Ok(Operand::Negated(name));
                }
                match self.token.kind {
                    Kind::F32(bits) => {
                        self.advance();
                        Ok(Operand::F32(bits ^ (1 << 31)))
                    }
                    Kind::F64(bits) => {
                        self.advance();
                        Ok(Operand::F64(bits ^ (1 << 63)))
                    }
                    _ => Ok(Operand::Int(self.constant(0)?.wrapping_neg())),
                }
            }
            Kind::Int(_) | Kind::Punct(b'~' | b'+') => Ok(Operand::Int(self.constant(0)?)),
            Kind::Punct(b'{') if depth < OPERAND_DEPTH => {
                self.advance();
                let list = self.operand_list(b'}', body, depth + 1)?;
                self.expect(b'}')?;
                Ok(Operand::Vector(list))
            }
            Kind::Punct(b'(') if depth < OPERAND_DEPTH => {
                self.advance();
                let list = self.operand_list(b')', body, depth + 1)?;
                self.expect(b')')?;
                Ok(Operand::Paren(list))
            }
            Kind::Punct(b'[') if depth < OPERAND_DEPTH => {
                self.advance();
                self.bracket(body, depth + 1)
            }
            _ => Err(self.error("an operand is expected")),
        }
    }

    /// A name with what may follow it directly: `.x`, `|q`, `+4`.
    fn named_operand(&mut self) -> Result<Operand, ParseError> {
        let (start, end) = (self.token.start, self.token.end);
        let name = self.word("a name is expected")?;
        match self.token.kind {
            Kind::Dotted if self.token.start == end => {
                let full = &self.source[start as usize..self.token.end as usize];
                self.advance();
                Ok(Operand::Name(self.names.intern(full)))
            }
            Kind::Punct(b'|') => {
                self.advance();
                Ok(Operand::Pair(name, self.word("a predicate is expected")?))
            }
            Kind::Punct(b'+' | b'-') => Ok(Operand::Sum(name, self.constant(0)? as i64)),
            _ => Ok(Operand::Name(name)),
        }
    }

    fn bracket(&mut self, body: &mut Body, depth: u32) -> Result<Operand, ParseError> {
        let first = self.operand(body, depth)?;
        if self.eat(b',') {
            let rest_start = self.scratch.len();
            self.scratch.push(first);
            let list = self.operand_list(b']', body, depth);
            // The first operand was read before the list began: put it in front.
            let list = list?;
            let first = self.scratch.remove(rest_start);
            let rest: Vec<Operand> = body.list(&list).to_vec();
            let start = body.operands.len() as u32;
            body.operands.push(first);
            body.operands.extend(rest);
            self.expect(b']')?;
            return Ok(Operand::Bracket(start..body.operands.len() as u32));
        }
        self.expect(b']')?;
        match first {
            Operand::Name(base) => Ok(Operand::Address {
                base: Some(base),
                offset: 0,
            }),
            Operand::Sum(base, offset) => Ok(Operand::Address {
                base: Some(base),
                offset,
            }),
            Operand::Int(offset) => Ok(Operand::Address {
                base: None,
                offset: offset as i64,
            }),
            _ => Err(self.error("an address is expected before it")),
        }
    }
}
