// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory of the client by number.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use vcuda_protocol::scattered::Scattered;

use crate::session::GuestMemory;

/// Memory comes right before the command that names it, by another way. A client that names memory
/// which never comes holds up nobody but itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most numbers that are in use at once.
const MOST: usize = 1 << 16;

/// See the [module](self).
#[derive(Default)]
pub struct GuestTable {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    known: HashMap<u64, Known>,
    ended: bool,
}

enum Known {
    /// For one copy.
    Lent(Scattered),
    /// Until it is forgotten.
    Registered(Scattered),
}

impl GuestTable {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    fn add(&self, id: u64, known: Known) -> bool {
        let mut state = self.state.lock();
        if state.ended || state.known.contains_key(&id) || state.known.len() >= MOST {
            return false;
        }
        state.known.insert(id, known);
        self.arrived.notify_all();
        true
    }

    /// Memory for one copy. False where the number is in use.
    #[must_use]
    pub fn lend(&self, id: u64, memory: Scattered) -> bool {
        self.add(id, Known::Lent(memory))
    }

    /// Memory for any number of copies. False where the number is in use.
    #[must_use]
    pub fn register(&self, id: u64, memory: Scattered) -> bool {
        self.add(id, Known::Registered(memory))
    }

    /// Later copies do not find the memory. False where the number is not of registered memory.
    #[must_use]
    pub fn forget(&self, id: u64) -> bool {
        let mut state = self.state.lock();
        match state.known.get(&id) {
            Some(Known::Registered(_)) => state.known.remove(&id).is_some(),
            _ => false,
        }
    }

    /// Nothing more will come; who waits is told so.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.known.clear();
        self.arrived.notify_all();
    }
}

impl GuestMemory for GuestTable {
    fn memory(&self, id: u64) -> Option<Scattered> {
        let late = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            match state.known.get(&id) {
                Some(Known::Registered(memory)) => return Some(memory.clone()),
                Some(Known::Lent(_)) => match state.known.remove(&id) {
                    Some(Known::Lent(memory)) => return Some(memory),
                    _ => return None,
                },
                None if state.ended => return None,
                None => {
                    if self.arrived.wait_until(&mut state, late).timed_out() {
                        return None;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcuda_protocol::shared::SharedMemory;

    fn some() -> Scattered {
        SharedMemory::anonymous(64).into()
    }

    #[test]
    fn lent_memory_is_for_one_copy_and_registered_memory_for_many() {
        let table = GuestTable::new();
        assert!(table.lend(1, some()) && table.register(2, some()));
        assert!(!table.lend(1, some()) && !table.lend(2, some()));
        assert!(table.memory(1).is_some());
        assert!(table.lend(1, some()));
        assert!(table.memory(2).is_some() && table.memory(2).is_some());
        assert!(table.forget(2) && !table.forget(2) && !table.forget(1));
    }

    #[test]
    fn a_command_that_is_faster_than_its_memory_waits_for_it() {
        let table = GuestTable::new();
        let other = table.clone();
        let command = std::thread::spawn(move || other.memory(7).is_some());
        std::thread::sleep(Duration::from_millis(20));
        assert!(table.lend(7, some()));
        assert!(command.join().unwrap());
    }

    #[test]
    fn nobody_waits_for_a_client_that_is_gone() {
        let table = GuestTable::new();
        let other = table.clone();
        let command = std::thread::spawn(move || other.memory(7).is_none());
        std::thread::sleep(Duration::from_millis(20));
        table.end();
        assert!(command.join().unwrap());
        assert!(table.memory(8).is_none() && !table.lend(8, some()));
    }
}
