// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fills of every shape.

use vcuda_protocol::{Command, Extent, Stream};

use crate::copy::{Side, is_host, is_visible};
use crate::graph::{self, Operation};
use crate::memory::Memory;
use crate::streams::Target;
use crate::{Result, error, peers, session};

/// A box that is filled with a value of 1, 2 or 4 bytes: it can be issued on a stream, or kept in a
/// graph. `extent.width` counts bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) dst: Side,
    pub(crate) value: u32,
    pub(crate) element: u8,
    pub(crate) extent: Extent,
}

/// Fills a box.
pub(crate) fn fill(target: Target, fill: Fill, asynchronous: bool) -> Result<()> {
    match target {
        Target::Stream(stream) => fill.issue(stream, asynchronous),
        Target::Capture(stream) => fill.capture(stream),
    }
}

impl Fill {
    #[cold]
    fn capture(self, stream: Stream) -> Result<()> {
        match self.check(stream.device)? {
            Some(_) => graph::capture(stream, Operation::Fill(self)),
            None => Ok(()),
        }
    }

    /// What is filled, if that is anything, by a device that is named as on the wire.
    #[inline]
    pub(crate) fn check(&self, by: u32) -> Result<Option<Memory>> {
        let Fill {
            dst,
            element,
            extent,
            ..
        } = *self;
        if extent.bytes().ok_or(error::INVALID_VALUE)? == 0 {
            return Ok(None);
        }
        if !dst.address.is_multiple_of(u64::from(element)) {
            return Err(error::INVALID_VALUE);
        }
        let memory = dst.check(extent)?;
        let fillable = match memory {
            // Unlike a copy, a fill finds no other device's memory by itself.
            Memory::Device { device, .. } => device.wire == by || peers::is_enabled(by, device),
            other => is_visible(&other),
        };
        match fillable {
            true => Ok(Some(memory)),
            false => Err(error::INVALID_VALUE),
        }
    }

    #[inline]
    pub(crate) fn issue(self, stream: Stream, asynchronous: bool) -> Result<()> {
        let Some(memory) = self.check(stream.device)? else {
            return Ok(());
        };
        let session = session::get()?;
        session.post(&Command::Fill {
            stream,
            address: self.dst.address,
            pitch: self.dst.pitch,
            value: self.value,
            element: self.element,
            extent: self.extent,
        })?;
        // A fill of host memory must be seen when the synchronous call returns; one of device memory
        // is asynchronous even there (CUDA Runtime API, "API synchronization behavior").
        if !asynchronous && is_host(&memory) {
            session.call(&Command::StreamSynchronize { stream })?;
        }
        Ok(())
    }
}
