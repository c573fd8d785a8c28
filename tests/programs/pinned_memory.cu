// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Pinned memory that kernels read and write in place, copies to and from registered memory, and what pointers are said to be.

#include "check_cuda.h"

const int N = 2000;

__global__ void twice(int *values, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] *= 2;
}

static void run_on(int *host, int *mapped) {
    for (int i = 0; i < N; i++) host[i] = i;
    twice<<<blocks_for(N, 128), 128>>>(mapped, N);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], 2 * i, i);
}

int main() {
    int *host, *mapped, *device;
    unsigned flags;
    CUDA(cudaHostAlloc(&host, N * sizeof(int), cudaHostAllocMapped | cudaHostAllocPortable));
    CUDA(cudaHostGetDevicePointer(&mapped, host, 0));
    run_on(host, mapped);
    CUDA(cudaHostGetFlags(&flags, host));
    REQUIRE(flags & cudaHostAllocMapped);
    cudaPointerAttributes attributes;
    CUDA(cudaPointerGetAttributes(&attributes, host + 3));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeHost);
    REQUIRE(attributes.hostPointer == host + 3 && attributes.devicePointer == mapped + 3);
    CUDA(cudaFreeHost(host));

    // All pinned memory is mapped when addresses are unified.
    CUDA(cudaMallocHost(&host, N * sizeof(int)));
    run_on(host, host);
    CUDA(cudaFreeHost(host));

    size_t size = 64 << 10;
    host = (int *)aligned_alloc(4096, size);
    REQUIRE(host != nullptr);
    CUDA(cudaPointerGetAttributes(&attributes, host));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeUnregistered);
    CUDA(cudaHostRegister(host, size, cudaHostRegisterDefault));
    EXPECT_LAST(cudaHostRegister(host, size, cudaHostRegisterDefault), cudaErrorHostMemoryAlreadyRegistered);
    CUDA(cudaPointerGetAttributes(&attributes, host));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeHost);
    for (int i = 0; i < N; i++) host[i] = 2 * i;
    CUDA(cudaMalloc(&device, size));
    CUDA(cudaMemcpyAsync(device, host, size, cudaMemcpyHostToDevice, 0));
    CUDA(cudaMemsetAsync(device, 0, 16, 0));
    CUDA(cudaMemcpyAsync(host, device, size, cudaMemcpyDeviceToHost, 0));
    CUDA(cudaStreamSynchronize(0));
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], i < 4 ? 0 : 2 * i, i);
    CUDA(cudaHostUnregister(host));
    EXPECT_LAST(cudaHostUnregister(host), cudaErrorHostMemoryNotRegistered);
    free(host);

    CUDA(cudaPointerGetAttributes(&attributes, device + 5));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeDevice);
    REQUIRE_EQUAL(attributes.device, 0);
    REQUIRE(attributes.devicePointer == device + 5 && attributes.hostPointer == nullptr);
    CUDA(cudaFree(device));
    return pass();
}
