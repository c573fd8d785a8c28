// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// printf in kernels: the text is on standard output once the host has synchronized.

#include "check_cuda.h"

__global__ void print(int i, double x, const char *text) {
    if (threadIdx.x % 10 == 3) printf("%d %5.2f %s|%-4u|%c|%lld%%\n", i + threadIdx.x, x, text, threadIdx.x, 'a' + threadIdx.x % 26, 1ll << 40);
}

__device__ char greeting[] = "from the device";

int main() {
    FILE *file = tmpfile();
    REQUIRE(file != nullptr);
    int standard_output = dup(1);
    fflush(stdout);
    dup2(fileno(file), 1);
    char *text;
    CUDA(cudaGetSymbolAddress((void **)&text, greeting));
    print<<<1, 20>>>(100, 2.5, text);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    fflush(stdout);
    dup2(standard_output, 1);
    rewind(file);
    const char *expected[] = {"103  2.50 from the device|3   |d|1099511627776%\n", "113  2.50 from the device|13  |n|1099511627776%\n"};
    char line[200];
    for (const char *wanted : expected) {
        REQUIRE(fgets(line, sizeof line, file) != nullptr);
        if (strcmp(line, wanted) != 0) FAIL("the kernel printed '%s', not '%s'", line, wanted);
    }
    REQUIRE(fgets(line, sizeof line, file) == nullptr);
    return pass();
}
