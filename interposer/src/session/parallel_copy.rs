// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies within this process by several threads: one alone moves less than a GPU takes.
//!
//! The threads start with the first copy that is worth it, on machines with processors to spare.
//! Between copies they look for more for a moment, then they sleep.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// With fewer processors, the thread that copies does it alone.
const MANY_PROCESSORS: usize = 8;
const MOST_HELPERS: usize = 7;
/// How long a helper looks for more before it sleeps.
const LOOK: Duration = Duration::from_micros(200);

/// A piece of work, done by whoever comes first.
type Job = Box<dyn FnOnce() + Send>;

struct Helpers {
    jobs: Mutex<VecDeque<(Job, Arc<AtomicBool>)>>,
    /// As many as there are in the queue, or soon will be.
    waiting: AtomicUsize,
    asleep: AtomicUsize,
    more: Condvar,
    count: usize,
}

static HELPERS: LazyLock<&'static Helpers> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = match processors >= MANY_PROCESSORS {
        true => MOST_HELPERS.min(processors / 2),
        false => 0,
    };
    let helpers: &'static Helpers = Box::leak(Box::new(Helpers {
        jobs: Mutex::default(),
        waiting: AtomicUsize::new(0),
        asleep: AtomicUsize::new(0),
        more: Condvar::new(),
        count: wanted,
    }));
    // Those that cannot be started are not missed: who waits for a copy does it.
    for _ in 0..wanted {
        let _ = spawn(helpers);
    }
    helpers
});

/// The program's signals are for the program's threads.
fn spawn(helpers: &'static Helpers) -> std::io::Result<()> {
    let (mut all, mut before) = (
        std::mem::MaybeUninit::<libc::sigset_t>::zeroed(),
        std::mem::MaybeUninit::<libc::sigset_t>::zeroed(),
    );
    // SAFETY: both sets are local variables; the mask is put back below.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let spawned = std::thread::Builder::new()
        .name("vcuda-copy".into())
        .spawn(move || helpers.help());
    // SAFETY: the set was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    spawned.map(drop)
}

impl Helpers {
    fn take(&self) -> Option<(Job, Arc<AtomicBool>)> {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let job = self.jobs.lock().pop_front()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(job)
    }

    fn help(&self) {
        let mut last = Instant::now();
        loop {
            if let Some((job, done)) = self.take() {
                job();
                done.store(true, Ordering::Release);
                last = Instant::now();
            } else if last.elapsed() < LOOK {
                std::hint::spin_loop();
            } else {
                let mut jobs = self.jobs.lock();
                if jobs.is_empty() {
                    self.asleep.fetch_add(1, Ordering::Relaxed);
                    self.more.wait(&mut jobs);
                    self.asleep.fetch_sub(1, Ordering::Relaxed);
                }
                drop(jobs);
                last = Instant::now();
            }
        }
    }
}

/// Whether copies are shared among threads here.
pub(crate) fn is_parallel() -> bool {
    HELPERS.count > 0
}

/// Work that goes on.
#[must_use]
pub(crate) struct Going(Arc<AtomicBool>);

/// Has some thread do `job`, at the latest the one that waits for it.
pub(crate) fn start(job: impl FnOnce() + Send + 'static) -> Going {
    let helpers = *HELPERS;
    let done = Arc::new(AtomicBool::new(false));
    let mut jobs = helpers.jobs.lock();
    jobs.push_back((Box::new(job), done.clone()));
    helpers.waiting.fetch_add(1, Ordering::Relaxed);
    let wake = helpers.asleep.load(Ordering::Relaxed) > 0;
    drop(jobs);
    if wake {
        helpers.more.notify_one();
    }
    Going(done)
}

impl Going {
    /// Work that is done already.
    pub(crate) fn done() -> Self {
        Going(Arc::new(AtomicBool::new(true)))
    }

    pub(crate) fn wait(self) {
        while !self.0.load(Ordering::Acquire) {
            match HELPERS.take() {
                Some((job, done)) => {
                    job();
                    done.store(true, Ordering::Release);
                }
                None => std::hint::spin_loop(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_work_is_done_whoever_does_it() {
        let sum = Arc::new(AtomicUsize::new(0));
        let going: Vec<Going> = (1..=100)
            .map(|n| {
                let sum = sum.clone();
                start(move || {
                    sum.fetch_add(n, Ordering::Relaxed);
                })
            })
            .collect();
        for one in going {
            one.wait();
        }
        assert_eq!(sum.load(Ordering::Relaxed), 5050);
    }
}
