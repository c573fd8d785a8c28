// SPDX-License-Identifier: MIT OR Apache-2.0
//! Graph management: the functions whose structures are those of the Driver API. The others are in
//! `graph/functions.rs`.

use super::copy::Memcpy3d;
use super::launch::{KernelNodeParams, KernelNodeParams1};
use crate::abi::{In, Out};
use crate::contexts::{self, Context, Device};
use crate::copy::Transfer;
use crate::entry::export;
use crate::graph::arguments::{
    AnyNodeParams, Described, MemsetParams, OwnKind, add, check_edges, of, read, set,
};
use crate::graph::{Operation, exec, table};
use crate::{Result, error};

fn kernel(params: impl Into<KernelNodeParams>) -> Result<Operation> {
    Ok(Operation::Kernel(params.into().launch()?))
}

/// What a kernel node was made with, read by `read` while the arguments cannot change.
fn kernel_params(node: u64, give: impl FnOnce(KernelNodeParams) -> Result<()>) -> Result<()> {
    let mut graphs = table::lock();
    let (kernel, pointers) = graphs.node_mut(node)?.kernel()?;
    give(KernelNodeParams::of(kernel, pointers)?)
}

/// The device of a context, or of the current one where null is one.
fn device(context: u64) -> Result<&'static Device> {
    match context {
        0 => contexts::bound(),
        context => Context::named(context)?.device(),
    }
}

/// A copy, checked as far as it can be before it is launched.
fn copy(params: Memcpy3d, context: u64) -> Result<Operation> {
    let transfer: Transfer = params.transfer(device(context)?)?;
    // There is no code of its own for a pitch that is too small.
    transfer.check().map_err(|_| error::INVALID_VALUE)?;
    Ok(Operation::Copy(transfer))
}

fn fill(params: MemsetParams, context: u64) -> Result<Operation> {
    params.operation(device(context)?.wire)
}

/// `CUDA_MEMCPY_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
struct MemcpyNodeParams {
    flags: u32,
    reserved: u32,
    context: u64,
    copy: Memcpy3d,
}

/// `CUDA_MEMSET_NODE_PARAMS_v2`
#[repr(C)]
#[derive(Clone, Copy)]
struct MemsetNodeParams {
    fill: MemsetParams,
    context: u64,
}

/// What `CUgraphNodeParams` describe.
fn described(params: AnyNodeParams) -> Result<Described> {
    Described::by(params, |kind| match kind {
        OwnKind::Kernel => kernel(read::<KernelNodeParams>(params)?),
        OwnKind::Copy => {
            let params: MemcpyNodeParams = read(params)?;
            if params.flags != 0 || params.reserved != 0 {
                return Err(error::INVALID_VALUE);
            }
            copy(params.copy, params.context)
        }
        OwnKind::Fill => {
            let params: MemsetNodeParams = read(params)?;
            fill(params.fill, params.context)
        }
    })
}

export! { initialized:
    /// `cuGraphAddKernelNode` — CUDA Driver API 10.0, Graph Management.
    fn cuGraphAddKernelNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<KernelNodeParams1>,
    ) {
        add(out, graph, (before, count), kernel(params.get()?)?)
    }

    /// `cuGraphAddKernelNode_v2` — CUDA Driver API 12.0, Graph Management.
    fn cuGraphAddKernelNode_v2(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<KernelNodeParams>,
    ) {
        add(out, graph, (before, count), kernel(params.get()?)?)
    }

    /// `cuGraphKernelNodeGetParams` — CUDA Driver API 10.0, Graph Management. The arguments belong to
    /// the node, and are valid until it changes.
    fn cuGraphKernelNodeGetParams(node: u64, out: Out<KernelNodeParams1>) {
        kernel_params(node, |params| out.set(params.first()))
    }

    /// `cuGraphKernelNodeGetParams_v2` — CUDA Driver API 12.0, Graph Management.
    fn cuGraphKernelNodeGetParams_v2(node: u64, out: Out<KernelNodeParams>) {
        kernel_params(node, |params| out.set(params))
    }

    /// `cuGraphKernelNodeSetParams` — CUDA Driver API 10.0, Graph Management.
    fn cuGraphKernelNodeSetParams(node: u64, params: In<KernelNodeParams1>) {
        set(node, kernel(params.get()?)?)
    }

    /// `cuGraphKernelNodeSetParams_v2` — CUDA Driver API 12.0, Graph Management.
    fn cuGraphKernelNodeSetParams_v2(node: u64, params: In<KernelNodeParams>) {
        set(node, kernel(params.get()?)?)
    }

    /// `cuGraphExecKernelNodeSetParams` — CUDA Driver API 10.1, Graph Management.
    fn cuGraphExecKernelNodeSetParams(exec: u64, node: u64, params: In<KernelNodeParams1>) {
        exec::set(exec, node, kernel(params.get()?)?)
    }

    /// `cuGraphExecKernelNodeSetParams_v2` — CUDA Driver API 12.0, Graph Management.
    fn cuGraphExecKernelNodeSetParams_v2(exec: u64, node: u64, params: In<KernelNodeParams>) {
        exec::set(exec, node, kernel(params.get()?)?)
    }

    /// `cuGraphAddMemcpyNode` — CUDA Driver API, Graph Management.
    fn cuGraphAddMemcpyNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<Memcpy3d>, context: u64,
    ) {
        add(out, graph, (before, count), copy(params.get()?, context)?)
    }

    /// `cuGraphMemcpyNodeGetParams` — CUDA Driver API, Graph Management. A copy of memory is described
    /// by its corners, whatever it was made with.
    fn cuGraphMemcpyNodeGetParams(node: u64, out: Out<Memcpy3d>) {
        out.present()?;
        let transfer = of(node, |operation| match operation {
            Operation::Copy(transfer) => Some(*transfer),
            _ => None,
        })?;
        out.set(Memcpy3d::of(&transfer)?)
    }

    /// `cuGraphMemcpyNodeSetParams` — CUDA Driver API, Graph Management.
    fn cuGraphMemcpyNodeSetParams(node: u64, params: In<Memcpy3d>) {
        set(node, copy(params.get()?, 0)?)
    }

    /// `cuGraphExecMemcpyNodeSetParams` — CUDA Driver API, Graph Management.
    fn cuGraphExecMemcpyNodeSetParams(exec: u64, node: u64, params: In<Memcpy3d>, context: u64) {
        exec::set(exec, node, copy(params.get()?, context)?)
    }

    /// `cuGraphAddMemsetNode` — CUDA Driver API, Graph Management.
    fn cuGraphAddMemsetNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<MemsetParams>, context: u64,
    ) {
        add(out, graph, (before, count), fill(params.get()?, context)?)
    }

    /// `cuGraphExecMemsetNodeSetParams` — CUDA Driver API, Graph Management.
    fn cuGraphExecMemsetNodeSetParams(exec: u64, node: u64, params: In<MemsetParams>, context: u64) {
        exec::set(exec, node, fill(params.get()?, context)?)
    }

    /// `cuGraphAddNode` — CUDA Driver API 12.2, Graph Management.
    fn cuGraphAddNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: AnyNodeParams,
    ) {
        described(params)?.add(out, graph, (before, count))
    }

    /// `cuGraphAddNode_v2` — CUDA Driver API 12.3, Graph Management.
    fn cuGraphAddNode_v2(
        out: Out<u64>, graph: u64, before: In<u64>, data: In<u64>, count: usize, params: AnyNodeParams,
    ) {
        check_edges(data, count)?;
        described(params)?.add(out, graph, (before, count))
    }

    /// `cuGraphNodeSetParams` — CUDA Driver API 12.2, Graph Management. Not for child graphs.
    fn cuGraphNodeSetParams(node: u64, params: AnyNodeParams) {
        described(params)?.set(node)
    }

    /// `cuGraphExecNodeSetParams` — CUDA Driver API 12.2, Graph Management.
    fn cuGraphExecNodeSetParams(exec: u64, node: u64, params: AnyNodeParams) {
        described(params)?.set_in_exec(exec, node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_are_laid_out_as_in_cuda_h() {
        assert_eq!(size_of::<MemcpyNodeParams>(), 216);
        assert_eq!(offset_of!(MemcpyNodeParams, copy), 16);
        assert_eq!(size_of::<MemsetNodeParams>(), 48);
    }
}
