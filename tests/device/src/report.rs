// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the device saw of the driver.

use std::fmt;

/// What the device saw of the driver.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub requests: u64,
    pub transferred: u64,
    /// Rules that the driver broke.
    pub violations: Vec<String>,
    /// What it left behind.
    pub sessions: usize,
    pub memories: usize,
    pub chains: usize,
}

impl Report {
    pub fn is_clean(&self) -> bool {
        self.violations.is_empty() && self.sessions == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests, {} bytes transferred, {} violations; left are {} sessions, {} memories, {} chains",
            self.requests,
            self.transferred,
            self.violations.len(),
            self.sessions,
            self.memories,
            self.chains
        )
    }
}
