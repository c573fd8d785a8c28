// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names of a function: registers, variables and labels in nested scopes.

use crate::exec::code::{Row, Width};
use crate::parse::Symbol;
use crate::parse::ast::{Body, Statement};
use std::collections::HashMap;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// A register.
    Register(Row),
    /// A variable in local memory: its offset in the frame, and its size.
    Local { offset: u64, size: u64 },
    /// A variable in shared memory: its offset.
    Shared(u64),
    /// Dynamic shared memory.
    DynamicShared,
    /// A parameter of the kernel: offset and size.
    Param { offset: u64, size: u64 },
    /// The signature of an indirect call, by number.
    Prototype(u32),
    /// A list of labels, by number.
    Targets(u32),
}

/// Names that are visible at one place.
#[derive(Default)]
pub(crate) struct Scopes {
    bindings: HashMap<Symbol, Vec<(u32, Binding)>>,
    /// Names bound in each open scope.
    declared: Vec<Vec<Symbol>>,
    numbered: HashMap<Symbol, Vec<(u32, Width, u32)>>,
    numbered_here: Vec<Vec<Symbol>>,
    /// Number of each scope, by order of opening; the innermost last.
    open: Vec<u32>,
    opened: u32,
    labels: HashMap<(u32, Symbol), u32>,
    pub label_count: u32,
}

impl Scopes {
    /// Scopes of a body: its labels are known beforehand, because jumps go forward too.
    pub fn new(body: &Body) -> Scopes {
        let mut scopes = Scopes {
            declared: vec![Vec::new()],
            numbered_here: vec![Vec::new()],
            open: vec![0],
            ..Scopes::default()
        };
        let (mut open, mut opened) = (vec![0], 0);
        for statement in &body.statements {
            match statement {
                Statement::Open => {
                    opened += 1;
                    open.push(opened);
                }
                Statement::Close => {
                    open.pop();
                }
                Statement::Label(name) => {
                    let scope = open.last().copied().unwrap_or(0);
                    scopes.labels.insert((scope, *name), scopes.label_count);
                    scopes.label_count += 1;
                }
                _ => {}
            }
        }
        scopes
    }

    pub fn open(&mut self) {
        self.opened += 1;
        self.open.push(self.opened);
        self.declared.push(Vec::new());
        self.numbered_here.push(Vec::new());
    }

    pub fn close(&mut self) {
        for name in self.declared.pop().unwrap_or_default() {
            if let Some(stack) = self.bindings.get_mut(&name) {
                stack.pop();
            }
        }
        for prefix in self.numbered_here.pop().unwrap_or_default() {
            if let Some(stack) = self.numbered.get_mut(&prefix) {
                stack.pop();
            }
        }
        self.open.pop();
    }

    /// Binds a name in the innermost scope.
    pub fn bind(&mut self, name: Symbol, binding: Binding) {
        let depth = self.depth();
        self.bindings
            .entry(name)
            .or_default()
            .push((depth, binding));
        if let Some(declared) = self.declared.last_mut() {
            declared.push(name);
        }
    }

    /// Binds a name in the scope of a given depth: a numbered register on its first use.
    pub fn bind_at(&mut self, name: Symbol, depth: u32, binding: Binding) {
        let stack = self.bindings.entry(name).or_default();
        let at = stack.partition_point(|(other, _)| *other <= depth);
        stack.insert(at, (depth, binding));
        if let Some(declared) = self.declared.get_mut(depth as usize) {
            declared.push(name);
        }
    }

    /// Declares registers `prefix0`, `prefix1`, ...; each is only made on its first use.
    pub fn declare_numbered(&mut self, prefix: Symbol, width: Width, count: u32) {
        self.numbered
            .entry(prefix)
            .or_default()
            .push((self.open.len() as u32 - 1, width, count));
        if let Some(declared) = self.numbered_here.last_mut() {
            declared.push(prefix);
        }
    }

    /// The innermost declaration of numbered registers with this prefix: depth, width, count.
    pub fn find_numbered(&self, prefix: Symbol) -> Option<(u32, Width, u32)> {
        self.numbered.get(&prefix)?.last().copied()
    }

    /// How deep the scope here is nested.
    pub fn depth(&self) -> u32 {
        self.open.len() as u32 - 1
    }

    /// What a name stands for here, and the depth of its scope.
    pub fn find(&self, name: Symbol) -> Option<(u32, Binding)> {
        self.bindings.get(&name)?.last().copied()
    }

    /// The number of a label that is visible here.
    pub fn label(&self, name: Symbol) -> Option<u32> {
        self.open
            .iter()
            .rev()
            .find_map(|scope| self.labels.get(&(*scope, name)).copied())
    }
}
