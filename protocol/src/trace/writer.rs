// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes the bytes of a trace.

use std::io::Write;

use serde::Serialize;

use super::block::{self, Kind};
use super::content::{Blobs, Content, MAX_BLOB, MAX_INLINE, MAX_INLINE_FIELD};
use super::content::{command_bytes, command_bytes_mut, reply_bytes_mut};
use super::shape::{Role, shapes};
use super::{Counts, Properties, TraceError, Transfer};
use crate::command::{Command, Header};
use crate::types::{Bytes, Reply, Status};
use crate::wire::put;

/// Bytes after which a writer gives its blocks to the file.
const WRITE_AT: usize = 256 << 10;

/// Encodes commands and answers as blocks, and puts names and shapes before their first use.
///
/// It takes only what needs no blob, and so costs little: a recorder runs it where the commands
/// pass, and leaves the rest to a [`Writer`] on another thread. A name that both write is no harm.
pub struct Encoder {
    names: fn(u16) -> Option<&'static str>,
    /// By function number: whether the file has the name.
    functions: Vec<bool>,
    /// By variant index: whether the file has the shape.
    commands: Vec<bool>,
    replies: Vec<bool>,
    header: bool,
    counts: Counts,
}

impl Encoder {
    /// `names` gives the name of a function number.
    pub fn new(names: fn(u16) -> Option<&'static str>) -> Encoder {
        Encoder {
            names,
            functions: Vec::new(),
            commands: vec![false; shapes().commands.len()],
            replies: vec![false; shapes().replies.len()],
            header: false,
            counts: Counts::default(),
        }
    }

    /// Whether [`Encoder::command`] takes a command: it has no long byte string.
    pub fn takes(command: &Command) -> bool {
        command_bytes(command).is_none_or(|bytes| bytes.0.len() <= MAX_INLINE_FIELD)
    }

    /// Whether [`Encoder::answer`] takes an answer: it has no long byte string.
    pub fn takes_answer(reply: &Result<Reply, Status>) -> bool {
        !matches!(reply, Ok(Reply::Data(bytes)) if bytes.0.len() > MAX_INLINE_FIELD)
    }

    /// Appends a command.
    pub fn command(
        &mut self,
        out: &mut Vec<u8>,
        header: &Header,
        command: &Command,
    ) -> Result<(), TraceError> {
        self.command_with(out, header, command, None)
    }

    /// Appends an answer.
    pub fn answer(
        &mut self,
        out: &mut Vec<u8>,
        sequence: u64,
        reply: &Result<Reply, Status>,
    ) -> Result<(), TraceError> {
        self.answer_with(out, sequence, reply, None)
    }

    /// Whether [`Encoder::transfer`] takes bulk data: it is short enough to stand in its record.
    pub fn takes_transfer(bytes: &[u8]) -> bool {
        bytes.len() <= MAX_INLINE
    }

    /// Appends bulk data of a command, which [`Encoder::takes_transfer`] holds for.
    pub fn transfer(
        &mut self,
        out: &mut Vec<u8>,
        transfer: Transfer,
        sequence: u64,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), TraceError> {
        let content = Content::Inline(Bytes(bytes.to_vec()));
        record(out, kind(transfer), &(sequence, position, content))?;
        self.counts.transfers += 1;
        Ok(())
    }

    /// What has been appended since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Appends a command whose long byte string is elsewhere.
    fn command_with(
        &mut self,
        out: &mut Vec<u8>,
        header: &Header,
        command: &Command,
        bytes: Option<Content>,
    ) -> Result<(), TraceError> {
        let api = usize::from(header.api);
        if self.functions.len() <= api {
            self.functions.resize(api + 1, false);
        }
        if !std::mem::replace(&mut self.functions[api], true)
            && let Some(name) = (self.names)(header.api)
        {
            record(out, block::FUNCTION, &(header.api, name))?;
        }
        let start = out.len();
        let index = variant_record(out, block::COMMAND, &(&bytes, header), command)?;
        if !known(&mut self.commands, index) {
            let block = out.split_off(start);
            if !std::mem::replace(&mut self.header, true) {
                shape(out, Role::Header, 0)?;
            }
            shape(out, Role::Command, index)?;
            out.extend_from_slice(&block);
        }
        self.counts.commands += 1;
        Ok(())
    }

    /// Appends an answer whose long byte string is elsewhere.
    fn answer_with(
        &mut self,
        out: &mut Vec<u8>,
        sequence: u64,
        reply: &Result<Reply, Status>,
        bytes: Option<Content>,
    ) -> Result<(), TraceError> {
        match reply {
            Ok(reply) => {
                let start = out.len();
                let head = (&bytes, sequence, Status::SUCCESS);
                let index = variant_record(out, block::ANSWER, &head, reply)?;
                if !known(&mut self.replies, index) {
                    let block = out.split_off(start);
                    shape(out, Role::Reply, index)?;
                    out.extend_from_slice(&block);
                }
            }
            Err(status) => record(out, block::ANSWER, &(&bytes, sequence, status))?,
        }
        self.counts.answers += 1;
        Ok(())
    }
}

/// Writes a trace.
///
/// Blocks reach the file in groups: when enough have come together, at [`Writer::flush`] and at
/// [`Writer::finish`].
pub struct Writer<W: Write> {
    file: W,
    pending: Vec<u8>,
    encoder: Encoder,
    blobs: Blobs,
    /// What the encoder has not counted.
    counts: Counts,
    /// Bytes of complete blocks that the file has.
    written: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a trace. `names` gives the name of a function number.
    pub fn new(
        file: W,
        properties: &Properties,
        names: fn(u16) -> Option<&'static str>,
    ) -> Result<Writer<W>, TraceError> {
        let mut writer = Writer {
            file,
            pending: block::file_head().to_vec(),
            encoder: Encoder::new(names),
            blobs: Blobs::default(),
            counts: Counts::default(),
            written: 0,
        };
        writer.properties(properties)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds properties.
    pub fn properties(&mut self, properties: &Properties) -> Result<(), TraceError> {
        record(&mut self.pending, block::PROPERTIES, properties)
    }

    /// Appends blocks that an [`Encoder`] made, which counted them ([`Encoder::take_counts`]).
    pub fn blocks(&mut self, blocks: &[u8], counts: Counts) -> Result<(), TraceError> {
        self.counts += counts;
        if blocks.len() < WRITE_AT {
            self.pending.extend_from_slice(blocks);
            return self.flush_when_long();
        }
        self.flush()?;
        self.file.write_all(blocks)?;
        self.written += blocks.len() as u64;
        Ok(())
    }

    /// Appends a command.
    pub fn command(&mut self, header: &Header, command: &Command) -> Result<(), TraceError> {
        let out = &mut self.pending;
        if Encoder::takes(command) {
            self.encoder.command(out, header, command)?;
        } else {
            let mut command = command.clone();
            let bytes = command_bytes_mut(&mut command).map(std::mem::take);
            let content = long(&mut self.blobs, out, bytes)?;
            self.encoder.command_with(out, header, &command, content)?;
        }
        self.flush_when_long()
    }

    /// Appends the answer to a command, or the failure of a posted one.
    pub fn answer(
        &mut self,
        sequence: u64,
        reply: &Result<Reply, Status>,
    ) -> Result<(), TraceError> {
        let out = &mut self.pending;
        if Encoder::takes_answer(reply) {
            self.encoder.answer(out, sequence, reply)?;
        } else {
            let mut reply = reply.clone();
            let bytes = reply.as_mut().ok().and_then(reply_bytes_mut);
            let content = long(&mut self.blobs, out, bytes.map(std::mem::take))?;
            self.encoder.answer_with(out, sequence, &reply, content)?;
        }
        self.flush_when_long()
    }

    /// Appends bulk data of a command. See [`Transfer`] for what `position` means.
    pub fn transfer(
        &mut self,
        transfer: Transfer,
        sequence: u64,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), TraceError> {
        let kind = kind(transfer);
        let mut position = position;
        for piece in bytes.chunks(MAX_BLOB) {
            let content = self.blobs.content(&mut self.pending, piece, MAX_INLINE)?;
            record(&mut self.pending, kind, &(sequence, position, content))?;
            self.counts.transfers += 1;
            position = position.wrapping_add(piece.len() as u64);
            self.flush_when_long()?;
        }
        Ok(())
    }

    /// Gives all complete blocks to the file.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.file.write_all(&self.pending)?;
        self.file.flush()?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Bytes of complete blocks that were given to the file. After an error, what the file has
    /// beyond them is part of a block.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Ends the trace in good order.
    pub fn finish(mut self) -> Result<W, TraceError> {
        let mut counts = self.counts;
        counts += self.encoder.take_counts();
        counts.blobs += self.blobs.len();
        record(&mut self.pending, block::END, &counts)?;
        self.flush()?;
        Ok(self.file)
    }

    /// Leaves the trace without an end, and without what has not been flushed.
    pub fn into_inner(self) -> W {
        self.file
    }

    fn flush_when_long(&mut self) -> Result<(), TraceError> {
        match self.pending.len() {
            len if len >= WRITE_AT => self.flush(),
            _ => Ok(()),
        }
    }
}

fn long(
    blobs: &mut Blobs,
    out: &mut Vec<u8>,
    bytes: Option<Bytes>,
) -> Result<Option<Content>, TraceError> {
    bytes
        .map(|bytes| blobs.content(out, &bytes.0, MAX_INLINE_FIELD))
        .transpose()
}

fn record(out: &mut Vec<u8>, kind: Kind, value: &impl Serialize) -> Result<(), TraceError> {
    block::append(out, kind, |out| append(out, value))
}

/// Appends a record of two parts, of which the second is an enum, and tells the variant's index.
fn variant_record(
    out: &mut Vec<u8>,
    kind: Kind,
    head: &impl Serialize,
    variant: &impl Serialize,
) -> Result<usize, TraceError> {
    let mut index = 0;
    block::append(out, kind, |out| {
        append(out, head)?;
        let at = out.len();
        append(out, variant)?;
        index = postcard::take_from_bytes::<u32>(&out[at..]).map_or(0, |(index, _)| index);
        Ok(())
    })?;
    Ok(index as usize)
}

/// Whether the file has a variant's shape; from now on it has.
fn known(variants: &mut [bool], index: usize) -> bool {
    variants
        .get_mut(index)
        .is_some_and(|known| std::mem::replace(known, true))
}

fn append(out: &mut Vec<u8>, value: &impl Serialize) -> Result<(), TraceError> {
    put(out, value).map_err(|error| TraceError::Encode(error.to_string()))
}

fn shape(out: &mut Vec<u8>, role: Role, index: usize) -> Result<(), TraceError> {
    let text = shapes().of(role).get(index).map_or("", String::as_str);
    record(out, block::SHAPE, &(role, index as u32, text))
}

fn kind(transfer: Transfer) -> Kind {
    match transfer {
        Transfer::Input => block::INPUT,
        Transfer::Output => block::OUTPUT,
        Transfer::HostMemory => block::HOST_MEMORY,
    }
}
