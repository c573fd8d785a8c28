// SPDX-License-Identifier: MIT OR Apache-2.0
//! Variables, parameters and initializers.

use super::ParseError;
use super::ast::{Initializer, Linkage, Space, Type, Variable};
use super::lexer::Kind;
use super::parser::Parser;

/// Nesting of parentheses in a constant expression that is still accepted.
const DEPTH: u32 = 64;

impl Parser<'_> {
    /// `.align 4 .b8 name[4][8] = {...}` after the state space, one or several names.
    pub(super) fn variables(
        &mut self,
        space: Space,
        linkage: Linkage,
        out: &mut Vec<Variable>,
    ) -> Result<(), ParseError> {
        let (ty, lanes, align) = self.variable_type()?;
        loop {
            let mut variable = self.declarator(space, ty, lanes, align, linkage)?;
            if self.eat(b'=') {
                variable.init = self.initializer()?;
            }
            out.push(variable);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b';')
    }

    /// `(.param .b64 a, .param .align 8 .b8 b[16])`; the opening parenthesis is next.
    pub(super) fn parameters(&mut self) -> Result<Vec<Variable>, ParseError> {
        self.expect(b'(')?;
        let mut params = Vec::new();
        if self.eat(b')') {
            return Ok(params);
        }
        loop {
            let register = match self.dotted() {
                Some(".param") => false,
                Some(".reg") => true,
                _ => return Err(self.error("a parameter's `.param` or `.reg` is expected")),
            };
            self.advance();
            let (ty, lanes, align) = self.variable_type()?;
            let mut variable =
                self.declarator(Space::Param, ty, lanes, align, Linkage::Internal)?;
            variable.register = register;
            params.push(variable);
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b')')?;
        Ok(params)
    }

    /// Alignment, vector length and type, in any order that compilers write them.
    fn variable_type(&mut self) -> Result<(Type, u64, Option<u64>), ParseError> {
        let (mut ty, mut lanes, mut align) = (None, 1, None);
        while let Some(word) = self.dotted() {
            match word {
                ".align" => {
                    self.advance();
                    let value = self.integer()?;
                    if !value.is_power_of_two() || value > 1 << 20 {
                        return Err(self.error("an alignment is a power of two"));
                    }
                    align = Some(value);
                    continue;
                }
                ".v2" => lanes = 2,
                ".v4" => lanes = 4,
                // `.param .u64 .ptr .global .align 8 name`: what a pointer points to.
                ".ptr" => {
                    self.advance();
                    while let Some(attribute) = self.dotted() {
                        self.advance();
                        if attribute == ".align" {
                            self.integer()?;
                        }
                    }
                    continue;
                }
                ".attribute" => {
                    self.advance();
                    self.skip_parentheses()?;
                    continue;
                }
                ".texref" | ".samplerref" | ".surfref" => ty = Some(Type::B64),
                _ => match Type::from_name(&word[1..]) {
                    Some(found) => ty = Some(found),
                    None => return Err(self.error("a type is expected")),
                },
            }
            self.advance();
        }
        let ty = ty.ok_or_else(|| self.error("a type is expected"))?;
        Ok((ty, lanes, align))
    }

    fn declarator(
        &mut self,
        space: Space,
        ty: Type,
        lanes: u64,
        align: Option<u64>,
        linkage: Linkage,
    ) -> Result<Variable, ParseError> {
        let line = self.token.line;
        let name = self.word("a name is expected")?;
        let element = ty.size() * lanes;
        let mut size = Some(element);
        let mut extents = 0;
        while self.eat(b'[') {
            extents += 1;
            if self.eat(b']') {
                size = None;
                continue;
            }
            let extent = self.constant(0)?;
            self.expect(b']')?;
            size = size.and_then(|size| size.checked_mul(extent));
            if extents > 16 || size.is_some_and(|size| size > 1 << 40) {
                return Err(self.error("an array of less than 1 TiB is expected"));
            }
        }
        let align = align.unwrap_or(element.next_power_of_two());
        Ok(Variable {
            name,
            space,
            ty,
            align,
            size,
            init: Vec::new(),
            linkage,
            register: false,
            line,
        })
    }

    fn initializer(&mut self) -> Result<Vec<Initializer>, ParseError> {
        let mut values = Vec::new();
        let mut depth = 0u32;
        loop {
            while self.eat(b'{') {
                depth += 1;
            }
            if self.token.kind != Kind::Punct(b'}') {
                values.push(self.initial_value()?);
            }
            while depth > 0 && self.eat(b'}') {
                depth -= 1;
            }
            if depth == 0 {
                return Ok(values);
            }
            self.expect(b',')?;
        }
    }

    fn initial_value(&mut self) -> Result<Initializer, ParseError> {
        let negative = self.token.kind == Kind::Punct(b'-');
        match self.token.kind {
            Kind::F32(bits) => {
                self.advance();
                Ok(Initializer::F32(bits))
            }
            Kind::F64(bits) => {
                self.advance();
                Ok(Initializer::F64(bits))
            }
            Kind::Word => {
                let mut name = self.word("a name is expected")?;
                let generic = self.names.text(name) == "generic" && self.eat(b'(');
                if generic {
                    name = self.word("a variable's name is expected")?;
                    self.expect(b')')?;
                }
                let offset = if matches!(self.token.kind, Kind::Punct(b'+' | b'-')) {
                    self.constant(0)?
                } else {
                    0
                };
                Ok(Initializer::Address {
                    name,
                    offset: offset as i64,
                    generic,
                })
            }
            _ => {
                let value = self.constant(0)?;
                if negative && let Kind::F64(bits) = self.token.kind {
                    // `-1.5`: the sign was read as part of an empty integer.
                    self.advance();
                    return Ok(Initializer::F64(bits ^ (1 << 63)));
                }
                Ok(Initializer::Int(value))
            }
        }
    }

    /// An integer constant expression: sums and products of integers, parentheses, signs.
    pub(super) fn constant(&mut self, depth: u32) -> Result<u64, ParseError> {
        let mut sum = self.product(depth)?;
        loop {
            if self.eat(b'+') {
                sum = sum.wrapping_add(self.product(depth)?);
            } else if self.eat(b'-') {
                sum = sum.wrapping_sub(self.product(depth)?);
            } else {
                return Ok(sum);
            }
        }
    }

    fn product(&mut self, depth: u32) -> Result<u64, ParseError> {
        let mut product = self.factor(depth)?;
        while self.eat(b'*') {
            product = product.wrapping_mul(self.factor(depth)?);
        }
        Ok(product)
    }

    fn factor(&mut self, depth: u32) -> Result<u64, ParseError> {
        let (mut negative, mut inverted) = (false, false);
        loop {
            match self.token.kind {
                Kind::Punct(b'-') => negative = !negative,
                Kind::Punct(b'~') => inverted = !inverted,
                Kind::Punct(b'+') => {}
                _ => break,
            }
            self.advance();
        }
        let value = match self.token.kind {
            Kind::Int(value) => {
                self.advance();
                value
            }
            // The sign of a floating-point number; the caller reads the number.
            Kind::F64(_) if negative => 0,
            Kind::Punct(b'(') if depth < DEPTH => {
                self.advance();
                let value = self.constant(depth + 1)?;
                self.expect(b')')?;
                value
            }
            _ => return Err(self.error("an integer constant is expected")),
        };
        let value = if inverted { !value } else { value };
        Ok(if negative {
            value.wrapping_neg()
        } else {
            value
        })
    }
}
