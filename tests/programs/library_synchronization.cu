// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80
//
// libcu++: atomics of every width, order and scope, semaphores, latches, barriers with and without a completion function, and
// pipelines whose producers and consumers are all threads or different ones.

#include "check_cuda.h"
#include <cooperative_groups.h>
#include <cuda/atomic>
#include <cuda/barrier>
#include <cuda/latch>
#include <cuda/pipeline>
#include <cuda/semaphore>

// Barriers in shared memory are initialised by hand.
#pragma nv_diag_suppress 20054

namespace cg = cooperative_groups;
constexpr auto BLOCK_SCOPE = cuda::thread_scope_block;
constexpr auto DEVICE_SCOPE = cuda::thread_scope_device;

__device__ cuda::atomic<int, DEVICE_SCOPE> counted{0};
__device__ cuda::atomic<unsigned long long, cuda::thread_scope_system> wide{0};
__device__ cuda::atomic<float, DEVICE_SCOPE> real{0};
__device__ cuda::std::atomic<short> narrow{0};
__device__ cuda::atomic<signed char, DEVICE_SCOPE> byte{0};
__device__ cuda::binary_semaphore<DEVICE_SCOPE> one{1};
__device__ cuda::counting_semaphore<DEVICE_SCOPE, 4> four{4};
__device__ cuda::atomic<int, DEVICE_SCOPE> inside{0}, most_inside{0};
__device__ int guarded;

__global__ void atomics(int *largest, double *sum) {
    counted.fetch_add(1, cuda::memory_order_relaxed);
    wide.fetch_add(threadIdx.x, cuda::memory_order_acq_rel);
    real.fetch_add(0.5f);
    narrow.fetch_add(3, cuda::std::memory_order_release);
    byte.fetch_xor(threadIdx.x);
    cuda::atomic_ref<int, DEVICE_SCOPE>(largest[threadIdx.x % 7]).fetch_max(threadIdx.x * 3 + blockIdx.x);
    cuda::atomic_ref<double>(*sum).fetch_add(0.25, cuda::memory_order_seq_cst);
    cuda::atomic_ref<int> last(largest[7]);
    int old = last.load(cuda::memory_order_acquire);
    while (!last.compare_exchange_weak(old, old + 2, cuda::memory_order_release, cuda::memory_order_relaxed)) {}
    one.acquire();
    guarded = guarded + 1;
    one.release();
    four.acquire();
    most_inside.fetch_max(inside.fetch_add(1) + 1);
    inside.fetch_sub(1);
    four.release();
}

__global__ void waits(int *result) {
    __shared__ cuda::atomic<int, BLOCK_SCOPE> flag;
    if (threadIdx.x == 0) flag.store(0);
    __syncthreads();
    if (threadIdx.x == 40) {
        *result = 77;
        flag.store(1, cuda::memory_order_release);
        flag.notify_all();
    } else {
        flag.wait(0, cuda::memory_order_acquire);
        atomicAdd(result, 1);
    }
}

struct Completion {
    int *phases;
    __device__ void operator()() noexcept { *phases += 1; }
};

__global__ void meetings(int *results) {
    using Counted = cuda::barrier<BLOCK_SCOPE, Completion>;
    __shared__ cuda::barrier<BLOCK_SCOPE> barrier;
    __shared__ alignas(Counted) char counted_memory[sizeof(Counted)];
    __shared__ alignas(cuda::latch<BLOCK_SCOPE>) char latch_memory[sizeof(cuda::latch<BLOCK_SCOPE>)];
    __shared__ int values[128], phases;
    auto &counting = *reinterpret_cast<Counted *>(counted_memory);
    auto &latch = *reinterpret_cast<cuda::latch<BLOCK_SCOPE> *>(latch_memory);
    int i = threadIdx.x, right = 0;
    if (i == 0) {
        phases = 0;
        init(&barrier, blockDim.x);
        new (&counting) Counted(blockDim.x, Completion{&phases});
        new (&latch) cuda::latch<BLOCK_SCOPE>(blockDim.x);
    }
    __syncthreads();
    for (int round = 0; round < 5; round++) {
        values[i] = i * round;
        auto token = barrier.arrive();
        barrier.wait(std::move(token));
        right += values[127 - i] == (127 - i) * round;
        barrier.arrive_and_wait();
        counting.arrive_and_wait();
    }
    values[i] = 1;
    latch.arrive_and_wait();
    right += values[(i + 5) % 128];
    // Half of the threads go on without the others.
    if (i < 64) {
        barrier.arrive_and_wait();
        barrier.arrive_and_wait();
    } else {
        barrier.arrive_and_drop();
    }
    results[i] = right * 100 + phases;
}

const int STAGES = 3, BATCH = 96;

// All threads copy, and all compute.
__global__ void together(const int *in, int *out, int batches) {
    __shared__ cuda::pipeline_shared_state<BLOCK_SCOPE, STAGES> state;
    __shared__ alignas(16) int staged[STAGES][BATCH];
    auto block = cg::this_thread_block();
    auto pipeline = cuda::make_pipeline(block, &state);
    for (int batch = 0, fetched = 0; batch < batches; batch++) {
        for (; fetched < batches && fetched < batch + STAGES; fetched++) {
            pipeline.producer_acquire();
            cuda::memcpy_async(block, staged[fetched % STAGES], in + fetched * BATCH, cuda::aligned_size_t<16>(BATCH * sizeof(int)), pipeline);
            pipeline.producer_commit();
        }
        pipeline.consumer_wait();
        out[batch * BATCH + threadIdx.x] = 2 * staged[batch % STAGES][BATCH - 1 - threadIdx.x];
        pipeline.consumer_release();
    }
}

// The first warp copies, the others compute.
__global__ void apart(const int *in, int *out, int batches) {
    __shared__ cuda::pipeline_shared_state<BLOCK_SCOPE, STAGES> state;
    __shared__ int staged[STAGES][BATCH];
    auto pipeline = cuda::make_pipeline(cg::this_thread_block(), &state, (size_t)32);
    for (int batch = 0; batch < batches; batch++) {
        int *stage = staged[batch % STAGES];
        if (threadIdx.x < 32) {
            pipeline.producer_acquire();
            for (int i = threadIdx.x; i < BATCH; i += 32) cuda::memcpy_async(stage + i, in + batch * BATCH + i, sizeof(int), pipeline);
            pipeline.producer_commit();
        } else {
            int i = threadIdx.x - 32;
            pipeline.consumer_wait();
            out[batch * BATCH + i] = stage[BATCH - 1 - i] + 1;
            pipeline.consumer_release();
        }
    }
}

template <class Atomic, class T> static void require_symbol(const Atomic &symbol, T expected) {
    T value;
    CUDA(cudaMemcpyFromSymbol(&value, symbol, sizeof value));
    REQUIRE(value == expected);
}

int main() {
    const int threads = 96, blocks = 6, all = threads * blocks, batches = 11;
    int *device, host[BATCH * batches];
    double *sum, host_sum;
    CUDA(cudaMalloc(&device, 2 * sizeof host));
    CUDA(cudaMalloc(&sum, sizeof *sum));
    CUDA(cudaMemset(device, 0, sizeof host));
    CUDA(cudaMemset(sum, 0, sizeof *sum));
    atomics<<<blocks, threads>>>(device, sum);
    LAUNCHED();
    CUDA(cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost));
    CUDA(cudaMemcpy(&host_sum, sum, sizeof host_sum, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 7; i++) REQUIRE_ELEMENT(host[i], (95 - (95 - i) % 7) * 3 + 5, i);
    REQUIRE_EQUAL(host[7], 2 * all);
    REQUIRE(host_sum == all * 0.25);
    require_symbol(counted, all);
    require_symbol(wide, 95ull * 48 * blocks);
    require_symbol(real, all * 0.5f);
    require_symbol(narrow, (short)(3 * all));
    require_symbol(byte, (signed char)0);
    require_symbol(guarded, all);
    int most;
    CUDA(cudaMemcpyFromSymbol(&most, most_inside, sizeof most));
    REQUIRE(most >= 1 && most <= 4);

    waits<<<1, 256>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(host, device, sizeof(int), cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host[0], 77 + 255);

    meetings<<<1, 128>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 128; i++) REQUIRE_ELEMENT(host[i], 605, i);

    int *in = device, *out = device + BATCH * batches;
    for (int i = 0; i < BATCH * batches; i++) host[i] = 5 + i;
    CUDA(cudaMemcpy(in, host, sizeof host, cudaMemcpyHostToDevice));
    for (bool specialised : {false, true}) {
        if (specialised) apart<<<1, 32 + BATCH>>>(in, out, batches);
        else together<<<1, BATCH>>>(in, out, batches);
        LAUNCHED();
        CUDA(cudaMemcpy(host, out, sizeof host, cudaMemcpyDeviceToHost));
        for (int i = 0; i < BATCH * batches; i++) {
            int source = 5 + i / BATCH * BATCH + BATCH - 1 - i % BATCH;
            REQUIRE_ELEMENT(host[i], specialised ? source + 1 : 2 * source, i);
        }
    }
    return pass();
}
