// SPDX-License-Identifier: MIT OR Apache-2.0
//! What client and worker say to each other before the first command.

use serde::{Deserialize, Serialize};

/// The client's first words. The control memory and the window come with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::HASH`] of the client.
    pub protocol: u64,
    /// Hash of the client's list of functions, by which [`crate::Header::api`] is to be read.
    pub functions: u64,
    pub pid: u32,
    /// The program's path or name, for logs and recordings.
    pub program: String,
    /// Bytes of the window, and the address at which the client has mapped it. The worker maps it
    /// there too, so that pinned and managed memory has one address on both sides.
    pub window_len: u64,
    pub window_base: u64,
    /// The file to record to, where the worker may write files of the client's choice.
    pub record: Option<String>,
}

/// The worker's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Welcome {
    Accepted { devices: u32 },
    Refused { reason: String },
}
