// SPDX-License-Identifier: MIT OR Apache-2.0
//! Host memory that the program registered.

use parking_lot::Mutex;

use super::{Memory, classify};
use crate::in_place::{self, Registered};
use crate::{Result, error, session};

/// Host memory that the program registered (`cudaHostRegister`). It stays where it is. In a virtual
/// machine its pages are pinned and known to the worker; on one machine, copies to and from it go
/// through the staging area like those of any pageable memory.
struct RegisteredRange {
    start: u64,
    len: u64,
    flags: u32,
    in_place: Option<Registered>,
}

static REGISTERED: Mutex<Vec<RegisteredRange>> = Mutex::new(Vec::new());

impl RegisteredRange {
    fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.len
    }
}

pub(crate) fn register(start: u64, len: u64, flags: u32) -> Result<()> {
    if start == 0 || len == 0 || start.checked_add(len).is_none() {
        return Err(error::INVALID_VALUE);
    }
    if !matches!(classify(start), Memory::Pageable) {
        return Err(error::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let session = session::get()?;
    let mut registered = REGISTERED.lock();
    let overlaps = |r: &RegisteredRange| start < r.start + r.len && r.start < start + len;
    if registered.iter().any(overlaps) {
        return Err(error::HOST_MEMORY_ALREADY_REGISTERED);
    }
    let in_place = in_place::register(session, start, len)?;
    registered.push(RegisteredRange {
        start,
        len,
        flags,
        in_place,
    });
    Ok(())
}

pub(crate) fn unregister(address: u64) -> Result<()> {
    if address == 0 {
        return Err(error::INVALID_VALUE);
    }
    let mut registered = REGISTERED.lock();
    let found = registered
        .iter()
        .position(|r| r.start == address)
        .ok_or(error::HOST_MEMORY_NOT_REGISTERED)?;
    let range = registered.swap_remove(found);
    match range.in_place {
        Some(in_place) => in_place.unregister(session::get()?),
        None => Ok(()),
    }
}

/// The registered range that holds `address`: start, length, flags.
pub(crate) fn registered(address: u64) -> Option<(u64, u64, u32)> {
    let registered = REGISTERED.lock();
    let found = registered.iter().find(|r| r.holds(address))?;
    Some((found.start, found.len, found.flags))
}

/// The registered memory that holds `span` bytes from `address` on, where the worker knows it.
pub(crate) fn registered_in_place(address: u64, span: Option<u64>) -> Option<Registered> {
    let last = address.checked_add(span?.checked_sub(1)?)?;
    let registered = REGISTERED.lock();
    let found = registered
        .iter()
        .find(|r| r.holds(address) && r.holds(last))?;
    found.in_place
}
