// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instructions: one row each.
//!
//! A row names the modifiers that the instruction's function understands. An opcode with any other
//! modifier is not supported, so that none is ever ignored.

use super::builder::Builder;
use super::form::{Form, Modifier, Set, set};
use super::{
    Refusal, atomic, bits, collective, compare, control, convert, float, integer, matrix, mbarrier,
    memory, rare, texture, video,
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
        AcqRel, Add, Min, Max, And, Or, Xor, Inc, Dec, Exch, Cas, Noftz, Hint, V2, V4, V8,
    ]);

const VIDEO: Set = set(&[Sat, Add, Min, Max]);
const RELATION: Set = set(&[Eq, Ne, Lt, Le, Gt, Ge]);
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
    row("mad24", &[Lo, Hi, Sat], rare::mad24),
    row("sad", &[], integer::sad),
    row("and", &[], bits::and),
    row("or", &[], bits::or),
    row("xor", &[], bits::xor),
    row("not", &[], bits::not),
    row("cnot", &[], bits::cnot),
    row("lop3", &[And, Or], bits::lop3),
    row("shl", &[], bits::shl),
    row("shr", &[], bits::shr),
    row("shf", &[L, R, Wrap, Clamp], bits::shf),
    row("prmt", &[F4e, B4e, Rc8, Ecl, Ecr, Rc16], bits::prmt_),
    row("popc", &[], bits::popc),
    row("clz", &[], bits::clz),
    row("brev", &[], bits::brev),
    row("bfind", &[Shiftamt], bits::bfind_),
    row("bfe", &[], bits::bfe_),
    row("bfi", &[], bits::bfi_),
    row("bmsk", &[Clamp, Wrap], bits::bmsk_),
    row("szext", &[Clamp, Wrap], rare::szext),
    row("fns", &[], rare::fns),
    row("dp4a", &[], integer::dp4a_),
    row("dp2a", &[Lo, Hi], rare::dp2a),
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
    wordy(
        "cvt",
        FLOAT | set(&[Rna, Rni, Rzi, Rmi, Rpi, Relu, Satfinite]),
        &["pack"],
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
    with("atom", ATOMIC, atomic::atom),
    with("red", ATOMIC, atomic::atom),
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
    wordy(
        "fence",
        set(&[
            Cta, Cluster, Gpu, Sys, Sc, AcqRel, Acquire, Release, Async, Global, Shared,
        ]),
        &["proxy", "alias", "mbarrier_init"],
        memory::fence,
    ),
    wordy(
        "prefetch",
        SPACES | set(&[Hint]),
        &["L1", "L2"],
        memory::hint,
    ),
    wordy("prefetchu", set(&[Hint]), &["L1"], memory::hint),
    row("applypriority", &[Global, Hint], memory::hint),
    wordy("discard", set(&[Global]), &["L2"], memory::hint),
    wordy(
        "createpolicy",
        set(&[Global, Hint]),
        &["fractional", "range", "cvt", "L2"],
        rare::policy,
    ),
    row("alloca", &[], rare::alloca),
    row("stacksave", &[], rare::alloca),
    row("stackrestore", &[], rare::alloca),
    row("bra", &[Uni], control::bra),
    row("brx", &[Idx, Uni], control::brx),
    row("call", &[Uni], control::call),
    row("ret", &[Uni], control::ret),
    row("exit", &[], control::exit),
    row("trap", &[], control::trap),
    // Without a debugger it ends the kernel.
    row("brkpt", &[], control::trap),
    wordy("pmevent", 0, &["mask"], control::nothing),
    // A kernel runs when the one before it has ended.
    wordy(
        "griddepcontrol",
        0,
        &["wait", "launch_dependents"],
        control::nothing,
    ),
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
        &[Sync, Add, Min, Max, And, Or, Xor, Abs, PropagateNan],
        collective::redux_,
    ),
    row("activemask", &[], collective::activemask),
    row("elect", &[Sync], collective::elect),
    with("vadd", VIDEO, video::scalar),
    with("vsub", VIDEO, video::scalar),
    with("vabsdiff", VIDEO, video::scalar),
    with("vmin", VIDEO, video::scalar),
    with("vmax", VIDEO, video::scalar),
    with("vshl", VIDEO | set(&[Clamp, Wrap]), video::scalar),
    with("vshr", VIDEO | set(&[Clamp, Wrap]), video::scalar),
    with("vset", VIDEO | RELATION, video::scalar),
    wordy("vmad", VIDEO, &["po", "shr7", "shr15"], video::multiply_add),
    with("vadd2", VIDEO, video::simd),
    with("vadd4", VIDEO, video::simd),
    with("vsub2", VIDEO, video::simd),
    with("vsub4", VIDEO, video::simd),
    with("vavrg2", VIDEO, video::simd),
    with("vavrg4", VIDEO, video::simd),
    with("vabsdiff2", VIDEO, video::simd),
    with("vabsdiff4", VIDEO, video::simd),
    with("vmin2", VIDEO, video::simd),
    with("vmin4", VIDEO, video::simd),
    with("vmax2", VIDEO, video::simd),
    with("vmax4", VIDEO, video::simd),
    with("vset2", VIDEO | RELATION, video::simd),
    with("vset4", VIDEO | RELATION, video::simd),
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
            "sp",
            "sp::ordered_metadata",
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
            "level",
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
        "stmatrix",
        set(&[Sync, Aligned, Shared]),
        &["m8n8", "x1", "x2", "x4", "trans"],
        matrix::stmatrix,
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
