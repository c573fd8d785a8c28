// SPDX-License-Identifier: MIT OR Apache-2.0
//
// A program in the launch ABI of CUDA 9.2 and later; each abi_*.cu compiles it for one version of libcudart.
#pragma once

#include "../check.h"
#include "cuda_min.h"

struct Line {
    double slope;
    short offset;
};

// Parameters of several sizes, so that their layout matters.
__global__ void evaluate(char negate, Line line, double *values, unsigned n) {
    unsigned i = global_index();
    if (i < n) {
        double value = line.slope * i + line.offset;
        values[i] = negate ? -value : value;
    }
}

#define CUDA(call)                                                            \
    do {                                                                      \
        int result = (call);                                                  \
        if (result != cudaSuccess) FAIL("%s gives error %d", #call, result);  \
    } while (0)

int main() {
    const unsigned n = 777;
    double values[n], *device_values;
    CUDA(cudaMalloc((void **)&device_values, sizeof values));
    evaluate<<<dim3((n + 63) / 64), dim3(64)>>>(1, Line{0.5, 7}, device_values, n);
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(values, device_values, sizeof values, cudaMemcpyDeviceToHost));
    for (unsigned i = 0; i < n; i++) {
        double expected = -(0.5 * i + 7);
        if (values[i] != expected) FAIL("values[%u] is %f, not %f", i, values[i], expected);
    }
    CUDA(cudaFree(device_values));
    return pass();
}
