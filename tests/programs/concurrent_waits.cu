// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -Xcompiler -pthread
//
// A thread that waits must not hold back another: one waits for a stream whose host function finishes only when another thread
// has done a whole round of work on its own stream.

#include "check_cuda.h"
#include <atomic>
#include <thread>

__global__ void set(int *value, int to) { *value = to; }

static std::atomic<bool> waiting(false), finished(false);

static void CUDART_CB block(void *) {
    while (!finished) usleep(1000);
}

int main() {
    cudaStream_t held, other;
    int *device, *host;
    CUDA(cudaStreamCreateWithFlags(&held, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    CUDA(cudaMalloc(&device, sizeof *device));
    CUDA(cudaMallocHost(&host, sizeof *host));
    // The first launch loads the kernel, for which CUDA may wait for the whole device.
    set<<<1, 1, 0, other>>>(device, 0);
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaLaunchHostFunc(held, block, nullptr));
    std::thread waiter([held] {
        waiting = true;
        CUDA(cudaStreamSynchronize(held));
        REQUIRE(finished);
    });
    while (!waiting) usleep(100);
    usleep(20000); // most likely inside cudaStreamSynchronize by now
    EXPECT(cudaStreamQuery(held), cudaErrorNotReady);
    CUDA(cudaPeekAtLastError()); // which is no error to remember
    for (int round = 1; round <= 20; round++) {
        set<<<1, 1, 0, other>>>(device, round);
        CUDA(cudaMemcpyAsync(host, device, sizeof *host, cudaMemcpyDeviceToHost, other));
        CUDA(cudaStreamSynchronize(other));
        REQUIRE_EQUAL(*host, round);
    }
    finished = true;
    waiter.join();
    CUDA(cudaStreamQuery(held));
    return pass();
}
