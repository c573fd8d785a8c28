// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// The launch functions that programs call themselves: cudaLaunchKernel and cudaLaunchKernelExC.

#include "check_cuda.h"

__global__ void fill(int *values, char step, long long start) {
    values[blockIdx.x * blockDim.x + threadIdx.x] = start + step * (int)(blockIdx.x * blockDim.x + threadIdx.x);
}

static void compare(const int *device, int n, int step, int start) {
    int values[256];
    CUDA(cudaMemcpy(values, device, n * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(values[i], start + step * i, i);
}

int main() {
    int *device;
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, 256 * sizeof(int)));
    char step = 3;
    long long start = 1000;
    void *arguments[] = {&device, &step, &start};
    CUDA(cudaLaunchKernel((const void *)fill, dim3(2), dim3(128), arguments, 0, stream));
    step = 100, start = -1; // the launch took copies
    CUDA(cudaStreamSynchronize(stream));
    compare(device, 256, 3, 1000);

    step = -2, start = 5;
    cudaLaunchConfig_t configuration = {};
    configuration.gridDim = dim3(4);
    configuration.blockDim = dim3(32);
    configuration.stream = stream;
    CUDA(cudaLaunchKernelExC(&configuration, (const void *)fill, arguments));
    CUDA(cudaStreamSynchronize(stream));
    compare(device, 128, -2, 5);
    CUDA(cudaLaunchKernelEx(&configuration, fill, device, (char)7, 70ll));
    CUDA(cudaStreamSynchronize(stream));
    compare(device, 128, 7, 70);

    // The handle that stands for a function in the other interface.
    cudaFunction_t function;
    CUDA(cudaGetFuncBySymbol(&function, (const void *)fill));
    REQUIRE(function != nullptr);
    configuration.blockDim = dim3(2000);
    EXPECT_LAST(cudaLaunchKernelExC(&configuration, (const void *)fill, arguments), cudaErrorInvalidValue);
    return pass();
}
