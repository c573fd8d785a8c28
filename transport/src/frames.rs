// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages over a Unix socket: a little-endian u32 length, that many bytes in postcard's encoding,
//! and file descriptors with the first of them.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::TransportError;

/// Most descriptors of one message.
pub(crate) const MAX_DESCRIPTORS: usize = 32;

/// A message as bytes.
pub(crate) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, TransportError> {
    postcard::to_stdvec(message).map_err(|e| TransportError::Message(e.to_string()))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TransportError> {
    postcard::from_bytes(bytes).map_err(|e| TransportError::Message(format!("{e}.")))
}

pub(crate) fn send<T: Serialize>(
    mut stream: &UnixStream,
    message: &T,
    fds: &[BorrowedFd<'_>],
) -> Result<(), TransportError> {
    if fds.len() > MAX_DESCRIPTORS {
        return Err(TransportError::Descriptors(fds.len()));
    }
    let body = encode(message)?;
    let len = u32::try_from(body.len())
        .map_err(|_| TransportError::Message(format!("it would have {} bytes.", body.len())))?;
    let mut bytes = len.to_le_bytes().to_vec();
    bytes.extend(body);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(fds));
    }
    let sent = sendmsg(
        stream,
        &[IoSlice::new(&bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )
    .map_err(std::io::Error::from)?;
    Ok(stream.write_all(&bytes[sent..])?)
}

/// Waits for a message of at most `limit` bytes.
pub(crate) fn receive<T: DeserializeOwned>(
    mut stream: &UnixStream,
    limit: usize,
) -> Result<(T, Vec<OwnedFd>), TransportError> {
    let (len, fds) = receive_start(stream)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > limit {
        return Err(TransportError::Message(format!(
            "it claims {len} bytes, and {limit} are allowed."
        )));
    }
    let mut body = vec![0; len];
    stream.read_exact(&mut body)?;
    Ok((decode(&body)?, fds))
}

/// The length of the message, and the descriptors that came with it.
fn receive_start(mut stream: &UnixStream) -> Result<([u8; 4], Vec<OwnedFd>), TransportError> {
    let mut len = [0; 4];
    let mut fds = Vec::new();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(
            stream,
            &mut [IoSliceMut::new(&mut len)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(received) => break received,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    };
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
