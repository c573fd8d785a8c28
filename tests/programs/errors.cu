// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Wrong calls get CUDA's own error codes, and the last error is kept and cleared as CUDA does it.

#include "check_cuda.h"

__global__ void touch(int *value) { *value = 1; }

static char host[4096];

static void allocation() {
    void *pointer = host;
    EXPECT_LAST(cudaMalloc((void **)nullptr, 16), cudaErrorInvalidValue);
    CUDA(cudaMalloc(&pointer, 0));
    REQUIRE(pointer == nullptr);
    EXPECT_LAST(cudaMalloc(&pointer, (size_t)1 << 50), cudaErrorMemoryAllocation);
    EXPECT_LAST(cudaMalloc(&pointer, ~(size_t)0), cudaErrorMemoryAllocation);
    EXPECT_LAST(cudaMallocHost((void **)nullptr, 16), cudaErrorInvalidValue);
    EXPECT_LAST(cudaHostAlloc(&pointer, 16, 0x1000), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMallocHost(&pointer, (size_t)1 << 50), cudaErrorMemoryAllocation);
    CUDA(cudaMallocHost(&pointer, 0));
    REQUIRE(pointer == nullptr);
    CUDA(cudaFree(nullptr));
    CUDA(cudaFreeHost(nullptr));
    EXPECT_LAST(cudaFree((void *)0x1234), cudaErrorInvalidValue);
    EXPECT_LAST(cudaFreeHost(host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaHostUnregister(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaHostGetDevicePointer(&pointer, host, 0), cudaErrorInvalidValue);
    char *device;
    CUDA(cudaMalloc(&device, 1000));
    EXPECT_LAST(cudaFree(device + 16), cudaErrorInvalidValue);
    CUDA(cudaFree(device));
    EXPECT_LAST(cudaFree(device), cudaErrorInvalidValue);
}

static void copies() {
    char *device, *freed;
    CUDA(cudaMalloc(&device, 1024));
    CUDA(cudaMalloc(&freed, 64 << 20));
    CUDA(cudaFree(freed));
    CUDA(cudaMemcpy(device, host, 0, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(nullptr, nullptr, 0, cudaMemcpyHostToDevice));
    CUDA(cudaMemset(device, 0, 0));
    CUDA(cudaMemset(nullptr, 0, 0));
    CUDA(cudaMemcpy(host, host + 64, 16, cudaMemcpyHostToHost));
    CUDA(cudaMemcpy(host, host + 64, 16, cudaMemcpyDefault));
    EXPECT_LAST(cudaMemcpy(host, host + 64, 16, cudaMemcpyDeviceToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpyAsync(device, host, 16, (cudaMemcpyKind)9, 0), cudaErrorInvalidMemcpyDirection);
    EXPECT_LAST(cudaMemcpy(nullptr, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(device, nullptr, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(device, host, 16, (cudaMemcpyKind)77), cudaErrorInvalidMemcpyDirection);
    EXPECT_LAST(cudaMemcpy(device, host, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(host, device, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(device, host, 2048 + 1024, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(host, device + 1000, 512, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(freed, host, 16, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(host, freed, 16, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemcpy(device, host, (size_t)1 << 40, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemset(device, 0, 1 << 30), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemset(nullptr, 0, 16), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemset(freed, 0, 16), cudaErrorInvalidValue);
    CUDA(cudaMemcpy(host, device, 1024, cudaMemcpyDefault));
    CUDA(cudaFree(device));
}

// CUDA 13.0 gives cudaErrorInvalidValue to a wrong configuration where earlier versions gave cudaErrorInvalidConfiguration.
static void launches() {
    int *device;
    CUDA(cudaMalloc(&device, sizeof(int)));
    touch<<<1, 1025>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    touch<<<1, dim3(1, 1, 65)>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    touch<<<0, 32>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    touch<<<1, 0>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    touch<<<dim3(1, 65536), 1>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    touch<<<1, 32, 1 << 20>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    EXPECT_LAST(cudaLaunchKernel((const void *)nullptr, dim3(1), dim3(1), nullptr, 0, 0), cudaErrorInvalidDeviceFunction);
    void *arguments[] = {&device};
    EXPECT_LAST(cudaLaunchKernel((const void *)host, dim3(1), dim3(1), arguments, 0, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaLaunchKernel((const void *)touch, dim3(1), dim3(1), nullptr, 0, 0), cudaErrorInvalidValue); // parameters missing
    cudaFuncAttributes attributes;
    EXPECT_LAST(cudaFuncGetAttributes(&attributes, (const void *)host), cudaErrorInvalidResourceHandle);
    // A refused launch leaves the device as it was.
    CUDA(cudaMemset(device, 0, sizeof(int)));
    touch<<<1, 1>>>(device);
    LAUNCHED();
    int value;
    CUDA(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(value, 1);
    CUDA(cudaFree(device));
}

static void devices() {
    int value;
    cudaDeviceProp properties;
    EXPECT_LAST(cudaSetDevice(999), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaSetDevice(-1), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaGetDeviceProperties(&properties, 999), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, 999), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaDeviceGetAttribute(&value, (cudaDeviceAttr)99999, 0), cudaErrorInvalidValue);
    CUDA(cudaGetDevice(&value));
    REQUIRE_EQUAL(value, 0);
}

static void null_pointers() {
    EXPECT_LAST(cudaGetDeviceCount(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGetDevice(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaGetDeviceProperties(nullptr, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaDeviceGetAttribute(nullptr, cudaDevAttrWarpSize, 0), cudaErrorInvalidValue);
    EXPECT_LAST(cudaStreamCreate(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaEventCreate(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaEventElapsedTime(nullptr, nullptr, nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaDriverGetVersion(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaRuntimeGetVersion(nullptr), cudaErrorInvalidValue);
    EXPECT_LAST(cudaPointerGetAttributes(nullptr, host), cudaErrorInvalidValue);
    EXPECT_LAST(cudaFuncGetAttributes(nullptr, touch), cudaErrorInvalidValue);
    EXPECT_LAST(cudaEventRecord(nullptr, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventSynchronize(nullptr), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventQuery(nullptr), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaEventDestroy(nullptr), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamDestroy(nullptr), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamDestroy(cudaStreamLegacy), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamDestroy(cudaStreamPerThread), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaStreamWaitEvent(0, nullptr, 0), cudaErrorInvalidResourceHandle);
    EXPECT_LAST(cudaLaunchHostFunc(0, nullptr, nullptr), cudaErrorInvalidValue);
}

static void last_error() {
    EXPECT(cudaGetLastError(), cudaSuccess);
    EXPECT(cudaSetDevice(999), cudaErrorInvalidDevice);
    EXPECT(cudaPeekAtLastError(), cudaErrorInvalidDevice);
    CUDA(cudaDeviceSynchronize());                          // a success does not clear it
    EXPECT(cudaPeekAtLastError(), cudaErrorInvalidDevice);
    EXPECT(cudaMalloc((void **)nullptr, 1), cudaErrorInvalidValue); // a later error replaces it
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    EXPECT(cudaGetLastError(), cudaSuccess);
    EXPECT(cudaPeekAtLastError(), cudaSuccess);
    REQUIRE(strcmp(cudaGetErrorName(cudaErrorInvalidValue), "cudaErrorInvalidValue") == 0);
    REQUIRE(strcmp(cudaGetErrorString(cudaErrorInvalidValue), "invalid argument") == 0);
    REQUIRE(strcmp(cudaGetErrorString(cudaSuccess), "no error") == 0);
    REQUIRE(strcmp(cudaGetErrorName((cudaError_t)12345), "unrecognized error code") == 0);
    REQUIRE(strcmp(cudaGetErrorString((cudaError_t)12345), "unrecognized error code") == 0);
}

int main() {
    allocation();
    copies();
    launches();
    devices();
    null_pointers();
    last_error();
    return pass();
}
