// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Managed memory: one pointer on both sides, each sees what the other wrote.

#include "check_cuda.h"

struct Node {
    int value;
    Node *next;
};

__global__ void scale(int *values, int n, int factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values[i] *= factor;
}

__global__ void sum_list(const Node *node, int *sum) {
    for (*sum = 0; node; node = node->next) *sum += node->value;
}

int main() {
    const int n = 3000;
    int *values, *sum;
    CUDA(cudaMallocManaged(&values, n * sizeof(int)));
    CUDA(cudaMallocManaged(&sum, sizeof(int), cudaMemAttachGlobal));
    for (int i = 0; i < n; i++) values[i] = i;
    for (int round = 1; round <= 3; round++) {
        scale<<<blocks_for(n, 128), 128>>>(values, n, 2);
        LAUNCHED();
        CUDA(cudaDeviceSynchronize());
        for (int i = 0; i < n; i++) {
            REQUIRE_ELEMENT(values[i], (i + round - 1) * 2, i);
            values[i] = i + round;
        }
    }

    // A structure full of pointers, built on one side and followed on the other.
    Node *nodes;
    CUDA(cudaMallocManaged(&nodes, 100 * sizeof(Node)));
    for (int i = 0; i < 100; i++) nodes[i] = {i, i + 37 < 100 ? &nodes[i + 37] : nullptr};
    sum_list<<<1, 1>>>(&nodes[5], sum);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    REQUIRE_EQUAL(*sum, 5 + 42 + 79);

    // Ordinary copies and memsets take it too.
    int host[10];
    CUDA(cudaMemset(values, 0, 5 * sizeof(int)));
    CUDA(cudaMemcpy(host, values, sizeof host, cudaMemcpyDefault));
    for (int i = 0; i < 10; i++) REQUIRE_ELEMENT(host[i], i < 5 ? 0 : i + 3, i);

    cudaPointerAttributes attributes;
    CUDA(cudaPointerGetAttributes(&attributes, values + 1));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeManaged);
    REQUIRE(attributes.hostPointer == values + 1 && attributes.devicePointer == values + 1);
    EXPECT_LAST(cudaMallocManaged(&sum, 16, 0x80), cudaErrorInvalidValue);
    CUDA(cudaFree(values));
    CUDA(cudaFree(nodes));
    return pass();
}
