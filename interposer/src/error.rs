// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CUDA error codes that this library returns itself, as the statuses of the protocol. The
//! codes are `vcuda-api`'s.

use vcuda_protocol::Status;

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub(crate) const $name: Status = Status(vcuda_api::error::$name);)*
    };
}

statuses! {
    CAPTURED_EVENT,
    DEINITIALIZED,
    CONTEXT_IS_DESTROYED,
    COOPERATIVE_LAUNCH_TOO_LARGE,
    DEVICES_UNAVAILABLE,
    FILE_NOT_FOUND,
    GRAPH_EXEC_UPDATE_FAILURE,
    HOST_MEMORY_ALREADY_REGISTERED,
    HOST_MEMORY_NOT_REGISTERED,
    ILLEGAL_STATE,
    INVALID_CONFIGURATION,
    INVALID_CONTEXT,
    INVALID_DEVICE,
    INVALID_DEVICE_FUNCTION,
    INVALID_HANDLE,
    INVALID_IMAGE,
    INVALID_MEMCPY_DIRECTION,
    INVALID_PITCH_VALUE,
    INVALID_SYMBOL,
    INVALID_VALUE,
    LAUNCH_OUT_OF_RESOURCES,
    MISSING_CONFIGURATION,
    NOT_FOUND,
    /// Also what a forked child of a process with a session gets (`cudaErrorInitializationError`).
    NOT_INITIALIZED,
    NOT_PERMITTED,
    NOT_READY,
    NOT_SUPPORTED,
    NO_DEVICE,
    OUT_OF_MEMORY,
    PEER_ACCESS_ALREADY_ENABLED,
    PEER_ACCESS_NOT_ENABLED,
    PEER_ACCESS_UNSUPPORTED,
    STREAM_CAPTURE_IMPLICIT,
    STREAM_CAPTURE_INVALIDATED,
    STREAM_CAPTURE_ISOLATION,
    STREAM_CAPTURE_MERGE,
    STREAM_CAPTURE_UNJOINED,
    STREAM_CAPTURE_UNMATCHED,
    STREAM_CAPTURE_UNSUPPORTED,
    STREAM_CAPTURE_WRONG_THREAD,
    UNKNOWN,
    UNSUPPORTED_LIMIT,
}

/// Says what an implemented function cannot do; the status is what it then returns.
pub(crate) fn unsupported(what: &str) -> Status {
    let (api, _) = crate::thread::caller();
    let name = vcuda_api::FunctionId::new(api).map_or("The call", |id| id.name());
    vcuda_transport::say!("{name} does not support {what}; it returns an error (801).");
    NOT_SUPPORTED
}
