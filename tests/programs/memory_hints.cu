// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80
//
// What programs say of memory beforehand: where managed memory will be used, what a pool keeps.

#include "check_cuda.h"
#include <stdint.h>

__managed__ int managed_variable[64];

__global__ void count_up(int *values, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) values[i] += i;
}

static void managed() {
    const int n = 5000;
    const cudaMemLocation device = {cudaMemLocationTypeDevice, 0}, host = {cudaMemLocationTypeHost, 0};
    const cudaMemLocation nowhere = {cudaMemLocationTypeDevice, 99};
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    int *values;
    CUDA(cudaMallocManaged(&values, n * sizeof(int)));
    for (int i = 0; i < n; i++) values[i] = 1;
    CUDA(cudaMemAdvise(values, n * sizeof(int), cudaMemAdviseSetReadMostly, device));
    CUDA(cudaMemAdvise(values, n * sizeof(int), cudaMemAdviseUnsetReadMostly, device));
    CUDA(cudaMemAdvise(values, n * sizeof(int), cudaMemAdviseSetPreferredLocation, device));
    CUDA(cudaMemAdvise(values, n * sizeof(int), cudaMemAdviseSetAccessedBy, host));
    CUDA(cudaMemPrefetchAsync(values, n * sizeof(int), device, 0, stream));
    count_up<<<4, 128, 0, stream>>>(values, n);
    LAUNCHED();
    CUDA(cudaMemPrefetchAsync(values + 10, 100 * sizeof(int), host, 0, stream));
    CUDA(cudaStreamSynchronize(stream));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(values[i], 1 + i, i);
    CUDA(cudaStreamAttachMemAsync(stream, values, 0, cudaMemAttachSingle));
    CUDA(cudaStreamSynchronize(stream));

    EXPECT_LAST(cudaMemPrefetchAsync(values, n * sizeof(int), nowhere, 0, stream), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaMemPrefetchAsync(values, 0, device, 0, stream), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemPrefetchAsync(values, n * sizeof(int), device, 1, stream), cudaErrorInvalidValue);
    int *plain;
    CUDA(cudaMalloc(&plain, 64));
    EXPECT_LAST(cudaMemPrefetchAsync(plain, 64, device, 0, stream), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemAdvise(plain, 64, cudaMemAdviseSetReadMostly, device), cudaErrorInvalidValue);
    EXPECT_LAST(cudaMemAdvise(values, 64, (cudaMemoryAdvise)77, device), cudaErrorInvalidValue);
    CUDA(cudaMemAdvise(managed_variable, sizeof managed_variable, cudaMemAdviseSetReadMostly, device));
    CUDA(cudaFree(plain));
    CUDA(cudaFree(values));
    CUDA(cudaStreamDestroy(stream));
}

static uint64_t attribute(cudaMemPool_t pool, cudaMemPoolAttr which) {
    uint64_t value = 77;
    CUDA(cudaMemPoolGetAttribute(pool, which, &value));
    return value;
}

static void pools() {
    cudaMemPool_t pool, current, own;
    CUDA(cudaDeviceGetDefaultMemPool(&pool, 0));
    CUDA(cudaDeviceGetMemPool(&current, 0));
    REQUIRE(pool == current);
    REQUIRE_EQUAL(attribute(pool, cudaMemPoolAttrReleaseThreshold), 0);
    uint64_t threshold = UINT64_MAX;
    CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
    REQUIRE(attribute(pool, cudaMemPoolAttrReleaseThreshold) == UINT64_MAX);
    int reuse = 7;
    CUDA(cudaMemPoolGetAttribute(pool, cudaMemPoolReuseAllowOpportunistic, &reuse));
    REQUIRE_EQUAL(reuse, 1);

    cudaMemPoolProps properties = {};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location = {cudaMemLocationTypeDevice, 0};
    CUDA(cudaMemPoolCreate(&own, &properties));
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    int *first, *second, host[256] = {};
    CUDA(cudaMallocFromPoolAsync(&first, sizeof host, own, stream));
    CUDA(cudaMallocAsync(&second, sizeof host, stream));
    REQUIRE(attribute(own, cudaMemPoolAttrUsedMemCurrent) >= sizeof host);
    REQUIRE(attribute(own, cudaMemPoolAttrReservedMemCurrent) >= attribute(own, cudaMemPoolAttrUsedMemCurrent));
    CUDA(cudaMemsetAsync(first, 0, sizeof host, stream));
    count_up<<<1, 256, 0, stream>>>(first, 256);
    LAUNCHED();
    CUDA(cudaMemcpyAsync(host, first, sizeof host, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaFreeAsync(first, stream));
    CUDA(cudaFreeAsync(second, stream));
    CUDA(cudaStreamSynchronize(stream));
    REQUIRE_EQUAL(host[255], 255);
    REQUIRE_EQUAL(attribute(own, cudaMemPoolAttrUsedMemCurrent), 0);
    REQUIRE(attribute(own, cudaMemPoolAttrUsedMemHigh) >= sizeof host);
    uint64_t zero = 0, one = 1;
    CUDA(cudaMemPoolSetAttribute(own, cudaMemPoolAttrUsedMemHigh, &zero));
    REQUIRE_EQUAL(attribute(own, cudaMemPoolAttrUsedMemHigh), 0);
    EXPECT_LAST(cudaMemPoolSetAttribute(own, cudaMemPoolAttrUsedMemHigh, &one), cudaErrorInvalidValue);
    CUDA(cudaMemPoolTrimTo(own, 0));

    CUDA(cudaDeviceSetMemPool(0, own));
    CUDA(cudaDeviceGetMemPool(&current, 0));
    REQUIRE(current == own);
    CUDA(cudaDeviceSetMemPool(0, pool));
    CUDA(cudaMemPoolDestroy(own));
    EXPECT_LAST(cudaMemPoolDestroy(pool), cudaErrorInvalidValue);
    CUDA(cudaStreamDestroy(stream));
}

int main() {
    managed();
    pools();
    return pass();
}
