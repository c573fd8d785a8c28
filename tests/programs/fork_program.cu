// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// fork() in a program that uses CUDA. CUDA is not usable in the child, which must be told so by an error; whatever the child does,
// and however it ends, the parent goes on undisturbed.

#include "check_cuda.h"
#include <sys/wait.h>

const int N = 256;

__global__ void add(int *values, int amount) { values[threadIdx.x] += amount; }

static int *device;

static void step(int expected) {
    int values[N];
    add<<<1, N>>>(device, 1);
    LAUNCHED();
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(values[i], expected, i);
}

template <typename Child> static void in_child(const char *what, Child child) {
    fflush(stdout);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        child();
        FAIL("the child that should end by %s goes on", what);
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) FAIL("the child that should end by %s has status %#x", what, status);
}

int main() {
    CUDA(cudaMalloc(&device, N * sizeof(int)));
    CUDA(cudaMemset(device, 0, N * sizeof(int)));
    step(1);
    in_child("_exit", [] { _exit(0); });
    step(2);
    in_child("exit", [] { exit(0); });
    step(3);
    in_child("_exit after CUDA calls", [] {
        int *pointer, value;
        REQUIRE(cudaMalloc(&pointer, 16) != cudaSuccess);
        REQUIRE(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost) != cudaSuccess);
        REQUIRE(cudaDeviceSynchronize() != cudaSuccess);
        REQUIRE(cudaGetErrorString(cudaErrorInvalidValue) != nullptr);
        _exit(0);
    });
    step(4);
    in_child("exec", [] {
        execl("/bin/true", "true", (char *)nullptr);
        _exit(1);
    });
    step(5);

    // With work in flight, and with a child that outlives what the parent does next.
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    for (int i = 0; i < 50; i++) add<<<1, N>>>(device, 1);
    pid_t pid = fork();
    if (pid == 0) {
        char byte;
        close(ready[1]);
        _exit(read(ready[0], &byte, 1) == 1 ? 0 : 1);
    }
    step(56);
    REQUIRE(write(ready[1], "x", 1) == 1);
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    step(57);
    CUDA(cudaFree(device));
    return pass();
}
