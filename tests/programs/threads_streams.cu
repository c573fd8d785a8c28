// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -Xcompiler -pthread
//
// Eight host threads, each with a stream and memory of its own. Arguments: threads, rounds.

#include "check_cuda.h"
#include <thread>
#include <vector>

__global__ void step(int *values, int n, int add) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = values[i] * 3 + add;
}

static void work(int thread, int rounds) {
    const int n = 500 + thread;
    std::vector<int> expected(n);
    int *host, *device;
    cudaStream_t stream;
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaMallocHost(&host, n * sizeof(int)));
    CUDA(cudaMalloc(&device, n * sizeof(int)));
    for (int i = 0; i < n; i++) host[i] = expected[i] = i;
    for (int round = 0; round < rounds; round++) {
        CUDA(cudaMemcpyAsync(device, host, n * sizeof(int), cudaMemcpyHostToDevice, stream));
        step<<<blocks_for(n, 64), 64, 0, stream>>>(device, n, thread);
        step<<<blocks_for(n, 64), 64, 0, stream>>>(device, n, round);
        LAUNCHED();
        CUDA(cudaMemcpyAsync(host, device, n * sizeof(int), cudaMemcpyDeviceToHost, stream));
        CUDA(cudaStreamSynchronize(stream));
        for (int i = 0; i < n; i++) {
            expected[i] = (int)(((unsigned)expected[i] * 3 + thread) * 3 + round);
            REQUIRE_ELEMENT(host[i], expected[i], i);
        }
        // An error belongs to the thread that made it.
        EXPECT_LAST(cudaSetDevice(999), cudaErrorInvalidDevice);
    }
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFreeHost(host));
    CUDA(cudaFree(device));
}

int main(int argc, char **argv) {
    int count = argument(argc, argv, 1, 8), rounds = argument(argc, argv, 2, 25);
    std::vector<std::thread> threads;
    for (int i = 0; i < count; i++) threads.emplace_back(work, i, rounds);
    for (std::thread &thread : threads) thread.join();
    CUDA(cudaGetLastError());
    CUDA(cudaDeviceSynchronize());
    return pass();
}
