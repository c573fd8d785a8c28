// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 --default-stream per-thread -Xcompiler -pthread
//
// With a default stream for each thread, launches without a stream are ordered within a thread and not across threads.

#include "check_cuda.h"
#include <atomic>
#include <thread>

__global__ void add(int *value, int amount) { *value += amount; }

static std::atomic<bool> finished(false);

static void CUDART_CB block(void *) {
    while (!finished) usleep(1000);
}

static void work(int *device, int thread) {
    CUDA(cudaMemset(device, 0, sizeof *device));
    for (int i = 0; i < 50; i++) add<<<1, 1>>>(device, thread);
    LAUNCHED();
    int value;
    CUDA(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(value, 50 * thread);
    CUDA(cudaStreamSynchronize(0));
}

int main() {
    // What may wait for the whole device comes first: allocation, and the first launch, which loads the kernel.
    int *device;
    CUDA(cudaMalloc(&device, 2 * sizeof *device));
    add<<<1, 1>>>(device, 0);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    // This thread's default stream is held; those of the others must not be.
    CUDA(cudaLaunchHostFunc(0, block, nullptr));
    std::thread first(work, device, 1), second(work, device + 1, 2);
    first.join();
    second.join();
    EXPECT(cudaStreamQuery(0), cudaErrorNotReady);
    finished = true;
    CUDA(cudaStreamSynchronize(0));
    CUDA(cudaStreamQuery(0));
    return pass();
}
