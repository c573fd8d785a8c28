// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands, replies, ring and trace format of vcuda
