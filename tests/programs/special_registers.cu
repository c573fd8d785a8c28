// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Grids and blocks in three dimensions, with blocks that end within a warp, and the special registers that describe them.

#include "check_cuda.h"
#include <vector>

struct Place {
    unsigned block[3], thread[3], grid[3], size[3], lane, warp;
};

__global__ void where(Place *places) {
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    Place &place = places[block * threads + thread];
    place = {{blockIdx.x, blockIdx.y, blockIdx.z}, {threadIdx.x, threadIdx.y, threadIdx.z},
             {gridDim.x, gridDim.y, gridDim.z},    {blockDim.x, blockDim.y, blockDim.z}, 0, 0};
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(place.lane));
    place.warp = thread / warpSize;
}

__global__ void clocks(long long *times, unsigned *smid) {
    times[0] = clock64();
    times[1] = clock64();
    unsigned long long nanoseconds;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds));
    times[2] = nanoseconds;
    asm volatile("mov.u32 %0, %%smid;" : "=r"(*smid));
}

static void check(dim3 grid, dim3 block) {
    size_t blocks = (size_t)grid.x * grid.y * grid.z, threads = block.x * block.y * block.z;
    std::vector<Place> places(blocks * threads);
    Place *device;
    CUDA(cudaMalloc(&device, places.size() * sizeof(Place)));
    CUDA(cudaMemset(device, 0xff, places.size() * sizeof(Place)));
    where<<<grid, block>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(places.data(), device, places.size() * sizeof(Place), cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < places.size(); i++) {
        unsigned b = i / threads, t = i % threads;
        const Place expected = {{b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y}, {t % block.x, t / block.x % block.y, t / block.x / block.y},
                                {grid.x, grid.y, grid.z},                               {block.x, block.y, block.z}, t % 32, t / 32};
        if (memcmp(&places[i], &expected, sizeof expected) != 0) FAIL("thread %u of block %u does not know its place", t, b);
    }
    CUDA(cudaFree(device));
}

int main() {
    check(dim3(1), dim3(1));
    check(dim3(3, 2, 4), dim3(5, 3, 7));
    check(dim3(1, 300, 2), dim3(33));
    check(dim3(2), dim3(1024));
    check(dim3(1, 1, 3), dim3(2, 2, 64));
    check(dim3(70000), dim3(1));
    long long *device, times[3];
    unsigned *device_smid, smid;
    CUDA(cudaMalloc(&device, sizeof times));
    CUDA(cudaMalloc(&device_smid, sizeof smid));
    clocks<<<1, 1>>>(device, device_smid);
    LAUNCHED();
    CUDA(cudaMemcpy(times, device, sizeof times, cudaMemcpyDeviceToHost));
    CUDA(cudaMemcpy(&smid, device_smid, sizeof smid, cudaMemcpyDeviceToHost));
    REQUIRE(times[1] >= times[0] && times[2] > 0);
    int multiprocessors;
    CUDA(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, 0));
    REQUIRE((int)smid < multiprocessors);
    return pass();
}
