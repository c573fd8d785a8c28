// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Stream-ordered allocation: memory that is allocated, used and freed within the order of a stream.

#include "check_cuda.h"

__global__ void fill(int *values, int n, int value) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = value + i;
}

int main() {
    const int n = 5000;
    cudaStream_t stream;
    int *host, *device;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMallocHost(&host, n * sizeof(int)));
    for (int round = 0; round < 20; round++) {
        CUDA(cudaMallocAsync(&device, n * sizeof(int), stream));
        fill<<<blocks_for(n, 256), 256, 0, stream>>>(device, n, round);
        LAUNCHED();
        CUDA(cudaMemcpyAsync(host, device, n * sizeof(int), cudaMemcpyDeviceToHost, stream));
        CUDA(cudaFreeAsync(device, stream));
        CUDA(cudaStreamSynchronize(stream));
        for (int i = 0; i < n; i++) REQUIRE_ELEMENT(host[i], round + i, i);
    }
    // Allocated in the order of the stream, freed at once.
    CUDA(cudaMallocAsync(&device, 100, stream));
    CUDA(cudaStreamSynchronize(stream));
    CUDA(cudaFree(device));
    CUDA(cudaMallocAsync(&device, 0, stream));
    REQUIRE(device == nullptr);
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFreeHost(host));
    return pass();
}
