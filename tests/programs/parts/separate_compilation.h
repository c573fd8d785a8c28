// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the units of separate_compilation share.
#pragma once

using Operation = int (*)(int);

extern __device__ int counters[4];
extern __constant__ int scale;
__device__ int square(int n);
__device__ Operation pick(int i);
int other_unit(int *device);

// A class with inline functions, which both units define.
struct Counter {
    int n;
    __device__ explicit Counter(int n) : n(n) {}
    __device__ __noinline__ int twice() { return 2 * n; }
};

// All threads of a block of 64 take part: how many there are.
inline __device__ __noinline__ int shared_sum(int i) {
    extern __shared__ int unused[];
    __shared__ int sum;
    if (i == 0) sum = 0;
    __syncthreads();
    atomicAdd(&sum, unused != nullptr);
    __syncthreads();
    return sum;
}
