// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The kernels of the driver programs, as PTX text.
#pragma once

static const char KERNELS[] = R"(
.version 6.4
.target sm_75
.address_size 64

.global .align 4 .u32 bias = 5;
.const .align 8 .b8 table[16] = {1, 2, 3, 4, 5, 6, 7, 8};

// values[i] = values[i] * factor + bias, for i < n
.visible .entry scale(.param .u64 values, .param .u16 factor, .param .u32 n)
{
    .reg .pred %p;
    .reg .b32 %r<8>;
    .reg .b16 %h;
    .reg .b64 %rd<4>;

    mov.u32 %r0, %ctaid.x;
    mov.u32 %r1, %ntid.x;
    mov.u32 %r2, %tid.x;
    mad.lo.u32 %r3, %r0, %r1, %r2;
    ld.param.u32 %r4, [n];
    setp.ge.u32 %p, %r3, %r4;
    @%p bra done;
    ld.param.u64 %rd0, [values];
    cvta.to.global.u64 %rd0, %rd0;
    mul.wide.u32 %rd1, %r3, 4;
    add.u64 %rd2, %rd0, %rd1;
    ld.param.u16 %h, [factor];
    cvt.u32.u16 %r5, %h;
    ld.global.u32 %r6, [%rd2];
    ld.global.u32 %r7, [bias];
    mad.lo.u32 %r6, %r6, %r5, %r7;
    st.global.u32 [%rd2], %r6;
done:
    ret;
}
)";

// Not PTX from line 5 on.
static const char BROKEN[] = R"(.version 6.4
.target sm_75
.address_size 64
.visible .entry broken() {
    this is not an instruction;
    ret;
}
)";
