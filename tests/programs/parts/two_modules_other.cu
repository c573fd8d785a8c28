// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The other translation unit of two_modules.

#include "check_cuda.h"

namespace {
__device__ int variable = 7;
__global__ void kernel(int *result) { *result = variable++ * 100; }
} // namespace

void other_module(int *device, int *first, int *second) {
    for (int *result : {first, second}) {
        kernel<<<1, 1>>>(device);
        LAUNCHED();
        CUDA(cudaMemcpy(result, device, sizeof *result, cudaMemcpyDeviceToHost));
    }
}
