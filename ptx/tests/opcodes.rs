// SPDX-License-Identifier: MIT OR Apache-2.0
//! One row per case: instruction, operands, result. Every case runs in a partial and in a full
//! warp, with every set of lane functions that the machine has.

mod common;
use common::table::check;

const M: u64 = u64::MAX;

#[test]
fn integer_arithmetic() {
    check(&[
        (
            "add.s32 %r10, %r11, %r12;",
            &[
                ([1, 2, 0], 3),
                ([0xffff_ffff, 1, 0], 0),
                ([0x7fff_ffff, 1, 0], 0x8000_0000),
            ],
        ),
        (
            "add.sat.s32 %r10, %r11, %r12;",
            &[
                ([0x7fff_ffff, 1, 0], 0x7fff_ffff),
                ([0x8000_0000, 0xffff_ffff, 0], 0x8000_0000),
            ],
        ),
        ("add.u16 %rs10, %rs11, %rs12;", &[([0xffff, 2, 0], 1)]),
        ("add.s64 %rd10, %rd11, %rd12;", &[([M, 2, 0], 1)]),
        ("sub.s32 %r10, %r11, %r12;", &[([1, 2, 0], 0xffff_ffff)]),
        ("sub.u64 %rd10, %rd11, 5;", &[([1, 0, 0], M - 3)]),
        (
            "mul.lo.s32 %r10, %r11, %r12;",
            &[([0x1_0000, 0x1_0001, 0], 0x1_0000)],
        ),
        (
            "mul.hi.u32 %r10, %r11, %r12;",
            &[([0xffff_ffff, 0xffff_ffff, 0], 0xffff_fffe)],
        ),
        (
            "mul.hi.s32 %r10, %r11, %r12;",
            &[
                ([0xffff_ffff, 0xffff_ffff, 0], 0),
                ([0x8000_0000, 2, 0], 0xffff_ffff),
            ],
        ),
        (
            "mul.wide.s32 %rd10, %r11, %r12;",
            &[([0xffff_ffff, 3, 0], M - 2)],
        ),
        (
            "mul.wide.u32 %rd10, %r11, %r12;",
            &[([0xffff_ffff, 3, 0], 0x2_ffff_fffd)],
        ),
        (
            "mul.wide.s16 %r10, %rs11, %rs12;",
            &[([0xffff, 3, 0], 0xffff_fffd)],
        ),
        ("mul.hi.u64 %rd10, %rd11, %rd12;", &[([M, M, 0], M - 1)]),
        ("mul.hi.s64 %rd10, %rd11, %rd12;", &[([M, M, 0], 0)]),
        (
            "mul24.lo.s32 %r10, %r11, %r12;",
            &[([0xffff_ffff, 2, 0], 0xffff_fffe)],
        ),
        (
            "mad.lo.s32 %r10, %r11, %r12, %r13;",
            &[([7, 6, 0xffff_ffff], 41)],
        ),
        (
            "mad.wide.u32 %rd10, %r11, %r12, %rd13;",
            &[([0xffff_ffff, 2, 2], 0x2_0000_0000)],
        ),
        (
            "mad.hi.s32 %r10, %r11, %r12, %r13;",
            &[([0x8000_0000, 2, 5], 4)],
        ),
        (
            "div.u32 %r10, %r11, %r12;",
            &[([7, 2, 0], 3), ([7, 0, 0], 0xffff_ffff)],
        ),
        (
            "div.s32 %r10, %r11, %r12;",
            &[
                ([0xffff_fff9, 2, 0], 0xffff_fffd),
                ([0x8000_0000, 0xffff_ffff, 0], 0x8000_0000),
            ],
        ),
        (
            "div.s64 %rd10, %rd11, %rd12;",
            &[([1 << 63, M, 0], 1 << 63), ([100, M - 6, 0], M - 13)],
        ),
        ("div.u64 %rd10, %rd11, %rd12;", &[([M, 10, 0], M / 10)]),
        (
            "rem.s32 %r10, %r11, %r12;",
            &[
                ([0xffff_fff9, 4, 0], 0xffff_fffd),
                ([0x8000_0000, 0xffff_ffff, 0], 0),
            ],
        ),
        ("rem.u64 %rd10, %rd11, %rd12;", &[([M, 10, 0], 5)]),
        (
            "abs.s32 %r10, %r11;",
            &[([0xffff_fffb, 0, 0], 5), ([0x8000_0000, 0, 0], 0x8000_0000)],
        ),
        ("neg.s64 %rd10, %rd11;", &[([5, 0, 0], M - 4)]),
        (
            "min.s32 %r10, %r11, %r12;",
            &[([0xffff_ffff, 1, 0], 0xffff_ffff)],
        ),
        ("min.u32 %r10, %r11, %r12;", &[([0xffff_ffff, 1, 0], 1)]),
        ("max.s64 %rd10, %rd11, %rd12;", &[([M, 1, 0], 1)]),
        ("max.u16 %rs10, %rs11, %rs12;", &[([0xffff, 1, 0], 0xffff)]),
        (
            "sad.s32 %r10, %r11, %r12, %r13;",
            &[([0xffff_ffff, 2, 10], 13)],
        ),
        (
            "dp4a.s32.u32 %r10, %r11, %r12, %r13;",
            &[([0xff01_0203, 0x0101_0101, 10], 15)],
        ),
    ]);
}

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

#[test]
fn carry_chains() {
    check(&[
        (
            "mov.b32 %r10, 0; add.cc.u32 %r14, %r11, %r12; addc.u32 %r10, %r13, 0;",
            &[([0xffff_ffff, 1, 5], 6), ([1, 1, 5], 5)],
        ),
        (
            "mov.b32 %r10, 0; sub.cc.u32 %r14, %r11, %r12; subc.u32 %r10, %r13, 0;",
            &[([0, 1, 5], 4), ([1, 1, 5], 5)],
        ),
        // The flag after a subtraction is the carry of adding the complement, as nvcc's 128-bit division takes it.
        (
            "mov.b32 %r10, 0; sub.cc.u32 %r14, %r11, %r12; addc.u32 %r10, %r13, 0;",
            &[([0, 1, 5], 5), ([1, 1, 5], 6)],
        ),
        (
            "add.cc.u32 %r14, %r11, %r12; subc.cc.u32 %r10, %r13, 0; addc.u32 %r10, %r10, 0;",
            &[
                ([0xffff_ffff, 1, 5], 6),
                ([1, 1, 5], 5),
                ([1, 1, 0], 0xffff_ffff),
            ],
        ),
        (
            "mov.b64 %rd10, 0; sub.cc.u64 %rd14, %rd11, %rd12; subc.u64 %rd10, %rd13, 0;",
            &[([0, 1, 5], 4), ([1, 1, 5], 5)],
        ),
        (
            "mov.b64 %rd10, 0; add.cc.u64 %rd14, %rd11, %rd12; addc.cc.u64 %rd15, %rd13, %rd11; addc.u64 %rd10, 0, 0;",
            &[([M, 1, 0], 1), ([1, 1, 0], 0)],
        ),
        (
            "mov.b32 %r10, 0; mad.lo.cc.u32 %r14, %r11, %r12, %r13; madc.hi.u32 %r10, %r11, %r12, 0;",
            &[([0xffff_ffff, 0xffff_ffff, 0xffff_ffff], 0xffff_ffff)],
        ),
    ]);
}

#[test]
fn logic_shifts_and_bit_fields() {
    check(&[
        (
            "and.b32 %r10, %r11, %r12;",
            &[([0xff0f, 0x0ff0, 0], 0x0f00)],
        ),
        ("xor.b64 %rd10, %rd11, %rd12;", &[([M, 1, 0], M - 1)]),
        ("not.b16 %rs10, %rs11;", &[([1, 0, 0], 0xfffe)]),
        ("cnot.b32 %r10, %r11;", &[([0, 0, 0], 1), ([9, 0, 0], 0)]),
        (
            "xor.pred %p10, %p11, %p12;",
            &[
                ([0, 0, 0], 0),
                ([0, 1, 0], 1),
                ([1, 0, 0], 1),
                ([1, 1, 0], 0),
            ],
        ),
        (
            "and.pred %p10, %p11, !%p12;",
            &[
                ([0, 0, 0], 0),
                ([0, 1, 0], 0),
                ([1, 0, 0], 1),
                ([1, 1, 0], 0),
            ],
        ),
        (
            "shl.b32 %r10, %r11, %r12;",
            &[
                ([3, 31, 0], 0x8000_0000),
                ([3, 32, 0], 0),
                ([3, 0xffff_ffff, 0], 0),
            ],
        ),
        (
            "shr.u32 %r10, %r11, %r12;",
            &[([0x8000_0000, 31, 0], 1), ([0x8000_0000, 40, 0], 0)],
        ),
        (
            "shr.s32 %r10, %r11, %r12;",
            &[
                ([0x8000_0000, 31, 0], 0xffff_ffff),
                ([0x8000_0000, 99, 0], 0xffff_ffff),
            ],
        ),
        ("shr.s64 %rd10, %rd11, %r12;", &[([1 << 63, 64, 0], M)]),
        (
            "shl.b16 %rs10, %rs11, %r12;",
            &[([1, 15, 0], 0x8000), ([1, 16, 0], 0)],
        ),
        (
            "shf.l.wrap.b32 %r10, %r11, %r12, %r13;",
            &[([0x8000_0001, 0x1, 4], 0x18), ([1, 2, 32], 2)],
        ),
        (
            "shf.l.clamp.b32 %r10, %r11, %r12, %r13;",
            &[([7, 2, 40], 7)],
        ),
        (
            "shf.r.wrap.b32 %r10, %r11, %r12, %r13;",
            &[([0x10, 0xf, 4], 0xf000_0001)],
        ),
        (
            "shf.r.clamp.b32 %r10, %r11, %r12, %r13;",
            &[([7, 9, 33], 9)],
        ),
        (
            "lop3.b32 %r10, %r11, %r12, %r13, 0x96;",
            &[([0b1100, 0b1010, 0b1111], 0b1001)],
        ),
        (
            "lop3.b32 %r10, %r11, %r12, %r13, 0xca;",
            &[([0xf0, 0x3c, 0x0f], 0x3f)],
        ),
        (
            "prmt.b32 %r10, %r11, %r12, %r13;",
            &[
                ([0x3322_1180, 0x7766_5544, 0x7540], 0x7755_4480),
                ([0x80, 0, 0x8888], 0xffff_ffff),
            ],
        ),
        (
            "prmt.b32.b4e %r10, %r11, %r12, %r13;",
            &[([0x3322_1100, 0x7766_5544, 1], 0x6677_0011)],
        ),
        ("popc.b64 %r10, %rd11;", &[([M, 0, 0], 64)]),
        ("clz.b32 %r10, %r11;", &[([0, 0, 0], 32), ([1, 0, 0], 31)]),
        ("brev.b32 %r10, %r11;", &[([1, 0, 0], 0x8000_0000)]),
        (
            "bfind.u32 %r10, %r11;",
            &[([0, 0, 0], 0xffff_ffff), ([0x100, 0, 0], 8)],
        ),
        (
            "bfind.s32 %r10, %r11;",
            &[([0xffff_ffff, 0, 0], 0xffff_ffff), ([0xffff_fffe, 0, 0], 0)],
        ),
        ("bfind.shiftamt.u32 %r10, %r11;", &[([0x100, 0, 0], 23)]),
        (
            "bfe.u32 %r10, %r11, %r12, %r13;",
            &[
                ([0xabcd_1234, 8, 8], 0x12),
                ([0xabcd_1234, 28, 8], 0xa),
                ([5, 0, 0], 0),
            ],
        ),
        (
            "bfe.s32 %r10, %r11, %r12, %r13;",
            &[
                ([0xf00, 8, 4], 0xffff_ffff),
                ([0x8000_0000, 28, 8], 0xffff_fff8),
                ([0x8000_0000, 40, 4], 0xffff_ffff),
            ],
        ),
        (
            "bfe.s64 %rd10, %rd11, %r12, %r13;",
            &[([0x80, 0, 8], M - 127)],
        ),
        (
            "bfi.b32 %r10, %r11, %r12, 8, 8;",
            &[([0xab, 0xffff_ffff, 0], 0xffff_abff)],
        ),
        (
            "bfi.b64 %rd10, %rd11, %rd12, %r13, 64;",
            &[([0xab, M, 60], 0xbfff_ffff_ffff_ffff)],
        ),
        (
            "bmsk.clamp.b32 %r10, %r11, %r12;",
            &[([4, 8, 0], 0xff0), ([4, 40, 0], 0xffff_fff0)],
        ),
        (
            "selp.b32 %r10, %r11, %r12, %p13;",
            &[([5, 6, 1], 5), ([5, 6, 0], 6)],
        ),
        (
            "slct.u32.s32 %r10, %r11, %r12, %r13;",
            &[([5, 6, 0], 5), ([5, 6, 0xffff_ffff], 6)],
        ),
        (
            "mov.b64 {%r14, %r10}, %rd11;",
            &[([0x1234_5678_9abc_def0, 0, 0], 0x1234_5678)],
        ),
        (
            "mov.b64 %rd10, {%r11, %r12};",
            &[([1, 2, 0], 0x2_0000_0001)],
        ),
        (
            "mov.b32 %r10, {%rs11, %rs12};",
            &[([0xaaaa, 0xbbbb, 0], 0xbbbb_aaaa)],
        ),
    ]);
}

fn f(x: f32) -> u64 {
    u64::from(x.to_bits())
}

fn d(x: f64) -> u64 {
    x.to_bits()
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
fn comparisons() {
    check(&[
        (
            "setp.lt.s32 %p10, %r11, %r12;",
            &[([0xffff_ffff, 0, 0], 1), ([0, 0, 0], 0), ([1, 0, 0], 0)],
        ),
        (
            "setp.lo.u32 %p10, %r11, %r12;",
            &[([0xffff_ffff, 0, 0], 0), ([0, 1, 0], 1)],
        ),
        (
            "setp.ge.u64 %p10, %rd11, %rd12;",
            &[([M, 0, 0], 1), ([1, 1, 0], 1), ([0, 1, 0], 0)],
        ),
        (
            "setp.gt.s16 %p10, %rs11, %rs12;",
            &[([0xffff, 0, 0], 0), ([1, 0, 0], 1)],
        ),
        (
            "setp.eq.f32 %p10, %f11, %f12;",
            &[
                ([f(0.0), f(-0.0), 0], 1),
                ([f(f32::NAN), f(f32::NAN), 0], 0),
            ],
        ),
        (
            "setp.ne.f32 %p10, %f11, %f12;",
            &[([f(f32::NAN), f(1.0), 0], 0), ([f(2.0), f(1.0), 0], 1)],
        ),
        (
            "setp.neu.f32 %p10, %f11, %f12;",
            &[([f(f32::NAN), f(1.0), 0], 1)],
        ),
        (
            "setp.geu.f32 %p10, %f11, %f12;",
            &[([f(f32::NAN), f(1.0), 0], 1), ([f(0.5), f(1.0), 0], 0)],
        ),
        (
            "setp.nan.f32 %p10, %f11, %f12;",
            &[([f(f32::NAN), f(1.0), 0], 1), ([f(0.5), f(1.0), 0], 0)],
        ),
        ("setp.eq.ftz.f32 %p10, %f11, %f12;", &[([1, 0, 0], 1)]),
        (
            "setp.lt.and.s32 %p10, %r11, %r12, %p13;",
            &[([0, 1, 1], 1), ([0, 1, 0], 0), ([1, 0, 1], 0)],
        ),
        (
            "setp.lt.or.s32 %p10, %r11, %r12, !%p13;",
            &[([1, 0, 0], 1), ([1, 0, 1], 0)],
        ),
        (
            "mov.pred %p10, 0; setp.eq.s32 %p14|%p10, %r11, %r12;",
            &[([1, 1, 0], 0), ([1, 2, 0], 1)],
        ),
        (
            "set.lt.u32.s32 %r10, %r11, %r12;",
            &[([0xffff_ffff, 0, 0], 0xffff_ffff), ([1, 0, 0], 0)],
        ),
        (
            "set.gt.f32.f32 %f10, %f11, %f12;",
            &[([f(2.0), f(1.0), 0], f(1.0))],
        ),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("cvt.s64.s32 %rd10, %r11;", &[([0xffff_ffff, 0, 0], M)]),
        (
            "cvt.u64.u32 %rd10, %r11;",
            &[([0xffff_ffff, 0, 0], 0xffff_ffff)],
        ),
        ("cvt.s32.s8 %r10, %r11;", &[([0x80, 0, 0], 0xffff_ff80)]),
        ("cvt.u32.u8 %r10, %rs11;", &[([0x1ff, 0, 0], 0xff)]),
        ("cvt.s16.s8 %rs10, %rs11;", &[([0x80, 0, 0], 0xff80)]),
        (
            "cvt.sat.u8.s32 %r10, %r11;",
            &[([0xffff_ffff, 0, 0], 0), ([300, 0, 0], 255)],
        ),
        (
            "cvt.sat.s8.s32 %r10, %r11;",
            &[([0xffff_ff00, 0, 0], 0xffff_ff80), ([300, 0, 0], 127)],
        ),
        (
            "cvt.sat.u32.s64 %r10, %rd11;",
            &[([M, 0, 0], 0), ([1 << 40, 0, 0], 0xffff_ffff)],
        ),
        (
            "cvt.rn.f32.s32 %f10, %r11;",
            &[
                ([0xffff_ffff, 0, 0], f(-1.0)),
                ([0x7fff_ffff, 0, 0], f(2_147_483_648.0)),
            ],
        ),
        (
            "cvt.rz.f32.s32 %f10, %r11;",
            &[([0x7fff_ffff, 0, 0], f(2_147_483_520.0))],
        ),
        (
            "cvt.rp.f32.u64 %f10, %rd11;",
            &[([0x8000_0000_0000_0001, 0, 0], f(9.223_373e18))],
        ),
        (
            "cvt.rm.f32.u64 %f10, %rd11;",
            &[([0x8000_0000_0000_0001, 0, 0], f(9.223_372e18))],
        ),
        (
            "cvt.rn.f64.u64 %fd10, %rd11;",
            &[([M, 0, 0], d(18_446_744_073_709_551_616.0))],
        ),
        (
            "cvt.rz.f64.s64 %fd10, %rd11;",
            &[([M >> 1, 0, 0], d(9_223_372_036_854_774_784.0))],
        ),
        (
            "cvt.rzi.s32.f32 %r10, %f11;",
            &[
                ([f(-1.9), 0, 0], 0xffff_ffff),
                ([f(1e20), 0, 0], 0x7fff_ffff),
                ([f(f32::NAN), 0, 0], 0),
            ],
        ),
        (
            "cvt.rni.s32.f32 %r10, %f11;",
            &[([f(2.5), 0, 0], 2), ([f(3.5), 0, 0], 4)],
        ),
        (
            "cvt.rmi.s32.f32 %r10, %f11;",
            &[([f(-0.5), 0, 0], 0xffff_ffff)],
        ),
        (
            "cvt.rpi.u32.f64 %r10, %fd11;",
            &[
                ([d(0.1), 0, 0], 1),
                ([d(-3.0), 0, 0], 0),
                ([d(f64::NAN), 0, 0], 0x8000_0000),
            ],
        ),
        (
            "cvt.rzi.u64.f64 %rd10, %fd11;",
            &[([d(1e30), 0, 0], M), ([d(f64::NAN), 0, 0], 1 << 63)],
        ),
        ("cvt.rzi.u8.f32 %r10, %f11;", &[([f(300.0), 0, 0], 255)]),
        (
            "cvt.f64.f32 %fd10, %f11;",
            &[([f(0.1), 0, 0], d(f64::from(0.1f32)))],
        ),
        (
            "cvt.rn.f32.f64 %f10, %fd11;",
            &[
                ([d(0.1), 0, 0], f(0.1)),
                ([d(1e300), 0, 0], f(f32::INFINITY)),
                ([d(f64::NAN), 0, 0], 0x7fc0_0000),
            ],
        ),
        (
            "cvt.rz.f32.f64 %f10, %fd11;",
            &[
                ([d(1e300), 0, 0], f(f32::MAX)),
                ([d(0.1), 0, 0], f(0.1f32.next_down())),
            ],
        ),
        (
            "cvt.rm.f32.f64 %f10, %fd11;",
            &[([d(-1e-300), 0, 0], 0x8000_0001)],
        ),
        (
            "cvt.rni.f32.f32 %f10, %f11;",
            &[([f(2.5), 0, 0], f(2.0)), ([f(-0.4), 0, 0], f(-0.0))],
        ),
        (
            "cvt.rmi.f64.f64 %fd10, %fd11;",
            &[([d(-2.5), 0, 0], d(-3.0))],
        ),
        (
            "cvt.sat.f32.f32 %f10, %f11;",
            &[([f(2.5), 0, 0], f(1.0)), ([f(f32::NAN), 0, 0], 0)],
        ),
        (
            "cvt.rn.f16.f32 %rs10, %f11;",
            &[
                ([f(1.0), 0, 0], 0x3c00),
                ([f(65520.0), 0, 0], 0x7c00),
                ([f(5.96e-8), 0, 0], 1),
                ([f(1.000_488_3), 0, 0], 0x3c00),
            ],
        ),
        (
            "cvt.rz.f16.f32 %rs10, %f11;",
            &[([f(65520.0), 0, 0], 0x7bff)],
        ),
        (
            "cvt.f32.f16 %f10, %rs11;",
            &[
                ([0x3c00, 0, 0], f(1.0)),
                ([1, 0, 0], f(5.960_464_5e-8)),
                ([0xfc00, 0, 0], f(f32::NEG_INFINITY)),
            ],
        ),
        (
            "cvt.rn.bf16.f32 %rs10, %f11;",
            &[([f(1.0), 0, 0], 0x3f80), ([f(1.003_906_3), 0, 0], 0x3f80)],
        ),
        (
            "cvt.rn.f16x2.f32 %r10, %f11, %f12;",
            &[([f(1.0), f(2.0), 0], 0x3c00_4000)],
        ),
        (
            "cvt.rna.tf32.f32 %r10, %f11;",
            &[([0x3f80_1000, 0, 0], 0x3f80_2000)],
        ),
        ("cvt.u16.u32 %rs10, %r11;", &[([0x1_2345, 0, 0], 0x2345)]),
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

#[test]
fn special_registers() {
    check(&[
        (
            "mov.u32 %r10, %laneid; sub.u32 %r10, %r10, %r1; and.b32 %r10, %r10, 31;",
            &[([0; 3], 0)],
        ),
        (
            "mov.b32 %r10, 0; mov.u32 %r14, %lanemask_le; mov.u32 %r15, %lanemask_gt; xor.b32 %r10, %r14, %r15;",
            &[([0; 3], 0xffff_ffff)],
        ),
        (
            "mov.b32 %r10, 0; mov.u32 %r14, %lanemask_lt; popc.b32 %r14, %r14; mov.u32 %r15, %laneid; sub.u32 %r10, %r14, %r15;",
            &[([0; 3], 0)],
        ),
        (
            "mov.pred %p10, 0; mov.u64 %rd14, %clock64; mov.u64 %rd15, %clock64; setp.ge.u64 %p10, %rd15, %rd14;",
            &[([0; 3], 1)],
        ),
        (
            "mov.b32 %r10, 0; mov.u32 %r14, %nctaid.x; mov.u32 %r15, %ctaid.z; add.u32 %r10, %r14, %r15;",
            &[([0; 3], 1)],
        ),
        ("mov.u64 %rd10, %ntid.y;", &[([0; 3], 1)]),
    ]);
}

#[test]
fn atomics_on_global_and_shared_memory() {
    let sequence = |op: &str, ty: &str| {
        format!(
        ".shared .align 8 .b64 cell[64]; mov.u32 %r20, cell; mad.lo.u32 %r20, %r1, 8, %r20;
         st.shared.u64 [%r20], %rd11; atom.shared.{op}.{ty} %rd14, [%r20], %rd12; ld.shared.u64 %rd15, [%r20];
         st.global.u64 [%rd1], %rd11; atom.global.{op}.{ty} %rd16, [%rd1], %rd12; ld.global.u64 %rd17, [%rd1];
         setp.eq.u64 %p1, %rd14, %rd16; setp.eq.and.u64 %p1, %rd15, %rd17, %p1; setp.eq.and.u64 %p1, %rd14, %rd11, %p1;
         selp.b64 %rd10, %rd15, 12345, %p1;"
    )
    };
    for (op, ty, a, b, result) in [
        ("add", "u64", 5, 7, 12),
        ("exch", "b64", 5, 7, 7),
        ("min", "s64", 5, M, M),
        ("min", "u64", 5, M, 5),
        ("max", "s64", 5, M, 5),
        ("and", "b64", 6, 3, 2),
        ("or", "b64", 6, 3, 7),
        ("xor", "b64", 6, 3, 5),
    ] {
        let text = format!("mov.b64 %rd10, 0; {}", sequence(op, ty));
        check(&[(&text, &[([a, b, 0], result)])]);
    }
    check(&[
        (
            "{ mov.b32 %r10, 0; st.global.u32 [%rd1], %r11; atom.global.inc.u32 %r14, [%rd1], %r12; ld.global.u32 %r10, [%rd1]; }",
            &[([3, 5, 0], 4), ([5, 5, 0], 0), ([9, 5, 0], 0)],
        ),
        (
            "{ mov.b32 %r10, 0; st.global.u32 [%rd1], %r11; atom.global.dec.u32 %r14, [%rd1], %r12; ld.global.u32 %r10, [%rd1]; }",
            &[([3, 5, 0], 2), ([0, 5, 0], 5), ([9, 5, 0], 5)],
        ),
        (
            "{ mov.b32 %r10, 0; st.global.u32 [%rd1], %r11; atom.global.cas.b32 %r14, [%rd1], %r12, %r13; ld.global.u32 %r10, [%rd1]; }",
            &[([3, 3, 9], 9), ([3, 4, 9], 3)],
        ),
        (
            "{ mov.b32 %r10, 0; st.global.f32 [%rd1], %f11; red.global.add.f32 [%rd1], %f12; ld.global.u32 %r10, [%rd1]; }",
            &[([f(1.5), f(2.0), 0], f(3.5))],
        ),
        (
            "{ mov.b64 %rd10, 0; st.global.f64 [%rd1], %fd11; atom.global.add.f64 %fd14, [%rd1], %fd12; ld.global.u64 %rd10, [%rd1]; }",
            &[([d(1.5), d(2.0), 0], d(3.5))],
        ),
    ]);
}

#[test]
fn memory_of_every_width_and_space() {
    check(&[
        (
            "{ mov.b64 %rd10, 0; .local .align 8 .b8 a[16]; st.local.u64 [a], %rd11; ld.local.s8 %rd10, [a+1]; }",
            &[([0x80ff, 0, 0], M - 127)],
        ),
        (
            "{ mov.b64 %rd10, 0; .local .align 8 .b8 a[16]; mov.u64 %rd14, a; cvta.local.u64 %rd15, %rd14; st.u16 [%rd15+6], %rs11; ld.local.u64 %rd10, [%rd14]; and.b64 %rd10, %rd10, 0xffff000000000000; }",
            &[([0x1234, 0, 0], 0x1234_0000_0000_0000)],
        ),
        (
            "{ mov.b32 %r10, 0; .shared .b8 s[256]; mov.u64 %rd14, s; cvta.shared.u64 %rd14, %rd14; cvt.u64.u32 %rd15, %r1; add.u64 %rd14, %rd14, %rd15; st.u8 [%rd14], %r11; ld.u8 %r10, [%rd14]; }",
            &[([0x1fe, 0, 0], 0xfe), ([7, 0, 0], 7)],
        ),
        (
            "{ mov.b32 %r10, 0; .local .align 16 .b8 a[16]; st.local.v4.u32 [a], {%r11, %r12, %r13, %r11}; ld.local.v2.u32 {%r14, %r10}, [a+8]; sub.u32 %r10, %r10, %r14; }",
            &[([9, 0, 4], 5)],
        ),
        (
            "{ mov.b32 %r10, 0; mov.u64 %rd14, out; cvta.param.u64 %rd14, %rd14; ld.u64 %rd15, [%rd14]; ld.param.u64 %rd16, [out]; setp.eq.u64 %p10, %rd15, %rd16; selp.u32 %r10, 1, 0, %p10; }",
            &[([0; 3], 1)],
        ),
        (
            "{ mov.b32 %r10, 0; isspacep.global %p10, %rd1; selp.u32 %r10, 1, 0, %p10; }",
            &[([0; 3], 1)],
        ),
    ]);
}
