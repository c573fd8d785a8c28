// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unified addressing: what a pointer is, in the structure of each release.

use vcuda_protocol::HostMemory;

use crate::abi::Out;
use crate::entry::export;
use crate::memory::{self, Memory};
use crate::{Result, contexts, error};

/// `cudaMemoryType`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Type {
    Unregistered = 0,
    Host = 1,
    Device = 2,
    Managed = 3,
}

/// What there is to say of a pointer.
struct Pointer {
    kind: Type,
    device: i32,
    on_device: u64,
    on_host: u64,
}

impl Pointer {
    fn at(address: u64) -> Result<Self> {
        /// `cudaInvalidDeviceId`
        const NO_DEVICE: i32 = -2;
        contexts::active()?;
        let pointer = |kind, device, on_device, on_host| Pointer {
            kind,
            device,
            on_device,
            on_host,
        };
        Ok(match memory::classify(address) {
            Memory::Device { device, .. } => {
                pointer(Type::Device, device.ordinal as i32, address, 0)
            }
            Memory::Window { kind, device, .. } => {
                let kind = match kind {
                    HostMemory::Pinned => Type::Host,
                    HostMemory::Managed => Type::Managed,
                };
                pointer(kind, device as i32, address, address)
            }
            Memory::Stray | Memory::Pageable => match memory::registered(address) {
                // It has no device pointer: see cudaHostGetDevicePointer.
                Some(_) => pointer(Type::Host, contexts::current()?.ordinal as i32, 0, address),
                None => pointer(Type::Unregistered, NO_DEVICE, 0, address),
            },
        })
    }

    /// As releases before 11.0 saw it: only what CUDA allocated or registered has attributes, and
    /// managed memory is device memory.
    fn before_11(address: u64) -> Result<(Self, u32)> {
        let pointer = Pointer::at(address)?;
        match pointer.kind {
            Type::Unregistered => Err(error::INVALID_VALUE),
            Type::Managed => Ok((pointer, Type::Device as u32)),
            kind => Ok((pointer, kind as u32)),
        }
    }
}

/// `cudaPointerAttributes` of 9.0 to 9.2
#[repr(C)]
pub(super) struct Attributes9 {
    memory_type: u32,
    device: i32,
    on_device: u64,
    on_host: u64,
    is_managed: i32,
}

/// `cudaPointerAttributes` of 10.0 to 10.2
#[repr(C)]
pub(super) struct Attributes10 {
    memory_type: u32,
    kind: u32,
    device: i32,
    on_device: u64,
    on_host: u64,
    is_managed: i32,
}

/// `cudaPointerAttributes` of 11.0 to 12.9
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Attributes11 {
    kind: u32,
    device: i32,
    on_device: u64,
    on_host: u64,
}

/// `cudaPointerAttributes` of 13.0
#[repr(C)]
pub(super) struct Attributes13 {
    known: Attributes11,
    reserved: [u64; 8],
}

impl From<Pointer> for Attributes11 {
    fn from(p: Pointer) -> Self {
        Attributes11 {
            kind: p.kind as u32,
            device: p.device,
            on_device: p.on_device,
            on_host: p.on_host,
        }
    }
}

export! { runtime:
    /// `cudaPointerGetAttributes` — CUDA Runtime API 9.0 to 9.2, Unified Addressing.
    fn cudaPointerGetAttributes__v9(out: Out<Attributes9>, address: u64) {
        out.present()?;
        let (p, memory_type) = Pointer::before_11(address)?;
        out.set(Attributes9 {
            memory_type,
            device: p.device,
            on_device: p.on_device,
            on_host: p.on_host,
            is_managed: i32::from(p.kind == Type::Managed),
        })
    }

    /// `cudaPointerGetAttributes` — CUDA Runtime API 10.0 to 10.2, Unified Addressing.
    fn cudaPointerGetAttributes__v10(out: Out<Attributes10>, address: u64) {
        out.present()?;
        let (p, memory_type) = Pointer::before_11(address)?;
        out.set(Attributes10 {
            memory_type,
            kind: p.kind as u32,
            device: p.device,
            on_device: p.on_device,
            on_host: p.on_host,
            is_managed: i32::from(p.kind == Type::Managed),
        })
    }

    /// `cudaPointerGetAttributes` — CUDA Runtime API 11.0 to 12.9, Unified Addressing.
    fn cudaPointerGetAttributes__v11(out: Out<Attributes11>, address: u64) {
        out.present()?;
        out.set(Pointer::at(address)?.into())
    }

    /// `cudaPointerGetAttributes` — CUDA Runtime API 13.0, Unified Addressing.
    fn cudaPointerGetAttributes__v13(out: Out<Attributes13>, address: u64) {
        out.present()?;
        out.set(Attributes13 { known: Pointer::at(address)?.into(), reserved: [0; 8] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::layouts::{assert_layout, offsets};

    #[test]
    fn structures_are_laid_out_as_in_each_release() {
        // The manuals of 9.0 and 10.0 declare them; no header of these releases was at hand.
        let nine = offsets!(Attributes9:
            "memoryType" memory_type, "device" device, "devicePointer" on_device,
            "hostPointer" on_host, "isManaged" is_managed);
        assert_eq!(nine.map(|(_, offset)| offset), [0, 4, 8, 16, 24]);
        assert_eq!(size_of::<Attributes9>(), 32);
        let ten = offsets!(Attributes10:
            "memoryType" memory_type, "type" kind, "device" device, "devicePointer" on_device,
            "hostPointer" on_host, "isManaged" is_managed);
        assert_eq!(ten.map(|(_, offset)| offset), [0, 4, 8, 16, 24, 32]);
        assert_eq!(size_of::<Attributes10>(), 40);
        let eleven = offsets!(Attributes11:
            "type" kind, "device" device, "devicePointer" on_device, "hostPointer" on_host);
        for release in ["11.8", "12.0", "12.9"] {
            assert_layout(
                "cudaPointerAttributes",
                release,
                size_of::<Attributes11>(),
                &eleven,
            );
        }
        let thirteen = offsets!(Attributes13:
            "type" known.kind, "device" known.device, "devicePointer" known.on_device,
            "hostPointer" known.on_host, "reserved" reserved);
        assert_layout(
            "cudaPointerAttributes",
            "13.0",
            size_of::<Attributes13>(),
            &thirteen,
        );
    }
}
