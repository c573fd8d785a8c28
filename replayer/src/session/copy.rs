// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies: from places that the client names to operands that devices understand.

use vcuda_protocol::scattered::Scattered;
use vcuda_protocol::shared::SharedMemory;
use vcuda_protocol::{Bytes, Command, Extent, Place, Reply, Status, Stream};

use super::shared::Ticket;
use super::{Outcome, Session};
use crate::devices::{Completion, Operand};
use crate::observer::Observer;
use crate::rows::Rows;
use crate::status;
use crate::window::read_in_pieces;

/// An observer takes no longer to look at so much than a thread takes to wake.
pub(super) const QUICK_BYTES: u64 = 64 << 10;

/// Shows an observer bytes of host memory.
type Look = Box<dyn FnOnce() + Send>;

/// A place, checked.
struct Side {
    operand: Operand,
    /// Where its bytes lie in memory that this process can read, if they do.
    host: Option<(Scattered, u64, Rows)>,
    /// Whether an observer does not see the bytes otherwise.
    observed: bool,
}

impl Session {
    /// Gives back what a command lends that is not executed.
    pub(super) fn let_go(&self, command: &Command) {
        let Command::Copy {
            dst, src, release, ..
        } = command
        else {
            return;
        };
        if let Some(chunk) = release {
            self.shared.outbox.release(*chunk);
        }
        for place in [dst, src] {
            drop(self.guest_memory(place));
        }
    }

    /// The guest memory that a place names. Asked for once for each copy, whatever becomes of it:
    /// the driver waits for memory that is lent for one copy.
    fn guest_memory(&self, place: &Place) -> Option<Scattered> {
        match place {
            Place::Guest { id, .. } => self.guest.as_ref()?.memory(*id),
            _ => None,
        }
    }

    pub(super) fn copy(
        &mut self,
        ticket: Ticket,
        stream: Stream,
        dst: Place,
        src: Place,
        extent: Extent,
        release: Option<u32>,
    ) -> Outcome {
        let dst = (self.guest_memory(&dst), dst);
        let src = (self.guest_memory(&src), src);
        let outcome = self.issue_copy(ticket, stream, dst, src, extent, release);
        if let (Some(chunk), Ok(Some(_)) | Err(_)) = (release, &outcome) {
            self.shared.outbox.release(chunk);
        }
        outcome
    }

    fn issue_copy(
        &mut self,
        ticket: Ticket,
        stream: Stream,
        (to, dst): (Option<Scattered>, Place),
        (from, src): (Option<Scattered>, Place),
        extent: Extent,
        release: Option<u32>,
    ) -> Outcome {
        let handle = self.stream(stream)?;
        let to_reply = matches!(dst, Place::Reply);
        let bytes = extent.bytes().ok_or(status::INVALID_VALUE)?;
        if bytes == 0 {
            let nothing = match to_reply {
                true => Reply::Data(Bytes::default()),
                false => Reply::Done,
            };
            return Ok(Some(nothing));
        }
        let src = self.source(src, from, extent)?;
        let dst = match dst {
            Place::Reply => self.reply(stream.device, &src, extent)?,
            Place::Inline(_) => return Err(status::INVALID_VALUE),
            place => self.place(place, to, extent)?,
        };
        let device = self.device(stream.device)?;

        // Host memory that the client lends for this copy does not change before it has the answer:
        // it is shown then, so that the stream need not stop for it.
        let mut looks: Vec<Look> = Vec::new();
        let look = |side: &Side, show: fn(&dyn Observer, u64, u64, &[u8])| -> Option<Look> {
            let observer = self.shared.observer.clone().filter(|_| side.observed)?;
            let (memory, offset, rows) = side.host.clone()?;
            Some(Box::new(move || {
                read_in_pieces(&memory, offset, rows, |position, bytes| {
                    show(&*observer, ticket.sequence, position, bytes);
                });
            }))
        };
        let in_order = |look: Look| -> Result<(), Status> {
            let look: Completion = Box::new(move |health| {
                if health.is_ok() {
                    look();
                }
            });
            device.host_function(handle, look, bytes <= QUICK_BYTES)
        };
        let input = look(&src, |observer, sequence, position, bytes| {
            observer.input(sequence, position, bytes);
        });
        let output = look(&dst, |observer, sequence, position, bytes| {
            observer.output(sequence, position, bytes);
        });
        let (to, from) = (dst.operand, src.operand);
        match (input, &from) {
            (Some(look), Operand::Device { .. }) => in_order(look)?,
            (look, _) => looks.extend(look),
        }
        let shown_in_order = matches!(to, Operand::Device { .. });
        device.copy(handle, to, from, extent, ticket.sequence)?;
        match output {
            Some(look) if shown_in_order => in_order(look)?,
            look => looks.extend(look),
        }

        if ticket.slot.is_none() && release.is_none() && looks.is_empty() {
            return Ok(None);
        }
        let shared = self.shared.clone();
        let reply = dst.host.filter(|_| to_reply);
        let done: Completion = Box::new(move |health| {
            if health.is_ok() {
                looks.into_iter().for_each(|look| look());
            }
            if let Some(chunk) = release {
                shared.outbox.release(chunk);
            }
            if ticket.slot.is_some() {
                let reply = health.and_then(|()| match reply {
                    None => Ok(Reply::Done),
                    Some((memory, offset, _)) => {
                        let mut data = vec![0; bytes as usize];
                        let read = memory.read(offset, &mut data);
                        read.then_some(Reply::Data(Bytes(data)))
                            .ok_or(status::UNKNOWN)
                    }
                });
                shared.settle(ticket, reply);
            }
        });
        device.stream_synchronize(handle, done)?;
        Ok(None)
    }

    fn source(
        &self,
        place: Place,
        guest: Option<Scattered>,
        extent: Extent,
    ) -> Result<Side, Status> {
        let Place::Inline(Bytes(bytes)) = place else {
            return self.place(place, guest, extent);
        };
        if extent.bytes() != Some(bytes.len() as u64) {
            return Err(status::INVALID_VALUE);
        }
        let memory = Scattered::from(SharedMemory::anonymous(bytes.len()));
        let rows = Rows::packed(extent).ok_or(status::INVALID_VALUE)?;
        if !memory.write(0, &bytes) {
            return Err(status::INVALID_VALUE);
        }
        Ok(Side {
            operand: host_operand(&memory, rows),
            host: Some((memory, 0, rows)),
            observed: false,
        })
    }

    /// The memory for a reply, once it is known that the source has as much to give.
    fn reply(&self, device: u32, src: &Side, extent: Extent) -> Result<Side, Status> {
        let rows = Rows::packed(extent).ok_or(status::INVALID_VALUE)?;
        if let Operand::Device { address, pitch } = src.operand {
            let span = Rows::new(extent, pitch)
                .ok_or(status::INVALID_VALUE)?
                .span();
            if !self.device(device)?.holds(address, span) {
                return Err(status::INVALID_VALUE);
            }
        }
        let memory = Scattered::from(SharedMemory::anonymous(rows.bytes() as usize));
        Ok(Side {
            operand: host_operand(&memory, rows),
            host: Some((memory, 0, rows)),
            // Its bytes are seen in the answer.
            observed: false,
        })
    }

    fn place(
        &self,
        place: Place,
        guest: Option<Scattered>,
        extent: Extent,
    ) -> Result<Side, Status> {
        let (offset, pitch, address) = match place {
            Place::Guest { offset, pitch, .. } => {
                let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
                let memory = guest.filter(|memory| memory.holds(offset, rows.span()));
                let memory = memory.ok_or(status::INVALID_VALUE)?;
                return Ok(Side {
                    operand: Operand::Host {
                        memory: memory.clone(),
                        offset,
                        pitch,
                    },
                    host: Some((memory, offset, rows)),
                    observed: true,
                });
            }
            Place::Device { address, pitch } => match self.window.offset_of(address) {
                Some(offset) => (offset, pitch, Some(address)),
                None => {
                    Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
                    return Ok(Side {
                        operand: Operand::Device { address, pitch },
                        host: None,
                        observed: false,
                    });
                }
            },
            Place::Window { offset, pitch } => (offset, pitch, None),
            Place::Inline(_) | Place::Reply => return Err(status::INVALID_VALUE),
        };
        let rows = Rows::new(extent, pitch).ok_or(status::INVALID_VALUE)?;
        if !self.window.holds(offset, rows.span()) {
            return Err(status::INVALID_VALUE);
        }
        let memory = Scattered::from(self.window.memory.clone());
        let operand = match address {
            // The device knows what of the window is allocated.
            Some(address) => Operand::Device { address, pitch },
            None => Operand::Host {
                memory: memory.clone(),
                offset,
                pitch,
            },
        };
        Ok(Side {
            operand,
            host: Some((memory, offset, rows)),
            observed: true,
        })
    }
}

fn host_operand(memory: &Scattered, rows: Rows) -> Operand {
    Operand::Host {
        memory: memory.clone(),
        offset: 0,
        pitch: rows.pitch(),
    }
}
