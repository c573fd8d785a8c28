// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// Copies from global to shared memory in the background: pipelines of cuda_pipeline.h and of cooperative groups.

#include "check_cuda.h"
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cuda_pipeline.h>

namespace cg = cooperative_groups;
const int tile = 128, tiles = 9, n = tile * tiles;

// Two stages: while one tile is summed, the next is on its way.
__global__ void stages(const float4 *in, float *out) {
    __shared__ float4 buffer[2][tile];
    int t = threadIdx.x;
    float sum = 0;
    __pipeline_memcpy_async(&buffer[0][t], &in[t], sizeof(float4));
    __pipeline_commit();
    for (int i = 0; i < tiles; i++) {
        if (i + 1 < tiles) __pipeline_memcpy_async(&buffer[(i + 1) % 2][t], &in[(i + 1) * tile + t], sizeof(float4));
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();
        float4 v = buffer[i % 2][tile - 1 - t];
        sum += v.x + 2 * v.y + 3 * v.z + 4 * v.w;
        __syncthreads();
    }
    out[t] = sum;
}

// Sizes of 4, 8 and 16 bytes, the last bytes filled with zeros.
__global__ void sizes(const char *in, char *out) {
    __shared__ __align__(16) char buffer[32 * 48];
    int t = threadIdx.x;
    char *mine = buffer + t * 48;
    __pipeline_memcpy_async(mine, in + t * 48, 4);
    __pipeline_memcpy_async(mine + 8, in + t * 48 + 8, 8);
    __pipeline_memcpy_async(mine + 16, in + t * 48 + 16, 16);
    __pipeline_memcpy_async(mine + 32, in + t * 48 + 32, 16, 16 - t % 17);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    for (int i = 0; i < 48; i++) out[t * 48 + i] = i >= 4 && i < 8 ? 0 : mine[i];
}

__global__ void groups(const int *in, int *out) {
    __shared__ int buffer[n];
    auto block = cg::this_thread_block();
    cg::memcpy_async(block, buffer, in, sizeof(int) * n);
    cg::wait(block);
    for (int i = block.thread_rank(); i < n; i += block.size()) out[i] = buffer[n - 1 - i] * 2;
}

int main() {
    static float4 values[n];
    float sums[tile], *device_sums;
    float4 *device;
    for (int i = 0; i < n; i++) values[i] = make_float4(i, i % 7, -i, i % 3);
    CUDA(cudaMalloc(&device, sizeof values));
    CUDA(cudaMalloc(&device_sums, sizeof sums));
    CUDA(cudaMemcpy(device, values, sizeof values, cudaMemcpyHostToDevice));
    stages<<<1, tile>>>(device, device_sums);
    LAUNCHED();
    CUDA(cudaMemcpy(sums, device_sums, sizeof sums, cudaMemcpyDeviceToHost));
    for (int t = 0; t < tile; t++) {
        float sum = 0;
        for (int i = 0; i < tiles; i++) {
            float4 v = values[i * tile + tile - 1 - t];
            sum += v.x + 2 * v.y + 3 * v.z + 4 * v.w;
        }
        if (sums[t] != sum) FAIL("sum %d is %g, not %g", t, sums[t], sum);
    }

    char bytes[32 * 48], found[32 * 48], *device_bytes, *device_found;
    for (int i = 0; i < 32 * 48; i++) bytes[i] = (char)(i * 5 + 1);
    CUDA(cudaMalloc(&device_bytes, sizeof bytes));
    CUDA(cudaMalloc(&device_found, sizeof bytes));
    CUDA(cudaMemcpy(device_bytes, bytes, sizeof bytes, cudaMemcpyHostToDevice));
    sizes<<<1, 32>>>(device_bytes, device_found);
    LAUNCHED();
    CUDA(cudaMemcpy(found, device_found, sizeof bytes, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32 * 48; i++) {
        int t = i / 48, at = i % 48;
        bool zero = (at >= 4 && at < 8) || at >= 32 + t % 17;
        REQUIRE_ELEMENT(found[i], zero ? 0 : bytes[i], i);
    }

    int numbers[n], *device_numbers, *device_results;
    for (int i = 0; i < n; i++) numbers[i] = i * i;
    CUDA(cudaMalloc(&device_numbers, sizeof numbers));
    CUDA(cudaMalloc(&device_results, sizeof numbers));
    CUDA(cudaMemcpy(device_numbers, numbers, sizeof numbers, cudaMemcpyHostToDevice));
    groups<<<1, 100>>>(device_numbers, device_results);
    LAUNCHED();
    CUDA(cudaMemcpy(numbers, device_results, sizeof numbers, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(numbers[i], (n - 1 - i) * (n - 1 - i) * 2, i);
    return pass();
}
