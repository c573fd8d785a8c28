// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices as the program counts them, and which of them a thread uses.
//!
//! The Runtime API has one primary context for each device. Contexts that the Driver API creates
//! share their device's session state: handles of one are valid in another, which is more than
//! CUDA allows and nothing that a correct program can tell.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;
use vcuda_protocol::{Command, DeviceInfo, Reply, Status};

use crate::memory::DeviceMemory;
use crate::session::{self, Session};
use crate::{Result, arrays, error, modules, peers, pools, streams, thread};

/// A device that CUDA_VISIBLE_DEVICES lets the program see.
pub(crate) struct Device {
    /// Its number for the program, and on the wire.
    pub(crate) ordinal: u32,
    pub(crate) wire: u32,
    pub(crate) info: DeviceInfo,
    /// The attributes of `info`, by number.
    attributes: Vec<Option<i32>>,
    pub(crate) memory: DeviceMemory,
    /// The newest stream id at the last reset: streams up to it are gone.
    pub(crate) gone_streams: AtomicU32,
    /// Whether `in_use` and `active` of the state are known to hold.
    kept: AtomicBool,
    pub(crate) state: Mutex<DeviceState>,
    /// How many priorities streams can have, once it was asked for.
    pub(crate) priorities: OnceLock<u32>,
}

/// What the program has set on a device.
#[derive(Debug, Default)]
pub(crate) struct DeviceState {
    /// Uses of the primary context by the Driver API.
    pub(crate) retained: u32,
    /// Whether the Runtime API uses the primary context.
    pub(crate) in_use: bool,
    /// Whether the primary context exists.
    pub(crate) active: bool,
    pub(crate) flags: u32,
    pub(crate) cache_config: u32,
    /// A bit for each device whose memory its kernels may use, by ordinal.
    pub(crate) peers: u32,
    /// `cudaLimit` numbers and values that were set.
    pub(crate) limits: Vec<(u32, u64)>,
}

impl Device {
    /// The value of a `CUdevice_attribute`.
    pub(crate) fn attribute(&self, number: u32) -> Option<i32> {
        self.attributes.get(number as usize).copied().flatten()
    }
}

/// The highest number of an attribute that a device may say something of.
const MOST_ATTRIBUTES: u32 = 1024;

fn by_number(attributes: &[(u32, i32)]) -> Vec<Option<i32>> {
    let mut table = Vec::new();
    for &(number, value) in attributes.iter().filter(|a| a.0 < MOST_ATTRIBUTES) {
        let len = table.len().max(number as usize + 1);
        table.resize(len, None);
        table[number as usize] = Some(value);
    }
    table
}

static DEVICES: OnceLock<std::result::Result<Vec<Device>, Status>> = OnceLock::new();

/// All devices that the program may see.
pub(crate) fn devices() -> Result<&'static [Device]> {
    let session = session::get()?;
    match DEVICES.get_or_init(|| enumerate(session)) {
        Ok(devices) => Ok(devices),
        Err(status) => Err(*status),
    }
}

fn enumerate(session: &'static Session) -> Result<Vec<Device>> {
    let mut infos = Vec::new();
    for device in 0..session.devices {
        match session.call(&Command::DeviceInfo { device })? {
            Reply::Device(info) => infos.push(info),
            other => return Err(unexpected("DeviceInfo", &other)),
        }
    }
    let order = visible(
        std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref(),
        &infos,
    );
    Ok(order
        .into_iter()
        .enumerate()
        .map(|(ordinal, wire)| {
            let info = infos[wire].clone();
            Device {
                ordinal: ordinal as u32,
                wire: wire as u32,
                memory: DeviceMemory::new(&info),
                attributes: by_number(&info.attributes),
                info,
                gone_streams: AtomicU32::new(0),
                kept: AtomicBool::new(false),
                priorities: OnceLock::new(),
                state: Mutex::default(),
            }
        })
        .collect())
}

/// Which devices CUDA_VISIBLE_DEVICES names, in its order: numbers or UUID prefixes; what follows
/// the first entry that names no device, or one again, is not visible (CUDA Programming Guide,
/// "CUDA environment variables").
fn visible(variable: Option<&str>, infos: &[DeviceInfo]) -> Vec<usize> {
    let Some(list) = variable else {
        return (0..infos.len()).collect();
    };
    let mut order = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let found = match entry.parse::<usize>() {
            Ok(number) => (number < infos.len()).then_some(number),
            Err(_) => {
                let mut matching = (0..infos.len())
                    .filter(|&i| entry.len() > 4 && uuid_text(&infos[i].uuid).starts_with(entry));
                matching.next().filter(|_| matching.next().is_none())
            }
        };
        match found {
            Some(index) if !order.contains(&index) => order.push(index),
            _ => break,
        }
    }
    order
}

/// A UUID as nvidia-smi prints it.
pub(crate) fn uuid_text(uuid: &[u8; 16]) -> String {
    let mut text = String::from("GPU-");
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The device of a number, if the program may see it.
pub(crate) fn device(ordinal: i32) -> Result<&'static Device> {
    let devices = devices()?;
    usize::try_from(ordinal)
        .ok()
        .and_then(|index| devices.get(index))
        .ok_or(if devices.is_empty() {
            error::NO_DEVICE
        } else {
            error::INVALID_DEVICE
        })
}

/// A context: a device's primary one, or one that cuCtxCreate made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) ordinal: u32,
    /// 0: the primary context.
    pub(crate) id: u32,
}

/// Contexts are handed to the program from here: 256 apart, and 16 apart by device in between.
const CONTEXT_HANDLES: u64 = 0x7778_0000_0000;

/// What the program has set on a context that cuCtxCreate made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Created {
    pub(crate) context: Context,
    pub(crate) flags: u32,
    /// Uses by cuCtxAttach, beside the first.
    pub(crate) attached: u32,
}

/// The contexts that cuCtxCreate made, by id.
static CREATED: Mutex<BTreeMap<u32, Created>> = Mutex::new(BTreeMap::new());
static NEXT_CONTEXT: AtomicU32 = AtomicU32::new(1);

impl Context {
    pub(crate) fn primary(device: &Device) -> Self {
        Context {
            ordinal: device.ordinal,
            id: 0,
        }
    }

    /// The `CUcontext` that names it.
    pub(crate) fn handle(self) -> u64 {
        CONTEXT_HANDLES + u64::from(self.id) * 256 + u64::from(self.ordinal) * 16
    }

    /// The context of a `CUcontext`.
    pub(crate) fn named(handle: u64) -> Result<Self> {
        if handle == 0 {
            return Err(error::INVALID_VALUE);
        }
        let offset = handle.wrapping_sub(CONTEXT_HANDLES);
        let context = Context {
            ordinal: (offset / 16 % 16) as u32,
            id: u32::try_from(offset / 256).map_err(|_| error::INVALID_CONTEXT)?,
        };
        let known = match context.id {
            0 => (context.ordinal as usize) < devices()?.len(),
            _ => context.exists(),
        };
        match known && context.handle() == handle {
            true => Ok(context),
            false => Err(error::INVALID_CONTEXT),
        }
    }

    pub(crate) fn device(self) -> Result<&'static Device> {
        device(self.ordinal as i32)
    }

    fn exists(self) -> bool {
        match self.id {
            0 => self.device().is_ok_and(|d| d.state.lock().active),
            id => CREATED.lock().get(&id).is_some_and(|c| c.context == self),
        }
    }

    /// Changes what is known of a context that cuCtxCreate made. `None`: it is no such context.
    pub(crate) fn with_created<R>(self, f: impl FnOnce(&mut Created) -> R) -> Option<R> {
        CREATED.lock().get_mut(&self.id).map(f)
    }
}

/// `cuCtxCreate`: the new context is current, above the one that was.
pub(crate) fn create(device: &Device, flags: u32) -> Result<Context> {
    let context = Context {
        ordinal: device.ordinal,
        id: NEXT_CONTEXT.fetch_add(1, Ordering::Relaxed),
    };
    let created = Created {
        context,
        flags,
        attached: 0,
    };
    CREATED.lock().insert(context.id, created);
    push(context);
    Ok(context)
}

/// `cuCtxDestroy`. What the context held goes with the last context of its device.
pub(crate) fn destroy(context: Context) -> Result<()> {
    if CREATED.lock().remove(&context.id).is_none() {
        return Err(error::INVALID_CONTEXT);
    }
    if current_context() == Some(context) {
        pop();
    }
    clear_if_unused(context.device()?)
}

/// The primary context has one use less.
pub(crate) fn release_primary(device: &Device) -> Result<()> {
    {
        let mut state = device.state.lock();
        state.retained = state
            .retained
            .checked_sub(1)
            .ok_or(error::INVALID_CONTEXT)?;
        state.active = state.retained != 0 || state.in_use;
        if !state.active {
            *state = DeviceState::default();
        }
    }
    clear_if_unused(device)
}

/// Frees what is on a device once it has no context.
fn clear_if_unused(device: &Device) -> Result<()> {
    let created = CREATED.lock();
    let used = created
        .values()
        .any(|c| c.context.ordinal == device.ordinal);
    drop(created);
    match used || device.state.lock().active {
        true => Ok(()),
        false => clear(device),
    }
}

/// Destroys the primary context and all that is on its device (`cudaDeviceReset`,
/// `cuDevicePrimaryCtxReset`). It comes back when it is next used.
pub(crate) fn reset(device: &Device) -> Result<()> {
    {
        let mut state = device.state.lock();
        device.kept.store(false, Ordering::Relaxed);
        *state = DeviceState {
            retained: state.retained,
            ..DeviceState::default()
        };
    }
    clear(device)
}

fn clear(device: &Device) -> Result<()> {
    session::get()?.call(&Command::DeviceReset {
        device: device.wire,
    })?;
    device.memory.clear();
    arrays::forget(device);
    pools::forget(device);
    modules::forget(device);
    streams::forget(device);
    peers::forget(device)
}

/// The calling thread's current context.
pub(crate) fn current_context() -> Option<Context> {
    thread::with(|t| t.contexts.borrow().last().copied())
}

/// Puts a context above the calling thread's current one.
pub(crate) fn push(context: Context) {
    thread::with(|t| t.contexts.borrow_mut().push(context));
}

/// Takes the calling thread's current context away; the one below becomes current.
pub(crate) fn pop() -> Option<Context> {
    thread::with(|t| t.contexts.borrow_mut().pop())
}

/// Makes a context current in the place of the one that is.
pub(crate) fn make_current(context: Context) {
    pop();
    push(context);
}

/// The Runtime API uses a device's primary context from now on, whatever the Driver API releases.
pub(crate) fn keep_primary(device: &Device) {
    if !device.kept.load(Ordering::Relaxed) {
        let mut state = device.state.lock();
        state.in_use = true;
        state.active = true;
        device.kept.store(true, Ordering::Relaxed);
    }
}

/// `cudaSetDevice`: the device's primary context is current from now on.
pub(crate) fn select(device: &Device) {
    keep_primary(device);
    thread::with(|t| t.device.set(device.ordinal));
    make_current(Context::primary(device));
}

/// The device that the calling thread uses: that of its current context, or the one that
/// cudaSetDevice chose.
pub(crate) fn current() -> Result<&'static Device> {
    match current_context() {
        Some(context) if context.id != 0 && !context.exists() => Err(error::CONTEXT_IS_DESTROYED),
        Some(context) => context.device(),
        None => device(thread::with(|t| t.device.get()) as i32),
    }
}

/// Like [`current`], for calls that use the device: they report what earlier work left behind. The
/// Runtime API makes the primary context where there is none.
pub(crate) fn active() -> Result<&'static Device> {
    let device = current()?;
    session::get()?.asynchronous_error(device.wire)?;
    let context = current_context().unwrap_or_else(|| {
        let primary = Context::primary(device);
        push(primary);
        primary
    });
    if context.id == 0 {
        keep_primary(device);
    }
    Ok(device)
}

/// The device of the current context, for calls of the Driver API, which never makes one; they
/// report what earlier work left behind.
pub(crate) fn bound() -> Result<&'static Device> {
    let context = current_context().ok_or(error::INVALID_CONTEXT)?;
    let device = context.device()?;
    if !context.exists() {
        return Err(error::CONTEXT_IS_DESTROYED);
    }
    session::get()?.asynchronous_error(device.wire)?;
    Ok(device)
}

/// Whether cuInit has been called, or the Runtime API has done the same.
pub(crate) fn initialized() -> Result<()> {
    match INITIALIZED.load(Ordering::Relaxed) || session::running().is_some() {
        true => Ok(()),
        false => Err(error::NOT_INITIALIZED),
    }
}

/// `cuInit`
pub(crate) fn initialize() -> Result<()> {
    match devices()? {
        [] => Err(error::NO_DEVICE),
        _ => {
            INITIALIZED.store(true, Ordering::Relaxed);
            Ok(())
        }
    }
}

static INITIALIZED: AtomicBool = AtomicBool::new(false);

/// A reply that does not belong to its command: the worker is not what it says it is.
pub(crate) fn unexpected(command: &str, reply: &Reply) -> Status {
    vcuda_transport::say!("the worker answered {command} with {}.", reply.kind());
    error::UNKNOWN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos() -> Vec<DeviceInfo> {
        (0..3u8)
            .map(|i| DeviceInfo {
                name: String::new(),
                uuid: [i + 1; 16],
                total_memory: 0,
                heap_base: 0,
                heap_len: 0,
                attributes: Vec::new(),
                driver_version: 13000,
            })
            .collect()
    }

    #[test]
    fn without_the_variable_all_devices_are_visible() {
        assert_eq!(visible(None, &infos()), [0, 1, 2]);
    }

    #[test]
    fn the_variable_orders_devices_and_ends_at_its_first_wrong_entry() {
        assert_eq!(visible(Some("2,0"), &infos()), [2, 0]);
        assert_eq!(visible(Some("1,7,0"), &infos()), [1]);
        assert_eq!(visible(Some("1,1"), &infos()), [1]);
        assert_eq!(visible(Some("-1"), &infos()), [0usize; 0]);
        assert_eq!(visible(Some(""), &infos()), [0usize; 0]);
    }

    #[test]
    fn a_uuid_prefix_names_the_one_device_that_has_it() {
        assert_eq!(visible(Some("GPU-0202"), &infos()), [1]);
        assert_eq!(visible(Some("GPU-0"), &infos()), [0usize; 0]);
    }
}
