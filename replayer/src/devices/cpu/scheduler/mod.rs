// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the tasks of many queues: those of one queue in order, those of different queues at the
//! same time, each behind the points of other queues that it waits for.
//!
//! A queue is what lies under a stream. A thread that has got a queue runs its tasks one after
//! another, without a hop to another thread, until the queue is empty or has to wait. Threads are
//! started when there is a queue and no thread for it; a thread without work spins for
//! microseconds, then blocks.
//!
//! Tasks wait only for gates and for tasks that were pushed before them, so there is always one
//! that can run, unless all wait for gates.

mod queue;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use queue::Entry;
pub use queue::{Point, Queue, Task, Watcher, watch_all};

/// How long a thread looks for work before it blocks.
const SPIN: Duration = Duration::from_micros(20);

/// Tasks of one queue that may be outstanding. Whoever pushes more waits for half of them.
const MAX_OUTSTANDING: u64 = 1 << 16;

/// The threads and the queues that are ready for them.
pub struct Scheduler<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    pool: Mutex<Pool<T>>,
    work: Condvar,
    /// Length of `Pool::ready`, for threads that spin.
    ready: AtomicUsize,
    max_threads: usize,
}

struct Pool<T> {
    ready: VecDeque<Arc<Queue<T>>>,
    threads: usize,
    /// Threads without a queue; of them, `blocked` ones must be woken.
    idle: usize,
    blocked: usize,
    closed: bool,
    /// To be called when no queue is ready or running.
    at_rest: Vec<Watcher>,
}

impl<T> Pool<T> {
    fn is_at_rest(&self) -> bool {
        self.ready.is_empty() && self.idle == self.threads
    }
}

impl<T: Task> Scheduler<T> {
    /// A scheduler that runs at most `max_threads` queues at a time. Starts the first thread, so
    /// that there is one.
    pub fn new(max_threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            pool: Mutex::new(Pool {
                ready: VecDeque::new(),
                threads: 0,
                idle: 0,
                blocked: 0,
                closed: false,
                at_rest: Vec::new(),
            }),
            work: Condvar::new(),
            ready: AtomicUsize::new(0),
            max_threads,
        });
        shared.start_thread(&mut shared.pool.lock())?;
        Ok(Scheduler { shared })
    }

    /// Calls back when no task can run: all have ended or wait for gates.
    pub fn when_at_rest(&self, watcher: Watcher) {
        let mut pool = self.shared.pool.lock();
        if !pool.is_at_rest() {
            pool.at_rest.push(watcher);
            return;
        }
        drop(pool);
        watcher();
    }

    /// Adds a task to a queue, to run when the queue gets there and `behind` is reached. One
    /// thread at a time pushes to a queue.
    pub fn push(&self, queue: &Arc<Queue<T>>, mut behind: Vec<Point<T>>, task: T) {
        behind.retain(|point| !point.is_reached());
        let mut state = queue.state.lock();
        let position = queue.issued.load(Ordering::Relaxed) + 1;
        queue.issued.store(position, Ordering::Release);
        if !state.active && behind.is_empty() && task.is_quick() {
            state.active = true;
            drop(state);
            task.run();
            queue.complete_one();
            // Nobody else pushed meanwhile, by this method's rule.
            queue.state.lock().active = false;
            return;
        }
        state.entries.push_back(Entry { behind, task });
        let was_active = std::mem::replace(&mut state.active, true);
        drop(state);
        if !was_active {
            self.shared.make_ready(queue.clone());
        }
        let outstanding = position - queue.completed.load(Ordering::Relaxed);
        if outstanding > MAX_OUTSTANDING {
            let room = Point {
                queue: queue.clone(),
                position: position - MAX_OUTSTANDING / 2,
            };
            let (tell, told) = std::sync::mpsc::channel();
            room.watch(Box::new(move || {
                let _ = tell.send(());
            }));
            let _ = told.recv();
        }
    }
}

impl<T> Drop for Scheduler<T> {
    fn drop(&mut self) {
        self.shared.pool.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl<T: Task> Shared<T> {
    fn make_ready(self: &Arc<Self>, queue: Arc<Queue<T>>) {
        let mut pool = self.pool.lock();
        pool.ready.push_back(queue);
        self.ready.store(pool.ready.len(), Ordering::Release);
        if pool.ready.len() <= pool.idle {
            let wake = pool.blocked > 0;
            drop(pool);
            if wake {
                self.work.notify_one();
            }
        } else if pool.threads < self.max_threads {
            // Without it, another thread takes the queue when it is free.
            if let Err(error) = self.start_thread(&mut pool) {
                vcuda_transport::say!("A thread for a stream could not be started: {error}.");
            }
        }
    }

    fn start_thread(self: &Arc<Self>, pool: &mut Pool<T>) -> std::io::Result<()> {
        let shared = self.clone();
        std::thread::Builder::new()
            .name("vcuda-stream".into())
            .spawn(move || shared.serve())?;
        pool.threads += 1;
        Ok(())
    }

    fn serve(self: Arc<Self>) {
        while let Some(queue) = self.next() {
            self.run(queue);
        }
    }

    /// The next ready queue. `None`: the scheduler is gone.
    fn next(&self) -> Option<Arc<Queue<T>>> {
        let mut pool = self.pool.lock();
        if let Some(queue) = self.take(&mut pool) {
            return Some(queue);
        }
        pool.idle += 1;
        let at_rest = match pool.is_at_rest() {
            true => std::mem::take(&mut pool.at_rest),
            false => Vec::new(),
        };
        drop(pool);
        for watcher in at_rest {
            watcher();
        }
        let start = Instant::now();
        while self.ready.load(Ordering::Acquire) == 0 && start.elapsed() < SPIN {
            for _ in 0..16 {
                std::hint::spin_loop();
            }
        }
        let mut pool = self.pool.lock();
        loop {
            if let Some(queue) = self.take(&mut pool) {
                pool.idle -= 1;
                return Some(queue);
            }
            if pool.closed {
                pool.idle -= 1;
                pool.threads -= 1;
                return None;
            }
            pool.blocked += 1;
            self.work.wait(&mut pool);
            pool.blocked -= 1;
        }
    }

    fn take(&self, pool: &mut Pool<T>) -> Option<Arc<Queue<T>>> {
        let queue = pool.ready.pop_front();
        self.ready.store(pool.ready.len(), Ordering::Release);
        queue
    }

    /// Runs a queue until it is empty, has to wait, or others have waited long enough.
    fn run(self: &Arc<Self>, queue: Arc<Queue<T>>) {
        let mut batch = VecDeque::new();
        loop {
            {
                let mut state = queue.state.lock();
                if state.entries.is_empty() {
                    state.active = false;
                    return;
                }
                std::mem::swap(&mut batch, &mut state.entries);
            }
            while let Some(entry) = batch.pop_front() {
                let wait = entry.behind.iter().find(|point| !point.is_reached());
                if let Some(point) = wait.cloned() {
                    batch.push_front(entry);
                    let mut state = queue.state.lock();
                    batch.append(&mut state.entries);
                    state.entries = batch;
                    drop(state);
                    let (shared, queue) = (self.clone(), queue.clone());
                    point.watch(Box::new(move || shared.make_ready(queue)));
                    return;
                }
                entry.task.run();
                queue.complete_one();
            }
            if self.ready.load(Ordering::Acquire) > 0 {
                let mut pool = self.pool.lock();
                if pool.ready.len() > pool.idle {
                    // The queue stays active, at the end of the line.
                    pool.ready.push_back(queue);
                    self.ready.store(pool.ready.len(), Ordering::Release);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
