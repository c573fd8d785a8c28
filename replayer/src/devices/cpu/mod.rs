// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that executes kernels on the processor.

#[allow(dead_code)]
mod scheduler;
