// SPDX-License-Identifier: MIT OR Apache-2.0
//! What has to be known of a trace before its first command is executed.
//!
//! A copy's data stands behind it in the file, because streams run later than commands are issued.
//! So a trace is read twice: once for where everything is, once to execute it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use vcuda_protocol::trace::{Content, Properties, Reader, Record, TraceError, Transfer};
use vcuda_protocol::{Command, DeviceInfo, Reply, Status};

use super::outcome::Ended;

/// A piece of bulk data of one command.
pub(super) struct Piece {
    /// Offset or address.
    pub position: u64,
    pub content: Content,
}

/// An index of a trace.
pub(super) struct Recording {
    pub path: PathBuf,
    /// Has seen the whole trace, so that it can fetch all blobs.
    pub reader: Reader,
    pub commands: u64,
    pub ended: Ended,
    /// By command.
    pub inputs: HashMap<u64, Vec<Piece>>,
    pub outputs: HashMap<u64, Vec<Piece>>,
    pub host_memory: HashMap<u64, Vec<Piece>>,
    /// Errors of commands after they were issued, or answered.
    pub failures: HashMap<u64, Status>,
    /// Queries that were answered with success.
    pub ready: HashSet<u64>,
    /// The numbers of texture and surface objects, by the commands that made them.
    pub objects: HashMap<u64, u64>,
    /// The last command that was answered.
    pub last_answered: u64,
    /// What the devices were, as far as the program asked.
    pub devices: HashMap<u32, DeviceInfo>,
}

impl Recording {
    /// Reads a trace as far as it can be read.
    pub fn open(path: &Path) -> Result<Recording, TraceError> {
        let reader = Reader::open(path)?;
        let mut recording = Recording {
            path: path.to_owned(),
            reader,
            commands: 0,
            ended: Ended::Unfinished,
            inputs: HashMap::new(),
            outputs: HashMap::new(),
            host_memory: HashMap::new(),
            failures: HashMap::new(),
            ready: HashSet::new(),
            objects: HashMap::new(),
            last_answered: 0,
            devices: HashMap::new(),
        };
        let mut unanswered = HashMap::new();
        while let Some(record) = recording.reader.next() {
            match record {
                Ok(record) => recording.note(record, &mut unanswered),
                Err(error @ TraceError::Io(_)) => return Err(error),
                Err(error) => recording.ended = Ended::Cut(error.to_string()),
            }
        }
        if recording.reader.end().is_some() {
            recording.ended = Ended::Clean;
        }
        Ok(recording)
    }

    pub fn properties(&self) -> &Properties {
        self.reader.properties()
    }

    fn note(&mut self, record: Record, unanswered: &mut HashMap<u64, Asked>) {
        match record {
            Record::Command { header, command } => {
                self.commands += 1;
                if header.slot.is_some() {
                    unanswered.insert(header.sequence, Asked::of(&command));
                }
            }
            Record::Answer { sequence, reply } => match unanswered.remove(&sequence) {
                None => {
                    if let Err(status) = reply {
                        self.failures.entry(sequence).or_insert(status);
                    }
                }
                Some(asked) => {
                    self.last_answered = self.last_answered.max(sequence);
                    match (asked, reply) {
                        (Asked::Query, Ok(_)) => {
                            self.ready.insert(sequence);
                        }
                        (Asked::Device(device), Ok(Reply::Device(info))) => {
                            self.devices.insert(device, info);
                        }
                        (_, Ok(Reply::Object(object))) => {
                            self.objects.insert(sequence, object);
                        }
                        _ => {}
                    }
                }
            },
            Record::Transfer {
                transfer,
                sequence,
                position,
                content,
            } => {
                let pieces = match transfer {
                    Transfer::Input => &mut self.inputs,
                    Transfer::Output => &mut self.outputs,
                    Transfer::HostMemory => &mut self.host_memory,
                };
                let piece = Piece { position, content };
                pieces.entry(sequence).or_default().push(piece);
            }
            _ => {}
        }
    }

    /// The bytes that a command took, if the recording has all `len` of them.
    pub fn input(&self, sequence: u64, len: u64) -> Result<Option<Vec<u8>>, TraceError> {
        let Some(pieces) = self.inputs.get(&sequence) else {
            return Ok(None);
        };
        let held: u64 = pieces.iter().map(|p| p.content.len()).sum();
        if held < len {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        for piece in pieces {
            // Pieces come in order; a trace in which they do not is not ours.
            if piece.position != bytes.len() as u64 {
                return Ok(None);
            }
            bytes.extend_from_slice(&self.reader.bytes(&piece.content)?);
        }
        Ok((bytes.len() as u64 == len).then_some(bytes))
    }
}

/// What a command that waits for its answer asks.
enum Asked {
    Query,
    Device(u32),
    Other,
}

impl Asked {
    fn of(command: &Command) -> Asked {
        match command {
            Command::StreamQuery { .. } | Command::EventQuery { .. } => Asked::Query,
            Command::EventElapsed { .. } => Asked::Query,
            Command::DeviceInfo { device } => Asked::Device(*device),
            _ => Asked::Other,
        }
    }
}
