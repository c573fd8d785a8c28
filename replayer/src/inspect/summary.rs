// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a trace holds, in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use serde::Serialize;
use vcuda_protocol::trace::{Counts, Properties, Reader, Record, Source, Transfer};

use super::cut;
use crate::replay::{Ended, function_name};

/// A summary of a trace.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    pub properties: Properties,
    /// Bytes of the file, as far as it can be read.
    pub file_bytes: u64,
    pub counts: Counts,
    /// Nanoseconds from the first command to the last.
    pub duration: u64,
    pub threads: u64,
    /// Commands by the CUDA function that caused them.
    pub functions: BTreeMap<String, u64>,
    /// Commands by their own names.
    pub commands: BTreeMap<String, u64>,
    /// Commands whose program waited for an answer, and answers that were errors.
    pub waited_for: u64,
    pub failed: u64,
    /// Bytes that commands took from host memory and gave to it, and that launches were shown.
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub host_memory_bytes: u64,
    /// Bytes of all blobs, and bytes that they take in the file.
    pub blob_bytes: u64,
    pub stored_bytes: u64,
    /// How the recording ends, in a sentence.
    pub ended: String,
    pub clean: bool,
}

impl Summary {
    /// Reads a trace as far as it can be read.
    pub fn read<S: Source>(mut reader: Reader<S>) -> io::Result<Summary> {
        let mut summary = Summary {
            properties: Properties::default(),
            file_bytes: 0,
            counts: Counts::default(),
            duration: 0,
            threads: 0,
            functions: BTreeMap::new(),
            commands: BTreeMap::new(),
            waited_for: 0,
            failed: 0,
            input_bytes: 0,
            output_bytes: 0,
            host_memory_bytes: 0,
            blob_bytes: 0,
            stored_bytes: 0,
            ended: String::new(),
            clean: false,
        };
        let mut ended = Ended::Unfinished;
        let mut threads = std::collections::BTreeSet::new();
        let mut first = None;
        while let Some(record) = reader.next() {
            match record {
                Ok(Record::Command { header, command }) => {
                    let function = function_name(&reader, header.api);
                    *summary.functions.entry(function).or_default() += 1;
                    let name = command.name().to_owned();
                    *summary.commands.entry(name).or_default() += 1;
                    summary.waited_for += u64::from(header.slot.is_some());
                    threads.insert(header.thread);
                    let first = *first.get_or_insert(header.time);
                    summary.duration = header.time.saturating_sub(first);
                }
                Ok(Record::Answer { reply: Err(_), .. }) => summary.failed += 1,
                Ok(Record::Transfer {
                    transfer, content, ..
                }) => {
                    let bytes = match transfer {
                        Transfer::Input => &mut summary.input_bytes,
                        Transfer::Output => &mut summary.output_bytes,
                        Transfer::HostMemory => &mut summary.host_memory_bytes,
                    };
                    *bytes = bytes.saturating_add(content.len());
                }
                Ok(Record::Blob { len, stored, .. }) => {
                    summary.blob_bytes += len;
                    summary.stored_bytes += stored;
                }
                Ok(_) => {}
                Err(error) => ended = cut(error)?,
            }
        }
        if reader.end().is_some() {
            ended = Ended::Clean;
        }
        summary.threads = threads.len() as u64;
        summary.clean = ended == Ended::Clean;
        summary.ended = ended.to_string();
        summary.counts = reader.seen();
        summary.file_bytes = reader.progress().0;
        summary.properties = reader.properties().clone();
        Ok(summary)
    }

    /// Bytes of data that was transferred, for each byte that it takes in the file.
    pub fn saving(&self) -> Option<f64> {
        let moved = self.input_bytes + self.output_bytes + self.host_memory_bytes;
        (self.stored_bytes > 0).then(|| moved as f64 / self.stored_bytes as f64)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties = &self.properties;
        let arguments: Vec<_> = properties.all("argument").collect();
        let program = properties.get("program").unwrap_or("unknown");
        writeln!(f, "program    {program} {}", arguments.join(" "))?;
        for (key, title) in [
            ("pid", "pid       "),
            ("host", "host      "),
            ("device", "device    "),
            ("writer", "written by"),
        ] {
            for value in properties.all(key) {
                writeln!(f, "{title} {value}")?;
            }
        }
        let seconds = self.duration as f64 / 1e9;
        let Counts {
            commands,
            answers,
            transfers,
            blobs,
        } = self.counts;
        writeln!(
            f,
            "commands   {commands} on {} threads in {seconds:.6} s; {} waited for, {answers} \
             answered, {} failed",
            self.threads, self.waited_for, self.failed
        )?;
        writeln!(
            f,
            "data       {} bytes in, {} bytes out, {} bytes of host memory, in {transfers} pieces",
            self.input_bytes, self.output_bytes, self.host_memory_bytes
        )?;
        write!(
            f,
            "stored     {blobs} blobs of {} bytes as {} bytes",
            self.blob_bytes, self.stored_bytes
        )?;
        match self.saving() {
            Some(saving) => writeln!(f, " ({saving:.1} bytes of data in each)")?,
            None => writeln!(f)?,
        }
        writeln!(f, "file       {} bytes", self.file_bytes)?;
        writeln!(f, "end        {}", self.ended)?;
        for (title, list) in [
            ("CUDA functions", &self.functions),
            ("device commands", &self.commands),
        ] {
            writeln!(f, "\n{title}:")?;
            let mut list: Vec<_> = list.iter().collect();
            list.sort_by_key(|&(name, count)| (std::cmp::Reverse(*count), name.clone()));
            for (name, count) in list {
                writeln!(f, "{count:>10}  {name}")?;
            }
        }
        Ok(())
    }
}
