// SPDX-License-Identifier: MIT OR Apache-2.0
//! The lowered form: what the lowering stage writes and the execution stage runs.
//!
//! A register is a *row*: 32 values of 16, 32, 64 or 128 bits, one per lane, in an array. A
//! predicate is one 32-bit word with a bit per lane. An instruction names its rows by byte offsets
//! from a few base addresses, and the function that executes it.

use super::chain::Chain;
use super::context::Context;
use super::indexed::Indexed;
use core::mem::size_of;

/// Lanes of a warp.
pub(crate) const LANES: usize = 32;

/// How many rows an instruction names.
pub(crate) const OPERANDS: usize = 6;

/// What a row is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Base {
    /// The registers of the running function.
    Frame = 0,
    /// Constants of the kernel, already spread over the lanes.
    Constant = 1,
    /// Special registers of the warp.
    Special = 2,
    /// Parameters of the launch, spread over the lanes.
    Launch = 3,
}

/// A row: the base in the two high bits, the byte offset in the others. Before registers are
/// allocated, the offset of a frame row is the number of its virtual register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row(pub u32);

impl Row {
    /// Stands for a row that the instruction does not have.
    pub const NONE: Row = Row::new(Base::Launch, Row::MAX_OFFSET);
    pub const MAX_OFFSET: u32 = (1 << 30) - 1;

    pub const fn new(base: Base, offset: u32) -> Row {
        Row((base as u32) << 30 | offset)
    }

    #[inline(always)]
    pub const fn base(self) -> usize {
        (self.0 >> 30) as usize
    }

    #[inline(always)]
    pub const fn offset(self) -> usize {
        (self.0 & Row::MAX_OFFSET) as usize
    }
}

/// Register widths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Width {
    Predicate,
    Half,
    Word,
    Double,
    Quad,
}

impl Width {
    /// Bytes of a row of this width.
    pub const fn row_bytes(self) -> u32 {
        match self {
            Width::Predicate => 4,
            Width::Half => 64,
            Width::Word => 128,
            Width::Double => 256,
            Width::Quad => 512,
        }
    }

    pub const fn of<T>() -> Width {
        match size_of::<T>() {
            1 | 2 => Width::Half,
            4 => Width::Word,
            8 => Width::Double,
            _ => Width::Quad,
        }
    }

    /// The width of a register that holds values of so many bytes.
    pub fn of_bytes(bytes: u64) -> Width {
        match bytes {
            0..=2 => Width::Half,
            3..=4 => Width::Word,
            5..=8 => Width::Double,
            _ => Width::Quad,
        }
    }
}

/// What follows an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flow {
    /// The next instruction.
    Next,
    /// The instruction at `Context::pc`.
    Jump,
    /// The running group ended, waits, or was split: choose a group again.
    Regroup,
    /// `Context::fault` says what went wrong.
    Fault,
}

/// Executes one instruction for the lanes in the mask (never 0).
///
/// # Safety
/// The instruction comes from a [`Code`] that the lowering stage made, and the context belongs to a
/// warp that runs that code.
pub(crate) type Function = for<'a, 'b, 'c> unsafe fn(&'a mut Context<'b>, &'c Inst, u32) -> Flow;

/// What an instruction does besides computing, which decides how several warps execute it one after
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Conduct {
    /// Anything: the warp has a turn of its own.
    Alone,
    /// Reads rows, writes rows, and goes on to the next.
    Rows,
    /// The same, for all warps of a convoy at once (`Context::each`).
    Crowd,
    /// Like `Rows`, and accesses memory; it may fault.
    Memory,
    /// The same, and waits for lanes that are not there.
    Meeting,
    /// The same as `Memory`, and may execute instructions that follow it.
    Sequence,
    /// Like `Sequence`, for all warps of a convoy at once.
    Procession,
    /// Goes to the PC in `imm`.
    Branch,
    /// Ends the lanes.
    Exit,
    /// A barrier of the block.
    Barrier,
}

/// A function that executes instructions, and how it conducts itself.
#[derive(Clone, Copy)]
pub(crate) struct Handler {
    pub function: Function,
    pub conduct: Conduct,
}

impl Handler {
    /// Whether it is the same function.
    pub fn is(self, other: Handler) -> bool {
        core::ptr::fn_addr_eq(self.function, other.function)
    }
}

/// A lowered instruction, in one cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Inst {
    pub run: Handler,
    /// Predicate row that guards it (a constant row of ones if nothing does).
    pub guard: Row,
    /// All ones for `@!p`.
    pub guard_xor: u32,
    pub rows: [Row; OPERANDS],
    /// Address offset, jump target, look-up table...
    pub imm: i64,
    /// What else the handler needs to know.
    pub aux: u64,
}

const _: () = assert!(size_of::<Inst>() == 64);

impl Inst {
    /// Its first rows.
    #[inline(always)]
    pub fn first<const N: usize>(&self) -> [Row; N] {
        core::array::from_fn(|i| self.rows[i])
    }

    /// Executes it.
    ///
    /// # Safety
    /// As for a [`Function`].
    #[inline(always)]
    pub unsafe fn execute(&self, cx: &mut Context<'_>, mask: u32) -> Flow {
        // SAFETY: the caller keeps the promises.
        unsafe { (self.run.function)(cx, self, mask) }
    }
}

/// A function of the lowered code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FunctionCode {
    pub entry: u32,
    /// Bytes of its registers.
    pub frame_bytes: u32,
    /// Bytes of local memory per lane, with room for the arguments of its calls.
    pub local_bytes: u32,
}

/// A block of rows, aligned to cache lines.
#[derive(Clone, Default)]
pub(crate) struct Rows(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Rows {
    pub fn zeroed(bytes: usize) -> Rows {
        Rows(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    pub fn len(&self) -> usize {
        self.0.len() * 64
    }

    /// Makes room for `bytes` bytes; new ones are zero.
    pub fn grow(&mut self, bytes: usize) {
        if bytes > self.len() {
            self.0.resize(bytes.div_ceil(64), Line([0; 64]));
        }
    }

    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr().cast()
    }

    pub fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr().cast()
    }

    /// Copies bytes in at an offset.
    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(offset + bytes.len());
        for (i, &byte) in bytes.iter().enumerate() {
            self.0[(offset + i) / 64].0[(offset + i) % 64] = byte;
        }
    }
}

/// The lowered code of a kernel and of all functions that it may call.
pub(crate) struct Code {
    pub insts: Vec<Inst>,
    /// PTX line of each instruction.
    pub lines: Vec<u32>,
    pub constants: Rows,
    /// The kernel itself is the first.
    pub functions: Vec<FunctionCode>,
    /// Function number of the module -> index in `functions`, for indirect calls.
    pub callable: Vec<Option<u32>>,
    /// Jump tables of `brx.idx`.
    pub tables: Vec<Vec<u32>>,
    /// Instructions that are executed together.
    pub chains: Vec<Chain>,
    pub indexed: Vec<Indexed>,
    /// Instructions with more rows than `Inst` holds.
    pub wides: Vec<Wide>,
    /// Parameters that are kept as rows.
    pub params: Vec<ParamRow>,
}

/// Rows and details of an instruction with more rows than `Inst` holds; `Inst::imm` is its number.
pub(crate) struct Wide {
    /// Those that it writes, then those that it reads.
    pub rows: Vec<Row>,
    pub writes: usize,
    pub detail: Detail,
}

/// What such an instruction does.
#[derive(Debug, Clone)]
pub(crate) enum Detail {
    Product(super::product::Product),
    Fragment(super::fragment::Fragment),
    Sample(super::texture::Sample),
    Surface(super::surface::Surface),
}

/// A kernel parameter, or a part of one, that a launch spreads over a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ParamRow {
    /// Where it is in the parameters, and its bytes there.
    pub offset: u32,
    pub bytes: u32,
    /// Whether it is sign-extended to the width of the register.
    pub signed: bool,
    pub width: Width,
    /// Byte offset of the row.
    pub row: u32,
}

impl Code {
    /// Spreads the parameters over rows.
    pub fn launch_rows(&self, params: &[u8]) -> Rows {
        let end = self
            .params
            .iter()
            .map(|param| param.row + param.width.row_bytes())
            .max()
            .unwrap_or(0);
        let mut rows = Rows::zeroed(end as usize);
        for param in &self.params {
            let mut value = [0u8; 8];
            let from = param.offset as usize;
            if let Some(bytes) = params.get(from..from + param.bytes as usize) {
                value[..bytes.len()].copy_from_slice(bytes);
                if param.signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
                    value[bytes.len()..].fill(0xff);
                }
            }
            let lane = param.width.row_bytes() as usize / LANES;
            rows.put(param.row as usize, &value[..lane].repeat(LANES));
        }
        rows
    }
}
