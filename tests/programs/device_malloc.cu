// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// malloc, free, new and delete in kernels: per thread, per block, over several launches, and what does not fit.

#include "check_cuda.h"

__global__ void per_thread(int *results) {
    int n = threadIdx.x % 7 + 1;
    int *mine = (int *)malloc(n * sizeof(int));
    for (int i = 0; i < n; i++) mine[i] = threadIdx.x + i;
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < n; i++) sum += mine[i];
    results[blockIdx.x * blockDim.x + threadIdx.x] = sum;
    free(mine);
}

__global__ void per_block(int *results) {
    __shared__ int *data;
    if (threadIdx.x == 0) data = (int *)malloc(blockDim.x * sizeof(int));
    __syncthreads();
    data[threadIdx.x] = threadIdx.x * blockIdx.x;
    __syncthreads();
    results[blockIdx.x * blockDim.x + threadIdx.x] = data[blockDim.x - 1 - threadIdx.x];
    __syncthreads();
    if (threadIdx.x == 0) free(data);
}

struct Node {
    int value;
    Node *next;
};
__device__ Node *heads[64];

__global__ void push(int round) {
    Node *node = new Node;
    node->value = round * 100 + threadIdx.x;
    node->next = heads[threadIdx.x];
    heads[threadIdx.x] = node;
}

__global__ void sum_and_delete(int *results) {
    int sum = 0;
    for (Node *node = heads[threadIdx.x]; node;) {
        sum = sum * 3 + node->value;
        Node *next = node->next;
        delete node;
        node = next;
    }
    heads[threadIdx.x] = nullptr;
    results[threadIdx.x] = sum;
}

__global__ void too_much(int *results) {
    void *all = malloc((size_t)1 << 40);
    results[0] = all == nullptr;
    free(nullptr);
    results[1] = 1;
}

int main() {
    const int n = 512;
    int results[n], *device;
    CUDA(cudaMalloc(&device, sizeof results));
    per_thread<<<4, 128>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        int t = i % 128, k = t % 7 + 1;
        REQUIRE_ELEMENT(results[i], k * t + k * (k - 1) / 2, i);
    }
    per_block<<<8, 64>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(results[i], (63 - i % 64) * (i / 64), i);
    for (int round = 0; round < 5; round++) push<<<1, 64>>>(round);
    sum_and_delete<<<1, 64>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device, 64 * sizeof(int), cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) {
        int sum = 0;
        for (int round = 4; round >= 0; round--) sum = sum * 3 + round * 100 + i;
        REQUIRE_ELEMENT(results[i], sum, i);
    }
    too_much<<<1, 1>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device, 2 * sizeof(int), cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(results[0], 1);
    REQUIRE_EQUAL(results[1], 1);
    return pass();
}
