// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// The Runtime API and the Driver API in one program: each uses what the other made, and both mean one current context.

#include "check_cuda.h"
#include <cuda.h>
#include <dlfcn.h>
#include <thread>

__global__ void add(int *values, int amount) { values[threadIdx.x] += amount; }

#define CU(call)                                                      \
    do {                                                              \
        CUresult result_ = (call);                                    \
        if (result_ != CUDA_SUCCESS) FAIL("%s gives %d", #call, (int)result_); \
    } while (0)

// The headers give many functions a versioned name by a macro, which this expands.
#define NAME_(name) #name
#define NAME(name) NAME_(name)
#define FIND(name) decltype(&name) driver_##name = (decltype(&name))dlsym(library, NAME(name))

int main() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) FAIL("%s", dlerror());
    FIND(cuInit);
    FIND(cuCtxGetCurrent);
    FIND(cuCtxSynchronize);
    auto driver_create = (CUresult(*)(CUcontext *, unsigned, CUdevice))dlsym(library, "cuCtxCreate_v2");
    auto driver_destroy = (CUresult(*)(CUcontext))dlsym(library, "cuCtxDestroy_v2");
    auto driver_pop = (CUresult(*)(CUcontext *))dlsym(library, "cuCtxPopCurrent_v2");
    auto driver_allocate = (CUresult(*)(CUdeviceptr *, size_t))dlsym(library, "cuMemAlloc_v2");
    auto driver_free = (CUresult(*)(CUdeviceptr))dlsym(library, "cuMemFree_v2");
    auto driver_release = (CUresult(*)(CUdevice))dlsym(library, "cuDevicePrimaryCtxRelease_v2");
    FIND(cuDevicePrimaryCtxRetain);
    FIND(cuDevicePrimaryCtxGetState);
    FIND(cuLaunchKernel);

    CUcontext primary, current, created;
    CU(driver_cuInit(0));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == nullptr);
    CUDA(cudaSetDevice(0));
    CU(driver_cuDevicePrimaryCtxRetain(&primary, 0));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == primary);
    CU(driver_release(0)); // the Runtime API still uses it
    CU(driver_cuCtxSynchronize());

    // Memory and kernels of one in the other.
    int *values, host[32], amount = 5;
    CUDA(cudaMalloc(&values, sizeof host));
    CUDA(cudaMemset(values, 0, sizeof host));
    cudaFunction_t function;
    CUDA(cudaGetFuncBySymbol(&function, (const void *)add));
    void *parameters[] = {&values, &amount};
    CU(driver_cuLaunchKernel((CUfunction)function, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    cudaKernel_t kernel;
    CUDA(cudaGetKernel(&kernel, (const void *)add));
    CU(driver_cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    CUDA(cudaMemcpy(host, values, sizeof host, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host[31], 10);
    CU(driver_free((CUdeviceptr)values));
    CUdeviceptr pointer;
    CU(driver_allocate(&pointer, sizeof host));
    CUDA(cudaMemset((void *)pointer, 0, sizeof host));
    add<<<1, 32>>>((int *)pointer, 7);
    CUDA(cudaMemcpy(host, (void *)pointer, sizeof host, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host[31], 7);
    CUDA(cudaFree((void *)pointer));

    // Driver functions by their names, as programs find them that are not linked to the driver.
    void *entry;
    cudaDriverEntryPointQueryResult found;
    CUDA(cudaGetDriverEntryPointByVersion("cuMemAlloc", &entry, 12000, cudaEnableDefault, &found));
    REQUIRE(entry && found == cudaDriverEntryPointSuccess);
    CU(((CUresult(*)(CUdeviceptr *, size_t))entry)(&pointer, 256));
    CUDA(cudaFree((void *)pointer));
    CUDA(cudaGetDriverEntryPoint("cuCtxGetCurrent", &entry, cudaEnablePerThreadDefaultStream, &found));
    REQUIRE(entry && found == cudaDriverEntryPointSuccess);
    CU(((CUresult(*)(CUcontext *))entry)(&current));
    REQUIRE(current == primary);
    CUDA(cudaGetDriverEntryPointByVersion("cuLaunchKernelEx", &entry, 11000, cudaEnableDefault, &found));
    REQUIRE(!entry && found == cudaDriverEntryPointVersionNotSufficent);
    CUDA(cudaGetDriverEntryPointByVersion("cuNothing", &entry, 12000, cudaEnableDefault, nullptr));
    REQUIRE(!entry);
    EXPECT(cudaGetDriverEntryPointByVersion("cuInit", &entry, 990000, cudaEnableDefault, &found), cudaErrorInvalidValue);
    EXPECT(cudaGetDriverEntryPointByVersion("cuInit", nullptr, 12000, cudaEnableDefault, &found), cudaErrorInvalidValue);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    for (const char *name : {"cuProfilerStart", "cuProfilerStop"}) {
        auto profiler = (CUresult(*)())dlsym(library, name);
        CU(profiler());
    }

    // A context of the program's own: the Runtime API works in it while it is current.
    CU(driver_create(&created, 0, 0));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == created && created != primary);
    CUDA(cudaMalloc(&values, sizeof host));
    CUDA(cudaMemset(values, 0, sizeof host));
    add<<<1, 32>>>(values, 9);
    LAUNCHED();
    CUDA(cudaMemcpy(host, values, sizeof host, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host[0], 9);
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == created);
    int device = -1;
    CUDA(cudaGetDevice(&device));
    REQUIRE_EQUAL(device, 0);
    CUDA(cudaFree(values));
    CU(driver_destroy(created));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == primary);

    // Where no context is current, the Runtime API makes the primary one current: here, and in a new thread.
    CU(driver_pop(&current));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == nullptr);
    CUDA(cudaMalloc(&values, sizeof host));
    CU(driver_cuCtxGetCurrent(&current));
    REQUIRE(current == primary);
    std::thread([&] {
        CUcontext mine;
        CU(driver_cuCtxGetCurrent(&mine));
        REQUIRE(mine == nullptr);
        CUDA(cudaFree(values));
        CU(driver_cuCtxGetCurrent(&mine));
        REQUIRE(mine == primary);
    }).join();

    unsigned flags;
    int active;
    CUDA(cudaDeviceReset());
    CU(driver_cuDevicePrimaryCtxGetState(0, &flags, &active));
    REQUIRE_EQUAL(active, 0);
    CUDA(cudaMalloc(&values, sizeof host));
    CU(driver_cuDevicePrimaryCtxGetState(0, &flags, &active));
    REQUIRE_EQUAL(active, 1);
    CUDA(cudaFree(values));
    return pass();
}
