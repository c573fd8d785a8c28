// SPDX-License-Identifier: MIT OR Apache-2.0
//! What programs say of managed memory: where it will be used, and how.
//!
//! It is one memory that both sides share, so there is nothing to move and nothing to prepare. What is said is checked, so that
//! mistakes are found, and has no effect.

use vcuda_protocol::HostMemory;

use crate::memory::{self, Memory};
use crate::pools::Location;
use crate::{Result, contexts, error, streams};

/// `cudaMemAdviseSetReadMostly` to `cudaMemAdviseUnsetAccessedBy`
const ADVICE: std::ops::RangeInclusive<u32> = 1..=6;
/// `cudaCpuDeviceId`, `CU_DEVICE_CPU`
const CPU: i32 = -1;
/// `cudaMemAttachGlobal` | `cudaMemAttachHost` | `cudaMemAttachSingle`
const ATTACH: [u32; 3] = [1, 2, 4];

/// A place for managed memory.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// A device's number, or that of the processor.
    Number(i32),
    Location(Location),
}

impl Place {
    fn check(self) -> Result<()> {
        match self {
            Place::Number(CPU) => Ok(()),
            Place::Number(ordinal)
            | Place::Location(Location {
                kind: Location::DEVICE,
                id: ordinal,
            }) => contexts::device(ordinal).map(drop),
            Place::Location(Location { kind, .. })
                if (Location::DEVICE..=Location::LAST).contains(&kind) =>
            {
                Ok(())
            }
            Place::Location(_) => Err(error::INVALID_VALUE),
        }
    }
}

/// The range must lie in one managed allocation or variable.
fn check_range(address: u64, size: usize) -> Result<()> {
    let found = memory::classify(address);
    let managed = matches!(
        found,
        Memory::Window {
            kind: HostMemory::Managed,
            ..
        }
    );
    match managed && size != 0 && found.covers(address, size as u64) {
        true => Ok(()),
        false => Err(error::INVALID_VALUE),
    }
}

/// `cudaMemAdvise`. Of some advice the place does not matter.
pub(crate) fn advise(address: u64, size: usize, advice: u32, place: Place) -> Result<()> {
    /// `cudaMemAdviseSetReadMostly`, `...UnsetReadMostly`, `...UnsetPreferredLocation`
    const ANYWHERE: [u32; 3] = [1, 2, 4];
    if !ADVICE.contains(&advice) {
        return Err(error::INVALID_VALUE);
    }
    check_range(address, size)?;
    match ANYWHERE.contains(&advice) {
        true => Ok(()),
        false => place.check(),
    }
}

/// `cudaMemPrefetchAsync`
pub(crate) fn prefetch(address: u64, size: usize, place: Place, stream: u64) -> Result<()> {
    streams::resolve(stream)?;
    check_range(address, size)?;
    place.check()
}

/// `cudaStreamAttachMemAsync`: the whole allocation, whose size may be given as 0.
pub(crate) fn attach(stream: u64, address: u64, size: usize, flags: u32) -> Result<()> {
    streams::resolve(stream)?;
    match memory::classify(address) {
        Memory::Window {
            kind: HostMemory::Managed,
            start,
            len,
            ..
        } if start == address && (size == 0 || size as u64 == len) && ATTACH.contains(&flags) => {
            Ok(())
        }
        _ => Err(error::INVALID_VALUE),
    }
}
