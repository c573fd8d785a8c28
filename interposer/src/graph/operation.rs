// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a node of a graph does.

use std::ffi::c_void;

use vcuda_protocol::Stream;

use crate::copy::Transfer;
use crate::fill::Fill;
use crate::host_functions::{self, Function, HostFn};
use crate::launch::Kernel;
use crate::{Result, error, streams};

/// An operation, as the call that it came by made it.
#[derive(Clone)]
pub(crate) enum Operation {
    Kernel(Kernel),
    Copy(Transfer),
    Fill(Fill),
    Host(HostCall),
    /// The graph of this handle, which belongs to the node.
    Graph(u64),
    Empty,
    /// Events, by the program's handles.
    WaitEvent(u64),
    RecordEvent(u64),
}

/// A function of the program and its argument.
#[derive(Clone, Copy)]
pub(crate) struct HostCall {
    pub(crate) function: HostFn,
    pub(crate) data: u64,
}

impl Operation {
    /// `cudaGraphNodeType`, `CUgraphNodeType`
    pub(crate) fn kind(&self) -> u32 {
        match self {
            Operation::Kernel(_) => 0,
            Operation::Copy(_) => 1,
            Operation::Fill(_) => 2,
            Operation::Host(_) => 3,
            Operation::Graph(_) => 4,
            Operation::Empty => 5,
            Operation::WaitEvent(_) => 6,
            Operation::RecordEvent(_) => 7,
        }
    }

    /// The operation that takes this one's place in its node: of the same kind. What parameters do
    /// not say stays.
    pub(crate) fn replaced_by(&self, new: Operation) -> Result<Operation> {
        match (self, new) {
            (Operation::Kernel(old), Operation::Kernel(mut new)) => {
                new.launch.cooperative = old.launch.cooperative;
                Ok(Operation::Kernel(new))
            }
            (old, new) if old.kind() == new.kind() => Ok(new),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// Finds what can be found out before anything is issued.
    pub(crate) fn check(&self, stream: Stream) -> Result<()> {
        match self {
            Operation::Kernel(kernel) => match kernel.check_stream(stream) {
                Ok(()) => Ok(()),
                Err(_) => Err(error::unsupported(
                    "graphs with kernels of a device that is not the stream's",
                )),
            },
            Operation::WaitEvent(event) | Operation::RecordEvent(event) => {
                streams::event_entry(*event).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Issues the operation on a stream.
    pub(crate) fn issue(self, stream: Stream) -> Result<()> {
        match self {
            Operation::Kernel(kernel) => kernel.issue(stream),
            Operation::Copy(transfer) => transfer.issue_in_order(stream),
            Operation::Fill(fill) => fill.issue(stream, true),
            Operation::Host(HostCall { function, data }) => {
                let data = data as *mut c_void;
                host_functions::issue(stream, Function::Launched(function), data)
            }
            // What a graph holds has been issued in its place.
            Operation::Graph(_) | Operation::Empty => Ok(()),
            Operation::WaitEvent(event) => {
                streams::issue_wait(stream, streams::event_entry(event)?)
            }
            Operation::RecordEvent(event) => {
                streams::issue_record(stream, event, streams::event_entry(event)?)
            }
        }
    }
}
