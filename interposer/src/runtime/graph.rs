// SPDX-License-Identifier: MIT OR Apache-2.0
//! Graph management: the functions whose structures are those of the Runtime API. The others are in
//! `graph/functions.rs`.

use super::copy::Memcpy3D;
use super::execution::KernelNodeParams;
use super::symbols;
use crate::abi::{In, Out};
use crate::contexts;
use crate::copy::{Direction, Side, Transfer};
use crate::entry::export;
use crate::graph::arguments::{
    AnyNodeParams, Described, MemsetParams, OwnKind, add, check_edges, of, read, set,
};
use crate::graph::{Operation, exec, table};
use crate::{Result, error};

fn kernel(params: In<KernelNodeParams>) -> Result<Operation> {
    Ok(Operation::Kernel(params.get()?.launch()?))
}

/// A copy, checked as far as it can be before it is launched.
fn checked(transfer: Transfer) -> Result<Operation> {
    transfer.check()?;
    Ok(Operation::Copy(transfer))
}

fn cuboid(params: In<Memcpy3D>) -> Result<Operation> {
    checked(params.get()?.transfer()?)
}

fn linear(dst: u64, src: u64, size: usize, direction: Direction) -> Result<Operation> {
    checked(Transfer {
        dst: Side::linear(dst),
        src: Side::linear(src),
        extent: vcuda_protocol::Extent::linear(size as u64),
        direction,
    })
}

fn row(dst: u64, src: u64, size: usize, kind: u32) -> Result<Operation> {
    linear(dst, src, size, Direction::from_kind(kind)?)
}

fn to_symbol(symbol: u64, src: u64, size: usize, offset: usize, kind: u32) -> Result<Operation> {
    let direction = symbols::direction(kind, Direction::HostToDevice)?;
    linear(symbols::range(symbol, size, offset)?, src, size, direction)
}

fn from_symbol(dst: u64, symbol: u64, size: usize, offset: usize, kind: u32) -> Result<Operation> {
    let direction = symbols::direction(kind, Direction::DeviceToHost)?;
    linear(dst, symbols::range(symbol, size, offset)?, size, direction)
}

fn fill(params: In<MemsetParams>) -> Result<Operation> {
    params.get()?.operation(contexts::active()?.wire)
}

/// `cudaMemcpyNodeParams`
#[repr(C)]
#[derive(Clone, Copy)]
struct MemcpyNodeParams {
    flags: u32,
    reserved: [u32; 3],
    copy: Memcpy3D,
}

/// What `cudaGraphNodeParams` describe.
fn described(params: AnyNodeParams) -> Result<Described> {
    Described::by(params, |kind| match kind {
        OwnKind::Kernel => {
            let params: KernelNodeParams = read(params)?;
            Ok(Operation::Kernel(params.launch()?))
        }
        OwnKind::Copy => {
            let params: MemcpyNodeParams = read(params)?;
            if params.flags != 0 || params.reserved != [0; 3] {
                return Err(error::INVALID_VALUE);
            }
            checked(params.copy.transfer()?)
        }
        OwnKind::Fill => {
            let params: MemsetParams = read(params)?;
            params.operation(contexts::active()?.wire)
        }
    })
}

export! { runtime:
    /// `cudaGraphAddKernelNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddKernelNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<KernelNodeParams>,
    ) {
        add(out, graph, (before, count), kernel(params)?)
    }

    /// `cudaGraphKernelNodeGetParams` — CUDA Runtime API, Graph Management. The arguments belong to
    /// the node, and are valid until it changes.
    fn cudaGraphKernelNodeGetParams(node: u64, out: Out<KernelNodeParams>) {
        out.present()?;
        let mut graphs = table::lock();
        let (kernel, arguments) = graphs.node_mut(node)?.kernel()?;
        out.set(KernelNodeParams::of(kernel, arguments))
    }

    /// `cudaGraphKernelNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphKernelNodeSetParams(node: u64, params: In<KernelNodeParams>) {
        set(node, kernel(params)?)
    }

    /// `cudaGraphExecKernelNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecKernelNodeSetParams(exec: u64, node: u64, params: In<KernelNodeParams>) {
        exec::set(exec, node, kernel(params)?)
    }

    /// `cudaGraphAddMemcpyNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddMemcpyNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<Memcpy3D>,
    ) {
        add(out, graph, (before, count), cuboid(params)?)
    }

    /// `cudaGraphMemcpyNodeGetParams` — CUDA Runtime API, Graph Management. A copy of memory is
    /// described by its corners, whatever it was made with.
    fn cudaGraphMemcpyNodeGetParams(node: u64, out: Out<Memcpy3D>) {
        out.present()?;
        let transfer = of(node, |operation| match operation {
            Operation::Copy(transfer) => Some(*transfer),
            _ => None,
        })?;
        out.set(Memcpy3D::of(&transfer)?)
    }

    /// `cudaGraphMemcpyNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphMemcpyNodeSetParams(node: u64, params: In<Memcpy3D>) {
        set(node, cuboid(params)?)
    }

    /// `cudaGraphExecMemcpyNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecMemcpyNodeSetParams(exec: u64, node: u64, params: In<Memcpy3D>) {
        exec::set(exec, node, cuboid(params)?)
    }

    /// `cudaGraphAddMemcpyNode1D` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphAddMemcpyNode1D(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, dst: u64, src: u64, size: usize, kind: u32,
    ) {
        add(out, graph, (before, count), row(dst, src, size, kind)?)
    }

    /// `cudaGraphMemcpyNodeSetParams1D` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphMemcpyNodeSetParams1D(node: u64, dst: u64, src: u64, size: usize, kind: u32) {
        set(node, row(dst, src, size, kind)?)
    }

    /// `cudaGraphExecMemcpyNodeSetParams1D` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphExecMemcpyNodeSetParams1D(exec: u64, node: u64, dst: u64, src: u64, size: usize, kind: u32) {
        exec::set(exec, node, row(dst, src, size, kind)?)
    }

    /// `cudaGraphAddMemcpyNodeToSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphAddMemcpyNodeToSymbol(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize,
        symbol: u64, src: u64, size: usize, offset: usize, kind: u32,
    ) {
        add(out, graph, (before, count), to_symbol(symbol, src, size, offset, kind)?)
    }

    /// `cudaGraphMemcpyNodeSetParamsToSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphMemcpyNodeSetParamsToSymbol(
        node: u64, symbol: u64, src: u64, size: usize, offset: usize, kind: u32,
    ) {
        set(node, to_symbol(symbol, src, size, offset, kind)?)
    }

    /// `cudaGraphExecMemcpyNodeSetParamsToSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphExecMemcpyNodeSetParamsToSymbol(
        exec: u64, node: u64, symbol: u64, src: u64, size: usize, offset: usize, kind: u32,
    ) {
        exec::set(exec, node, to_symbol(symbol, src, size, offset, kind)?)
    }

    /// `cudaGraphAddMemcpyNodeFromSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphAddMemcpyNodeFromSymbol(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize,
        dst: u64, symbol: u64, size: usize, offset: usize, kind: u32,
    ) {
        add(out, graph, (before, count), from_symbol(dst, symbol, size, offset, kind)?)
    }

    /// `cudaGraphMemcpyNodeSetParamsFromSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphMemcpyNodeSetParamsFromSymbol(
        node: u64, dst: u64, symbol: u64, size: usize, offset: usize, kind: u32,
    ) {
        set(node, from_symbol(dst, symbol, size, offset, kind)?)
    }

    /// `cudaGraphExecMemcpyNodeSetParamsFromSymbol` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphExecMemcpyNodeSetParamsFromSymbol(
        exec: u64, node: u64, dst: u64, symbol: u64, size: usize, offset: usize, kind: u32,
    ) {
        exec::set(exec, node, from_symbol(dst, symbol, size, offset, kind)?)
    }

    /// `cudaGraphAddMemsetNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddMemsetNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<MemsetParams>,
    ) {
        add(out, graph, (before, count), fill(params)?)
    }

    /// `cudaGraphExecMemsetNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecMemsetNodeSetParams(exec: u64, node: u64, params: In<MemsetParams>) {
        exec::set(exec, node, fill(params)?)
    }

    /// `cudaGraphAddNode` — CUDA Runtime API 12.2 to 12.9, Graph Management.
    fn cudaGraphAddNode__v12(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: AnyNodeParams,
    ) {
        described(params)?.add(out, graph, (before, count))
    }

    /// `cudaGraphAddNode` — CUDA Runtime API 13.0, Graph Management; before it `cudaGraphAddNode_v2`.
    fn cudaGraphAddNode__v13 | cudaGraphAddNode_v2(
        out: Out<u64>, graph: u64, before: In<u64>, data: In<u64>, count: usize, params: AnyNodeParams,
    ) {
        check_edges(data, count)?;
        described(params)?.add(out, graph, (before, count))
    }

    /// `cudaGraphNodeSetParams` — CUDA Runtime API 12.2, Graph Management. Not for child graphs.
    fn cudaGraphNodeSetParams(node: u64, params: AnyNodeParams) {
        described(params)?.set(node)
    }

    /// `cudaGraphExecNodeSetParams` — CUDA Runtime API 12.2, Graph Management.
    fn cudaGraphExecNodeSetParams(exec: u64, node: u64, params: AnyNodeParams) {
        described(params)?.set_in_exec(exec, node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_are_laid_out_as_in_driver_types_h() {
        assert_eq!(size_of::<KernelNodeParams>(), 56);
        assert_eq!(offset_of!(KernelNodeParams, shared), 32);
        assert_eq!(offset_of!(KernelNodeParams, arguments), 40);
        assert_eq!(size_of::<MemcpyNodeParams>(), 176);
    }
}
