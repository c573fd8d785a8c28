// SPDX-License-Identifier: MIT OR Apache-2.0
//! Surfaces (PTX ISA, "Surface Instructions").

use super::access::{illegal, misaligned};
use super::code::{Detail, Flow, Inst, LANES, Row};
use super::context::Context;
use super::isa::handlers;
use super::texture::{Geometry, Operands, image, unknown};
use super::value::Value;
use super::watch;
use crate::image::Channel;
use crate::numeric::{HALF, NEAREST, encode};
use crate::parse::ast::Space;

/// Where a surface instruction is outside of the surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    Trap,
    Clamp,
    Zero,
}

/// What a surface instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SurfaceOp {
    Load,
    Store,
    /// Values are converted to the format of the surface; the first coordinate counts texels.
    StoreFormatted,
    Add,
    Min,
    Max,
    And,
    Or,
}

/// `suld`, `sust` and `sured`: rows are the results, the object, the layer, coordinates, values.
#[derive(Debug, Clone)]
pub(crate) struct Surface {
    pub geometry: Geometry,
    pub op: SurfaceOp,
    /// Bytes of an element; elements.
    pub bytes: u32,
    pub elements: u32,
    /// Bytes of a register that holds one.
    pub register: u32,
    /// Minimum and maximum are those of signed numbers.
    pub signed: bool,
    pub float: bool,
    pub outside: Outside,
}

/// `suld`, `sust` and `sured`
#[inline(always)]
unsafe fn surface_body<const AVX: bool>(cx: &mut Context<'_>, inst: &Inst, mask: u32) -> Flow {
    let code = cx.code;
    let Some(wide) = code.wides.get(inst.imm as usize) else {
        return Flow::Fault;
    };
    let Detail::Surface(s) = &wide.detail else {
        return Flow::Fault;
    };
    let Some(operands) = Operands::of(wide, s.geometry) else {
        return Flow::Fault;
    };
    let mut last = None;
    for lane in (0..LANES).filter(|lane| mask & (1 << lane) != 0) {
        // SAFETY: the lowering stage checked the widths of the rows.
        let (object, (layer, coordinates)) = unsafe {
            (
                operands.object(cx, lane),
                operands.place(cx, lane, s.geometry),
            )
        };
        if !image(cx, object, &mut last) {
            return unknown(cx, lane, object);
        }
        let Some((_, image)) = &last else {
            return Flow::Fault;
        };
        let mut at = coordinates.map(|coordinate| i64::from(coordinate as i32));
        if s.geometry.layered() {
            at[2] = layer.into();
        }
        let formatted = s.op == SurfaceOp::StoreFormatted;
        let texel = image.texel_bytes();
        let bytes = if formatted {
            texel
        } else {
            s.bytes * s.elements
        };
        if formatted {
            at[0] *= i64::from(texel);
        }
        let level = &image.levels[0];
        let extent = [
            u64::from(level.size[0]) * u64::from(texel),
            level.size[1].into(),
            level.size[2].into(),
        ];
        let inside = |i: usize| {
            let width = if i == 0 { i64::from(bytes) } else { 1 };
            at[i] >= 0 && at[i] + width <= extent[i] as i64
        };
        let inside = [inside(0), inside(1), inside(2)];
        let place = |at: [i64; 3]| {
            level
                .address
                .wrapping_add((at[2] as u64).wrapping_mul(level.slice))
                .wrapping_add((at[1] as u64).wrapping_mul(level.row))
                .wrapping_add(at[0] as u64)
        };
        let access = if s.op == SurfaceOp::Load {
            "surface load"
        } else {
            "surface store"
        };
        if inside.contains(&false) {
            match s.outside {
                Outside::Trap => {
                    return illegal(cx, lane, place(at), bytes.into(), access, Space::Global);
                }
                Outside::Zero => {
                    // SAFETY: as above.
                    unsafe { load(cx, s, operands.results, lane, 0) };
                    continue;
                }
                Outside::Clamp => {
                    let width = [u64::from(bytes), 1, 1];
                    for ((at, extent), width) in at.iter_mut().zip(extent).zip(width) {
                        *at = (*at).clamp(0, extent.saturating_sub(width) as i64);
                    }
                }
            }
        }
        let address = place(at);
        let unit = if formatted {
            image.channel.bytes().unwrap_or(1)
        } else {
            s.bytes
        };
        if !address.is_multiple_of(u64::from(bytes)) {
            return misaligned(cx, lane, address, bytes.into(), access, Space::Global);
        }
        let kind = match s.op {
            SurfaceOp::Load => watch::LOAD,
            SurfaceOp::Store | SurfaceOp::StoreFormatted => watch::STORE,
            _ => watch::ATOMIC,
        };
        cx.watch(kind, Space::Global, lane, address, bytes.into());
        if s.op != SurfaceOp::Load {
            cx.space.set_written(address, bytes.into());
        }
        let host = cx.space.locate(address, bytes.into(), &mut cx.region);
        let Some(host) = host else {
            return illegal(cx, lane, address, bytes.into(), access, Space::Global);
        };
        // SAFETY: the lowering stage checked the rows; `locate` vouches for all bytes.
        unsafe {
            match s.op {
                SurfaceOp::Load => {
                    let mut value = 0u128;
                    for e in 0..s.elements {
                        value |= u128::from(element(host, unit, e)) << (e * unit * 8 % 128);
                    }
                    load(cx, s, operands.results, lane, value);
                }
                SurfaceOp::Store => {
                    for (e, &row) in operands.more.iter().enumerate() {
                        let value = register(cx, row, s.register, lane);
                        put(host, unit, e as u32, value);
                    }
                }
                SurfaceOp::StoreFormatted => {
                    for e in 0..image.channels {
                        let value = operands
                            .more
                            .get(e as usize)
                            .map_or(0, |&row| word_of(cx, row, lane));
                        put(
                            host,
                            unit,
                            e,
                            converted(image.channel, value, s.float).into(),
                        );
                    }
                }
                op => {
                    let Some(&row) = operands.more.first() else {
                        return Flow::Fault;
                    };
                    let value = register(cx, row, s.register, lane);
                    reduce(host, s, op, value);
                }
            }
        }
    }
    Flow::Next
}

/// # Safety
/// The row holds words.
unsafe fn word_of(cx: &Context<'_>, row: Row, lane: usize) -> u32 {
    // SAFETY: the caller vouches for the row.
    unsafe { *cx.row::<u32>(row).add(lane) }
}

/// # Safety
/// The row holds values of this many bytes.
unsafe fn register(cx: &Context<'_>, row: Row, bytes: u32, lane: usize) -> u64 {
    // SAFETY: the caller vouches for the row.
    unsafe {
        match bytes {
            2 => (*cx.row::<u16>(row).add(lane)).into(),
            4 => (*cx.row::<u32>(row).add(lane)).into(),
            _ => *cx.row::<u64>(row).add(lane),
        }
    }
}

/// # Safety
/// There are that many aligned elements at `host`.
unsafe fn element(host: *mut u8, bytes: u32, index: u32) -> u64 {
    // SAFETY: the caller vouches for the address.
    unsafe {
        let host = host.add((bytes * index) as usize);
        match bytes {
            1 => u8::load(host).into(),
            2 => u16::load(host).into(),
            4 => u32::load(host).into(),
            _ => u64::load(host),
        }
    }
}

/// # Safety
/// There are that many aligned elements at `host`.
unsafe fn put(host: *mut u8, bytes: u32, index: u32, value: u64) {
    // SAFETY: the caller vouches for the address.
    unsafe {
        let host = host.add((bytes * index) as usize);
        match bytes {
            1 => (value as u8).store(host),
            2 => (value as u16).store(host),
            4 => (value as u32).store(host),
            _ => value.store(host),
        }
    }
}

/// # Safety
/// The rows are of the width of the instruction's registers.
unsafe fn load(cx: &Context<'_>, s: &Surface, results: &[Row], lane: usize, value: u128) {
    for (e, &row) in results.iter().enumerate() {
        let value =
            (value >> (e as u32 * s.bytes * 8 % 128)) as u64 & (u64::MAX >> (64 - 8 * s.bytes));
        // SAFETY: the caller vouches for the rows.
        unsafe {
            match s.register {
                2 => *cx.row::<u16>(row).add(lane) = value as u16,
                4 => *cx.row::<u32>(row).add(lane) = value as u32,
                _ => *cx.row::<u64>(row).add(lane) = value,
            }
        }
    }
}

/// A value as the surface stores it: floats of normal formats as they are, integers clamped.
fn converted(channel: Channel, value: u32, float: bool) -> u32 {
    match channel {
        Channel::Half if float => encode(f32::from_bits(value).into(), HALF, NEAREST).into(),
        Channel::Unsigned(1) => value.min(0xff),
        Channel::Unsigned(2) => value.min(0xffff),
        Channel::Signed(1) => (value as i32).clamp(-128, 127) as u32,
        Channel::Signed(2) => (value as i32).clamp(-0x8000, 0x7fff) as u32,
        _ => value,
    }
}

/// # Safety
/// There is an aligned element at `host`.
unsafe fn reduce(host: *mut u8, s: &Surface, op: SurfaceOp, value: u64) {
    use super::atomic::AtomicValue;
    let narrow = s.bytes == 4;
    let combine = move |old: u64| match op {
        SurfaceOp::Add => old.wrapping_add(value),
        SurfaceOp::And => old & value,
        SurfaceOp::Or => old | value,
        SurfaceOp::Min | SurfaceOp::Max => {
            let key = |x: u64| match (s.signed, narrow) {
                (true, true) => i128::from(x as i32),
                (true, false) => i128::from(x as i64),
                (false, true) => i128::from(x as u32),
                (false, false) => i128::from(x),
            };
            if (key(value) < key(old)) == (op == SurfaceOp::Min) {
                value
            } else {
                old
            }
        }
        _ => old,
    };
    // SAFETY: the caller vouches for the address.
    unsafe {
        if narrow {
            u32::update(host, |old| combine(old.into()) as u32);
        } else {
            u64::update(host, combine);
        }
    }
}

handlers! {
    one surface = surface_body as Memory;
}
