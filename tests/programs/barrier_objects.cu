// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// cuda::barrier in shared memory: phases, tokens, threads that drop out, warps that produce and consume, asynchronous copies.

#include "check_cuda.h"
#include <cuda/barrier>
#include <cuda_awbarrier_primitives.h>

using barrier = cuda::barrier<cuda::thread_scope_block>;
const int threads = 128;

// A prefix sum, with a barrier between its steps.
__global__ void scan(const int *in, int *out) {
    __shared__ int values[2][threads];
#pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ barrier all;
    int t = threadIdx.x;
    if (t == 0) init(&all, threads);
    values[0][t] = in[t];
    __syncthreads();
    int from = 0;
    for (int step = 1; step < threads; step *= 2) {
        values[1 - from][t] = values[from][t] + (t >= step ? values[from][t - step] : 0);
        all.arrive_and_wait();
        from = 1 - from;
    }
    out[t] = values[from][t];
}

// One warp fills a buffer, the others empty it: arrivals and waits are apart.
__global__ void producer(int *out) {
    __shared__ int buffer[32];
    __shared__ barrier full, empty;
    int t = threadIdx.x;
    if (t == 0) {
        init(&full, threads);
        init(&empty, threads);
    }
    __syncthreads();
    int sum = 0;
    for (int round = 0; round < 10; round++) {
        if (t < 32) {
            empty.arrive_and_wait();
            buffer[t] = round * 32 + t;
            auto token = full.arrive();
            (void)token;
        } else {
            auto token = empty.arrive();
            (void)token;
            full.arrive_and_wait();
            sum += buffer[t % 32];
        }
    }
    out[t] = sum;
}

// Threads leave one after the other; those who are left wait for each other only.
__global__ void leaving(int *out) {
    __shared__ barrier left;
    __shared__ int count;
    int t = threadIdx.x;
    if (t == 0) {
        init(&left, 32);
        count = 0;
    }
    __syncwarp();
    for (int round = 0; round < t; round++) {
        left.arrive_and_wait();
    }
    atomicAdd(&count, 1);
    left.arrive_and_drop();
    __syncwarp();
    if (t == 0) *out = count;
}

__global__ void copied(const int4 *in, int *out) {
    __shared__ int4 buffer[threads];
    __shared__ barrier ready;
    int t = threadIdx.x;
    if (t == 0) init(&ready, threads);
    __syncthreads();
    cuda::memcpy_async(&buffer[t], &in[t], cuda::aligned_size_t<16>(16), ready);
    ready.arrive_and_wait();
    out[t] = buffer[threads - 1 - t].y;
}

// The primitives below it, with parity.
__global__ void parity(int *out) {
    __shared__ __mbarrier_t state;
    __shared__ int value;
    int t = threadIdx.x;
    if (t == 0) __mbarrier_init(&state, blockDim.x);
    __syncthreads();
    for (int phase = 0; phase < 4; phase++) {
        if (t == phase) value = phase * 10;
        __mbarrier_token_t token = __mbarrier_arrive(&state);
        while (!__mbarrier_test_wait(&state, token)) {}
        out[phase * blockDim.x + t] = value;
        token = __mbarrier_arrive(&state);
        while (!__mbarrier_test_wait(&state, token)) {}
    }
}

int main() {
    int in[threads], out[4 * threads], *device_in, *device_out;
    CUDA(cudaMalloc(&device_in, 4 * sizeof in));
    CUDA(cudaMalloc(&device_out, sizeof out));
    for (int i = 0; i < threads; i++) in[i] = i * 3 % 17;
    CUDA(cudaMemcpy(device_in, in, sizeof in, cudaMemcpyHostToDevice));
    scan<<<1, threads>>>(device_in, device_out);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device_out, sizeof in, cudaMemcpyDeviceToHost));
    for (int i = 0, sum = 0; i < threads; i++) {
        sum += in[i];
        REQUIRE_ELEMENT(out[i], sum, i);
    }
    producer<<<1, threads>>>(device_out);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device_out, sizeof in, cudaMemcpyDeviceToHost));
    for (int i = 0; i < threads; i++) REQUIRE_ELEMENT(out[i], i < 32 ? 0 : 45 * 32 + 10 * (i % 32), i);
    leaving<<<1, 32>>>(device_out);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device_out, sizeof(int), cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(out[0], 32);
    int4 vectors[threads];
    for (int i = 0; i < threads; i++) vectors[i] = make_int4(0, i * i, 0, 0);
    CUDA(cudaMemcpy(device_in, vectors, sizeof vectors, cudaMemcpyHostToDevice));
    copied<<<1, threads>>>((const int4 *)device_in, device_out);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device_out, sizeof in, cudaMemcpyDeviceToHost));
    for (int i = 0; i < threads; i++) REQUIRE_ELEMENT(out[i], (threads - 1 - i) * (threads - 1 - i), i);
    parity<<<1, threads>>>(device_out);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device_out, sizeof out, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 4 * threads; i++) REQUIRE_ELEMENT(out[i], i / threads * 10, i);
    return pass();
}
