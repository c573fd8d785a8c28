// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every distinct name of a module, once.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A name of a module: an index into its [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(pub(crate) u32);

/// The distinct names of a module.
#[derive(Debug, Default)]
pub struct Names {
    map: HashMap<Box<str>, Symbol, BuildHasherDefault<NameHasher>>,
    list: Vec<Box<str>>,
    /// Names that are symbols of their own in each module that has them: the first of each.
    hidden: HashMap<Box<str>, Symbol, BuildHasherDefault<NameHasher>>,
}

impl Names {
    /// The symbol of a name, made if the name is new.
    pub fn intern(&mut self, name: &str) -> Symbol {
        if let Some(&symbol) = self.map.get(name) {
            return symbol;
        }
        let symbol = Symbol(self.list.len() as u32);
        self.list.push(name.into());
        self.map.insert(name.into(), symbol);
        symbol
    }

    /// Makes the next mention of this name another symbol: what it names is known in one module only, and the text goes on
    /// with another.
    pub fn hide(&mut self, symbol: Symbol) {
        let Some(name) = self.list.get(symbol.0 as usize) else {
            return;
        };
        if self.map.get(name) == Some(&symbol) {
            self.map.remove(name);
            self.hidden.entry(name.clone()).or_insert(symbol);
        }
    }

    /// The symbol of a name that is already known.
    pub fn get(&self, name: &str) -> Option<Symbol> {
        self.map
            .get(name)
            .or_else(|| self.hidden.get(name))
            .copied()
    }

    /// The text of a symbol.
    pub fn text(&self, symbol: Symbol) -> &str {
        self.list.get(symbol.0 as usize).map_or("", |name| name)
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// A multiplicative hash (a folded 128-bit product) over eight bytes at a time, with a seed that differs between runs so that
/// names cannot be chosen to collide.
#[derive(Clone)]
pub struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        use std::hash::{BuildHasher, RandomState};
        use std::sync::OnceLock;
        static SEED: OnceLock<u64> = OnceLock::new();
        NameHasher(*SEED.get_or_init(|| RandomState::new().hash_one(0u8)))
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let mixed = u128::from(self.0 ^ u64::from_le_bytes(word)) * 0x9e37_79b9_7f4a_7c15;
            self.0 = (mixed as u64) ^ ((mixed >> 64) as u64);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
