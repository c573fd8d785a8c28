// SPDX-License-Identifier: MIT OR Apache-2.0
//! Functions that a kernel may call without there being code for them: `vprintf`, `__assertfail`,
//! `malloc` and `free` (CUDA C++ Programming Guide, "Formatted Output", "Assertion", "Dynamic Global
//! Memory Allocation and Operations"). Row 0 is the result, the
//! arguments follow.

use super::access::illegal;
use super::code::{Flow, Inst, LANES};
use super::context::Context;
use super::fault::{Assertion, Trouble};
use super::isa::handlers;
use super::local::{local_fits, local_offset, local_read};
use super::printf;
use super::value::Value;
use super::warp::SPIN_COST;
use crate::parse::ast::Space;

/// Text that is kept back until all lanes have printed.
const BATCH: usize = 64 << 10;
/// Text that takes as long to make as a backward jump's round of a loop.
const BYTES_PER_JUMP: usize = 64;
/// Bytes of each text of an assertion that are shown.
const ASSERTION_LIMIT: u32 = 4096;

/// Takes the text that kernels print.
///
/// ```
/// use std::sync::Mutex;
/// use vcuda_ptx::{Limits, Output};
///
/// struct Text(Mutex<Vec<u8>>);
///
/// impl Output for Text {
///     fn write(&self, text: &[u8]) {
///         self.0.lock().unwrap().extend_from_slice(text);
///     }
/// }
///
/// let text = Text(Mutex::default());
/// let limits = Limits { output: Some(&text), ..Limits::default() };
/// # let _ = limits;
/// ```
pub trait Output: Sync {
    /// Takes the text of one `printf` or of several, whole. The threads that run a launch call
    /// this at the same time, and the kernel goes on when it returns.
    fn write(&self, text: &[u8]);
}

impl core::fmt::Debug for dyn Output + '_ {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Output")
    }
}

/// The byte at a generic address, as a lane sees it.
fn byte(cx: &mut Context<'_>, lane: usize, address: u64) -> Option<u8> {
    if let Some(offset) = local_offset(Space::Generic, address) {
        return local_fits(cx, offset, 1).then(|| local_read(cx, lane, offset, 1) as u8);
    }
    let host = cx.locate(Space::Generic, address, 1)?;
    // SAFETY: `locate` vouches for one byte, and any address is aligned to it.
    Some(unsafe { u8::load(host) })
}

/// `vprintf`: row 1 is the format's address, row 2 that of the values, row 0 the result.
#[inline(always)]
unsafe fn vprintf_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let mut text = Vec::new();
    let mut bytes = 0;
    let output = cx.output;
    let mut write = |text: &mut Vec<u8>| {
        bytes += text.len();
        if let Some(output) = output
            && !text.is_empty()
        {
            output.write(text);
        }
        text.clear();
    };
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let (format, values) = unsafe {
            (
                *cx.row::<u64>(inst.rows[1]).add(lane),
                *cx.row::<u64>(inst.rows[2]).add(lane),
            )
        };
        let complete = text.len();
        let mut read = |address| byte(cx, lane, address);
        match printf::print(&mut read, format, values, &mut text) {
            // SAFETY: as above.
            Ok(result) => unsafe { *cx.row::<i32>(inst.rows[0]).add(lane) = result },
            Err(address) => {
                text.truncate(complete);
                write(&mut text);
                return illegal(cx, lane, address, 1, "load", Space::Generic);
            }
        }
        if text.len() >= BATCH {
            write(&mut text);
        }
    }
    write(&mut text);
    // Printing takes long: a turn must not, for it is only between turns that a launch is stopped.
    let cost = i32::try_from(bytes / BYTES_PER_JUMP).unwrap_or(i32::MAX);
    cx.budget = cx.budget.saturating_sub(cost).saturating_sub(SPIN_COST);
    Flow::Next
}

/// `__assertfail`: rows 1 to 4 are the message, the file, the line and the function.
#[inline(always)]
unsafe fn assertfail_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let lane = mask.trailing_zeros() as usize;
    // SAFETY: the lowering stage checked the widths of the rows.
    let (message, file, line, function) = unsafe {
        (
            *cx.row::<u64>(inst.rows[1]).add(lane),
            *cx.row::<u64>(inst.rows[2]).add(lane),
            *cx.row::<u32>(inst.rows[3]).add(lane),
            *cx.row::<u64>(inst.rows[4]).add(lane),
        )
    };
    let mut text = |address| -> Result<String, printf::Unreadable> {
        let mut read = |address| byte(cx, lane, address);
        let bytes = printf::string(&mut read, address, ASSERTION_LIMIT)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let (message, file, function) = (text(message), text(file), text(function));
    match (message, file, function) {
        (Ok(message), Ok(file), Ok(function)) => cx.fail(Trouble::Assert {
            lane: lane as u32,
            lanes: mask,
            assertion: Box::new(Assertion {
                file,
                line,
                function,
                message,
                threads: Vec::new(),
            }),
        }),
        (Err(address), ..) | (_, Err(address), _) | (.., Err(address)) => {
            illegal(cx, lane, address, 1, "load", Space::Generic)
        }
    }
}

/// `malloc`: row 1 is the size, row 0 the address, 0 if there is no more memory.
#[inline(always)]
unsafe fn malloc_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        unsafe {
            let size = *cx.row::<u64>(inst.rows[1]).add(lane);
            let address = cx.heap.and_then(|heap| heap.allocate(cx.space, size));
            if let (Some(address), Some(watch)) = (address, &cx.block.watch) {
                watch.allocated(address, size);
            }
            *cx.row::<u64>(inst.rows[0]).add(lane) = address.unwrap_or(0);
        }
    }
    cx.budget -= SPIN_COST;
    Flow::Next
}

/// `free`: row 1 is the address, which may be 0.
#[inline(always)]
unsafe fn free_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the width of the row.
        let address = unsafe { *cx.row::<u64>(inst.rows[1]).add(lane) };
        let freed = cx.heap.is_some_and(|heap| heap.free(cx.space, address));
        if address != 0 && !freed {
            return cx.fail(Trouble::InvalidObject {
                lane: lane as u32,
                what: "free of the address",
                object: address,
            });
        }
    }
    cx.budget -= SPIN_COST;
    Flow::Next
}

handlers! {
    one malloc = malloc_body;
    one free = free_body;
    one vprintf = vprintf_body;
    one assertfail = assertfail_body;
}
