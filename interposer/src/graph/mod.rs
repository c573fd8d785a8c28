// SPDX-License-Identifier: MIT OR Apache-2.0
//! CUDA graphs (CUDA Runtime API, "Graph Management"; CUDA Programming Guide, "CUDA Graphs").
//!
//! A graph is a thing of this library alone: launching one issues its nodes as commands on the
//! launch stream, in an order that keeps to its edges, which is one of the executions that CUDA
//! allows. So the protocol, recordings and devices know no graphs.
//!
//! - [`operation`]: what a node does. It is the value that an immediate call makes and issues.
//! - [`structure`]: nodes and edges, and their order.
//! - [`table`]: the graphs and nodes of the program, by handle.
//! - [`capture`]: streams whose work goes into a graph.
//! - [`exec`]: graphs that can be launched.
//! - [`arguments`]: what the functions take and give.
//! - [`functions`]: the functions that both APIs have alike. Those whose structures differ are in
//!   `runtime/graph.rs` and `driver/graph.rs`.

pub(crate) mod arguments;
pub(crate) mod capture;
pub(crate) mod exec;
mod functions;
mod operation;
mod structure;
pub(crate) mod table;

pub(crate) use capture::add as capture;
pub(crate) use operation::{HostCall, Operation};
