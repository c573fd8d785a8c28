// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Many small launches in a row, all of which must happen. Argument: how many.

#include "check_cuda.h"

__global__ void count(unsigned long long *counter, unsigned amount) {
    if (threadIdx.x == 0) *counter += amount;
}

int main(int argc, char **argv) {
    long launches = argument(argc, argv, 1, 20000);
    unsigned long long *counter, result, expected = 0;
    CUDA(cudaMalloc(&counter, sizeof *counter));
    CUDA(cudaMemset(counter, 0, sizeof *counter));
    for (long i = 0; i < launches; i++) {
        count<<<1, 32>>>(counter, i % 7);
        LAUNCHED();
        expected += i % 7;
    }
    CUDA(cudaMemcpy(&result, counter, sizeof result, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(result, expected);
    CUDA(cudaFree(counter));
    return pass();
}
