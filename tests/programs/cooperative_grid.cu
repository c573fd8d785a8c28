// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Cooperative groups: tiles of a warp, and a grid whose blocks synchronize with each other.

#include "check_cuda.h"
#include <cooperative_groups.h>

namespace groups = cooperative_groups;

// Each round, every block adds its neighbour's value of the round before.
__global__ void rounds(int *values, int count) {
    groups::grid_group grid = groups::this_grid();
    int *from = values, *to = values + gridDim.x;
    for (int i = 0; i < count; i++) {
        if (threadIdx.x == 0) to[blockIdx.x] = from[blockIdx.x] + from[(blockIdx.x + 1) % gridDim.x];
        grid.sync();
        int *swap = from;
        from = to, to = swap;
    }
}

__global__ void tiles(int *results) {
    groups::thread_block_tile<8> tile = groups::tiled_partition<8>(groups::this_thread_block());
    int value = threadIdx.x + 1;
    for (int offset = tile.size() / 2; offset > 0; offset /= 2) value += tile.shfl_xor(value, offset);
    results[threadIdx.x] = value * 100 + tile.thread_rank() * 10 + tile.any(threadIdx.x == 19);
    groups::coalesced_group active = groups::coalesced_threads();
    if (threadIdx.x == 0) results[64] = active.size();
}

int main() {
    const int blocks = 6, count = 9;
    int expected[blocks], values[blocks], *device;
    for (int i = 0; i < blocks; i++) values[i] = expected[i] = i + 1;
    CUDA(cudaMalloc(&device, 2 * sizeof values));
    CUDA(cudaMemcpy(device, values, sizeof values, cudaMemcpyHostToDevice));
    int rounds_count = count;
    void *arguments[] = {&device, &rounds_count};
    CUDA(cudaLaunchCooperativeKernel((const void *)rounds, dim3(blocks), dim3(64), arguments, 0, 0));
    CUDA(cudaMemcpy(values, device + count % 2 * blocks, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < count; i++) {
        int first = expected[0];
        for (int k = 0; k < blocks; k++) expected[k] += k + 1 < blocks ? expected[k + 1] : first;
    }
    for (int i = 0; i < blocks; i++) REQUIRE_ELEMENT(values[i], expected[i], i);
    // More blocks than can be resident at once cannot wait for each other.
    EXPECT_LAST(cudaLaunchCooperativeKernel((const void *)rounds, dim3(1 << 20), dim3(64), arguments, 0, 0), cudaErrorCooperativeLaunchTooLarge);

    int results[65], *device_results;
    CUDA(cudaMalloc(&device_results, sizeof results));
    tiles<<<1, 64>>>(device_results);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) {
        int start = i / 8 * 8, sum = 0;
        for (int k = 0; k < 8; k++) sum += start + k + 1;
        REQUIRE_ELEMENT(results[i], sum * 100 + i % 8 * 10 + (i / 8 == 2), i);
    }
    REQUIRE_EQUAL(results[64], 32);
    return pass();
}
