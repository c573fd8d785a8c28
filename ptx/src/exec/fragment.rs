// SPDX-License-Identifier: MIT OR Apache-2.0
//! Fragments that come from memory, go there or to other lanes: `wmma.load`, `wmma.store`,
//! `ldmatrix`, `stmatrix` and `movmatrix`.

use super::access::{flags, illegal, misaligned, writable};
use super::code::{Detail, Flow, Inst, LANES, Row};
use super::collective::{gather, resume_rest};
use super::context::Context;
use super::isa::handlers;
use super::matrix::{Element, Role, each_a, each_b, each_c};
use super::value::Value;
use super::watch;
use crate::parse::ast::Space;

/// Lines of the largest fragment in memory.
const LINES: usize = 32;

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
            let Some(found) = found.filter(|_| !f.store || writable(f.space, address)) else {
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

/// Visits the rows of the matrices of `ldmatrix` and `stmatrix`: the lane that has the address, and
/// where it leads, 16 bytes of the host.
///
/// # Safety
/// The row 4 of the instruction has double words.
#[inline(always)]
unsafe fn each_matrix_row(
    cx: &mut Context<'_>,
    inst: &Inst,
    mask: u32,
    store: bool,
    mut visit: impl FnMut(usize, *mut u8),
) -> Flow {
    const ROW: u64 = 16;
    let (access, kind) = match store {
        true => ("store", watch::STORE),
        false => ("load", watch::LOAD),
    };
    let space = flags::space(inst.aux >> 8);
    // SAFETY: the caller vouches for the row.
    let addresses = unsafe { cx.row::<[u64; LANES]>(inst.rows[4]).read() };
    for (lane, address) in addresses.into_iter().enumerate().take(8 * matrices(inst)) {
        if mask & (1 << lane) == 0 {
            continue;
        }
        let address = address.wrapping_add(inst.imm as u64);
        if !address.is_multiple_of(ROW) {
            return misaligned(cx, lane, address, ROW, access, space);
        }
        let Some(host) = cx.locate(space, address, ROW) else {
            return illegal(cx, lane, address, ROW, access, space);
        };
        cx.watch(kind, space, lane, address, ROW);
        visit(lane, host);
    }
    Flow::Next
}

/// How many matrices `ldmatrix` and `stmatrix` move.
#[inline(always)]
fn matrices(inst: &Inst) -> usize {
    (inst.aux & 15) as usize
}

/// `ldmatrix`: rows 0 to 3 the results, row 4 the addresses, row 5 the member mask; `aux` has the
/// number of matrices in 0..4, bit 4 for `.trans`, and the state space from bit 8 on.
#[inline(always)]
unsafe fn load_matrix_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`,
    // for a whole row each.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let mut loaded = [[[0u16; 8]; 8]; 4];
        let flow = each_matrix_row(cx, inst, mask, false, |lane, host| {
            loaded[lane / 8][lane % 8] = core::array::from_fn(|i| u16::load(host.add(2 * i)));
        });
        if flow != Flow::Next {
            return flow;
        }
        for (matrix, &row) in loaded.iter().zip(&inst.rows[..matrices(inst)]) {
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

/// `stmatrix`: rows 0 to 3 the matrices, the rest as of `ldmatrix`.
#[inline(always)]
unsafe fn store_matrix_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    // SAFETY: the lowering stage checked the widths of the rows; host addresses come from `locate`,
    // for a whole row each.
    unsafe {
        let mask = gather(cx, inst.rows[5], mask, false);
        if mask == 0 {
            return resume_rest(cx);
        }
        let mut stored = [[[0u16; 8]; 8]; 4];
        for (matrix, &row) in stored.iter_mut().zip(&inst.rows[..matrices(inst)]) {
            let halves = cx.row::<[[u16; 8]; 8]>(row).read();
            *matrix = match inst.aux & 16 != 0 {
                true => transposed(&halves),
                false => halves,
            };
        }
        each_matrix_row(cx, inst, mask, true, |lane, host| {
            for (i, half) in stored[lane / 8][lane % 8].iter().enumerate() {
                half.store(host.add(2 * i));
            }
        })
    }
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
    one fragment = fragment_body as Meeting;
    one load_matrix = load_matrix_body as Meeting;
    one store_matrix = store_matrix_body as Meeting;
    one move_matrix = move_matrix_body as Meeting;
}
