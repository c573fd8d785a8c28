// SPDX-License-Identifier: MIT OR Apache-2.0
//! An opcode taken apart: `ld.global.nc.v4.f32` into its name, modifiers, vector length and types.

use crate::parse::ast::{Space, Type};

/// A set of modifiers.
pub(crate) type Set = u128;

macro_rules! modifiers {
    ($($name:ident $text:literal,)*) => {
        /// A modifier of an opcode: the text after a dot that is not a type.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        #[allow(missing_docs)]
        pub(crate) enum Modifier { $($name,)* }

        impl Modifier {
            fn from_text(text: &str) -> Option<Modifier> {
                match text {
                    $($text => Some(Modifier::$name),)*
                    _ => None,
                }
            }
        }
    };
}

modifiers! {
    Rn "rn", Rz "rz", Rm "rm", Rp "rp", Rna "rna", Rni "rni", Rzi "rzi", Rmi "rmi", Rpi "rpi",
    Ftz "ftz", Sat "sat", Approx "approx", Full "full", Relu "relu", Satfinite "satfinite",
    Hi "hi", Lo "lo", Wide "wide", Cc "cc", To "to", Uni "uni",
    Eq "eq", Ne "ne", Lt "lt", Le "le", Gt "gt", Ge "ge", Ls "ls", Hs "hs",
    Equ "equ", Neu "neu", Ltu "ltu", Leu "leu", Gtu "gtu", Geu "geu", Num "num", Async "async", CommitGroup "commit_group", WaitGroup "wait_group", WaitAll "wait_all", Nan "nan", PropagateNan "NaN",
    And "and", Or "or", Xor "xor", Popc "popc", Add "add", Min "min", Max "max", Inc "inc", Dec "dec",
    Exch "exch", Cas "cas", Xorsign "xorsign", Abs "abs",
    L "l", R "r", Wrap "wrap", Clamp "clamp", Shiftamt "shiftamt",
    F4e "f4e", B4e "b4e", Rc8 "rc8", Ecl "ecl", Ecr "ecr", Rc16 "rc16",
    Up "up", Down "down", Bfly "bfly", Idx "idx", Sync "sync", Aligned "aligned", Arrive "arrive", Red "red",
    Warp "warp", All "all", Any "any", Ballot "ballot", Cta "cta", Gl "gl", Sys "sys", Gpu "gpu", Cluster "cluster",
    Global "global", Shared "shared", Local "local", Const "const", Param "param",
    Weak "weak", Volatile "volatile", Relaxed "relaxed", Acquire "acquire", Release "release", AcqRel "acq_rel", Sc "sc",
    Mmio "mmio",
    Nc "nc", Ca "ca", Cg "cg", Cs "cs", Lu "lu", Cv "cv", Wb "wb", Wt "wt", Hint "L1::*, L2::*, level::*",
    V2 "v2", V4 "v4", V8 "v8", Noftz "noftz", Finite "finite", Infinite "infinite", Number "number", Notanumber "notanumber",
    Normal "normal", Subnormal "subnormal",
}

impl Modifier {
    pub const fn bit(self) -> Set {
        1 << self as u8
    }
}

/// The set of some modifiers.
pub(crate) const fn set(modifiers: &[Modifier]) -> Set {
    let mut set = 0;
    let mut i = 0;
    while i < modifiers.len() {
        set |= modifiers[i].bit();
        i += 1;
    }
    set
}

/// An opcode taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// The first part: `ld`.
    pub name: String,
    pub modifiers: Set,
    /// In the order of the text.
    pub types: Vec<Type>,
    /// Parts that are neither a modifier nor a type, in the order of the text.
    pub words: Vec<String>,
    /// The last operand is a cache policy, which changes no result.
    pub policy: bool,
    /// A part that no instruction here has.
    pub unknown: bool,
}

impl Form {
    pub fn parse(opcode: &str) -> Form {
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or("").to_owned();
        let mut form = Form {
            name,
            modifiers: 0,
            types: Vec::new(),
            words: Vec::new(),
            policy: false,
            unknown: false,
        };
        for part in parts {
            if let Some(ty) = Type::from_name(part) {
                form.types.push(ty);
            } else if let Some(modifier) = Modifier::from_text(part) {
                form.modifiers |= modifier.bit();
            } else if part.starts_with("L1::")
                || part.starts_with("L2::")
                || part.starts_with("level::")
            {
                // Cache hints change no result, but one of them adds an operand.
                form.modifiers |= Modifier::Hint.bit();
                form.policy |= part.ends_with("cache_hint");
            } else if let Some((space, _)) = part.split_once("::")
                && let Some(modifier @ (Modifier::Shared | Modifier::Param)) =
                    Modifier::from_text(space)
            {
                // `.shared::cta`, `.param::entry`; another block's shared memory is another matter.
                form.modifiers |= modifier.bit();
                form.unknown |= part == "shared::cluster";
            } else {
                form.words.push(part.to_owned());
            }
        }
        form
    }

    pub fn has(&self, modifier: Modifier) -> bool {
        self.modifiers & modifier.bit() != 0
    }

    /// Whether a word occurs among those that are no modifiers.
    pub fn says(&self, word: &str) -> bool {
        self.words.iter().any(|found| found == word)
    }

    pub fn has_any(&self, set: Set) -> bool {
        self.modifiers & set != 0
    }

    /// The n-th type.
    pub fn ty(&self, n: usize) -> Option<Type> {
        self.types.get(n).copied()
    }

    /// The state space named, generic without one.
    pub fn space(&self) -> Space {
        [
            (Modifier::Global, Space::Global),
            (Modifier::Shared, Space::Shared),
            (Modifier::Local, Space::Local),
            (Modifier::Const, Space::Const),
            (Modifier::Param, Space::Param),
        ]
        .into_iter()
        .find(|(modifier, _)| self.has(*modifier))
        .map_or(Space::Generic, |(_, space)| space)
    }

    /// Elements of the vector, 1 without `.v2` and the like.
    pub fn elements(&self) -> u64 {
        match () {
            () if self.has(Modifier::V2) => 2,
            () if self.has(Modifier::V4) => 4,
            () if self.has(Modifier::V8) => 8,
            () => 1,
        }
    }
}
