// SPDX-License-Identifier: MIT OR Apache-2.0
//! The text of a `printf` in a kernel (CUDA C++ Programming Guide, "Formatted Output").
//!
//! The format is C's. The values lie in memory one after the other as C promotes them, integers of
//! 4 or 8 bytes and doubles, each at a multiple of its size.

use core::ffi::{c_char, c_int, c_longlong, c_ulonglong, c_void};

/// Bytes of a format or of a string that are read at most; the rest is left out.
const STRING_LIMIT: u32 = 64 << 10;
/// Largest width and precision of a conversion; larger ones count as this.
const FIELD_LIMIT: i32 = 4096;
/// Values of one call at most; conversions that need more stay as they are.
const VALUES: u32 = 32;

/// The memory that formats, strings and values are in: the byte at an address, if there is one.
pub(crate) type Read<'a> = dyn FnMut(u64) -> Option<u8> + 'a;

/// An address at which no byte can be read.
pub(crate) type Unreadable = u64;

/// Appends the text of one call to `out`. Returns what `printf` returns in a kernel: how many
/// values it took, or -1 without a format.
pub(crate) fn print(
    read: &mut Read<'_>,
    format: u64,
    values: u64,
    out: &mut Vec<u8>,
) -> Result<i32, Unreadable> {
    if format == 0 {
        return Ok(-1);
    }
    let format = string(read, format, STRING_LIMIT)?;
    let mut values = Values {
        read,
        next: values,
        taken: 0,
    };
    let mut rest = &format[..];
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let (plain, conversion) = rest.split_at(at);
        out.extend_from_slice(plain);
        rest = match Conversion::parse(&conversion[1..]) {
            Some((conversion, rest)) if values.taken + conversion.values() <= VALUES => {
                conversion.write(&mut values, out)?;
                rest
            }
            _ => {
                out.push(b'%');
                &conversion[1..]
            }
        };
    }
    out.extend_from_slice(rest);
    Ok(values.taken as i32)
}

/// The bytes before the next zero, `limit` of them at most.
pub(crate) fn string(read: &mut Read<'_>, address: u64, limit: u32) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    for i in 0..limit {
        let at = address.wrapping_add(i.into());
        match read(at).ok_or(at)? {
            0 => break,
            byte => bytes.push(byte),
        }
    }
    Ok(bytes)
}

struct Values<'a, 'b> {
    read: &'a mut Read<'b>,
    next: u64,
    taken: u32,
}

impl Values<'_, '_> {
    fn take(&mut self, size: u64) -> Result<u64, Unreadable> {
        let address = self.next.wrapping_add(size - 1) & !(size - 1);
        let mut value = 0;
        for i in 0..size {
            let at = address.wrapping_add(i);
            value |= u64::from((self.read)(at).ok_or(at)?) << (8 * i);
        }
        self.next = address.wrapping_add(size);
        self.taken += 1;
        Ok(value)
    }
}

/// A width or precision.
#[derive(Clone, Copy)]
enum Extent {
    Absent,
    Given(i32),
    /// `*`
    Value,
}

impl Extent {
    fn parse(text: &[u8]) -> (Extent, &[u8]) {
        if let [b'*', rest @ ..] = text {
            return (Extent::Value, rest);
        }
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = text.split_at(digits);
        let number = digits.iter().fold(0i32, |number, digit| {
            (number * 10 + i32::from(digit - b'0')).min(FIELD_LIMIT)
        });
        match digits {
            [] => (Extent::Absent, rest),
            _ => (Extent::Given(number), rest),
        }
    }

    fn fetch(self, absent: i32, values: &mut Values<'_, '_>) -> Result<i32, Unreadable> {
        Ok(match self {
            Extent::Absent => absent,
            Extent::Given(number) => number,
            Extent::Value => (values.take(4)? as i32).clamp(-FIELD_LIMIT, FIELD_LIMIT),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Length {
    Char,
    Short,
    Int,
    /// `l`, `ll`, `j`, `z`, `t` and `L`
    Long,
}

/// What follows a percent sign.
struct Conversion<'a> {
    flags: &'a [u8],
    width: Extent,
    precision: Extent,
    length: Length,
    kind: u8,
}

impl<'a> Conversion<'a> {
    /// Reads a conversion, and returns what follows it; `None` if it is none.
    fn parse(text: &'a [u8]) -> Option<(Conversion<'a>, &'a [u8])> {
        let flags = text
            .iter()
            .take_while(|byte| b"-+ #0'".contains(byte))
            .count();
        let (flags, rest) = text.split_at(flags);
        let (width, mut rest) = Extent::parse(rest);
        let mut precision = Extent::Absent;
        if let [b'.', after @ ..] = rest {
            (precision, rest) = Extent::parse(after);
            if let Extent::Absent = precision {
                precision = Extent::Given(0);
            }
        }
        let (length, rest) = match rest {
            [b'h', b'h', rest @ ..] => (Length::Char, rest),
            [b'h', rest @ ..] => (Length::Short, rest),
            [b'l', b'l', rest @ ..] | [b'l' | b'j' | b'z' | b't' | b'L', rest @ ..] => {
                (Length::Long, rest)
            }
            _ => (Length::Int, rest),
        };
        let (&kind, rest) = rest.split_first()?;
        let conversion = Conversion {
            flags,
            width,
            precision,
            length,
            kind,
        };
        b"%cdiouxXpeEfFgGaAs"
            .contains(&kind)
            .then_some((conversion, rest))
    }

    /// How many values it takes.
    fn values(&self) -> u32 {
        if self.kind == b'%' {
            return 0;
        }
        let stars = [self.width, self.precision]
            .into_iter()
            .filter(|extent| matches!(extent, Extent::Value));
        1 + stars.count() as u32
    }

    fn write(&self, values: &mut Values<'_, '_>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        if self.kind == b'%' {
            out.push(b'%');
            return Ok(());
        }
        let width = self.width.fetch(0, values)?;
        let precision = self.precision.fetch(-1, values)?;
        match self.kind {
            b'c' => {
                let byte = values.take(4)? as u8;
                self.pad(width, &[byte], out);
            }
            b's' => {
                let address = values.take(8)?;
                let limit = u32::try_from(precision).unwrap_or(STRING_LIMIT);
                let text = match address {
                    0 => b"(null)".to_vec(),
                    _ => string(values.read, address, limit)?,
                };
                let shown = text.len().min(limit as usize);
                self.pad(width, &text[..shown], out);
            }
            b'd' | b'i' => {
                let value = match self.length {
                    Length::Char => i64::from(values.take(4)? as i8),
                    Length::Short => i64::from(values.take(4)? as i16),
                    Length::Int => i64::from(values.take(4)? as i32),
                    Length::Long => values.take(8)? as i64,
                };
                self.number(Number::Signed(value), width, precision, out);
            }
            b'o' | b'u' | b'x' | b'X' => {
                let value = match self.length {
                    Length::Char => u64::from(values.take(4)? as u8),
                    Length::Short => u64::from(values.take(4)? as u16),
                    Length::Int => values.take(4)?,
                    Length::Long => values.take(8)?,
                };
                self.number(Number::Unsigned(value), width, precision, out);
            }
            b'p' => {
                let value = values.take(8)?;
                self.number(Number::Pointer(value), width, precision, out);
            }
            _ => {
                let value = f64::from_bits(values.take(8)?);
                self.number(Number::Double(value), width, precision, out);
            }
        }
        Ok(())
    }

    /// Appends text, at the left or right of a field.
    fn pad(&self, width: i32, text: &[u8], out: &mut Vec<u8>) {
        let left = width < 0 || self.flags.contains(&b'-');
        let padding = (width.unsigned_abs() as usize).saturating_sub(text.len());
        if left {
            out.extend_from_slice(text);
        }
        out.resize(out.len() + padding, b' ');
        if !left {
            out.extend_from_slice(text);
        }
    }

    /// Appends a number, which C's library knows best how to write.
    fn number(&self, number: Number, width: i32, precision: i32, out: &mut Vec<u8>) {
        let mut format = Vec::with_capacity(16);
        format.push(b'%');
        let flags = b"-+ #0".iter();
        format.extend(flags.filter(|flag| self.flags.contains(flag)));
        format.extend_from_slice(b"*.*");
        if let Number::Signed(_) | Number::Unsigned(_) = number {
            format.extend_from_slice(b"ll");
        }
        format.extend_from_slice(&[self.kind, 0]);
        // Room for the largest width or precision, and for all digits of the largest double.
        let mut text = [0u8; FIELD_LIMIT as usize + 512];
        let (to, room) = (text.as_mut_ptr().cast::<c_char>(), text.len());
        let format = format.as_ptr().cast::<c_char>();
        let (width, precision): (c_int, c_int) = (width, precision);
        // SAFETY: the format ends with a zero and names a width, a precision and a value of the
        // type that is given; the text has so much room.
        let length = unsafe {
            match number {
                Number::Signed(value) => {
                    libc::snprintf(to, room, format, width, precision, value as c_longlong)
                }
                Number::Unsigned(value) => {
                    libc::snprintf(to, room, format, width, precision, value as c_ulonglong)
                }
                Number::Pointer(value) => {
                    let pointer = core::ptr::without_provenance::<c_void>(value as usize);
                    libc::snprintf(to, room, format, width, precision, pointer)
                }
                Number::Double(value) => libc::snprintf(to, room, format, width, precision, value),
            }
        };
        let length = usize::try_from(length).unwrap_or(0).min(room - 1);
        out.extend_from_slice(&text[..length]);
    }
}

enum Number {
    Signed(i64),
    Unsigned(u64),
    Pointer(u64),
    Double(f64),
}
