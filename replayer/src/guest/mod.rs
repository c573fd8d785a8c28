// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client in a virtual machine, as its worker sees it: the pages of the guest that its driver
//! made known, which the daemon between them passes on.

mod channel;
mod table;

pub use channel::{Channel, ChannelError, Greeted};
pub use table::GuestTable;
