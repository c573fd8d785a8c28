// SPDX-License-Identifier: MIT OR Apache-2.0
//! Matrix products of a warp, and the fragments in which its lanes hold matrices (PTX ISA, "Warp
//! Level Matrix Instructions").
//!
//! All fragments have one scheme: matrices consist of blocks with 8 rows (A), 8 columns (B) or both
//! (C and D), and 4 registers per row or column of a block. Lane `4 g + t` holds part `t` of row or
//! column `g`. `mma` prescribes just that; for `wmma`, whose fragments are nobody else's business,
//! it is as good as any other. Only `mma.m8n8k4` of f16, which makes four products, is different.

use super::access::{illegal, misaligned};
use super::code::{Detail, Flow, Inst, LANES, Row};
use super::collective::{gather, resume_rest};
use super::context::Context;
use super::isa::handlers;
use super::value::Value;
use super::watch;
use crate::numeric::{HALF, NEAREST, canonical32, decode_bfloat, decode_half, encode, fma64};
use crate::parse::ast::Space;

/// Elements of the largest matrix: 16 x 64.
const LARGEST: usize = 1024;
/// Elements of the largest sum: 16 x 16, 8 x 32, 32 x 8.
const LARGEST_SUM: usize = 256;
/// Lines of the largest fragment in memory.
const LINES: usize = 32;

/// Elements of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    F16,
    Bf16,
    Tf32,
    F32,
    F64,
    U8,
    S8,
    U4,
    S4,
    /// 32 single bits: extents along `k` count words.
    Bits,
    S32,
}

impl Element {
    /// Elements in a register.
    pub fn per_register(self) -> usize {
        match self {
            Element::F16 | Element::Bf16 => 2,
            Element::U8 | Element::S8 => 4,
            Element::U4 | Element::S4 => 8,
            _ => 1,
        }
    }
}

/// `d = a * b + c`.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Element,
    pub b: Element,
    pub c: Element,
    pub d: Element,
    /// Registers of A and of B.
    pub registers: [usize; 2],
    /// Rounding of f64.
    pub mode: u8,
    pub saturate: bool,
    /// Bits are combined by `and`, not by `xor`.
    pub and: bool,
    /// `mma.m8n8k4` of f16: whether A and B are stored by columns.
    pub quads: Option<[bool; 2]>,
}

/// Which operand a fragment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    A,
    B,
    C,
}

/// A fragment in memory: `wmma.load` and `wmma.store`. The row 1 of the instruction is the address,
/// row 2 the distance of lines in elements.
#[derive(Debug, Clone)]
pub(crate) struct Fragment {
    pub role: Role,
    pub element: Element,
    /// Rows and columns of the matrix.
    pub extent: [usize; 2],
    /// Lines in memory are columns.
    pub columns: bool,
    pub space: Space,
    pub offset: i64,
    pub store: bool,
}

/// Calls `f(register, lane, part, row, column)` for each element of A.
#[inline(always)]
fn each_a(m: usize, k: usize, per: usize, mut f: impl FnMut(usize, usize, usize, usize, usize)) {
    let blocks = m / 8;
    for register in 0..blocks * (k / (4 * per)) {
        let (row, column) = (register % blocks * 8, register / blocks * 4 * per);
        for lane in 0..LANES {
            for part in 0..per {
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + g, column + t * per + part);
            }
        }
    }
}

/// The same for B.
#[inline(always)]
fn each_b(k: usize, n: usize, per: usize, mut f: impl FnMut(usize, usize, usize, usize, usize)) {
    let blocks = k / (4 * per);
    for register in 0..blocks * (n / 8) {
        let (row, column) = (register % blocks * 4 * per, register / blocks * 8);
        for lane in 0..LANES {
            for part in 0..per {
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + t * per + part, column + g);
            }
        }
    }
}

/// The same for C and D: `per` is 2 if a register holds two elements.
#[inline(always)]
fn each_c(m: usize, n: usize, per: usize, mut f: impl FnMut(usize, usize, usize, usize, usize)) {
    let blocks = m / 8;
    for pair in 0..blocks * (n / 8) {
        let (row, column) = (pair % blocks * 8, pair / blocks * 8);
        for lane in 0..LANES {
            for i in 0..2 {
                let (register, part) = if per == 2 {
                    (pair, i)
                } else {
                    (2 * pair + i, 0)
                };
                let (g, t) = (lane / 4, lane % 4);
                f(register, lane, part, row + g, column + 2 * t + i);
            }
        }
    }
}

/// A floating-point element of a register.
#[inline(always)]
fn float(element: Element, word: u32, part: usize) -> f32 {
    match element {
        Element::F16 => decode_half((word >> (16 * part)) as u16),
        Element::Bf16 => decode_bfloat((word >> (16 * part)) as u16),
        // The bits that the format lacks are not looked at.
        Element::Tf32 => f32::from_bits(word & 0xffff_e000),
        _ => f32::from_bits(word),
    }
}

/// An integer element of a register.
#[inline(always)]
fn integer(element: Element, word: u32, part: usize) -> i32 {
    match element {
        Element::U8 => (word >> (8 * part) & 0xff) as i32,
        Element::S8 => i32::from((word >> (8 * part)) as i8),
        Element::U4 => (word >> (4 * part) & 15) as i32,
        Element::S4 => ((word >> (4 * part)) as i32) << 28 >> 28,
        _ => word as i32,
    }
}

/// The registers of A, B and C: rows of words or doubles.
struct Operands<'a> {
    a: &'a [Row],
    b: &'a [Row],
    c: &'a [Row],
}

/// `sum += a * b` for blocks of eight columns, so that the compiler vectorises it.
#[inline(always)]
fn multiply<T: Copy>(
    p: &Product,
    a: &[T; LARGEST],
    b: &[T; LARGEST],
    sum: &mut [T; LARGEST_SUM],
    step: impl Fn(T, T, T) -> T,
) {
    let (m, n, k) = (p.m, p.n, p.k);
    for i in 0..m {
        for j in (0..n).step_by(8) {
            let Some(sum) = sum
                .get_mut(i * n + j..)
                .and_then(|s| s.first_chunk_mut::<8>())
            else {
                continue;
            };
            let mut total = *sum;
            for l in 0..k {
                let x = a[(i * k + l) % LARGEST];
                let Some(y) = b.get(l * n + j..).and_then(|b| b.first_chunk::<8>()) else {
                    continue;
                };
                for (total, &y) in total.iter_mut().zip(y) {
                    *total = step(x, y, *total);
                }
            }
            *sum = total;
        }
    }
}

/// # Safety
/// The rows are of the widths of their elements.
#[inline(always)]
unsafe fn product_single(cx: &Context<'_>, p: &Product, rows: &Operands<'_>, d: &[Row]) {
    let (mut a, mut b, mut sum) = ([0f32; LARGEST], [0f32; LARGEST], [0f32; LARGEST_SUM]);
    // SAFETY: the caller vouches for the rows; a lane is below 32.
    let word = |row: Row, lane: usize| unsafe { *cx.row::<u32>(row).add(lane) };
    each_a(p.m, p.k, p.a.per_register(), |r, lane, part, i, l| {
        a[i * p.k + l] = float(p.a, word(rows.a[r], lane), part);
    });
    each_b(p.k, p.n, p.b.per_register(), |r, lane, part, l, j| {
        b[l * p.n + j] = float(p.b, word(rows.b[r], lane), part);
    });
    each_c(p.m, p.n, p.c.per_register(), |r, lane, part, i, j| {
        sum[i * p.n + j] = float(p.c, word(rows.c[r], lane), part);
    });
    // Products of these formats are exact in single precision.
    multiply(p, &a, &b, &mut sum, |x, y, sum| sum + x * y);
    each_c(p.m, p.n, p.d.per_register(), |r, lane, part, i, j| {
        let value = finish(p, sum[i * p.n + j]);
        // SAFETY: as above.
        unsafe { write_float(cx, p.d, d[r], lane, part, value) };
    });
}

/// `.satfinite` of floating-point sums.
fn finish(p: &Product, sum: f32) -> f32 {
    let largest = if p.d == Element::F16 {
        65504.0
    } else {
        f32::MAX
    };
    match () {
        () if !p.saturate => sum,
        () if sum.is_nan() => 0.0,
        () => sum.clamp(-largest, largest),
    }
}

/// # Safety
/// The row holds words.
#[inline(always)]
unsafe fn write_float(
    cx: &Context<'_>,
    element: Element,
    row: Row,
    lane: usize,
    part: usize,
    value: f32,
) {
    // SAFETY: the caller vouches for the row; two halves are as wide as a word.
    unsafe {
        match element {
            Element::F16 => {
                *cx.row::<u16>(row).add(2 * lane + part) = encode(value.into(), HALF, NEAREST);
            }
            _ => *cx.row::<f32>(row).add(lane) = canonical32(value),
        }
    }
}

/// # Safety
/// The rows hold doubles.
#[inline(always)]
unsafe fn product_double(cx: &Context<'_>, p: &Product, rows: &Operands<'_>, d: &[Row]) {
    let (mut a, mut b, mut sum) = ([0f64; LARGEST], [0f64; LARGEST], [0f64; LARGEST_SUM]);
    // SAFETY: the caller vouches for the rows; a lane is below 32.
    let word = |row: Row, lane: usize| unsafe { *cx.row::<f64>(row).add(lane) };
    each_a(p.m, p.k, 1, |r, lane, _, i, l| {
        a[i * p.k + l] = word(rows.a[r], lane)
    });
    each_b(p.k, p.n, 1, |r, lane, _, l, j| {
        b[l * p.n + j] = word(rows.b[r], lane)
    });
    each_c(p.m, p.n, 1, |r, lane, _, i, j| {
        sum[i * p.n + j] = word(rows.c[r], lane)
    });
    if p.mode == NEAREST {
        multiply(p, &a, &b, &mut sum, f64::mul_add);
    } else {
        multiply(p, &a, &b, &mut sum, |x, y, sum| fma64(x, y, sum, p.mode));
    }
    each_c(p.m, p.n, 1, |r, lane, _, i, j| {
        // SAFETY: as above.
        unsafe { *cx.row::<f64>(d[r]).add(lane) = sum[i * p.n + j] };
    });
}

/// # Safety
/// The rows hold words.
#[inline(always)]
unsafe fn product_integer(cx: &Context<'_>, p: &Product, rows: &Operands<'_>, d: &[Row]) {
    let (mut a, mut b, mut sum) = ([0i32; LARGEST], [0i32; LARGEST], [0i32; LARGEST_SUM]);
    // SAFETY: the caller vouches for the rows; a lane is below 32.
    let word = |row: Row, lane: usize| unsafe { *cx.row::<u32>(row).add(lane) };
    each_a(p.m, p.k, p.a.per_register(), |r, lane, part, i, l| {
        a[i * p.k + l] = integer(p.a, word(rows.a[r], lane), part);
    });
    each_b(p.k, p.n, p.b.per_register(), |r, lane, part, l, j| {
        b[l * p.n + j] = integer(p.b, word(rows.b[r], lane), part);
    });
    // At most 64 products below 2^16, or 8 counts: no overflow before C is added.
    if p.a == Element::Bits {
        let and = p.and;
        multiply(p, &a, &b, &mut sum, |x, y, sum| {
            let bits = if and { x & y } else { x ^ y };
            sum + bits.count_ones() as i32
        });
    } else {
        multiply(p, &a, &b, &mut sum, |x, y, sum| sum + x * y);
    }
    // Every element is read before one is written, because C may be D.
    each_c(p.m, p.n, 1, |r, lane, _, i, j| {
        let (sum, c) = (&mut sum[i * p.n + j], word(rows.c[r], lane) as i32);
        *sum = if p.saturate {
            sum.saturating_add(c)
        } else {
            sum.wrapping_add(c)
        };
    });
    each_c(p.m, p.n, 1, |r, lane, _, i, j| {
        // SAFETY: as above.
        unsafe { *cx.row::<i32>(d[r]).add(lane) = sum[i * p.n + j] };
    });
}

/// Four products of 8x4 and 4x8 matrices, one for every eight lanes (PTX ISA, "Matrix Fragments for
/// mma.m8n8k4 with .f16 floating point type").
///
/// # Safety
/// The rows hold words.
unsafe fn product_quads(
    cx: &Context<'_>,
    p: &Product,
    columns: [bool; 2],
    rows: &Operands<'_>,
    d: &[Row],
) {
    let (mut a, mut b, mut sum) = (
        [[[0f32; 4]; 8]; 4],
        [[[0f32; 8]; 4]; 4],
        [[[0f32; 8]; 8]; 4],
    );
    // SAFETY: the caller vouches for the rows; a lane is below 32.
    let word = |row: Row, lane: usize| unsafe { *cx.row::<u32>(row).add(lane) };
    let place = |element: Element, lane: usize, i: usize| {
        let high = lane / 16 * 4;
        match element {
            Element::F16 => (lane % 4 + high, i),
            _ => ((lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)),
        }
    };
    for lane in 0..LANES {
        let (quad, high) = (lane % 16 / 4, lane / 16 * 4);
        for i in 0..4 {
            let value = float(Element::F16, word(rows.a[i / 2], lane), i % 2);
            let (row, column) = if columns[0] {
                (i + high, lane % 4)
            } else {
                (lane % 4 + high, i)
            };
            a[quad][row][column] = value;
            let value = float(Element::F16, word(rows.b[i / 2], lane), i % 2);
            let (row, column) = if columns[1] {
                (i, lane % 4 + high)
            } else {
                (lane % 4, i + high)
            };
            b[quad][row][column] = value;
        }
        let per = p.c.per_register();
        for i in 0..8 {
            let (row, column) = place(p.c, lane, i);
            sum[quad][row][column] = float(p.c, word(rows.c[i / per], lane), i % per);
        }
    }
    for quad in 0..4 {
        for i in 0..8 {
            for j in 0..8 {
                let products = (0..4).map(|l| a[quad][i][l] * b[quad][l][j]);
                sum[quad][i][j] = products.fold(sum[quad][i][j], |sum, product| sum + product);
            }
        }
    }
    let per = p.d.per_register();
    for lane in 0..LANES {
        for i in 0..8 {
            let (row, column) = place(p.d, lane, i);
            let value = finish(p, sum[lane % 16 / 4][row][column]);
            // SAFETY: as above.
            unsafe { write_float(cx, p.d, d[i / per], lane, i % per, value) };
        }
    }
}

/// `mma` and `wmma.mma`: row 5 is the member mask.
#[inline(always)]
unsafe fn product_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths and numbers of the rows.
    unsafe {
        if gather(cx, inst.rows[5], mask, false) == 0 {
            return resume_rest(cx);
        }
        let code = cx.code;
        let Some(wide) = code.wides.get(inst.imm as usize) else {
            return Flow::Fault;
        };
        let Detail::Product(p) = &wide.detail else {
            return Flow::Fault;
        };
        let (d, rest) = wide.rows.split_at(wide.writes);
        let (a, rest) = rest.split_at(p.registers[0]);
        let (b, c) = rest.split_at(p.registers[1]);
        let rows = Operands { a, b, c };
        match (p.quads, p.d) {
            (Some(columns), _) => product_quads(cx, p, columns, &rows, d),
            (None, Element::F64) => product_double(cx, p, &rows, d),
            (None, Element::S32) => product_integer(cx, p, &rows, d),
            _ => product_single(cx, p, &rows, d),
        }
    }
    Flow::Next
}

/// `wmma.load` and `wmma.store`: row 1 is the address, row 2 the distance of lines, row 5 the member
/// mask.
#[inline(always)]
unsafe fn fragment_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths and numbers of the rows; host addresses come
    // from `locate`, for a whole line each.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let code = cx.code;
        let Some(wide) = code.wides.get(inst.imm as usize) else {
            return Flow::Fault;
        };
        let Detail::Fragment(f) = &wide.detail else {
            return Flow::Fault;
        };
        let lane = mask.trailing_zeros() as usize;
        let base = (*cx.row::<u64>(inst.rows[1]).add(lane)).wrapping_add(f.offset as u64);
        let distance = u64::from(*cx.row::<u32>(inst.rows[2]).add(lane));
        let (lines, length) = if f.columns {
            (f.extent[1], f.extent[0])
        } else {
            (f.extent[0], f.extent[1])
        };
        // Elements below a byte travel in words.
        let (size, group) = match f.element {
            Element::F64 => (8, 1),
            Element::U4 | Element::S4 => (4, 8),
            Element::Bits => (4, 32),
            Element::F16 | Element::Bf16 => (2, 1),
            Element::U8 | Element::S8 => (1, 1),
            _ => (4, 1),
        };
        let length = if f.element == Element::Bits {
            length
        } else {
            length / group
        };
        let access = if f.store { "store" } else { "load" };
        let mut hosts = [core::ptr::null_mut::<u8>(); LINES];
        for (line, host) in hosts.iter_mut().enumerate().take(lines) {
            let at = (line as u64).wrapping_mul(distance) / group as u64;
            let address = base.wrapping_add(at.wrapping_mul(size as u64));
            let bytes = (length * size) as u64;
            if !address.is_multiple_of(size as u64) {
                return misaligned(cx, lane, address, size as u64, access, f.space);
            }
            let found = cx.locate(f.space, address, bytes);
            let Some(found) =
                found.filter(|_| !f.store || super::access::writable(f.space, address))
            else {
                return illegal(cx, lane, address, bytes, access, f.space);
            };
            *host = found;
            let kind = if f.store { watch::STORE } else { watch::LOAD };
            cx.watch(kind, f.space, lane, address, bytes);
        }
        let columns = f.columns;
        let host = |row: usize, column: usize| {
            let (line, at) = if columns {
                (column, row)
            } else {
                (row, column)
            };
            hosts[line % LINES].add(at * size)
        };
        let rows = &wide.rows;
        let visit = |register: usize, lane: usize, part: usize, row: usize, column: usize| {
            let host = host(row, column);
            if f.store {
                let Some(&from) = rows.get(register) else {
                    return;
                };
                match size {
                    8 => (*cx.row::<u64>(from).add(lane)).store(host),
                    2 => (*cx.row::<u16>(from).add(2 * lane + part)).store(host),
                    1 => (*cx.row::<u8>(from).add(4 * lane + part)).store(host),
                    _ => (*cx.row::<u32>(from).add(lane)).store(host),
                }
                return;
            }
            let Some(&to) = rows.get(register) else {
                return;
            };
            match size {
                8 => *cx.row::<u64>(to).add(lane) = u64::load(host),
                2 => *cx.row::<u16>(to).add(2 * lane + part) = u16::load(host),
                1 => *cx.row::<u8>(to).add(4 * lane + part) = u8::load(host),
                _ => *cx.row::<u32>(to).add(lane) = u32::load(host),
            }
        };
        let [m, n] = f.extent;
        let per = if group > 1 {
            1
        } else {
            f.element.per_register()
        };
        let packed = |extent: usize| {
            if f.element == Element::Bits {
                extent
            } else {
                extent / group
            }
        };
        let used = match f.role {
            Role::A => {
                each_a(m, packed(n), per, visit);
                m * packed(n) / (LANES * per)
            }
            Role::B => {
                each_b(packed(m), n, per, visit);
                packed(m) * n / (LANES * per)
            }
            Role::C => {
                each_c(m, n, per, visit);
                rows.len()
            }
        };
        if !f.store {
            // A fragment of f16 has more registers than its matrix, which they hold several times.
            for (i, &row) in rows.iter().enumerate().skip(used) {
                let from = cx.row::<[u32; LANES]>(rows[i - used]).read();
                cx.row::<[u32; LANES]>(row).write(from);
            }
        }
    }
    Flow::Next
}

/// `ldmatrix`: rows 0 to 3 the results, row 4 the addresses, row 5 the member mask; `aux` has the
/// number of matrices in 0..4, bit 4 for `.trans`, and the state space from bit 8 on.
#[inline(always)]
unsafe fn load_matrix_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    const ROW: u64 = 16;
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`,
    // for a whole row each.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let space = super::access::flags::space(inst.aux >> 8);
        let count = (inst.aux & 15) as usize;
        let addresses = cx.row::<[u64; LANES]>(inst.rows[4]).read();
        let mut matrices = [[[0u16; 8]; 8]; 4];
        for (lane, address) in addresses.into_iter().enumerate().take(8 * count) {
            if mask & (1 << lane) == 0 {
                continue;
            }
            let address = address.wrapping_add(inst.imm as u64);
            if !address.is_multiple_of(ROW) {
                return misaligned(cx, lane, address, ROW, "load", space);
            }
            let Some(host) = cx.locate(space, address, ROW) else {
                return illegal(cx, lane, address, ROW, "load", space);
            };
            cx.watch(watch::LOAD, space, lane, address, ROW);
            matrices[lane / 8][lane % 8] = core::array::from_fn(|i| u16::load(host.add(2 * i)));
        }
        for (matrix, &row) in matrices.iter().zip(&inst.rows[..count]) {
            let matrix = if inst.aux & 16 != 0 {
                transposed(matrix)
            } else {
                *matrix
            };
            write_eight(cx, row, &matrix, mask);
        }
    }
    Flow::Next
}

/// `movmatrix`: row 0 the result, row 1 the matrix, row 5 the member mask.
#[inline(always)]
unsafe fn move_matrix_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let halves = cx.row::<[[u16; 8]; 8]>(inst.rows[1]).read();
        write_eight(cx, inst.rows[0], &transposed(&halves), mask);
    }
    Flow::Next
}

fn transposed(matrix: &[[u16; 8]; 8]) -> [[u16; 8]; 8] {
    core::array::from_fn(|i| core::array::from_fn(|j| matrix[j][i]))
}

/// Lane `4 g + t` takes elements `2 t` and `2 t + 1` of row `g`.
///
/// # Safety
/// The row holds words.
unsafe fn write_eight(cx: &Context<'_>, row: Row, matrix: &[[u16; 8]; 8], mask: u32) {
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        let pair = &matrix[lane / 4][lane % 4 * 2..][..2];
        // SAFETY: the caller vouches for the row.
        unsafe {
            *cx.row::<u32>(row).add(lane) = u32::from(pair[1]) << 16 | u32::from(pair[0]);
        }
    }
}

handlers! {
    two product = product_body;
    one fragment = fragment_body;
    one load_matrix = load_matrix_body;
    one move_matrix = move_matrix_body;
}
