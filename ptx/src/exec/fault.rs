// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a kernel stopped before its end.

use core::fmt;

/// Where in a launch something happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The kernel.
    pub kernel: String,
    /// Line of the PTX text, from 1; 0 if unknown.
    pub line: u32,
    /// The line of the source, if the PTX says it (`nvcc -lineinfo`).
    pub source: Option<Box<SourceLine>>,
    /// `%ctaid`
    pub block: [u32; 3],
    /// `%tid`
    pub thread: [u32; 3],
}

/// A line of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The file, as the compiler was given it.
    pub file: String,
    /// Its line, from 1.
    pub line: u32,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [bx, by, bz] = self.block;
        let [tx, ty, tz] = self.thread;
        write!(f, "Kernel {}, ", self.kernel)?;
        if let Some(source) = &self.source {
            write!(f, "{source}, ")?;
        }
        write!(
            f,
            "PTX line {}, block ({bx},{by},{bz}), thread ({tx},{ty},{tz})",
            self.line
        )
    }
}

/// What `__assertfail` was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    /// The source file.
    pub file: String,
    /// The line in it.
    pub line: u32,
    /// The function in it.
    pub function: String,
    /// What does not hold.
    pub message: String,
    /// `%tid` of the threads for which it does not hold: those of a warp that got there together.
    pub threads: Vec<[u32; 3]>,
}

/// The sentence of CUDA, a line for each thread (CUDA C++ Programming Guide, "Assertion").
struct Failed<'a>(&'a Place, &'a Assertion);

impl fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed(place, assertion) = self;
        let [bx, by, bz] = place.block;
        for (i, [tx, ty, tz]) in assertion.threads.iter().enumerate() {
            write!(
                f,
                "{}{}:{}: {}: block: [{bx},{by},{bz}], thread: [{tx},{ty},{tz}] Assertion `{}` failed.",
                if i == 0 { "" } else { "\n" },
                assertion.file,
                assertion.line,
                assertion.function,
                assertion.message
            )?;
        }
        Ok(())
    }
}

/// Why a kernel stopped before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An access outside of allocated memory.
    #[error(
        "{place}: the {access} of {size} bytes at {space} address {address:#x} is outside of allocated memory{hint}."
    )]
    IllegalAddress {
        /// Where.
        place: Place,
        /// The address within its state space.
        address: u64,
        /// Bytes accessed by the thread.
        size: u32,
        /// "load", "store" or "atomic operation".
        access: &'static str,
        /// "global", "shared", ...
        space: &'static str,
        /// What lies at or near the address, as a phrase in parentheses; may be empty.
        hint: Box<str>,
    },
    /// An address that is not a multiple of the size of the access.
    #[error("{place}: the {access} of {size} bytes at {space} address {address:#x} is misaligned.")]
    Misaligned {
        /// Where.
        place: Place,
        /// The address.
        address: u64,
        /// Bytes accessed by the thread.
        size: u32,
        /// "load", "store" or "atomic operation".
        access: &'static str,
        /// "global", "shared", ...
        space: &'static str,
    },
    /// The kernel executed `trap`.
    #[error("{place}: the kernel executed a trap instruction.")]
    Trap {
        /// Where.
        place: Place,
    },
    /// A device-side assertion failed.
    #[error("{}", Failed(place, assertion))]
    Assert {
        /// Where in the PTX, and in the grid.
        place: Place,
        /// What does not hold, and where in the source.
        assertion: Box<Assertion>,
    },
    /// A barrier that can never complete.
    #[error("{place}: barrier {barrier} can never complete; {waiting}.")]
    BarrierDeadlock {
        /// Where the first waiting thread is.
        place: Place,
        /// Number of the barrier, or 16 and above for a wait within a warp.
        barrier: u32,
        /// Who waits, as a phrase.
        waiting: String,
    },
    /// An indirect call or branch to something that is not a target.
    #[error("{place}: {what} to {target:#x}, which is not a valid target.")]
    InvalidTarget {
        /// Where.
        place: Place,
        /// "an indirect call" or "an indexed branch".
        what: &'static str,
        /// The address or index.
        target: u64,
    },
    /// Something that does not exist is used.
    #[error("{place}: {what} {object:#x}, which does not exist.")]
    InvalidObject {
        /// Where.
        place: Place,
        /// "use of the texture or surface object", "free of the address".
        what: &'static str,
        /// Its number.
        object: u64,
    },
    /// Calls nest too deep.
    #[error("{place}: the call stack passed {limit} bytes.")]
    StackOverflow {
        /// Where.
        place: Place,
        /// The limit in bytes.
        limit: u64,
    },
    /// The time limit of the launch passed.
    #[error("Kernel {kernel} ran longer than {limit:?}.")]
    TimeLimit {
        /// The kernel.
        kernel: String,
        /// The limit.
        limit: core::time::Duration,
    },
    /// The abort flag of the launch was set.
    #[error("Kernel {kernel} was aborted.")]
    Aborted {
        /// The kernel.
        kernel: String,
    },
    /// A worker thread of the engine failed: a defect of this crate, not of the kernel.
    #[error("Kernel {kernel} did not finish, because a worker thread of the engine failed.")]
    WorkerFailed {
        /// The kernel.
        kernel: String,
    },
    /// The launch does not fit the kernel or the engine.
    #[error("Kernel {kernel} cannot be launched: {reason}.")]
    InvalidLaunch {
        /// The kernel.
        kernel: String,
        /// What does not fit.
        reason: String,
    },
}

/// A fault as a handler sees it: the lane is known, the rest is added later.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    IllegalAddress {
        lane: u32,
        address: u64,
        size: u32,
        access: &'static str,
        space: &'static str,
    },
    Misaligned {
        lane: u32,
        address: u64,
        size: u32,
        access: &'static str,
        space: &'static str,
    },
    Trap {
        lane: u32,
    },
    InvalidTarget {
        lane: u32,
        what: &'static str,
        target: u64,
    },
    InvalidObject {
        lane: u32,
        what: &'static str,
        object: u64,
    },
    StackOverflow {
        lane: u32,
        limit: u64,
    },
    Assert {
        /// The first of `lanes`.
        lane: u32,
        lanes: u32,
        assertion: Box<Assertion>,
    },
}

impl Trouble {
    pub fn lane(&self) -> u32 {
        match self {
            Trouble::IllegalAddress { lane, .. }
            | Trouble::Misaligned { lane, .. }
            | Trouble::Trap { lane }
            | Trouble::InvalidTarget { lane, .. }
            | Trouble::InvalidObject { lane, .. }
            | Trouble::StackOverflow { lane, .. }
            | Trouble::Assert { lane, .. } => *lane,
        }
    }
}
