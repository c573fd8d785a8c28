// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// A kernel with an instruction that the CPU device cannot do, a sparse matrix product, is no kernel for this device; nothing runs.

#include "check_cuda.h"

__global__ void sparse_product(float *values) {
    float c0, c1, c2, c3;
    unsigned zero = 0;
    values[threadIdx.x] = -1;
    asm volatile("mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %4}, {%4, %4}, {%5, %5, %5, %5}, %4, 0x0;"
                 : "=f"(c0), "=f"(c1), "=f"(c2), "=f"(c3)
                 : "r"(zero), "f"(1.0f));
    values[threadIdx.x] = c0 + c1 + c2 + c3;
}

int main() {
    float values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    CUDA(cudaMemset(device, 0, sizeof values));
    sparse_product<<<1, 32>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
    EXPECT(cudaGetLastError(), cudaSuccess);
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE(values[i] == 0);
    CUDA(cudaFree(device));
    return pass();
}
