// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions that are rare: as `opcodes`, one row per case.

mod common;
use common::table::{check, f};

fn s(x: i32) -> u64 {
    (x as u32).into()
}

const INFINITY: u64 = 0x7f80_0000;
const NAN: u64 = 0x7fc0_0000;

#[test]
fn integers() {
    check(&[
        (
            "mad24.hi.u32 %r10, %r11, %r12, %r13;",
            &[
                ([0xff_ffff, 0xff_ffff, 1], 0xffff_fe01),
                ([0x100_0001, 0x1_0000, 5], 6),
            ],
        ),
        (
            "mad24.hi.s32 %r10, %r11, %r12, %r13;",
            &[([s(-1), 2, 0], s(-1)), ([0x40_0000, 4, 0], 0x100)],
        ),
        (
            "mad24.hi.sat.s32 %r10, %r11, %r12, %r13;",
            &[([0x7f_ffff, 0x7f_ffff, 0x7fff_ffff], 0x7fff_ffff)],
        ),
        (
            "mad24.lo.s32 %r10, %r11, %r12, %r13;",
            &[([s(-3), 5, 1], s(-14))],
        ),
        (
            "dp2a.lo.s32.u32 %r10, %r11, %r12, %r13;",
            &[([0xffff_0002, 0x0503, 10], 11)],
        ),
        (
            "dp2a.hi.u32.u32 %r10, %r11, %r12, %r13;",
            &[([0xffff_0002, 0x0503_0000, 0], 327_681)],
        ),
        (
            "dp2a.lo.s32.s32 %r10, %r11, %r12, %r13;",
            &[([0x0001_0002, 0xfffd, 0], s(-7))],
        ),
        (
            "szext.wrap.s32 %r10, %r11, %r12;",
            &[([0x80, 40, 0], 0xffff_ff80), ([0x80, 32, 0], 0)],
        ),
        (
            "szext.clamp.u32 %r10, %r11, %r12;",
            &[([0x1234, 8, 0], 0x34), ([0x8000_1234, 99, 0], 0x8000_1234)],
        ),
        (
            "fns.b32 %r10, %r11, %r12, %r13;",
            &[
                ([0x0001_0110, 0, 2], 8),
                ([0x0001_0110, 31, s(-1)], 16),
                ([0x0001_0110, 4, 0], 4),
                ([0x0001_0110, 5, 0], s(-1)),
                ([0x0001_0110, 0, 4], s(-1)),
                ([0x0001_0110, 8, 1], 8),
                ([0x0001_0110, 8, s(-2)], 4),
            ],
        ),
        (
            "mov.b32 %r10, 0; lop3.or.b32 %r10|%p14, %r11, %r12, %r13, 0x80, %p13; selp.u32 %r14, 16, 0, %p14; or.b32 %r10, %r10, %r14;",
            &[([7, 6, 3], 18), ([4, 2, 0], 0), ([4, 2, 1], 16)],
        ),
        (
            "mov.b32 %r10, 0; lop3.and.b32 _|%p14, %r11, %r12, %r13, 0x80, !%p13; selp.u32 %r10, 1, 0, %p14;",
            &[([7, 6, 3], 0), ([7, 6, 2], 1)],
        ),
        (
            "cvt.pack.sat.s16.s32 %r10, %r11, %r12;",
            &[
                ([40_000, s(-40_000), 0], 0x7fff_8000),
                ([5, s(-1), 0], 0x0005_ffff),
            ],
        ),
        (
            "cvt.pack.sat.u16.s32 %r10, %r11, %r12;",
            &[([70_000, s(-1), 0], 0xffff_0000)],
        ),
        (
            "cvt.pack.sat.u8.s32.b32 %r10, %r11, %r12, %r13;",
            &[([300, s(-5), 0x1234_abcd], 0xabcd_ff00)],
        ),
        (
            "cvt.pack.sat.s4.s32.b32 %r10, %r11, %r12, %r13;",
            &[([20, s(-20), 1], 0x178)],
        ),
        (
            "cvt.pack.sat.u2.s32.b32 %r10, %r11, %r12, %r13;",
            &[([9, 1, 2], 0x2d)],
        ),
        (
            "mov.b64 %rd10, 0; createpolicy.fractional.L2::evict_last.b64 %rd14; ld.global.L2::cache_hint.u64 %rd10, [%rd2], %rd14;",
            &[([77, 0, 0], 77)],
        ),
    ]);
}

#[test]
fn extremes_with_the_sign_of_a_product_or_not_a_number() {
    check(&[
        (
            "min.xorsign.abs.f32 %f10, %f11, %f12;",
            &[
                ([f(-3.0), f(2.0), 0], f(-2.0)),
                ([f(-3.0), f(-4.0), 0], f(3.0)),
                ([NAN, f(-4.0), 0], f(-4.0)),
            ],
        ),
        (
            "max.NaN.xorsign.abs.f32 %f10, %f11, %f12;",
            &[
                ([NAN, f(1.0), 0], 0x7fff_ffff),
                ([f(-1.0), f(5.0), 0], f(-5.0)),
            ],
        ),
        (
            "max.ftz.xorsign.abs.f32 %f10, %f11, %f12;",
            &[([1, 0x8000_0002, 0], 0x8000_0000)],
        ),
        (
            "min.NaN.f16 %rs10, %rs11, %rs12;",
            &[([0x7e00, 0x3c00, 0], 0x7fff), ([0x4000, 0x3c00, 0], 0x3c00)],
        ),
        (
            "min.f16 %rs10, %rs11, %rs12;",
            &[([0x7e00, 0x3c00, 0], 0x3c00), ([0x8000, 0, 0], 0x8000)],
        ),
        (
            "max.xorsign.abs.f16 %rs10, %rs11, %rs12;",
            &[([0xc000, 0x3c00, 0], 0xc000), ([0xc000, 0xc400, 0], 0x4400)],
        ),
        (
            "max.NaN.bf16x2 %r10, %r11, %r12;",
            &[([0x7fc0_4000, 0x3f80_3f80, 0], 0x7fff_4000)],
        ),
        (
            "abs.ftz.f16 %rs10, %rs11;",
            &[([0x8001, 0, 0], 0), ([0xbc00, 0, 0], 0x3c00)],
        ),
        (
            "neg.ftz.f16x2 %r10, %r11;",
            &[([0x3c00_0001, 0, 0], 0xbc00_8000)],
        ),
    ]);
}

#[test]
fn half_precision_pairs() {
    check(&[
        (
            "add.f16x2 %r10, %r11, %r12;",
            &[([0x3c00_4000, 0x3c00_3c00, 0], 0x4000_4200)],
        ),
        (
            "sub.sat.f16x2 %r10, %r11, %r12;",
            &[([0x3c00_4400, 0x4000_3c00, 0], 0x3c00)],
        ),
        (
            "mul.ftz.f16 %rs10, %rs11, %rs12;",
            &[([0x0400, 0x3800, 0], 0), ([0x8400, 0x3800, 0], 0x8000)],
        ),
        (
            "fma.rn.relu.f16x2 %r10, %r11, %r12, %r13;",
            &[([0x3c00_bc00, 0x4000_4000, 0x3c00_3c00], 0x4200_0000)],
        ),
        (
            "fma.rn.bf16x2 %r10, %r11, %r12, %r13;",
            &[([0x3f80_4000, 0x4000_4040, 0x3f80_0000], 0x4040_40c0)],
        ),
        (
            "ex2.approx.f16x2 %r10, %r11;",
            &[([0x4000_bc00, 0, 0], 0x4400_3800)],
        ),
        (
            "tanh.approx.f16x2 %r10, %r11;",
            &[([0x7c00_0000, 0, 0], 0x3c00_0000)],
        ),
        (
            "mov.b32 %r10, 0; setp.lt.f16x2 %p14|%p15, %r11, %r12; selp.u32 %r10, 1, 0, %p14; selp.u32 %r14, 2, 0, %p15; or.b32 %r10, %r10, %r14;",
            &[
                ([0x3c00_4000, 0x4000_3c00, 0], 2),
                ([0x3c00_3c00, 0x3800_4000, 0], 1),
                ([0x7e00_7e00, 0, 0], 0),
            ],
        ),
        (
            "mov.b32 %r10, 0; setp.geu.and.f16x2 %p14|%p15, %r11, %r12, !%p13; selp.u32 %r10, 1, 0, %p14; selp.u32 %r14, 2, 0, %p15; or.b32 %r10, %r10, %r14;",
            &[
                ([0x7e00_4000, 0x4000_3c00, 0], 3),
                ([0x7e00_4000, 0x4000_3c00, 1], 0),
            ],
        ),
        (
            "set.lt.f16x2.f16x2 %r10, %r11, %r12;",
            &[([0x3c00_4000, 0x4000_3c00, 0], 0x3c00_0000)],
        ),
        (
            "set.gt.u32.f16x2 %r10, %r11, %r12;",
            &[([0x3c00_4000, 0x4000_3c00, 0], 0xffff)],
        ),
        (
            "set.eq.or.f16x2.f16x2 %r10, %r11, %r12, %p13;",
            &[
                ([0x3c00_4000, 0x3c00_3c00, 0], 0x3c00_0000),
                ([0, 0x3c00_3c00, 1], 0x3c00_3c00),
            ],
        ),
        (
            "set.eq.f16.s32 %rs10, %r11, %r12;",
            &[([7, 7, 0], 0x3c00), ([7, 8, 0], 0)],
        ),
        (
            "set.ne.u16.f16 %rs10, %rs11, %rs12;",
            &[([0x3c00, 0x4000, 0], 0xffff), ([0x7e00, 0x7e00, 0], 0)],
        ),
        (
            "slct.ftz.u32.f32 %r10, %r11, %r12, %f13;",
            &[([5, 6, 0x8000_0001], 5), ([5, 6, f(-1.0)], 6)],
        ),
        (
            "slct.u32.f32 %r10, %r11, %r12, %f13;",
            &[([5, 6, 0x8000_0001], 6), ([5, 6, NAN], 6)],
        ),
    ]);
}

#[test]
fn conversions_that_stay_finite() {
    check(&[
        (
            "cvt.rn.satfinite.f16.f32 %rs10, %f11;",
            &[
                ([f(1e6), 0, 0], 0x7bff),
                ([INFINITY | 1 << 31, 0, 0], 0xfbff),
                ([NAN, 0, 0], 0x7fff),
                ([f(65519.0), 0, 0], 0x7bff),
            ],
        ),
        (
            "cvt.rz.relu.satfinite.bf16.f32 %rs10, %f11;",
            &[([f(-2.0), 0, 0], 0), ([INFINITY, 0, 0], 0x7f7f)],
        ),
        (
            "cvt.rn.satfinite.f16x2.f32 %r10, %f11, %f12;",
            &[([INFINITY, f(1.0), 0], 0x7bff_3c00)],
        ),
        (
            "cvt.rn.relu.satfinite.bf16x2.f32 %r10, %f11, %f12;",
            &[([f(-5.0), f(3.4e38), 0], 0x7f7f)],
        ),
        (
            "cvt.rna.satfinite.tf32.f32 %r10, %f11;",
            &[
                ([INFINITY, 0, 0], 0x7f7f_e000),
                ([0x7f7f_ffff, 0, 0], 0x7f7f_e000),
                ([f(1.0), 0, 0], f(1.0)),
            ],
        ),
    ]);
}

#[test]
fn video_on_one_part() {
    check(&[
        (
            "vadd.s32.s32.s32.sat %r10, %r11, %r12;",
            &[([0x7fff_ffff, 1, 0], 0x7fff_ffff), ([s(-5), 3, 0], s(-2))],
        ),
        (
            "vadd.u32.u32.u32.sat %r10, %r11, %r12;",
            &[([0xffff_ffff, 1, 0], 0xffff_ffff)],
        ),
        (
            "vadd.u32.u32.u32 %r10, %r11, %r12;",
            &[([0xffff_ffff, 2, 0], 1)],
        ),
        ("vsub.u32.u32.u32.sat %r10, %r11, %r12;", &[([1, 2, 0], 0)]),
        (
            "vabsdiff.u32.s32.s32 %r10, %r11, %r12;",
            &[([s(-5), 7, 0], 12)],
        ),
        (
            "vmin.s32.s32.s32.add %r10, %r11, %r12, %r13;",
            &[([s(-5), 7, 10], 5)],
        ),
        (
            "vmax.u32.u32.u32.min %r10, %r11, %r12, %r13;",
            &[([3, 9, 4], 4), ([3, 9, 40], 9)],
        ),
        (
            "vadd.u32.u32.u32 %r10, %r11.b1, %r12.h1;",
            &[([0xab00, 0x1234_0000, 0], 0x12df)],
        ),
        (
            "vadd.s32.s32.s32 %r10, %r11.b1, %r12.h1;",
            &[([0xab00, 0xff34_0000, 0], s(-289))],
        ),
        (
            "vsub.s32.u32.u32.sat %r10.b2, %r11, %r12, %r13;",
            &[([5, 300, 0x1122_3344], 0x1180_3344)],
        ),
        (
            "vadd.u32.u32.u32 %r10.h1, %r11, %r12, %r13;",
            &[([0x1_ffff, 1, 0xaaaa_bbbb], 0xbbbb)],
        ),
        (
            "vshl.u32.u32.u32.clamp %r10, %r11, %r12;",
            &[([1, 33, 0], 0), ([3, 4, 0], 48)],
        ),
        (
            "vshl.u32.u32.u32.sat.clamp %r10, %r11, %r12;",
            &[([1, 33, 0], 0xffff_ffff)],
        ),
        (
            "vshl.u32.u32.u32.wrap %r10, %r11, %r12;",
            &[([1, 33, 0], 2)],
        ),
        (
            "vshr.s32.s32.u32.clamp %r10, %r11, %r12;",
            &[([s(-8), 1, 0], s(-4)), ([s(-8), 40, 0], s(-1))],
        ),
        (
            "vset.s32.u32.lt %r10, %r11, %r12;",
            &[([s(-1), 0xffff_ffff, 0], 1), ([1, 1, 0], 0)],
        ),
        (
            "vset.u32.u32.ge.add %r10, %r11, %r12, %r13;",
            &[([5, 5, 10], 11)],
        ),
        (
            "vmad.u32.u32.u32 %r10, %r11.b0, %r12.b1, %r13;",
            &[([0xff02, 0x0307, 1], 7)],
        ),
        (
            "vmad.s32.s32.s32.sat %r10, %r11, %r12, %r13;",
            &[([0x7fff_ffff, 2, 0], 0x7fff_ffff)],
        ),
        (
            "vmad.s32.s32.s32.shr7 %r10, %r11, %r12, %r13;",
            &[([256, 256, 64], 512)],
        ),
        (
            "vmad.s32.s32.s32 %r10, -%r11, %r12, %r13;",
            &[([3, 4, 20], 8)],
        ),
        (
            "vmad.s32.s32.s32 %r10, %r11, %r12, -%r13;",
            &[([3, 4, 20], s(-8))],
        ),
        (
            "vmad.u32.u32.u32.po %r10, %r11, %r12, %r13;",
            &[([3, 4, 5], 18)],
        ),
    ]);
}

#[test]
fn video_on_all_parts() {
    check(&[
        (
            "vadd4.u32.u32.u32 %r10, %r11, %r12, %r13;",
            &[([0x01ff_7f80, 0x0101_0101, 0], 0x0200_8081)],
        ),
        (
            "vadd4.u32.u32.u32.sat %r10, %r11, %r12, %r13;",
            &[([0x01ff_7f80, 0x0101_0101, 0], 0x02ff_8081)],
        ),
        (
            "vadd4.s32.s32.s32.sat %r10, %r11, %r12, %r13;",
            &[([0x01ff_7f80, 0x0101_0101, 0], 0x0200_7f81)],
        ),
        (
            "vsub2.s32.s32.s32.sat %r10, %r11, %r12, %r13;",
            &[([0x8000_0001, 0x0001_0002, 0], 0x8000_ffff)],
        ),
        (
            "vabsdiff4.u32.u32.u32.add %r10, %r11, %r12, %r13;",
            &[([0x0501_0300, 0x0105_0003, 100], 114)],
        ),
        (
            "vavrg2.u32.u32.u32 %r10, %r11, %r12, %r13;",
            &[([0x0003_0004, 0x0004_0005, 0], 0x0004_0005)],
        ),
        (
            "vavrg4.s32.s32.s32 %r10, %r11, %r12, %r13;",
            &[([0x03ff, 0xfefe, 0], 0x01fe)],
        ),
        (
            "vset4.u32.u32.gt %r10, %r11, %r12, %r13;",
            &[([0x0501_0300, 0x0105_0003, 0], 0x0100_0100)],
        ),
        (
            "vset2.s32.s32.eq.add %r10, %r11, %r12, %r13;",
            &[([0x0005_0007, 0x0005_0006, 40], 41)],
        ),
        (
            "vmin4.u32.u32.u32 %r10.b20, %r11, %r12, %r13;",
            &[([0x0501_0300, 0x0105_0003, 0xaabb_ccdd], 0xaa01_cc00)],
        ),
        (
            "vmax2.u32.u32.u32 %r10, %r11.h23, %r12.h10, %r13;",
            &[([0x0001_0002, 0x0003_0004, 0], 0x0004_0003)],
        ),
        (
            "vadd4.u32.u32.u32 %r10, %r11.b7531, %r12.b0000, %r13;",
            &[([0x0403_0201, 0x0807_0605, 0], 0x0907_0503)],
        ),
    ]);
}

#[test]
fn atomics_of_half_precision() {
    let sequence = |op: &str, ty: &str, r: &str| {
        format!(
            "mov.b32 %r10, 0; st.global.u32 [%rd1], %r11; {op}.global.add.noftz.{ty} {}[%rd1], {r}12; ld.global.u32 %r10, [%rd1];",
            if op == "atom" {
                format!("{r}14, ")
            } else {
                String::new()
            }
        )
    };
    for op in ["atom", "red"] {
        check(&[
            (
                &sequence(op, "f16", "%rs"),
                &[([0x1234_3c00, 0x4000, 0], 0x1234_4200)],
            ),
            (
                &sequence(op, "f16x2", "%r"),
                &[([0x3c00_3c00, 0x4000_3c00, 0], 0x4200_4000)],
            ),
            (
                &sequence(op, "bf16", "%rs"),
                &[([0x1234_3f80, 0x4000, 0], 0x1234_4040)],
            ),
            (
                &sequence(op, "bf16x2", "%r"),
                &[([0x3f80_3f80, 0x4000_3f80, 0], 0x4040_4000)],
            ),
        ]);
    }
}

#[test]
fn memory_of_alloca_is_each_frame_and_lane_s_own() {
    check(&[
        ("mov.b32 %r10, 0; alloca.u64 %rd14, %rd11; alloca.u64 %rd15, %rd12, 64; sub.u64 %rd16, %rd15, %rd14;
          st.local.u32 [%rd14], %r13; st.local.u32 [%rd15+4], 7; ld.local.u32 %r10, [%rd14]; ld.local.u32 %r14, [%rd15+4];
          and.b64 %rd17, %rd15, 63; cvt.u32.u64 %r15, %rd17; add.u32 %r10, %r10, %r14; add.u32 %r10, %r10, %r15;",
            &[([4, 8, 100], 107), ([400, 16, 5], 12)]),
        ("mov.b64 %rd10, 0; stacksave.u64 %rd14; alloca.u64 %rd15, %rd11; stackrestore.u64 %rd14; alloca.u64 %rd16, %rd11; sub.u64 %rd10, %rd16, %rd15;",
            &[([100, 0, 0], 0)]),
    ]);
}

#[test]
fn atomics_of_vectors_are_one_for_each_element() {
    check(&[
        // The results are operands of elements that follow.
        (
            "{ mov.b32 %r10, 0; st.global.v2.u32 [%rd1], {%r11, %r12}; mov.b32 %r14, %r13; mov.b32 %r15, 0f40000000;
             atom.global.add.v2.f32 {%r15, %r14}, [%rd1], {%r14, %r15}; ld.global.v2.u32 {%r16, %r17}, [%rd1];
             setp.eq.u32 %p1, %r15, %r11; setp.eq.and.u32 %p1, %r14, %r12, %p1; @%p1 add.f32 %r10, %r16, %r17; }",
            &[([f(1.5), f(10.0), f(4.0)], f(1.5 + 4.0 + 10.0 + 2.0))],
        ),
        (
            "{ mov.b32 %r10, 0; st.global.v2.u32 [%rd1], {%r11, %r12}; red.global.add.noftz.v2.f16x2 [%rd1], {%r13, %r12};
             ld.global.v2.u32 {%r14, %r15}, [%rd1]; xor.b32 %r10, %r14, %r15; }",
            // 1 + 1, 2 + 2; 1 + 1, 1 + 1 in halves.
            &[([0x4000_3c00, 0x3c00_3c00, 0x4000_3c00], 0x4400_4000 ^ 0x4000_4000)],
        ),
    ]);
}

#[test]
fn fences_and_launches_of_newer_processors_change_no_result() {
    let fences = "fence.acq_rel.cluster; fence.proxy.async; fence.proxy.async.shared::cta; fence.mbarrier_init.release.cluster;";
    let text = format!(
        "{{ {fences} griddepcontrol.wait; griddepcontrol.launch_dependents; mov.b32 %r10, %r11; }}"
    );
    check(&[(text.as_str(), &[([7, 0, 0], 7)])]);
}

#[test]
fn arithmetic_of_pairs_and_of_mixed_precision() {
    let pair = |high: f32, low: f32| f(high) << 32 | f(low);
    check(&[
        (
            "add.rn.f32x2 %rd10, %rd11, %rd12;",
            &[([pair(1.0, -2.0), pair(0.5, 7.0), 0], pair(1.5, 5.0))],
        ),
        (
            "sub.f32x2 %rd10, %rd11, %rd12;",
            &[([pair(1.0, -2.0), pair(0.5, 7.0), 0], pair(0.5, -9.0))],
        ),
        (
            "mul.rp.f32x2 %rd10, %rd11, %rd12;",
            &[(
                [pair(3.0, 0.1), pair(-2.0, 0.1), 0],
                pair(-6.0, 0.010_000_001),
            )],
        ),
        (
            "fma.rn.ftz.f32x2 %rd10, %rd11, %rd12, %rd13;",
            &[(
                [pair(3.0, 1e-40), pair(2.0, 1.0), pair(1.0, 1e-39)],
                pair(7.0, 0.0),
            )],
        ),
    ]);
    check(&[
        (
            "{ .reg .b16 h; cvt.u16.u32 h, %r11; add.f32.f16 %r10, h, %r12; }",
            &[
                ([0x3c00, f(0.25), 0], f(1.25)),
                ([0x7e00, f(1.0), 0], 0x7fff_ffff),
            ],
        ),
        (
            "{ .reg .b16 h; cvt.u16.u32 h, %r11; sub.rn.sat.f32.bf16 %r10, h, %r12; }",
            &[
                ([0x3f80, f(0.25), 0], f(0.75)),
                ([0x4040, f(1.0), 0], f(1.0)),
            ],
        ),
        (
            "{ .reg .b16 h, g; cvt.u16.u32 h, %r11; cvt.u16.u32 g, %r12; fma.rn.f32.f16 %r10, h, g, %r13; }",
            &[([0x4000, 0x4200, f(0.5)], f(6.5))],
        ),
        (
            "max.f32 %r10, %r11, %r12, %r13;",
            &[
                ([f(1.0), f(-8.0), f(3.0)], f(3.0)),
                ([f(1.0), NAN, f(0.5)], f(1.0)),
            ],
        ),
        (
            "max.NaN.abs.f32 %r10, %r11, %r12, %r13;",
            &[
                ([f(1.0), f(-8.0), f(3.0)], f(8.0)),
                ([f(1.0), NAN, f(0.5)], 0x7fff_ffff),
            ],
        ),
        (
            "min.ftz.f32 %r10, %r11, %r12, %r13;",
            &[
                ([f(1.0), f(1e-40), f(3.0)], f(0.0)),
                ([f(0.0), f(-0.0), f(3.0)], f(-0.0)),
            ],
        ),
        // The cases are lanes of a warp.
        (
            "{ .reg .b32 m; activemask.b32 m; redux.sync.min.f32 %r10, %r11, m; }",
            &[
                ([f(-3.0), 0, 0], f(-3.0)),
                ([NAN, 0, 0], f(-3.0)),
                ([f(5.0), 0, 0], f(-3.0)),
            ],
        ),
        (
            "{ .reg .b32 m; activemask.b32 m; redux.sync.max.abs.f32 %r10, %r11, m; }",
            &[([f(-3.0), 0, 0], f(3.0)), ([f(2.0), 0, 0], f(3.0))],
        ),
        (
            "{ .reg .b32 m; activemask.b32 m; redux.sync.max.NaN.f32 %r10, %r11, m; }",
            &[([f(-3.0), 0, 0], 0x7fff_ffff), ([NAN, 0, 0], 0x7fff_ffff)],
        ),
    ]);
}
