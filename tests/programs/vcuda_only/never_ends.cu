// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -lineinfo
//
// Kernels that would never end. Without an argument: a barrier that can never complete, which is an error with a report. With
// "endless": a loop, which VCUDA_CPU_TIME_LIMIT ends.

#include "check_cuda.h"

// The second warp waits at another barrier than all others.
__global__ void two_barriers() {
    if (threadIdx.x / 32 == 1) {
        asm volatile("barrier.sync 1;"); // THE OTHER BARRIER
    } else {
        __syncthreads();
    }
}

// Half of the warp waits for a shuffle of all, the others for a barrier.
__global__ void shuffle_and_barrier(int *out) {
    if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0xffffffff, threadIdx.x, 20);
    else asm volatile("barrier.sync 0;");
}

__global__ void endless(volatile int *go_on) {
    while (*go_on == 0) {
    }
}

int main(int argc, char **argv) {
    int *memory;
    CUDA(cudaMalloc(&memory, 64));
    CUDA(cudaMemset(memory, 0, 64));
    if (argc > 1 && strcmp(argv[1], "endless") == 0) {
        endless<<<4, 64>>>(memory);
        EXPECT(cudaDeviceSynchronize(), cudaErrorLaunchTimeout);
        EXPECT(cudaGetLastError(), cudaErrorLaunchTimeout);
        return pass();
    }
    if (argc > 1) {
        REQUIRE(strcmp(argv[1], "shuffle") == 0);
        shuffle_and_barrier<<<1, 32>>>(memory);
    } else {
        two_barriers<<<2, 96>>>();
    }
    EXPECT(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    return pass();
}
