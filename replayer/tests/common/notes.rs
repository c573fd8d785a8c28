// SPDX-License-Identifier: MIT OR Apache-2.0
//! An observer for tests.

use parking_lot::Mutex;
use vcuda_protocol::*;
use vcuda_replayer::Observer;

/// Writes down what it sees.
#[derive(Default)]
pub struct Notes(Mutex<Vec<String>>);

impl Notes {
    fn note(&self, line: String) {
        self.0.lock().push(line);
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Observer for Notes {
    fn command(&self, header: &Header, command: &Command) {
        self.note(format!("{} {}", header.sequence, command.name()));
    }
    fn answer(&self, sequence: u64, reply: &Result<Reply, Status>) {
        let reply = match reply {
            Ok(reply) => reply.kind().to_owned(),
            Err(status) => status.0.to_string(),
        };
        self.note(format!("{sequence} = {reply}"));
    }
    fn input(&self, sequence: u64, offset: u64, bytes: &[u8]) {
        self.note(format!("{sequence} < {offset} {bytes:?}"));
    }
    fn output(&self, sequence: u64, offset: u64, bytes: &[u8]) {
        self.note(format!("{sequence} > {offset} {bytes:?}"));
    }
    fn host_memory(&self, sequence: u64, address: u64, bytes: &[u8]) {
        self.note(format!("{sequence} * {address:#x} {}", bytes.len()));
    }
    fn finish(&self) -> std::io::Result<()> {
        self.note("finish".into());
        Ok(())
    }
}
