// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a stream waits for besides the work of devices.

use std::sync::Arc;

use parking_lot::Mutex;

type Watcher = Box<dyn FnOnce() + Send>;

/// Closed until somebody opens it, once and for good.
#[derive(Clone)]
pub struct Gate(Arc<Mutex<State>>);

enum State {
    Closed(Vec<Watcher>),
    Open,
}

impl Gate {
    /// A closed gate.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Gate {
        Gate(Arc::new(Mutex::new(State::Closed(Vec::new()))))
    }

    /// Opens it. Opening an open gate does nothing.
    pub fn open(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Open);
        if let State::Closed(watchers) = before {
            for watcher in watchers {
                watcher();
            }
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(*self.0.lock(), State::Open)
    }

    /// Calls back when the gate opens: now, if it is open.
    pub fn when_open(&self, watcher: impl FnOnce() + Send + 'static) {
        if let State::Closed(watchers) = &mut *self.0.lock() {
            watchers.push(Box::new(watcher));
            return;
        }
        watcher();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn each_watcher_is_called_once_when_the_gate_opens_or_is_open() {
        let calls = Arc::new(AtomicU32::new(0));
        let gate = Gate::new();
        let watch = || {
            let calls = calls.clone();
            gate.when_open(move || {
                calls.fetch_add(1, Ordering::Relaxed);
            });
        };
        watch();
        watch();
        assert_eq!((calls.load(Ordering::Relaxed), gate.is_open()), (0, false));
        gate.open();
        gate.open();
        assert_eq!((calls.load(Ordering::Relaxed), gate.is_open()), (2, true));
        watch();
        assert_eq!(calls.load(Ordering::Relaxed), 3);
    }
}
