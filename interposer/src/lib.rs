// SPDX-License-Identifier: MIT OR Apache-2.0
//! libvcuda.so: the CUDA Runtime and Driver API over a vcuda session.
//!
//! A program finds this library by LD_PRELOAD, as libcuda.so.1 (its SONAME), or behind a
//! libcudart shim. The Runtime API ([`runtime`]) and the Driver API ([`driver`]) are thin layers
//! over the same pieces: devices and contexts, streams and events, memory, copies, modules,
//! launches. These turn calls into device commands and send them through the [`session`] to a
//! worker process. No CUDA work is done here, and no thread is started but those that call the
//! program's own functions for its streams ([`host_functions`]).
//!
//! Which functions exist, and which of them are implemented, stands in `vcuda-api` and nowhere
//! else; what is not implemented is a loud stub ([`stubs`]).

mod abi;
mod arrays;
mod contexts;
mod copy;
mod driver;
mod entry;
mod entry_points;
mod error;
mod fill;
mod graph;
mod handles;
mod host_functions;
mod images;
mod in_place;
mod launch;
mod launch_attributes;
mod libraries;
mod managed;
mod memory;
mod modules;
mod peers;
mod pools;
mod release;
mod runtime;
mod session;
mod settings;
mod streams;
mod stubs;
mod thread;
mod view;

/// What a call comes to: CUDA's own error codes.
pub(crate) type Result<T> = std::result::Result<T, vcuda_protocol::Status>;
