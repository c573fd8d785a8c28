// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images in this process's memory: how long they are, and what belongs to one.

use std::borrow::Cow;
use std::ffi::{CStr, c_void};

use vcuda_fatbin::{Container, Cubin};

use crate::{Result, error};

/// Bytes of an image in this process's memory, from a pointer that CUDA gives without a length:
/// a fat binary and an ELF file say how long they are, PTX text ends with NUL.
///
/// # Safety
/// `image` points to a fat binary, a cubin or NUL-terminated PTX text.
pub(crate) unsafe fn image_at(image: *const c_void) -> Result<&'static [u8]> {
    if image.is_null() {
        return Err(error::INVALID_VALUE);
    }
    let starts_with = |magic: u32| {
        (magic.to_le_bytes().iter().enumerate()).all(|(offset, byte)| {
            // SAFETY: no image is shorter than the part of another kind's first bytes that it shares
            // with it, and one byte: text has its NUL.
            *byte == unsafe { image.cast::<u8>().add(offset).read_volatile() }
        })
    };
    let header = |len| {
        // SAFETY: an image that begins as a container or as an ELF file has the header of one.
        unsafe { std::slice::from_raw_parts(image.cast::<u8>(), len) }
    };
    let len = if starts_with(Container::MAGIC) {
        Container::total_len(header(Container::HEADER_LEN))
    } else if starts_with(WRAPPER_MAGIC) {
        // SAFETY: a wrapper as nvcc makes it leads to its fat binary, which is no wrapper again.
        return unsafe { image_at(image.cast::<FatBinaryWrapper>().read_unaligned().data) };
    } else if starts_with(ELF_MAGIC) {
        Cubin::total_len(header(Cubin::HEADER_LEN))
    } else {
        // SAFETY: by this function's contract, anything else is NUL-terminated text.
        Ok(unsafe { CStr::from_ptr(image.cast()) }.count_bytes() + 1)
    };
    let len = len.map_err(|_| error::INVALID_IMAGE)?;
    // SAFETY: by this function's contract the image is as long as it says, and images that a
    // program passes are not changed while CUDA reads them.
    Ok(unsafe { std::slice::from_raw_parts(image.cast(), len) })
}

/// What `__cudaRegisterFatBinary` is given: `__fatBinC_Wrapper_t` of the toolkit's fatbinary_section.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FatBinaryWrapper {
    magic: u32,
    version: u32,
    data: *const c_void,
    /// In version 2, the fat binaries of the translation units that were linked, up to a null pointer.
    filename_or_fatbins: *const *const c_void,
}

pub(crate) const WRAPPER_MAGIC: u32 = 0x4662_43b1;
/// The version of a wrapper that `nvcc -dlink` makes (`FATBINC_LINK_VERSION`).
const LINKED: u32 = 2;
/// 0x7f and `ELF`.
const ELF_MAGIC: u32 = u32::from_le_bytes(*b"\x7fELF");

/// Where a fat binary's bytes are.
pub(crate) struct Data(Place);

enum Place {
    /// In the program's image, where they stay: the fat binary, and the list of those that it was linked from, or null.
    Registered(*const c_void, *const *const c_void),
    /// A copy, because the program may free its own.
    Copied(Vec<u8>),
}

// SAFETY: the pointers lead into the program's image, which is not changed.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

impl Data {
    pub(crate) fn copied(image: &[u8]) -> Data {
        Data(Place::Copied(image.to_vec()))
    }

    /// What a wrapper leads to, or its magic number if it is none.
    ///
    /// # Safety
    /// `wrapper` points to a wrapper that nvcc or clang made, or to memory of that size.
    pub(crate) unsafe fn registered(
        wrapper: *const FatBinaryWrapper,
    ) -> std::result::Result<Data, u32> {
        // SAFETY: by this function's contract.
        let wrapper = unsafe { wrapper.read_unaligned() };
        if wrapper.magic != WRAPPER_MAGIC {
            return Err(wrapper.magic);
        }
        let units = match wrapper.version {
            LINKED => wrapper.filename_or_fatbins,
            _ => std::ptr::null(),
        };
        Ok(Data(Place::Registered(wrapper.data, units)))
    }

    /// The bytes. A fat binary that was linked has those of its translation units behind it, so that a device for which
    /// there is no machine code can link their PTX.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>> {
        let (whole, units) = match &self.0 {
            Place::Copied(image) => return Ok(Cow::Borrowed(image)),
            // SAFETY: the data of a registered wrapper is a fat binary.
            &Place::Registered(data, units) => (unsafe { image_at(data) }?, units),
        };
        if units.is_null() {
            return Ok(Cow::Borrowed(whole));
        }
        let mut bytes = whole.to_vec();
        for i in 0.. {
            // SAFETY: the list ends with a null pointer, and the data of each unit's wrapper is a fat binary.
            let unit = unsafe {
                let unit = units.add(i).read_unaligned();
                if unit.is_null() {
                    break;
                }
                image_at(unit)?
            };
            // Containers begin at multiples of their headers' alignment.
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend_from_slice(unit);
        }
        Ok(Cow::Owned(bytes))
    }
}
