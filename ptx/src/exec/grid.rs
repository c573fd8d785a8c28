// SPDX-License-Identifier: MIT OR Apache-2.0
//! A grid of thread blocks: threads that take one block after another.

use super::block::{Arena, Block, LaunchMemory, Round};
use super::code::Rows;
use super::fault::Fault;
use super::schedule::Schedule;
use super::special::LaunchShape;
use super::system::Output;
use super::warp::Surroundings;
#[allow(unused_imports)] // for the documentation
use super::watch::Checks;
use super::watch::Findings;
use crate::heap::Heap;
use crate::image::Images;
use crate::kernel::Kernel;
use crate::memory::AddressSpace;
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use parking_lot::{Condvar, Mutex};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

/// A launch runs on the calling thread alone for so long before others are woken.
const ALONE: Duration = Duration::from_micros(20);
/// Rounds of an ordinary block after which its worker begins another one beside it, in case it
/// waits for that.
const PATIENCE: u32 = 256;
/// Blocks of an ordinary grid that a worker runs beside each other at most.
const RESIDENT: usize = 64;
/// Blocks that a worker takes at once at most. Neighbours use memory side by side, which two
/// processors at a time would take from each other.
const RUN: u64 = 32;
/// Parts that are left for each worker when it takes some, so that all end together.
const PARTS: u64 = 8;
/// Blocks of a cooperative grid.
const COOPERATIVE: u64 = 4096;
/// Blocks get multiples of this many bytes of shared memory, which `%total_smem_size` shows.
const SHARED_UNIT: u32 = 128;

/// What is launched.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads per block in x, y and z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// The kernel's parameters, laid out as [`Kernel::params`] says.
    pub params: &'a [u8],
    /// All blocks run at the same time, and may wait for each other.
    pub cooperative: bool,
}

/// When a launch is stopped, and what it has besides memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits<'a> {
    /// Stops the launch once it is true.
    pub abort: Option<&'a AtomicBool>,
    /// Stops the launch after this time.
    pub time_limit: Option<Duration>,
    /// Takes what the kernel prints; without it, that is lost.
    pub output: Option<&'a dyn Output>,
    /// Takes what kernels that are [watched](Checks) find.
    pub findings: Option<&'a dyn Findings>,
    /// Another order of turns than the usual one.
    pub schedule: Option<Schedule>,
    /// Textures and surfaces.
    pub images: Option<&'a Images>,
    /// Where the kernel allocates; without it, it gets nothing.
    pub heap: Option<&'a Heap>,
}

/// Threads that run blocks.
pub struct Engine {
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Pool {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Arc<Job>>,
    closing: bool,
}

/// A launch that several threads work on. The references are valid until `Engine::run` returns,
/// which waits until no thread uses them any more.
struct Job {
    kernel: &'static Kernel,
    space: &'static AddressSpace,
    params: &'static [u8],
    abort: Option<&'static AtomicBool>,
    output: Option<&'static dyn Output>,
    findings: Option<&'static dyn Findings>,
    schedule: Option<Schedule>,
    images: Option<&'static Images>,
    heap: Option<&'static Heap>,
    deadline: Option<(Instant, Duration)>,
    shape: LaunchShape,
    launch_rows: Rows,
    cooperative: bool,
    blocks: u64,
    next: AtomicU64,
    stop: AtomicBool,
    fault: Mutex<Option<(u64, Fault)>>,
    /// Pool threads at work.
    helpers: Mutex<u32>,
    idle: Condvar,
    memory: LaunchMemory,
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::default());
}

impl Engine {
    /// An engine whose launches run on up to `threads` threads, the calling one included.
    pub fn new(threads: usize) -> Engine {
        let pool = Arc::new(Pool::default());
        let threads = (1..threads)
            .filter_map(|worker| {
                let pool = pool.clone();
                // A thread that the system refuses is a thread less; the calling one does the work.
                std::thread::Builder::new()
                    .name(format!("ptx-{worker}"))
                    .spawn(move || pool.serve(worker as u32))
                    .ok()
            })
            .collect();
        Engine { pool, threads }
    }

    /// Threads that a launch may use.
    pub fn threads(&self) -> usize {
        self.threads.len() + 1
    }

    /// Runs a kernel to its end. May be called from several threads at once.
    pub fn run(
        &self,
        space: &AddressSpace,
        kernel: &Kernel,
        launch: &Launch<'_>,
        limits: &Limits<'_>,
    ) -> Result<(), Fault> {
        static GRID_ID: AtomicU64 = AtomicU64::new(1);
        check(kernel, launch)?;
        let blocks = launch
            .grid
            .iter()
            .map(|&extent| u64::from(extent))
            .product();
        let mut shape = LaunchShape::new(launch.grid, launch.block, kernel.specials);
        shape.dynamic_shared = launch.dynamic_shared;
        shape.total_shared =
            (kernel.static_shared() + launch.dynamic_shared).next_multiple_of(SHARED_UNIT);
        shape.grid_id = GRID_ID.fetch_add(1, Ordering::Relaxed);
        shape.workers = self.threads() as u32;
        shape.cooperative = launch.cooperative;
        shape.traffic = (kernel.checks.races && u32::try_from(blocks).is_ok()).then(Arc::default);
        // SAFETY: the references are used by this thread and by pool threads that count themselves
        // in `helpers`; `finish` below waits for all of them and runs even if a block panics.
        let (kernel, space, params, abort, output, findings, images, heap) = unsafe {
            (
                core::mem::transmute::<&Kernel, &'static Kernel>(kernel),
                core::mem::transmute::<&AddressSpace, &'static AddressSpace>(space),
                core::mem::transmute::<&[u8], &'static [u8]>(launch.params),
                core::mem::transmute::<Option<&AtomicBool>, Option<&'static AtomicBool>>(
                    limits.abort,
                ),
                core::mem::transmute::<Option<&dyn Output>, Option<&'static dyn Output>>(
                    limits.output,
                ),
                core::mem::transmute::<Option<&dyn Findings>, Option<&'static dyn Findings>>(
                    limits.findings,
                ),
                core::mem::transmute::<Option<&Images>, Option<&'static Images>>(limits.images),
                core::mem::transmute::<Option<&Heap>, Option<&'static Heap>>(limits.heap),
            )
        };
        let job = Arc::new(Job {
            kernel,
            space,
            params,
            abort,
            output,
            findings,
            schedule: limits.schedule,
            images,
            heap,
            deadline: limits
                .time_limit
                .map(|limit| (Instant::now() + limit, limit)),
            shape,
            launch_rows: kernel.code.launch_rows(launch.params),
            cooperative: launch.cooperative,
            blocks,
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            fault: Mutex::new(None),
            helpers: Mutex::new(0),
            idle: Condvar::new(),
            memory: Default::default(),
        });
        let finish = Finish {
            pool: &self.pool,
            job: &job,
        };
        let publish = (blocks > 1 && !self.threads.is_empty()).then_some(&*self.pool);
        ARENA.with_borrow_mut(|arena| work(&job, 0, arena, publish));
        drop(finish);
        let left_out = job.shape.traffic.as_ref().map_or(0, |all| all.left_out());
        if let (1.., Some(findings)) = (left_out, limits.findings) {
            findings.left_out(kernel.name(), left_out);
        }
        let fault = job.fault.lock().take();
        fault.map_or(Ok(()), |(_, fault)| Err(fault))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.pool.queue.lock().closing = true;
        self.pool.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A worker that panicked has nothing left to clean up.
            let _ = thread.join();
        }
    }
}

/// Takes a job off the queue and waits for its helpers when dropped.
struct Finish<'a> {
    pool: &'a Pool,
    job: &'a Arc<Job>,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if self.job.blocks > 1 {
            self.pool
                .queue
                .lock()
                .jobs
                .retain(|job| !Arc::ptr_eq(job, self.job));
        }
        let mut helpers = self.job.helpers.lock();
        while *helpers > 0 {
            self.job.idle.wait(&mut helpers);
        }
    }
}

/// Counts a pool thread out of a job when dropped.
struct Helper<'a>(&'a Job);

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its block is lost: the launch must not look as if it had succeeded.
            let kernel = self.0.kernel.name().to_owned();
            self.0.fail(0, Fault::WorkerFailed { kernel });
        }
        let mut helpers = self.0.helpers.lock();
        *helpers -= 1;
        if *helpers == 0 {
            self.0.idle.notify_all();
        }
    }
}

impl Pool {
    fn serve(&self, worker: u32) {
        loop {
            let job = {
                let mut queue = self.queue.lock();
                loop {
                    if queue.closing {
                        return;
                    }
                    let open = queue.jobs.iter().find(|job| job.open()).cloned();
                    if let Some(job) = open {
                        // Counted while the queue is locked: the job cannot leave it before.
                        *job.helpers.lock() += 1;
                        break job;
                    }
                    self.wake.wait(&mut queue);
                }
            };
            let _helper = Helper(&job);
            ARENA.with_borrow_mut(|arena| work(&job, worker, arena, None));
        }
    }

    fn publish(&self, job: &Arc<Job>) {
        self.queue.lock().jobs.push(job.clone());
        self.wake.notify_all();
    }
}

impl Job {
    fn open(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.blocks && !self.stop.load(Ordering::Relaxed)
    }

    /// The next block of those that the caller has taken, or of all.
    fn take(&self, taken: &mut Range<u64>) -> Option<u64> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        if taken.is_empty() {
            let next = self.next.load(Ordering::Relaxed);
            let left = self.blocks.checked_sub(next).filter(|&left| left > 0)?;
            let run = match self.cooperative || self.schedule.is_some() {
                // All are there at once, or in the order that is asked for.
                true => 1,
                false => (left / (u64::from(self.shape.workers) * PARTS)).clamp(1, RUN),
            };
            let first = self.next.fetch_add(run, Ordering::Relaxed);
            *taken = first.min(self.blocks)..(first + run).min(self.blocks);
        }
        taken.next()
    }

    fn fail(&self, block: u64, fault: Fault) {
        self.stop.store(true, Ordering::Relaxed);
        let mut slot = self.fault.lock();
        if slot.as_ref().is_none_or(|(other, _)| block < *other) {
            *slot = Some((block, fault));
        }
    }

    /// Whether the launch must stop; says so to all.
    fn overdue(&self) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            return true;
        }
        let kernel = || self.kernel.name().to_owned();
        if self
            .abort
            .is_some_and(|abort| abort.load(Ordering::Relaxed))
        {
            self.fail(u64::MAX, Fault::Aborted { kernel: kernel() });
            return true;
        }
        if let Some((deadline, limit)) = self.deadline
            && Instant::now() >= deadline
        {
            self.fail(
                u64::MAX,
                Fault::TimeLimit {
                    kernel: kernel(),
                    limit,
                },
            );
            return true;
        }
        false
    }
}

/// Runs blocks of a job until none are left. `publish` is the pool to ask for help if this takes
/// long.
fn work(job: &Arc<Job>, worker: u32, arena: &mut Arena, mut publish: Option<&Pool>) {
    let begin = Instant::now();
    let around = Surroundings {
        code: &job.kernel.code,
        space: job.space,
        params: job.params,
        output: job.output,
        findings: job.findings,
        schedule: job.schedule,
        images: job.images,
        heap: job.heap,
        launch_rows: job.launch_rows.as_ptr(),
    };
    let mut resident: VecDeque<(u64, Box<Block>)> = VecDeque::new();
    let mut rounds = 0u32;
    let mut taken = 0..0;
    loop {
        let more = if job.cooperative {
            rounds as usize >= resident.len()
        } else {
            rounds as usize / PATIENCE as usize >= resident.len() && resident.len() < RESIDENT
        };
        if (resident.is_empty() || more)
            && let Some(index) = job.take(&mut taken)
        {
            let block = Block::new(
                job.kernel,
                (&job.shape, job.schedule),
                index,
                &job.memory,
                arena,
                worker,
            );
            resident.push_front((index, block));
        }
        let Some((index, mut block)) = resident.pop_front() else {
            return;
        };
        match block.round(job.kernel, &job.shape, &around, arena) {
            Ok(Round::Done) => {
                block.recycle(arena);
                rounds = 0;
            }
            Ok(Round::Unfinished) => {
                resident.push_back((index, block));
                rounds = rounds.saturating_add(1);
            }
            Err(fault) => job.fail(index, fault),
        }
        if job.overdue() {
            return;
        }
        if let Some(pool) = publish
            && begin.elapsed() > ALONE
        {
            pool.publish(job);
            publish = None;
        }
    }
}

/// The launch fits the kernel.
fn check(kernel: &Kernel, launch: &Launch<'_>) -> Result<(), Fault> {
    let refuse = |reason: String| {
        Err(Fault::InvalidLaunch {
            kernel: kernel.name().into(),
            reason,
        })
    };
    let threads = launch
        .block
        .iter()
        .try_fold(1u32, |product, &extent| product.checked_mul(extent));
    let limit = kernel.max_threads_per_block();
    let threads = match threads {
        Some(threads) if threads > 0 && threads <= limit => threads,
        _ => {
            return refuse(format!(
                "a block of {:?} threads is not between 1 and {limit} threads",
                launch.block
            ));
        }
    };
    if let Some(required) = kernel.required_block()
        && required != launch.block
    {
        return refuse(format!(
            "its block must be {required:?} threads, not {:?}",
            launch.block
        ));
    }
    let blocks = launch.grid.iter().try_fold(1u64, |product, &extent| {
        product.checked_mul(u64::from(extent))
    });
    let Some(blocks @ 1..) = blocks else {
        return refuse(format!(
            "a grid of {:?} blocks is empty or too large",
            launch.grid
        ));
    };
    if launch.params.len() < kernel.param_bytes() as usize {
        return refuse(format!(
            "it has {} bytes of parameters, but {} were given",
            kernel.param_bytes(),
            launch.params.len()
        ));
    }
    let shared = u64::from(kernel.static_shared()) + u64::from(launch.dynamic_shared);
    if shared > 1 << 24 {
        return refuse(format!(
            "{shared} bytes of shared memory are more than a block can have"
        ));
    }
    if launch.cooperative && blocks > COOPERATIVE {
        return refuse(format!(
            "{blocks} blocks of {threads} threads cannot all run at the same time"
        ));
    }
    Ok(())
}
