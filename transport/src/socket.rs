// SPDX-License-Identifier: MIT OR Apache-2.0
//! The greeting: one message each way, the client's with its memory as file descriptors.
//!
//! A message is a little-endian u32 length and that many bytes in postcard's encoding.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use vcuda_protocol::handshake::{Hello, Welcome};
use vcuda_protocol::layout;

use crate::{Memory, TransportError};

/// Longest greeting: paths and reasons are short.
const MAX_GREETING: usize = 64 << 10;
/// A worker answers at once; one that does not within this time never will.
const PATIENCE: Duration = Duration::from_secs(30);

fn frame<T: Serialize>(message: &T) -> Result<Vec<u8>, TransportError> {
    let body = postcard::to_stdvec(message).map_err(|e| TransportError::Message(e.to_string()))?;
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(body);
    Ok(bytes)
}

fn read_frame<T: DeserializeOwned>(
    mut stream: &UnixStream,
    len: [u8; 4],
) -> Result<T, TransportError> {
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_GREETING {
        return Err(TransportError::Message(format!(
            "it claims {len} bytes, and {MAX_GREETING} are allowed."
        )));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    postcard::from_bytes(&body).map_err(|e| TransportError::Message(format!("{e}.")))
}

/// Client: sends the greeting and the two pieces of memory, and returns the worker's answer.
pub fn greet(
    mut stream: &UnixStream,
    hello: &Hello,
    control: &Memory,
    window: &Memory,
) -> Result<Welcome, TransportError> {
    let bytes = frame(hello)?;
    let fds = [control.as_fd(), window.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map_err(std::io::Error::from)?;
    stream.write_all(&bytes[sent..])?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut len = [0; 4];
    stream.read_exact(&mut len).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => TransportError::Closed,
        _ => e.into(),
    })?;
    let welcome = read_frame(stream, len);
    stream.set_read_timeout(None)?;
    welcome
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
        reply(stream, &Welcome::Accepted { devices })
    }

    pub fn refuse(&self, stream: &UnixStream, reason: String) -> Result<(), TransportError> {
        reply(stream, &Welcome::Refused { reason })
    }
}

fn reply(mut stream: &UnixStream, welcome: &Welcome) -> Result<(), TransportError> {
    Ok(stream.write_all(&frame(welcome)?)?)
}

/// Worker: receives a client's greeting. A client of another build is told so.
pub fn accept(stream: &UnixStream) -> Result<Guest, TransportError> {
    let (len, fds) = receive_start(stream)?;
    let checked = (|| {
        let hello: Hello = read_frame(stream, len)?;
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

/// The length of the first message, and the descriptors that came with it.
fn receive_start(mut stream: &UnixStream) -> Result<([u8; 4], Vec<OwnedFd>), TransportError> {
    let mut len = [0; 4];
    let mut fds = Vec::new();
    // Room for more than belong here, so that a wrong count is seen rather than cut off.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut len)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(std::io::Error::from)?;
    if received.bytes == 0 {
        return Err(TransportError::Closed);
    }
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    stream.read_exact(&mut len[received.bytes..])?;
    Ok((len, fds))
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
        assert_eq!(welcome.unwrap(), Welcome::Accepted { devices: 2 });
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
