// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies of every shape: linear, 2D and 3D, between all kinds of memory.
//!
//! Device, pinned and managed memory is named by address and the worker moves the bytes. Pageable
//! memory, which the worker does not see, travels in commands and replies when it is small and
//! through staging chunks when it is not.

use std::collections::VecDeque;

use vcuda_protocol::layout::{MAX_REPLY_DATA, STAGING_CHUNK_LEN};
use vcuda_protocol::{Bytes, Command, Extent, Pitch, Place, Reply, Stream};

use crate::contexts::unexpected;
use crate::graph::{self, Operation};
use crate::in_place::{self, Host};
use crate::memory::{self, Memory, classify};
use crate::session::parallel_copy::{self, Going};
use crate::session::{self, Chunk, Pending, Session};
use crate::streams::Target;
use crate::{Result, error, streams};

/// `cudaMemcpyKind`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    HostToHost,
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    /// By what the addresses are (unified addressing).
    Default,
}

impl Direction {
    pub(crate) fn from_kind(kind: u32) -> Result<Self> {
        Ok(match kind {
            0 => Direction::HostToHost,
            1 => Direction::HostToDevice,
            2 => Direction::DeviceToHost,
            3 => Direction::DeviceToDevice,
            4 => Direction::Default,
            _ => return Err(error::INVALID_MEMCPY_DIRECTION),
        })
    }
}

/// One side of a copy: an address, and bytes per row and slice where there is more than one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) address: u64,
    pub(crate) pitch: Pitch,
}

impl Side {
    pub(crate) fn linear(address: u64) -> Self {
        Side {
            address,
            pitch: Pitch::default(),
        }
    }

    pub(crate) fn pitched(address: u64, row: u64) -> Self {
        Side {
            address,
            pitch: Pitch { row, slice: 0 },
        }
    }

    /// The pitches that a copy has in CUDA's structures, also where it is of one row or slice.
    pub(crate) fn full_pitch(self, extent: Extent) -> Pitch {
        let row = match self.pitch.row {
            0 => extent.width,
            row => row,
        };
        let slice = match self.pitch.slice {
            0 => row.saturating_mul(extent.height),
            slice => slice,
        };
        Pitch { row, slice }
    }

    fn place(self) -> Place {
        Place::Device {
            address: self.address,
            pitch: self.pitch,
        }
    }

    /// Address of a row of a slice.
    fn row(self, y: u64, z: u64) -> u64 {
        self.address
            .wrapping_add(y.wrapping_mul(self.pitch.row))
            .wrapping_add(z.wrapping_mul(self.pitch.slice))
    }

    /// Bytes from the first to the last byte of a box.
    fn span(self, extent: Extent) -> Option<u64> {
        let rows = (extent.height - 1).checked_mul(self.pitch.row)?;
        let slices = (extent.depth - 1).checked_mul(self.pitch.slice)?;
        rows.checked_add(slices)?.checked_add(extent.width)
    }

    /// What the side points into. The box must lie in one allocation.
    pub(crate) fn check(self, extent: Extent) -> Result<Memory> {
        if extent.height > 1 && self.pitch.row < extent.width {
            return Err(error::INVALID_PITCH_VALUE);
        }
        let memory = classify(self.address);
        let span = self.span(extent).ok_or(error::INVALID_VALUE)?;
        match self.address != 0 && memory.covers(self.address, span) {
            true => Ok(memory),
            false => Err(error::INVALID_VALUE),
        }
    }
}

/// A copy of a box of bytes: it can be issued on a stream, or kept in a graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) dst: Side,
    pub(crate) src: Side,
    pub(crate) extent: Extent,
    pub(crate) direction: Direction,
}

/// Copies a box of bytes. A synchronous copy returns when the program may use both sides again; so
/// does an asynchronous one that involves pageable memory (CUDA Runtime API, "API synchronization
/// behavior").
pub(crate) fn copy(
    target: Target,
    dst: Side,
    src: Side,
    extent: Extent,
    direction: Direction,
    asynchronous: bool,
) -> Result<()> {
    let transfer = Transfer {
        dst,
        src,
        extent,
        direction,
    };
    match target {
        Target::Stream(stream) => transfer.issue(stream, asynchronous),
        Target::Capture(stream) => transfer.capture(stream),
    }
}

impl Transfer {
    #[cold]
    fn capture(self, stream: Stream) -> Result<()> {
        match self.check()? {
            Some(_) => graph::capture(stream, Operation::Copy(self)),
            None => Ok(()),
        }
    }

    /// What destination and source point into, if there is anything to copy.
    #[inline]
    pub(crate) fn check(&self) -> Result<Option<(Memory, Memory)>> {
        let Transfer {
            dst,
            src,
            extent,
            direction,
        } = *self;
        if extent.bytes().ok_or(error::INVALID_VALUE)? == 0 {
            return Ok(None);
        }
        let (to, from) = (dst.check(extent)?, src.check(extent)?);
        let fits = match direction {
            // What is said to be host memory may be any: the address decides.
            Direction::HostToHost | Direction::Default => true,
            Direction::HostToDevice => is_visible(&to),
            Direction::DeviceToHost => is_visible(&from),
            Direction::DeviceToDevice => is_visible(&to) && is_visible(&from),
        };
        match fits {
            true => Ok(Some((to, from))),
            false => Err(error::INVALID_VALUE),
        }
    }

    /// Whether one side is an array's.
    pub(crate) fn involves_array(&self) -> bool {
        let is_array = |side: Side| match classify(side.address) {
            Memory::Device { device, .. } => device.memory.holds_array(side.address),
            _ => false,
        };
        is_array(self.dst) || is_array(self.src)
    }

    /// Issues the copy of a graph. Unlike an asynchronous copy it reads pageable memory when the
    /// stream gets there, so that functions of the program that come first may write it.
    pub(crate) fn issue_in_order(self, stream: Stream) -> Result<()> {
        let session = session::get()?;
        if session.has_functions()
            && let Some((_, from)) = self.check()?
            && !is_visible(&from)
        {
            session.call(&Command::StreamSynchronize { stream })?;
        }
        self.issue(stream, true)
    }

    fn issue(self, stream: Stream, asynchronous: bool) -> Result<()> {
        match self.check()? {
            Some(ends) => self.between(ends, stream, asynchronous),
            None => Ok(()),
        }
    }

    fn between(
        self,
        (to, from): (Memory, Memory),
        stream: Stream,
        asynchronous: bool,
    ) -> Result<()> {
        let Transfer {
            dst, src, extent, ..
        } = self;
        match (is_visible(&to), is_visible(&from)) {
            (true, true) => {
                let command = Command::Copy {
                    stream,
                    dst: dst.place(),
                    src: src.place(),
                    extent,
                    release: None,
                };
                let session = session::get()?;
                // Between device allocations no host memory is involved that the caller could touch
                // too early, so even the synchronous call need not wait.
                if asynchronous || !(is_host(&to) || is_host(&from)) {
                    session.post(&command)
                } else {
                    session.call(&command).map(drop)
                }
            }
            (true, false) => {
                let session = session::get()?;
                // The source is read now. A function that the stream calls first may still write it,
                // which counts for synchronous copies and for registered memory (same section).
                let in_order = !asynchronous || memory::registered(src.address).is_some();
                if in_order && session.has_functions() {
                    session.call(&Command::StreamSynchronize { stream })?;
                }
                if let Some(registered) = memory::registered_in_place(src.address, src.span(extent))
                {
                    let copy = registered.copy(stream, Host::Source, dst.place(), src, extent);
                    return send(session, &copy, asynchronous);
                }
                if !asynchronous
                    && let Some(copied) =
                        in_place::copy(session, stream, Host::Source, dst, src, extent)
                {
                    return copied;
                }
                upload(stream, dst, src, extent)?;
                match asynchronous {
                    true => Ok(()),
                    false => streams::order_upload(stream),
                }
            }
            (false, true) => {
                let session = session::get()?;
                if let Some(registered) = memory::registered_in_place(dst.address, dst.span(extent))
                {
                    let copy = registered.copy(stream, Host::Destination, src.place(), dst, extent);
                    return send(session, &copy, asynchronous);
                }
                match in_place::copy(session, stream, Host::Destination, src, dst, extent) {
                    Some(copied) => copied,
                    None => download(stream, dst, src, extent),
                }
            }
            (false, false) => {
                session::get()?.call(&Command::StreamSynchronize { stream })?;
                host_copy(dst, src, extent);
                Ok(())
            }
        }
    }
}

fn send(session: &'static Session, command: &Command, asynchronous: bool) -> Result<()> {
    match asynchronous {
        true => session.post(command),
        false => session.call(command).map(drop),
    }
}

pub(crate) fn is_host(memory: &Memory) -> bool {
    matches!(memory, Memory::Pageable | Memory::Window { .. })
}

/// Whether the device sees it.
pub(crate) fn is_visible(memory: &Memory) -> bool {
    matches!(memory, Memory::Device { .. } | Memory::Window { .. })
}

/// Copies between places that this process can reach.
fn host_copy(dst: Side, src: Side, extent: Extent) {
    for z in 0..extent.depth {
        for y in 0..extent.height {
            let (to, from) = (dst.row(y, z) as *mut u8, src.row(y, z) as *const u8);
            // SAFETY: host memory that the caller of the copy names, by the contract of
            // cudaMemcpy and relatives readable and writable for the box; it may overlap.
            unsafe { std::ptr::copy(from, to, extent.width as usize) };
        }
    }
}

/// Longest upload that goes in the command itself.
const INLINE: u64 = 16 << 10;

/// A part of a box: some rows of one slice, or a piece of one row.
struct Part {
    x: u64,
    y: u64,
    z: u64,
    extent: Extent,
}

/// Cuts a box into parts of at most `limit` bytes.
fn parts(extent: Extent, limit: u64) -> impl Iterator<Item = Part> {
    let (piece, rows) = match extent.width <= limit {
        true => (extent.width, limit / extent.width),
        false => (limit, 1),
    };
    (0..extent.depth).flat_map(move |z| {
        (0..extent.height.div_ceil(rows)).flat_map(move |group| {
            let y = group * rows;
            (0..extent.width.div_ceil(piece)).map(move |index| {
                let x = index * piece;
                Part {
                    x,
                    y,
                    z,
                    extent: Extent {
                        width: piece.min(extent.width - x),
                        height: rows.min(extent.height - y),
                        depth: 1,
                    },
                }
            })
        })
    })
}

impl Part {
    fn of(&self, side: Side) -> Side {
        Side {
            address: side.row(self.y, self.z).wrapping_add(self.x),
            pitch: side.pitch,
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        (self.extent.width * self.extent.height) as usize
    }

    /// The same bytes, rows packed, at `address`.
    fn packed(&self, address: u64) -> Side {
        Side::pitched(address, self.extent.width)
    }
}

fn upload(stream: Stream, dst: Side, src: Side, extent: Extent) -> Result<()> {
    let session = session::get()?;
    if extent.bytes().is_some_and(|bytes| bytes <= INLINE) {
        let part = Part {
            x: 0,
            y: 0,
            z: 0,
            extent,
        };
        let mut bytes = vec![0u8; (extent.width * extent.height * extent.depth) as usize];
        let packed = Side {
            address: bytes.as_mut_ptr() as u64,
            pitch: Pitch {
                row: extent.width,
                slice: extent.width * extent.height,
            },
        };
        host_copy(packed, part.of(src), extent);
        return session.post(&Command::Copy {
            stream,
            dst: dst.place(),
            src: Place::Inline(Bytes(bytes)),
            extent,
            release: None,
        });
    }
    // Filled by several threads, sent in order by this one.
    let mut filling: VecDeque<(Going, Chunk, Part)> = VecDeque::new();
    let send = |(going, chunk, part): (Going, Chunk, Part)| -> Result<()> {
        going.wait();
        let posted = session.post(&Command::Copy {
            stream,
            dst: part.of(dst).place(),
            src: window(&chunk, &part),
            extent: part.extent,
            release: Some(chunk.lend()),
        });
        posted.inspect_err(|_| chunk.take_back())
    };
    let mut outcome = Ok(());
    for part in parts(extent, part_size(extent)) {
        let taken = take_chunk(session, filling.len(), || match filling.pop_front() {
            Some(first) => send(first),
            None => Ok(()),
        });
        let chunk = match taken {
            Ok(chunk) => chunk,
            Err(status) => {
                outcome = Err(status);
                break;
            }
        };
        let to = part.packed(chunk.pointer() as u64);
        let going = begin_copy(to, part.of(src), part.extent);
        filling.push_back((going, chunk, part));
    }
    // The caller may change its memory when this returns, so that all is read, whatever happened.
    for rest in filling {
        match outcome {
            Ok(()) => outcome = send(rest),
            Err(_) => rest.0.wait(),
        }
    }
    outcome
}

/// Staging memory in use by one copy at once, in chunks: those that the device fills, and as many as
/// there are threads to empty them.
const DEPTH: usize = FETCHING + 8;
/// Chunks that the device fills at once.
const FETCHING: usize = 4;

/// How large the parts are in which pageable memory travels: small where several threads share them.
fn part_size(extent: Extent) -> u64 {
    const LEAST: u64 = 256 << 10;
    const MOST: u64 = 1 << 20;
    match parallel_copy::is_parallel() {
        true => (extent.bytes().unwrap_or(MOST) / 8).clamp(LEAST, MOST),
        false => STAGING_CHUNK_LEN,
    }
}

/// A chunk for a copy that has `held` already, which `advance` makes fewer by one.
fn take_chunk(
    session: &'static Session,
    mut held: usize,
    mut advance: impl FnMut() -> Result<()>,
) -> Result<Chunk> {
    loop {
        if held < DEPTH
            && let Some(chunk) = session.free_chunk()?
        {
            return Ok(chunk);
        }
        if held == 0 {
            return session.chunk();
        }
        advance()?;
        held -= 1;
    }
}

/// Copies within this process, possibly by another thread. Whoever gets the result waits for it,
/// before either side is used otherwise.
fn begin_copy(dst: Side, src: Side, extent: Extent) -> Going {
    match parallel_copy::is_parallel() {
        true => parallel_copy::start(move || host_copy(dst, src, extent)),
        false => {
            host_copy(dst, src, extent);
            Going::done()
        }
    }
}

fn window(chunk: &Chunk, part: &Part) -> Place {
    Place::Window {
        offset: chunk.offset(),
        pitch: Pitch {
            row: part.extent.width,
            slice: 0,
        },
    }
}

fn download(stream: Stream, dst: Side, src: Side, extent: Extent) -> Result<()> {
    let session = session::get()?;
    if extent
        .bytes()
        .is_some_and(|bytes| bytes <= MAX_REPLY_DATA as u64)
    {
        let reply = session.call(&Command::Copy {
            stream,
            dst: Place::Reply,
            src: src.place(),
            extent,
            release: None,
        })?;
        let Reply::Data(Bytes(bytes)) = &reply else {
            return Err(unexpected("Copy", &reply));
        };
        if bytes.len() as u64 != extent.width * extent.height * extent.depth {
            return Err(unexpected("Copy", &reply));
        }
        let packed = Side {
            address: bytes.as_ptr() as u64,
            pitch: Pitch {
                row: extent.width,
                slice: extent.width * extent.height,
            },
        };
        host_copy(dst, packed, extent);
        return Ok(());
    }
    // Fetched in order, emptied by several threads.
    let mut fetching: VecDeque<(Pending, Chunk, Part)> = VecDeque::new();
    let mut landing: VecDeque<(Going, Chunk)> = VecDeque::new();
    let land = |fetching: &mut VecDeque<(Pending, Chunk, Part)>,
                landing: &mut VecDeque<(Going, Chunk)>|
     -> Result<()> {
        if let Some((pending, chunk, part)) = fetching.pop_front() {
            pending.wait()?;
            let from = part.packed(chunk.pointer() as u64);
            let going = begin_copy(part.of(dst), from, part.extent);
            landing.push_back((going, chunk));
        }
        Ok(())
    };
    // A failure is returned once nothing is on the way any more: the chunks are still written to.
    let mut outcome = Ok(());
    for part in parts(extent, part_size(extent)) {
        // What has arrived is emptied while the rest is fetched.
        if fetching.len() >= FETCHING {
            outcome = land(&mut fetching, &mut landing);
        }
        let held = fetching.len() + landing.len();
        let taken = outcome.and_then(|()| {
            take_chunk(session, held, || {
                if landing.is_empty() {
                    land(&mut fetching, &mut landing)?;
                }
                if let Some((going, _chunk)) = landing.pop_front() {
                    going.wait();
                }
                Ok(())
            })
        });
        let begun = taken.and_then(|chunk| {
            let pending = session.begin(&Command::Copy {
                stream,
                dst: window(&chunk, &part),
                src: part.of(src).place(),
                extent: part.extent,
                release: None,
            })?;
            Ok((pending, chunk, part))
        });
        match begun {
            Ok(begun) => fetching.push_back(begun),
            Err(status) => {
                outcome = Err(status);
                break;
            }
        }
    }
    while !fetching.is_empty() {
        outcome = outcome.and(land(&mut fetching, &mut landing));
    }
    for (going, _chunk) in landing {
        going.wait();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(extent: Extent, limit: u64) -> u64 {
        let all: Vec<Part> = parts(extent, limit).collect();
        assert!(all.iter().all(|p| p.bytes() as u64 <= limit));
        all.iter().map(|p| p.bytes() as u64).sum()
    }

    #[test]
    fn parts_cover_the_box_once_within_the_limit() {
        for (width, height, depth) in [
            (1, 1, 1),
            (100, 7, 3),
            (5000, 3, 2),
            (1024, 1, 1),
            (1025, 2, 1),
        ] {
            let extent = Extent {
                width,
                height,
                depth,
            };
            assert_eq!(covered(extent, 1024), width * height * depth);
        }
    }
}
