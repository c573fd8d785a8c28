// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unified addressing: what an address is.

use vcuda_protocol::HostMemory;

use crate::abi::{In, Out};
use crate::contexts::{self, Context};
use crate::entry::export;
use crate::error::unsupported;
use crate::memory::{self, Memory};
use crate::{Result, error};

/// `CUpointer_attribute`
mod attribute {
    pub(super) const CONTEXT: u32 = 1;
    pub(super) const MEMORY_TYPE: u32 = 2;
    pub(super) const DEVICE_POINTER: u32 = 3;
    pub(super) const HOST_POINTER: u32 = 4;
    pub(super) const P2P_TOKENS: u32 = 5;
    pub(super) const SYNC_MEMOPS: u32 = 6;
    pub(super) const BUFFER_ID: u32 = 7;
    pub(super) const IS_MANAGED: u32 = 8;
    pub(super) const DEVICE_ORDINAL: u32 = 9;
    pub(super) const IS_LEGACY_IPC_CAPABLE: u32 = 10;
    pub(super) const RANGE_START: u32 = 11;
    pub(super) const RANGE_SIZE: u32 = 12;
    pub(super) const MAPPED: u32 = 13;
    pub(super) const ALLOWED_HANDLE_TYPES: u32 = 14;
    pub(super) const IS_RDMA_CAPABLE: u32 = 15;
    pub(super) const ACCESS_FLAGS: u32 = 16;
    pub(super) const MEMPOOL: u32 = 17;
    pub(super) const MAPPING_SIZE: u32 = 18;
    pub(super) const MAPPING_BASE: u32 = 19;
    pub(super) const MEMORY_BLOCK_ID: u32 = 20;
    pub(super) const IS_DECOMPRESS_CAPABLE: u32 = 21;
}

/// A value, with the width that the attribute has in C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Word(u32),
    Long(u64),
}

impl Value {
    /// What an attribute of memory that CUDA does not know is.
    fn none(attribute: u32, address: u64) -> Result<Self> {
        use attribute::*;
        Ok(match attribute {
            HOST_POINTER => Value::Long(address),
            CONTEXT | DEVICE_POINTER | BUFFER_ID | RANGE_START | RANGE_SIZE
            | ALLOWED_HANDLE_TYPES | MEMPOOL | MAPPING_SIZE | MAPPING_BASE | MEMORY_BLOCK_ID => {
                Value::Long(0)
            }
            // A device number that is none (`CU_DEVICE_INVALID`).
            DEVICE_ORDINAL => Value::Word(-2i32 as u32),
            MEMORY_TYPE
            | SYNC_MEMOPS
            | IS_MANAGED
            | IS_LEGACY_IPC_CAPABLE
            | MAPPED
            | IS_RDMA_CAPABLE
            | ACCESS_FLAGS
            | IS_DECOMPRESS_CAPABLE => Value::Word(0),
            _ => return Err(error::INVALID_VALUE),
        })
    }

    fn store(self, out: Out<u8>) -> Result<()> {
        match self {
            Value::Word(value) => out.set_bytes(&value.to_ne_bytes()),
            Value::Long(value) => out.set_bytes(&value.to_ne_bytes()),
        }
    }
}

/// What is known of the memory that an address points into.
struct Known {
    ordinal: u32,
    start: u64,
    len: u64,
    /// Whether this process can use it.
    host: bool,
    /// Whether the device can.
    device: bool,
    managed: bool,
}

fn know(address: u64) -> Option<Known> {
    match memory::classify(address) {
        Memory::Device { device, start, len } => Some(Known {
            ordinal: device.ordinal,
            start,
            len,
            host: false,
            device: true,
            managed: false,
        }),
        Memory::Window {
            kind,
            device,
            start,
            len,
            ..
        } => Some(Known {
            ordinal: device,
            start,
            len,
            host: true,
            device: true,
            managed: kind == HostMemory::Managed,
        }),
        Memory::Stray => None,
        Memory::Pageable => memory::registered(address).map(|(start, len, _)| Known {
            ordinal: 0,
            start,
            len,
            host: true,
            device: false,
            managed: false,
        }),
    }
}

impl Known {
    fn value(&self, attribute: u32, address: u64) -> Result<Value> {
        /// `CU_MEMORYTYPE_HOST`, `CU_MEMORYTYPE_DEVICE`
        const TYPES: [u32; 2] = [1, 2];
        /// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`
        const READ_WRITE: u32 = 3;
        use attribute::*;
        let allowed = |allowed, value| match allowed {
            true => Ok(value),
            false => Err(error::INVALID_VALUE),
        };
        Ok(match attribute {
            CONTEXT => Value::Long(self.context()?.handle()),
            MEMORY_TYPE => Value::Word(TYPES[usize::from(!self.host || self.managed)]),
            DEVICE_POINTER => Value::Long(allowed(self.device, address)?),
            HOST_POINTER => Value::Long(allowed(self.host, address)?),
            BUFFER_ID | MEMORY_BLOCK_ID => Value::Long(memory::identity(address)),
            IS_MANAGED | SYNC_MEMOPS => Value::Word(self.managed.into()),
            DEVICE_ORDINAL => Value::Word(self.ordinal),
            RANGE_START | MAPPING_BASE => Value::Long(self.start),
            RANGE_SIZE | MAPPING_SIZE => Value::Long(self.len),
            MAPPED => Value::Word(self.device.into()),
            ACCESS_FLAGS => Value::Word(if self.device { READ_WRITE } else { 0 }),
            // There is none of this: the answer is no.
            IS_LEGACY_IPC_CAPABLE
            | IS_RDMA_CAPABLE
            | IS_DECOMPRESS_CAPABLE
            | ALLOWED_HANDLE_TYPES
            | MEMPOOL => Value::none(attribute, address)?,
            P2P_TOKENS => return Err(unsupported("CU_POINTER_ATTRIBUTE_P2P_TOKENS")),
            _ => return Err(error::INVALID_VALUE),
        })
    }

    /// The context that the memory is of: the current one, if it is of the same device.
    fn context(&self) -> Result<Context> {
        match contexts::current_context() {
            Some(context) if context.ordinal == self.ordinal => Ok(context),
            _ => Ok(Context::primary(contexts::device(self.ordinal as i32)?)),
        }
    }
}

export! { initialized:
    /// `cuPointerGetAttribute` — CUDA Driver API, Unified Addressing.
    fn cuPointerGetAttribute(out: Out<u8>, attribute: u32, address: u64) {
        out.present()?;
        let known = know(address).ok_or(error::INVALID_VALUE)?;
        known.value(attribute, address)?.store(out)
    }

    /// `cuPointerGetAttributes` — CUDA Driver API, Unified Addressing. An attribute that the memory
    /// does not have is zero, and no error; so are the attributes of memory that CUDA does not know.
    fn cuPointerGetAttributes(count: u32, attributes: In<u32>, out: In<Out<u8>>, address: u64) {
        if count == 0 {
            return Err(error::INVALID_VALUE);
        }
        let known = know(address);
        for index in 0..count as usize {
            let (attribute, out) = (attributes.at(index)?, out.at(index)?);
            let value = match &known {
                Some(known) => known
                    .value(attribute, address)
                    .or_else(|_| Value::none(attribute, 0)),
                None => Value::none(attribute, address),
            };
            value?.store(out)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_attribute_that_can_be_asked_for_has_one_width() {
        let device = Known {
            ordinal: 0,
            start: 0x1000,
            len: 64,
            host: false,
            device: true,
            managed: false,
        };
        // Not the context: it asks for the device.
        for attribute in (1..=30).filter(|&a| a != attribute::CONTEXT) {
            let width = |value: Value| matches!(value, Value::Long(_));
            match (Value::none(attribute, 0), device.value(attribute, 0x1008)) {
                (Ok(none), Ok(value)) => assert_eq!(width(none), width(value), "{attribute}"),
                (Err(_), Ok(_)) => panic!("{attribute} has a value, but no width"),
                _ => {}
            }
        }
    }

    #[test]
    fn managed_memory_counts_as_device_memory_that_the_host_may_use() {
        let managed = Known {
            ordinal: 1,
            start: 0x1000,
            len: 64,
            host: true,
            device: true,
            managed: true,
        };
        let value = |attribute| managed.value(attribute, 0x1010);
        assert_eq!(value(attribute::MEMORY_TYPE), Ok(Value::Word(2)));
        assert_eq!(value(attribute::HOST_POINTER), Ok(Value::Long(0x1010)));
        assert_eq!(value(attribute::RANGE_START), Ok(Value::Long(0x1000)));
        assert_eq!(value(attribute::SYNC_MEMOPS), Ok(Value::Word(1)));
        assert_eq!(value(attribute::DEVICE_ORDINAL), Ok(Value::Word(1)));
        assert_eq!(value(99), Err(error::INVALID_VALUE));
    }
}
