// SPDX-License-Identifier: MIT OR Apache-2.0
//! C arguments as types that are checked when they are used.
//!
//! [`Out`], [`In`] and [`Text`] are not constructed to be read from: a value that is has come as an
//! argument of a C caller, whose contract (CUDA API reference) is that the pointer is null or points to what the
//! prototype says. That is why their methods are safe.

use std::ffi::{CStr, c_char};

use crate::{Result, error};

/// `T *` that a function writes to.
#[repr(transparent)]
pub(crate) struct Out<T>(*mut T);

// Not derived: that would ask for T to be Copy.
impl<T> Clone for Out<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Out<T> {}

impl<T> Out<T> {
    /// Writes the result. A null pointer is `cudaErrorInvalidValue`.
    pub(crate) fn set(self, value: T) -> Result<()> {
        self.present()?;
        // SAFETY: not null, so by the caller's contract it points to a T to be overwritten.
        // Unaligned, because a C caller may have packed it.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Fails where `set` would, for checking before the work is done.
    pub(crate) fn present(self) -> Result<()> {
        match self.0.is_null() {
            true => Err(error::INVALID_VALUE),
            false => Ok(()),
        }
    }

    /// Writes the result where the caller wants it.
    pub(crate) fn set_if_wanted(self, value: T) {
        let _ = self.set(value);
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    /// The current value, for arguments that are read and written.
    pub(crate) fn get(self) -> Result<T>
    where
        T: Copy,
    {
        self.present()?;
        // SAFETY: not null, so by the caller's contract it points to an initialised T.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// The place of a C caller that wants no result.
    pub(crate) fn null() -> Self {
        Out(std::ptr::null_mut())
    }

    /// What a C caller would pass for a variable.
    #[cfg(test)]
    pub(crate) fn of(place: &mut T) -> Self {
        Out(place)
    }

    /// Element `index` of an array whose length the caller promised to be larger.
    pub(crate) fn at(self, index: usize) -> Result<Self> {
        self.present()?;
        Ok(Out(self.0.wrapping_add(index)))
    }

    /// The same place as what it is there: C calls it `void *`.
    pub(crate) fn cast<U>(self) -> Out<U> {
        Out(self.0.cast())
    }
}

impl Out<c_char> {
    /// Writes a NUL-terminated string into a buffer of `len` bytes, cut to fit.
    pub(crate) fn set_text(self, text: &str, len: usize) -> Result<()> {
        self.present()?;
        let Some(room) = len.checked_sub(1) else {
            return Err(error::INVALID_VALUE);
        };
        let count = text.len().min(room);
        // SAFETY: by the caller's contract the buffer has `len` bytes, and count + 1 <= len.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), self.0.cast(), count);
            self.0.add(count).write(0);
        }
        Ok(())
    }
}

impl Out<u8> {
    /// Writes a structure that is made at run time.
    pub(crate) fn set_bytes(self, bytes: &[u8]) -> Result<()> {
        self.present()?;
        // SAFETY: by the caller's contract the structure is as long as its prototype says, which
        // is what `bytes` was made from.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.0, bytes.len()) };
        Ok(())
    }
}

/// `const T *` that a function reads one value from.
#[repr(transparent)]
pub(crate) struct In<T>(*const T);

// Not derived: that would ask for T to be Copy.
impl<T> Clone for In<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<T> {}

impl<T: Copy> In<T> {
    /// What a C caller would pass for a value.
    #[cfg(test)]
    pub(crate) fn of(value: &T) -> Self {
        In(value)
    }

    /// The value. A null pointer is `cudaErrorInvalidValue`.
    pub(crate) fn get(self) -> Result<T> {
        if self.0.is_null() {
            return Err(error::INVALID_VALUE);
        }
        // SAFETY: not null, so by the caller's contract it points to an initialised T.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Element `index` of an array whose length the caller promised to be larger.
    pub(crate) fn at(self, index: usize) -> Result<T> {
        if self.0.is_null() {
            return Err(error::INVALID_VALUE);
        }
        // SAFETY: by the caller's contract the array has that element.
        Ok(unsafe { self.0.wrapping_add(index).read_unaligned() })
    }

    pub(crate) fn is_null(self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn as_ptr(self) -> *const T {
        self.0
    }

    /// What a C caller passes for nothing.
    pub(crate) fn null() -> Self {
        In(std::ptr::null())
    }

    /// What a C caller is given to pass again: the first of values that stay where they are.
    pub(crate) fn table(first: *const T) -> Self {
        In(first)
    }

    /// The same place as what it is there: C calls it `void *`.
    pub(crate) fn cast<U>(self) -> In<U> {
        In(self.0.cast())
    }
}

impl In<u8> {
    /// A structure of `len` bytes that is read at run time.
    pub(crate) fn bytes(self, len: usize) -> Result<Vec<u8>> {
        if self.0.is_null() {
            return Err(error::INVALID_VALUE);
        }
        // SAFETY: by the caller's contract the structure is as long as its prototype says, which
        // is what `len` was made from.
        Ok(unsafe { std::slice::from_raw_parts(self.0, len) }.to_vec())
    }
}

/// `const char *`.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Text(*const c_char);

impl Text {
    /// The name of something. An empty one is `cudaErrorInvalidValue` too.
    pub(crate) fn name(self) -> Result<&'static str> {
        match self.get()? {
            "" => Err(error::INVALID_VALUE),
            name => Ok(name),
        }
    }

    /// The string. Null or not UTF-8 is `cudaErrorInvalidValue`.
    pub(crate) fn get(self) -> Result<&'static str> {
        if self.0.is_null() {
            return Err(error::INVALID_VALUE);
        }
        // SAFETY: not null, so by the caller's contract a NUL-terminated string, which outlives
        // the call; names that are kept longer are copied by those who keep them.
        unsafe { CStr::from_ptr(self.0) }
            .to_str()
            .map_err(|_| error::INVALID_VALUE)
    }
}
