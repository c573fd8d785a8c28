// SPDX-License-Identifier: MIT OR Apache-2.0
//! The greeting: one message each way, the client's with its memory as file descriptors.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout;

use crate::{Memory, TransportError, frames};

/// Longest greeting: paths and reasons are short.
const MAX_GREETING: usize = 64 << 10;
/// A worker answers at once; one that does not within this time never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// Client: sends the greeting and the two pieces of memory, and returns the worker's answer.
pub fn greet(
    stream: &UnixStream,
    hello: &Hello,
    control: &Memory,
    window: &Memory,
) -> Result<Welcome, TransportError> {
    frames::send(stream, hello, &[control.as_fd(), window.as_fd()])?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let welcome = frames::receive(stream, MAX_GREETING);
    stream.set_read_timeout(None)?;
    Ok(welcome?.0)
}

/// A client that greeted us, checked as far as its memory goes.
#[derive(Debug)]
pub struct Guest {
    pub hello: Hello,
    pub control: Memory,
    pub window: Memory,
}

impl Guest {
    pub fn welcome(&self, stream: &UnixStream, devices: u32) -> Result<(), TransportError> {
        reply(stream, &Welcome::accepted(devices))
    }

    pub fn refuse(&self, stream: &UnixStream, reason: String) -> Result<(), TransportError> {
        reply(stream, &Welcome::Refused { reason })
    }
}

fn reply(stream: &UnixStream, welcome: &Welcome) -> Result<(), TransportError> {
    frames::send(stream, welcome, &[])
}

/// Worker: receives a client's greeting. A client of another build is told so.
pub fn accept(stream: &UnixStream) -> Result<Guest, TransportError> {
    let checked = (|| {
        let (hello, fds) = frames::receive::<Hello>(stream, MAX_GREETING)?;
        if hello.protocol != vcuda_protocol::HASH {
            return Err(TransportError::Protocol {
                client: hello.protocol,
                worker: vcuda_protocol::HASH,
            });
        }
        let [control, window] =
            <[OwnedFd; 2]>::try_from(fds).map_err(|fds| TransportError::Descriptors(fds.len()))?;
        Ok(Guest {
            control: Memory::received(control, layout::CONTROL_LEN as u64)?,
            window: Memory::received(window, hello.window_len)?,
            hello,
        })
    })();
    if let Err(error) = &checked {
        let _ = reply(
            stream,
            &Welcome::Refused {
                reason: error.to_string(),
            },
        );
    }
    checked
}

/// Whether the peer has closed its end. Does not wait.
pub fn hung_up(stream: &UnixStream) -> bool {
    poll_hangup(stream, Some(Duration::ZERO))
}

/// Returns when the peer has closed its end.
pub fn wait_for_hangup(stream: &UnixStream) {
    while !poll_hangup(stream, None) {}
}

fn poll_hangup(stream: &UnixStream, timeout: Option<Duration>) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let timeout = timeout.map(|t| t.try_into().unwrap_or_default());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(0) | Err(rustix::io::Errno::INTR) => false,
        Ok(_) => fds[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
        // A socket that cannot be polled will tell nothing more.
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn hello() -> Hello {
        Hello {
            protocol: vcuda_protocol::HASH,
            functions: 0,
            pid: 1,
            program: "test".into(),
            window_len: layout::STAGING_LEN,
            window_base: 0,
            record: None,
        }
    }

    fn meet(
        hello: Hello,
        window_len: u64,
    ) -> (
        Result<Welcome, TransportError>,
        Result<Guest, TransportError>,
    ) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let worker = std::thread::spawn(move || {
            let guest = accept(&theirs)?;
            guest.welcome(&theirs, 2)?;
            Ok(guest)
        });
        let control = Memory::create("control", layout::CONTROL_LEN as u64).unwrap();
        let window = Memory::create("window", window_len).unwrap();
        let welcome = greet(&ours, &hello, &control, &window);
        (welcome, worker.join().unwrap())
    }

    #[test]
    fn a_client_of_the_same_build_is_welcome() {
        let (welcome, guest) = meet(hello(), layout::STAGING_LEN);
        assert_eq!(welcome.unwrap(), Welcome::accepted(2));
        assert_eq!(guest.unwrap().hello, hello());
    }

    #[test]
    fn a_client_of_another_build_is_told_so() {
        let other = Hello {
            protocol: 1,
            ..hello()
        };
        let (welcome, guest) = meet(other, layout::STAGING_LEN);
        let Welcome::Refused { reason } = welcome.unwrap() else {
            panic!("it was accepted");
        };
        assert!(reason.contains("different builds"), "{reason}");
        assert!(matches!(
            guest,
            Err(TransportError::Protocol { client: 1, .. })
        ));
    }

    #[test]
    fn a_window_smaller_than_announced_is_refused() {
        let (welcome, guest) = meet(hello(), layout::STAGING_LEN / 2);
        assert!(matches!(welcome.unwrap(), Welcome::Refused { .. }));
        assert!(matches!(guest, Err(TransportError::WrongSize { .. })));
    }

    #[test]
    fn the_end_of_the_peer_is_seen() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(!hung_up(&ours));
        drop(theirs);
        assert!(hung_up(&ours));
        wait_for_hangup(&ours);
    }

    proptest! {
        #[test]
        fn random_greetings_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(&bytes).unwrap();
            drop(ours);
            prop_assert!(accept(&theirs).is_err());
        }
    }
}
