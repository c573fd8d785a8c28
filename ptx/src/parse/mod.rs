// SPDX-License-Identifier: MIT OR Apache-2.0
//! From PTX text to a syntax tree. Knows the grammar, not the meaning of any instruction.

pub mod ast;
mod lexer;
mod names;
mod operands;
mod parser;
mod sources;
mod variables;

pub use ast::Module;
pub use names::{Names, Symbol};
pub use sources::Sources;

/// PTX text that does not follow the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message} at `{text}`.")]
#[non_exhaustive]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: u32,
    /// What was expected.
    pub message: String,
    /// The text that was found.
    pub text: String,
}

/// Parses a PTX module (PTX ISA, "Syntax"). NUL bytes at the end are ignored.
///
/// Modules that lie one behind the other, each from its `.version` on, are linked (PTX ISA, "Linking Directives"): what one
/// declares `.extern` is what another defines `.visible` or `.weak`, and what is neither is known in its own module only.
///
/// A statement that does not follow the grammar inside a function body becomes an
/// [`ast::Statement::Unknown`], so that one exotic kernel does not make its module unloadable.
pub fn parse(source: &[u8]) -> Result<Module, ParseError> {
    let end = source
        .iter()
        .rposition(|&b| b != 0)
        .map_or(0, |last| last + 1);
    let source = &source[..end];
    let text = core::str::from_utf8(source).map_err(|e| {
        let before = &source[..e.valid_up_to()];
        ParseError {
            line: 1 + before.iter().filter(|&&b| b == b'\n').count() as u32,
            message: "PTX is text".into(),
            text: format!("byte {:#04x}", source[e.valid_up_to()]),
        }
    })?;
    if u32::try_from(text.len()).is_err() {
        return Err(ParseError {
            line: 1,
            message: "PTX of 4 GiB or more".into(),
            text: String::new(),
        });
    }
    parser::Parser::new(text).module()
}
