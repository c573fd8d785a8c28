// SPDX-License-Identifier: MIT OR Apache-2.0
//! PTX on a CPU: parse, check, lower, and run thread blocks
