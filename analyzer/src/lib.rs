// SPDX-License-Identifier: MIT OR Apache-2.0
//! Says what a CUDA binary needs, and writes the shim libraries it is missing
