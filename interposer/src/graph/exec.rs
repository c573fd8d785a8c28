// SPDX-License-Identifier: MIT OR Apache-2.0
//! Graphs that can be launched: what a graph was when it was instantiated, in the order in which it
//! is issued.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use vcuda_protocol::Stream;

use super::table::{self, Graphs};
use super::{Operation, capture};
use crate::contexts::{self, Device};
use crate::streams::{self, DISABLE_TIMING, Target};
use crate::{Result, error};

/// Executable graphs are handed out 16 apart from here.
const EXEC_HANDLES: u64 = 0x7769_0000_0000;

/// `cudaGraphInstantiateFlagUpload`, which the function that takes a stream for it knows;
/// `...AutoFreeOnLaunch` and `...UseNodePriority`, for which there is nothing to do; and
/// `...DeviceLaunch`.
const AUTO_FREE_ON_LAUNCH: u64 = 1;
pub(super) const UPLOAD: u64 = 2;
const DEVICE_LAUNCH: u64 = 4;
const USE_NODE_PRIORITY: u64 = 8;

/// An operation to issue.
struct Step {
    node: u64,
    operation: Operation,
    enabled: bool,
}

/// A node as others see it that are to take its place: what it is, and which nodes of its graph it
/// comes after. Nodes within it follow it.
struct Shape {
    node: u64,
    kind: u32,
    /// By their number within the graph.
    before: Vec<usize>,
    /// How many nodes follow that are within it, and which steps are theirs.
    within: usize,
    steps: Range<usize>,
}

/// A graph in the order in which it is issued.
#[derive(Default)]
struct Plan {
    steps: Vec<Step>,
    /// All nodes, those of a graph in the order in which they were added.
    shape: Vec<Shape>,
    /// The steps of nodes, once there will be no more.
    by_node: BTreeMap<u64, usize>,
}

/// Why a graph cannot be launched, as `cudaGraphInstantiateResult` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) status: vcuda_protocol::Status,
    pub(super) result: u32,
    pub(super) node: u64,
}

impl Failure {
    const ERROR: u32 = 1;
    const INVALID_STRUCTURE: u32 = 2;

    pub(super) fn error(status: vcuda_protocol::Status) -> Self {
        Failure {
            status,
            result: Failure::ERROR,
            node: 0,
        }
    }
}

impl Plan {
    fn of(graphs: &Graphs, graph: u64) -> std::result::Result<Self, Failure> {
        let nodes = &graphs.graph(graph).map_err(Failure::error)?.nodes;
        let order = nodes.order().map_err(|node| Failure {
            status: error::INVALID_VALUE,
            result: Failure::INVALID_STRUCTURE,
            node,
        })?;
        let mut plan = Plan::default();
        // Of each node its steps, and the nodes within it.
        let mut placed: BTreeMap<u64, (Range<usize>, Vec<Shape>)> = BTreeMap::new();
        for node in order {
            let operation = &nodes.get(node).map_err(Failure::error)?.operation;
            let start = plan.steps.len();
            let mut within = Vec::new();
            if let Operation::Graph(child) = operation {
                let mut child = Plan::of(graphs, *child)?;
                plan.steps.append(&mut child.steps);
                within = child.shape;
                for shape in &mut within {
                    shape.steps = shape.steps.start + start..shape.steps.end + start;
                }
            } else {
                plan.steps.push(Step {
                    node,
                    operation: operation.clone(),
                    enabled: true,
                });
            }
            placed.insert(node, (start..plan.steps.len(), within));
        }
        let numbers: BTreeMap<u64, usize> = nodes.iter().map(|(id, _)| id).zip(0..).collect();
        for (id, node) in nodes.iter() {
            let (steps, within) = placed.remove(&id).unwrap_or_default();
            let before = nodes.before(id).map_err(Failure::error)?;
            plan.shape.push(Shape {
                node: id,
                kind: node.operation.kind(),
                before: before
                    .iter()
                    .filter_map(|id| numbers.get(id).copied())
                    .collect(),
                within: within.len(),
                steps,
            });
            plan.shape.extend(within);
        }
        Ok(plan)
    }

    /// The step of a node.
    fn step(&mut self, node: u64) -> Result<&mut Step> {
        let index = self.by_node.get(&node).ok_or(error::INVALID_VALUE)?;
        self.steps.get_mut(*index).ok_or(error::INVALID_VALUE)
    }

    /// Has operations do what those of a graph of the same shape do. Nothing is changed where the
    /// shapes differ.
    fn update(
        &mut self,
        shape: Range<usize>,
        steps: Range<usize>,
        new: Plan,
    ) -> std::result::Result<(), Difference> {
        let shape = self.shape.get(shape).unwrap_or_default();
        let unequal = |node| Difference {
            result: Difference::TOPOLOGY,
            node,
        };
        for (old, new) in shape.iter().zip(&new.shape) {
            if (&old.before, old.within) != (&new.before, new.within) {
                return Err(unequal(new.node));
            }
            if old.kind != new.kind {
                return Err(Difference {
                    result: Difference::KIND,
                    node: new.node,
                });
            }
        }
        if shape.len() != new.shape.len() {
            let surplus = new.shape.get(shape.len()).map_or(0, |shape| shape.node);
            return Err(unequal(surplus));
        }
        let steps = self.steps.get_mut(steps).unwrap_or_default();
        for (old, new) in steps.iter().zip(&new.steps) {
            if let (Operation::Kernel(old), Operation::Kernel(kernel)) =
                (&old.operation, &new.operation)
                && old.function.module.ordinal != kernel.function.module.ordinal
            {
                return Err(Difference {
                    result: Difference::FUNCTION,
                    node: new.node,
                });
            }
        }
        for (old, new) in steps.iter_mut().zip(new.steps) {
            old.operation = new.operation;
        }
        Ok(())
    }
}

/// Why a graph cannot take another one's place, as `cudaGraphExecUpdateResult` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) result: u32,
    pub(super) node: u64,
}

impl Difference {
    const ERROR: u32 = 1;
    const TOPOLOGY: u32 = 2;
    const KIND: u32 = 3;
    const FUNCTION: u32 = 7;
}

/// A graph that can be launched.
struct Exec {
    plan: Plan,
    flags: u64,
    /// Where it was launched last, and an event that was recorded behind that: its launches come one
    /// after the other whatever their streams (CUDA Runtime API, cudaGraphLaunch).
    last: Option<(u64, Stream)>,
}

struct Execs {
    by_handle: BTreeMap<u64, Arc<Mutex<Exec>>>,
    next: u64,
}

static EXECS: Mutex<Execs> = Mutex::new(Execs {
    by_handle: BTreeMap::new(),
    next: 1,
});

fn find(handle: u64) -> Result<Arc<Mutex<Exec>>> {
    let found = EXECS.lock().by_handle.get(&handle).cloned();
    found.ok_or(error::INVALID_VALUE)
}

/// `cudaGraphInstantiate`
pub(super) fn instantiate(graph: u64, flags: u64) -> std::result::Result<u64, Failure> {
    if flags & !(AUTO_FREE_ON_LAUNCH | UPLOAD | DEVICE_LAUNCH | USE_NODE_PRIORITY) != 0 {
        return Err(Failure::error(error::INVALID_VALUE));
    }
    if flags & DEVICE_LAUNCH != 0 {
        return Err(Failure::error(error::unsupported(
            "graphs that kernels launch",
        )));
    }
    let mut plan = Plan::of(&table::lock(), graph)?;
    plan.by_node = plan.steps.iter().map(|step| step.node).zip(0..).collect();
    let last = None;
    let exec = Arc::new(Mutex::new(Exec { plan, flags, last }));
    let mut execs = EXECS.lock();
    let handle = EXEC_HANDLES + execs.next * 16;
    execs.next += 1;
    execs.by_handle.insert(handle, exec);
    Ok(handle)
}

/// `cudaGraphExecDestroy`. What was launched goes on.
pub(super) fn destroy(handle: u64) -> Result<()> {
    let removed = EXECS.lock().by_handle.remove(&handle);
    let exec = removed.ok_or(error::INVALID_VALUE)?;
    if let Some((event, _)) = exec.lock().last.take() {
        // A reset of its device has destroyed it already.
        let _ = streams::destroy_event(event);
    }
    Ok(())
}

/// `cudaGraphExecGetFlags`
pub(super) fn flags(handle: u64) -> Result<u64> {
    Ok(find(handle)?.lock().flags)
}

/// `cudaGraphUpload`: there is nothing to prepare on the device.
pub(super) fn upload(handle: u64, stream: u64) -> Result<()> {
    find(handle)?;
    streams::resolve(stream).map(drop)
}

/// `cudaGraphLaunch`. In a stream that is being captured it becomes a graph within the other.
pub(super) fn launch(handle: u64, stream: u64) -> Result<()> {
    let exec = find(handle)?;
    let mut exec = exec.lock();
    let device = contexts::device(streams::entry(stream)?.ordinal as i32)?;
    match streams::target(stream, true)? {
        Target::Capture(stream) => {
            let operations = exec.enabled().map(|step| step.operation.clone());
            capture::add_launch(stream, operations.collect())
        }
        Target::Stream(stream) => exec.issue(device, stream),
    }
}

impl Exec {
    fn enabled(&self) -> impl Iterator<Item = &Step> {
        self.plan.steps.iter().filter(|step| step.enabled)
    }

    fn issue(&mut self, device: &Device, stream: Stream) -> Result<()> {
        for step in self.enabled() {
            step.operation.check(stream)?;
        }
        // An event that is gone was of a device that was reset.
        self.last = (self.last).filter(|(event, _)| streams::event_entry(*event).is_ok());
        if let Some((event, on)) = self.last
            && on != stream
        {
            streams::issue_wait(stream, streams::event_entry(event)?)?;
        }
        for step in self.enabled() {
            step.operation.clone().issue(stream)?;
        }
        let event = match self.last.take() {
            Some((event, on)) if on.device == stream.device => event,
            other => {
                if let Some((event, _)) = other {
                    streams::destroy_event(event)?;
                }
                streams::create_event(device, DISABLE_TIMING)?
            }
        };
        self.last = Some((event, stream));
        streams::issue_record(stream, event, streams::event_entry(event)?)
    }
}

/// `cudaGraphExecKernelNodeSetParams` and its siblings: what the node does at later launches.
pub(crate) fn set(handle: u64, node: u64, operation: Operation) -> Result<()> {
    let exec = find(handle)?;
    let mut exec = exec.lock();
    let step = exec.plan.step(node)?;
    step.operation = step.operation.replaced_by(operation)?;
    Ok(())
}

/// `cudaGraphExecChildGraphNodeSetParams`: a graph of the same shape.
pub(crate) fn set_child(handle: u64, node: u64, graph: u64) -> Result<()> {
    let exec = find(handle)?;
    let mut exec = exec.lock();
    let new = Plan::of(&table::lock(), graph).map_err(|failure| failure.status)?;
    let is_it = |shape: &Shape| shape.node == node && shape.kind == Operation::Graph(0).kind();
    let index = exec.plan.shape.iter().position(is_it);
    let index = index.ok_or(error::INVALID_VALUE)?;
    let shape = exec.plan.shape.get(index).ok_or(error::INVALID_VALUE)?;
    let (within, steps) = (shape.within, shape.steps.clone());
    let updated = exec.plan.update(index + 1..index + 1 + within, steps, new);
    updated.map_err(|_| error::GRAPH_EXEC_UPDATE_FAILURE)
}

/// `cudaGraphNodeSetEnabled`: kernels, fills and copies can be left out.
pub(super) fn set_enabled(handle: u64, node: u64, enabled: bool) -> Result<()> {
    let exec = find(handle)?;
    let mut exec = exec.lock();
    let step = exec.plan.step(node)?;
    step.can_be_disabled()?;
    step.enabled = enabled;
    Ok(())
}

/// `cudaGraphNodeGetEnabled`
pub(super) fn is_enabled(handle: u64, node: u64) -> Result<bool> {
    let exec = find(handle)?;
    let mut exec = exec.lock();
    let step = exec.plan.step(node)?;
    step.can_be_disabled()?;
    Ok(step.enabled)
}

impl Step {
    fn can_be_disabled(&self) -> Result<()> {
        match self.operation {
            Operation::Kernel(_) | Operation::Copy(_) | Operation::Fill(_) => Ok(()),
            _ => Err(error::INVALID_VALUE),
        }
    }
}

/// `cudaGraphExecUpdate`: it does from now on what a graph of the same shape does. Nodes are paired
/// in the order in which they were added.
pub(super) fn update(
    handle: u64,
    graph: u64,
) -> std::result::Result<(), (vcuda_protocol::Status, Difference)> {
    let generic = |status| {
        let node = 0;
        let result = Difference::ERROR;
        (status, Difference { result, node })
    };
    let exec = find(handle).map_err(generic)?;
    let mut exec = exec.lock();
    let new = Plan::of(&table::lock(), graph).map_err(|failure| generic(failure.status))?;
    let (shape, steps) = (0..exec.plan.shape.len(), 0..exec.plan.steps.len());
    let updated = exec.plan.update(shape, steps, new);
    updated.map_err(|difference| (error::GRAPH_EXEC_UPDATE_FAILURE, difference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn event(number: u64) -> Operation {
        Operation::RecordEvent(number)
    }

    /// Which events a plan records, in its order.
    fn events(plan: &Plan) -> Vec<u64> {
        let number = |step: &Step| match step.operation {
            Operation::RecordEvent(number) => number,
            _ => panic!("a step that records an event"),
        };
        plan.steps.iter().map(number).collect()
    }

    fn add(graphs: &mut Graphs, graph: u64, before: &[u64], operation: Operation) -> u64 {
        let before = before.iter().copied().collect();
        graphs.add(graph, before, operation).unwrap()
    }

    /// A graph of an event, a graph of two events, and an event, one behind the other.
    fn nested(graphs: &mut Graphs, from: u64) -> (u64, u64) {
        let inner = graphs
            .chain([event(from + 1), event(from + 2)].into_iter())
            .unwrap();
        let graph = graphs.create();
        let first = add(graphs, graph, &[], event(from));
        let child = graphs
            .add_child(graph, BTreeSet::from([first]), inner)
            .unwrap();
        add(graphs, graph, &[child], event(from + 3));
        (graph, child)
    }

    fn whole(plan: &mut Plan, new: Plan) -> std::result::Result<(), Difference> {
        let (shape, steps) = (0..plan.shape.len(), 0..plan.steps.len());
        plan.update(shape, steps, new)
    }

    #[test]
    fn graphs_within_a_graph_are_issued_in_their_place() {
        let mut graphs = Graphs::new();
        let (graph, _) = nested(&mut graphs, 10);
        let plan = Plan::of(&graphs, graph).unwrap();
        assert_eq!(events(&plan), [10, 11, 12, 13]);
        let within: Vec<_> = plan.shape.iter().map(|s| (s.kind, s.within)).collect();
        assert_eq!(within, [(7, 0), (4, 2), (7, 0), (7, 0), (7, 0)]);
        assert_eq!(plan.shape[1].steps, 1..3);
    }

    #[test]
    fn a_cycle_is_an_invalid_structure() {
        let mut graphs = Graphs::new();
        let graph = graphs.create();
        let a = add(&mut graphs, graph, &[], event(1));
        let b = add(&mut graphs, graph, &[a], event(2));
        let nodes = &mut graphs.graph_mut(graph).unwrap().nodes;
        nodes.link(&[(b, a)]).unwrap();
        let failure = Plan::of(&graphs, graph).err().unwrap();
        assert_eq!(failure.result, Failure::INVALID_STRUCTURE);
        assert!([a, b].contains(&failure.node));
    }

    #[test]
    fn a_graph_of_the_same_shape_takes_the_place_of_another() {
        let mut graphs = Graphs::new();
        let (graph, _) = nested(&mut graphs, 10);
        let (other, _) = nested(&mut graphs, 20);
        let mut plan = Plan::of(&graphs, graph).unwrap();
        let nodes: Vec<_> = plan.steps.iter().map(|step| step.node).collect();
        whole(&mut plan, Plan::of(&graphs, other).unwrap()).unwrap();
        assert_eq!(events(&plan), [20, 21, 22, 23]);
        // The program still names the nodes of the first graph.
        assert!(plan.steps.iter().map(|step| step.node).eq(nodes));
    }

    #[test]
    fn a_graph_of_another_shape_changes_nothing_and_its_node_is_named() {
        let mut graphs = Graphs::new();
        let (graph, _) = nested(&mut graphs, 10);
        let mut plan = Plan::of(&graphs, graph).unwrap();
        let topology = |node| {
            let result = Difference::TOPOLOGY;
            Err(Difference { result, node })
        };

        let (longer, _) = nested(&mut graphs, 20);
        let surplus = add(&mut graphs, longer, &[], event(30));
        let new = Plan::of(&graphs, longer).unwrap();
        assert_eq!(whole(&mut plan, new), topology(surplus));

        let empty = graphs.create();
        let new = Plan::of(&graphs, empty).unwrap();
        assert_eq!(whole(&mut plan, new), topology(0));

        let (other, _) = nested(&mut graphs, 40);
        let nodes = &mut graphs.graph_mut(other).unwrap().nodes;
        let (from, to) = nodes.edges()[0];
        nodes.unlink(&[(from, to)]).unwrap();
        let new = Plan::of(&graphs, other).unwrap();
        assert_eq!(whole(&mut plan, new), topology(to));
        assert_eq!(events(&plan), [10, 11, 12, 13]);
    }

    #[test]
    fn a_node_of_another_kind_is_named() {
        let mut graphs = Graphs::new();
        let [first, second] = [event(1), Operation::WaitEvent(1)].map(|operation| {
            let graph = graphs.create();
            (graph, add(&mut graphs, graph, &[], operation))
        });
        let mut plan = Plan::of(&graphs, first.0).unwrap();
        let new = Plan::of(&graphs, second.0).unwrap();
        let difference = whole(&mut plan, new).unwrap_err();
        assert_eq!(difference.result, Difference::KIND);
        assert_eq!(difference.node, second.1);
    }

    #[test]
    fn a_graph_within_another_is_updated_by_itself() {
        let mut graphs = Graphs::new();
        let (graph, _) = nested(&mut graphs, 10);
        let mut plan = Plan::of(&graphs, graph).unwrap();
        let inner = graphs.chain([event(50), event(51)].into_iter()).unwrap();
        let new = Plan::of(&graphs, inner).unwrap();
        let steps = plan.shape[1].steps.clone();
        plan.update(2..4, steps, new).unwrap();
        assert_eq!(events(&plan), [10, 50, 51, 13]);
    }

    #[test]
    fn handles_that_are_none_are_refused() {
        let wrong = Err(error::INVALID_VALUE);
        for handle in [0, 1, EXEC_HANDLES, u64::MAX] {
            assert_eq!(destroy(handle), wrong);
            assert_eq!(flags(handle).map(drop), wrong);
            assert_eq!(set(handle, 0, Operation::Empty), wrong);
            assert_eq!(set_enabled(handle, 0, false), wrong);
            assert_eq!(set_child(handle, 0, 0), wrong);
            assert_eq!(update(handle, 0).unwrap_err().0, error::INVALID_VALUE);
        }
    }
}
