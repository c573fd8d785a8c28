// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ioctls of /dev/vcuda, as `guest-driver-c/include/uapi/linux/vcuda.h` has them.

use libc::{_IO, _IOR, _IOW, _IOWR, Ioctl};

pub const VERSION: u32 = 1;

pub const MEMORY_CONTROL: u32 = 1;
pub const MEMORY_WINDOW: u32 = 2;

pub const TO_DEVICE: u32 = 1;
pub const FROM_DEVICE: u32 = 2;

#[repr(C)]
#[derive(Default)]
pub struct Info {
    pub version: u32,
    pub session: u32,
    pub max_memory: u64,
    pub max_transfer: u64,
    pub reserved: [u64; 5],
}

#[repr(C)]
#[derive(Default)]
pub struct Start {
    pub greeting: u64,
    pub answer: u64,
    pub greeting_len: u32,
    pub answer_len: u32,
    pub reserved: [u64; 2],
}

#[repr(C)]
#[derive(Default)]
pub struct Memory {
    pub id: u64,
    pub len: u64,
    pub address: u64,
    pub kind: u32,
    pub flags: u32,
    pub map_offset: u64,
    pub reserved: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct Register {
    pub id: u64,
    pub address: u64,
    pub len: u64,
    pub flags: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct Transfer {
    pub id: u64,
    pub address: u64,
    pub len: u64,
    pub direction: u32,
    pub flags: u32,
}

#[repr(C)]
#[derive(Default)]
pub struct Wait {
    pub offset: u32,
    pub expected: u32,
    pub timeout_ns: u64,
}

/// Counted since the device appeared, over all sessions.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Descriptor chains given to the device.
    pub requests: u64,
    /// Doorbells rung.
    pub kicks: u64,
    pub events: u64,
    /// Times that a program slept until an event.
    pub sleeps: u64,
    /// Bytes that went between a program's own memory and the device.
    pub bytes_transferred: u64,
    /// Bytes of those that the kernel copied itself.
    pub bytes_copied: u64,
    /// Pages that are pinned at present.
    pub pages_pinned: u64,
    /// Sessions at present.
    pub sessions: u64,
}

const TYPE: u32 = b'V' as u32;

pub const INFO: Ioctl = _IOR::<Info>(TYPE, 0x00);
pub const START: Ioctl = _IOWR::<Start>(TYPE, 0x01);
pub const MEMORY_CREATE: Ioctl = _IOWR::<Memory>(TYPE, 0x02);
pub const MEMORY_REGISTER: Ioctl = _IOW::<Register>(TYPE, 0x03);
pub const MEMORY_DESTROY: Ioctl = _IOW::<u64>(TYPE, 0x04);
pub const TRANSFER_SUBMIT: Ioctl = _IOW::<Transfer>(TYPE, 0x05);
pub const TRANSFER_WAIT: Ioctl = _IOW::<u64>(TYPE, 0x06);
pub const KICK: Ioctl = _IO(TYPE, 0x07);
pub const STATISTICS: Ioctl = _IOR::<Statistics>(TYPE, 0x09);
pub const WAIT: Ioctl = _IOW::<Wait>(TYPE, 0x08);

#[cfg(test)]
#[path = "../../../guest-driver-c/tests/header.rs"]
mod header;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers hold the structures' sizes, so equal numbers are equal sizes.
    #[test]
    fn the_numbers_are_those_of_the_drivers_header() {
        let ours = [
            ("INFO", INFO),
            ("START", START),
            ("MEMORY_CREATE", MEMORY_CREATE),
            ("MEMORY_REGISTER", MEMORY_REGISTER),
            ("MEMORY_DESTROY", MEMORY_DESTROY),
            ("TRANSFER_SUBMIT", TRANSFER_SUBMIT),
            ("TRANSFER_WAIT", TRANSFER_WAIT),
            ("KICK", KICK),
            ("WAIT", WAIT),
            ("STATISTICS", STATISTICS),
        ];
        let mut checks = String::new();
        for (name, number) in ours {
            checks += &format!("_Static_assert(VCUDA_IOC_{name} == {number}u, \"{name}\");\n");
        }
        let offsets = [
            (
                "vcuda_info, max_memory",
                std::mem::offset_of!(Info, max_memory),
            ),
            (
                "vcuda_start, answer_len",
                std::mem::offset_of!(Start, answer_len),
            ),
            ("vcuda_memory, kind", std::mem::offset_of!(Memory, kind)),
            (
                "vcuda_memory, map_offset",
                std::mem::offset_of!(Memory, map_offset),
            ),
            ("vcuda_register, len", std::mem::offset_of!(Register, len)),
            (
                "vcuda_transfer, direction",
                std::mem::offset_of!(Transfer, direction),
            ),
            (
                "vcuda_statistics, bytes_copied",
                std::mem::offset_of!(Statistics, bytes_copied),
            ),
            (
                "vcuda_wait, timeout_ns",
                std::mem::offset_of!(Wait, timeout_ns),
            ),
        ];
        for (member, offset) in offsets {
            checks +=
                &format!("_Static_assert(offsetof(struct {member}) == {offset}, \"{member}\");\n");
        }
        checks += &format!("_Static_assert(VCUDA_UAPI_VERSION == {VERSION}, \"version\");\n");
        header::assert_c("vcuda.h", &checks);
    }
}
