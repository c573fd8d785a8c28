// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// SIMD intrinsics on bytes and halves of words, and PTX's video instructions.

#include "check_cuda.h"
#include <algorithm>

const int functions = 16;

__global__ void compute(const unsigned *a, const unsigned *b, const unsigned *c, unsigned *out, int n) {
    int i = threadIdx.x;
    unsigned x = a[i], y = b[i], z = c[i], r;
    unsigned *o = out + i;
    o[0 * n] = __vadd4(x, y);
    o[1 * n] = __vsubss4(x, y);
    o[2 * n] = __vabsdiffu4(x, y);
    o[3 * n] = __vmaxs2(x, y);
    o[4 * n] = __vavgu4(x, y);
    o[5 * n] = __vcmpgtu4(x, y);
    o[6 * n] = __vsadu4(x, y);
    o[7 * n] = __vaddus2(x, y);
    asm("vabsdiff4.u32.u32.u32.add %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[8 * n] = r;
    asm("vadd4.s32.s32.s32.sat %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[9 * n] = r;
    asm("vavrg2.u32.u32.u32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[10 * n] = r;
    asm("vset4.u32.u32.lt.add %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[11 * n] = r;
    asm("vmad.s32.s32.s32 %0, %1.h0, %2.h1, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[12 * n] = r;
    asm("vabsdiff.s32.s32.s32.min %0, %1.h0, %2.h1, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[13 * n] = r;
    asm("vshr.u32.u32.u32.clamp %0.b1, %1, %2.b2, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[14 * n] = r;
    asm("vmin2.s32.s32.s32 %0.h10, %1.h12, %2.h30, %3;" : "=r"(r) : "r"(x), "r"(y), "r"(z));
    o[15 * n] = r;
}

static int byte(unsigned x, int i) { return x >> (8 * i) & 255; }
static int sbyte(unsigned x, int i) { return (signed char)byte(x, i); }
static int half(unsigned x, int i) { return x >> (16 * i) & 0xffff; }
static int shalf(unsigned x, int i) { return (short)half(x, i); }

template <class F> unsigned bytes(F f) {
    unsigned r = 0;
    for (int i = 0; i < 4; i++) r |= (f(i) & 255u) << (8 * i);
    return r;
}
template <class F> unsigned halves(F f) { return (f(0) & 0xffffu) | (f(1) & 0xffffu) << 16; }
static int clamp(long long x, long long low, long long high) { return (int)std::min(std::max(x, low), high); }

int main() {
    const int n = 256;
    static unsigned a[n], b[n], c[n], out[functions * n], *da, *db, *dc, *dout;
    unsigned state = 7;
    for (int i = 0; i < n; i++) {
        for (unsigned *p : {&a[i], &b[i], &c[i]}) *p = (state = state * 1664525u + 1013904223u) ^ state >> 15;
        if (i % 5 == 0) b[i] &= 0x1f;
    }
    CUDA(cudaMalloc(&da, sizeof a));
    CUDA(cudaMalloc(&db, sizeof a));
    CUDA(cudaMalloc(&dc, sizeof a));
    CUDA(cudaMalloc(&dout, sizeof out));
    CUDA(cudaMemcpy(da, a, sizeof a, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(db, b, sizeof a, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(dc, c, sizeof a, cudaMemcpyHostToDevice));
    compute<<<1, n>>>(da, db, dc, dout, n);
    LAUNCHED();
    CUDA(cudaMemcpy(out, dout, sizeof out, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        unsigned x = a[i], y = b[i], z = c[i];
        unsigned sum = 0, less = 0;
        for (int k = 0; k < 4; k++) sum += abs(byte(x, k) - byte(y, k)), less += byte(x, k) < byte(y, k);
        // A sequence of halves of y and x: 0 and 1 are x's, 2 and 3 y's.
        auto lane = [&](int k) { return k < 2 ? shalf(x, k) : shalf(y, k - 2); };
        unsigned shift = std::min(byte(y, 2), 32);
        unsigned shifted = shift > 31 ? 0 : x >> shift;
        const unsigned expected[functions] = {
            bytes([&](int k) { return (unsigned)(byte(x, k) + byte(y, k)); }),
            bytes([&](int k) { return (unsigned)clamp(sbyte(x, k) - sbyte(y, k), -128, 127); }),
            bytes([&](int k) { return (unsigned)abs(byte(x, k) - byte(y, k)); }),
            halves([&](int k) { return (unsigned)std::max(shalf(x, k), shalf(y, k)); }),
            bytes([&](int k) { return (unsigned)(byte(x, k) + byte(y, k) + 1) / 2; }),
            bytes([&](int k) { return byte(x, k) > byte(y, k) ? 255u : 0u; }),
            sum,
            halves([&](int k) { return (unsigned)std::min(half(x, k) + half(y, k), 65535); }),
            sum + z,
            bytes([&](int k) { return (unsigned)clamp(sbyte(x, k) + sbyte(y, k), -128, 127); }),
            halves([&](int k) { return (unsigned)(half(x, k) + half(y, k) + 1) / 2; }),
            less + z,
            (unsigned)(shalf(x, 0) * shalf(y, 1)) + z,
            (unsigned)std::min(abs(shalf(x, 0) - shalf(y, 1)), (int)z),
            (z & ~0xff00u) | (shifted & 255) << 8,
            halves([&](int k) { return (unsigned)std::min(lane(k == 0 ? 2 : 1), lane(k == 0 ? 0 : 3)); }),
        };
        for (int f = 0; f < functions; f++) {
            if (out[f * n + i] != expected[f])
                FAIL("function %d of %08x, %08x, %08x is %08x, not %08x", f, x, y, z, out[f * n + i], expected[f]);
        }
    }
    return pass();
}
