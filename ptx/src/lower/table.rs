// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instructions: one row each.
//!
//! A row names the modifiers that the instruction's function understands. An opcode with any other
//! modifier is not supported, so that none is ever ignored.

use super::builder::Builder;
use super::form::{Form, Modifier, Set, set};
use super::{
    Refusal, collective, compare, control, convert, float, integer, matrix, mbarrier, memory,
    texture,
};
use crate::parse::ast::Operand;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Lowers one instruction.
pub(crate) type Lower = fn(&mut Builder<'_>, &Form, &[Operand]) -> Result<(), Refusal>;

/// A row of the table.
pub(crate) struct Instruction {
    pub name: &'static str,
    pub modifiers: Set,
    /// Further words that may stand in the opcode: those that no other instruction has.
    pub words: &'static [&'static str],
    pub lower: Lower,
}

const fn row(name: &'static str, modifiers: &[Modifier], lower: Lower) -> Instruction {
    with(name, set(modifiers), lower)
}

const fn with(name: &'static str, modifiers: Set, lower: Lower) -> Instruction {
    wordy(name, modifiers, &[], lower)
}

const fn wordy(
    name: &'static str,
    modifiers: Set,
    words: &'static [&'static str],
    lower: Lower,
) -> Instruction {
    Instruction {
        name,
        modifiers,
        words,
        lower,
    }
}

use Modifier::*;

const ROUND: Set = set(&[Rn, Rz, Rm, Rp]);
const FLOAT: Set = ROUND | set(&[Ftz, Sat]);
const SPACES: Set = set(&[Global, Shared, Local, Const, Param]);
const ORDER: Set = set(&[
    Weak, Volatile, Relaxed, Acquire, Release, Mmio, Cta, Gpu, Sys, Cluster,
]);
const CACHE: Set = set(&[Ca, Cg, Cs, Lu, Cv, Wb, Wt, Nc, Hint]);
const VECTOR: Set = set(&[V2, V4, V8]);
const COMPARE: Set = set(&[
    Eq, Ne, Lt, Le, Gt, Ge, Lo, Ls, Hi, Hs, Equ, Neu, Ltu, Leu, Gtu, Geu, Num, Nan, And, Or, Xor,
    Ftz,
]);
const ATOMIC: Set = SPACES
    | ORDER
    | set(&[
        AcqRel, Add, Min, Max, And, Or, Xor, Inc, Dec, Exch, Cas, Noftz, Hint,
    ]);

const MATRIX: Set = ROUND | set(&[Sync, Aligned, Satfinite]);

static TABLE: &[Instruction] = &[
    with("add", FLOAT | set(&[Cc]), integer::add),
    with("sub", FLOAT | set(&[Cc]), integer::sub),
    with("mul", FLOAT | set(&[Lo, Hi, Wide]), integer::mul),
    with("mad", FLOAT | set(&[Lo, Hi, Wide, Cc]), integer::mad),
    with("fma", FLOAT | set(&[Relu]), float::fma),
    with("div", FLOAT | set(&[Approx, Full]), integer::div),
    row("rem", &[], integer::rem),
    row("abs", &[Ftz], integer::abs),
    row("neg", &[Ftz], integer::neg),
    row(
        "min",
        &[Ftz, PropagateNan, Xorsign, Abs, Relu],
        integer::min,
    ),
    row(
        "max",
        &[Ftz, PropagateNan, Xorsign, Abs, Relu],
        integer::max,
    ),
    row("addc", &[Cc], integer::with_carry),
    row("subc", &[Cc], integer::with_carry),
    row("madc", &[Lo, Hi, Cc], integer::with_carry),
    row("mul24", &[Lo, Hi], integer::mul24),
    row("mad24", &[Lo, Hi, Sat], integer::mad24),
    row("sad", &[], integer::sad),
    row("and", &[], integer::and),
    row("or", &[], integer::or),
    row("xor", &[], integer::xor),
    row("not", &[], integer::not),
    row("cnot", &[], integer::cnot),
    row("lop3", &[], compare::lop3),
    row("shl", &[], integer::shl),
    row("shr", &[], integer::shr),
    row("shf", &[L, R, Wrap, Clamp], integer::shf),
    row("prmt", &[F4e, B4e, Rc8, Ecl, Ecr, Rc16], compare::prmt_),
    row("popc", &[], integer::popc),
    row("clz", &[], integer::clz),
    row("brev", &[], integer::brev),
    row("bfind", &[Shiftamt], integer::bfind_),
    row("bfe", &[], integer::bfe_),
    row("bfi", &[], compare::bfi_),
    row("bmsk", &[Clamp, Wrap], integer::bmsk_),
    row("szext", &[Clamp, Wrap], integer::szext_),
    row("dp4a", &[], integer::dp4a_),
    with("rcp", FLOAT | set(&[Approx]), float::rcp),
    with("sqrt", FLOAT | set(&[Approx]), float::sqrt),
    row("rsqrt", &[Approx, Ftz], float::rsqrt),
    row("sin", &[Approx, Ftz], float::sin),
    row("cos", &[Approx, Ftz], float::cos),
    row("ex2", &[Approx, Ftz], float::ex2),
    row("lg2", &[Approx, Ftz], float::lg2),
    row("tanh", &[Approx], float::tanh),
    row("copysign", &[], float::copysign),
    row(
        "testp",
        &[Finite, Infinite, Number, Notanumber, Normal, Subnormal],
        compare::testp,
    ),
    with(
        "cvt",
        FLOAT | set(&[Rna, Rni, Rzi, Rmi, Rpi, Relu, Satfinite]),
        convert::cvt,
    ),
    with("setp", COMPARE, compare::setp),
    with("set", COMPARE, compare::set),
    row("selp", &[], compare::selp),
    row("slct", &[Ftz], compare::slct),
    row("mov", &[], compare::mov),
    with("ld", SPACES | ORDER | CACHE | VECTOR, memory::ld),
    with("ldu", SPACES | VECTOR, memory::ld),
    with("st", SPACES | ORDER | CACHE | VECTOR, memory::st),
    with("atom", ATOMIC, memory::atom),
    with("red", ATOMIC, memory::atom),
    wordy(
        "cp",
        set(&[
            Async,
            Ca,
            Cg,
            Shared,
            Global,
            Hint,
            CommitGroup,
            WaitGroup,
            WaitAll,
            Arrive,
        ]),
        &["mbarrier", "noinc"],
        memory::cp,
    ),
    wordy(
        "mbarrier",
        set(&[Shared, Arrive, Cta, Release, Acquire, Relaxed]),
        &[
            "init",
            "inval",
            "arrive_drop",
            "noComplete",
            "test_wait",
            "try_wait",
            "parity",
            "pending_count",
        ],
        mbarrier::mbarrier_,
    ),
    with("cvta", SPACES | set(&[To]), memory::cvta),
    with("isspacep", SPACES, memory::isspacep),
    row("membar", &[Cta, Gl, Sys], memory::fence),
    row(
        "fence",
        &[Cta, Gpu, Sys, Sc, AcqRel, Acquire, Release],
        memory::fence,
    ),
    with("prefetch", SPACES | set(&[Hint]), memory::hint),
    row("prefetchu", &[Hint], memory::hint),
    row("bra", &[Uni], control::bra),
    row("brx", &[Idx, Uni], control::brx),
    row("call", &[Uni], control::call),
    row("ret", &[Uni], control::ret),
    row("exit", &[], control::exit),
    row("trap", &[], control::trap),
    // Without a debugger it ends the kernel.
    row("brkpt", &[], control::trap),
    row("pmevent", &[], control::nothing),
    row("nanosleep", &[], control::nanosleep),
    row(
        "bar",
        &[Cta, Sync, Arrive, Red, Popc, And, Or, Warp, Aligned],
        collective::bar,
    ),
    row(
        "barrier",
        &[Cta, Sync, Arrive, Red, Popc, And, Or, Aligned],
        collective::bar,
    ),
    row("shfl", &[Sync, Up, Down, Bfly, Idx], collective::shfl),
    row("vote", &[Sync, All, Any, Uni, Ballot], collective::vote_),
    row("match", &[Sync, Any, All], collective::match_),
    row(
        "redux",
        &[Sync, Add, Min, Max, And, Or, Xor],
        collective::redux_,
    ),
    row("activemask", &[], collective::activemask),
    row("elect", &[Sync], collective::elect),
    wordy(
        "wmma",
        MATRIX | SPACES | set(&[And, Xor, Popc]),
        &[
            "load",
            "store",
            "mma",
            "a",
            "b",
            "c",
            "d",
            "row",
            "col",
            "satfinite",
            "m16n16k16",
            "m8n32k16",
            "m32n8k16",
            "m16n16k8",
            "m8n8k4",
            "m8n8k32",
            "m8n8k128",
        ],
        matrix::wmma,
    ),
    wordy(
        "mma",
        MATRIX | set(&[And, Xor, Popc]),
        &[
            "row",
            "col",
            "m8n8k4",
            "m16n8k4",
            "m16n8k8",
            "m16n8k16",
            "m8n8k16",
            "m16n8k32",
            "m8n8k32",
            "m16n8k64",
            "m8n8k128",
            "m16n8k128",
            "m16n8k256",
        ],
        matrix::mma,
    ),
    wordy(
        "tex",
        VECTOR,
        &[
            "1d", "2d", "3d", "a1d", "a2d", "cube", "acube", "base", "level", "grad",
        ],
        texture::tex,
    ),
    wordy(
        "tld4",
        VECTOR | set(&[R]),
        &["g", "b", "a", "2d", "a2d", "cube", "acube"],
        texture::tex,
    ),
    wordy(
        "txq",
        0,
        &[
            "width",
            "height",
            "depth",
            "array_size",
            "num_mipmap_levels",
            "num_samples",
            "normalized_coords",
            "channel_data_type",
            "channel_order",
        ],
        texture::query,
    ),
    wordy(
        "suq",
        0,
        &[
            "width",
            "height",
            "depth",
            "array_size",
            "channel_data_type",
            "channel_order",
        ],
        texture::query,
    ),
    wordy(
        "suld",
        VECTOR | CACHE | set(&[Clamp]),
        &["b", "1d", "2d", "3d", "a1d", "a2d", "trap", "zero"],
        texture::surface,
    ),
    wordy(
        "sust",
        VECTOR | CACHE | set(&[Clamp]),
        &["b", "p", "1d", "2d", "3d", "a1d", "a2d", "trap", "zero"],
        texture::surface,
    ),
    wordy(
        "sured",
        set(&[Clamp, Add, Min, Max, And, Or]),
        &["b", "1d", "2d", "3d", "a1d", "a2d", "trap", "zero"],
        texture::surface,
    ),
    wordy(
        "ldmatrix",
        set(&[Sync, Aligned, Shared]),
        &["m8n8", "x1", "x2", "x4", "trans"],
        matrix::ldmatrix,
    ),
    wordy(
        "movmatrix",
        set(&[Sync, Aligned]),
        &["m8n8", "trans"],
        matrix::movmatrix,
    ),
];

/// The row of an opcode, if it is supported with all its modifiers.
pub(crate) fn find(opcode: &str) -> Option<(Form, &'static Instruction)> {
    static INDEX: OnceLock<HashMap<&'static str, &'static Instruction>> = OnceLock::new();
    let index = INDEX.get_or_init(|| TABLE.iter().map(|row| (row.name, row)).collect());
    let form = Form::parse(opcode);
    let row = index.get(form.name.as_str())?;
    let known = !form.unknown
        && form.modifiers & !row.modifiers == 0
        && form
            .words
            .iter()
            .all(|word| row.words.contains(&word.as_str()));
    known.then_some((form, *row))
}
