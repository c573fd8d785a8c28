// SPDX-License-Identifier: MIT OR Apache-2.0
//! A trace file: every record is read, and every piece of data that it refers to.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vcuda_protocol::trace::{Reader, Record};

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::new(data) else {
        return;
    };
    while let Some(Ok(record)) = reader.next() {
        if let Record::Transfer { content, .. } = &record {
            let _ = reader.bytes(content);
        }
    }
});
