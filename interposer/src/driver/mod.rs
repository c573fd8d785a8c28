// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CUDA Driver API, one module for each chapter of its manual.
//!
//! A function here checks its arguments, finds what its handles mean, and hands the work to the
//! pieces that both APIs share. What the Runtime API does by itself a program does here: it calls
//! cuInit first, and makes a context current before it uses a device ([`contexts::bound`]).
//!
//! The names without `_v2` that have one are functions of CUDA 3.1 and older, whose sizes and
//! device addresses have 32 bits. No 64-bit program can use them; they are stubs. Where only the
//! meaning changed, both names are here (`cuCtxDestroy | cuCtxDestroy_v2`).
//!
//! [`contexts::bound`]: crate::contexts::bound

// The names are CUDA's.
#![allow(non_snake_case)]

mod context;
mod copy;
mod device;
mod entry_point;
mod error;
mod event;
mod fill;
mod function;
mod graph;
mod jit;
mod launch;
mod library;
mod memory;
mod module;
mod occupancy;
mod pointer;
mod pool;
mod primary_context;
mod stream;
mod texture;
