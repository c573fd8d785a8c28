// SPDX-License-Identifier: MIT OR Apache-2.0
//! Products of matrices: `mma` and `wmma.mma`.

use super::code::{Detail, Flow, Inst, LANES, Row};
use super::collective::{gather, resume_rest};
use super::context::Context;
use super::isa::handlers;
use super::matrix::{Element, each_a, each_b, each_c, float, integer};
use crate::numeric::{HALF, NEAREST, canonical32, encode, fma64};

/// Elements of the largest matrix: 16 x 64.
const LARGEST: usize = 1024;
/// Elements of the largest sum: 16 x 16, 8 x 32, 32 x 8.
const LARGEST_SUM: usize = 256;
/// `d = a * b + c`.
#[derive(Debug, Clone)]
pub(crate) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Columns of A that are stored: `k`, or half of them.
    pub depth: usize,
    /// Of a sparse A: which lanes say what is stored.
    pub selector: Option<usize>,
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

/// The registers of A, B and C: rows of words or doubles.
struct Operands<'a> {
    a: &'a [Row],
    b: &'a [Row],
    c: &'a [Row],
    /// For each stored element of a sparse A, its column.
    columns: Option<&'a Columns>,
}

type Columns = [u8; LARGEST];

/// How many groups of four bits say which elements of a row of A are stored.
fn groups(element: Element, depth: usize) -> usize {
    match element {
        // One of two elements.
        Element::Tf32 => depth,
        // Two of four pairs of elements.
        Element::U4 | Element::S4 => depth / 4,
        // Two of four elements.
        _ => depth / 2,
    }
}

/// How many lanes of four hold these bits for a row of A.
pub(crate) fn metadata_lanes(element: Element, depth: usize) -> usize {
    (groups(element, depth) / 4).max(1)
}

/// The column of each stored element of A (PTX ISA, "Sparse matrix storage").
fn columns(p: &Product, selector: usize, which: &[u32; LANES]) -> Columns {
    let mut columns = [0; LARGEST];
    let lanes = metadata_lanes(p.a, p.depth);
    for row in 0..p.m {
        for l in 0..p.depth {
            let (group, part) = match p.a {
                Element::Tf32 => (l, 0),
                Element::U4 | Element::S4 => (l / 4, l / 2 % 2),
                _ => (l / 2, l % 2),
            };
            let (lane, at) = bits_of(p, row, group, lanes, selector);
            let index = (which[lane % LANES] >> (4 * at + 2 * part) & 3) as usize;
            let column = match p.a {
                // Both halves of an element are named.
                Element::Tf32 => 2 * group + index / 2,
                Element::U4 | Element::S4 => 8 * group + 2 * index + l % 2,
                _ => 4 * group + index,
            };
            if let Some(to) = columns.get_mut(row * p.depth + l) {
                *to = column as u8;
            }
        }
    }
    columns
}

/// The lane that has a group of a row, and which of its eight groups that is.
fn bits_of(p: &Product, row: usize, group: usize, lanes: usize, selector: usize) -> (usize, usize) {
    let (half, g) = (row / 8, row % 8);
    let first = 4 * g + selector * lanes;
    match p.a {
        // A lane has a part of rows `g` and `g + 8`.
        Element::F16 | Element::Bf16 | Element::Tf32 => (first + group / 4, 4 * half + group % 4),
        // A lane has a part of one of these rows.
        _ => (first + half + group / 8 * 2, group % 8),
    }
}

/// `sum += a * b`.
#[inline(always)]
fn multiply<T: Copy>(
    p: &Product,
    columns: Option<&Columns>,
    a: &[T; LARGEST],
    b: &[T; LARGEST],
    sum: &mut [T; LARGEST_SUM],
    step: impl Fn(T, T, T) -> T,
) {
    match columns {
        None => accumulate(p, a, b, sum, |_, l| l, step),
        Some(columns) => {
            let column = |i, l| usize::from(columns[(i * p.depth + l) % LARGEST]);
            accumulate(p, a, b, sum, column, step);
        }
    }
}

/// The same with a function for the column of a stored element of A. It takes eight columns of B at
/// once, so that the compiler vectorises it.
#[inline(always)]
fn accumulate<T: Copy>(
    p: &Product,
    a: &[T; LARGEST],
    b: &[T; LARGEST],
    sum: &mut [T; LARGEST_SUM],
    column: impl Fn(usize, usize) -> usize,
    step: impl Fn(T, T, T) -> T,
) {
    let (m, n, depth) = (p.m, p.n, p.depth);
    for i in 0..m {
        for j in (0..n).step_by(8) {
            let Some(sum) = sum
                .get_mut(i * n + j..)
                .and_then(|s| s.first_chunk_mut::<8>())
            else {
                continue;
            };
            let mut total = *sum;
            for l in 0..depth {
                let x = a[(i * depth + l) % LARGEST];
                let Some(y) = b
                    .get(column(i, l) * n + j..)
                    .and_then(|b| b.first_chunk::<8>())
                else {
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
    each_a(p.m, p.depth, p.a.per_register(), |r, lane, part, i, l| {
        a[i * p.depth + l] = float(p.a, word(rows.a[r], lane), part);
    });
    each_b(p.k, p.n, p.b.per_register(), |r, lane, part, l, j| {
        b[l * p.n + j] = float(p.b, word(rows.b[r], lane), part);
    });
    each_c(p.m, p.n, p.c.per_register(), |r, lane, part, i, j| {
        sum[i * p.n + j] = float(p.c, word(rows.c[r], lane), part);
    });
    // Products of these formats are exact in single precision.
    multiply(p, rows.columns, &a, &b, &mut sum, |x, y, sum| sum + x * y);
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
    each_a(p.m, p.depth, 1, |r, lane, _, i, l| {
        a[i * p.depth + l] = word(rows.a[r], lane)
    });
    each_b(p.k, p.n, 1, |r, lane, _, l, j| {
        b[l * p.n + j] = word(rows.b[r], lane)
    });
    each_c(p.m, p.n, 1, |r, lane, _, i, j| {
        sum[i * p.n + j] = word(rows.c[r], lane)
    });
    if p.mode == NEAREST {
        multiply(p, rows.columns, &a, &b, &mut sum, f64::mul_add);
    } else {
        multiply(p, rows.columns, &a, &b, &mut sum, |x, y, sum| {
            fma64(x, y, sum, p.mode)
        });
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
    each_a(p.m, p.depth, p.a.per_register(), |r, lane, part, i, l| {
        a[i * p.depth + l] = integer(p.a, word(rows.a[r], lane), part);
    });
    each_b(p.k, p.n, p.b.per_register(), |r, lane, part, l, j| {
        b[l * p.n + j] = integer(p.b, word(rows.b[r], lane), part);
    });
    // At most 64 products below 2^16, or 8 counts: no overflow before C is added.
    if p.a == Element::Bits {
        let and = p.and;
        multiply(p, rows.columns, &a, &b, &mut sum, |x, y, sum| {
            let bits = if and { x & y } else { x ^ y };
            sum + bits.count_ones() as i32
        });
    } else {
        multiply(p, rows.columns, &a, &b, &mut sum, |x, y, sum| sum + x * y);
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
        // Behind C is the row that says what is stored.
        let columns = match (p.selector, c.last()) {
            (Some(selector), Some(&which)) => {
                let which = cx.row::<[u32; LANES]>(which).read();
                Some(columns(p, selector, &which))
            }
            _ => None,
        };
        let rows = Operands {
            a,
            b,
            c,
            columns: columns.as_ref(),
        };
        match (p.quads, p.d) {
            (Some(columns), _) => product_quads(cx, p, columns, &rows, d),
            (None, Element::F64) => product_double(cx, p, &rows, d),
            (None, Element::S32) => product_integer(cx, p, &rows, d),
            _ => product_single(cx, p, &rows, d),
        }
    }
    Flow::Next
}

handlers! {
    two product = product_body as Meeting;
}
