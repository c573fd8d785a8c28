// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=sm_80 -gencode arch=compute_80,code=compute_80 --compress-mode=size
//
// Steps of a heat equation on a float grid, exact against the host by explicit fused multiply-add. Arguments: side, steps.

#include "check_cuda.h"
#include <math.h>
#include <utility>
#include <vector>

__host__ __device__ float next(const float *grid, int side, int x, int y) {
    const float *at = grid + y * side + x;
    if (x == 0 || y == 0 || x == side - 1 || y == side - 1) return *at;
    float neighbours = at[-1] + at[1] + at[-side] + at[side];
    return fmaf(0.2f, neighbours, 0.2f * *at);
}

__global__ void step(const float *__restrict__ from, float *__restrict__ to, int side) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x < side && y < side) to[y * side + x] = next(from, side, x, y);
}

int main(int argc, char **argv) {
    int side = argument(argc, argv, 1, 67), steps = argument(argc, argv, 2, 12);
    std::vector<float> host(side * side), result(side * side);
    for (int i = 0; i < side * side; i++) host[i] = sinf(i * 0.37f) * 100;
    size_t size = host.size() * sizeof(float);
    float *from, *to;
    CUDA(cudaMalloc(&from, size));
    CUDA(cudaMalloc(&to, size));
    CUDA(cudaMemcpy(from, host.data(), size, cudaMemcpyHostToDevice));
    dim3 block(32, 4), grid(blocks_for(side, 32), blocks_for(side, 4));
    for (int i = 0; i < steps; i++) {
        step<<<grid, block>>>(from, to, side);
        LAUNCHED();
        std::swap(from, to);
    }
    CUDA(cudaMemcpy(result.data(), from, size, cudaMemcpyDeviceToHost));
    for (int i = 0; i < steps; i++) {
        std::vector<float> before = host;
        for (int y = 0; y < side; y++) {
            for (int x = 0; x < side; x++) host[y * side + x] = next(before.data(), side, x, y);
        }
    }
    for (int i = 0; i < side * side; i++) {
        if (result[i] != host[i]) FAIL("cell %d is %.9g, not %.9g", i, result[i], host[i]);
    }
    return pass();
}
