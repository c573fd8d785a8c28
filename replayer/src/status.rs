// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CUDA error codes that the host side gives (CUDA Driver API, `CUresult`).

use vcuda_protocol::Status;

pub const INVALID_VALUE: Status = Status(1);
pub const OUT_OF_MEMORY: Status = Status(2);
/// The Runtime API's code for impossible grids and blocks. The Driver API says
/// [`INVALID_VALUE`] for these; the client translates, because only it knows who asked.
pub const INVALID_CONFIGURATION: Status = Status(9);
/// The session is over.
pub const DEINITIALIZED: Status = Status(4);
/// What a process gets from all GPUs that it has reset after an error that stays.
pub const DEVICES_UNAVAILABLE: Status = Status(46);
pub const INVALID_DEVICE: Status = Status(101);
pub const INVALID_IMAGE: Status = Status(200);
pub const NO_BINARY_FOR_GPU: Status = Status(209);
pub const PEER_ACCESS_UNSUPPORTED: Status = Status(217);
pub const INVALID_PTX: Status = Status(218);
pub const UNSUPPORTED_PTX_VERSION: Status = Status(222);
/// The system refused something, such as a thread.
pub const OPERATING_SYSTEM: Status = Status(304);
pub const INVALID_HANDLE: Status = Status(400);
pub const NOT_FOUND: Status = Status(500);
pub const NOT_READY: Status = Status(600);
pub const ILLEGAL_ADDRESS: Status = Status(700);
pub const LAUNCH_OUT_OF_RESOURCES: Status = Status(701);
pub const LAUNCH_TIMEOUT: Status = Status(702);
pub const PEER_ACCESS_ALREADY_ENABLED: Status = Status(704);
pub const PEER_ACCESS_NOT_ENABLED: Status = Status(705);
pub const ASSERT: Status = Status(710);
pub const HOST_MEMORY_ALREADY_REGISTERED: Status = Status(712);
pub const HARDWARE_STACK_ERROR: Status = Status(714);
pub const ILLEGAL_INSTRUCTION: Status = Status(715);
pub const MISALIGNED_ADDRESS: Status = Status(716);
pub const INVALID_ADDRESS_SPACE: Status = Status(717);
pub const INVALID_PC: Status = Status(718);
pub const LAUNCH_FAILED: Status = Status(719);
pub const COOPERATIVE_LAUNCH_TOO_LARGE: Status = Status(720);
pub const NOT_SUPPORTED: Status = Status(801);
pub const UNKNOWN: Status = Status(999);

/// Whether an error leaves the context unusable until it is destroyed: those whose description in
/// the Driver API says "This leaves the process in an inconsistent state".
pub fn is_sticky(status: Status) -> bool {
    matches!(status.0, 214 | 220 | 700 | 702 | 710 | 714..=719)
}
