// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Memsets of odd sizes at odd offsets, in streams, in rectangles; only the low byte of the value counts.

#include "check_cuda.h"

const int SIZE = 5000;

static unsigned char *device, host[SIZE], expected[SIZE];

static void compare() {
    CUDA(cudaMemcpy(host, device, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < SIZE; i++) REQUIRE_ELEMENT(host[i], expected[i], i);
}

int main() {
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMemset(device, 0, SIZE));
    compare();
    const int ranges[][2] = {{0, 1}, {1, 1}, {3, 5}, {7, 64}, {129, 1000}, {4999, 1}, {2048, 2048}, {0, 5000}, {17, 4096}, {5000, 0}};
    int value = 0x100;
    for (const auto &range : ranges) {
        value += 0x33;
        CUDA(cudaMemset(device + range[0], value, range[1]));
        memset(expected + range[0], value & 0xff, range[1]);
        compare();
    }
    for (const auto &range : ranges) {
        value -= 0x17;
        CUDA(cudaMemsetAsync(device + range[0], value, range[1], stream));
        memset(expected + range[0], value & 0xff, range[1]);
    }
    CUDA(cudaStreamSynchronize(stream));
    compare();
    CUDA(cudaMemset2D(device + 5, 60, -1, 13, 40));
    CUDA(cudaMemset2DAsync(device + 2500, 100, 4, 99, 20, stream));
    for (int row = 0; row < 40; row++) memset(expected + 5 + row * 60, 0xff, 13);
    for (int row = 0; row < 20; row++) memset(expected + 2500 + row * 100, 4, 99);
    CUDA(cudaDeviceSynchronize());
    compare();
    EXPECT_LAST(cudaMemset(device + 1, 0, SIZE + (4 << 20)), cudaErrorInvalidValue);
    CUDA(cudaFree(device));
    return pass();
}
