// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// __half and __nv_bfloat16, single and in pairs: conversions with rounding, arithmetic, comparison.

#include "check_cuda.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <vector>

__global__ void halves(const float *x, float *results, int n) {
    int i = threadIdx.x;
    __half a = __float2half_rn(x[i]), b = __float2half_rn(x[n - 1 - i]);
    __half2 pair = __hfma2(__halves2half2(a, b), __halves2half2(b, b), __halves2half2(a, a));
    results[i] = __half2float(a);
    results[n + i] = __half2float(a + b);
    results[2 * n + i] = __low2float(pair);
    results[3 * n + i] = __high2float(pair);
    results[4 * n + i] = (a < b) + 2 * (a == a) + 4 * __half2int_rn(a);
}

__global__ void bfloats(const float *x, float *results, int n) {
    int i = threadIdx.x;
    __nv_bfloat16 a = __float2bfloat16_rn(x[i]), b = __float2bfloat16_rn(x[n - 1 - i]);
    results[i] = __bfloat162float(a);
    results[n + i] = __bfloat162float(__hmul(a, b));
}

// To the nearest number with `bits` bits of mantissa, ties to even.
static float round_to(double value, int bits) {
    int exponent;
    frexp(value, &exponent);
    return ldexp(rint(ldexp(value, bits - exponent)), exponent - bits);
}

int main() {
    const int n = 64;
    float x[n], results[5 * n], *device_x, *device_results;
    for (int i = 0; i < n; i++) x[i] = (i - 30) * 1.0371f + 0.3f;
    CUDA(cudaMalloc(&device_x, sizeof x));
    CUDA(cudaMalloc(&device_results, sizeof results));
    CUDA(cudaMemcpy(device_x, x, sizeof x, cudaMemcpyHostToDevice));
    halves<<<1, n>>>(device_x, device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        double a = round_to(x[i], 11), b = round_to(x[n - 1 - i], 11);
        const float expected[5] = {(float)a, round_to(a + b, 11), round_to(a * b + a, 11), round_to(b * b + a, 11),
                                   (a < b) + 2 + 4 * (float)rint(a)};
        for (int f = 0; f < 5; f++) {
            if (results[f * n + i] != expected[f]) FAIL("half function %d of element %d is %g, not %g", f, i, results[f * n + i], expected[f]);
        }
    }
    bfloats<<<1, n>>>(device_x, device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        double a = round_to(x[i], 8), b = round_to(x[n - 1 - i], 8);
        const float expected[2] = {(float)a, round_to(a * b, 8)};
        for (int f = 0; f < 2; f++) {
            if (results[f * n + i] != expected[f]) FAIL("bfloat16 function %d of element %d is %g, not %g", f, i, results[f * n + i], expected[f]);
        }
    }
    return pass();
}
