// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one list of CUDA functions: names, versions, and whether vcuda implements them
