// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_86,code=sm_86
//
// A program that holds machine code and no PTX has no kernel for a CPU.

#include "check_cuda.h"

__global__ void fill(int *out) { out[threadIdx.x] = 1; }

int main() {
    int values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    CUDA(cudaMemset(device, 0, sizeof values));
    fill<<<1, 32>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
    EXPECT(cudaGetLastError(), cudaSuccess);
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE(values[i] == 0);
    CUDA(cudaFree(device));
    return pass();
}
