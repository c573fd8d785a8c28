// SPDX-License-Identifier: MIT OR Apache-2.0
//! PTX tokens (PTX ISA, "Syntax": comments, identifiers, constants).

/// What a token is; its text is in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier: `add`, `%r1`, `$L__BB0_2`.
    Word,
    /// A dot and what follows it: `.s32`, `.shared::cta`, `.2d`.
    Dotted,
    /// An integer constant.
    Int(u64),
    /// A single-precision constant by its bits.
    F32(u32),
    /// A double-precision constant by its bits.
    F64(u64),
    /// A quoted string; the text includes the quotes.
    Text,
    /// Any other single character.
    Punct(u8),
    /// The end of the source.
    End,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: u32,
    pub end: u32,
    pub line: u32,
}

pub(super) struct Lexer<'a> {
    source: &'a [u8],
    at: usize,
    line: u32,
}

fn word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%')
}

fn word_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        Lexer {
            source: source.as_bytes(),
            at: 0,
            line: 1,
        }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.source.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_blank(&mut self) {
        while let Some(&byte) = self.source.get(self.at) {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0c | 0x0b => self.at += 1,
                b'/' if self.peek(1) == b'/' => self.skip_line(),
                b'#' => self.skip_line(),
                b'/' if self.peek(1) == b'*' => {
                    self.at += 2;
                    while self.at < self.source.len()
                        && !(self.peek(0) == b'*' && self.peek(1) == b'/')
                    {
                        self.line += u32::from(self.peek(0) == b'\n');
                        self.at += 1;
                    }
                    self.at = (self.at + 2).min(self.source.len());
                }
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.source.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn take(&mut self, part: impl Fn(u8) -> bool) {
        while self.source.get(self.at).is_some_and(|&byte| part(byte)) {
            self.at += 1;
        }
    }

    /// The next token; after the end of the source, `End` again and again.
    pub fn next(&mut self) -> Token {
        self.skip_blank();
        let (start, line) = (self.at, self.line);
        let kind = match self.source.get(self.at).copied() {
            None => Kind::End,
            Some(byte) if word_start(byte) => {
                self.at += 1;
                self.take(word_part);
                match &self.source[start..self.at] {
                    // The one predefined constant (PTX ISA, "Predefined Identifiers").
                    b"WARP_SZ" => Kind::Int(32),
                    _ => Kind::Word,
                }
            }
            Some(b'.') if word_part(self.peek(1)) => {
                self.at += 1;
                self.take(word_part);
                while self.peek(0) == b':' && self.peek(1) == b':' && word_part(self.peek(2)) {
                    self.at += 2;
                    self.take(word_part);
                }
                Kind::Dotted
            }
            Some(byte) if byte.is_ascii_digit() => self.number(),
            Some(b'"') => {
                self.at += 1;
                while self.at < self.source.len() && !matches!(self.peek(0), b'"' | b'\n') {
                    self.at += if self.peek(0) == b'\\' && self.at + 1 < self.source.len() {
                        2
                    } else {
                        1
                    };
                }
                self.at = (self.at + 1).min(self.source.len());
                Kind::Text
            }
            Some(byte) => {
                self.at += 1;
                // A whole character, so that texts of tokens are valid UTF-8.
                self.take(|b| byte >= 0x80 && b & 0xc0 == 0x80);
                Kind::Punct(byte)
            }
        };
        Token {
            kind,
            start: start as u32,
            end: self.at as u32,
            line,
        }
    }

    fn number(&mut self) -> Kind {
        let start = self.at;
        let second = self.peek(1);
        if self.peek(0) == b'0' && matches!(second, b'f' | b'F' | b'd' | b'D') {
            let digits = if second.eq_ignore_ascii_case(&b'f') {
                8
            } else {
                16
            };
            let hex = self.source.get(start + 2..start + 2 + digits);
            if let Some(hex) = hex.filter(|h| h.iter().all(u8::is_ascii_hexdigit)) {
                self.at += 2 + digits;
                let bits = fold(hex, 16);
                return if digits == 8 {
                    Kind::F32(bits as u32)
                } else {
                    Kind::F64(bits)
                };
            }
        }
        let radix = match (self.peek(0), second) {
            (b'0', b'x' | b'X') => 16,
            (b'0', b'b' | b'B') => 2,
            (b'0', b'0'..=b'7') => 8,
            _ => 10,
        };
        if radix == 16 || radix == 2 {
            self.at += 2;
            let digits = self.at;
            self.take(|b| b.is_ascii_hexdigit());
            let value = fold(&self.source[digits..self.at], radix);
            self.suffix();
            return Kind::Int(value);
        }
        self.take(|b| b.is_ascii_digit());
        let real = self.peek(0) == b'.' && self.peek(1).is_ascii_digit();
        if real {
            self.at += 1;
            self.take(|b| b.is_ascii_digit());
        }
        let exponent = matches!(self.peek(0), b'e' | b'E')
            && (self.peek(1).is_ascii_digit()
                || (matches!(self.peek(1), b'+' | b'-') && self.peek(2).is_ascii_digit()));
        if exponent {
            self.at += 2;
            self.take(|b| b.is_ascii_digit());
        }
        let text = &self.source[start..self.at];
        if real || exponent {
            let value = core::str::from_utf8(text)
                .ok()
                .and_then(|t| t.parse::<f64>().ok())
                .unwrap_or(f64::NAN);
            return Kind::F64(value.to_bits());
        }
        let value = fold(text, radix);
        self.suffix();
        Kind::Int(value)
    }

    fn suffix(&mut self) {
        if self.peek(0) == b'U' {
            self.at += 1;
        }
    }
}

/// Digits to a number, modulo 2^64.
fn fold(digits: &[u8], radix: u64) -> u64 {
    digits.iter().fold(0u64, |value, &digit| {
        let digit = (digit as char).to_digit(16).unwrap_or(0);
        value.wrapping_mul(radix).wrapping_add(u64::from(digit))
    })
}
