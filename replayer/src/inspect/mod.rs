// SPDX-License-Identifier: MIT OR Apache-2.0
//! Prints what a trace holds: a summary, one line for each command, or JSON.
//!
//! All of these read as far as the trace can be read, and say at the end what stopped them.

mod summary;
mod text;

use std::collections::VecDeque;
use std::io::{self, Write};

use serde_json::{Value, json};
use vcuda_protocol::trace::{Content, Reader, Record, Source, TraceError, Transfer};
use vcuda_protocol::{Header, Reply, Status};

use crate::replay::{Ended, function_name};
pub use summary::Summary;

/// Writes one line for each command, in order: number, time in seconds, thread, CUDA function,
/// command with its arguments, answer. A command that nobody waited for has no answer; if it failed
/// later, another line says so.
pub fn calls<S: Source>(mut reader: Reader<S>, out: &mut impl Write) -> io::Result<Ended> {
    let mut lines = Lines::default();
    let mut ended = Ended::Unfinished;
    while let Some(record) = reader.next() {
        match record {
            Ok(Record::Command { header, command }) => {
                let function = function_name(&reader, header.api);
                let command = text::value(&text::to_json(&command));
                lines.add(&header, &function, &command);
            }
            Ok(Record::Answer { sequence, reply }) => lines.answer(sequence, &reply),
            Ok(Record::Foreign {
                role,
                sequence,
                shape,
            }) => lines.foreign(sequence, &format!("{role:?} of another version: {shape}")),
            Ok(_) => {}
            Err(error) => ended = cut(error)?,
        }
        lines.write(out, false)?;
    }
    lines.write(out, true)?;
    if reader.end().is_some() {
        ended = Ended::Clean;
    }
    Ok(ended)
}

/// Writes one JSON object for each record, a line each. `record` tells which: `properties`,
/// `function`, `shape`, `command`, `answer`, `foreign`, `input`, `output`, `host_memory`, `blob`,
/// `end`, `skipped`. Byte strings are hexadecimal.
pub fn json<S: Source>(mut reader: Reader<S>, out: &mut impl Write) -> io::Result<Ended> {
    let mut ended = Ended::Unfinished;
    let properties = json!({ "record": "properties", "properties": reader.properties() });
    writeln!(out, "{properties}")?;
    while let Some(record) = reader.next() {
        match record {
            Ok(record) => writeln!(out, "{}", object(&reader, record))?,
            Err(error) => ended = cut(error)?,
        }
    }
    if reader.end().is_some() {
        ended = Ended::Clean;
    }
    Ok(ended)
}

fn cut(error: TraceError) -> io::Result<Ended> {
    match error {
        TraceError::Io(error) => Err(error),
        error => Ok(Ended::Cut(error.to_string())),
    }
}

fn object<S: Source>(reader: &Reader<S>, record: Record) -> Value {
    match record {
        Record::Properties(properties) => {
            json!({ "record": "properties", "properties": properties })
        }
        Record::Function { api, name } => json!({ "record": "function", "api": api, "name": name }),
        Record::Shape { role, index, text } => {
            json!({ "record": "shape", "role": role, "index": index, "shape": text })
        }
        Record::Command { header, command } => json!({
            "record": "command",
            "sequence": header.sequence,
            "function": function_name(reader, header.api),
            "thread": header.thread,
            "time": header.time,
            "slot": header.slot,
            "command": text::to_json(&command),
        }),
        Record::Answer {
            sequence,
            reply: Ok(reply),
        } => json!({
            "record": "answer", "sequence": sequence, "status": 0, "reply": text::to_json(&reply),
        }),
        Record::Answer {
            sequence,
            reply: Err(status),
        } => json!({ "record": "answer", "sequence": sequence, "status": status }),
        Record::Foreign {
            role,
            sequence,
            shape,
        } => json!({ "record": "foreign", "role": role, "sequence": sequence, "shape": shape }),
        Record::Transfer {
            transfer,
            sequence,
            position,
            content,
        } => {
            let (record, place) = match transfer {
                Transfer::Input => ("input", "offset"),
                Transfer::Output => ("output", "offset"),
                Transfer::HostMemory => ("host_memory", "address"),
            };
            let mut object = json!({ "record": record, "sequence": sequence, place: position });
            match content {
                Content::Inline(bytes) => object["bytes"] = text::to_json(&bytes),
                Content::Blob { hash, len } => {
                    object["blob"] = text::to_json(&hash);
                    object["len"] = len.into();
                }
            }
            object
        }
        Record::Blob { hash, len, stored } => {
            json!({ "record": "blob", "hash": hash, "len": len, "stored": stored })
        }
        Record::End(counts) => json!({ "record": "end", "counts": counts }),
        Record::Skipped { kind } => {
            json!({ "record": "skipped", "kind": kind.escape_ascii().to_string() })
        }
        other => json!({ "record": format!("{other:?}") }),
    }
}

/// Lines that wait for the answers of the commands before them.
#[derive(Default)]
struct Lines(VecDeque<Line>);

struct Line {
    sequence: u64,
    text: String,
    complete: bool,
}

impl Lines {
    fn add(&mut self, header: &Header, function: &str, command: &str) {
        let Header {
            sequence,
            thread,
            time,
            ..
        } = header;
        let (seconds, rest) = (time / 1_000_000_000, time % 1_000_000_000 / 1000);
        self.0.push_back(Line {
            sequence: *sequence,
            text: format!(
                "{sequence:>7} {seconds:>4}.{rest:06} {thread:>7} {function:<28} {command}"
            ),
            complete: header.slot.is_none(),
        });
    }

    fn answer(&mut self, sequence: u64, reply: &Result<Reply, Status>) {
        let answer = text::answer(reply);
        let line = self.0.binary_search_by_key(&sequence, |line| line.sequence);
        match line.ok().and_then(|at| self.0.get_mut(at)) {
            Some(line) if !line.complete => {
                line.text.push_str(" = ");
                line.text.push_str(&answer);
                line.complete = true;
            }
            _ => self.foreign(sequence, &format!("failed later: {answer}")),
        }
    }

    /// A line of its own, about a command.
    fn foreign(&mut self, sequence: u64, text: &str) {
        self.0.push_back(Line {
            // Keeps the lines sorted for the search.
            sequence: self.0.back().map_or(0, |line| line.sequence),
            text: format!("{sequence:>7} {:>47} {text}", ""),
            complete: true,
        });
    }

    /// Writes the lines that are complete, or all.
    fn write(&mut self, out: &mut impl Write, all: bool) -> io::Result<()> {
        while let Some(line) = self.0.front()
            && (all || line.complete)
        {
            let unanswered = if line.complete { "" } else { " (no answer)" };
            writeln!(out, "{}{unanswered}", line.text)?;
            self.0.pop_front();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
