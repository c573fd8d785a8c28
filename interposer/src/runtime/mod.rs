// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CUDA Runtime API, one module for each chapter of its manual.
//!
//! A function here checks its arguments, finds what its handles mean, and hands the work to the
//! pieces that both APIs share. A name whose meaning changed between releases has a body for each
//! meaning (`cudaGetDeviceProperties__v11`); the version node that a program asks for chooses one.

// The names are CUDA's.
#![allow(non_snake_case)]

mod array;
mod array_copy;
mod copy;
mod device;
mod entry_point;
mod error;
mod event;
mod execution;
mod function;
mod graph;
#[cfg(test)]
mod layouts;
mod memory;
mod pointer;
mod pool;
mod properties;
mod registration;
mod stream;
mod symbols;
mod texture;
