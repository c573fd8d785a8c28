// SPDX-License-Identifier: MIT OR Apache-2.0
//! What streams do.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use vcuda_protocol::scattered::{Run, Scattered};
use vcuda_protocol::{Extent, Pitch, Status};
use vcuda_ptx::{Findings, Images, Kernel, Launch, Limits};

use super::context::{Context, Core};
use super::printed::Printed;
use super::scheduler::Task;
use crate::devices::{Completion, Operand};
use crate::rows::{Rows, pairs};
use crate::status;

/// Copies and fills up to this size take no longer than waking a thread.
const QUICK_BYTES: u64 = 128 << 10;

/// One piece of a stream's work.
pub(super) enum Work {
    Launch(LaunchWork),
    Copy(Box<CopyWork>),
    Fill(Box<FillWork>),
    /// Notes the time.
    Record(Arc<OnceLock<Instant>>),
    Call {
        context: Arc<Context>,
        function: Completion,
        quick: bool,
    },
    Allocate {
        context: Arc<Context>,
        address: u64,
        size: u64,
        tag: u64,
    },
    Free {
        core: Arc<Core>,
        addresses: Vec<u64>,
    },
    Reset {
        context: Arc<Context>,
        addresses: Vec<u64>,
    },
    /// Only what it waits for matters.
    Nothing,
}

/// A launch that was checked against its kernel.
pub(super) struct LaunchWork {
    pub(super) context: Arc<Context>,
    pub(super) kernel: Arc<Kernel>,
    pub(super) grid: [u32; 3],
    pub(super) block: [u32; 3],
    pub(super) dynamic_shared: u32,
    pub(super) cooperative: bool,
    pub(super) params: Vec<u8>,
    pub(super) images: Arc<Images>,
    pub(super) tag: u64,
}

/// A copy whose operands were checked.
pub(super) struct CopyWork {
    pub(super) context: Arc<Context>,
    pub(super) dst: Operand,
    pub(super) src: Operand,
    pub(super) extent: Extent,
    pub(super) tag: u64,
}

/// A fill whose place was checked.
pub(super) struct FillWork {
    pub(super) context: Arc<Context>,
    pub(super) address: u64,
    pub(super) rows: Rows,
    /// 1, 2 or 4 bytes.
    pub(super) pattern: Vec<u8>,
    pub(super) tag: u64,
}

impl Task for Work {
    fn run(self) {
        match self {
            Work::Launch(launch) => launch.run(),
            Work::Copy(copy) => copy.run(),
            Work::Fill(fill) => fill.run(),
            // Nobody else sets it: each record has its own.
            Work::Record(time) => drop(time.set(Instant::now())),
            Work::Call {
                context, function, ..
            } => function(context.health()),
            Work::Allocate {
                context,
                address,
                size,
                tag,
            } => {
                if let Err(error) = context.core.space.allocate(address, size) {
                    context.fail(tag, status::OUT_OF_MEMORY, &error);
                }
            }
            Work::Free { core, addresses } => free_all(&core, &addresses),
            Work::Reset { context, addresses } => {
                free_all(&context.core, &addresses);
                context.heap.clear(&context.core.space);
                context.recover();
            }
            Work::Nothing => {}
        }
    }

    fn is_quick(&self) -> bool {
        match self {
            Work::Launch(_) => false,
            Work::Call { quick, .. } => *quick,
            Work::Copy(copy) => copy.extent.bytes().is_some_and(|n| n <= QUICK_BYTES),
            Work::Fill(fill) => fill.rows.bytes() <= QUICK_BYTES,
            _ => true,
        }
    }
}

fn free_all(core: &Core, addresses: &[u64]) {
    for &address in addresses {
        if let Err(error) = core.space.free(address) {
            vcuda_transport::say!("{error}");
        }
    }
}

impl LaunchWork {
    fn run(self) {
        if self.context.skips() {
            return;
        }
        let launch = Launch {
            grid: self.grid,
            block: self.block,
            dynamic_shared: self.dynamic_shared,
            params: &self.params,
            cooperative: self.cooperative,
        };
        let core = &self.context.core;
        let printed = Printed::default();
        let limits = Limits {
            abort: Some(self.context.stop_flag()),
            time_limit: core.time_limit,
            output: Some(&printed),
            findings: core
                .checker
                .as_deref()
                .map(|checker| checker as &dyn Findings),
            images: Some(&self.images),
            heap: Some(&self.context.heap),
        };
        let outcome = core.engine.run(&core.space, &self.kernel, &launch, &limits);
        // Before anybody can learn that the kernel has ended.
        drop(printed);
        if let Err(fault) = outcome {
            self.context.fault(self.tag, &fault);
        }
    }
}

impl CopyWork {
    fn run(self) {
        if self.context.skips() {
            return;
        }
        let outcome = self.side(&self.dst).and_then(|(to, to_rows)| {
            let (from, from_rows) = self.side(&self.src)?;
            for (to_offset, from_offset, len) in pairs(to_rows, from_rows) {
                self.note_written(to_offset, from_offset, len);
                copy(&to, to_offset, &from, from_offset, len);
            }
            Ok(())
        });
        if let Err(status) = outcome {
            self.context
                .fail(self.tag, status, &"A copy's memory is gone.");
        }
    }

    /// What is copied counts as written there, if it does here.
    fn note_written(&self, to_offset: u64, from_offset: u64, len: u64) {
        let space = &self.context.core.space;
        match (&self.dst, &self.src) {
            (Operand::Device { address: to, .. }, Operand::Device { address: from, .. }) => {
                space.copy_written(to + to_offset, from + from_offset, len);
            }
            (Operand::Device { address, .. }, Operand::Host { .. }) => {
                space.set_written(address + to_offset, len);
            }
            _ => {}
        }
    }

    /// The bytes of a side in this process, valid for the span of the rows.
    fn side<'a>(&'a self, operand: &'a Operand) -> Result<(Bytes<'a>, Rows), Status> {
        let rows = |pitch: Pitch| Rows::new(self.extent, pitch).ok_or(status::INVALID_VALUE);
        match operand {
            Operand::Device { address, pitch } => {
                let rows = rows(*pitch)?;
                let space = &self.context.core.space;
                let base = space
                    .host_range(*address, rows.span())
                    .map_err(|_| status::ILLEGAL_ADDRESS)?;
                Ok((Bytes::Device(base), rows))
            }
            Operand::Host {
                memory,
                offset,
                pitch,
            } => {
                let rows = rows(*pitch)?;
                match memory.holds(*offset, rows.span()) {
                    true => Ok((Bytes::Host(memory, *offset), rows)),
                    false => Err(status::INVALID_VALUE),
                }
            }
        }
    }
}

/// Where one side of a copy lies.
enum Bytes<'a> {
    Device(*mut u8),
    /// From this offset on.
    Host(&'a Scattered, u64),
}

impl Bytes<'_> {
    /// The first run of a range of the side, which is as long as the range or shorter.
    fn run(&self, offset: u64, len: u64) -> Option<Run> {
        match self {
            Bytes::Device(base) => Some(Run {
                address: base.wrapping_add(offset as usize),
                len: len as usize,
            }),
            Bytes::Host(memory, start) => memory.runs(start + offset, len).next(),
        }
    }
}

/// Copies a range that lies within both sides.
fn copy(to: &Bytes, to_offset: u64, from: &Bytes, from_offset: u64, len: u64) {
    let mut done = 0;
    while done < len {
        let rest = len - done;
        let (Some(to), Some(from)) = (
            to.run(to_offset + done, rest),
            from.run(from_offset + done, rest),
        ) else {
            return;
        };
        let now = to.len.min(from.len);
        // SAFETY: both runs are mapped for `now` bytes: sides vouch for the spans of their rows,
        // and the address space and the operands' owners live as long as the copy. The bytes may
        // change meanwhile, so no reference to them is made.
        unsafe { std::ptr::copy(from.address, to.address, now) };
        done += now as u64;
    }
}

impl FillWork {
    fn run(self) {
        if self.context.skips() {
            return;
        }
        let space = &self.context.core.space;
        for (offset, len) in self.rows.runs() {
            let count = len / self.pattern.len() as u64;
            if let Err(error) = space.fill(self.address + offset, &self.pattern, count) {
                self.context.fail(self.tag, status::ILLEGAL_ADDRESS, &error);
                return;
            }
        }
    }
}
