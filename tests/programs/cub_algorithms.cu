// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=compute_80
//
// CUB: what the whole device does, and what blocks and warps do together.

#include "check_cuda.h"
#include <algorithm>
#include <numeric>
#include <vector>

#include <cub/block/block_load.cuh>
#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_scan.cuh>
#include <cub/block/block_store.cuh>
#include <cub/device/device_histogram.cuh>
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_run_length_encode.cuh>
#include <cub/device/device_segmented_reduce.cuh>
#include <cub/device/device_select.cuh>
#include <cub/warp/warp_reduce.cuh>

const int THREADS = 96, ITEMS = 5;

__global__ void sort_and_scan(int *values, int *largest) {
    using Load = cub::BlockLoad<int, THREADS, ITEMS, cub::BLOCK_LOAD_WARP_TRANSPOSE>;
    using Sort = cub::BlockRadixSort<int, THREADS, ITEMS>;
    using Scan = cub::BlockScan<int, THREADS>;
    using Store = cub::BlockStore<int, THREADS, ITEMS, cub::BLOCK_STORE_TRANSPOSE>;
    using Reduce = cub::WarpReduce<int, 16>;
    __shared__ union {
        Load::TempStorage load;
        Sort::TempStorage sort;
        Scan::TempStorage scan;
        Store::TempStorage store;
        Reduce::TempStorage reduce[THREADS / 16];
    } memory;
    int items[ITEMS];
    Load(memory.load).Load(values + blockIdx.x * THREADS * ITEMS, items);
    __syncthreads();
    Sort(memory.sort).Sort(items);
    __syncthreads();
    int group = threadIdx.x / 16, top = Reduce(memory.reduce[group]).Reduce(items[ITEMS - 1], cuda::maximum<>{});
    if (threadIdx.x % 16 == 0) largest[blockIdx.x * (THREADS / 16) + group] = top;
    __syncthreads();
    Scan(memory.scan).InclusiveSum(items, items);
    __syncthreads();
    Store(memory.store).Store(values + blockIdx.x * THREADS * ITEMS, items);
}

template <class T> static T *copied(const std::vector<T> &values) {
    T *memory;
    CUDA(cudaMalloc(&memory, values.size() * sizeof(T)));
    CUDA(cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return memory;
}

template <class T> static std::vector<T> fetched(const T *memory, size_t count) {
    std::vector<T> values(count);
    CUDA(cudaMemcpy(values.data(), memory, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

// Calls what asks for working memory first.
template <class Call> static void with_storage(Call call) {
    void *storage = nullptr;
    size_t bytes = 0;
    CUDA(call(storage, bytes));
    CUDA(cudaMalloc(&storage, bytes));
    CUDA(call(storage, bytes));
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaFree(storage));
}

int main() {
    const int n = 12345, blocks = 7;
    std::vector<unsigned> keys(n);
    std::vector<int> places(n), none(n);
    for (int i = 0; i < n; i++) keys[i] = i * 2654435761u >> 4, places[i] = i;

    unsigned *device_keys = copied(keys), *sorted = copied(keys);
    int *device_places = copied(places), *result = copied(none), *counts = copied(none), *number = copied(none);
    with_storage([&](void *storage, size_t &bytes) {
        return cub::DeviceRadixSort::SortPairs(storage, bytes, device_keys, sorted, device_places, result, n);
    });
    std::vector<int> order = places;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return keys[a] < keys[b]; });
    REQUIRE(fetched(result, n) == order);

    with_storage([&](void *storage, size_t &bytes) {
        return cub::DeviceHistogram::HistogramEven(storage, bytes, device_keys, result, 17, 0u, 1u << 28, n);
    });
    std::vector<int> bins(16);
    for (unsigned key : keys) bins[key >> 24]++;
    REQUIRE(fetched(result, 16) == bins);

    std::vector<int> runs(n);
    for (int i = 0; i < n; i++) runs[i] = i * i / 5000;
    int *device_runs = copied(runs);
    with_storage([&](void *storage, size_t &bytes) {
        return cub::DeviceRunLengthEncode::Encode(storage, bytes, device_runs, result, counts, number, n);
    });
    auto values = fetched(result, n), lengths = fetched(counts, n);
    int runs_found = fetched(number, 1)[0], at = 0;
    for (int run = 0; run < runs_found; at += lengths[run++])
        for (int i = at; i < at + lengths[run]; i++) REQUIRE_ELEMENT(runs[i], values[run], i);
    REQUIRE_EQUAL(at, n);
    REQUIRE_EQUAL(std::unique(runs.begin(), runs.end()) - runs.begin(), runs_found);

    with_storage([&](void *storage, size_t &bytes) {
        return cub::DeviceSelect::Flagged(storage, bytes, device_places, device_runs, result, number, n);
    });
    REQUIRE_EQUAL(fetched(number, 1)[0], n - (int)std::count_if(places.begin(), places.end(), [](int i) { return i * i < 5000; }));

    std::vector<int> offsets;
    for (int i = 0; i <= 100; i++) offsets.push_back(n * i / 100);
    int *device_offsets = copied(offsets);
    with_storage([&](void *storage, size_t &bytes) {
        return cub::DeviceSegmentedReduce::Sum(storage, bytes, device_places, result, 100, device_offsets, device_offsets + 1);
    });
    auto sums = fetched(result, 100);
    for (int i = 0; i < 100; i++)
        REQUIRE_ELEMENT(sums[i], std::accumulate(places.begin() + offsets[i], places.begin() + offsets[i + 1], 0), i);

    const int block = THREADS * ITEMS;
    std::vector<int> parts(blocks * block);
    for (int i = 0; i < (int)parts.size(); i++) parts[i] = (int)(i * 40503u >> 2) % 1000 - 500;
    int *device_parts = copied(parts), *device_largest = copied(none);
    sort_and_scan<<<blocks, THREADS>>>(device_parts, device_largest);
    LAUNCHED();
    auto scanned = fetched(device_parts, parts.size()), largest = fetched(device_largest, blocks * THREADS / 16);
    for (int b = 0; b < blocks; b++) {
        auto first = parts.begin() + b * block;
        std::sort(first, first + block);
        for (int g = 0; g < THREADS / 16; g++) REQUIRE_ELEMENT(largest[b * THREADS / 16 + g], first[(g + 1) * 16 * ITEMS - 1], g);
        std::partial_sum(first, first + block, first);
    }
    REQUIRE(scanned == parts);
    return pass();
}
