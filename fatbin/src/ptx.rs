// SPDX-License-Identifier: MIT OR Apache-2.0
//! A light scan of PTX text: its header, and the layout of its kernels' parameters. Function bodies are skipped.
//!
//! Source: PTX ISA, "Kernel and Function Directives: .entry", "PTX Module Directives", and "Performance-Tuning Directives".

use memchr::{memchr, memchr2, memchr3, memmem};

use crate::{Arch, ArchVariant, Error, IsaVersion, KernelInfo, Param};

/// What a PTX module says in its first directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `.version`
    pub version: IsaVersion,
    /// `.target`
    pub arch: Arch,
}

/// Reads `.version` and `.target`, which must be a module's first two directives; `None` where they are not, and so where
/// `text` is no PTX.
pub fn header(text: &[u8]) -> Option<Header> {
    let mut scanner = Scanner::new(without_padding(text));
    if scanner.word()? != b".version" {
        return None;
    }
    let (major, minor) = split_once(scanner.word()?, b'.')?;
    let version = IsaVersion {
        major: number(major)?,
        minor: number(minor)?,
    };
    if scanner.word()? != b".target" {
        return None;
    }
    Some(Header {
        version,
        arch: arch(scanner.word()?)?,
    })
}

/// The text up to the zeros that pad or end it, which is all that a PTX compiler sees.
pub fn without_padding(text: &[u8]) -> &[u8] {
    memchr(0, text)
        .and_then(|end| text.get(..end))
        .unwrap_or(text)
}

/// The kernels that PTX text defines, in order, each parameter placed by its type's natural alignment or its `.align`.
pub fn kernels(text: &[u8]) -> Result<Vec<KernelInfo>, Error> {
    let mut scanner = Scanner::new(without_padding(text));
    let mut kernels = Vec::new();
    while scanner.skip_past_entry() {
        let kernel = scanner.kernel().map_err(|reason| Error::Ptx {
            line: scanner.line(),
            reason,
        })?;
        kernels.extend(kernel);
    }
    Ok(kernels)
}

/// `sm_90a` and its like.
fn arch(word: &[u8]) -> Option<Arch> {
    let digits = word.strip_prefix(b"sm_")?;
    let (digits, variant) = match digits.split_last()? {
        (b'a', digits) => (digits, ArchVariant::Specific),
        (b'f', digits) => (digits, ArchVariant::Family),
        _ => (digits, ArchVariant::Plain),
    };
    Some(Arch {
        sm: number(digits)?,
        variant,
    })
}

fn split_once(word: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let (before, after) = word.split_at_checked(memchr(separator, word)?)?;
    Some((before, after.get(1..)?))
}

/// Decimal, or hexadecimal with 0x.
fn number<N: TryFrom<u64>>(word: &[u8]) -> Option<N> {
    let word = std::str::from_utf8(word).ok()?;
    let value = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    N::try_from(value.ok()?).ok()
}

/// Bytes of one value of a fundamental type, or of an opaque handle.
fn size_of_type(word: &[u8]) -> Option<u32> {
    Some(match word {
        b".b8" | b".u8" | b".s8" | b".e4m3" | b".e5m2" => 1,
        b".b16" | b".u16" | b".s16" | b".f16" | b".bf16" => 2,
        b".b32" | b".u32" | b".s32" | b".f32" | b".f16x2" | b".bf16x2" | b".tf32" => 4,
        b".b64" | b".u64" | b".s64" | b".f64" | b".texref" | b".samplerref" | b".surfref" => 8,
        b".b128" => 16,
        _ => return None,
    })
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Line of the current position, from 1.
    fn line(&self) -> usize {
        self.text
            .iter()
            .take(self.at)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    /// Moves behind the next `.entry` that stands neither in a comment nor in a string.
    fn skip_past_entry(&mut self) -> bool {
        while let Some(found) = memchr3(b'.', b'/', b'"', self.rest()) {
            self.at += found;
            let rest = self.rest();
            if self.skip_comment() {
                continue;
            }
            if rest.starts_with(b"\"") {
                self.skip_string();
            } else if rest.starts_with(b".entry") && !rest.get(6).is_some_and(|byte| is_word(*byte))
            {
                self.at += 6;
                return true;
            } else {
                self.at += 1;
            }
        }
        false
    }

    /// Whether there was a comment at the current position. One that does not end reaches to the end of the text.
    fn skip_comment(&mut self) -> bool {
        let rest = self.rest();
        let end = if rest.starts_with(b"//") {
            memchr(b'\n', rest).map(|end| end + 1)
        } else if rest.starts_with(b"/*") {
            memmem::find(rest.get(2..).unwrap_or_default(), b"*/").map(|end| end + 4)
        } else {
            return false;
        };
        self.at += end.unwrap_or(rest.len());
        true
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(found) = memchr2(b'"', b'\\', self.rest()) {
            let escaped = self.rest().get(found) == Some(&b'\\');
            self.at = (self.at + found + if escaped { 2 } else { 1 }).min(self.text.len());
            if !escaped {
                return;
            }
        }
        self.at = self.text.len();
    }

    fn skip_space(&mut self) {
        loop {
            self.at += self
                .rest()
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace())
                .count();
            if !self.skip_comment() {
                return;
            }
        }
    }

    /// The next run of word characters, empty where something else stands; `None` at the end of the text.
    fn word(&mut self) -> Option<&'a [u8]> {
        self.skip_space();
        let rest = self.rest();
        let len = rest.iter().take_while(|byte| is_word(**byte)).count();
        self.at += len;
        rest.get(..len).filter(|_| !rest.is_empty())
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest().first().copied()
    }

    /// Moves over `punctuation` if it comes next.
    fn takes(&mut self, punctuation: u8) -> bool {
        let found = self.peek() == Some(punctuation);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, punctuation: u8) -> Result<(), String> {
        if self.takes(punctuation) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(other) => format!(
                "'{}' expected, found '{}'",
                char::from(punctuation),
                char::from(other).escape_default()
            ),
            None => format!(
                "'{}' expected, found the end of the text",
                char::from(punctuation)
            ),
        })
    }

    /// What follows `.entry`, up to the body. `None` for a declaration without a body.
    fn kernel(&mut self) -> Result<Option<KernelInfo>, String> {
        let name = self
            .word()
            .filter(|name| !name.is_empty())
            .ok_or("a kernel name expected behind .entry")?;
        let mut kernel = KernelInfo::named(String::from_utf8_lossy(name));
        if self.takes(b'(') && !self.takes(b')') {
            loop {
                let param = self.param(&kernel)?;
                kernel.param_bytes = param
                    .offset
                    .checked_add(param.size)
                    .ok_or("the parameters are over 4 GiB")?;
                kernel.params.push(param);
                if !self.takes(b',') {
                    break;
                }
            }
            self.expect(b')')?;
        }
        loop {
            if self.takes(b'{') {
                return Ok(Some(kernel));
            }
            if self.takes(b';') {
                return Ok(None);
            }
            match self.word() {
                None => {
                    return Err(format!(
                        "the text ends before the body of kernel {}",
                        kernel.name
                    ));
                }
                Some(b".maxntid" | b".reqntid") => kernel.max_threads = Some(self.shape()?),
                // Other performance directives, and their values.
                Some(b"") => self.at += 1,
                Some(_) => {}
            }
        }
    }

    /// One to three numbers; those left out are 1.
    fn shape(&mut self) -> Result<[u32; 3], String> {
        let mut shape = [1; 3];
        for (axis, extent) in shape.iter_mut().enumerate() {
            if axis > 0 && !self.takes(b',') {
                break;
            }
            *extent = self
                .word()
                .and_then(number)
                .ok_or("a number of threads expected")?;
        }
        Ok(shape)
    }

    /// `.param [.align N] .type [.ptr [.space] [.align N]] name [ '[' N ']' ]`
    fn param(&mut self, kernel: &KernelInfo) -> Result<Param, String> {
        let ordinal = kernel.params.len() as u32;
        let described =
            |what: &str| format!("parameter {ordinal} of kernel {}: {what}", kernel.name);
        if self.word() != Some(b".param") {
            return Err(described(".param expected"));
        }
        let mut align = None;
        let mut element = None;
        let mut lanes = 1;
        let mut pointer = false;
        loop {
            let word = self.word().ok_or_else(|| described("the text ends"))?;
            match word {
                b".align" => {
                    let value: Option<u32> = self.word().and_then(number);
                    let value = value.filter(|value| value.is_power_of_two());
                    let value =
                        value.ok_or_else(|| described("the alignment is not a power of two"))?;
                    // Behind .ptr stands the alignment of what the pointer leads to.
                    if !pointer {
                        align = Some(value);
                    }
                }
                b".ptr" => pointer = true,
                b".v2" => lanes = 2,
                b".v4" => lanes = 4,
                b".const" | b".global" | b".local" | b".shared" | b".param" => {}
                b"" => return Err(described("a name expected")),
                _ => match (size_of_type(word), word.starts_with(b".")) {
                    (Some(size), _) => element = Some(size),
                    (None, true) => {
                        return Err(described(&format!(
                            "unknown type {}",
                            String::from_utf8_lossy(word)
                        )));
                    }
                    (None, false) => break,
                },
            }
        }
        let element = element.ok_or_else(|| described("it has no type"))? * lanes;
        let mut size = element;
        while self.takes(b'[') {
            let count: u32 = self
                .word()
                .and_then(number)
                .ok_or_else(|| described("an array size expected"))?;
            size = size
                .checked_mul(count)
                .ok_or_else(|| described("it is over 4 GiB"))?;
            self.expect(b']')?;
        }
        let offset = kernel
            .param_bytes
            .checked_next_multiple_of(align.unwrap_or(element));
        Ok(Param {
            ordinal,
            offset: offset.ok_or_else(|| described("it lies beyond 4 GiB"))?,
            size,
        })
    }
}

/// Directives, types, identifiers and numbers.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'$' | b'%')
}
