// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions on floating-point numbers: as `opcodes`, one row per case.

mod common;
use common::table::{check, d, f};

#[test]
fn approximate_division_by_what_is_large_is_division_by_infinity() {
    const INFINITY: u64 = 0x7f80_0000;
    check(&[
        (
            "div.approx.f32 %f10, %f11, %f12;",
            &[
                ([0x7f7f_ffff, 0x7f7f_ffff, 0], 0),
                ([0xbf80_0000, 0x7f00_0000, 0], 0x8000_0000),
                ([INFINITY, 0x7f7f_ffff, 0], 0x7fff_ffff),
                ([0x7f00_0000, 0x7e80_0000, 0], 0x4000_0000),
            ],
        ),
        (
            "div.full.f32 %f10, %f11, %f12;",
            &[
                ([0x7f7f_ffff, 0x7f7f_ffff, 0], 0x3f80_0000),
                ([INFINITY, 0x7f7f_ffff, 0], INFINITY),
            ],
        ),
    ]);
}

#[test]
fn reciprocal_square_roots_of_doubles_are_rounded_once() {
    let bits = |x: f64| x.to_bits();
    check(&[(
        "rsqrt.approx.f64 %fd10, %fd11;",
        &[
            ([bits(4.432314427153454), 0, 0], bits(0.47499027642478725)),
            ([bits(1e-308), 0, 0], bits(1e154)),
            ([bits(f64::MAX), 0, 0], bits(7.458340731200207e-155)),
            ([bits(4.0), 0, 0], bits(0.5)),
            ([bits(0.0), 0, 0], bits(f64::INFINITY)),
            ([bits(f64::INFINITY), 0, 0], 0),
        ],
    )]);
}

const NAN32: u64 = 0x7fff_ffff;

#[test]
fn single_precision() {
    let tiny = f32::from_bits(1);
    let eps = f32::EPSILON;
    check(&[
        (
            "add.f32 %f10, %f11, %f12;",
            &[
                ([f(1.5), f(2.25), 0], f(3.75)),
                ([f(f32::INFINITY), f(f32::NEG_INFINITY), 0], NAN32),
            ],
        ),
        (
            "add.ftz.f32 %f10, %f11, %f12;",
            &[
                ([f(tiny), f(tiny), 0], 0),
                ([f(-tiny), f(-0.0), 0], f(-0.0)),
            ],
        ),
        (
            "add.sat.f32 %f10, %f11, %f12;",
            &[
                ([f(0.75), f(0.75), 0], f(1.0)),
                ([f(-1.0), f(0.5), 0], 0),
                ([f(f32::NAN), 0, 0], 0),
            ],
        ),
        (
            "add.rz.f32 %f10, %f11, %f12;",
            &[
                ([f(1.0), f(eps * 0.75), 0], f(1.0)),
                ([f(-1.0), f(-eps * 0.75), 0], f(-1.0)),
                ([f(f32::MAX), f(f32::MAX), 0], f(f32::MAX)),
            ],
        ),
        (
            "add.rp.f32 %f10, %f11, %f12;",
            &[
                ([f(1.0), f(1e-30), 0], f(1.0 + eps)),
                ([f(-1.0), f(1e-30), 0], f(-1.0f32.next_down())),
            ],
        ),
        (
            "add.rm.f32 %f10, %f11, %f12;",
            &[
                ([f(1.0), f(-1e-30), 0], f(1.0f32.next_down())),
                ([f(1.0), f(-1.0), 0], f(-0.0)),
                ([f(f32::MAX), f(f32::MAX), 0], f(f32::MAX)),
            ],
        ),
        (
            "sub.rn.f32 %f10, %f11, %f12;",
            &[([f(1.0), f(0.1), 0], f(0.9))],
        ),
        (
            "mul.f32 %f10, %f11, %f12;",
            &[
                ([f(1e30), f(1e30), 0], f(f32::INFINITY)),
                ([0, f(f32::INFINITY), 0], NAN32),
            ],
        ),
        (
            "mul.rz.f32 %f10, %f11, %f12;",
            &[
                ([f(1e30), f(1e30), 0], f(f32::MAX)),
                ([f(1.0 + eps), f(1.0 + eps), 0], f(1.0 + 2.0 * eps)),
            ],
        ),
        (
            "mul.rp.f32 %f10, %f11, %f12;",
            &[([f(tiny), f(0.25), 0], f(tiny))],
        ),
        (
            "fma.rn.f32 %f10, %f11, %f12, %f13;",
            &[([f(1.0 + eps), f(1.0 - eps), f(-1.0)], f(-eps * eps))],
        ),
        (
            "fma.rm.f32 %f10, %f11, %f12, %f13;",
            &[
                ([f(1.0), f(1.0), f(-1e-40)], f(1.0f32.next_down())),
                ([f(3.0), f(2.0), f(-6.0)], f(-0.0)),
            ],
        ),
        (
            "fma.rz.f32 %f10, %f11, %f12, %f13;",
            &[([f(1.0 + eps), f(1.0 + eps), f(1e-30)], f(1.0 + 2.0 * eps))],
        ),
        (
            "mad.rn.f32 %f10, %f11, %f12, %f13;",
            &[([f(2.0), f(3.0), f(1.0)], f(7.0))],
        ),
        (
            "div.rn.f32 %f10, %f11, %f12;",
            &[
                ([f(1.0), f(3.0), 0], f(1.0 / 3.0)),
                ([f(1.0), 0, 0], f(f32::INFINITY)),
                ([0, 0, 0], NAN32),
            ],
        ),
        (
            "div.rz.f32 %f10, %f11, %f12;",
            &[([f(2.0), f(3.0), 0], f((2.0f32 / 3.0).next_down()))],
        ),
        (
            "div.rp.f32 %f10, %f11, %f12;",
            &[
                ([f(1.0), f(3.0), 0], f(0.333_333_34)),
                ([f(-1.0), f(3.0), 0], f(-0.333_333_3)),
            ],
        ),
        ("rcp.rn.f32 %f10, %f11;", &[([f(3.0), 0, 0], f(1.0 / 3.0))]),
        (
            "sqrt.rn.f32 %f10, %f11;",
            &[
                ([f(2.0), 0, 0], f(2f32.sqrt())),
                ([f(-1.0), 0, 0], NAN32),
                ([f(-0.0), 0, 0], f(-0.0)),
            ],
        ),
        (
            "sqrt.rp.f32 %f10, %f11;",
            &[
                ([f(2.0), 0, 0], f(2f32.sqrt().next_up().min(1.414_213_7))),
                ([f(4.0), 0, 0], f(2.0)),
            ],
        ),
        (
            "rsqrt.approx.f32 %f10, %f11;",
            &[
                ([f(4.0), 0, 0], f(0.5)),
                ([0, 0, 0], f(f32::INFINITY)),
                ([f(-0.0), 0, 0], f(f32::NEG_INFINITY)),
            ],
        ),
        (
            "ex2.approx.f32 %f10, %f11;",
            &[([f(3.0), 0, 0], f(8.0)), ([f(f32::NEG_INFINITY), 0, 0], 0)],
        ),
        (
            "lg2.approx.f32 %f10, %f11;",
            &[
                ([f(8.0), 0, 0], f(3.0)),
                ([0, 0, 0], f(f32::NEG_INFINITY)),
                ([f(-1.0), 0, 0], NAN32),
            ],
        ),
        (
            "sin.approx.f32 %f10, %f11;",
            &[([0, 0, 0], 0), ([f(f32::INFINITY), 0, 0], NAN32)],
        ),
        ("cos.approx.f32 %f10, %f11;", &[([0, 0, 0], f(1.0))]),
        (
            "min.f32 %f10, %f11, %f12;",
            &[
                ([f(f32::NAN), f(2.0), 0], f(2.0)),
                ([f(0.0), f(-0.0), 0], f(-0.0)),
                ([f(f32::NAN), f(f32::NAN), 0], NAN32),
            ],
        ),
        (
            "max.f32 %f10, %f11, %f12;",
            &[
                ([f(2.0), f(f32::NAN), 0], f(2.0)),
                ([f(-0.0), f(0.0), 0], f(0.0)),
            ],
        ),
        (
            "max.NaN.f32 %f10, %f11, %f12;",
            &[([f(2.0), f(f32::NAN), 0], NAN32)],
        ),
        ("abs.f32 %f10, %f11;", &[([f(-2.0), 0, 0], f(2.0))]),
        ("neg.ftz.f32 %f10, %f11;", &[([f(tiny), 0, 0], f(-0.0))]),
        (
            "copysign.f32 %f10, %f11, %f12;",
            &[([f(-1.0), f(3.0), 0], f(-3.0))],
        ),
        (
            "testp.subnormal.f32 %p10, %f11;",
            &[([1, 0, 0], 1), ([f(1.0), 0, 0], 0)],
        ),
    ]);
}

#[test]
fn double_precision() {
    let eps = f64::EPSILON;
    let tiny = f64::from_bits(1);
    check(&[
        (
            "add.f64 %fd10, %fd11, %fd12;",
            &[([d(0.1), d(0.2), 0], d(0.1 + 0.2))],
        ),
        (
            "add.rm.f64 %fd10, %fd11, %fd12;",
            &[
                ([d(1.0), d(-1e-300), 0], d(1.0f64.next_down())),
                ([d(1.0), d(-1.0), 0], d(-0.0)),
            ],
        ),
        (
            "add.rp.f64 %fd10, %fd11, %fd12;",
            &[([d(1.0), d(1e-300), 0], d(1.0 + eps))],
        ),
        (
            "mul.rp.f64 %fd10, %fd11, %fd12;",
            &[
                ([d(tiny), d(0.5), 0], d(tiny)),
                ([d(3.0), d(5.0), 0], d(15.0)),
            ],
        ),
        (
            "mul.rz.f64 %fd10, %fd11, %fd12;",
            &[([d(1e300), d(1e300), 0], d(f64::MAX))],
        ),
        (
            "fma.rn.f64 %fd10, %fd11, %fd12, %fd13;",
            &[([d(1.0 + eps), d(1.0 - eps), d(-1.0)], d(-eps * eps))],
        ),
        (
            "fma.rz.f64 %fd10, %fd11, %fd12, %fd13;",
            &[([d(1.0), d(1.0), d(-1e-300)], d(1.0f64.next_down()))],
        ),
        (
            "div.rn.f64 %fd10, %fd11, %fd12;",
            &[([d(1.0), d(3.0), 0], d(1.0 / 3.0))],
        ),
        (
            "div.rm.f64 %fd10, %fd11, %fd12;",
            &[([d(2.0), d(3.0), 0], d(2.0f64 / 3.0))],
        ),
        (
            "div.rp.f64 %fd10, %fd11, %fd12;",
            &[([d(1.0), d(3.0), 0], d((1.0f64 / 3.0).next_up()))],
        ),
        (
            "sqrt.rn.f64 %fd10, %fd11;",
            &[([d(2.0), 0, 0], d(2f64.sqrt()))],
        ),
        (
            "sqrt.rz.f64 %fd10, %fd11;",
            &[
                ([d(2.0), 0, 0], d(2f64.sqrt().next_down())),
                ([d(9.0), 0, 0], d(3.0)),
            ],
        ),
        (
            "sqrt.rp.f64 %fd10, %fd11;",
            &[([tiny.to_bits(), 0, 0], d(tiny.sqrt()))],
        ),
        ("rcp.rn.f64 %fd10, %fd11;", &[([d(4.0), 0, 0], d(0.25))]),
        (
            "min.f64 %fd10, %fd11, %fd12;",
            &[
                ([d(f64::NAN), d(1.0), 0], d(1.0)),
                ([d(0.0), d(-0.0), 0], d(-0.0)),
            ],
        ),
        ("neg.f64 %fd10, %fd11;", &[([d(1.0), 0, 0], d(-1.0))]),
        (
            "setp.ltu.f64 %p10, %fd11, %fd12;",
            &[([d(f64::NAN), d(1.0), 0], 1), ([d(2.0), d(1.0), 0], 0)],
        ),
    ]);
}

#[test]
fn half_precision() {
    check(&[
        (
            "add.f16 %rs10, %rs11, %rs12;",
            &[([0x3c00, 0x3c00, 0], 0x4000), ([0x7bff, 0x7bff, 0], 0x7c00)],
        ),
        (
            "fma.rn.f16 %rs10, %rs11, %rs12, %rs13;",
            &[([0x3c01, 0x3c01, 0xbc00], 0x1800)],
        ),
        (
            "mul.f16x2 %r10, %r11, %r12;",
            &[([0x4000_3c00, 0x4000_4000, 0], 0x4400_4000)],
        ),
        (
            "sub.bf16x2 %r10, %r11, %r12;",
            &[([0x4000_3f80, 0x3f80_3f80, 0], 0x3f80_0000)],
        ),
        (
            "fma.rn.relu.bf16 %rs10, %rs11, %rs12, %rs13;",
            &[([0x3f80, 0xbf80, 0], 0)],
        ),
        (
            "max.f16x2 %r10, %r11, %r12;",
            &[([0x7fff_3c00, 0x3c00_4000, 0], 0x3c00_4000)],
        ),
        (
            "neg.f16x2 %r10, %r11;",
            &[([0x3c00_bc00, 0, 0], 0xbc00_3c00)],
        ),
        (
            "setp.lt.f16 %p10, %rs11, %rs12;",
            &[([0xbc00, 0x3c00, 0], 1)],
        ),
    ]);
}
