// SPDX-License-Identifier: MIT OR Apache-2.0
//! Executes command streams on a device, records and replays them

pub mod observer;

pub use observer::Observer;
