// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=compute_75 --compress-mode=none
//
// Templates, and shared memory whose size the launch gives, up to what a function must ask for.

#include "check_cuda.h"
#include <vector>

// Reverses each block's part of the values.
template <typename T> __global__ void reverse(T *values) {
    extern __shared__ unsigned char bytes[];
    T *buffer = (T *)bytes;
    T *part = values + blockIdx.x * blockDim.x;
    buffer[blockDim.x - 1 - threadIdx.x] = part[threadIdx.x];
    __syncthreads();
    part[threadIdx.x] = buffer[threadIdx.x];
}

template <typename T> static void check_reverse(int block) {
    const int blocks = 3;
    std::vector<T> values(blocks * block);
    for (size_t i = 0; i < values.size(); i++) values[i] = i % 120;
    T *device;
    CUDA(cudaMalloc(&device, values.size() * sizeof(T)));
    CUDA(cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    reverse<T><<<blocks, block, block * sizeof(T)>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(values.data(), device, values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    for (int i = 0; i < blocks * block; i++) {
        int source = i / block * block + block - 1 - i % block;
        REQUIRE_ELEMENT(values[i], source % 120, i);
    }
    CUDA(cudaFree(device));
}

__global__ void fill_shared(unsigned *sum, int words) {
    extern __shared__ unsigned buffer[];
    __shared__ unsigned total; // static beside dynamic
    if (threadIdx.x == 0) total = 0;
    for (int i = threadIdx.x; i < words; i += blockDim.x) buffer[i] = i;
    __syncthreads();
    unsigned part = 0;
    for (int i = threadIdx.x; i < words; i += blockDim.x) part += buffer[words - 1 - i];
    atomicAdd(&total, part);
    __syncthreads();
    if (threadIdx.x == 0) *sum = total;
}

int main() {
    check_reverse<char>(64);
    check_reverse<short>(100);
    check_reverse<int>(256);
    check_reverse<double>(77);

    const int large = 60 << 10, words = large / sizeof(unsigned);
    unsigned *device, sum;
    CUDA(cudaMalloc(&device, sizeof sum));
    fill_shared<<<1, 128, large>>>(device, words);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue); // above 48 KiB without asking
    CUDA(cudaFuncSetAttribute(fill_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, large));
    fill_shared<<<1, 128, large>>>(device, words);
    LAUNCHED();
    CUDA(cudaMemcpy(&sum, device, sizeof sum, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(sum, (unsigned)((unsigned long long)words * (words - 1) / 2));
    cudaFuncAttributes attributes;
    CUDA(cudaFuncGetAttributes(&attributes, fill_shared));
    REQUIRE_EQUAL(attributes.maxDynamicSharedSizeBytes, large);
    REQUIRE(attributes.sharedSizeBytes >= sizeof(unsigned) && attributes.sharedSizeBytes <= 16); // may be rounded up
    EXPECT_LAST(cudaFuncSetAttribute(fill_shared, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20), cudaErrorInvalidValue);
    return pass();
}
