// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Function attributes and the occupancy calculator give figures that a launch can use.

#include "check_cuda.h"

__global__ void plain(int *values) { values[blockIdx.x * blockDim.x + threadIdx.x] = 1; }

__global__ void __launch_bounds__(256) bounded(int *values) {
    __shared__ int buffer[1024];
    buffer[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = buffer[255 - threadIdx.x];
}

__constant__ int table[100];
__global__ void constant(int *values) { *values = table[*values]; }

int main() {
    cudaFuncAttributes attributes;
    CUDA(cudaFuncGetAttributes(&attributes, plain));
    REQUIRE_EQUAL(attributes.sharedSizeBytes, 0);
    REQUIRE(attributes.maxThreadsPerBlock >= 256 && attributes.maxThreadsPerBlock <= 1024);
    REQUIRE(attributes.numRegs > 0 && attributes.numRegs <= 255);
    REQUIRE_EQUAL(attributes.ptxVersion, 80); // the architecture, not the version of the PTX language
    REQUIRE(attributes.binaryVersion >= 80 && attributes.binaryVersion < 200);
    CUDA(cudaFuncGetAttributes(&attributes, bounded));
    REQUIRE_EQUAL(attributes.sharedSizeBytes, 4096);
    REQUIRE_EQUAL(attributes.maxThreadsPerBlock, 256);

    int *device;
    CUDA(cudaMalloc(&device, 4096 * sizeof(int)));
    bounded<<<1, 257>>>(device);
    REQUIRE(cudaGetLastError() != cudaSuccess); // more than the function's own bound

    cudaDeviceProp properties;
    CUDA(cudaGetDeviceProperties(&properties, 0));
    int blocks, fewer, grid, block;
    CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, plain, 256, 0));
    REQUIRE(blocks >= 1 && blocks * 256 <= properties.maxThreadsPerMultiProcessor);
    CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&fewer, plain, 256, 40 << 10, cudaOccupancyDefault));
    REQUIRE(fewer >= 1 && fewer <= blocks);
    REQUIRE((size_t)fewer * (40 << 10) <= properties.sharedMemPerMultiprocessor);
    CUDA(cudaOccupancyMaxPotentialBlockSize(&grid, &block, plain, 0, 0));
    REQUIRE(block >= 32 && block <= 1024 && block % 32 == 0 && grid >= 1);
    plain<<<4096 / block, block>>>(device);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    EXPECT_LAST(cudaOccupancyMaxActiveBlocksPerMultiprocessor(nullptr, plain, 256, 0), cudaErrorInvalidValue);
    CUDA(cudaFuncSetCacheConfig(plain, cudaFuncCachePreferL1));
    return pass();
}
