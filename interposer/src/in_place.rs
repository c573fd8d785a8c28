// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies of the program's own memory that the other side reads and writes where it lies, in place
//! of carrying it through the staging area. In a virtual machine the driver makes that possible.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use vcuda_protocol::{Command, Extent, Pitch, Place, Stream};
use vcuda_transport::link::InPlace;

use crate::copy::Side;
use crate::session::{Pending, Session};
use crate::{Result, error};

/// Shorter copies are cheaper through the staging area: no page is pinned for them, and the device is
/// asked nothing.
const SHORTEST: u64 = 2 << 20;

/// Memory that is lent at once: the next piece is pinned while one is copied.
const PIECE: u64 = 8 << 20;
const DEPTH: usize = 2;

const PAGE: u64 = 4096;

/// Numbers of lent and registered memory. Smaller ones are those of the session's own memory.
static NEXT: AtomicU64 = AtomicU64::new(1 << 48);

fn number() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Which side of a copy is the program's memory.
#[derive(Clone, Copy)]
pub(crate) enum Host {
    Source,
    Destination,
}

impl Host {
    /// A copy of `extent` between the device and guest memory `id`.
    fn copy(self, stream: Stream, device: Place, guest: Place, extent: Extent) -> Command {
        let (dst, src) = match self {
            Host::Source => (device, guest),
            Host::Destination => (guest, device),
        };
        Command::Copy {
            stream,
            dst,
            src,
            extent,
            release: None,
        }
    }
}

/// Copies between device memory and pageable memory without gaps, and waits. `None`: it does not
/// go in place, and nothing was copied.
pub(crate) fn copy(
    session: &'static Session,
    stream: Stream,
    host: Host,
    device: Side,
    pageable: Side,
    extent: Extent,
) -> Option<Result<()>> {
    let in_place = session.link.in_place()?;
    let bytes = extent.bytes()?;
    if extent.height != 1 || extent.depth != 1 || bytes < SHORTEST {
        return None;
    }
    let mut on_the_way = VecDeque::new();
    let mut outcome = Ok(());
    let mut done = 0;
    while done < bytes && outcome.is_ok() {
        if on_the_way.len() == DEPTH
            && let Some(oldest) = on_the_way.pop_front()
        {
            outcome = land(in_place, oldest);
            continue;
        }
        let len = (bytes - done).min(PIECE).min(in_place.longest());
        let id = number();
        let writable = matches!(host, Host::Destination);
        // SAFETY: the caller of a copy names memory that is its own until the copy returns, which
        // waits for what was lent.
        let lent = unsafe { in_place.lend(id, pageable.address + done, len, writable) };
        if let Err(error) = lent {
            if done == 0 {
                // Memory that cannot be pinned goes through the staging area.
                return None;
            }
            outcome = Err(status(&error));
            break;
        }
        let guest = Place::Guest {
            id,
            offset: 0,
            pitch: Pitch::default(),
        };
        let place = Place::device(device.address + done);
        let command = host.copy(stream, place, guest, Extent::linear(len));
        match session.begin(&command) {
            Ok(pending) => on_the_way.push_back((pending, id)),
            // The session has ended, which gives back what was lent.
            Err(status) => outcome = Err(status),
        }
        done += len;
    }
    for rest in on_the_way {
        outcome = outcome.and(land(in_place, rest));
    }
    Some(outcome)
}

/// Waits for a copy, and for the memory to be the program's again whatever became of it.
fn land(in_place: &dyn InPlace, (pending, id): (Pending, u64)) -> Result<()> {
    let returned = in_place.wait(id);
    pending.wait()?;
    returned.map_err(|error| status(&error))
}

/// Memory of cudaHostRegister that the other side knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registered {
    id: u64,
    /// Where its first page begins.
    start: u64,
}

/// Makes registered memory known to the other side, where that is possible.
pub(crate) fn register(session: &Session, address: u64, len: u64) -> Result<Option<Registered>> {
    let Some(in_place) = session.link.in_place() else {
        return Ok(None);
    };
    let id = number();
    let start = address - address % PAGE;
    let end = (address + len)
        .checked_next_multiple_of(PAGE)
        .ok_or(error::INVALID_VALUE)?;
    in_place
        .register(id, start, end - start)
        .map_err(|error| status(&error))?;
    Ok(Some(Registered { id, start }))
}

impl Registered {
    pub(crate) fn unregister(self, session: &Session) -> Result<()> {
        match session.link.in_place() {
            Some(in_place) => in_place.unregister(self.id).map_err(|error| status(&error)),
            None => Ok(()),
        }
    }

    /// The command that copies between device memory and a box of the registered memory.
    pub(crate) fn copy(
        self,
        stream: Stream,
        host: Host,
        device: Place,
        registered: Side,
        extent: Extent,
    ) -> Command {
        let guest = Place::Guest {
            id: self.id,
            offset: registered.address - self.start,
            pitch: registered.pitch,
        };
        host.copy(stream, device, guest, extent)
    }
}

/// What an error of the driver means to a CUDA call.
fn status(error: &std::io::Error) -> vcuda_protocol::Status {
    match error.raw_os_error() {
        Some(libc::ENOMEM) => error::OUT_OF_MEMORY,
        Some(libc::EFAULT | libc::EINVAL) => error::INVALID_VALUE,
        Some(libc::EPIPE | libc::ENODEV) => error::DEVICES_UNAVAILABLE,
        _ => {
            vcuda_transport::say!("The vcuda driver failed: {error}.");
            error::UNKNOWN
        }
    }
}
