// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Pitched memory and copies of rectangles and boxes, in every direction.

#include "check_cuda.h"
#include <vector>

const size_t WIDTH = 77, HEIGHT = 13, DEPTH = 5; // bytes, rows, slices

static unsigned char pattern(size_t x, size_t y, size_t z = 0) { return x * 3 + y * 31 + z * 101 + 1; }

__global__ void invert(unsigned char *image, size_t pitch, size_t width, size_t height) {
    size_t x = threadIdx.x, y = blockIdx.x;
    if (x < width && y < height) image[y * pitch + x] = ~image[y * pitch + x];
}

static void rectangles() {
    const size_t host_pitch = 100;
    std::vector<unsigned char> host(host_pitch * HEIGHT, 0xaa), back(host_pitch * HEIGHT, 0x55);
    for (size_t y = 0; y < HEIGHT; y++) {
        for (size_t x = 0; x < WIDTH; x++) host[y * host_pitch + x] = pattern(x, y);
    }
    unsigned char *device, *other;
    size_t pitch, other_pitch;
    CUDA(cudaMallocPitch(&device, &pitch, WIDTH, HEIGHT));
    CUDA(cudaMallocPitch(&other, &other_pitch, WIDTH + 600, HEIGHT + 2));
    REQUIRE(pitch >= WIDTH && other_pitch >= WIDTH + 600 && pitch % 32 == 0);
    CUDA(cudaMemset2D(other, other_pitch, 0x77, WIDTH + 600, HEIGHT + 2));
    CUDA(cudaMemcpy2D(device, pitch, host.data(), host_pitch, WIDTH, HEIGHT, cudaMemcpyHostToDevice));
    invert<<<HEIGHT, 96>>>(device, pitch, WIDTH, HEIGHT);
    LAUNCHED();
    CUDA(cudaMemcpy2DAsync(other + other_pitch + 7, other_pitch, device, pitch, WIDTH, HEIGHT, cudaMemcpyDeviceToDevice, 0));
    CUDA(cudaMemcpy2D(back.data(), host_pitch, other + other_pitch + 7, other_pitch, WIDTH, HEIGHT, cudaMemcpyDeviceToHost));
    for (size_t y = 0; y < HEIGHT; y++) {
        for (size_t x = 0; x < host_pitch; x++) {
            int expected = x < WIDTH ? (unsigned char)~pattern(x, y) : 0x55; // what lies between the rows stays
            REQUIRE_ELEMENT(back[y * host_pitch + x], expected, y * host_pitch + x);
        }
    }
    // The frame around the rectangle in `other` is untouched.
    std::vector<unsigned char> row(WIDTH + 600);
    CUDA(cudaMemcpy(row.data(), other + other_pitch, row.size(), cudaMemcpyDeviceToHost));
    for (size_t x = 0; x < row.size(); x++) {
        int expected = x >= 7 && x < WIDTH + 7 ? (unsigned char)~pattern(x - 7, 0) : 0x77;
        REQUIRE_ELEMENT(row[x], expected, x);
    }
    CUDA(cudaMemcpy2D(device, pitch, host.data(), host_pitch, 0, HEIGHT, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy2D(device, pitch, host.data(), host_pitch, WIDTH, 0, cudaMemcpyHostToDevice));
    EXPECT_LAST(cudaMemcpy2D(device, pitch, host.data(), WIDTH - 1, WIDTH, HEIGHT, cudaMemcpyHostToDevice), cudaErrorInvalidPitchValue);
    EXPECT_LAST(cudaMemcpy2D(device, WIDTH - 1, host.data(), host_pitch, WIDTH, HEIGHT, cudaMemcpyHostToDevice), cudaErrorInvalidPitchValue);
    CUDA(cudaFree(device));
    CUDA(cudaFree(other));
}

static void boxes() {
    std::vector<unsigned char> host(WIDTH * HEIGHT * DEPTH), back(host.size());
    for (size_t z = 0; z < DEPTH; z++) {
        for (size_t y = 0; y < HEIGHT; y++) {
            for (size_t x = 0; x < WIDTH; x++) host[(z * HEIGHT + y) * WIDTH + x] = pattern(x, y, z);
        }
    }
    cudaPitchedPtr device;
    cudaExtent extent = make_cudaExtent(WIDTH, HEIGHT, DEPTH);
    CUDA(cudaMalloc3D(&device, extent));
    REQUIRE(device.pitch >= WIDTH);
    CUDA(cudaMemset3D(device, 0x33, extent));
    cudaMemcpy3DParms up = {};
    up.srcPtr = make_cudaPitchedPtr(host.data(), WIDTH, WIDTH, HEIGHT);
    up.dstPtr = device;
    up.srcPos = make_cudaPos(1, 2, 1);
    up.dstPos = make_cudaPos(3, 1, 2);
    up.extent = make_cudaExtent(WIDTH - 10, HEIGHT - 4, DEPTH - 2);
    up.kind = cudaMemcpyHostToDevice;
    CUDA(cudaMemcpy3D(&up));
    cudaMemcpy3DParms down = {};
    down.srcPtr = device;
    down.dstPtr = make_cudaPitchedPtr(back.data(), WIDTH, WIDTH, HEIGHT);
    down.extent = extent;
    down.kind = cudaMemcpyDeviceToHost;
    CUDA(cudaMemcpy3DAsync(&down, 0));
    CUDA(cudaDeviceSynchronize());
    for (size_t z = 0; z < DEPTH; z++) {
        for (size_t y = 0; y < HEIGHT; y++) {
            for (size_t x = 0; x < WIDTH; x++) {
                bool inside = x >= 3 && x < 3 + WIDTH - 10 && y >= 1 && y < 1 + HEIGHT - 4 && z >= 2;
                int expected = inside ? pattern(x - 2, y + 1, z - 1) : 0x33;
                REQUIRE_ELEMENT(back[(z * HEIGHT + y) * WIDTH + x], expected, (z * HEIGHT + y) * WIDTH + x);
            }
        }
    }
    CUDA(cudaFree(device.ptr));
}

int main() {
    rectangles();
    boxes();
    return pass();
}
