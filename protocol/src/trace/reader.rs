// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a trace, however it ends.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::block::{self, HEAD_LEN, Head};
use super::content::{Content, Hash, Stored, command_bytes_mut, reply_bytes_mut};
use super::shape::{Role, reads, shapes};
use super::{Counts, Properties, Record, TraceError, Transfer};
use crate::types::{Bytes, Status};
use crate::wire::MAX_MESSAGE;

/// Where a trace's bytes are.
pub trait Source {
    /// Bytes that there are now.
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset` on; an error if there is less.
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
}

impl Source for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> io::Result<u64> {
        Source::len(&self.as_slice())
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(out, offset)
    }
}

impl Source for &[u8] {
    fn len(&self) -> io::Result<u64> {
        Ok(<[u8]>::len(self) as u64)
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self
            .get(start..)
            .and_then(|rest| rest.get(..out.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes that are read from a source at once.
const READ_AHEAD: usize = 256 << 10;

/// A trace's records, in order.
///
/// The iterator ends after the last record, or after the one error that says why there is no more.
/// Afterwards [`Reader::end`] tells whether the recording was ended in good order. Memory is
/// bounded: one block, the names and shapes, and 32 bytes for each blob.
pub struct Reader<S = File> {
    source: S,
    len: u64,
    /// Where the next block begins.
    offset: u64,
    ahead: Vec<u8>,
    ahead_at: u64,
    records: u64,
    stopped: bool,

    properties: Properties,
    functions: HashMap<u16, String>,
    /// For each shape in the file: its text, and the index that this program has for it.
    shapes: HashMap<(Role, u32), (String, Option<u32>)>,
    /// Where each blob's payload is.
    blobs: HashMap<Hash, (u64, u32)>,
    seen: Counts,
    end: Option<Counts>,
}

impl Reader<File> {
    /// Opens a trace and reads its properties.
    pub fn open(path: impl AsRef<Path>) -> Result<Reader<File>, TraceError> {
        Reader::new(File::open(path)?)
    }
}

impl<S: Source> Reader<S> {
    /// Begins to read a trace: its head and its properties.
    pub fn new(source: S) -> Result<Reader<S>, TraceError> {
        let len = source.len()?;
        let mut head = [0; HEAD_LEN];
        let head = &mut head[..len.min(HEAD_LEN as u64) as usize];
        source.read_exact_at(head, 0)?;
        block::check_file_head(head)?;
        let mut reader = Reader {
            source,
            len,
            offset: HEAD_LEN as u64,
            ahead: Vec::new(),
            ahead_at: 0,
            records: 0,
            stopped: false,
            properties: Properties::default(),
            functions: HashMap::new(),
            shapes: HashMap::new(),
            blobs: HashMap::new(),
            seen: Counts::default(),
            end: None,
        };
        match reader.advance()? {
            Some(Record::Properties(_)) => Ok(reader),
            Some(_) => Err(TraceError::Corrupted {
                offset: HEAD_LEN as u64,
                records: 0,
                what: "the first record does not hold the properties".into(),
            }),
            None => Err(TraceError::Truncated {
                offset: HEAD_LEN as u64,
                len,
                records: 0,
            }),
        }
    }

    /// What was recorded.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The name of a function number, where a record so far has told it.
    pub fn function(&self, api: u16) -> Option<&str> {
        self.functions.get(&api).map(String::as_str)
    }

    /// What the last record counts, once the iterator has ended, if the recording was ended in
    /// good order.
    pub fn end(&self) -> Option<Counts> {
        self.end
    }

    /// Records of each kind so far.
    pub fn seen(&self) -> Counts {
        self.seen
    }

    /// Bytes read, and bytes of the file.
    pub fn progress(&self) -> (u64, u64) {
        (self.offset, self.len)
    }

    /// Fetches a piece of bulk data of a record that has been read.
    pub fn bytes(&self, content: &Content) -> Result<Vec<u8>, TraceError> {
        match content {
            Content::Inline(bytes) => Ok(bytes.0.clone()),
            Content::Blob { hash, len } => self.blob(hash, *len),
        }
    }

    /// Fetches a blob of `len` bytes that stands before the next record, and checks it against its
    /// name.
    pub fn blob(&self, hash: &Hash, len: u64) -> Result<Vec<u8>, TraceError> {
        let &(offset, stored) = self.blobs.get(hash).ok_or(TraceError::MissingBlob(*hash))?;
        let mut payload = vec![0; stored as usize];
        self.source.read_exact_at(&mut payload, offset)?;
        let stored = Stored::read(&payload).map_err(|_| TraceError::DamagedBlob(*hash))?;
        match stored.hash == *hash && stored.len as u64 == len {
            true => stored.unpack(),
            false => Err(TraceError::DamagedBlob(*hash)),
        }
    }

    /// The next record, or nothing at the end.
    fn advance(&mut self) -> Result<Option<Record>, TraceError> {
        let left = self.len.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        if self.end.is_some() {
            return Err(self.corrupted("something follows the last record".into()));
        }
        if left < HEAD_LEN as u64 {
            return Err(self.truncated());
        }
        let mut head = [0; HEAD_LEN];
        head.copy_from_slice(self.read(self.offset, HEAD_LEN)?);
        let head = Head::read(&head).map_err(|what| self.corrupted(what))?;
        if left < (HEAD_LEN + head.len) as u64 {
            return Err(self.truncated());
        }
        let at = self.offset + HEAD_LEN as u64;
        self.read(at, head.len)?;
        // The buffer leaves `self` for as long as a record is made from it.
        let ahead = std::mem::take(&mut self.ahead);
        let start = (at - self.ahead_at) as usize;
        let payload = &ahead[start..start + head.len];
        let record = match head.fits(payload) {
            true => self.record(head.kind, payload, at),
            false => Err(self.corrupted("its checksum does not fit".into())),
        };
        self.ahead = ahead;
        let record = record?;
        self.offset = at + head.len as u64;
        self.records += 1;
        Ok(Some(record))
    }

    /// `len` bytes from `offset` on, which the file has.
    fn read(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.ahead_at + self.ahead.len() as u64;
        if offset < self.ahead_at || offset + len as u64 > end {
            let want = (self.len - offset).min(READ_AHEAD.max(len) as u64) as usize;
            self.ahead.resize(want, 0);
            self.ahead_at = offset;
            self.source.read_exact_at(&mut self.ahead, offset)?;
        }
        let start = (offset - self.ahead_at) as usize;
        Ok(&self.ahead[start..start + len])
    }

    /// Makes a record of a payload that stands at `at` and whose checksum is right.
    fn record(&mut self, kind: block::Kind, payload: &[u8], at: u64) -> Result<Record, TraceError> {
        match kind {
            block::PROPERTIES => {
                let properties: Properties = self.whole(payload)?;
                self.properties.0.extend_from_slice(&properties.0);
                Ok(Record::Properties(properties))
            }
            block::FUNCTION => {
                let (api, name): (u16, String) = self.whole(payload)?;
                self.functions.insert(api, name.clone());
                Ok(Record::Function { api, name })
            }
            block::SHAPE => {
                let (role, index, text): (Role, u32, String) = self.whole(payload)?;
                let own = shapes().of(role).iter().position(|s| reads(s, &text));
                let own = own.map(|own| own as u32);
                self.shapes.insert((role, index), (text.clone(), own));
                Ok(Record::Shape { role, index, text })
            }
            block::COMMAND => {
                self.seen.commands += 1;
                self.command(payload)
            }
            block::ANSWER => {
                self.seen.answers += 1;
                self.answer(payload)
            }
            block::INPUT => self.transfer(Transfer::Input, payload),
            block::OUTPUT => self.transfer(Transfer::Output, payload),
            block::HOST_MEMORY => self.transfer(Transfer::HostMemory, payload),
            block::BLOB => {
                let stored = Stored::read(payload).map_err(|what| self.corrupted(what))?;
                self.seen.blobs += 1;
                // No payload is longer than 32 bits tell.
                let place = (at, payload.len() as u32);
                self.blobs.entry(stored.hash).or_insert(place);
                Ok(Record::Blob {
                    hash: stored.hash,
                    len: stored.len as u64,
                    stored: payload.len() as u64,
                })
            }
            block::END => {
                let counts: Counts = self.whole(payload)?;
                if counts != self.seen {
                    return Err(self.corrupted(format!(
                        "the last record counts {counts:?}, and there were {:?}",
                        self.seen
                    )));
                }
                self.end = Some(counts);
                Ok(Record::End(counts))
            }
            kind if block::may_be_skipped(kind) => Ok(Record::Skipped { kind }),
            kind => Err(self.corrupted(format!("its kind \"{}\" is unknown", kind.escape_ascii()))),
        }
    }

    fn command(&mut self, payload: &[u8]) -> Result<Record, TraceError> {
        let (bytes, rest): (Option<Content>, _) = self.part(payload)?;
        if let (text, None) = self.shape(Role::Header, 0)? {
            return Ok(Record::Foreign {
                role: Role::Header,
                sequence: 0,
                shape: text.to_owned(),
            });
        }
        let (header, rest): (crate::Header, _) = self.part(rest)?;
        let (index, fields): (u32, _) = self.part(rest)?;
        match self.shape(Role::Command, index)? {
            (text, None) => Ok(Record::Foreign {
                role: Role::Command,
                sequence: header.sequence,
                shape: text.to_owned(),
            }),
            (_, Some(own)) => {
                let mut command = self.variant(own, fields)?;
                self.restore(bytes, command_bytes_mut(&mut command))?;
                Ok(Record::Command { header, command })
            }
        }
    }

    fn answer(&mut self, payload: &[u8]) -> Result<Record, TraceError> {
        let (bytes, rest): (Option<Content>, _) = self.part(payload)?;
        let (sequence, rest): (u64, _) = self.part(rest)?;
        let (status, rest): (Status, _) = self.part(rest)?;
        if !status.is_success() {
            if !rest.is_empty() || bytes.is_some() {
                return Err(self.corrupted("a failure has a reply".into()));
            }
            let reply = Err(status);
            return Ok(Record::Answer { sequence, reply });
        }
        let (index, fields): (u32, _) = self.part(rest)?;
        match self.shape(Role::Reply, index)? {
            (text, None) => Ok(Record::Foreign {
                role: Role::Reply,
                sequence,
                shape: text.to_owned(),
            }),
            (_, Some(own)) => {
                let mut reply = self.variant(own, fields)?;
                self.restore(bytes, reply_bytes_mut(&mut reply))?;
                let reply = Ok(reply);
                Ok(Record::Answer { sequence, reply })
            }
        }
    }

    fn transfer(&mut self, transfer: Transfer, payload: &[u8]) -> Result<Record, TraceError> {
        let (sequence, position, content) = self.whole(payload)?;
        self.seen.transfers += 1;
        Ok(Record::Transfer {
            transfer,
            sequence,
            position,
            content,
        })
    }

    /// The text of a shape in the file, and the index that this program has for it.
    fn shape(&self, role: Role, index: u32) -> Result<(&str, Option<u32>), TraceError> {
        match self.shapes.get(&(role, index)) {
            Some((text, own)) => Ok((text, *own)),
            None => Err(self.corrupted(format!("no record tells the shape of {role:?} {index}"))),
        }
    }

    /// Decodes the fields of an enum's variant whose index is `own` in this program.
    fn variant<T: DeserializeOwned>(&self, own: u32, fields: &[u8]) -> Result<T, TraceError> {
        let mut bytes = Vec::with_capacity(fields.len() + 5);
        postcard::to_io(&own, &mut bytes).map_err(|e| TraceError::Encode(e.to_string()))?;
        bytes.extend_from_slice(fields);
        self.whole(&bytes)
    }

    /// Puts a long byte string back to where it was taken from.
    fn restore(&self, bytes: Option<Content>, place: Option<&mut Bytes>) -> Result<(), TraceError> {
        match (bytes, place) {
            (None, _) => Ok(()),
            (Some(content), _) if content.len() > MAX_MESSAGE as u64 => {
                Err(self.corrupted(format!("it has a field of {} bytes", content.len())))
            }
            (Some(content), Some(place)) => {
                place.0 = self.bytes(&content)?;
                Ok(())
            }
            (Some(_), None) => Err(self.corrupted("it has bytes and no field for them".into())),
        }
    }

    fn part<'a, T: serde::Deserialize<'a>>(
        &self,
        bytes: &'a [u8],
    ) -> Result<(T, &'a [u8]), TraceError> {
        postcard::take_from_bytes(bytes)
            .map_err(|e| self.corrupted(format!("its content is not well formed ({e})")))
    }

    fn whole<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, TraceError> {
        match self.part(bytes)? {
            (value, []) => Ok(value),
            (_, rest) => Err(self.corrupted(format!("{} of its bytes are left over", rest.len()))),
        }
    }

    fn corrupted(&self, what: String) -> TraceError {
        TraceError::Corrupted {
            offset: self.offset,
            records: self.records,
            what,
        }
    }

    fn truncated(&self) -> TraceError {
        TraceError::Truncated {
            offset: self.offset,
            len: self.len,
            records: self.records,
        }
    }
}

impl<S: Source> Iterator for Reader<S> {
    type Item = Result<Record, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        let next = self.advance().transpose();
        self.stopped = !matches!(next, Some(Ok(_)));
        next
    }
}
