// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_121,code=compute_121
//
// Code for a newer architecture than the device's is no code at all: launches say so, and the rest of CUDA works on.

#include "check_cuda.h"

__global__ void fill(int *values) { values[threadIdx.x] = 1; }

int main() {
    cudaDeviceProp properties;
    CUDA(cudaGetDeviceProperties(&properties, 0));
    if (properties.major * 10 + properties.minor >= 121) return pass(); // this device is new enough
    int value = -1, *device;
    CUDA(cudaMalloc(&device, 64 * sizeof(int)));
    CUDA(cudaMemset(device, 0, 64 * sizeof(int)));
    fill<<<1, 64>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
    EXPECT(cudaGetLastError(), cudaSuccess);
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(value, 0);
    CUDA(cudaFree(device));
    return pass();
}
