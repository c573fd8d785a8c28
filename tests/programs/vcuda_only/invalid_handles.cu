// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Handles that never existed, or exist no more, give an error. (NVIDIA's driver follows some of them and crashes.)

#include "check_cuda.h"

__global__ void nothing() {}

static void streams(cudaStream_t stream) {
    unsigned flags;
    EXPECT_LAST(cudaStreamSynchronize(stream), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamQuery(stream), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamGetFlags(stream, &flags), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamDestroy(stream), cudaErrorInvalidResourceHandle);
    nothing<<<1, 1, 0, stream>>>();
    EXPECT(cudaGetLastError(), cudaErrorInvalidResourceHandle);
}

static void events(cudaEvent_t event, cudaEvent_t good) {
    float milliseconds;
    EXPECT_LAST(cudaEventRecord(event, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventSynchronize(event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventQuery(event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamWaitEvent(0, event, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, event, good), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, good, event), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventDestroy(event), cudaErrorInvalidResourceHandle);
}

int main() {
    cudaStream_t stream;
    cudaEvent_t event, good;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaEventCreate(&event));
    CUDA(cudaEventCreate(&good));
    CUDA(cudaEventRecord(good, 0));
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaEventDestroy(event));
    streams(stream);
    events(event, good);
    // Pointers into the program, odd numbers, the other kind of handle.
    static char memory[256];
    const unsigned long long numbers[] = {3, 17, 0x7fffffff, 0xdeadbeef, 0x123456789abcdef0, ~0ull, (unsigned long long)memory};
    for (unsigned long long number : numbers) {
        streams((cudaStream_t)number);
        events((cudaEvent_t)number, good);
    }
    streams((cudaStream_t)good);
    CUDA(cudaStreamCreate(&stream));
    events((cudaEvent_t)stream, good);
    nothing<<<1, 1, 0, stream>>>();
    LAUNCHED();
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaDeviceSynchronize());
    return pass();
}
