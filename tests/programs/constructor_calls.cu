// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// CUDA in the constructor of a static object, before main, and in its destructor, after it.

#include "check_cuda.h"

__global__ void fill(int *values, int value) { values[threadIdx.x] = value; }

static struct Buffer {
    int *device = nullptr, devices = 0;
    Buffer() {
        CUDA(cudaGetDeviceCount(&devices));
        REQUIRE(devices >= 1);
        CUDA(cudaMalloc(&device, 64 * sizeof(int)));
        CUDA(cudaMemset(device, 0, 64 * sizeof(int)));
    }
    ~Buffer() { cudaFree(device); }
} buffer;

int main() {
    int values[64];
    fill<<<1, 64>>>(buffer.device, 9);
    LAUNCHED();
    CUDA(cudaMemcpy(values, buffer.device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) REQUIRE_ELEMENT(values[i], 9, i);
    return pass();
}
