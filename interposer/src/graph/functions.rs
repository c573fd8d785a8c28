// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of graphs and of stream capture that both APIs have with the same arguments.

// The names are CUDA's.
#![allow(non_snake_case)]

use std::ffi::c_char;

use super::arguments::{
    EdgeData, HostNodeParams, MemsetParams, add, add_child, check_edges, edges, give, give_data,
    link, neighbours, nodes_at, of, set, unlink,
};
use super::capture::{self, Mode};
use super::exec::{self, Failure};
use super::{Operation, table};
use crate::abi::{In, Out};
use crate::entry::export;
use crate::{Result, contexts, error, streams, thread};

/// `cudaGraphInstantiateParams`, `CUDA_GRAPH_INSTANTIATE_PARAMS`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct InstantiateParams {
    flags: u64,
    stream: u64,
    node: u64,
    result: u32,
}

fn instantiate_with(out: Out<u64>, graph: u64, params: Out<InstantiateParams>) -> Result<()> {
    out.present()?;
    let mut asked = params.get()?;
    let upload = |_: &u64| match asked.flags & exec::UPLOAD {
        0 => Ok(()),
        _ => streams::resolve(asked.stream).map(drop),
    };
    let outcome = exec::instantiate(graph, asked.flags);
    let outcome = outcome.and_then(|exec| upload(&exec).map_err(Failure::error).map(|()| exec));
    match outcome {
        Ok(exec) => {
            (asked.node, asked.result) = (0, 0);
            params.set(asked)?;
            out.set(exec)
        }
        Err(failure) => {
            (asked.node, asked.result) = (failure.node, failure.result);
            params.set(asked)?;
            Err(failure.status)
        }
    }
}

fn instantiate(out: Out<u64>, graph: u64, flags: u64) -> Result<()> {
    out.present()?;
    if flags & exec::UPLOAD != 0 {
        return Err(error::INVALID_VALUE);
    }
    let exec = exec::instantiate(graph, flags);
    out.set(exec.map_err(|failure| failure.status)?)
}

/// As before CUDA 12, with a log of what is wrong.
fn instantiate_with_log(
    out: Out<u64>,
    graph: u64,
    node: Out<u64>,
    log: Out<c_char>,
    room: usize,
) -> Result<()> {
    out.present()?;
    let outcome = exec::instantiate(graph, 0);
    let (wrong, text) = match &outcome {
        Ok(_) => (0, ""),
        Err(failure) if failure.node != 0 => (failure.node, "The graph has a cycle."),
        Err(_) => (0, "The graph cannot be instantiated."),
    };
    node.set_if_wanted(wrong);
    if !log.is_null() && room > 0 {
        log.set_text(text, room)?;
    }
    out.set(outcome.map_err(|failure| failure.status)?)
}

/// `cudaGraphExecUpdateResultInfo`, `CUgraphExecUpdateResultInfo`
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct UpdateResult {
    result: u32,
    node: u64,
    from: u64,
}

fn update(exec: u64, graph: u64) -> (Result<()>, UpdateResult) {
    let (outcome, result, node) = match exec::update(exec, graph) {
        Ok(()) => (Ok(()), 0, 0),
        Err((status, difference)) => (Err(status), difference.result, difference.node),
    };
    let from = 0;
    (outcome, UpdateResult { result, node, from })
}

/// What a program asks of the capture of a stream; any of it may be null but the status.
struct Asked {
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<u64>,
    nodes: Out<*const u64>,
    data: Out<*const EdgeData>,
    count: Out<usize>,
}

impl Asked {
    fn answer(self, stream: u64) -> Result<()> {
        self.status.present()?;
        let info = capture::info(stream)?;
        self.status.set(info.status)?;
        self.id.set_if_wanted(info.id);
        self.graph.set_if_wanted(info.graph);
        self.nodes.set_if_wanted(info.last);
        self.data.set_if_wanted(info.edges);
        self.count.set_if_wanted(info.count);
        Ok(())
    }
}

fn begin(stream: u64, mode: u32) -> Result<()> {
    capture::begin(stream, mode, None)
}

fn update_capture(
    stream: u64,
    nodes: In<u64>,
    data: In<EdgeData>,
    count: usize,
    flags: u32,
) -> Result<()> {
    check_edges(data, count)?;
    capture::update(stream, nodes_at(nodes, count)?, flags)
}

/// Exports each body under its name of the Runtime API and that of the Driver API. `bound`: the
/// driver asks for a current context.
macro_rules! both {
    (bound: $( $(#[$meta:meta])* fn $runtime:ident $(| $alias:ident)* $(/ $twin:ident)*
        , $driver:ident $(| $driver_alias:ident)* $(/ $driver_twin:ident)* ($($args:tt)*) $body:block )*) => {
        $(
            both!(@runtime $(#[$meta])* $runtime $(| $alias)* $(/ $twin)* ($($args)*) $body);
            both!(@bound $(#[$meta])* $driver $(| $driver_alias)* $(/ $driver_twin)* ($($args)*) $body);
        )*
    };
    ($( $(#[$meta:meta])* fn $runtime:ident $(| $alias:ident)* $(/ $twin:ident)*
        , $driver:ident $(| $driver_alias:ident)* $(/ $driver_twin:ident)* ($($args:tt)*) $body:block )*) => {
        $(
            both!(@runtime $(#[$meta])* $runtime $(| $alias)* $(/ $twin)* ($($args)*) $body);
            both!(@driver $(#[$meta])* $driver $(| $driver_alias)* $(/ $driver_twin)* ($($args)*) $body);
        )*
    };
    (@runtime $(#[$meta:meta])* $name:ident $(| $alias:ident)* $(/ $twin:ident)* ($($arg:ident : $type:ty),* $(,)?) $body:block) => {
        export! { runtime: $(#[$meta])* fn $name $(| $alias)* $(/ $twin)* ($($arg: $type),*) $body }
    };
    (@driver $(#[$meta:meta])* $name:ident $(| $alias:ident)* $(/ $twin:ident)* ($($arg:ident : $type:ty),* $(,)?) $body:block) => {
        export! { initialized: $(#[$meta])* fn $name $(| $alias)* $(/ $twin)* ($($arg: $type),*) $body }
    };
    (@bound $(#[$meta:meta])* $name:ident $(| $alias:ident)* $(/ $twin:ident)* ($($arg:ident : $type:ty),* $(,)?) $body:block) => {
        export! { initialized: $(#[$meta])* fn $name $(| $alias)* $(/ $twin)* ($($arg: $type),*) {
            contexts::bound()?;
            $body
        } }
    };
}

both! {
    /// `cudaGraphCreate` — CUDA Runtime API, Graph Management. `flags` must be 0.
    fn cudaGraphCreate, cuGraphCreate(out: Out<u64>, flags: u32) {
        out.present()?;
        match flags {
            0 => out.set(table::lock().create()),
            _ => Err(error::INVALID_VALUE),
        }
    }

    /// `cudaGraphDestroy` — CUDA Runtime API, Graph Management.
    fn cudaGraphDestroy, cuGraphDestroy(graph: u64) {
        table::lock().destroy(graph)
    }

    /// `cudaGraphClone` — CUDA Runtime API, Graph Management.
    fn cudaGraphClone, cuGraphClone(out: Out<u64>, original: u64) {
        out.present()?;
        out.set(table::lock().clone_graph(original)?)
    }

    /// `cudaGraphNodeFindInClone` — CUDA Runtime API, Graph Management.
    fn cudaGraphNodeFindInClone, cuGraphNodeFindInClone(out: Out<u64>, original: u64, clone: u64) {
        out.present()?;
        out.set(table::lock().find_in_clone(original, clone)?)
    }

    /// `cudaGraphAddEmptyNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddEmptyNode, cuGraphAddEmptyNode(out: Out<u64>, graph: u64, before: In<u64>, count: usize) {
        add(out, graph, (before, count), Operation::Empty)
    }

    /// `cudaGraphAddHostNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddHostNode, cuGraphAddHostNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, params: In<HostNodeParams>,
    ) {
        add(out, graph, (before, count), params.get()?.operation()?)
    }

    /// `cudaGraphHostNodeGetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphHostNodeGetParams, cuGraphHostNodeGetParams(node: u64, out: Out<HostNodeParams>) {
        out.present()?;
        let call = of(node, |operation| match operation {
            Operation::Host(call) => Some(*call),
            _ => None,
        })?;
        out.set(HostNodeParams::of(call))
    }

    /// `cudaGraphHostNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphHostNodeSetParams, cuGraphHostNodeSetParams(node: u64, params: In<HostNodeParams>) {
        set(node, params.get()?.operation()?)
    }

    /// `cudaGraphExecHostNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecHostNodeSetParams, cuGraphExecHostNodeSetParams(
        exec: u64, node: u64, params: In<HostNodeParams>,
    ) {
        exec::set(exec, node, params.get()?.operation()?)
    }

    /// `cudaGraphMemsetNodeGetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphMemsetNodeGetParams, cuGraphMemsetNodeGetParams(node: u64, out: Out<MemsetParams>) {
        out.present()?;
        let fill = of(node, |operation| match operation {
            Operation::Fill(fill) => Some(*fill),
            _ => None,
        })?;
        out.set(MemsetParams::of(&fill)?)
    }

    /// `cudaGraphMemsetNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphMemsetNodeSetParams, cuGraphMemsetNodeSetParams(node: u64, params: In<MemsetParams>) {
        set(node, params.get()?.operation(contexts::current()?.wire)?)
    }

    /// `cudaGraphAddChildGraphNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphAddChildGraphNode, cuGraphAddChildGraphNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, child: u64,
    ) {
        add_child(out, graph, (before, count), child)
    }

    /// `cudaGraphChildGraphNodeGetGraph` — CUDA Runtime API, Graph Management.
    fn cudaGraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph(node: u64, out: Out<u64>) {
        out.present()?;
        out.set(of(node, |operation| match operation {
            Operation::Graph(graph) => Some(*graph),
            _ => None,
        })?)
    }

    /// `cudaGraphExecChildGraphNodeSetParams` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecChildGraphNodeSetParams, cuGraphExecChildGraphNodeSetParams(
        exec: u64, node: u64, child: u64,
    ) {
        exec::set_child(exec, node, child)
    }

    /// `cudaGraphAddEventRecordNode` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphAddEventRecordNode, cuGraphAddEventRecordNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, event: u64,
    ) {
        streams::event_entry(event)?;
        add(out, graph, (before, count), Operation::RecordEvent(event))
    }

    /// `cudaGraphEventRecordNodeGetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphEventRecordNodeGetEvent, cuGraphEventRecordNodeGetEvent(node: u64, out: Out<u64>) {
        out.present()?;
        out.set(of(node, |operation| match operation {
            Operation::RecordEvent(event) => Some(*event),
            _ => None,
        })?)
    }

    /// `cudaGraphEventRecordNodeSetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphEventRecordNodeSetEvent, cuGraphEventRecordNodeSetEvent(node: u64, event: u64) {
        streams::event_entry(event)?;
        set(node, Operation::RecordEvent(event))
    }

    /// `cudaGraphExecEventRecordNodeSetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphExecEventRecordNodeSetEvent, cuGraphExecEventRecordNodeSetEvent(
        exec: u64, node: u64, event: u64,
    ) {
        streams::event_entry(event)?;
        exec::set(exec, node, Operation::RecordEvent(event))
    }

    /// `cudaGraphAddEventWaitNode` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphAddEventWaitNode, cuGraphAddEventWaitNode(
        out: Out<u64>, graph: u64, before: In<u64>, count: usize, event: u64,
    ) {
        streams::event_entry(event)?;
        add(out, graph, (before, count), Operation::WaitEvent(event))
    }

    /// `cudaGraphEventWaitNodeGetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphEventWaitNodeGetEvent, cuGraphEventWaitNodeGetEvent(node: u64, out: Out<u64>) {
        out.present()?;
        out.set(of(node, |operation| match operation {
            Operation::WaitEvent(event) => Some(*event),
            _ => None,
        })?)
    }

    /// `cudaGraphEventWaitNodeSetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphEventWaitNodeSetEvent, cuGraphEventWaitNodeSetEvent(node: u64, event: u64) {
        streams::event_entry(event)?;
        set(node, Operation::WaitEvent(event))
    }

    /// `cudaGraphExecEventWaitNodeSetEvent` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphExecEventWaitNodeSetEvent, cuGraphExecEventWaitNodeSetEvent(
        exec: u64, node: u64, event: u64,
    ) {
        streams::event_entry(event)?;
        exec::set(exec, node, Operation::WaitEvent(event))
    }

    /// `cudaGraphDestroyNode` — CUDA Runtime API, Graph Management.
    fn cudaGraphDestroyNode, cuGraphDestroyNode(node: u64) {
        table::lock().destroy_node(node)
    }

    /// `cudaGraphNodeGetType` — CUDA Runtime API, Graph Management.
    fn cudaGraphNodeGetType, cuGraphNodeGetType(node: u64, out: Out<u32>) {
        out.present()?;
        out.set(of(node, |operation| Some(operation.kind()))?)
    }

    /// `cudaGraphGetNodes` — CUDA Runtime API, Graph Management.
    fn cudaGraphGetNodes, cuGraphGetNodes(graph: u64, out: Out<u64>, count: Out<usize>) {
        count.present()?;
        let nodes: Vec<u64> = {
            let graphs = table::lock();
            graphs.graph(graph)?.nodes.iter().map(|(id, _)| id).collect()
        };
        give(&nodes, out, count)
    }

    /// `cudaGraphGetRootNodes` — CUDA Runtime API, Graph Management.
    fn cudaGraphGetRootNodes, cuGraphGetRootNodes(graph: u64, out: Out<u64>, count: Out<usize>) {
        count.present()?;
        let roots = table::lock().graph(graph)?.nodes.roots();
        give(&roots, out, count)
    }

    /// `cudaGraphGetEdges` — CUDA Runtime API 10.0 to 12.9, Graph Management.
    fn cudaGraphGetEdges__v10, cuGraphGetEdges(graph: u64, from: Out<u64>, to: Out<u64>, count: Out<usize>) {
        edges(graph, from, to, count)
    }

    /// `cudaGraphGetEdges` — CUDA Runtime API 13.0, Graph Management; before it `cudaGraphGetEdges_v2`.
    fn cudaGraphGetEdges__v13 | cudaGraphGetEdges_v2, cuGraphGetEdges_v2(
        graph: u64, from: Out<u64>, to: Out<u64>, data: Out<EdgeData>, count: Out<usize>,
    ) {
        edges(graph, from, to, count)?;
        match from.is_null() {
            true => Ok(()),
            false => give_data(data, count),
        }
    }

    /// `cudaGraphNodeGetDependencies` — CUDA Runtime API 10.0 to 12.9, Graph Management.
    fn cudaGraphNodeGetDependencies__v10, cuGraphNodeGetDependencies(
        node: u64, out: Out<u64>, count: Out<usize>,
    ) {
        neighbours(node, |graph| graph.nodes.before(node), out, count)
    }

    /// `cudaGraphNodeGetDependencies` — CUDA Runtime API 13.0, Graph Management; before it
    /// `cudaGraphNodeGetDependencies_v2`.
    fn cudaGraphNodeGetDependencies__v13 | cudaGraphNodeGetDependencies_v2, cuGraphNodeGetDependencies_v2(
        node: u64, out: Out<u64>, data: Out<EdgeData>, count: Out<usize>,
    ) {
        neighbours(node, |graph| graph.nodes.before(node), out, count)?;
        match out.is_null() {
            true => Ok(()),
            false => give_data(data, count),
        }
    }

    /// `cudaGraphNodeGetDependentNodes` — CUDA Runtime API 10.0 to 12.9, Graph Management.
    fn cudaGraphNodeGetDependentNodes__v10, cuGraphNodeGetDependentNodes(
        node: u64, out: Out<u64>, count: Out<usize>,
    ) {
        neighbours(node, |graph| graph.nodes.after(node), out, count)
    }

    /// `cudaGraphNodeGetDependentNodes` — CUDA Runtime API 13.0, Graph Management; before it
    /// `cudaGraphNodeGetDependentNodes_v2`.
    fn cudaGraphNodeGetDependentNodes__v13 | cudaGraphNodeGetDependentNodes_v2, cuGraphNodeGetDependentNodes_v2(
        node: u64, out: Out<u64>, data: Out<EdgeData>, count: Out<usize>,
    ) {
        neighbours(node, |graph| graph.nodes.after(node), out, count)?;
        match out.is_null() {
            true => Ok(()),
            false => give_data(data, count),
        }
    }

    /// `cudaGraphAddDependencies` — CUDA Runtime API 10.0 to 12.9, Graph Management.
    fn cudaGraphAddDependencies__v10, cuGraphAddDependencies(
        graph: u64, from: In<u64>, to: In<u64>, count: usize,
    ) {
        link(graph, from, to, count)
    }

    /// `cudaGraphAddDependencies` — CUDA Runtime API 13.0, Graph Management; before it
    /// `cudaGraphAddDependencies_v2`.
    fn cudaGraphAddDependencies__v13 | cudaGraphAddDependencies_v2, cuGraphAddDependencies_v2(
        graph: u64, from: In<u64>, to: In<u64>, data: In<EdgeData>, count: usize,
    ) {
        check_edges(data, count)?;
        link(graph, from, to, count)
    }

    /// `cudaGraphRemoveDependencies` — CUDA Runtime API 10.0 to 12.9, Graph Management.
    fn cudaGraphRemoveDependencies__v10, cuGraphRemoveDependencies(
        graph: u64, from: In<u64>, to: In<u64>, count: usize,
    ) {
        unlink(graph, from, to, count)
    }

    /// `cudaGraphRemoveDependencies` — CUDA Runtime API 13.0, Graph Management; before it
    /// `cudaGraphRemoveDependencies_v2`.
    fn cudaGraphRemoveDependencies__v13 | cudaGraphRemoveDependencies_v2, cuGraphRemoveDependencies_v2(
        graph: u64, from: In<u64>, to: In<u64>, data: In<EdgeData>, count: usize,
    ) {
        check_edges(data, count)?;
        unlink(graph, from, to, count)
    }

    /// `cudaGraphInstantiate` — CUDA Runtime API 10.0 to 11.8, Graph Management.
    fn cudaGraphInstantiate__v10, cuGraphInstantiate | cuGraphInstantiate_v2(
        out: Out<u64>, graph: u64, node: Out<u64>, log: Out<c_char>, room: usize,
    ) {
        instantiate_with_log(out, graph, node, log, room)
    }

    /// `cudaGraphInstantiate` — CUDA Runtime API 12.0, Graph Management; before it
    /// `cudaGraphInstantiateWithFlags`.
    fn cudaGraphInstantiate__v12 | cudaGraphInstantiateWithFlags, cuGraphInstantiateWithFlags(
        out: Out<u64>, graph: u64, flags: u64,
    ) {
        instantiate(out, graph, flags)
    }

    /// `cudaGraphInstantiateWithParams` — CUDA Runtime API 12.0, Graph Management.
    fn cudaGraphInstantiateWithParams / cudaGraphInstantiateWithParams_ptsz,
        cuGraphInstantiateWithParams / cuGraphInstantiateWithParams_ptsz(
        out: Out<u64>, graph: u64, params: Out<InstantiateParams>,
    ) {
        instantiate_with(out, graph, params)
    }

    /// `cudaGraphExecGetFlags` — CUDA Runtime API 12.0, Graph Management.
    fn cudaGraphExecGetFlags, cuGraphExecGetFlags(exec: u64, out: Out<u64>) {
        out.present()?;
        out.set(exec::flags(exec)?)
    }

    /// `cudaGraphExecDestroy` — CUDA Runtime API, Graph Management.
    fn cudaGraphExecDestroy, cuGraphExecDestroy(exec: u64) {
        exec::destroy(exec)
    }

    /// `cudaGraphExecUpdate` — CUDA Runtime API 10.2 to 11.8, Graph Management.
    fn cudaGraphExecUpdate__v10_2, cuGraphExecUpdate(exec: u64, graph: u64, node: Out<u64>, result: Out<u32>) {
        let (outcome, found) = update(exec, graph);
        node.set_if_wanted(found.node);
        result.set_if_wanted(found.result);
        outcome
    }

    /// `cudaGraphExecUpdate` — CUDA Runtime API 12.0, Graph Management.
    fn cudaGraphExecUpdate__v12, cuGraphExecUpdate_v2(exec: u64, graph: u64, result: Out<UpdateResult>) {
        let (outcome, found) = update(exec, graph);
        result.set_if_wanted(found);
        outcome
    }

    /// `cudaGraphNodeSetEnabled` — CUDA Runtime API 11.6, Graph Management.
    fn cudaGraphNodeSetEnabled, cuGraphNodeSetEnabled(exec: u64, node: u64, enabled: u32) {
        exec::set_enabled(exec, node, enabled != 0)
    }

    /// `cudaGraphNodeGetEnabled` — CUDA Runtime API 11.6, Graph Management.
    fn cudaGraphNodeGetEnabled, cuGraphNodeGetEnabled(exec: u64, node: u64, out: Out<u32>) {
        out.present()?;
        out.set(exec::is_enabled(exec, node)?.into())
    }

    /// `cudaThreadExchangeStreamCaptureMode` — CUDA Runtime API 10.1, Stream Management.
    fn cudaThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode(mode: Out<u32>) {
        let new = Mode::of(mode.get()?)?;
        mode.set(thread::with(|t| t.capture_mode.replace(new)) as u32)
    }
}

both! { bound:
    /// `cudaGraphUpload` — CUDA Runtime API 11.1, Graph Management.
    fn cudaGraphUpload / cudaGraphUpload_ptsz, cuGraphUpload / cuGraphUpload_ptsz(exec: u64, stream: u64) {
        exec::upload(exec, stream)
    }

    /// `cudaGraphLaunch` — CUDA Runtime API, Graph Management.
    fn cudaGraphLaunch / cudaGraphLaunch_ptsz, cuGraphLaunch / cuGraphLaunch_ptsz(exec: u64, stream: u64) {
        exec::launch(exec, stream)
    }

    /// `cudaStreamBeginCapture` — CUDA Runtime API 10.0, Stream Management.
    fn cudaStreamBeginCapture__v10 / cudaStreamBeginCapture_ptsz__v10,
        cuStreamBeginCapture / cuStreamBeginCapture_ptsz(stream: u64) {
        begin(stream, Mode::Global as u32)
    }

    /// `cudaStreamBeginCapture` — CUDA Runtime API 10.1, Stream Management.
    fn cudaStreamBeginCapture__v10_1 / cudaStreamBeginCapture_ptsz__v10_1,
        cuStreamBeginCapture_v2 / cuStreamBeginCapture_v2_ptsz(stream: u64, mode: u32) {
        begin(stream, mode)
    }

    /// `cudaStreamBeginCaptureToGraph` — CUDA Runtime API 12.3, Stream Management.
    fn cudaStreamBeginCaptureToGraph / cudaStreamBeginCaptureToGraph_ptsz,
        cuStreamBeginCaptureToGraph / cuStreamBeginCaptureToGraph_ptsz(
        stream: u64, graph: u64, nodes: In<u64>, data: In<EdgeData>, count: usize, mode: u32,
    ) {
        check_edges(data, count)?;
        capture::begin(stream, mode, Some((graph, nodes_at(nodes, count)?)))
    }

    /// `cudaStreamEndCapture` — CUDA Runtime API, Stream Management. The graph is null where the
    /// capture came to nothing.
    fn cudaStreamEndCapture / cudaStreamEndCapture_ptsz,
        cuStreamEndCapture / cuStreamEndCapture_ptsz(stream: u64, out: Out<u64>) {
        out.present()?;
        let outcome = capture::end(stream);
        out.set(outcome.unwrap_or(0))?;
        outcome.map(drop)
    }

    /// `cudaStreamIsCapturing` — CUDA Runtime API, Stream Management.
    fn cudaStreamIsCapturing / cudaStreamIsCapturing_ptsz,
        cuStreamIsCapturing / cuStreamIsCapturing_ptsz(stream: u64, status: Out<u32>) {
        status.present()?;
        status.set(capture::info(stream)?.status)
    }

    /// `cudaStreamGetCaptureInfo` — CUDA Runtime API 10.1 to 12.9, Stream Management.
    fn cudaStreamGetCaptureInfo__v10_1 / cudaStreamGetCaptureInfo_ptsz__v10_1,
        cuStreamGetCaptureInfo / cuStreamGetCaptureInfo_ptsz(stream: u64, status: Out<u32>, id: Out<u64>) {
        let (graph, nodes, data, count) = (Out::null(), Out::null(), Out::null(), Out::null());
        Asked { status, id, graph, nodes, data, count }.answer(stream)
    }

    /// `cudaStreamGetCaptureInfo_v2` — CUDA Runtime API 11.3 to 12.9, Stream Management.
    fn cudaStreamGetCaptureInfo_v2 / cudaStreamGetCaptureInfo_v2_ptsz,
        cuStreamGetCaptureInfo_v2 / cuStreamGetCaptureInfo_v2_ptsz(
        stream: u64, status: Out<u32>, id: Out<u64>, graph: Out<u64>, nodes: Out<*const u64>, count: Out<usize>,
    ) {
        let data = Out::null();
        Asked { status, id, graph, nodes, data, count }.answer(stream)
    }

    /// `cudaStreamGetCaptureInfo` — CUDA Runtime API 13.0, Stream Management; before it
    /// `cudaStreamGetCaptureInfo_v3`.
    fn cudaStreamGetCaptureInfo__v13 | cudaStreamGetCaptureInfo_v3
        / cudaStreamGetCaptureInfo_ptsz__v13 / cudaStreamGetCaptureInfo_v3_ptsz,
        cuStreamGetCaptureInfo_v3 / cuStreamGetCaptureInfo_v3_ptsz(
        stream: u64, status: Out<u32>, id: Out<u64>, graph: Out<u64>, nodes: Out<*const u64>,
        data: Out<*const EdgeData>, count: Out<usize>,
    ) {
        Asked { status, id, graph, nodes, data, count }.answer(stream)
    }

    /// `cudaStreamUpdateCaptureDependencies` — CUDA Runtime API 11.3 to 12.9, Stream Management.
    fn cudaStreamUpdateCaptureDependencies__v11 / cudaStreamUpdateCaptureDependencies_ptsz__v11,
        cuStreamUpdateCaptureDependencies / cuStreamUpdateCaptureDependencies_ptsz(
        stream: u64, nodes: In<u64>, count: usize, flags: u32,
    ) {
        update_capture(stream, nodes, In::null(), count, flags)
    }

    /// `cudaStreamUpdateCaptureDependencies` — CUDA Runtime API 13.0, Stream Management; before it
    /// `cudaStreamUpdateCaptureDependencies_v2`.
    fn cudaStreamUpdateCaptureDependencies__v13 | cudaStreamUpdateCaptureDependencies_v2
        / cudaStreamUpdateCaptureDependencies_ptsz__v13 / cudaStreamUpdateCaptureDependencies_v2_ptsz,
        cuStreamUpdateCaptureDependencies_v2 / cuStreamUpdateCaptureDependencies_v2_ptsz(
        stream: u64, nodes: In<u64>, data: In<EdgeData>, count: usize, flags: u32,
    ) {
        update_capture(stream, nodes, data, count, flags)
    }
}
