// SPDX-License-Identifier: MIT OR Apache-2.0
//! What fork(2) and exit(3) of the program mean for its session.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

static FORKED_CHILD: AtomicBool = AtomicBool::new(false);
static DESCRIPTOR: AtomicI32 = AtomicI32::new(-1);

/// Whether this process came from fork in a process that had a session.
pub(super) fn is_forked_child() -> bool {
    FORKED_CHILD.load(Ordering::Relaxed)
}

/// Runs in the child of a fork, where only async-signal-safe calls are allowed.
extern "C" fn in_child() {
    FORKED_CHILD.store(true, Ordering::Relaxed);
    let descriptor = DESCRIPTOR.swap(-1, Ordering::Relaxed);
    if descriptor >= 0 {
        // The worker learns of the parent's end by the end of its descriptor: the child must not
        // keep it open. The session is leaked and never used again in this process.
        // SAFETY: the descriptor is the session's, which this process gave up with the flag above.
        unsafe { libc::close(descriptor) };
    }
}

/// Runs when the program calls exit or returns from main.
extern "C" fn at_exit() {
    if let Some(session) = super::running() {
        session.print_output();
        if session.recording {
            session.goodbye();
        }
    }
}

/// Called once, when the session has started.
pub(super) fn watch_forks() {
    // SAFETY: the handlers are functions without arguments that live as long as this library,
    // which is never unloaded (it is linked with -z nodelete).
    unsafe {
        libc::pthread_atfork(None, None, Some(in_child));
        libc::atexit(at_exit);
    }
}

/// The descriptor that a forked child closes.
pub(super) fn set_descriptor(descriptor: RawFd) {
    DESCRIPTOR.store(descriptor, Ordering::Relaxed);
}
