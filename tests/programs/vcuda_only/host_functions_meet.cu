// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -Xcompiler -pthread
//
// Functions of different streams that wait for each other. CUDA does not promise that they can.

#include "check_cuda.h"
#include <atomic>
#include <thread>

const int STREAMS = 6, ROUNDS = 50;

static std::atomic<int> arrived(0);

// Returns only when a function of each stream has come.
static void CUDART_CB meet(void *) {
    int round = arrived++ / STREAMS;
    while (arrived < (round + 1) * STREAMS) std::this_thread::yield();
}

int main() {
    cudaStream_t streams[STREAMS];
    for (auto &stream : streams) CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int round = 0; round < ROUNDS; round++) {
        for (auto &stream : streams) CUDA(cudaLaunchHostFunc(stream, meet, nullptr));
    }
    CUDA(cudaDeviceSynchronize());
    REQUIRE_EQUAL(arrived, ROUNDS * STREAMS);
    for (auto &stream : streams) CUDA(cudaStreamDestroy(stream));
    return pass();
}
