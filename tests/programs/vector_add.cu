// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_86
//
// c = a + b, with a length that no block size divides. Argument: the length.

#include "check_cuda.h"
#include <vector>

__global__ void add(const float *a, const float *b, float *c, size_t n) {
    size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}

int main(int argc, char **argv) {
    size_t n = argument(argc, argv, 1, 50001);
    std::vector<float> a(n), b(n), c(n, -1);
    for (size_t i = 0; i < n; i++) {
        a[i] = i % 1000;
        b[i] = i % 77 * 0.25f;
    }
    float *device_a, *device_b, *device_c;
    size_t size = n * sizeof(float);
    CUDA(cudaMalloc(&device_a, size));
    CUDA(cudaMalloc(&device_b, size));
    CUDA(cudaMalloc(&device_c, size));
    CUDA(cudaMemcpy(device_a, a.data(), size, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), size, cudaMemcpyHostToDevice));
    add<<<blocks_for(n, 256), 256>>>(device_a, device_b, device_c, n);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(c.data(), device_c, size, cudaMemcpyDeviceToHost));
    for (size_t i = 0; i < n; i++) {
        if (c[i] != a[i] + b[i]) FAIL("c[%zu] is %f, not %f", i, c[i], a[i] + b[i]);
    }
    CUDA(cudaFree(device_a));
    CUDA(cudaFree(device_b));
    CUDA(cudaFree(device_c));
    return pass();
}
