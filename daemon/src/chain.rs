// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptor chains: checked as a whole before anything is done with them (virtio 1.2, section
//! 2.7.5 and 2.6.4).

use std::ops::Deref;

use virtio_queue::DescriptorChain;
use vm_memory::{Bytes, GuestAddress, GuestMemory, Permissions};

use crate::wire::{MAX_SEGMENTS, REQUEST_LEN, RESPONSE_LEN, Request};

/// Guest-physical memory that was found to be the guest's.
pub type Segment = vcuda_transport::guest::Segment;

/// Request, response, a greeting in pieces, and pages.
const MAX_DESCRIPTORS: usize = MAX_SEGMENTS + 64;

/// Why a chain is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    #[error("it has more than {MAX_DESCRIPTORS} descriptors")]
    TooManyDescriptors,
    #[error("it ends before its last descriptor")]
    Broken,
    #[error("a descriptor has no length")]
    Empty,
    #[error("{len} bytes at {address:#x} are not in the guest's memory")]
    NotMemory { address: u64, len: u32 },
    #[error("a readable descriptor follows a writable one")]
    Order,
    #[error("its readable part of {0} bytes has no room for a request")]
    ShortRequest(u64),
    #[error("its writable part of {0} bytes has no room for a response")]
    ShortResponse(u64),
}

/// A chain whose descriptors lie in the guest's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    pub readable: Vec<Segment>,
    pub writable: Vec<Segment>,
}

/// Bytes of all segments. They lie in memory, so the sum fits.
pub fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.len).sum()
}

/// A chain that was taken apart, and whether it keeps the rules.
pub type Checked = (Chain, Result<(), Reject>);

impl Chain {
    /// Takes a chain apart. What could be read of a refused one is not used; its writable part may
    /// still take a response.
    pub fn new<M>(chain: DescriptorChain<M>) -> Checked
    where
        M: Deref + Clone,
        M::Target: GuestMemory,
    {
        let mut parts = Chain::default();
        let checked = parts.fill(chain);
        (parts, checked)
    }

    fn fill<M>(&mut self, chain: DescriptorChain<M>) -> Result<(), Reject>
    where
        M: Deref + Clone,
        M::Target: GuestMemory,
    {
        let mut continues = true;
        for (count, descriptor) in chain.clone().enumerate() {
            if count >= MAX_DESCRIPTORS {
                return Err(Reject::TooManyDescriptors);
            }
            let (address, len) = (descriptor.addr(), descriptor.len());
            if len == 0 {
                return Err(Reject::Empty);
            }
            if !chain
                .memory()
                .check_range(address, len as usize, Permissions::ReadWrite)
            {
                let address = address.0;
                return Err(Reject::NotMemory { address, len });
            }
            let segment = Segment {
                address: address.0,
                len: len.into(),
            };
            match descriptor.is_write_only() {
                true => self.writable.push(segment),
                false if self.writable.is_empty() => self.readable.push(segment),
                false => return Err(Reject::Order),
            }
            continues = descriptor.has_next();
        }
        match continues {
            true => Err(Reject::Broken),
            false => Ok(()),
        }
    }

    /// The request, and what it brings along.
    pub fn request<M: GuestMemory>(&self, memory: &M) -> Result<(Request, Vec<Segment>), Reject> {
        let short = || Reject::ShortRequest(total(&self.readable));
        let (head, rest) = split(&self.readable, REQUEST_LEN as u64).ok_or_else(short)?;
        let mut bytes = [0; REQUEST_LEN];
        read(memory, &head, &mut bytes).ok_or_else(short)?;
        Ok((Request::from_bytes(&bytes), rest))
    }

    /// Where the response goes, and what is asked for beside it.
    pub fn response(&self) -> Result<(Vec<Segment>, Vec<Segment>), Reject> {
        split(&self.writable, RESPONSE_LEN as u64)
            .ok_or_else(|| Reject::ShortResponse(total(&self.writable)))
    }
}

/// The first `len` bytes of segments, and the rest. `None`: they have fewer.
pub fn split(segments: &[Segment], len: u64) -> Option<(Vec<Segment>, Vec<Segment>)> {
    let (mut head, mut rest) = (Vec::new(), Vec::new());
    let mut missing = len;
    for &Segment { address, len } in segments {
        let now = len.min(missing);
        if now > 0 {
            head.push(Segment { address, len: now });
        }
        if now < len {
            rest.push(Segment {
                address: address + now,
                len: len - now,
            });
        }
        missing -= now;
    }
    (missing == 0).then_some((head, rest))
}

/// Copies bytes out of segments that hold as many.
pub fn read<M: GuestMemory>(memory: &M, segments: &[Segment], out: &mut [u8]) -> Option<()> {
    let mut rest = out;
    for segment in segments {
        let len = rest.len().min(segment.len as usize);
        let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
        memory.read_slice(now, GuestAddress(segment.address)).ok()?;
        rest = later;
    }
    rest.is_empty().then_some(())
}

/// Copies bytes into segments. `None`: they do not fit.
pub fn write<M: GuestMemory>(memory: &M, segments: &[Segment], bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    for segment in segments {
        let len = rest.len().min(segment.len as usize);
        let (now, later) = rest.split_at(len);
        memory
            .write_slice(now, GuestAddress(segment.address))
            .ok()?;
        rest = later;
    }
    rest.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
    use virtio_queue::desc::{RawDescriptor, split::Descriptor};
    use virtio_queue::mock::MockSplitQueue;
    use vm_memory::GuestMemoryMmap;

    const LEN: usize = 1 << 20;
    const WRITE: u16 = VRING_DESC_F_WRITE as u16;
    const NEXT: u16 = VRING_DESC_F_NEXT as u16;

    fn memory() -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), LEN)]).unwrap()
    }

    /// A chain of descriptors: address, length, flags.
    fn chain(descriptors: &[(u64, u32, u16)]) -> (Chain, Result<(), Reject>) {
        let memory = memory();
        let queue = MockSplitQueue::new(&memory, 16);
        let raw: Vec<RawDescriptor> = descriptors
            .iter()
            .map(|&(address, len, flags)| Descriptor::new(address, len, flags, 0).into())
            .collect();
        Chain::new(queue.build_desc_chain(&raw).unwrap())
    }

    fn refusal(descriptors: &[(u64, u32, u16)]) -> Reject {
        chain(descriptors).1.unwrap_err()
    }

    #[test]
    fn a_chain_has_a_readable_and_a_writable_part() {
        let (parts, checked) = chain(&[(0x8000, 40, 0), (0x9000, 8, 0), (0xa000, 16, WRITE)]);
        checked.unwrap();
        assert_eq!((total(&parts.readable), total(&parts.writable)), (48, 16));
        let (request, rest) = parts.request(&memory()).unwrap();
        assert_eq!((request, rest), (Request::default(), vec![]));
        parts.response().unwrap();
    }

    #[test]
    fn memory_that_is_not_the_guests_is_refused() {
        for (address, len) in [
            (LEN as u64, 1),
            (LEN as u64 - 1, 2),
            (u64::MAX, 1),
            (u64::MAX, u32::MAX),
            (0x8000, u32::MAX),
        ] {
            let refused = refusal(&[(address, len, 0)]);
            assert_eq!(refused, Reject::NotMemory { address, len });
        }
    }

    #[test]
    fn a_descriptor_without_length_is_refused() {
        assert_eq!(refusal(&[(0x8000, 0, 0)]), Reject::Empty);
    }

    #[test]
    fn readable_behind_writable_is_refused() {
        assert_eq!(
            refusal(&[(0x8000, 16, WRITE), (0x9000, 48, 0)]),
            Reject::Order
        );
    }

    #[test]
    fn a_chain_that_loops_is_refused() {
        let memory = memory();
        let queue = MockSplitQueue::new(&memory, 16);
        let raw = [Descriptor::new(0x8000, 16, NEXT, 0).into()];
        let chain = queue.build_multiple_desc_chains(&raw).unwrap();
        assert_eq!(Chain::new(chain).1, Err(Reject::Broken));
    }

    #[test]
    fn a_next_descriptor_outside_the_table_is_refused() {
        let memory = memory();
        let queue = MockSplitQueue::new(&memory, 16);
        let raw = [Descriptor::new(0x8000, 16, NEXT, 99).into()];
        let chain = queue.build_multiple_desc_chains(&raw).unwrap();
        assert_eq!(Chain::new(chain).1, Err(Reject::Broken));
    }

    #[test]
    fn an_indirect_chain_longer_than_allowed_is_refused() {
        let memory = memory();
        let mut queue = MockSplitQueue::new(&memory, 16);
        let table = 0x4_0000u64;
        let count = MAX_DESCRIPTORS as u16 + 1;
        for at in 0..count {
            let flags = if at + 1 < count { NEXT } else { 0 };
            let raw: RawDescriptor = Descriptor::new(0x8000, 16, flags, at + 1).into();
            memory
                .write_obj(raw, GuestAddress(table + u64::from(at) * 16))
                .unwrap();
        }
        let indirect = virtio_bindings::bindings::virtio_ring::VRING_DESC_F_INDIRECT as u16;
        let raw = [Descriptor::new(table, u32::from(count) * 16, indirect, 0).into()];
        let chain = queue.build_multiple_desc_chains(&raw).unwrap();
        assert_eq!(Chain::new(chain).1, Err(Reject::TooManyDescriptors));
        let _ = queue.add_chain(1);
    }

    #[test]
    fn a_chain_without_room_for_request_or_response_is_refused() {
        let (parts, checked) = chain(&[(0x8000, 47, 0), (0xa000, 15, WRITE)]);
        checked.unwrap();
        assert_eq!(parts.request(&memory()), Err(Reject::ShortRequest(47)));
        assert_eq!(parts.response(), Err(Reject::ShortResponse(15)));
        let (parts, checked) = chain(&[(0xa000, 16, WRITE)]);
        checked.unwrap();
        assert_eq!(parts.request(&memory()), Err(Reject::ShortRequest(0)));
    }

    #[test]
    fn segments_are_split_anywhere() {
        let segment = |address, len| Segment { address, len };
        let both = [segment(0, 10), segment(100, 10)];
        assert_eq!(
            split(&both, 15),
            Some((vec![segment(0, 10), segment(100, 5)], vec![segment(105, 5)]))
        );
        assert_eq!(split(&both, 20), Some((both.to_vec(), vec![])));
        assert_eq!(split(&both, 21), None);
    }

    #[test]
    fn bytes_cross_from_segment_to_segment() {
        let memory = memory();
        let segments = [
            Segment {
                address: 0x100,
                len: 3,
            },
            Segment {
                address: 0x200,
                len: 9,
            },
        ];
        write(&memory, &segments, b"abcdef").unwrap();
        let mut bytes = [0; 6];
        read(&memory, &segments, &mut bytes).unwrap();
        assert_eq!(&bytes, b"abcdef");
        assert_eq!(write(&memory, &segments, &[0; 13]), None);
    }
}
