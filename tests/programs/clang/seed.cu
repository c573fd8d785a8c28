// SPDX-License-Identifier: MIT OR Apache-2.0
// cuda: 9.0
// fatbinary: --compress-mode=speed
// imports: cudaConfigureCall cudaFree __cudaInitModule cudaLaunch cudaMalloc cudaMemcpy __cudaRegisterFatBinary __cudaRegisterFunction cudaSetupArgument cudaThreadSynchronize __cudaUnregisterFatBinary
//
// The first program that anyone writes, as CUDA 9.0 compiled it.

#include "../check.h"
#include "cuda_min.h"

__global__ void add(const float *a, const float *b, float *c, int n) {
    int i = global_index();
    if (i < n) c[i] = a[i] + b[i];
}

#define CUDA(call)                                                            \
    do {                                                                      \
        int result = (call);                                                  \
        if (result != cudaSuccess) FAIL("%s gives error %d", #call, result);  \
    } while (0)

int main() {
    const int n = 1000, size = n * sizeof(float);
    float a[n], b[n], c[n];
    for (int i = 0; i < n; i++) {
        a[i] = i;
        b[i] = 2 * i;
        c[i] = -1;
    }
    cuda90_init_module();
    float *device_a, *device_b, *device_c;
    CUDA(cudaMalloc((void **)&device_a, size));
    CUDA(cudaMalloc((void **)&device_b, size));
    CUDA(cudaMalloc((void **)&device_c, size));
    CUDA(cudaMemcpy(device_a, a, size, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b, size, cudaMemcpyHostToDevice));
    add<<<(n + 127) / 128, 128>>>(device_a, device_b, device_c, n);
    CUDA(cudaThreadSynchronize());
    CUDA(cudaMemcpy(c, device_c, size, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        if (c[i] != 3 * i) FAIL("c[%d] is %f, not %d", i, c[i], 3 * i);
    }
    CUDA(cudaFree(device_a));
    CUDA(cudaFree(device_b));
    CUDA(cudaFree(device_c));
    return pass();
}
