// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tasks in order, at the same time, and behind points and gates.

use super::*;
use crate::devices::Gate;
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
