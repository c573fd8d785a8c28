// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80
//
// Blocks that wait for each other without a cooperative launch, as many libraries' do: a scan that looks back at earlier blocks,
// a sum that the last block completes, a queue whose items make further items, blocks that all meet, one block that feeds
// another, and a lock that threads of one warp and of other blocks contend for.

#include "check_cuda.h"
#include <numeric>
#include <vector>

const int BLOCK = 256;

struct Tile {
    int state; // 0: nothing is known, 1: the sum of the block, 2: the sum up to its end
    int sum, prefix;
};

__device__ unsigned next_tile;

__global__ void scan(const int *values, int *sums, int n, volatile Tile *tiles) {
    __shared__ int tile, before, partial[BLOCK];
    if (threadIdx.x == 0) tile = atomicAdd(&next_tile, 1);
    __syncthreads();
    int i = tile * BLOCK + threadIdx.x;
    partial[threadIdx.x] = i < n ? values[i] : 0;
    __syncthreads();
    for (int distance = 1; distance < BLOCK; distance *= 2) {
        int other = threadIdx.x >= distance ? partial[threadIdx.x - distance] : 0;
        __syncthreads();
        partial[threadIdx.x] += other;
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        int sum = partial[BLOCK - 1];
        tiles[tile].sum = sum;
        __threadfence();
        tiles[tile].state = 1;
        before = 0;
        for (int earlier = tile - 1; earlier >= 0;) {
            int state = tiles[earlier].state;
            if (state == 0) continue;
            __threadfence();
            before += state == 2 ? tiles[earlier].prefix : tiles[earlier].sum;
            earlier = state == 2 ? -1 : earlier - 1;
        }
        tiles[tile].prefix = before + sum;
        __threadfence();
        tiles[tile].state = 2;
    }
    __syncthreads();
    if (i < n) sums[i] = before + partial[threadIdx.x];
}

__device__ unsigned finished;

__global__ void sum_by_the_last(const int *values, int n, int *partial, int *result) {
    __shared__ int sum;
    __shared__ bool last;
    if (threadIdx.x == 0) sum = 0;
    __syncthreads();
    int mine = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine += values[i];
    atomicAdd(&sum, mine);
    __syncthreads();
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(&finished, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        int total = 0;
        for (int i = 0; i < gridDim.x; i++) total += ((volatile int *)partial)[i];
        *result = total;
    }
}

struct Queue {
    int head, tail, pending, total;
    int items[4096]; // 0: not there yet
};

// Each item greater than 1 makes two of half its size.
__global__ void work(Queue *queue) {
    while (atomicAdd(&queue->pending, 0) > 0) {
        int head = atomicAdd(&queue->head, 0);
        if (head >= atomicAdd(&queue->tail, 0) || atomicCAS(&queue->head, head, head + 1) != head) continue;
        int item;
        while ((item = atomicAdd(&queue->items[head], 0)) == 0) {}
        atomicAdd(&queue->total, item);
        for (int child = 0; child < 2 && item > 1; child++) {
            atomicAdd(&queue->pending, 1);
            atomicExch(&queue->items[atomicAdd(&queue->tail, 1)], item / 2);
        }
        atomicSub(&queue->pending, 1);
    }
}

__device__ volatile unsigned arrived;

__global__ void all_meet(int *places, int rounds) {
    for (int round = 0; round < rounds; round++) {
        int *now = places + round % 2 * gridDim.x, *then = places + (round + 1) % 2 * gridDim.x;
        if (threadIdx.x == 0) {
            now[blockIdx.x] = round == 0 ? blockIdx.x : then[(blockIdx.x + 1) % gridDim.x];
            __threadfence();
            atomicAdd((unsigned *)&arrived, 1);
            while (arrived < (round + 1) * gridDim.x) {}
            __threadfence();
        }
        __syncthreads();
    }
}

__device__ volatile int box, full;

__global__ void feed(int n, int *sum) {
    if (threadIdx.x != 0) return;
    for (int i = 1; i <= n; i++) {
        bool feeder = blockIdx.x == 1;
        while (full == feeder) __nanosleep(20);
        __threadfence();
        if (feeder) box = i; else *sum += box;
        __threadfence();
        full = feeder;
    }
}

__device__ int lock, guarded;

__global__ void contend(int times) {
    for (int i = 0; i < times; i++) {
        for (bool done = false; !done;) {
            if (atomicCAS(&lock, 0, 1) == 0) {
                __threadfence();
                guarded = guarded + threadIdx.x;
                __threadfence();
                atomicExch(&lock, 0);
                done = true;
            }
        }
    }
}

template <class T> static T *zeros(size_t count) {
    T *memory;
    CUDA(cudaMalloc(&memory, count * sizeof(T)));
    CUDA(cudaMemset(memory, 0, count * sizeof(T)));
    return memory;
}

template <class T> static std::vector<T> fetched(const T *memory, size_t count) {
    std::vector<T> values(count);
    CUDA(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

int main() {
    const int tiles = 150, n = tiles * BLOCK - 17;
    std::vector<int> values(n), sums(n);
    for (int i = 0; i < n; i++) values[i] = i * 37 % 101;
    std::partial_sum(values.begin(), values.end(), sums.begin());
    int *device = zeros<int>(n), *device_sums = zeros<int>(n), *partial = zeros<int>(64), *result = zeros<int>(1);
    CUDA(cudaMemcpy(device, values.data(), n * sizeof(int), cudaMemcpyHostToDevice));
    scan<<<tiles, BLOCK>>>(device, device_sums, n, zeros<Tile>(tiles));
    LAUNCHED();
    REQUIRE(fetched(device_sums, n) == sums);

    for (int round = 0; round < 3; round++) {
        sum_by_the_last<<<64, 128>>>(device, n, partial, result);
        LAUNCHED();
        REQUIRE_EQUAL(fetched(result, 1)[0], sums.back());
    }

    Queue *queue = zeros<Queue>(1), start = {0, 1, 1, 0, {512}};
    CUDA(cudaMemcpy(queue, &start, sizeof start, cudaMemcpyHostToDevice));
    work<<<16, 64>>>(queue);
    LAUNCHED();
    REQUIRE_EQUAL(fetched(queue, 1)[0].total, 512 * 10);

    // As many blocks as the device says that it runs at a time.
    int blocks;
    cudaDeviceProp properties;
    CUDA(cudaGetDeviceProperties(&properties, 0));
    CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, all_meet, 64, 0));
    blocks *= properties.multiProcessorCount;
    int *places = zeros<int>(2 * blocks);
    all_meet<<<blocks, 64>>>(places, 4);
    LAUNCHED();
    auto found = fetched(places, 2 * blocks);
    for (int i = 0; i < blocks; i++) REQUIRE_ELEMENT(found[blocks + i], (i + 3) % blocks, i);

    int *fed = zeros<int>(1);
    feed<<<2, 32>>>(300, fed);
    LAUNCHED();
    REQUIRE_EQUAL(fetched(fed, 1)[0], 300 * 301 / 2);

    contend<<<8, 64>>>(4);
    LAUNCHED();
    int total;
    CUDA(cudaMemcpyFromSymbol(&total, guarded, sizeof total));
    REQUIRE_EQUAL(total, 8 * 4 * 63 * 32);
    return pass();
}
