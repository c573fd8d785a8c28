// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several GPUs: access to each other's memory, and work on memory that is not of the stream's GPU.
//!
//! Memory of one GPU is mapped for another when that is first asked for, by the program or by a copy.
//! A copy runs on a GPU that has one of its sides, in a stream there that waits for the one it was
//! issued on, which waits for it.

use vcuda_protocol::{Extent, Status};

use super::copy::{End, transfer};
use super::driver::{CUcontext, CUevent, CUstream, call};
use super::machine::{Machine, State};
use crate::devices::StreamHandle;
use crate::rows::Rows;
use crate::status;

/// `CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED`
const ACCESS_SUPPORTED: u32 = 2;

/// One side of a copy: where it is, and which GPU's that is, if it is one's.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) end: End,
    pub(super) owner: Option<usize>,
}

impl Machine {
    fn can_access(&self, device: usize, peer: usize) -> bool {
        let mut can = 0;
        let (device, peer) = (self.gpus[device].device, self.gpus[peer].device);
        let asked = call!(self.driver, cuDeviceCanAccessPeer(&mut can, device, peer));
        asked.is_ok() && can != 0
    }

    pub(super) fn peer_attribute(
        &self,
        device: usize,
        peer: usize,
        attribute: u32,
    ) -> Result<u32, Status> {
        if attribute == ACCESS_SUPPORTED {
            return Ok(self.can_access(device, peer).into());
        }
        let number = i32::try_from(attribute).map_err(|_| status::INVALID_VALUE)?;
        let (device, peer) = (self.gpus[device].device, self.gpus[peer].device);
        let mut value = 0;
        call!(
            self.driver,
            cuDeviceGetP2PAttribute(&mut value, number, device, peer)
        )?;
        Ok(value.max(0) as u32)
    }
}

impl State {
    /// Lets kernels of a GPU use a peer's memory, or no longer. What is mapped stays mapped: copies
    /// may be under way.
    pub(super) fn peer_access(
        &mut self,
        machine: &Machine,
        device: usize,
        peer: usize,
        enabled: bool,
    ) -> Result<(), Status> {
        if !machine.can_access(device, peer) {
            return Err(status::PEER_ACCESS_UNSUPPORTED);
        }
        machine.enter(peer)?;
        machine.enter(device)?;
        let context = machine.context(peer);
        // The variables of modules are the context's; all other memory is ours.
        let changed = match enabled {
            true => call!(machine.driver, cuCtxEnablePeerAccess(context, 0)),
            false => call!(machine.driver, cuCtxDisablePeerAccess(context)),
        };
        match changed {
            // The client counts for itself.
            Ok(()) | Err(status::PEER_ACCESS_ALREADY_ENABLED | status::PEER_ACCESS_NOT_ENABLED) => {
            }
            Err(other) => return Err(other),
        }
        match enabled {
            true => self.devices[peer].memory.share(machine, device),
            false => Ok(()),
        }
    }

    /// Which GPU's allocation or variable a range lies in; `Some(None)` for host memory, `None` for
    /// no memory that is known.
    pub(super) fn owner(&self, address: u64, len: u64) -> Option<Option<usize>> {
        let mut devices = self.devices.iter();
        match devices.position(|device| device.memory.holds(address, len)) {
            Some(device) => Some(Some(device)),
            None => self.host_holds(address, len).then_some(None),
        }
    }

    /// Copies a box in the order of a stream.
    pub(super) fn move_box(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        to: Side,
        from: Side,
        extent: Extent,
    ) -> Result<(), Status> {
        let (dst, src) = (to.end, from.end);
        // Memory can be mapped for the other GPU, an array cannot.
        let (runner, other) = match dst {
            End::Array(_) => (to.owner.or(from.owner), from),
            End::Memory(..) => (from.owner.or(to.owner), to),
        };
        let mapped_end = other.end;
        let other = other.owner.filter(|&owner| Some(owner) != runner);
        let (Some(runner), Some(other)) = (runner, other) else {
            return self.issue_at(machine, stream, runner, |cu| {
                transfer(machine, cu, dst, src, extent)
            });
        };
        let End::Memory(..) = mapped_end else {
            vcuda_transport::say!("Copies between arrays of two GPUs are not supported.");
            return Err(status::NOT_SUPPORTED);
        };
        let mapped = machine.can_access(runner, other)
            && self.devices[other].memory.share(machine, runner).is_ok();
        if mapped {
            return self.issue_at(machine, stream, Some(runner), |cu| {
                transfer(machine, cu, dst, src, extent)
            });
        }
        let (End::Memory(to, to_rows), End::Memory(from, from_rows)) = (dst, src) else {
            vcuda_transport::say!(
                "Copies between an array and memory of a GPU that does not reach it are not supported."
            );
            return Err(status::NOT_SUPPORTED);
        };
        let (dst, src) = ((to, to_rows), (from, from_rows));
        machine.enter(other)?;
        let contexts = (machine.context(other), machine.context(runner));
        self.issue_at(machine, stream, Some(runner), |cu| {
            through_the_driver(machine, cu, dst, src, extent, contexts)
        })
    }

    /// Does something in the order of a stream, on the GPU `on`, or on the stream's own.
    pub(super) fn issue_at(
        &mut self,
        machine: &Machine,
        stream: StreamHandle,
        on: Option<usize>,
        work: impl FnOnce(CUstream) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let (device, cu) = self.issue(machine, stream)?;
        let on = on.unwrap_or(device);
        if on == device {
            return work(cu);
        }
        let begun = machine.new_event(device, false)?;
        call!(machine.driver, cuEventRecord(begun.cu as CUevent, cu))?;
        let helper = self.helper(machine, stream, on)?;
        call!(
            machine.driver,
            cuStreamWaitEvent(helper, begun.cu as CUevent, 0)
        )?;
        work(helper)?;
        let ended = machine.new_event(on, false)?;
        call!(machine.driver, cuEventRecord(ended.cu as CUevent, helper))?;
        machine.enter(device)?;
        call!(
            machine.driver,
            cuStreamWaitEvent(cu, ended.cu as CUevent, 0)
        )
    }
}

/// Copies row by row between GPUs that do not reach each other.
fn through_the_driver(
    machine: &Machine,
    stream: CUstream,
    (to, to_rows): (u64, Rows),
    (from, from_rows): (u64, Rows),
    extent: Extent,
    (dst, src): (CUcontext, CUcontext),
) -> Result<(), Status> {
    let copy = |to: u64, from: u64, bytes: u64| {
        call!(
            machine.driver,
            cuMemcpyPeerAsync(to, dst, from, src, bytes as usize, stream)
        )
    };
    if to_rows.span() == to_rows.bytes() && from_rows.span() == from_rows.bytes() {
        return copy(to, from, to_rows.bytes());
    }
    for slice in 0..extent.depth {
        for row in 0..extent.height {
            let at =
                |base: u64, rows: Rows| base + slice * rows.pitch().slice + row * rows.pitch().row;
            copy(at(to, to_rows), at(from, from_rows), extent.width)?;
        }
    }
    Ok(())
}
