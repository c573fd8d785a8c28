// SPDX-License-Identifier: MIT OR Apache-2.0
//! A device that executes kernels on the processor.
//!
//! Work of a stream goes into a queue; the [`scheduler`] runs the queues of different streams at
//! the same time. What a command does at once and what it leaves to its stream are two things:
//! tables ([`streams`], [`memory`], [`modules`]) hold the state as of the last command that was
//! issued, so that a bad address is refused at once and an allocation may reuse addresses whose
//! memory is still in use; the address space of the engine holds what kernels can reach now.

mod checker;
mod context;
mod device;
mod info;
mod launch;
mod load;
mod memory;
mod modules;
mod options;
mod printed;
mod scheduler;
mod streams;
mod textures;
mod work;

use std::sync::Arc;

use parking_lot::Mutex;
use vcuda_protocol::Status;
use vcuda_protocol::layout::MAX_DEVICES;
use vcuda_ptx::{AddressSpace, Engine, MemoryError, Region};

use super::Device;
use crate::status;
use crate::window::Window;
pub use checker::Checker;
use context::{Context, Core};
use memory::Memory;
use modules::Modules;
pub use options::{CpuOptions, OptionError};
use scheduler::Scheduler;
use streams::{Place, Streams, WorkPoint};
use textures::Textures;
use work::Work;

/// Streams that may execute at the same time, as on NVIDIA's hardware.
const MAX_CONCURRENT_STREAMS: usize = 32;

/// Why CPU devices could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    #[error("There can be 1 to {MAX_DEVICES} CPU devices, not {0}.")]
    Count(u32),
    #[error("A device can have up to {} MiB of memory, not {} MiB.", options::MAX_MEMORY >> 20, .0 >> 20)]
    Memory(u64),
    #[error("The device memory could not be set up: {0}")]
    Space(#[from] MemoryError),
    #[error("A thread for streams could not be started: {0}.")]
    Thread(#[from] std::io::Error),
}

/// One CPU device. See the [module](self).
pub struct CpuDevice {
    index: u32,
    context: Arc<Context>,
    machine: Arc<Machine>,
}

/// What the devices of a session share. A copy from one to another is then like any other.
struct Machine {
    options: CpuOptions,
    core: Arc<Core>,
    scheduler: Scheduler<Work>,
    tables: Mutex<Tables>,
}

/// The state as of the last command issued. Never locked while work is pushed or waited for.
struct Tables {
    streams: Streams,
    memory: Memory,
    modules: Modules,
    /// Of each device.
    textures: Vec<Textures>,
}

impl Tables {
    fn textures(&mut self, device: u32) -> Result<&mut Textures, Status> {
        self.textures
            .get_mut(device as usize)
            .ok_or(status::INVALID_DEVICE)
    }
}

/// Where address space is scarce, a device is not made smaller than this.
const SMALLEST_MEMORY: u64 = 16 << 20;

/// Each device's heap, its arrays and its modules' variables.
fn device_regions(options: &CpuOptions) -> Result<Vec<Region>, MemoryError> {
    let mut regions = Vec::new();
    for index in 0..options.devices {
        for (base, len) in [
            memory::heap(index, options),
            memory::arrays(index, options),
            memory::globals(index, options),
            memory::kernel_heap(index, options),
        ] {
            regions.push(Region::anonymous(base, len)?);
        }
    }
    Ok(regions)
}

impl CpuDevice {
    /// Devices for one session, whose host memory lies in `window`.
    pub fn create(
        options: CpuOptions,
        window: Option<&Window>,
    ) -> Result<Vec<Arc<dyn Device>>, CpuError> {
        CpuDevice::create_checked(options, window, None)
    }

    /// The same; their kernels are looked at by the checker.
    pub fn create_checked(
        mut options: CpuOptions,
        window: Option<&Window>,
        checker: Option<Arc<Checker>>,
    ) -> Result<Vec<Arc<dyn Device>>, CpuError> {
        if !(1..=MAX_DEVICES as u32).contains(&options.devices) {
            return Err(CpuError::Count(options.devices));
        }
        if options.memory == 0 || options.memory > options::MAX_MEMORY {
            return Err(CpuError::Memory(options.memory));
        }
        let mut regions = loop {
            match device_regions(&options) {
                Ok(regions) => break regions,
                // Address space is limited (ulimit -v): a device with less memory may fit.
                Err(MemoryError::Map { .. }) if options.memory > SMALLEST_MEMORY => {
                    options.memory /= 2;
                }
                Err(error) => return Err(error.into()),
            }
        };
        if let Some(window) = window.filter(|window| !window.is_empty()) {
            regions.push(shared_region(window)?);
        }
        let mut space = AddressSpace::new(regions)?;
        if checker
            .as_ref()
            .is_some_and(|checker| checker.checks().uninitialized)
        {
            space = space.tracked()?;
        }
        let core = Arc::new(Core {
            space,
            checker,
            engine: Engine::new(options.threads),
            time_limit: options.time_limit,
            _window: window.cloned(),
        });
        let machine = Arc::new(Machine {
            core: core.clone(),
            scheduler: Scheduler::new(MAX_CONCURRENT_STREAMS)?,
            tables: Mutex::new(Tables {
                streams: Streams::new(options.devices),
                memory: Memory::new(&options),
                modules: Modules::default(),
                textures: (0..options.devices).map(|_| Textures::default()).collect(),
            }),
            options,
        });
        let device = |index| {
            Arc::new(CpuDevice {
                index,
                context: Context::new(core.clone(), memory::kernel_heap(index, &machine.options)),
                machine: machine.clone(),
            }) as Arc<dyn Device>
        };
        Ok((0..machine.options.devices).map(device).collect())
    }
}

fn shared_region(window: &Window) -> Result<Region, MemoryError> {
    let len = window.len();
    let memory = window.memory.range(0, len as usize);
    let memory = memory.ok_or(MemoryError::InvalidRange {
        addr: window.base,
        len,
    })?;
    // SAFETY: the range is the whole of the window's memory, which stays mapped as long as its
    // owner; `Core` keeps that beside the address space.
    unsafe { Region::shared(window.base, memory, len) }
}

impl Machine {
    /// Pushes work and gives its end. Call it with the tables unlocked.
    fn push(&self, place: Place, work: Work) -> WorkPoint {
        self.scheduler.push(&place.queue, place.behind, work);
        place.queue.end()
    }

    /// Frees memory that the tables have let go.
    fn free_later(&self, place: Place, memory: Vec<(u64, u64)>) {
        let addresses = memory.iter().map(|&(address, _)| address).collect();
        let core = self.core.clone();
        let gone = self.push(place, Work::Free { core, addresses });
        let tables = &mut *self.tables.lock();
        for (address, size) in memory {
            tables.memory.leave(address, size, gone.clone());
        }
    }
}
