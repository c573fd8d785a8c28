// SPDX-License-Identifier: MIT OR Apache-2.0
//! What client and worker say to each other before the first command.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ring;

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
    Accepted {
        devices: u32,
        /// How long a side may look for news before it sleeps, by the processors that the worker's
        /// machine has to spare: for clients that run on others, and do not know.
        spin: Duration,
    },
    Refused {
        reason: String,
    },
}

impl Welcome {
    /// A worker of this machine that has so many devices.
    pub fn accepted(devices: u32) -> Welcome {
        Welcome::Accepted {
            devices,
            spin: ring::spin(),
        }
    }
}
