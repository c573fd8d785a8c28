// SPDX-License-Identifier: MIT OR Apache-2.0
//! Execution: runs the lowered code of a kernel for a grid of thread blocks.
//!
//! `grid` hands blocks to threads, `block` gives turns to warps, `convoy` runs warps that are at one
//! place together, `warp` chooses which lanes of a warp run, and a handler (in `lanes`, `load`, `store`, `atomic`, `control`, `collective`, `system`)
//! executes one instruction for them; one in `chain`, `computed` or `indexed` a sequence of
//! instructions.

pub(crate) mod access;
pub(crate) mod apply;
pub(crate) mod atomic;
mod block;
pub(crate) mod chain;
pub(crate) mod code;
pub(crate) mod collective;
pub(crate) mod computed;
mod context;
pub(crate) mod control;
pub(crate) mod convoy;
pub(crate) mod fault;
pub(crate) mod fragment;
pub(crate) mod frame;
mod grid;
pub(crate) mod indexed;
pub(crate) mod isa;
mod knowledge;
pub(crate) mod lanes;
pub(crate) mod load;
pub(crate) mod local;
pub(crate) mod matrix;
pub(crate) mod mbarrier;
mod printf;
pub(crate) mod product;
mod schedule;
pub(crate) mod special;
pub(crate) mod stack;
pub(crate) mod store;
pub(crate) mod surface;
pub(crate) mod system;
pub(crate) mod texture;
mod traffic;
pub(crate) mod value;
mod warp;
pub(crate) mod watch;
pub(crate) mod window;

pub(crate) use context::Context;
pub use fault::{Assertion, Fault, Place, SourceLine};
pub use grid::{Engine, Launch, Limits};
pub use isa::Lanes;
pub use schedule::Schedule;
pub use system::Output;
pub use watch::{Checks, Finding, Findings, Mistake};
