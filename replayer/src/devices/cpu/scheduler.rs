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

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::devices::Gate;

/// How long a thread looks for work before it blocks.
const SPIN: Duration = Duration::from_micros(20);

/// Tasks of one queue that may be outstanding. Whoever pushes more waits for half of them.
const MAX_OUTSTANDING: u64 = 1 << 16;

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
    state: Mutex<State<T>>,
    issued: AtomicU64,
    completed: AtomicU64,
    /// Whether `watchers` may hold something, so that a task's end need not take the lock.
    watched: AtomicBool,
}

struct State<T> {
    entries: VecDeque<Entry<T>>,
    /// Whether a thread has the queue, or it is ready, or it waits for a point.
    active: bool,
    watchers: Vec<(u64, Watcher)>,
}

struct Entry<T> {
    behind: Vec<Point<T>>,
    task: T,
}

/// The end of a queue's first `position` tasks.
pub struct Point<T> {
    queue: Arc<Queue<T>>,
    position: u64,
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

    fn complete_one(&self) {
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
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Act(Box<dyn FnOnce() + Send>, bool);

    impl Task for Act {
        fn run(self) {
            (self.0)();
        }
        fn is_quick(&self) -> bool {
            self.1
        }
    }

    fn act(f: impl FnOnce() + Send + 'static) -> Act {
        Act(Box::new(f), false)
    }

    /// A task that runs until it is told to end.
    fn gate() -> (Sender<()>, Act) {
        let (open, closed) = channel::<()>();
        (open, act(move || assert!(closed.recv().is_err())))
    }

    fn wait_for<T: Task>(point: Point<T>) {
        let (tell, told) = channel();
        point.watch(Box::new(move || tell.send(()).unwrap()));
        told.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    fn log() -> (impl Fn(u32) -> Act, Receiver<u32>) {
        let (write, read) = channel();
        (
            move |n| {
                let write = write.clone();
                act(move || write.send(n).unwrap())
            },
            read,
        )
    }

    #[test]
    fn tasks_of_a_queue_run_in_order() {
        let scheduler = Scheduler::new(4).unwrap();
        let queue = Queue::new();
        let (note, notes) = log();
        for n in 0..10_000 {
            scheduler.push(&queue, vec![], note(n));
        }
        wait_for(queue.end());
        assert!(notes.try_iter().eq(0..10_000));
    }

    #[test]
    fn a_queue_that_works_does_not_hold_back_another() {
        let scheduler = Scheduler::new(4).unwrap();
        let (slow, fast) = (Queue::new(), Queue::new());
        let (open, wait) = gate();
        scheduler.push(&slow, vec![], wait);
        scheduler.push(&fast, vec![], act(|| ()));
        wait_for(fast.end());
        assert!(!slow.is_drained());
        drop(open);
        wait_for(slow.end());
    }

    #[test]
    fn a_task_waits_for_the_points_it_is_behind() {
        let scheduler = Scheduler::new(4).unwrap();
        let (a, b) = (Queue::new(), Queue::new());
        let (note, notes) = log();
        let (open, wait) = gate();
        scheduler.push(&a, vec![], wait);
        scheduler.push(&a, vec![], note(1));
        scheduler.push(&b, vec![a.end()], note(2));
        scheduler.push(&b, vec![], note(3));
        scheduler.push(&a, vec![b.end()], note(4));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(notes.try_recv().ok(), None);
        drop(open);
        wait_for(a.end());
        assert!(notes.try_iter().eq([1, 2, 3, 4]));
    }

    #[test]
    fn waiting_queues_take_no_thread() {
        let scheduler = Scheduler::new(2).unwrap();
        let first = Queue::new();
        let (open, wait) = gate();
        scheduler.push(&first, vec![], wait);
        let waiting: Vec<_> = (0..50).map(|_| Queue::new()).collect();
        for queue in &waiting {
            scheduler.push(queue, vec![first.end()], act(|| ()));
        }
        let free = Queue::new();
        scheduler.push(&free, vec![], act(|| ()));
        wait_for(free.end());
        drop(open);
        for queue in waiting {
            wait_for(queue.end());
        }
    }

    #[test]
    fn more_busy_queues_than_threads_all_get_their_turn() {
        let scheduler = Scheduler::new(1).unwrap();
        let queues: Vec<_> = (0..20).map(|_| Queue::new()).collect();
        let (note, notes) = log();
        for n in 0..100 {
            for queue in &queues {
                scheduler.push(queue, vec![], note(n));
            }
        }
        for queue in &queues {
            wait_for(queue.end());
        }
        assert_eq!(notes.try_iter().count(), 2000);
    }

    #[test]
    fn a_quick_task_of_an_idle_queue_is_done_when_push_returns() {
        let scheduler = Scheduler::new(1).unwrap();
        let queue = Queue::new();
        let here = std::thread::current().id();
        let quick = Act(
            Box::new(move || assert_eq!(std::thread::current().id(), here)),
            true,
        );
        scheduler.push(&queue, vec![], quick);
        assert!(queue.is_drained());
    }

    #[test]
    fn a_quick_task_behind_others_waits_for_its_turn() {
        let scheduler = Scheduler::new(1).unwrap();
        let queue = Queue::new();
        let (open, wait) = gate();
        scheduler.push(&queue, vec![], wait);
        scheduler.push(&queue, vec![], Act(Box::new(|| ()), true));
        assert!(!queue.is_drained());
        drop(open);
        wait_for(queue.end());
    }

    #[test]
    fn a_flood_of_tasks_is_held_back_and_gets_through() {
        let scheduler = Scheduler::new(1).unwrap();
        let queue = Queue::new();
        for _ in 0..3 * MAX_OUTSTANDING {
            scheduler.push(&queue, vec![], act(|| ()));
            assert!(queue.issued() - queue.completed.load(Ordering::Relaxed) <= MAX_OUTSTANDING);
        }
        wait_for(queue.end());
    }

    #[test]
    fn a_task_behind_a_gate_waits_without_a_thread_until_it_opens() {
        let scheduler = Scheduler::new(1).unwrap();
        let (held, other) = (Queue::new(), Queue::new());
        let gate = Gate::new();
        scheduler.push(&held, vec![Point::of_gate(&gate)], act(|| ()));
        scheduler.push(&held, vec![], act(|| ()));
        scheduler.push(&other, vec![], act(|| ()));
        wait_for(other.end());
        assert!(!held.is_drained());
        gate.open();
        wait_for(held.end());
        scheduler.push(&held, vec![Point::of_gate(&gate)], act(|| ()));
        wait_for(held.end());
    }

    #[test]
    fn at_rest_is_when_all_that_is_left_is_behind_gates() {
        let scheduler = Scheduler::new(2).unwrap();
        let (held, behind, busy) = (Queue::new(), Queue::new(), Queue::new());
        let gate_of_held = Gate::new();
        scheduler.push(&held, vec![Point::of_gate(&gate_of_held)], act(|| ()));
        scheduler.push(&behind, vec![held.end()], act(|| ()));
        let (open, wait) = gate();
        scheduler.push(&busy, vec![], wait);
        let (tell, told) = channel();
        scheduler.when_at_rest(Box::new(move || tell.send(()).unwrap()));
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err());
        drop(open);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(busy.is_drained() && !behind.is_drained());
        gate_of_held.open();
        wait_for(behind.end());
    }

    #[test]
    fn all_points_are_waited_for() {
        let scheduler = Scheduler::new(4).unwrap();
        let queues: Vec<_> = (0..4).map(|_| Queue::new()).collect();
        let mut gates = Vec::new();
        for queue in &queues {
            let (open, wait) = gate();
            scheduler.push(queue, vec![], wait);
            gates.push(open);
        }
        let (tell, told) = channel();
        let points = queues.iter().map(Queue::end).collect();
        watch_all(points, Box::new(move || tell.send(()).unwrap()));
        for open in gates {
            assert!(told.recv_timeout(Duration::from_millis(5)).is_err());
            drop(open);
        }
        told.recv_timeout(Duration::from_secs(10)).unwrap();
    }

    #[test]
    fn random_graphs_of_waits_always_end_in_order() {
        let mut seed = 1u64;
        let mut random = move |n: u64| {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (seed >> 33) % n
        };
        let scheduler = Scheduler::new(3).unwrap();
        let queues: Vec<_> = (0..6).map(|_| Queue::new()).collect();
        let done = Arc::new(Mutex::new(vec![0u64; 6]));
        for _ in 0..20_000 {
            let (q, other) = (random(6) as usize, random(6) as usize);
            let behind = if random(3) == 0 && q != other {
                vec![queues[other].end()]
            } else {
                vec![]
            };
            let needs = behind.first().map(|point| (other, point.position));
            let done = done.clone();
            let task = Act(
                Box::new(move || {
                    let mut done = done.lock();
                    if let Some((other, position)) = needs {
                        assert!(done[other] >= position);
                    }
                    done[q] += 1;
                }),
                random(2) == 0,
            );
            scheduler.push(&queues[q], behind, task);
        }
        for queue in &queues {
            wait_for(queue.end());
        }
        assert_eq!(done.lock().iter().sum::<u64>(), 20_000);
    }
}
