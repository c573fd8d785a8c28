// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// CUDA_VISIBLE_DEVICES, read when CUDA is first used.

#include "check_cuda.h"
#include <sys/wait.h>


static int count() {
    int devices = -1;
    cudaError_t result = cudaGetDeviceCount(&devices);
    if (result == cudaErrorNoDevice) return 0;
    CUDA(result);
    REQUIRE(devices >= 1);
    void *pointer;
    CUDA(cudaMalloc(&pointer, 16));
    return devices;
}

// In a process of its own, since the variable is read once.
static int count_with(const char *visible) {
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        if (visible) {
            setenv("CUDA_VISIBLE_DEVICES", visible, 1);
        } else {
            unsetenv("CUDA_VISIBLE_DEVICES");
        }
        exit(100 + count());
    }
    int status;
    REQUIRE(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) < 100) FAIL("with '%s' the child has status %#x", visible ? visible : "", status);
    return WEXITSTATUS(status) - 100;
}

int main() {
    int all = count_with(nullptr);
    REQUIRE(all >= 1);
    const struct {
        const char *visible;
        int devices;
    } cases[] = {{"0", 1}, {"", 0}, {"-1", 0}, {"99", 0}, {"0,99", 1}, {"99,0", 0}, {"0,-1,0", 1}, {"none", 0}};
    for (const auto &given : cases) {
        int devices = count_with(given.visible);
        if (devices != given.devices) FAIL("CUDA_VISIBLE_DEVICES='%s' shows %d devices, not %d", given.visible, devices, given.devices);
    }
    return pass();
}
