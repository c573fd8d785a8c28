// SPDX-License-Identifier: MIT OR Apache-2.0
//! The attributes of a launch, which both APIs number alike (`CUlaunchAttribute`,
//! `cudaLaunchAttribute`).

use crate::abi::In;
use crate::error::unsupported;
use crate::{Result, error};

/// `CUlaunchAttribute`, `cudaLaunchAttribute`
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Attribute {
    pub(crate) id: u32,
    pub(crate) padding: [u8; 4],
    pub(crate) value: [u64; 8],
}

/// More attributes than there are kinds of them are a mistake of the caller's.
const MOST: u32 = 64;

/// What the attributes of a launch ask for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) cooperative: bool,
    /// An event to record at the launch.
    pub(crate) event: Option<u64>,
}

/// Reads the attributes of a launch. Those that only tune are accepted: what they ask for may be
/// left undone by CUDA's own definition.
pub(crate) fn read(attributes: In<Attribute>, count: u32) -> Result<Wanted> {
    if count > MOST {
        return Err(error::INVALID_VALUE);
    }
    let mut wanted = Wanted::default();
    for index in 0..count as usize {
        let attribute = attributes.at(index)?;
        let first = attribute.value[0];
        match attribute.id {
            // Ignore, access policy window, synchronization policy, cluster scheduling
            // preference, programmatic stream serialization, priority, memory synchronization
            // domains, preferred cluster dimension, shared memory carveout, NVLink scheduling.
            0 | 1 | 3 | 5 | 6 | 8..=11 | 14 | 16 => {}
            2 => wanted.cooperative = first as u32 != 0,
            4 => {
                let cluster = [
                    first as u32,
                    (first >> 32) as u32,
                    attribute.value[1] as u32,
                ];
                if cluster != [1, 1, 1] {
                    let [x, y, z] = cluster;
                    return Err(unsupported(&format!(
                        "thread block clusters of {x}x{y}x{z} blocks"
                    )));
                }
            }
            // Programmatic and launch completion events may be triggered as late as the end of
            // the kernel, which is where a record behind the launch is.
            7 | 12 => wanted.event = Some(first),
            // An updatable node is for graphs.
            13 if first as u32 == 0 => {}
            13 | 15 => {
                return Err(unsupported(&format!("launch attribute {}", attribute.id)));
            }
            _ => return Err(error::INVALID_VALUE),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn an_attribute_is_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<Attribute>(), 72);
        assert_eq!(offset_of!(Attribute, value), 8);
    }

    fn outcome(id: u32, words: [u64; 2]) -> Result<Wanted> {
        let attribute = Attribute {
            id,
            padding: [0; 4],
            value: [words[0], words[1], 0, 0, 0, 0, 0, 0],
        };
        read(In::of(&attribute), 1)
    }

    #[test]
    fn what_only_tunes_is_accepted() {
        for id in [0, 1, 3, 5, 6, 8, 9, 10, 11, 14, 16] {
            assert_eq!(outcome(id, [1, 1]), Ok(Wanted::default()), "{id}");
        }
        assert_eq!(outcome(4, [1 << 32 | 1, 1]), Ok(Wanted::default()));
    }

    #[test]
    fn what_changes_the_result_is_done_or_refused() {
        assert!(outcome(2, [1, 0]).unwrap().cooperative);
        assert_eq!(outcome(7, [0x77, 0]).unwrap().event, Some(0x77));
        assert_eq!(outcome(12, [0x77, 0]).unwrap().event, Some(0x77));
        for (id, words) in [(4, [1 << 32 | 2, 1]), (13, [1, 0]), (15, [1, 0])] {
            assert_eq!(outcome(id, words), Err(error::NOT_SUPPORTED), "{id}");
        }
        assert_eq!(outcome(17, [0, 0]), Err(error::INVALID_VALUE));
    }

    #[test]
    fn an_array_that_is_not_there_is_refused() {
        let attribute = Attribute {
            id: 0,
            padding: [0; 4],
            value: [0; 8],
        };
        assert_eq!(
            read(In::of(&attribute), u32::MAX),
            Err(error::INVALID_VALUE)
        );
    }
}
