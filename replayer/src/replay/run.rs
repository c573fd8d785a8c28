// SPDX-License-Identifier: MIT OR Apache-2.0
//! One replay under way: what each record of the recording comes to.

use std::collections::HashMap;
use std::sync::Arc;

use vcuda_protocol::layout::MAX_REPLY_DATA;
use vcuda_protocol::trace::{Record, Transfer};
use vcuda_protocol::{Bytes, Command, Header, Image, Place, Reply, Status};

use super::checker::{Checker, Nowhere, OWN};
use super::compare::{self, Verdict};
use super::guest::FreshMemory;
use super::host_memory::HostMemory;
use super::outcome::{Ended, Outcome, What};
use super::recording::Recording;
use super::relocate::Relocation;
use super::{Options, ReplayError, Replayer};
use crate::devices::Device;
use crate::observer::Observer;
use crate::session::Session;
use crate::status;
use crate::window::Window;

/// One replay under way.
pub(super) struct Replay {
    recording: Arc<Recording>,
    window: Window,
    session: Session,
    guest: Arc<FreshMemory>,
    pub(super) checker: Arc<Checker>,
    options: Options,
    relocation: Relocation,
    host_memory: HostMemory,
    /// Sizes of host allocations, by offset.
    host_allocations: HashMap<u64, u64>,
    next_own: u64,
    pub(super) commands: u64,
    compared_values: u64,
    ended: Ended,
    notes: Vec<String>,
}

pub(super) struct Finished {
    pub(super) outcome: Outcome,
    pub(super) difference: Option<(u64, What)>,
}

impl Replay {
    pub(super) fn new(
        replayer: &Replayer,
        devices: Vec<Arc<dyn Device>>,
        options: &Options,
    ) -> Replay {
        let recording = replayer.recording.clone();
        let infos: Vec<_> = devices.iter().map(|device| device.info()).collect();
        let mut notes = Vec::new();
        let mut relocation = Relocation::default();
        for (&index, recorded) in &recording.devices {
            let Some(info) = infos.get(index as usize) else {
                notes.push(format!(
                    "The recording has a device {index} (\"{}\"), and there is none here.",
                    recorded.name
                ));
                continue;
            };
            notes.extend(compare::device_note(recorded, info));
            if !relocation.heap(recorded, info) {
                notes.push(format!(
                    "The heap of the recorded device {index} ({} bytes) is larger than that here \
                     ({} bytes).",
                    recorded.heap_len, info.heap_len
                ));
            }
        }
        let checker = Checker::new(recording.clone(), options.tolerance);
        let window = replayer.window.clone();
        let guest = Arc::<FreshMemory>::default();
        Replay {
            session: Session::new(
                devices,
                window.clone(),
                Arc::new(Nowhere),
                Some(checker.clone()),
            )
            .with_guest_memory(guest.clone()),
            guest,
            ended: recording.ended.clone(),
            recording,
            window,
            checker,
            options: options.clone(),
            relocation,
            host_memory: HostMemory::default(),
            host_allocations: Default::default(),
            next_own: OWN,
            commands: 0,
            compared_values: 0,
            notes,
        }
    }

    /// Takes the next record. False where the replay cannot go on.
    pub(super) fn record(&mut self, record: Record) -> Result<bool, ReplayError> {
        match record {
            Record::Command { header, command } => {
                if let Some(why) = impossible(&header, &command) {
                    self.ended = Ended::Cut(format!(
                        "The replay ends before command {}: {why}.",
                        header.sequence
                    ));
                    return Ok(false);
                }
                self.command(header, command)?;
            }
            Record::Answer { sequence, reply } => self.settle(sequence, reply),
            Record::Transfer {
                transfer: Transfer::Output,
                sequence,
                position,
                content,
            } => {
                // What the program did next may rest on these bytes.
                let end = position.saturating_add(content.len());
                if sequence < OWN && !self.checker.has_given(sequence, end) {
                    let rest = self.rest();
                    self.checker.wait_for_bytes(sequence, end, rest);
                    let actual = self.checker.given(sequence);
                    if actual < end && self.checker.failure(sequence).is_none() {
                        let expected = end;
                        self.checker
                            .differs(sequence, What::Missing { expected, actual });
                    }
                }
            }
            Record::Foreign {
                role,
                sequence,
                shape,
            } => {
                self.ended = Ended::Cut(format!(
                    "The replay ends before command {sequence}: this vcuda does not know its \
                     {role:?} of the shape \"{shape}\"."
                ));
                return Ok(false);
            }
            _ => {}
        }
        Ok(true)
    }

    fn command(&mut self, header: Header, command: Command) -> Result<(), ReplayError> {
        let command = self.prepare(&header, command)?;
        let command = self.relocation.apply(command);
        self.session.execute(&header, command);
        self.commands += 1;
        Ok(())
    }

    /// Puts what the recording knows into a command, and the session into the state for it.
    fn prepare(&mut self, header: &Header, command: Command) -> Result<Command, ReplayError> {
        let sequence = header.sequence;
        Ok(match command {
            Command::Copy {
                stream,
                dst,
                src,
                extent,
                release,
            } => {
                let from_host = match &src {
                    Place::Window { .. } | Place::Guest { .. } => true,
                    Place::Device { address, .. } => self.window.offset_of(*address).is_some(),
                    Place::Inline(_) | Place::Reply => false,
                };
                if let Place::Guest { offset, pitch, .. } = &dst {
                    self.guest.expect(*offset, *pitch, extent);
                }
                let len = extent.bytes().unwrap_or(u64::MAX);
                let input = match from_host {
                    true => self.recording.input(sequence, len)?,
                    false => None,
                };
                Command::Copy {
                    stream,
                    dst,
                    src: input.map_or(src, |bytes| Place::Inline(Bytes(bytes))),
                    extent,
                    release,
                }
            }
            Command::ModuleLoad {
                device,
                module,
                image: Image::Window { offset, len },
            } => {
                let image = match self.recording.input(sequence, len)? {
                    Some(bytes) => Image::Inline(Bytes(bytes)),
                    None => Image::Window { offset, len },
                };
                Command::ModuleLoad {
                    device,
                    module,
                    image,
                }
            }
            Command::StreamQuery { stream } if self.recording.ready.contains(&sequence) => {
                Command::StreamSynchronize { stream }
            }
            Command::EventQuery { event } if self.recording.ready.contains(&sequence) => {
                Command::EventSynchronize { event }
            }
            Command::EventElapsed { start, end } => {
                if self.recording.ready.contains(&sequence) {
                    for event in [start, end] {
                        let own = self.own(Command::EventSynchronize { event });
                        let _ = self.checker.wait_for_answer(own);
                    }
                }
                command
            }
            Command::Launch { .. } => {
                for piece in self
                    .recording
                    .host_memory
                    .get(&sequence)
                    .into_iter()
                    .flatten()
                {
                    let bytes = self.recording.reader.bytes(&piece.content)?;
                    self.host_memory.set(piece.position, bytes);
                }
                if !self.host_memory.is_empty() {
                    // Kernels that run may still use it.
                    let rest = self.rest();
                    let _ = self.checker.wait_for_answer(rest);
                    self.host_memory.put(&self.window);
                }
                command
            }
            Command::HostAlloc { offset, size, .. } => {
                self.host_allocations.insert(offset, size);
                command
            }
            Command::HostFree { offset } => {
                if let Some(size) = self.host_allocations.remove(&offset) {
                    let address = self.window.base.wrapping_add(offset);
                    self.host_memory.forget(address, size);
                }
                command
            }
            // Kernels may have the number from anywhere: it is to be the same again.
            Command::TextureCreate {
                device,
                object,
                texture,
            } => Command::TextureCreate {
                device,
                object: *self.recording.objects.get(&sequence).unwrap_or(&object),
                texture,
            },
            other => other,
        })
    }

    /// Takes an answer of the recording: waits for the replay's, and compares.
    fn settle(&mut self, sequence: u64, expected: Result<Reply, Status>) {
        if self.checker.is_asked(sequence) {
            let actual = self.checker.wait_for_answer(sequence);
            self.compare(sequence, &expected, &actual);
        } else if let Err(expected) = expected {
            let rest = self.rest();
            let actual = self.checker.wait_for_failure(sequence, rest);
            self.compared_values += 1;
            if actual != Some(expected) {
                self.differs(sequence, Err(expected), actual.map_or(Ok(Reply::Done), Err));
            }
        }
    }

    fn compare(
        &mut self,
        sequence: u64,
        expected: &Result<Reply, Status>,
        actual: &Result<Reply, Status>,
    ) {
        if self.surfaced_at_another_time(sequence, expected, actual) {
            self.checker.note(format!(
                "Command {sequence} gave {} where the recording has {}: an earlier launch failed, \
                 and this was noticed at another time.",
                compare::describe(actual),
                compare::describe(expected)
            ));
            return;
        }
        if let (Ok(Reply::Global(expected)), Ok(Reply::Global(actual))) = (expected, actual)
            && expected.size == actual.size
        {
            self.relocation
                .range(expected.address, expected.size, actual.address);
            self.compared_values += 1;
            return;
        }
        let tolerance = self.options.tolerance;
        match compare::answers(expected, actual, tolerance) {
            Verdict::NotCompared => {}
            Verdict::Equal => self.compared_values += 1,
            Verdict::Note(note) => self.checker.note(note),
            Verdict::Different(what) => {
                self.compared_values += 1;
                self.checker.differs(sequence, what);
            }
        }
    }

    /// Whether only one of two answers has the error of a launch that failed before. When that is
    /// noticed depends on time.
    fn surfaced_at_another_time(
        &self,
        sequence: u64,
        expected: &Result<Reply, Status>,
        actual: &Result<Reply, Status>,
    ) -> bool {
        let status = match (expected, actual) {
            (Ok(_), Err(status)) | (Err(status), Ok(_)) => *status,
            _ => return false,
        };
        status::is_sticky(status)
            && self
                .recording
                .failures
                .iter()
                .any(|(&failed, &with)| failed < sequence && with == status)
    }

    fn differs(
        &mut self,
        sequence: u64,
        expected: Result<Reply, Status>,
        actual: Result<Reply, Status>,
    ) {
        let expected = compare::describe(&expected);
        let actual = compare::describe(&actual);
        self.checker
            .differs(sequence, What::Value { expected, actual });
    }

    /// Executes a command that is not in the recording. Its answer comes under the number that is
    /// returned.
    fn own(&mut self, command: Command) -> u64 {
        let header = Header {
            sequence: self.next_own,
            api: 0,
            thread: 0,
            time: 0,
            slot: Some(0),
        };
        self.next_own += 1;
        self.session.execute(&header, command);
        header.sequence
    }

    /// Asks to be told when nothing goes on any more: the work that was issued has finished, or is
    /// behind a host function that returns later in the recording. The answer comes under the
    /// number that is returned.
    fn rest(&mut self) -> u64 {
        let own = self.next_own;
        self.next_own += 1;
        self.checker.ask(own);
        let checker = self.checker.clone();
        self.session
            .when_at_rest(move || checker.answer(own, &Ok(Reply::Done)));
        own
    }

    /// Ends the session and says what was found.
    pub(super) fn finish(mut self) -> Finished {
        if self.checker.has_difference() {
            // An earlier command may have a difference that is not known yet.
            let rest = self.rest();
            let _ = self.checker.wait_for_answer(rest);
        }
        let found = self.checker.close();
        let mut difference = found.difference;
        for (sequence, status) in found.failures {
            if sequence >= OWN || self.recording.failures.contains_key(&sequence) {
                continue;
            }
            let what = What::Value {
                expected: "success".into(),
                actual: format!("error {}", status.0),
            };
            // The recording may have ended before the command had failed there, too.
            if self.recording.ended != Ended::Clean && sequence > self.recording.last_answered {
                self.notes.push(format!(
                    "Command {sequence} failed with error {}; the recording ends before anything \
                     waited for it.",
                    status.0
                ));
            } else if difference
                .as_ref()
                .is_none_or(|(first, _)| sequence < *first)
            {
                difference = Some((sequence, what));
            }
        }
        self.session.end();
        // How a device differs was noted when the replay began, and comes again with its answer.
        let known = self.notes.len();
        for note in found.notes {
            if !self.notes[..known].contains(&note) {
                self.notes.push(note);
            }
        }
        Finished {
            outcome: Outcome {
                commands: self.commands,
                compared_values: self.compared_values,
                compared_bytes: found.compared_bytes,
                first_difference: None,
                ended: self.ended,
                notes: self.notes,
            },
            difference,
        }
    }
}

/// Why no session can have had a command.
fn impossible(header: &Header, command: &Command) -> Option<&'static str> {
    if header.sequence >= OWN {
        return Some("no session has as many commands");
    }
    match command {
        Command::Copy {
            dst: Place::Reply,
            extent,
            ..
        } if extent
            .bytes()
            .is_none_or(|bytes| bytes > MAX_REPLY_DATA as u64) =>
        {
            Some("its bytes do not fit a reply")
        }
        _ => None,
    }
}
