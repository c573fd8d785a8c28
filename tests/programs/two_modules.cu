// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 --compress-mode=balance parts/two_modules_other.cu
//
// A program of two translation units, each with a fat binary of its own, and with kernels and variables of the same names.

#include "check_cuda.h"

namespace {
__device__ int variable = 1;
__global__ void kernel(int *result) { *result = variable++ * 10; }
} // namespace

void other_module(int *device, int *first, int *second); // parts/two_modules_other.cu

static int run(int *device) {
    int result;
    kernel<<<1, 1>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(&result, device, sizeof result, cudaMemcpyDeviceToHost));
    return result;
}

int main() {
    int *device, first, second;
    CUDA(cudaMalloc(&device, sizeof(int)));
    REQUIRE_EQUAL(run(device), 10);
    other_module(device, &first, &second);
    REQUIRE_EQUAL(first, 700);
    REQUIRE_EQUAL(second, 800);
    REQUIRE_EQUAL(run(device), 20);
    return pass();
}
