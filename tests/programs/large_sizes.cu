// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Sizes and offsets beyond 4 GiB, without touching more than a few pages.

#include "check_cuda.h"

const size_t SIZE = ((size_t)4 << 30) + 8192;

__global__ void write(unsigned char *values, size_t index, unsigned char value) { values[index] = value; }

int main() {
    unsigned char *device, host[4096];
    size_t free_before, free_after, total;
    CUDA(cudaMemGetInfo(&free_before, &total));
    REQUIRE(free_before <= total);
    if (free_before < SIZE + ((size_t)64 << 20)) {
        // A device of 4 GiB: the allocation must fail as CUDA's would.
        EXPECT_LAST(cudaMalloc(&device, SIZE + total), cudaErrorMemoryAllocation);
        return pass();
    }
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMemGetInfo(&free_after, &total));
    REQUIRE(free_before - free_after >= SIZE);
    for (size_t i = 0; i < sizeof host; i++) host[i] = i * 7;
    CUDA(cudaMemset(device, 0x11, 4096));
    CUDA(cudaMemcpy(device + SIZE - 4096, host, 4096, cudaMemcpyHostToDevice));
    write<<<1, 1>>>(device, SIZE - 4096 + 5, 99);
    LAUNCHED();
    memset(host, 0, sizeof host);
    CUDA(cudaMemcpy(host, device + SIZE - 4096, 4096, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < sizeof host; i++) REQUIRE_ELEMENT(host[i], (unsigned char)(i == 5 ? 99 : i * 7), i);
    // 4 GiB further down, nothing was overwritten.
    CUDA(cudaMemcpy(host, device, 4096, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < sizeof host; i++) REQUIRE_ELEMENT(host[i], 0x11, i);
    EXPECT_LAST(cudaMemcpy(device + SIZE - 4095, host, 4096 + (1 << 21), cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    CUDA(cudaFree(device));
    CUDA(cudaMemGetInfo(&free_after, &total));
    REQUIRE(free_after + ((size_t)64 << 20) >= free_before);
    return pass();
}
