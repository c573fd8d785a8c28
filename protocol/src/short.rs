// SPDX-License-Identifier: MIT OR Apache-2.0
//! Short values in postcard's encoding, written fast.
//!
//! Each call of a program that is not waited for costs little more than the encoding of its command, most of which
//! are numbers. postcard writes a number bit group by bit group into a place of its own and copies that; here the
//! groups of a number are spread over a word at once, into room that is there already. The bytes are the same; what
//! does not fit, or is of a kind that no command has, is left to postcard.

use serde::ser::{self, Serialize};

/// The value has to be written by postcard.
#[derive(Debug, thiserror::Error)]
#[error("The value is not written in short.")]
pub(crate) struct NotShort;

impl ser::Error for NotShort {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        NotShort
    }
}

/// Room for a short value.
pub(crate) struct Short<'a> {
    room: &'a mut [u8],
    len: usize,
}

/// Writes the value to the beginning of `room`; gives its length.
pub(crate) fn write<T: Serialize>(room: &mut [u8], value: &T) -> Result<usize, NotShort> {
    let mut short = Short { room, len: 0 };
    value.serialize(&mut short)?;
    Ok(short.len)
}

/// The longest number: nine groups of seven bits, and the last bit.
const LONGEST: usize = 10;

/// The seven-bit groups of a number below 2^56, from the lowest, each in a byte of its own.
#[inline]
fn spread(number: u64) -> u64 {
    let halves = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    let quarters = halves & 0x0000_3fff_0000_3fff | (halves & 0x0fff_c000_0fff_c000) << 2;
    quarters & 0x007f_007f_007f_007f | (quarters & 0x3f80_3f80_3f80_3f80) << 1
}

impl Short<'_> {
    #[inline]
    fn byte(&mut self, byte: u8) -> Result<(), NotShort> {
        *self.room.get_mut(self.len).ok_or(NotShort)? = byte;
        self.len += 1;
        Ok(())
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), NotShort> {
        let room = self.room.get_mut(self.len..).ok_or(NotShort)?;
        room.get_mut(..bytes.len())
            .ok_or(NotShort)?
            .copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    /// Groups of seven bits, from the lowest; the highest bit of a byte says that more follow.
    #[inline]
    fn number(&mut self, number: u64) -> Result<(), NotShort> {
        if number < 0x80 {
            return self.byte(number as u8);
        }
        let room = self.room.get_mut(self.len..).ok_or(NotShort)?;
        let room = room.first_chunk_mut::<LONGEST>().ok_or(NotShort)?;
        let groups = (70 - number.leading_zeros() as usize) / 7;
        let more = 0x8080_8080_8080_8080;
        if let Some(rest) = number.checked_shr(56)
            && rest > 0
        {
            room[..8].copy_from_slice(&(spread(number & !0 >> 8) | more).to_le_bytes());
            room[8] = (rest & 0x7f) as u8 | if groups > 9 { 0x80 } else { 0 };
            room[9] = (rest >> 7) as u8;
        } else {
            let last = 8 * (groups - 1);
            let bytes = spread(number) | more & !(!0 << last);
            room[..8].copy_from_slice(&bytes.to_le_bytes());
        }
        self.len += groups;
        Ok(())
    }

    /// Signed numbers alternate, so that those near zero are short.
    #[inline]
    fn signed(&mut self, number: i64) -> Result<(), NotShort> {
        self.number((number << 1 ^ number >> 63) as u64)
    }
}

type Done = Result<(), NotShort>;

impl<'a, 'b> ser::Serializer for &'a mut Short<'b> {
    type Ok = ();
    type Error = NotShort;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = ser::Impossible<(), NotShort>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Done {
        self.byte(value.into())
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> Done {
        self.byte(value)
    }

    #[inline]
    fn serialize_u16(self, value: u16) -> Done {
        self.number(value.into())
    }

    #[inline]
    fn serialize_u32(self, value: u32) -> Done {
        self.number(value.into())
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Done {
        self.number(value)
    }

    #[inline]
    fn serialize_i8(self, value: i8) -> Done {
        self.byte(value as u8)
    }

    #[inline]
    fn serialize_i16(self, value: i16) -> Done {
        self.signed(value.into())
    }

    #[inline]
    fn serialize_i32(self, value: i32) -> Done {
        self.signed(value.into())
    }

    #[inline]
    fn serialize_i64(self, value: i64) -> Done {
        self.signed(value)
    }

    fn serialize_f32(self, value: f32) -> Done {
        self.bytes(&value.to_le_bytes())
    }

    fn serialize_f64(self, value: f64) -> Done {
        self.bytes(&value.to_le_bytes())
    }

    fn serialize_char(self, _: char) -> Done {
        Err(NotShort)
    }

    fn serialize_str(self, value: &str) -> Done {
        self.serialize_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.number(value.len() as u64)?;
        self.bytes(value)
    }

    #[inline]
    fn serialize_none(self) -> Done {
        self.byte(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        self.byte(1)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Done {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Done {
        self.number(index.into())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Done {
        self.number(index.into())?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self, NotShort> {
        self.number(len.ok_or(NotShort)? as u64)?;
        Ok(self)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, NotShort> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, NotShort> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotShort> {
        self.number(index.into())?;
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, NotShort> {
        Err(NotShort)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, NotShort> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, NotShort> {
        self.number(index.into())?;
        Ok(self)
    }
}

/// Parts stand one after the other, without names.
macro_rules! parts {
    ($($of:ident: $part:ident($($key:ident)?);)*) => { $(
        impl ser::$of for &mut Short<'_> {
            type Ok = ();
            type Error = NotShort;

            #[inline]
            fn $part<T: Serialize + ?Sized>(&mut self, $($key: &'static str,)? value: &T) -> Done {
                value.serialize(&mut **self)
            }

            #[inline]
            fn end(self) -> Done {
                Ok(())
            }
        }
    )* };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(_name);
    SerializeStructVariant: serialize_field(_name);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn same<T: Serialize>(value: &T) {
        let mut room = [0xaa; 256];
        let len = write(&mut room, value).unwrap();
        assert_eq!(room[..len], postcard::to_allocvec(value).unwrap());
    }

    #[test]
    fn numbers_at_the_ends_of_each_length_are_postcards() {
        for bits in 0..64 {
            let power = 1u64 << bits;
            for number in [power - 1, power, power + 1, !power, u64::MAX - power] {
                same(&number);
                same(&(number as i64));
                same(&(number as u32, number as u16, number as u8));
                same(&(number as i32, number as i16, number as i8));
            }
        }
    }

    #[derive(serde::Serialize)]
    enum Any {
        Unit,
        Newtype(Option<u32>),
        Tuple(i16, bool, ()),
        Struct { list: Vec<u64>, text: String },
        Floats([f32; 3], f64),
    }

    proptest! {
        #[test]
        fn values_of_every_kind_are_postcards(
            numbers in (any::<u64>(), any::<i64>(), any::<i32>(), any::<u16>()),
            list in proptest::collection::vec(any::<u64>(), 0..10),
            text in ".{0,10}",
        ) {
            same(&numbers);
            same(&Any::Unit);
            same(&Any::Newtype(None));
            same(&Any::Newtype(Some(numbers.2 as u32)));
            same(&Any::Tuple(numbers.3 as i16, numbers.0 > 9, ()));
            same(&Any::Floats([1.5, f32::from_bits(numbers.2 as u32), -0.0], f64::from_bits(numbers.0)));
            same(&Any::Struct { list, text });
        }

        #[test]
        fn what_does_not_fit_is_left(list in proptest::collection::vec(any::<u64>(), 0..10), len in 0usize..100) {
            let whole = postcard::to_allocvec(&list).unwrap();
            let mut room = vec![0; len];
            match write(&mut room, &list) {
                Ok(len) => assert_eq!(room[..len], whole),
                // A number is not begun where the longest would not fit.
                Err(NotShort) => assert!(len < whole.len() + LONGEST),
            }
        }
    }
}
