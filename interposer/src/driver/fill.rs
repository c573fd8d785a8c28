// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory management: memsets.

use vcuda_protocol::{Extent, Pitch};

use crate::copy::Side;
use crate::entry::export;
use crate::fill::{self, Fill};
use crate::{Result, contexts, error, streams};

/// `height` rows of `width` elements.
struct Rows {
    address: u64,
    pitch: u64,
    value: u32,
    /// Bytes of an element.
    element: u8,
    width: usize,
    height: usize,
}

impl Rows {
    fn row(address: u64, value: u32, element: u8, count: usize) -> Self {
        Rows {
            address,
            pitch: 0,
            value,
            element,
            width: count,
            height: 1,
        }
    }

    fn start(self, stream: u64, wait: bool) -> Result<()> {
        contexts::bound()?;
        let size = u64::from(self.element);
        let width = (self.width as u64).checked_mul(size);
        let extent = Extent {
            width: width.ok_or(error::INVALID_VALUE)?,
            height: self.height as u64,
            depth: 1,
        };
        if self.height > 1 && !self.pitch.is_multiple_of(size) {
            return Err(error::INVALID_VALUE);
        }
        let side = Side {
            address: self.address,
            pitch: Pitch {
                row: self.pitch,
                slice: 0,
            },
        };
        let fill = Fill {
            dst: side,
            value: self.value,
            element: self.element,
            extent,
        };
        let outcome = fill::fill(streams::target(stream, !wait)?, fill, !wait);
        // The driver has no code of its own for a pitch that is too small.
        outcome.map_err(|status| match status {
            error::INVALID_PITCH_VALUE => error::INVALID_VALUE,
            other => other,
        })
    }
}

/// The functions of one size of elements.
macro_rules! fills {
    ($type:ty, $size:literal: $sync:ident / $sync_twin:ident, $async:ident / $async_twin:ident,
     $sync2d:ident / $sync2d_twin:ident, $async2d:ident / $async2d_twin:ident) => {
        export! { initialized:
            fn $sync / $sync_twin(address: u64, value: $type, count: usize) {
                Rows::row(address, value.into(), $size, count).start(0, true)
            }

            fn $async / $async_twin(address: u64, value: $type, count: usize, stream: u64) {
                Rows::row(address, value.into(), $size, count).start(stream, false)
            }

            fn $sync2d / $sync2d_twin(address: u64, pitch: usize, value: $type, width: usize, height: usize) {
                let (pitch, value) = (pitch as u64, value.into());
                Rows { address, pitch, value, element: $size, width, height }.start(0, true)
            }

            fn $async2d / $async2d_twin(
                address: u64,
                pitch: usize,
                value: $type,
                width: usize,
                height: usize,
                stream: u64,
            ) {
                let (pitch, value) = (pitch as u64, value.into());
                Rows { address, pitch, value, element: $size, width, height }.start(stream, false)
            }
        }
    };
}

fills!(u8, 1: cuMemsetD8_v2 / cuMemsetD8_v2_ptds, cuMemsetD8Async / cuMemsetD8Async_ptsz,
    cuMemsetD2D8_v2 / cuMemsetD2D8_v2_ptds, cuMemsetD2D8Async / cuMemsetD2D8Async_ptsz);
fills!(u16, 2: cuMemsetD16_v2 / cuMemsetD16_v2_ptds, cuMemsetD16Async / cuMemsetD16Async_ptsz,
    cuMemsetD2D16_v2 / cuMemsetD2D16_v2_ptds, cuMemsetD2D16Async / cuMemsetD2D16Async_ptsz);
fills!(u32, 4: cuMemsetD32_v2 / cuMemsetD32_v2_ptds, cuMemsetD32Async / cuMemsetD32Async_ptsz,
    cuMemsetD2D32_v2 / cuMemsetD2D32_v2_ptds, cuMemsetD2D32Async / cuMemsetD2D32Async_ptsz);
