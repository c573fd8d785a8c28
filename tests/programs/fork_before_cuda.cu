// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// fork() before the first CUDA call: parent and children each use CUDA, at the same time, in sessions of their own.

#include "check_cuda.h"
#include <sys/wait.h>
#include <vector>

__global__ void fill(int *values, int n, int value) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] = value + i;
}

static void use_cuda(int value) {
    const int n = 1000;
    std::vector<int> values(n);
    int *device;
    CUDA(cudaMalloc(&device, n * sizeof(int)));
    for (int round = 0; round < 10; round++) {
        fill<<<blocks_for(n, 128), 128>>>(device, n, value * 1000 + round);
        LAUNCHED();
        CUDA(cudaMemcpy(values.data(), device, n * sizeof(int), cudaMemcpyDeviceToHost));
        for (int i = 0; i < n; i++) REQUIRE_ELEMENT(values[i], value * 1000 + round + i, i);
    }
    CUDA(cudaFree(device));
}

int main() {
    const int CHILDREN = 3;
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        REQUIRE(children[i] >= 0);
        if (children[i] == 0) {
            use_cuda(i);
            exit(0);
        }
    }
    use_cuda(CHILDREN);
    for (pid_t child : children) {
        int status;
        REQUIRE(waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) FAIL("a child has status %#x", status);
    }
    use_cuda(7);
    return pass();
}
