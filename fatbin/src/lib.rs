// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reader for CUDA fat binaries and cubins
