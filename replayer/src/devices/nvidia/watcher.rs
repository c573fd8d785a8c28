// SPDX-License-Identifier: MIT OR Apache-2.0
//! The looking whether work has finished, where nobody polls: a thread does it.

use std::io;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vcuda_protocol::Status;

use super::machine::Machine;
use crate::status;

/// How long the thread sleeps at most before it looks whether its machine is still there.
const LOOK: Duration = Duration::from_millis(100);

/// Who looks.
#[derive(Default)]
pub(super) struct Watcher {
    /// Somebody calls `poll`.
    polled: AtomicBool,
    started: Mutex<bool>,
    woken: Condvar,
}

impl Watcher {
    /// Somebody looks, and goes on to: no thread is needed.
    pub(super) fn is_polled(&self) {
        self.polled.store(true, Ordering::Relaxed);
    }

    /// Something is about to be waited for. Starts the thread if nobody looks. The error says that it
    /// could not be started, without which nothing would ever finish; the next wait tries again.
    fn wake(&self, start: impl FnOnce() -> io::Result<()>) -> Result<(), Status> {
        if self.polled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut started = self.started.lock();
        if !*started {
            start().map_err(|error| {
                vcuda_transport::say!(
                    "The thread that waits for the GPU could not be started: {error}."
                );
                status::OPERATING_SYSTEM
            })?;
            *started = true;
        }
        self.woken.notify_one();
        Ok(())
    }
}

impl Machine {
    /// Sees that somebody looks for what is about to be waited for.
    pub(super) fn watch(&self) -> Result<(), Status> {
        self.watcher.wake(|| {
            let machine = self.weak();
            let named = std::thread::Builder::new().name("vcuda-watcher".into());
            named.spawn(move || look_on(&machine)).map(drop)
        })
    }
}

/// Looks for as long as there is a machine.
fn look_on(machine: &Weak<Machine>) {
    while let Some(machine) = machine.upgrade() {
        match machine.look() {
            Some(Duration::ZERO) => std::thread::yield_now(),
            Some(pause) => std::thread::sleep(pause),
            None => {
                let mut state = machine.state.lock();
                machine.watcher.woken.wait_for(&mut state, LOOK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_threads() -> io::Result<()> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_an_error_and_tried_again() {
        let watcher = Watcher::default();
        assert_eq!(watcher.wake(no_threads), Err(status::OPERATING_SYSTEM));
        assert_eq!(watcher.wake(no_threads), Err(status::OPERATING_SYSTEM));
        assert_eq!(watcher.wake(|| Ok(())), Ok(()));
        // It runs now.
        assert_eq!(watcher.wake(no_threads), Ok(()));
    }

    #[test]
    fn who_polls_needs_no_thread() {
        let watcher = Watcher::default();
        watcher.is_polled();
        assert_eq!(watcher.wake(no_threads), Ok(()));
    }
}
