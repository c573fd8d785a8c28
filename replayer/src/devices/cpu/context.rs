// SPDX-License-Identifier: MIT OR Apache-2.0
//! What work needs when it runs: the memory, the engine, and the state of its device.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use vcuda_protocol::Status;
use vcuda_ptx::{AddressSpace, Engine, Fault, Heap};

use super::checker::Checker;
use crate::devices::{Faults, Gate};
use crate::status;
use crate::window::Window;

/// What kernels may allocate if the program does not say (CUDA C++ Programming Guide, "Heap Memory
/// Allocation").
const DEFAULT_HEAP: u64 = 8 << 20;

/// What all CPU devices of a session share.
pub(super) struct Core {
    pub(super) space: AddressSpace,
    pub(super) engine: Engine,
    pub(super) time_limit: Option<Duration>,
    /// Looks for mistakes, if anybody wants to know of them.
    pub(super) checker: Option<Arc<Checker>>,
    /// Keeps the memory behind the address space's shared region. After it: fields are dropped in
    /// their order.
    pub(super) _window: Option<Window>,
}

/// One device as its work sees it: well, or with an error after which nothing runs any more.
pub(super) struct Context {
    pub(super) core: Arc<Core>,
    /// Where kernels allocate.
    pub(super) heap: Heap,
    sticky: AtomicU32,
    /// Stops kernels that run: another one failed, or the session is over.
    stop: AtomicBool,
    over: AtomicBool,
    faults: OnceLock<Arc<dyn Faults>>,
    /// Gates that work waits for, to be opened when the session is over.
    gates: Mutex<Vec<Gate>>,
}

impl Context {
    pub(super) fn new(core: Arc<Core>, (heap_base, heap_len): (u64, u64)) -> Arc<Self> {
        Arc::new(Context {
            core,
            heap: Heap::new(heap_base, heap_len, DEFAULT_HEAP),
            sticky: AtomicU32::new(0),
            stop: AtomicBool::new(false),
            over: AtomicBool::new(false),
            faults: OnceLock::new(),
            gates: Mutex::default(),
        })
    }

    pub(super) fn attach(&self, faults: Arc<dyn Faults>) {
        // A device belongs to one session; a second one would get no faults.
        let _ = self.faults.set(faults);
    }

    /// The device's error, or that the session is over and its work was not done.
    pub(super) fn health(&self) -> Result<(), Status> {
        match self.sticky.load(Ordering::Acquire) {
            0 if self.over.load(Ordering::Acquire) => Err(status::DEINITIALIZED),
            0 => Ok(()),
            status => Err(Status(status)),
        }
    }

    /// Whether work is to be skipped.
    pub(super) fn skips(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn stop_flag(&self) -> &AtomicBool {
        &self.stop
    }

    pub(super) fn abort(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.stop.store(true, Ordering::Release);
        let gates = std::mem::take(&mut *self.gates.lock());
        for gate in gates {
            gate.open();
        }
    }

    /// Nothing waits for the gate longer than the session lasts.
    pub(super) fn guard(&self, gate: &Gate) {
        let mut gates = self.gates.lock();
        // Full of gates that have opened: doubling keeps the cost of looking through them small.
        if gates.len() == gates.capacity() {
            gates.retain(|gate| !gate.is_open());
            let held = gates.len();
            gates.reserve(held.max(4));
        }
        gates.push(gate.clone());
        drop(gates);
        // Either the end has seen the gate in the list, or it is seen here.
        if self.over.load(Ordering::SeqCst) {
            gate.open();
        }
    }

    /// After a reset, work runs again, unless the session is over.
    pub(super) fn recover(&self) {
        self.sticky.store(0, Ordering::Release);
        self.stop
            .store(self.over.load(Ordering::Acquire), Ordering::Release);
    }

    /// Work failed.
    pub(super) fn fail(&self, tag: u64, status: Status, sentence: &dyn std::fmt::Display) {
        self.fail_and(tag, status, || vcuda_transport::say!("{sentence}"));
    }

    /// Work failed; `say` tells people why, unless they were told of an earlier failure.
    fn fail_and(&self, tag: u64, status: Status, say: impl FnOnce()) {
        if status::is_sticky(status) {
            let first = self
                .sticky
                .compare_exchange(0, status.0, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
            self.stop.store(true, Ordering::Release);
            if !first {
                return;
            }
        }
        say();
        if let Some(faults) = self.faults.get() {
            faults.fault(tag, status);
        }
    }

    pub(super) fn fault(&self, tag: u64, fault: &Fault) {
        let Some(status) = status_of(fault) else {
            return;
        };
        if let Some(checker) = &self.core.checker {
            checker.fault(fault);
        }
        self.fail_and(tag, status, || match fault {
            // The program speaks here, not this device: the line is the one that CUDA prints.
            Fault::Assert { .. } => {
                vcuda_transport::print_error(format!("{fault}\n").as_bytes());
            }
            _ => vcuda_transport::say!("{fault}"),
        });
    }
}

/// The error that the CUDA driver gives for a kernel's fault. `None`: it was stopped on purpose.
fn status_of(fault: &Fault) -> Option<Status> {
    Some(match fault {
        Fault::Aborted { .. } => return None,
        Fault::IllegalAddress { .. } => status::ILLEGAL_ADDRESS,
        Fault::Misaligned { .. } => status::MISALIGNED_ADDRESS,
        Fault::Assert { .. } => status::ASSERT,
        Fault::InvalidTarget { .. } => status::INVALID_PC,
        Fault::StackOverflow { .. } => status::HARDWARE_STACK_ERROR,
        Fault::TimeLimit { .. } => status::LAUNCH_TIMEOUT,
        Fault::InvalidLaunch { .. } => status::INVALID_VALUE,
        // A trap, a barrier that cannot complete, and what may come.
        _ => status::LAUNCH_FAILED,
    })
}
