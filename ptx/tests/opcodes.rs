// SPDX-License-Identifier: MIT OR Apache-2.0
//! Comparisons, conversions, special registers and memory. One row per case: instruction, operands,
//! result. Every case runs in a partial and in a full
//! warp, with every set of lane functions that the machine has. `integers`, `floats` and `rare` have
//! the rest.

mod common;
use common::table::{check, d, f};

const M: u64 = u64::MAX;

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
