// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// A large copy there, across and back, from pageable and from pinned memory. Argument: MiB.

#include "check_cuda.h"

__global__ void increment(unsigned *values, size_t n) {
    size_t stride = (size_t)gridDim.x * blockDim.x;
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += stride * 1024) values[i]++;
}

static void there_and_back(unsigned *host, size_t size) {
    size_t n = size / sizeof(unsigned);
    const int blocks = 4, threads = 64, stride = blocks * threads;
    unsigned *a, *b;
    for (size_t i = 0; i < n; i++) host[i] = (unsigned)(i * 2654435761u);
    CUDA(cudaMalloc(&a, size));
    CUDA(cudaMalloc(&b, size));
    CUDA(cudaMemcpy(a, host, size, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(b, a, size, cudaMemcpyDeviceToDevice));
    increment<<<blocks, threads>>>(b, n); // a few of the elements
    LAUNCHED();
    memset(host, 0, size);
    CUDA(cudaMemcpy(host, b, size, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++) {
        bool touched = i % ((size_t)stride * 1024) < stride;
        REQUIRE_ELEMENT(host[i], (unsigned)(i * 2654435761u) + touched, i);
    }
    CUDA(cudaFree(a));
    CUDA(cudaFree(b));
}

int main(int argc, char **argv) {
    size_t size = (size_t)argument(argc, argv, 1, 24) << 20;
    unsigned *pageable = (unsigned *)malloc(size), *pinned;
    REQUIRE(pageable != nullptr);
    there_and_back(pageable, size);
    free(pageable);
    CUDA(cudaMallocHost(&pinned, size));
    there_and_back(pinned, size);
    CUDA(cudaFreeHost(pinned));
    return pass();
}
