// SPDX-License-Identifier: MIT OR Apache-2.0
//! Queues of tasks, and the points in them that others wait for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::devices::Gate;

/// Something to do.
pub trait Task: Send + 'static {
    /// Does it.
    fn run(self);
    /// Whether it takes only microseconds, so that whoever pushes it may as well do it.
    fn is_quick(&self) -> bool;
}

/// Called when a point is reached.
pub type Watcher = Box<dyn FnOnce() + Send>;

/// Tasks in order.
pub struct Queue<T> {
    pub(super) state: Mutex<State<T>>,
    pub(super) issued: AtomicU64,
    pub(super) completed: AtomicU64,
    /// Whether `watchers` may hold something, so that a task's end need not take the lock.
    watched: AtomicBool,
}

pub(super) struct State<T> {
    pub(super) entries: VecDeque<Entry<T>>,
    /// Whether a thread has the queue, or it is ready, or it waits for a point.
    pub(super) active: bool,
    watchers: Vec<(u64, Watcher)>,
}

pub(super) struct Entry<T> {
    pub(super) behind: Vec<Point<T>>,
    pub(super) task: T,
}

/// The end of a queue's first `position` tasks.
pub struct Point<T> {
    pub(super) queue: Arc<Queue<T>>,
    pub(super) position: u64,
}

impl<T> Clone for Point<T> {
    fn clone(&self) -> Self {
        Point {
            queue: self.queue.clone(),
            position: self.position,
        }
    }
}

impl<T: Task> Point<T> {
    /// A point that is reached when a gate opens.
    pub fn of_gate(gate: &Gate) -> Self {
        let queue = Queue::new();
        queue.issued.store(1, Ordering::Release);
        let point = Point {
            queue: queue.clone(),
            position: 1,
        };
        gate.when_open(move || queue.complete_one());
        point
    }
}

impl<T> Point<T> {
    pub fn is_reached(&self) -> bool {
        self.queue.completed.load(Ordering::Acquire) >= self.position
    }

    /// Calls back when the point is reached: now, if it is.
    pub fn watch(&self, watcher: Watcher) {
        let mut state = self.queue.state.lock();
        // Either this sees the last completion, or that sees this flag.
        self.queue.watched.store(true, Ordering::SeqCst);
        if self.queue.completed.load(Ordering::SeqCst) >= self.position {
            drop(state);
            watcher();
        } else {
            state.watchers.push((self.position, watcher));
        }
    }
}

/// Calls back when all points are reached.
pub fn watch_all<T>(points: Vec<Point<T>>, watcher: Watcher) {
    let left = Arc::new((
        AtomicUsize::new(points.len() + 1),
        Mutex::new(Some(watcher)),
    ));
    let reached = |left: &(AtomicUsize, Mutex<Option<Watcher>>)| {
        if left.0.fetch_sub(1, Ordering::AcqRel) == 1 {
            let watcher = left.1.lock().take();
            if let Some(watcher) = watcher {
                watcher();
            }
        }
    };
    for point in points {
        let left = left.clone();
        point.watch(Box::new(move || reached(&left)));
    }
    reached(&left);
}

impl<T> Queue<T> {
    pub fn new() -> Arc<Self> {
        Arc::new(Queue {
            state: Mutex::new(State {
                entries: VecDeque::new(),
                active: false,
                watchers: Vec::new(),
            }),
            issued: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            watched: AtomicBool::new(false),
        })
    }

    /// The end of all that was pushed so far.
    pub fn end(self: &Arc<Self>) -> Point<T> {
        Point {
            queue: self.clone(),
            position: self.issued(),
        }
    }

    /// Tasks pushed so far.
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Acquire)
    }

    /// Whether all that was pushed has ended.
    pub fn is_drained(&self) -> bool {
        self.completed.load(Ordering::Acquire) >= self.issued()
    }

    pub(super) fn complete_one(&self) {
        // Only the thread that has the queue writes this.
        let completed = self.completed.load(Ordering::Relaxed) + 1;
        self.completed.store(completed, Ordering::SeqCst);
        if self.watched.load(Ordering::SeqCst) {
            self.call_watchers(completed);
        }
    }

    #[cold]
    fn call_watchers(&self, completed: u64) {
        let due: Vec<Watcher> = {
            let mut state = self.state.lock();
            let watchers = std::mem::take(&mut state.watchers);
            let (due, rest): (Vec<_>, Vec<_>) = watchers
                .into_iter()
                .partition(|&(position, _)| position <= completed);
            self.watched.store(!rest.is_empty(), Ordering::SeqCst);
            state.watchers = rest;
            due.into_iter().map(|(_, watcher)| watcher).collect()
        };
        for watcher in due {
            watcher();
        }
    }
}
