// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -rdc=true parts/separate_compilation_other.cu
//
// Two translation units that are linked (-rdc=true): functions, variables and function pointers of one are used in the other,
// and each has names of its own that the other has too.

#include "check_cuda.h"
#include "parts/separate_compilation.h"

static __device__ int own = 1;
static __device__ __noinline__ int local_number(int n) { return n + own; }
__constant__ Operation chosen[2] = {square, nullptr};

__global__ void across(int *results) {
    int i = threadIdx.x;
    Counter counter(i);
    results[i] = square(i) + counters[i % 4] + scale + local_number(1000) + counter.twice() + pick(i)(i) + chosen[0](2) + shared_sum(i);
    atomicAdd(&counters[3], 1);
    if (i == 0) printf("from the first unit: %s\n", "text");
}

static int picked(int i) { return i % 2 ? i * i : -i; }

int main() {
    int factors = 7;
    CUDA(cudaMemcpyToSymbol(scale, &factors, sizeof factors));
    int *device, host[64];
    CUDA(cudaMalloc(&device, sizeof host));
    across<<<1, 64>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++)
        REQUIRE_ELEMENT(host[i], i * i + 10 * (i % 4 + 1) + 7 + 1001 + 2 * i + picked(i) + 4 + 64, i);
    REQUIRE_EQUAL(other_unit(device), (40 + 64) * 1000 + 5);
    int counted[4];
    CUDA(cudaMemcpyFromSymbol(counted, counters, sizeof counted));
    REQUIRE_EQUAL(counted[0], 10);
    REQUIRE_EQUAL(counted[3], 40 + 64);
    return pass();
}
