// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=compute_75
//
// C = A B by tiles in shared memory, with barriers, for sizes that the tile does not divide. Argument: the rows of A.

#include "check_cuda.h"
#include <vector>

const int TILE = 16;

__global__ void multiply(const float *a, const float *b, float *c, int rows, int inner, int columns) {
    __shared__ float tile_a[TILE][TILE], tile_b[TILE][TILE + 1];
    int row = blockIdx.y * TILE + threadIdx.y, column = blockIdx.x * TILE + threadIdx.x;
    float sum = 0;
    for (int start = 0; start < inner; start += TILE) {
        int k = start + threadIdx.x, l = start + threadIdx.y;
        tile_a[threadIdx.y][threadIdx.x] = row < rows && k < inner ? a[row * inner + k] : 0;
        tile_b[threadIdx.y][threadIdx.x] = l < inner && column < columns ? b[l * columns + column] : 0;
        __syncthreads();
        for (int j = 0; j < TILE; j++) sum += tile_a[threadIdx.y][j] * tile_b[j][threadIdx.x];
        __syncthreads();
    }
    if (row < rows && column < columns) c[row * columns + column] = sum;
}

int main(int argc, char **argv) {
    int rows = argument(argc, argv, 1, 70), inner = rows + 19, columns = rows / 2 + 15;
    std::vector<float> a(rows * inner), b(inner * columns), c(rows * columns, -1);
    // Small integers: their sums are exact in any order.
    for (size_t i = 0; i < a.size(); i++) a[i] = (int)(i * 7 % 13) - 6;
    for (size_t i = 0; i < b.size(); i++) b[i] = (int)(i * 5 % 11) - 5;

    float *device_a, *device_b, *device_c;
    CUDA(cudaMalloc(&device_a, a.size() * sizeof(float)));
    CUDA(cudaMalloc(&device_b, b.size() * sizeof(float)));
    CUDA(cudaMalloc(&device_c, c.size() * sizeof(float)));
    CUDA(cudaMemcpy(device_a, a.data(), a.size() * sizeof(float), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), b.size() * sizeof(float), cudaMemcpyHostToDevice));
    dim3 grid(blocks_for(columns, TILE), blocks_for(rows, TILE)), block(TILE, TILE);
    multiply<<<grid, block>>>(device_a, device_b, device_c, rows, inner, columns);
    LAUNCHED();
    CUDA(cudaMemcpy(c.data(), device_c, c.size() * sizeof(float), cudaMemcpyDeviceToHost));

    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            float sum = 0;
            for (int k = 0; k < inner; k++) sum += a[row * inner + k] * b[k * columns + column];
            float actual = c[row * columns + column];
            if (actual != sum) FAIL("element (%d, %d) is %f, not %f", row, column, actual, sum);
        }
    }
    CUDA(cudaFree(device_a));
    CUDA(cudaFree(device_b));
    CUDA(cudaFree(device_c));
    return pass();
}
