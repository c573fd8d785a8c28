// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The other translation unit of separate_compilation.

#include "check_cuda.h"
#include "separate_compilation.h"

__device__ int counters[4] = {10, 20, 30, 40};
__constant__ int scale;

static __device__ int own = 5;
static __device__ __noinline__ int local_number(int n) { return n + own; }
static __device__ int negative(int n) { return -n; }

__device__ int square(int n) { return n * n; }
__device__ Operation pick(int i) { return i % 2 ? square : negative; }

__global__ void second(int *result) {
    Counter counter(500);
    *result = local_number(counters[3] * counter.twice());
    printf("from the second unit: %s\n", "words");
}

int other_unit(int *device) {
    second<<<1, 1>>>(device);
    LAUNCHED();
    int result;
    CUDA(cudaMemcpy(&result, device, sizeof result, cudaMemcpyDeviceToHost));
    return result;
}
