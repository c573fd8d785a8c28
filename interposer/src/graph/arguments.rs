// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the functions of graphs take and give: nodes and edges in arrays, and structures that both
//! APIs have alike.

use std::collections::BTreeSet;

use super::table::{self, Graph};
use super::{HostCall, Operation, exec};
use crate::abi::{In, Out};
use crate::copy::Side;
use crate::error::unsupported;
use crate::fill::Fill;
use crate::host_functions::HostFn;
use crate::{Result, error, streams};

/// `cudaGraphEdgeData`, `CUgraphEdgeData`: all zero for an edge that is just an edge.
pub(super) type EdgeData = u64;

/// The nodes of an argument, none of them twice.
pub(crate) fn nodes_at(nodes: In<u64>, count: usize) -> Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for index in 0..count {
        if !found.insert(nodes.at(index)?) {
            return Err(error::INVALID_VALUE);
        }
    }
    Ok(found)
}

/// Edges that say more than which node comes first let kernels overlap, which needs devices that do
/// so.
pub(crate) fn check_edges(data: In<EdgeData>, count: usize) -> Result<()> {
    for index in 0..if data.is_null() { 0 } else { count } {
        if data.at(index)? != 0 {
            return Err(unsupported(
                "edges of graphs that are not of the default type",
            ));
        }
    }
    Ok(())
}

/// Adds a node, and gives its handle.
pub(crate) fn add(
    out: Out<u64>,
    graph: u64,
    before: (In<u64>, usize),
    operation: Operation,
) -> Result<()> {
    out.present()?;
    let before = nodes_at(before.0, before.1)?;
    out.set(table::lock().add(graph, before, operation)?)
}

/// Adds a node with a copy of a graph.
pub(crate) fn add_child(
    out: Out<u64>,
    graph: u64,
    before: (In<u64>, usize),
    child: u64,
) -> Result<()> {
    out.present()?;
    let before = nodes_at(before.0, before.1)?;
    out.set(table::lock().add_child(graph, before, child)?)
}

/// Sets what a node does.
pub(crate) fn set(node: u64, operation: Operation) -> Result<()> {
    table::lock().node_mut(node)?.set(operation)
}

/// What a node does, if it is of the kind that is asked for.
pub(crate) fn of<T>(node: u64, read: impl FnOnce(&Operation) -> Option<T>) -> Result<T> {
    let graphs = table::lock();
    read(&graphs.node(node)?.operation).ok_or(error::INVALID_VALUE)
}

/// Gives a list as CUDA does: where there is no place for it, its length; else as much as there is
/// room for, and zeros behind it.
pub(super) fn give(list: &[u64], out: Out<u64>, count: Out<usize>) -> Result<()> {
    if out.is_null() {
        return count.set(list.len());
    }
    let room = count.get()?;
    for index in 0..room {
        out.at(index)?.set(list.get(index).copied().unwrap_or(0))?;
    }
    count.set(list.len().min(room))
}

/// The data of as many edges as were given.
pub(super) fn give_data(data: Out<EdgeData>, count: Out<usize>) -> Result<()> {
    for index in 0..if data.is_null() { 0 } else { count.get()? } {
        data.at(index)?.set(0)?;
    }
    Ok(())
}

pub(super) fn edges(graph: u64, from: Out<u64>, to: Out<u64>, count: Out<usize>) -> Result<()> {
    count.present()?;
    if from.is_null() != to.is_null() {
        return Err(error::INVALID_VALUE);
    }
    let edges = table::lock().graph(graph)?.nodes.edges();
    let (froms, tos): (Vec<u64>, Vec<u64>) = edges.into_iter().unzip();
    let room = count;
    match from.is_null() {
        true => count.set(froms.len()),
        false => {
            let places = room.get()?;
            give(&froms, from, count)?;
            count.set(places)?;
            give(&tos, to, count)
        }
    }
}

/// Gives the neighbours of a node.
pub(super) fn neighbours(
    node: u64,
    find: impl FnOnce(&Graph) -> Result<&BTreeSet<u64>>,
    out: Out<u64>,
    count: Out<usize>,
) -> Result<()> {
    count.present()?;
    let found: Vec<u64> = {
        let graphs = table::lock();
        find(graphs.graph_of(node)?)?.iter().copied().collect()
    };
    give(&found, out, count)
}

/// Adds or removes edges.
fn change(
    graph: u64,
    from: In<u64>,
    to: In<u64>,
    count: usize,
    how: impl FnOnce(&mut Graph, &[(u64, u64)]) -> Result<()>,
) -> Result<()> {
    let edges: Result<Vec<(u64, u64)>> = (0..count).map(|i| Ok((from.at(i)?, to.at(i)?))).collect();
    how(table::lock().graph_mut(graph)?, &edges?)
}

pub(super) fn link(graph: u64, from: In<u64>, to: In<u64>, count: usize) -> Result<()> {
    change(graph, from, to, count, |g, edges| g.nodes.link(edges))
}

pub(super) fn unlink(graph: u64, from: In<u64>, to: In<u64>, count: usize) -> Result<()> {
    change(graph, from, to, count, |g, edges| g.nodes.unlink(edges))
}

/// `cudaHostNodeParams`, `CUDA_HOST_NODE_PARAMS` and their later variants.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct HostNodeParams {
    function: Option<HostFn>,
    data: u64,
}

impl HostNodeParams {
    pub(super) fn of(call: HostCall) -> Self {
        HostNodeParams {
            function: Some(call.function),
            data: call.data,
        }
    }

    pub(crate) fn operation(self) -> Result<Operation> {
        let function = self.function.ok_or(error::INVALID_VALUE)?;
        let data = self.data;
        Ok(Operation::Host(HostCall { function, data }))
    }
}

/// `cudaMemsetParams`, `CUDA_MEMSET_NODE_PARAMS_v1`
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct MemsetParams {
    address: u64,
    pitch: usize,
    value: u32,
    /// Bytes of an element, and elements of a row.
    element: u32,
    width: usize,
    height: usize,
}

impl MemsetParams {
    /// The fill that the structure describes, by a device that is named as on the wire.
    pub(crate) fn operation(self, device: u32) -> Result<Operation> {
        let element = match self.element {
            1 | 2 | 4 => self.element as u8,
            _ => return Err(error::INVALID_VALUE),
        };
        let pitch = self.pitch as u64;
        if self.height > 1 && !pitch.is_multiple_of(element.into()) {
            return Err(error::INVALID_VALUE);
        }
        let width = (self.width as u64).checked_mul(element.into());
        let fill = Fill {
            dst: Side::pitched(self.address, pitch),
            value: self.value & (u32::MAX >> (32 - 8 * self.element)),
            element,
            extent: vcuda_protocol::Extent {
                width: width.ok_or(error::INVALID_VALUE)?,
                height: self.height as u64,
                depth: 1,
            },
        };
        // There is no code of its own for a pitch that is too small.
        fill.check(device).map_err(|_| error::INVALID_VALUE)?;
        Ok(Operation::Fill(fill))
    }

    pub(super) fn of(fill: &Fill) -> Result<Self> {
        if fill.extent.depth > 1 {
            return Err(unsupported("what a fill of several slices was made with"));
        }
        Ok(MemsetParams {
            address: fill.dst.address,
            pitch: fill.dst.full_pitch(fill.extent).row as usize,
            value: fill.value,
            element: fill.element.into(),
            width: (fill.extent.width / u64::from(fill.element.max(1))) as usize,
            height: fill.extent.height as usize,
        })
    }
}

/// `cudaGraphNodeParams` and `CUgraphNodeParams`, with the structure of one kind of node.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct NodeParams<T> {
    kind: u32,
    reserved: [u32; 3],
    params: T,
}

/// The structure of any kind of node.
pub(crate) type AnyNodeParams = In<NodeParams<u64>>;

/// `cudaChildGraphNodeParams`, `CUDA_CHILD_GRAPH_NODE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
struct ChildGraphNodeParams {
    graph: u64,
    ownership: u32,
}

/// What `cudaGraphNodeParams` describe.
pub(crate) enum Described {
    Operation(Operation),
    Graph(u64),
}

/// The kinds whose structures are not the same in both APIs.
pub(crate) enum OwnKind {
    Kernel,
    Copy,
    Fill,
}

impl Described {
    /// Reads the structure; `own` reads what the API has a structure of its own for.
    pub(crate) fn by(
        params: AnyNodeParams,
        own: impl FnOnce(OwnKind) -> Result<Operation>,
    ) -> Result<Self> {
        /// `cudaGraphNodeTypeExtSemaphoreSignal` to `...Conditional`
        const NOT_IMPLEMENTED: std::ops::RangeInclusive<u32> = 8..=13;
        let common = params.get()?;
        if common.reserved != [0; 3] {
            return Err(error::INVALID_VALUE);
        }
        Ok(Described::Operation(match common.kind {
            0 => own(OwnKind::Kernel)?,
            1 => own(OwnKind::Copy)?,
            2 => own(OwnKind::Fill)?,
            3 => read::<HostNodeParams>(params)?.operation()?,
            4 => {
                let child: ChildGraphNodeParams = read(params)?;
                return match child.ownership {
                    0 => Ok(Described::Graph(child.graph)),
                    1 => Err(unsupported("child graphs that are moved into their node")),
                    _ => Err(error::INVALID_VALUE),
                };
            }
            5 => Operation::Empty,
            6 | 7 => {
                let event: u64 = read(params)?;
                streams::event_entry(event)?;
                match common.kind {
                    6 => Operation::WaitEvent(event),
                    _ => Operation::RecordEvent(event),
                }
            }
            kind if NOT_IMPLEMENTED.contains(&kind) => {
                return Err(unsupported(&format!("graph nodes of type {kind}")));
            }
            _ => return Err(error::INVALID_VALUE),
        }))
    }

    pub(crate) fn add(self, out: Out<u64>, graph: u64, before: (In<u64>, usize)) -> Result<()> {
        match self {
            Described::Operation(operation) => add(out, graph, before, operation),
            Described::Graph(child) => add_child(out, graph, before, child),
        }
    }

    pub(crate) fn set(self, node: u64) -> Result<()> {
        match self {
            Described::Operation(operation) => set(node, operation),
            Described::Graph(_) => Err(unsupported("another graph in the place of a child graph")),
        }
    }

    pub(crate) fn set_in_exec(self, exec: u64, node: u64) -> Result<()> {
        match self {
            Described::Operation(operation) => exec::set(exec, node, operation),
            Described::Graph(child) => exec::set_child(exec, node, child),
        }
    }
}

/// The part of the structure that is of the node's kind.
pub(crate) fn read<T: Copy>(params: AnyNodeParams) -> Result<T> {
    Ok(params.cast::<NodeParams<T>>().get()?.params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn structures_are_laid_out_as_in_the_headers() {
        assert_eq!(size_of::<MemsetParams>(), 40);
        assert_eq!(offset_of!(MemsetParams, width), 24);
        assert_eq!(size_of::<HostNodeParams>(), 16);
        assert_eq!(offset_of!(NodeParams<u64>, params), 16);
        assert_eq!(size_of::<ChildGraphNodeParams>(), 16);
    }

    #[test]
    fn a_list_is_counted_or_given_with_zeros_behind_it() {
        let mut room = 0usize;
        give(&[5, 6], Out::null(), Out::of(&mut room)).unwrap();
        assert_eq!(room, 2);
        let mut places = [9u64; 4];
        for (asked, given, expected) in [(1, 1, [5, 9, 9, 9]), (3, 2, [5, 6, 0, 9])] {
            room = asked;
            give(&[5, 6], Out::of(&mut places[0]), Out::of(&mut room)).unwrap();
            assert_eq!((room, places), (given, expected));
        }
        let none = give(&[5], Out::of(&mut places[0]), Out::null());
        assert_eq!(none, Err(error::INVALID_VALUE));
    }

    #[test]
    fn a_node_that_is_named_twice_is_refused() {
        let nodes = [16u64, 32, 16];
        let found = |count| nodes_at(In::of(&nodes[0]), count);
        assert_eq!(found(2), Ok(BTreeSet::from([16, 32])));
        assert_eq!(found(3), Err(error::INVALID_VALUE));
        assert_eq!(nodes_at(In::null(), 0), Ok(BTreeSet::new()));
        assert_eq!(nodes_at(In::null(), 1), Err(error::INVALID_VALUE));
    }
}
