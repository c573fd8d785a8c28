// SPDX-License-Identifier: MIT OR Apache-2.0
//! Instructions on integers and bits: as `opcodes`, one row per case.

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
