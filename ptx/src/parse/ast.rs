// SPDX-License-Identifier: MIT OR Apache-2.0
//! The syntax tree of a PTX module.

use super::names::{Names, Symbol};
use super::sources::Sources;
use core::ops::Range;

/// A PTX module.
#[derive(Debug, Default)]
pub struct Module {
    /// Its names; symbols index them.
    pub names: Names,
    /// `.version` as (major, minor).
    pub version: (u32, u32),
    /// The number in `.target sm_NN`.
    pub target: u32,
    /// Module-scope variables.
    pub variables: Vec<Variable>,
    /// Kernels and functions, with and without bodies.
    pub functions: Vec<Function>,
    /// `.alias` pairs: name, what it stands for.
    pub aliases: Vec<(Symbol, Symbol)>,
    /// Source lines, where the text says them.
    pub sources: Sources,
}

/// `.visible`, `.extern`, ...
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Linkage {
    /// No directive: local to the module.
    #[default]
    Internal,
    /// `.visible`
    Visible,
    /// `.extern`
    Extern,
    /// `.weak` or `.common`
    Weak,
}

/// State spaces (PTX ISA, "State Spaces").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// An address that says by itself where it points.
    Generic,
    /// `.global`
    Global,
    /// `.shared`
    Shared,
    /// `.local`
    Local,
    /// `.const`
    Const,
    /// `.param` of the kernel or of a function
    Param,
}

/// Fundamental types (PTX ISA, "Types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Pred,
    B1,
    U2,
    S2,
    U4,
    S4,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    U16x2,
    S16x2,
    E4m3,
    E5m2,
    E4m3x2,
    E5m2x2,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F32x2,
    F64,
}

impl Type {
    /// The type named by the text after the dot.
    pub fn from_name(name: &str) -> Option<Type> {
        Some(match name {
            "pred" => Type::Pred,
            "b1" => Type::B1,
            "u2" => Type::U2,
            "s2" => Type::S2,
            "u4" => Type::U4,
            "s4" => Type::S4,
            "b8" => Type::B8,
            "b16" => Type::B16,
            "b32" => Type::B32,
            "b64" => Type::B64,
            "b128" => Type::B128,
            "u8" => Type::U8,
            "u16" => Type::U16,
            "u32" => Type::U32,
            "u64" => Type::U64,
            "s8" => Type::S8,
            "s16" => Type::S16,
            "s32" => Type::S32,
            "s64" => Type::S64,
            "u16x2" => Type::U16x2,
            "s16x2" => Type::S16x2,
            "e4m3" => Type::E4m3,
            "e5m2" => Type::E5m2,
            "e4m3x2" => Type::E4m3x2,
            "e5m2x2" => Type::E5m2x2,
            "f16" => Type::F16,
            "f16x2" => Type::F16x2,
            "bf16" => Type::Bf16,
            "bf16x2" => Type::Bf16x2,
            "tf32" => Type::Tf32,
            "f32" => Type::F32,
            "f32x2" => Type::F32x2,
            "f64" => Type::F64,
            _ => return None,
        })
    }

    /// Its size in bytes; a predicate counts as one.
    pub fn size(self) -> u64 {
        match self {
            Type::Pred | Type::B8 | Type::U8 | Type::S8 => 1,
            // Only within words, as elements of matrices.
            Type::B1 | Type::U2 | Type::S2 | Type::U4 | Type::S4 | Type::E4m3 | Type::E5m2 => 1,
            Type::E4m3x2 | Type::E5m2x2 => 2,
            Type::B16 | Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 2,
            Type::B32
            | Type::U32
            | Type::S32
            | Type::F32
            | Type::U16x2
            | Type::S16x2
            | Type::F16x2
            | Type::Bf16x2
            | Type::Tf32 => 4,
            Type::B64 | Type::U64 | Type::S64 | Type::F64 | Type::F32x2 => 8,
            Type::B128 => 16,
        }
    }
}

/// A variable or parameter.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: Symbol,
    /// Where it lives.
    pub space: Space,
    /// Element type.
    pub ty: Type,
    /// Alignment in bytes, a power of two.
    pub align: u64,
    /// Bytes; `None` for an array without a size.
    pub size: Option<u64>,
    /// Its first values.
    pub init: Vec<Initializer>,
    /// `.visible` and the like.
    pub linkage: Linkage,
    /// Declared as a register: a parameter of the old form `.reg .u32 x`.
    pub register: bool,
    /// Line in the source.
    pub line: u32,
}

/// One element of a variable's initializer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initializer {
    /// An integer, modulo 2^64.
    Int(u64),
    /// Single-precision bits.
    F32(u32),
    /// Double-precision bits.
    F64(u64),
    /// The address of a variable or function plus an offset; `generic` if written `generic(x)`.
    Address {
        /// Whose address.
        name: Symbol,
        /// Bytes added to it.
        offset: i64,
        /// Whether it is the generic address.
        generic: bool,
    },
}

/// `.maxntid` and its kin.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// `.maxntid`: the largest number of threads per block.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`: the exact block shape.
    pub required_threads: Option<[u32; 3]>,
    /// Whether a cluster shape is demanded.
    pub cluster: bool,
}

/// A kernel (`.entry`) or function (`.func`).
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: Symbol,
    /// `.entry` or `.func`.
    pub kernel: bool,
    /// `.visible` and the like.
    pub linkage: Linkage,
    /// Return parameters.
    pub returns: Vec<Variable>,
    /// Input parameters.
    pub params: Vec<Variable>,
    /// Launch bounds.
    pub bounds: Bounds,
    /// The body, if this is not only a declaration.
    pub body: Option<Body>,
    /// Line in the source.
    pub line: u32,
}

/// The body of a function: statements, and the pool in which their operand lists lie.
#[derive(Debug, Clone, Default)]
pub struct Body {
    /// In the order of the text.
    pub statements: Vec<Statement>,
    /// Operand lists of all statements.
    pub operands: Vec<Operand>,
}

impl Body {
    /// The operands of a list.
    pub fn list(&self, list: &List) -> &[Operand] {
        self.operands
            .get(list.start as usize..list.end as usize)
            .unwrap_or(&[])
    }
}

/// A list of operands: a range of [`Body::operands`].
pub type List = Range<u32>;

/// A statement in a function body.
#[derive(Debug, Clone)]
pub enum Statement {
    /// `.reg .b32 %r<10>;` or `.reg .b32 x;` (without count).
    Registers {
        /// Their type.
        ty: Type,
        /// Their name, or what it begins with.
        name: Symbol,
        /// How many, numbered from 0.
        count: Option<u32>,
    },
    /// A `.local`, `.shared`, `.param`, `.global` or `.const` variable.
    Variable(Box<Variable>),
    /// `name:`
    Label(Symbol),
    /// `{`: names declared from here on end at the matching `Close`.
    Open,
    /// `}`
    Close,
    /// An instruction.
    Instruction(Instruction),
    /// `name: .branchtargets a, b;`
    BranchTargets {
        /// The label that names the list.
        name: Symbol,
        /// Its labels, as names.
        targets: List,
    },
    /// `name: .callprototype (...) _ (...);`
    Prototype(Box<Prototype>),
    /// `name: .calltargets f, g;`
    CallTargets(Symbol),
    /// `.pragma "used_bytes_mask 0x3f";`: of the bytes that the next instruction loads, those whose bits are set are used
    /// (PTX ISA, "Pragma Strings: used_bytes_mask").
    UsedBytes(u32),
    /// Text that does not follow the grammar.
    Unknown {
        /// The text.
        text: Symbol,
        /// Line in the source.
        line: u32,
    },
}

/// The signature that an indirect call names.
#[derive(Debug, Clone)]
pub struct Prototype {
    /// The label that names it.
    pub name: Symbol,
    /// Return parameters.
    pub returns: Vec<Variable>,
    /// Input parameters.
    pub params: Vec<Variable>,
}

/// An instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// `@p` or `@!p`: the predicate, and whether it is negated.
    pub guard: Option<(Symbol, bool)>,
    /// The whole opcode: `ld.global.v4.f32`.
    pub opcode: Symbol,
    /// Its operands.
    pub operands: List,
    /// Line in the source.
    pub line: u32,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A register, variable, label, function or special register.
    Name(Symbol),
    /// `!p`
    Not(Symbol),
    /// `-x` before a name
    Negated(Symbol),
    /// An integer constant, modulo 2^64.
    Int(u64),
    /// A single-precision constant by its bits.
    F32(u32),
    /// A double-precision constant by its bits.
    F64(u64),
    /// `a + 4` outside brackets: an address expression.
    Sum(Symbol, i64),
    /// `p|q`
    Pair(Symbol, Symbol),
    /// `{a, b}`
    Vector(List),
    /// `[a+offset]`: a name, or an absolute address in the offset.
    Address {
        /// Register or variable.
        base: Option<Symbol>,
        /// Bytes added to it.
        offset: i64,
    },
    /// `[tex, {x, y}]`: brackets with several operands.
    Bracket(List),
    /// `(a, b)`: the lists of a call.
    Paren(List),
}
