// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watching a session: the recorder is an observer.

use vcuda_protocol::{Command, Header, Reply, Status};

/// Sees everything that a session does, in the order of the stream. Called from several threads.
///
/// Calls for one command come in the order in which its work happens: `command` first, then the
/// bytes that it took, then the bytes that it gave, then its answer. `offset` counts packed bytes:
/// rows follow each other without the gaps of their pitch.
pub trait Observer: Send + Sync {
    /// A command is about to be executed. Called in the order of sequence numbers.
    fn command(&self, header: &Header, command: &Command);

    /// A command was answered, or a posted one failed. A posted command that succeeds has no
    /// answer. A launch that faults while it runs is answered with its error once that is known.
    fn answer(&self, sequence: u64, reply: &Result<Reply, Status>);

    /// Somebody waits for an answer, which `deliver` gives. What an observer does behind that costs
    /// nobody time, but nothing may come between in what it notes: the client acts on the answer.
    fn answering(&self, sequence: u64, reply: &Result<Reply, Status>, deliver: &mut dyn FnMut()) {
        if let Ok(Reply::Data(bytes)) = reply {
            self.output(sequence, 0, &bytes.0);
        }
        self.answer(sequence, reply);
        deliver();
    }

    /// Bulk bytes that a copy or a module load took from host memory (the window), when they were
    /// read, in pieces.
    fn input(&self, sequence: u64, offset: u64, bytes: &[u8]);

    /// Bulk bytes that a copy gave to host memory, in pieces. Those that it gave in its reply come
    /// with that, in one piece.
    fn output(&self, sequence: u64, offset: u64, bytes: &[u8]);

    /// The contents of a whole managed or pinned host allocation, before a launch that could see
    /// it.
    fn host_memory(&self, sequence: u64, address: u64, bytes: &[u8]);

    /// The session ends. Returns when all that was observed is on its way to the file.
    fn finish(&self) -> std::io::Result<()>;
}
