// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// A kernel that fails leaves its process without CUDA: the error comes from the next call that waits and from all calls after it,
// and no call clears it. Each failure happens in a child process; another child then finds the device in order. With the argument
// "assertion", only an assertion fails, and its message is on standard error. With "reset" and an error code, an allocation gives
// that after a reset: a GPU is lost to the process (46), the CPU device comes back (0).

#include "check_cuda.h"
#include <assert.h>
#include <sys/wait.h>

__global__ void write_to(int *pointer, size_t index) { pointer[index] = 1; }
__global__ void write_unaligned(char *pointer) { *(volatile int *)(pointer + 1) = 1; }
__global__ void trap() { __trap(); }
__global__ void assertion(int *pointer) { assert(pointer == nullptr); }

static int *device;

struct Failure {
    const char *name;
    void (*launch)();
    cudaError_t error;
};

static const Failure failures[] = {
    {"a write to address 0", [] { write_to<<<1, 1>>>(nullptr, 0); }, cudaErrorIllegalAddress},
    {"a write far outside of any allocation", [] { write_to<<<1, 1>>>(device, (size_t)1 << 45); }, cudaErrorIllegalAddress},
    {"an unaligned write", [] { write_unaligned<<<1, 1>>>((char *)device); }, cudaErrorMisalignedAddress},
    {"a trap", [] { trap<<<1, 1>>>(); }, cudaErrorLaunchFailure},
    {"a failed assertion", [] { assertion<<<1, 1>>>(device); }, cudaErrorAssert},
    {"nothing wrong", [] { write_to<<<1, 1>>>(device, 3); }, cudaSuccess},
};

static int check(const Failure &failure) {
    int value;
    void *pointer;
    CUDA(cudaMalloc(&device, 64));
    failure.launch();
    CUDA(cudaGetLastError()); // the launch itself was in order
    EXPECT(cudaDeviceSynchronize(), failure.error);
    EXPECT(cudaGetLastError(), failure.error);
    EXPECT(cudaDeviceSynchronize(), failure.error);
    EXPECT(cudaMalloc(&pointer, 64), failure.error);
    EXPECT(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost), failure.error);
    EXPECT(cudaGetLastError(), failure.error);
    EXPECT(cudaPeekAtLastError(), cudaSuccess); // fetched, and yet:
    failure.launch();
    EXPECT(cudaGetLastError(), failure.error);
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 2) {
        REQUIRE(strcmp(argv[1], "reset") == 0);
        int devices;
        CUDA(cudaGetDeviceCount(&devices));
        for (int d = 0; d < devices; d++) {
            CUDA(cudaSetDevice(d));
            CUDA(cudaMalloc(&device, 64));
        }
        trap<<<1, 1>>>();
        EXPECT(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
        CUDA(cudaDeviceReset());
        EXPECT(cudaGetLastError(), cudaErrorLaunchFailure);
        for (int round = 0; round < 2; round++) {
            EXPECT(cudaMalloc(&device, 64), (cudaError_t)atoi(argv[2]));
            CUDA(cudaDeviceReset());
        }
        // The other devices are lost with the first, or not.
        if (devices > 1) CUDA(cudaSetDevice(0));
        if (devices > 1) EXPECT(cudaMalloc(&device, 64), atoi(argv[2]) ? cudaErrorLaunchFailure : cudaSuccess);
        return pass();
    }
    if (argc > 1) {
        REQUIRE(strcmp(argv[1], "assertion") == 0);
        CUDA(cudaMalloc(&device, 64));
        assertion<<<1, 1>>>(device);
        EXPECT(cudaDeviceSynchronize(), cudaErrorAssert);
        return pass();
    }
    for (const Failure &failure : failures) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            if (failure.error == cudaErrorAssert) REQUIRE(freopen("/dev/null", "w", stderr)); // the message is not of interest here
            exit(check(failure));
        }
        int status;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) FAIL("the child of '%s' has status %#x", failure.name, status);
    }
    return pass();
}
