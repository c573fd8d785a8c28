// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands and replies as bytes.
//!
//! A message is a [`Header`] followed by a [`Command`], both in postcard's encoding (little-endian
//! base-128 integers, enums by variant index, strings and byte strings by length). A reply is a
//! [`Status`] followed, on success, by a [`Reply`]. Decoding copies what it returns and never
//! allocates more than the message is long.

use crate::command::{Command, Header};
use crate::short::{self, NotShort};
use crate::types::{Reply, Status};

/// Longest message that goes through the ring. Larger data travels in the window.
pub const MAX_MESSAGE: usize = 64 << 10;

/// A message that could not be encoded or understood.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("A message of {0} bytes was cut off or is not well formed: {1}.")]
    Malformed(usize, postcard::Error),
    #[error("A message of {0} bytes has {1} bytes that belong to no field.")]
    TrailingBytes(usize, usize),
    #[error("A message of {0} bytes exceeds the limit of {MAX_MESSAGE}.")]
    TooLong(usize),
    #[error("A message could not be encoded: {0}.")]
    Encode(postcard::Error),
}

/// Appends a message to `out`.
pub fn encode(out: &mut Vec<u8>, header: &Header, command: &Command) -> Result<(), WireError> {
    let start = out.len();
    append(out, &(header, command))?;
    match out.len() - start {
        len if len > MAX_MESSAGE => Err(WireError::TooLong(len)),
        _ => Ok(()),
    }
}

/// Reads one message that fills all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<(Header, Command), WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::TooLong(bytes.len()));
    }
    whole(bytes)
}

/// Appends a reply to `out`.
pub fn encode_reply(out: &mut Vec<u8>, reply: &Result<Reply, Status>) -> Result<(), WireError> {
    match reply {
        Ok(reply) => append(out, &(Status::SUCCESS, reply)),
        Err(status) => append(out, status),
    }
}

/// Reads one reply that fills all of `bytes`.
pub fn decode_reply(bytes: &[u8]) -> Result<Result<Reply, Status>, WireError> {
    let (status, rest): (Status, &[u8]) =
        postcard::take_from_bytes(bytes).map_err(|e| WireError::Malformed(bytes.len(), e))?;
    if !status.is_success() {
        return match rest.len() {
            0 => Ok(Err(status)),
            extra => Err(WireError::TrailingBytes(bytes.len(), extra)),
        };
    }
    whole(rest).map(Ok)
}

fn append<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) -> Result<(), WireError> {
    put(out, value).map_err(WireError::Encode)
}

/// Appends a value in postcard's encoding.
pub(crate) fn put<T: serde::Serialize>(out: &mut Vec<u8>, value: &T) -> postcard::Result<()> {
    const SHORT: usize = 256;
    let start = out.len();
    out.resize(start + SHORT, 0);
    let written = short::write(&mut out[start..], value);
    out.truncate(start + *written.as_ref().unwrap_or(&0));
    match written {
        Ok(_) => Ok(()),
        Err(NotShort) => postcard::to_io(value, out).map(drop),
    }
}

fn whole<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    let (value, rest) =
        postcard::take_from_bytes(bytes).map_err(|e| WireError::Malformed(bytes.len(), e))?;
    match rest.len() {
        0 => Ok(value),
        extra => Err(WireError::TrailingBytes(bytes.len(), extra)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::*;
    use proptest::prelude::*;

    fn launch(params: Vec<u8>) -> Command {
        Command::Launch {
            stream: Stream { device: 0, id: 4 },
            function: 9,
            grid: Dim3 { x: 1, y: 2, z: 3 },
            block: Dim3 { x: 32, y: 1, z: 1 },
            dynamic_shared: 0,
            cooperative: false,
            params: Bytes(params),
        }
    }

    fn header() -> Header {
        Header {
            sequence: u64::MAX,
            api: 3,
            thread: 1,
            time: 5,
            slot: Some(2),
        }
    }

    #[test]
    fn a_command_survives_the_wire() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &header(), &launch(vec![7; 100])).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (header(), launch(vec![7; 100])));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let mut bytes = Vec::new();
        encode(&mut bytes, &header(), &launch(vec![7; 40])).unwrap();
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "{len} bytes were accepted");
        }
        bytes.push(0);
        assert!(matches!(
            decode(&bytes),
            Err(WireError::TrailingBytes(_, 1))
        ));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_on_both_sides() {
        let mut bytes = Vec::new();
        let long = launch(vec![0; MAX_MESSAGE]);
        assert!(matches!(
            encode(&mut bytes, &header(), &long),
            Err(WireError::TooLong(_))
        ));
        assert!(matches!(decode(&bytes), Err(WireError::TooLong(_))));
    }

    #[test]
    fn a_failed_reply_carries_its_status_and_nothing_else() {
        let mut bytes = Vec::new();
        encode_reply(&mut bytes, &Err(Status(700))).unwrap();
        assert_eq!(decode_reply(&bytes).unwrap(), Err(Status(700)));
        bytes.push(1);
        assert!(decode_reply(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
            let _ = decode_reply(&bytes);
        }
    }
}
