// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_75 -fmad=false
//
// The Mandelbrot set: neighbours leave the loop after different numbers of turns. Without fused multiply-add the host computes
// exactly the same. Arguments: width, most turns.

#include "check_cuda.h"
#include <vector>

__host__ __device__ int turns(int x, int y, int width, int height, int most) {
    float cr = (x * 3.5f) / width - 2.5f, ci = (y * 2.0f) / height - 1.0f, zr = 0, zi = 0;
    int n = 0;
    while (n < most) {
        float rr = zr * zr, ii = zi * zi;
        if (rr + ii > 4) break;
        zi = 2 * zr * zi + ci;
        zr = rr - ii + cr;
        n++;
    }
    return n;
}

__global__ void mandelbrot(int *image, int width, int height, int most) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    image[y * width + x] = turns(x, y, width, height, most);
}

int main(int argc, char **argv) {
    int width = argument(argc, argv, 1, 91), most = argument(argc, argv, 2, 200), height = width * 2 / 3;
    std::vector<int> image(width * height);
    int *device_image;
    CUDA(cudaMalloc(&device_image, image.size() * sizeof(int)));
    dim3 block(16, 8), grid(blocks_for(width, 16), blocks_for(height, 8));
    mandelbrot<<<grid, block>>>(device_image, width, height, most);
    LAUNCHED();
    CUDA(cudaMemcpy(image.data(), device_image, image.size() * sizeof(int), cudaMemcpyDeviceToHost));
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) REQUIRE_ELEMENT(image[y * width + x], turns(x, y, width, height, most), y * width + x);
    }
    CUDA(cudaFree(device_image));
    return pass();
}
