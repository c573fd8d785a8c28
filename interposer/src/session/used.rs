// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which streams there may be work on: one that was waited for and not used since needs no waiting.

use std::sync::atomic::{AtomicU64, Ordering};

use vcuda_protocol::{Command, Stream, layout};

/// Streams whose use is remembered. Those with higher numbers count as used.
const STREAMS: usize = 4096;
const WORDS: usize = STREAMS / 64;

/// A bit for each stream: the legacy streams of all devices, then the others by their ids.
pub(crate) struct Used([AtomicU64; WORDS]);

fn place(stream: Stream) -> Option<(usize, u64)> {
    let index = match stream.id {
        Stream::LEGACY => stream.device as usize,
        id => layout::MAX_DEVICES + id as usize,
    };
    (index < STREAMS).then_some((index / 64, 1 << (index % 64)))
}

impl Used {
    pub(crate) fn new() -> Self {
        Used([const { AtomicU64::new(0) }; WORDS])
    }

    /// A command was sent. Called behind that, so that a stream which somebody begins to wait for in
    /// between stays used.
    pub(super) fn note(&self, command: &Command) {
        let stream = match command {
            Command::Launch { stream, .. }
            | Command::Copy { stream, .. }
            | Command::Fill { stream, .. }
            | Command::EventRecord { stream, .. }
            | Command::StreamWaitEvent { stream, .. }
            | Command::MemAllocAsync { stream, .. }
            | Command::MemFreeAsync { stream, .. }
            | Command::HostFunction { stream, .. } => *stream,
            _ => return,
        };
        if let Some((word, bit)) = place(stream)
            && self.0[word].load(Ordering::Relaxed) & bit == 0
        {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether there may be work on a stream. It counts as unused from now on: the caller waits for
    /// it.
    pub(crate) fn take(&self, stream: Stream) -> bool {
        match place(stream) {
            // The default stream is as far as the streams are that it waits for.
            Some(_) if stream.id == Stream::LEGACY && self.any() => true,
            Some((word, bit)) => {
                self.0[word].load(Ordering::Relaxed) & bit != 0
                    && self.0[word].fetch_and(!bit, Ordering::AcqRel) & bit != 0
            }
            None => true,
        }
    }

    /// Whether there may be work on any stream.
    pub(crate) fn any(&self) -> bool {
        self.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// The same. All streams count as unused from now on: the caller waits for them.
    pub(crate) fn take_all(&self) -> bool {
        let mut used = false;
        for word in self.0.iter().filter(|w| w.load(Ordering::Relaxed) != 0) {
            word.store(0, Ordering::Release);
            used = true;
        }
        used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stream: Stream) -> Command {
        Command::EventRecord { event: 1, stream }
    }

    fn stream(device: u32, id: u32) -> Stream {
        Stream { device, id }
    }

    #[test]
    fn a_stream_is_waited_for_once_after_it_was_used() {
        let used = Used::new();
        assert!(!used.take(stream(0, 5)));
        used.note(&record(stream(0, 5)));
        assert!(!used.take(stream(0, 6)) && used.take(stream(0, 5)) && !used.take(stream(0, 5)));
    }

    #[test]
    fn the_default_stream_is_used_while_another_is() {
        let used = Used::new();
        used.note(&record(stream(1, 9)));
        assert!(used.take(stream(0, 0)) && used.take(stream(0, 0)));
        assert!(used.take_all() && !used.take_all() && !used.take(stream(0, 0)));
    }

    #[test]
    fn what_is_not_remembered_counts_as_used() {
        let used = Used::new();
        assert!(used.take(stream(0, u32::MAX)) && used.take(stream(0, STREAMS as u32)));
    }
}
