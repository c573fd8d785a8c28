// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of a graph is not CUDA: nodes by number, edges between them, and an order that keeps to the
//! edges.
//!
//! Edges may form a cycle while a graph is put together; that is found when the order is asked for
//! (CUDA Runtime API, cudaGraphInstantiate: "invalid structure, such as cycles").

use std::collections::{BTreeMap, BTreeSet};

use crate::{Result, error};

/// Numbered nodes and the edges between them. What was added later has the higher number.
#[derive(Debug)]
pub(crate) struct Structure<T> {
    vertices: BTreeMap<u64, Vertex<T>>,
}

#[derive(Debug)]
struct Vertex<T> {
    value: T,
    before: BTreeSet<u64>,
    after: BTreeSet<u64>,
}

impl<T> Default for Structure<T> {
    fn default() -> Self {
        Structure {
            vertices: BTreeMap::new(),
        }
    }
}

impl<T> Structure<T> {
    /// Adds a node that comes after others, all of which must be there.
    pub(crate) fn insert(&mut self, id: u64, value: T, before: BTreeSet<u64>) -> Result<()> {
        if !before.iter().all(|id| self.vertices.contains_key(id)) {
            return Err(error::INVALID_VALUE);
        }
        for earlier in &before {
            self.vertex_mut(*earlier)?.after.insert(id);
        }
        let after = BTreeSet::new();
        let vertex = Vertex {
            value,
            before,
            after,
        };
        self.vertices.insert(id, vertex);
        Ok(())
    }

    /// Removes a node and its edges.
    pub(crate) fn remove(&mut self, id: u64) -> Result<T> {
        let vertex = self.vertices.remove(&id).ok_or(error::INVALID_VALUE)?;
        for earlier in vertex.before {
            if let Some(vertex) = self.vertices.get_mut(&earlier) {
                vertex.after.remove(&id);
            }
        }
        for later in vertex.after {
            if let Some(vertex) = self.vertices.get_mut(&later) {
                vertex.before.remove(&id);
            }
        }
        Ok(vertex.value)
    }

    fn vertex(&self, id: u64) -> Result<&Vertex<T>> {
        self.vertices.get(&id).ok_or(error::INVALID_VALUE)
    }

    fn vertex_mut(&mut self, id: u64) -> Result<&mut Vertex<T>> {
        self.vertices.get_mut(&id).ok_or(error::INVALID_VALUE)
    }

    pub(crate) fn get(&self, id: u64) -> Result<&T> {
        Ok(&self.vertex(id)?.value)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Result<&mut T> {
        Ok(&mut self.vertex_mut(id)?.value)
    }

    pub(crate) fn contains(&self, id: u64) -> bool {
        self.vertices.contains_key(&id)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.vertices.len()
    }

    /// All nodes, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.vertices
            .iter()
            .map(|(&id, vertex)| (id, &vertex.value))
    }

    /// The nodes that come before none.
    pub(crate) fn roots(&self) -> Vec<u64> {
        let roots = self.vertices.iter().filter(|(_, v)| v.before.is_empty());
        roots.map(|(&id, _)| id).collect()
    }

    /// The nodes that a node comes after.
    pub(crate) fn before(&self, id: u64) -> Result<&BTreeSet<u64>> {
        Ok(&self.vertex(id)?.before)
    }

    /// The nodes that come after a node.
    pub(crate) fn after(&self, id: u64) -> Result<&BTreeSet<u64>> {
        Ok(&self.vertex(id)?.after)
    }

    /// All edges, from the earlier to the later node.
    pub(crate) fn edges(&self) -> Vec<(u64, u64)> {
        let of = |(&to, vertex): (&u64, &Vertex<T>)| {
            let edges: Vec<_> = vertex.before.iter().map(|&from| (from, to)).collect();
            edges
        };
        self.vertices.iter().flat_map(of).collect()
    }

    /// Adds edges: all, or none if a node is not there, or an edge is there already or twice.
    pub(crate) fn link(&mut self, edges: &[(u64, u64)]) -> Result<()> {
        let mut new = BTreeSet::new();
        for &(from, to) in edges {
            if !self.contains(from) || self.vertex(to)?.before.contains(&from) {
                return Err(error::INVALID_VALUE);
            }
            if !new.insert((from, to)) {
                return Err(error::INVALID_VALUE);
            }
        }
        for (from, to) in new {
            self.vertex_mut(from)?.after.insert(to);
            self.vertex_mut(to)?.before.insert(from);
        }
        Ok(())
    }

    /// Removes edges: all, or none if one is not there.
    pub(crate) fn unlink(&mut self, edges: &[(u64, u64)]) -> Result<()> {
        for &(from, to) in edges {
            if !self.vertex(to)?.before.contains(&from) {
                return Err(error::INVALID_VALUE);
            }
        }
        for &(from, to) in edges {
            self.vertex_mut(from)?.after.remove(&to);
            self.vertex_mut(to)?.before.remove(&from);
        }
        Ok(())
    }

    /// The nodes in an order that keeps to the edges; among those that could come next, the one that
    /// was added first. `Err`: a node of a cycle.
    pub(crate) fn order(&self) -> std::result::Result<Vec<u64>, u64> {
        let mut missing: BTreeMap<u64, usize> = BTreeMap::new();
        let mut ready = BTreeSet::new();
        for (&id, vertex) in &self.vertices {
            match vertex.before.len() {
                0 => {
                    ready.insert(id);
                }
                count => {
                    missing.insert(id, count);
                }
            }
        }
        let mut order = Vec::with_capacity(self.vertices.len());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for &later in self.vertices.get(&id).iter().flat_map(|v| &v.after) {
                if let Some(count) = missing.get_mut(&later) {
                    *count -= 1;
                    if *count == 0 {
                        missing.remove(&later);
                        ready.insert(later);
                    }
                }
            }
        }
        match missing.first_key_value() {
            None => Ok(order),
            Some((&stuck, _)) => Err(self.on_cycle(stuck, &missing)),
        }
    }

    /// A node of a cycle, found by going back from a node that has one before it. All nodes of
    /// `stuck` have one of `stuck` before them.
    fn on_cycle(&self, from: u64, stuck: &BTreeMap<u64, usize>) -> u64 {
        let mut seen = BTreeSet::new();
        let mut at = from;
        while seen.insert(at) {
            let mut earlier = self.vertices.get(&at).into_iter().flat_map(|v| &v.before);
            match earlier.find(|id| stuck.contains_key(id)) {
                Some(&id) => at = id,
                None => break,
            }
        }
        at
    }

    /// These nodes and all that come before them.
    pub(crate) fn up_to(&self, ends: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut found = BTreeSet::new();
        let mut open: Vec<u64> = ends.iter().copied().collect();
        while let Some(id) = open.pop() {
            if found.insert(id)
                && let Some(vertex) = self.vertices.get(&id)
            {
                open.extend(&vertex.before);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Nodes from 0 on with these edges.
    fn structure(count: u64, edges: &[(u64, u64)]) -> Structure<()> {
        let mut structure = Structure::default();
        for id in 0..count {
            structure.insert(id, (), BTreeSet::new()).unwrap();
        }
        structure.link(edges).unwrap();
        structure
    }

    #[test]
    fn what_comes_before_is_first_and_else_what_was_added_first() {
        let diamond = structure(5, &[(3, 1), (3, 2), (1, 0), (2, 0)]);
        assert_eq!(diamond.order(), Ok(vec![3, 1, 2, 0, 4]));
        assert_eq!(diamond.roots(), [3, 4]);
    }

    #[test]
    fn nothing_has_an_order() {
        assert_eq!(structure(0, &[]).order(), Ok(vec![]));
    }

    #[test]
    fn a_cycle_is_named_by_one_of_its_nodes() {
        let cycle = structure(6, &[(0, 1), (1, 2), (2, 3), (3, 1), (3, 4), (4, 5)]);
        assert!(matches!(cycle.order(), Err(1..=3)));
        assert_eq!(structure(1, &[(0, 0)]).order(), Err(0));
        // A node behind a cycle comes first by number.
        assert!(matches!(
            structure(3, &[(1, 2), (2, 1), (1, 0)]).order(),
            Err(1..=2)
        ));
    }

    #[test]
    fn a_cycle_that_is_broken_up_again_is_none() {
        let mut cycle = structure(2, &[(0, 1), (1, 0)]);
        assert!(cycle.order().is_err());
        cycle.unlink(&[(1, 0)]).unwrap();
        assert_eq!(cycle.order(), Ok(vec![0, 1]));
    }

    #[test]
    fn edges_are_added_all_or_none() {
        let mut s = structure(3, &[(0, 1)]);
        for wrong in [
            &[(1, 2), (0, 1)][..],
            &[(1, 2), (1, 2)],
            &[(1, 2), (7, 2)],
            &[(1, 2), (2, 7)],
        ] {
            assert_eq!(s.link(wrong), Err(error::INVALID_VALUE));
            assert_eq!(s.edges(), [(0, 1)]);
        }
        assert_eq!(s.unlink(&[(0, 1), (1, 2)]), Err(error::INVALID_VALUE));
        assert_eq!(s.edges(), [(0, 1)]);
    }

    #[test]
    fn a_node_that_goes_takes_its_edges_along() {
        let mut s = structure(3, &[(0, 1), (1, 2)]);
        s.remove(1).unwrap();
        assert_eq!(s.edges(), []);
        assert_eq!(s.roots(), [0, 2]);
        assert_eq!(s.remove(1), Err(error::INVALID_VALUE));
    }

    #[test]
    fn a_node_needs_what_it_comes_after() {
        let mut s = structure(1, &[]);
        let wrong = s.insert(1, (), BTreeSet::from([0, 9]));
        assert_eq!(wrong, Err(error::INVALID_VALUE));
        assert_eq!(s.len(), 1);
        assert!(s.after(0).unwrap().is_empty());
    }

    #[test]
    fn what_leads_to_a_node_is_all_that_comes_before_it() {
        let s = structure(5, &[(0, 1), (1, 2), (3, 2), (2, 4)]);
        let found = s.up_to(&BTreeSet::from([2]));
        assert_eq!(found, BTreeSet::from([0, 1, 2, 3]));
    }

    #[test]
    fn a_long_chain_has_an_order() {
        let edges: Vec<_> = (1..100_000).map(|id| (id, id - 1)).collect();
        let order = structure(100_000, &edges).order().unwrap();
        assert_eq!(order.first(), Some(&99_999));
        assert_eq!(order.len(), 100_000);
    }

    proptest! {
        #[test]
        fn an_order_has_all_nodes_once_and_keeps_to_all_edges(
            edges in proptest::collection::btree_set((0u64..12, 0u64..12), 0..30)
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let s = structure(12, &edges);
            match s.order() {
                Ok(order) => {
                    let place = |id| order.iter().position(|&o| o == id).unwrap();
                    prop_assert_eq!(order.len(), 12);
                    for (from, to) in edges {
                        prop_assert!(place(from) < place(to));
                    }
                }
                Err(node) => {
                    // It comes before itself.
                    let before = s.up_to(s.before(node).unwrap());
                    prop_assert!(before.contains(&node));
                }
            }
        }
    }
}
