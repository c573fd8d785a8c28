// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Lanes of one warp that wait for each other get on: independent thread scheduling (CUDA C++ Programming Guide, "Independent Thread
// Scheduling").

#include "check_cuda.h"

// Every thread of the grid adds to a plain counter under one spin lock.
__global__ void count_under_a_lock(int *lock, volatile int *counter) {
    bool done = false;
    while (!done) {
        if (atomicCAS(lock, 0, 1) == 0) {
            __threadfence();
            *counter = *counter + 1;
            __threadfence();
            atomicExch(lock, 0);
            done = true;
        }
    }
}

// The same, written in the way that never ends on hardware without independent thread scheduling.
__global__ void count_after_spinning(int *lock, volatile int *counter) {
    while (atomicCAS(lock, 0, 1) != 0) {
    }
    __threadfence();
    *counter = *counter + 1;
    __threadfence();
    atomicExch(lock, 0);
}

// A token goes from the last lane of the block to the first, one after the other.
__global__ void pass_a_token(volatile int *order) {
    __shared__ volatile int turn;
    if (threadIdx.x == 0) turn = blockDim.x - 1;
    __syncthreads();
    while (turn != threadIdx.x) {
    }
    order[blockDim.x - 1 - threadIdx.x] = threadIdx.x;
    __threadfence_block();
    turn = threadIdx.x - 1;
}

// Odd lanes produce what even lanes wait for, many times.
__global__ void ping_pong(int *sums) {
    __shared__ volatile int mailbox[64];
    mailbox[threadIdx.x] = -1;
    __syncthreads();
    int sum = 0;
    for (int round = 0; round < 20; round++) {
        if (threadIdx.x % 2) {
            while (mailbox[threadIdx.x - 1] != -1) {
            }
            mailbox[threadIdx.x - 1] = round * 100 + threadIdx.x;
        } else {
            int value;
            while ((value = mailbox[threadIdx.x]) == -1) {
            }
            sum += value;
            mailbox[threadIdx.x] = -1;
        }
    }
    sums[threadIdx.x] = sum;
}

int main() {
    int *lock, *values, host[256];
    CUDA(cudaMalloc(&lock, sizeof(int)));
    CUDA(cudaMalloc(&values, sizeof host));
    for (auto kernel : {count_under_a_lock, count_after_spinning}) {
        CUDA(cudaMemset(lock, 0, sizeof(int)));
        CUDA(cudaMemset(values, 0, sizeof host));
        kernel<<<3, 96>>>(lock, values);
        CUDA(cudaMemcpy(host, values, sizeof(int), cudaMemcpyDeviceToHost));
        REQUIRE(host[0] == 3 * 96);
    }
    pass_a_token<<<1, 96>>>(values);
    CUDA(cudaMemcpy(host, values, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 96; i++) REQUIRE(host[i] == 95 - i);
    ping_pong<<<1, 64>>>(values);
    CUDA(cudaMemcpy(host, values, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) REQUIRE(host[i] == (i % 2 ? 0 : 100 * 190 + 20 * (i + 1)));
    CUDA(cudaFree(lock));
    CUDA(cudaFree(values));
    return pass();
}
