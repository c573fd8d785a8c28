// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Integers of every width: division, shifts, high products, bit counts, bit fields, permutation of bytes, carries, conversions.

#include "check_cuda.h"
#include <vector>

typedef unsigned long long u64;
typedef long long i64;

__global__ void evaluate(const u64 *as, const u64 *bs, u64 *results, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    u64 a = as[i], b = bs[i];
    unsigned a32 = a, b32 = b;
    int s = threadIdx.x;
    u64 *result = results + i;
    auto put = [&](u64 value) { *result = value, result += n; };
    put(a / (b | 1)), put(a % (b | 1)), put((i64)a / (i64)(b | 1)), put((i64)a % (i64)(b | 1));
    put(a32 / (b32 | 1)), put((int)a32 / (int)(b32 | 1)), put((int)a32 % (int)(b32 | 1));
    put(__umul64hi(a, b)), put(__mul64hi(a, b)), put(__umulhi(a32, b32)), put((unsigned)__mulhi((int)a32, (int)b32));
    put(__popc(a32)), put(__popcll(a)), put(__clz(a32)), put(__clzll(a)), put(__ffs(a32)), put(__ffsll(a));
    put(__brev(a32)), put(__brevll(a)), put(__byte_perm(a32, b32, 0x5163)), put(__funnelshift_l(a32, b32, s));
    put(a << s), put(a >> s), put((u64)((i64)a >> s)), put(a32 << s % 32), put((unsigned)((int)a32 >> s % 32));
    put((u64)(i64)(signed char)a), put((u64)(i64)(short)a), put((unsigned short)a + (unsigned char)b);
    put(__sad((int)a32, (int)b32, 3u)), put(min((int)a32, (int)b32)), put(max(a, b)), put((u64)llabs((i64)a));
    put(__dp4a((int)a32, (int)b32, 7)), put(__vadd4(a32, b32)), put(__hadd((int)a32, (int)b32));
    unsigned field;
    asm("bfe.u32 %0, %1, 5, 11;" : "=r"(field) : "r"(a32));
    put(field);
    asm("bfi.b32 %0, %1, %2, 7, 9;" : "=r"(field) : "r"(a32), "r"(b32));
    put(field);
    unsigned low, high; // a 64-bit sum of 32-bit halves with carry
    asm("add.cc.u32 %0, %2, %4; addc.u32 %1, %3, %5;" : "=r"(low), "=r"(high) : "r"(a32), "r"((unsigned)(a >> 32)), "r"(b32), "r"((unsigned)(b >> 32)));
    put((u64)high << 32 | low);
    asm("lop3.b32 %0, %1, %2, %3, 0x96;" : "=r"(field) : "r"(a32), "r"(b32), "r"(0x0f0f0f0fu));
    put(field);
    put((u64)(unsigned)__float2int_rn((float)(int)(a32 >> 8) * 0.5f)), put((u64)__double2ll_rz((double)(i64)(a >> 12) / 3));
}

static u64 reverse(u64 value, int bits) {
    u64 result = 0;
    for (int i = 0; i < bits; i++) result |= (value >> i & 1) << (bits - 1 - i);
    return result;
}

static std::vector<u64> reference(u64 a, u64 b, int s) {
    unsigned a32 = a, b32 = b;
    unsigned char bytes[8];
    memcpy(bytes, &a32, 4), memcpy(bytes + 4, &b32, 4);
    int dot = 7;
    unsigned lanes = 0;
    for (int i = 0; i < 4; i++) {
        dot += (signed char)bytes[i] * (signed char)bytes[4 + i];
        lanes |= (unsigned)(unsigned char)(bytes[i] + bytes[4 + i]) << 8 * i;
    }
    i64 difference = (i64)(int)a32 - (int)b32;
    double half = (int)(a32 >> 8) * 0.5;
    return {
        a / (b | 1), a % (b | 1), (u64)((i64)a / (i64)(b | 1)), (u64)((i64)a % (i64)(b | 1)),
        a32 / (b32 | 1), (u64)(i64)((int)a32 / (int)(b32 | 1)), (u64)(i64)((int)a32 % (int)(b32 | 1)),
        (u64)((unsigned __int128)a * b >> 64), (u64)((__int128)(i64)a * (i64)b >> 64), (u64)a32 * b32 >> 32, (unsigned)((i64)(int)a32 * (int)b32 >> 32),
        (u64)__builtin_popcount(a32), (u64)__builtin_popcountll(a), a32 ? (u64)__builtin_clz(a32) : 32, a ? (u64)__builtin_clzll(a) : 64,
        (u64)__builtin_ffs(a32), (u64)__builtin_ffsll(a),
        reverse(a32, 32), reverse(a, 64), (u64)bytes[3] | (u64)bytes[6] << 8 | (u64)bytes[1] << 16 | (u64)bytes[5] << 24,
        (unsigned)((((u64)b32 << 32 | a32) << s % 32) >> 32),
        a << s, a >> s, (u64)((i64)a >> s), a32 << s % 32, (unsigned)((int)a32 >> s % 32),
        (u64)(i64)(signed char)a, (u64)(i64)(short)a, (u64)((unsigned short)a + (unsigned char)b),
        (unsigned)((difference < 0 ? -difference : difference) + 3), (u64)(i64)((int)a32 < (int)b32 ? (int)a32 : (int)b32), a > b ? a : b, (i64)a < 0 ? -a : a,
        (u64)(i64)dot, lanes, (u64)(((i64)(int)a32 + (int)b32) >> 1),
        a32 >> 5 & 0x7ff, (b32 & ~(0x1ffu << 7)) | (a32 & 0x1ff) << 7, a + b, a32 ^ b32 ^ 0x0f0f0f0f,
        (u64)(unsigned)(int)__builtin_rint(half), (u64)(i64)((double)(i64)(a >> 12) / 3),
    };
}

int main() {
    const int n = 64;
    std::vector<u64> a(n), b(n);
    u64 state = 88172645463325252ull;
    auto random = [&] { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; };
    for (int i = 0; i < n; i++) a[i] = random(), b[i] = random() >> i % 50;
    a[0] = 0, a[1] = 1, a[2] = ~0ull, a[3] = 1ull << 63, b[2] = 2, b[3] = 4;
    size_t functions = reference(0, 0, 0).size();
    std::vector<u64> results(functions * n);
    u64 *device_a, *device_b, *device_results;
    CUDA(cudaMalloc(&device_a, n * sizeof(u64)));
    CUDA(cudaMalloc(&device_b, n * sizeof(u64)));
    CUDA(cudaMalloc(&device_results, results.size() * sizeof(u64)));
    CUDA(cudaMemcpy(device_a, a.data(), n * sizeof(u64), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), n * sizeof(u64), cudaMemcpyHostToDevice));
    evaluate<<<1, n>>>(device_a, device_b, device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results.data(), device_results, results.size() * sizeof(u64), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        std::vector<u64> expected = reference(a[i], b[i], i);
        for (size_t f = 0; f < functions; f++) {
            if (results[f * n + i] != expected[f])
                FAIL("function %zu of (%#llx, %#llx) is %#llx, not %#llx", f, a[i], b[i], results[f * n + i], expected[f]);
        }
    }
    return pass();
}
