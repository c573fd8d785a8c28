// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// A function that vcuda lacks returns cudaErrorNotSupported, claims nothing, and the program goes on.

#include "check_cuda.h"
#include <cuda.h>
#include <dlfcn.h>

__global__ void fill(int *values) { values[threadIdx.x] = 5; }

// The first call of a runtime that is linked in statically.
static void private_tables_are_not_there() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) FAIL("%s", dlerror());
    auto get = (CUresult(*)(const void **, const CUuuid *))dlsym(library, "cuGetExportTable");
    const void *table = nullptr;
    CUuuid any = {};
    REQUIRE(get && get(&table, &any) == CUDA_ERROR_NOT_SUPPORTED && !table);
}

int main() {
    private_tables_are_not_there();
    cudaGraphNode_t node = (cudaGraphNode_t)0x77;
    cudaGraphicsResource_t resource = (cudaGraphicsResource_t)0x77;
    for (int i = 0; i < 3; i++) {
        EXPECT_LAST(cudaGraphMemFreeNodeGetParams(node, nullptr), cudaErrorNotSupported);
        EXPECT_LAST(cudaGraphicsUnregisterResource(resource), cudaErrorNotSupported);
    }
    int values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    fill<<<1, 32>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE_ELEMENT(values[i], 5, i);
    return pass();
}
