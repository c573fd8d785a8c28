// SPDX-License-Identifier: MIT OR Apache-2.0
//! The graphs and nodes of the program, by handle.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::{Mutex, MutexGuard};

use super::Operation;
use super::capture::Captures;
use super::structure::Structure;
use crate::abi::In;
use crate::launch::Kernel;
use crate::{Result, error};

/// Graphs are handed out 16 apart from here, nodes from there.
const GRAPH_HANDLES: u64 = 0x7767_0000_0000;
const NODE_HANDLES: u64 = 0x776e_0000_0000;

/// Graphs within graphs: more is a mistake, or an attack on the stack.
const MOST_LEVELS: usize = 64;

/// A node.
pub(crate) struct Node {
    pub(crate) operation: Operation,
    /// What the program was shown of a kernel's arguments; it stays until they change.
    shown: Option<Shown>,
}

/// Arguments of a kernel with a pointer to each, as CUDA's structures have them.
struct Shown {
    _arguments: Vec<u8>,
    pointers: Vec<u64>,
}

impl Shown {
    fn of(kernel: &Kernel) -> Self {
        let mut arguments = kernel.params.clone();
        let start = arguments.as_mut_ptr() as u64;
        let parameters = kernel.function.info.params.iter();
        Shown {
            pointers: parameters
                .map(|&(offset, _)| start + u64::from(offset))
                .collect(),
            _arguments: arguments,
        }
    }

    fn pointers(&mut self) -> In<*const std::ffi::c_void> {
        match self.pointers.is_empty() {
            true => In::null(),
            false => In::table(self.pointers.as_mut_ptr().cast()),
        }
    }
}

impl Node {
    fn new(operation: Operation) -> Self {
        Node {
            operation,
            shown: None,
        }
    }

    /// The kernel of a kernel node, and pointers to its arguments that are valid until it changes.
    pub(crate) fn kernel(&mut self) -> Result<(&Kernel, In<*const std::ffi::c_void>)> {
        let Operation::Kernel(kernel) = &self.operation else {
            return Err(error::INVALID_VALUE);
        };
        let shown = self.shown.get_or_insert_with(|| Shown::of(kernel));
        Ok((kernel, shown.pointers()))
    }

    /// Sets what the node does, which stays of its kind.
    pub(crate) fn set(&mut self, operation: Operation) -> Result<()> {
        self.operation = self.operation.replaced_by(operation)?;
        self.shown = None;
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Structure<Node>,
    /// The node that it belongs to, if it is a child graph.
    owner: Option<u64>,
    /// In a clone: the nodes by those that they were made from.
    clones: BTreeMap<u64, u64>,
}

/// All graphs.
pub(crate) struct Graphs {
    by_handle: BTreeMap<u64, Graph>,
    /// The graph of each node.
    of_node: BTreeMap<u64, u64>,
    next_graph: u64,
    next_node: u64,
    pub(super) captures: Captures,
}

static GRAPHS: Mutex<Graphs> = Mutex::new(Graphs::new());

/// The graphs, for as long as the guard is held.
pub(crate) fn lock() -> MutexGuard<'static, Graphs> {
    GRAPHS.lock()
}

impl Graphs {
    pub(super) const fn new() -> Self {
        Graphs {
            by_handle: BTreeMap::new(),
            of_node: BTreeMap::new(),
            next_graph: 1,
            next_node: 1,
            captures: Captures::new(),
        }
    }

    /// `cudaGraphCreate`
    pub(crate) fn create(&mut self) -> u64 {
        let handle = GRAPH_HANDLES + self.next_graph * 16;
        self.next_graph += 1;
        self.by_handle.insert(handle, Graph::default());
        handle
    }

    /// The graph of a handle.
    pub(crate) fn graph(&self, handle: u64) -> Result<&Graph> {
        self.by_handle.get(&handle).ok_or(error::INVALID_VALUE)
    }

    pub(crate) fn graph_mut(&mut self, handle: u64) -> Result<&mut Graph> {
        self.by_handle.get_mut(&handle).ok_or(error::INVALID_VALUE)
    }

    /// The graph that a node is in.
    pub(crate) fn graph_of(&self, node: u64) -> Result<&Graph> {
        let graph = self.of_node.get(&node).ok_or(error::INVALID_VALUE)?;
        self.graph(*graph)
    }

    pub(crate) fn node(&self, node: u64) -> Result<&Node> {
        self.graph_of(node)?.nodes.get(node)
    }

    pub(crate) fn node_mut(&mut self, node: u64) -> Result<&mut Node> {
        let graph = *self.of_node.get(&node).ok_or(error::INVALID_VALUE)?;
        self.graph_mut(graph)?.nodes.get_mut(node)
    }

    /// Adds a node to a graph, after others of the graph.
    pub(crate) fn add(
        &mut self,
        graph: u64,
        before: BTreeSet<u64>,
        operation: Operation,
    ) -> Result<u64> {
        let node = NODE_HANDLES + self.next_node * 16;
        let nodes = &mut self.graph_mut(graph)?.nodes;
        nodes.insert(node, Node::new(operation), before)?;
        self.next_node += 1;
        self.of_node.insert(node, graph);
        Ok(node)
    }

    /// Adds a node that holds a copy of a graph.
    pub(crate) fn add_child(
        &mut self,
        graph: u64,
        before: BTreeSet<u64>,
        child: u64,
    ) -> Result<u64> {
        if self.depth(graph)? + self.levels(child)? > MOST_LEVELS {
            return Err(error::INVALID_VALUE);
        }
        let child = self.clone_graph(child)?;
        self.adopt(graph, before, child)
    }

    /// Adds a node that holds a graph, which belongs to the node from then on.
    pub(crate) fn adopt(&mut self, graph: u64, before: BTreeSet<u64>, child: u64) -> Result<u64> {
        let added = self.add(graph, before, Operation::Graph(child));
        match added {
            Ok(node) => {
                self.graph_mut(child)?.owner = Some(node);
                Ok(node)
            }
            Err(status) => {
                self.drop_graph(child);
                Err(status)
            }
        }
    }

    /// Adds a graph to a graph that has these operations, one behind the other.
    pub(crate) fn chain(&mut self, operations: impl Iterator<Item = Operation>) -> Result<u64> {
        let graph = self.create();
        let mut last = BTreeSet::new();
        for operation in operations {
            last = BTreeSet::from([self.add(graph, last, operation)?]);
        }
        Ok(graph)
    }

    /// How many graphs a graph lies in, itself included.
    fn depth(&self, graph: u64) -> Result<usize> {
        let mut depth = 1;
        let mut at = self.graph(graph)?;
        while let Some(owner) = at.owner {
            depth += 1;
            at = self.graph_of(owner)?;
        }
        Ok(depth)
    }

    /// How many levels of graphs a graph is, itself included. There are never more than
    /// [`MOST_LEVELS`].
    fn levels(&self, graph: u64) -> Result<usize> {
        let mut most = 0;
        for (_, node) in self.graph(graph)?.nodes.iter() {
            if let Operation::Graph(child) = node.operation {
                most = most.max(self.levels(child)?);
            }
        }
        Ok(most + 1)
    }

    /// `cudaGraphClone`
    pub(crate) fn clone_graph(&mut self, original: u64) -> Result<u64> {
        let originals: Vec<(u64, Operation, BTreeSet<u64>)> = {
            let nodes = &self.graph(original)?.nodes;
            let parts = |(id, node): (u64, &Node)| {
                Ok((id, node.operation.clone(), nodes.before(id)?.clone()))
            };
            nodes.iter().map(parts).collect::<Result<_>>()?
        };
        let clone = self.create();
        let mut clones = BTreeMap::new();
        for (id, operation, _) in &originals {
            let none = BTreeSet::new();
            let node = match *operation {
                Operation::Graph(child) => {
                    let child = self.clone_graph(child)?;
                    self.adopt(clone, none, child)?
                }
                _ => self.add(clone, none, operation.clone())?,
            };
            clones.insert(*id, node);
        }
        // Only now, as an edge may lead to a node that was added before the one that it comes from.
        let edges: Vec<(u64, u64)> = originals
            .iter()
            .flat_map(|(id, _, before)| before.iter().map(move |from| (*from, *id)))
            .filter_map(|(from, to)| Some((*clones.get(&from)?, *clones.get(&to)?)))
            .collect();
        let graph = self.graph_mut(clone)?;
        graph.nodes.link(&edges)?;
        graph.clones = clones;
        Ok(clone)
    }

    /// `cudaGraphNodeFindInClone`
    pub(crate) fn find_in_clone(&self, original: u64, clone: u64) -> Result<u64> {
        let graph = self.graph(clone)?;
        let node = graph.clones.get(&original).copied();
        node.filter(|&node| graph.nodes.contains(node))
            .ok_or(error::INVALID_VALUE)
    }

    /// `cudaGraphDestroy`. A child graph goes with its node.
    pub(crate) fn destroy(&mut self, graph: u64) -> Result<()> {
        match self.graph(graph)?.owner {
            Some(_) => Err(error::INVALID_VALUE),
            None => {
                self.drop_graph(graph);
                Ok(())
            }
        }
    }

    /// Removes a graph and those within it.
    fn drop_graph(&mut self, graph: u64) {
        let mut open = vec![graph];
        while let Some(handle) = open.pop() {
            let Some(graph) = self.by_handle.remove(&handle) else {
                continue;
            };
            for (id, node) in graph.nodes.iter() {
                self.of_node.remove(&id);
                if let Operation::Graph(child) = node.operation {
                    open.push(child);
                }
            }
        }
    }

    /// `cudaGraphDestroyNode`
    pub(crate) fn destroy_node(&mut self, node: u64) -> Result<()> {
        let graph = *self.of_node.get(&node).ok_or(error::INVALID_VALUE)?;
        let gone = self.graph_mut(graph)?.nodes.remove(node)?;
        self.of_node.remove(&node);
        if let Operation::Graph(child) = gone.operation {
            self.drop_graph(child);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> BTreeSet<u64> {
        BTreeSet::new()
    }

    /// A graph of two nodes one behind the other.
    fn pair(graphs: &mut Graphs) -> (u64, u64, u64) {
        let graph = graphs.create();
        let first = graphs.add(graph, none(), Operation::Empty).unwrap();
        let after = BTreeSet::from([first]);
        let second = graphs.add(graph, after, Operation::Empty).unwrap();
        (graph, first, second)
    }

    #[test]
    fn handles_that_are_none_are_refused() {
        let mut graphs = Graphs::new();
        let (graph, first, _) = pair(&mut graphs);
        for wrong in [0, 1, first, graph + 1, u64::MAX] {
            assert!(graphs.graph(wrong).is_err());
            assert_eq!(graphs.destroy(wrong), Err(error::INVALID_VALUE));
            assert_eq!(graphs.clone_graph(wrong), Err(error::INVALID_VALUE));
        }
        for wrong in [0, graph, first + 1, u64::MAX] {
            assert_eq!(graphs.destroy_node(wrong), Err(error::INVALID_VALUE));
        }
        graphs.destroy(graph).unwrap();
        assert_eq!(graphs.destroy(graph), Err(error::INVALID_VALUE));
        assert_eq!(graphs.destroy_node(first), Err(error::INVALID_VALUE));
    }

    #[test]
    fn nodes_of_another_graph_cannot_come_before() {
        let mut graphs = Graphs::new();
        let (_, first, _) = pair(&mut graphs);
        let other = graphs.create();
        let wrong = graphs.add(other, BTreeSet::from([first]), Operation::Empty);
        assert_eq!(wrong, Err(error::INVALID_VALUE));
    }

    #[test]
    fn a_clone_has_nodes_and_edges_of_its_own() {
        let mut graphs = Graphs::new();
        let (graph, first, second) = pair(&mut graphs);
        let clone = graphs.clone_graph(graph).unwrap();
        let found = [first, second].map(|node| graphs.find_in_clone(node, clone).unwrap());
        let edges = graphs.graph(clone).unwrap().nodes.edges();
        assert_eq!(edges, [(found[0], found[1])]);
        graphs.destroy(graph).unwrap();
        assert_eq!(graphs.graph(clone).unwrap().nodes.len(), 2);
        assert_eq!(
            graphs.find_in_clone(found[0], clone),
            Err(error::INVALID_VALUE)
        );
    }

    #[test]
    fn an_edge_to_an_earlier_node_is_cloned() {
        let mut graphs = Graphs::new();
        let graph = graphs.create();
        let [a, b] = [0; 2].map(|_| graphs.add(graph, none(), Operation::Empty).unwrap());
        graphs
            .graph_mut(graph)
            .unwrap()
            .nodes
            .link(&[(b, a)])
            .unwrap();
        let clone = graphs.clone_graph(graph).unwrap();
        let [a, b] = [a, b].map(|node| graphs.find_in_clone(node, clone).unwrap());
        assert_eq!(graphs.graph(clone).unwrap().nodes.edges(), [(b, a)]);
    }

    #[test]
    fn a_child_graph_goes_with_its_node_and_only_so() {
        let mut graphs = Graphs::new();
        let (child, ..) = pair(&mut graphs);
        let parent = graphs.create();
        let node = graphs.add_child(parent, none(), child).unwrap();
        let Operation::Graph(held) = graphs.node(node).unwrap().operation else {
            panic!("a node with a graph");
        };
        assert_ne!(held, child, "the graph is copied");
        assert_eq!(graphs.destroy(held), Err(error::INVALID_VALUE));
        graphs.destroy_node(node).unwrap();
        assert!(graphs.graph(held).is_err());
        assert_eq!(graphs.graph(child).unwrap().nodes.len(), 2);
    }

    #[test]
    fn graphs_within_graphs_end_somewhere() {
        let mut graphs = Graphs::new();
        let mut graph = graphs.create();
        let mut levels = 1;
        loop {
            let parent = graphs.create();
            if graphs.add_child(parent, none(), graph).is_err() {
                break;
            }
            graph = parent;
            levels += 1;
        }
        assert_eq!(levels, MOST_LEVELS);
    }
}
