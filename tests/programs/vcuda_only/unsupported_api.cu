// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// A function that vcuda lacks returns cudaErrorNotSupported, claims nothing, and the program goes on.

#include "check_cuda.h"

__global__ void fill(int *values) { values[threadIdx.x] = 5; }

int main() {
    cudaGraphNode_t node = (cudaGraphNode_t)0x77;
    cudaGraphicsResource_t resource = (cudaGraphicsResource_t)0x77;
    for (int i = 0; i < 3; i++) {
        EXPECT_LAST(cudaGraphMemFreeNodeGetParams(node, nullptr), cudaErrorNotSupported);
        EXPECT_LAST(cudaGraphicsUnregisterResource(resource), cudaErrorNotSupported);
    }
    int values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    fill<<<1, 32>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE_ELEMENT(values[i], 5, i);
    return pass();
}
