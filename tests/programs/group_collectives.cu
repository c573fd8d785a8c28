// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=compute_75 -gencode arch=compute_80,code=compute_80
//
// Cooperative groups: tiles of every size and of several warps, groups by label and of the threads that are there, with their
// reductions, scans and copies. Devices since 8.0 have memory of their own for groups of several warps.

#include "check_cuda.h"
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

namespace cg = cooperative_groups;

const int N = 256;

enum { SUM, LEAST, SCAN, SCAN_BEFORE, DOWN, ACROSS, BALLOT, MATCH, RANK, REAL, RESULTS };

template <class Tile> __device__ void collectives(const Tile &tile, int value, int (*results)[N], int i) {
    results[SUM][i] = cg::reduce(tile, value, cg::plus<int>());
    results[LEAST][i] = cg::reduce(tile, value, cg::less<int>());
    results[SCAN][i] = cg::inclusive_scan(tile, value);
    results[SCAN_BEFORE][i] = cg::exclusive_scan(tile, value, cg::bit_xor<int>());
    results[DOWN][i] = tile.shfl_down(value, 1);
    results[ACROSS][i] = tile.shfl(value, tile.size() - 1);
    results[BALLOT][i] = tile.ballot(value & 1);
    results[MATCH][i] = tile.match_any(value % 4);
    results[RANK][i] = tile.thread_rank() * 1000 + tile.meta_group_rank();
    results[REAL][i] = (int)cg::reduce(tile, value * 0.5, cg::plus<double>());
}

__global__ void tiles(const int *values, int (*results)[RESULTS][N]) {
    auto block = cg::this_thread_block();
    int i = block.thread_rank();
    collectives(cg::tiled_partition<2>(block), values[i], results[0], i);
    collectives(cg::tiled_partition<4>(block), values[i], results[1], i);
    collectives(cg::tiled_partition<8>(block), values[i], results[2], i);
    collectives(cg::tiled_partition<16>(block), values[i], results[3], i);
    collectives(cg::tiled_partition<32>(block), values[i], results[4], i);
}

enum { ODD_SUM, LABEL_SIZE, LABEL_SCAN, PRESENT_SUM, PRESENT_BEFORE, LARGE_SUM, LARGE_SCAN, LARGE_ANY, LARGE_SHUFFLE, COPIED, ONCE, KINDS };

__global__ void groups(const int *values, int (*results)[N]) {
    __shared__ cg::block_tile_memory<N> memory;
    __shared__ int staged[N];
    auto block = cg::this_thread_block(memory);
    auto warp = cg::tiled_partition<32>(block);
    int i = block.thread_rank(), value = values[i];
    results[ODD_SUM][i] = cg::reduce(cg::binary_partition(warp, value & 1), value, cg::plus<int>());
    auto labelled = cg::labeled_partition(warp, value % 5);
    results[LABEL_SIZE][i] = labelled.size();
    results[LABEL_SCAN][i] = cg::inclusive_scan(labelled, value);
    results[PRESENT_SUM][i] = results[PRESENT_BEFORE][i] = -1;
    if (value % 3 == 0) {
        auto present = cg::coalesced_threads();
        results[PRESENT_SUM][i] = cg::reduce(present, value, cg::plus<int>());
        results[PRESENT_BEFORE][i] = present.thread_rank();
    }
    auto large = cg::tiled_partition<128>(block);
    results[LARGE_SUM][i] = cg::reduce(large, value, cg::plus<int>());
    results[LARGE_SCAN][i] = cg::inclusive_scan(large, value);
    results[LARGE_ANY][i] = large.any(value == values[3]);
    results[LARGE_SHUFFLE][i] = large.shfl(value, 77);
    cg::memcpy_async(block, staged, values, sizeof staged);
    cg::wait(block);
    results[COPIED][i] = staged[N - 1 - i];
    results[ONCE][i] = cg::invoke_one_broadcast(warp, [&] { return (int)warp.meta_group_rank() * 7; });
}

static int values[N];

// What a group makes of the values at some places of its range, in order.
struct Group {
    int sum = 0, least = 1 << 30, size = 0;
    void add(int value) { sum += value, least = value < least ? value : least, size++; }
};

static void check_tiles(int size, const int (*found)[N]) {
    for (int first = 0; first < N; first += size) {
        Group tile;
        int exclusive = 0, half = 0;
        unsigned ballot = 0;
        for (int k = 0; k < size; k++) tile.add(values[first + k]), ballot |= (values[first + k] & 1u) << k, half += values[first + k];
        int sum = 0;
        for (int k = 0; k < size; k++) {
            int i = first + k;
            unsigned match = 0;
            for (int j = 0; j < size; j++) match |= (unsigned)(values[first + j] % 4 == values[i] % 4) << j;
            sum += values[i];
            REQUIRE_ELEMENT(found[SUM][i], tile.sum, i);
            REQUIRE_ELEMENT(found[LEAST][i], tile.least, i);
            REQUIRE_ELEMENT(found[SCAN][i], sum, i);
            REQUIRE_ELEMENT(found[SCAN_BEFORE][i], exclusive, i);
            REQUIRE_ELEMENT(found[DOWN][i], values[k + 1 < size ? i + 1 : i], i);
            REQUIRE_ELEMENT(found[ACROSS][i], values[first + size - 1], i);
            REQUIRE_ELEMENT((unsigned)found[BALLOT][i], ballot, i);
            REQUIRE_ELEMENT((unsigned)found[MATCH][i], match, i);
            REQUIRE_ELEMENT(found[RANK][i], k * 1000 + first / size, i);
            REQUIRE_ELEMENT(found[REAL][i], half / 2, i);
            exclusive ^= values[i];
        }
    }
}

static void check_groups(const int (*found)[N]) {
    for (int i = 0; i < N; i++) {
        Group odd, label, present, large;
        int label_sum = 0, present_before = 0, large_sum = 0;
        bool any = false;
        for (int j = i / 32 * 32; j < i / 32 * 32 + 32; j++) {
            if ((values[j] & 1) == (values[i] & 1)) odd.add(values[j]);
            if (values[j] % 5 == values[i] % 5) label.add(values[j]), label_sum += j <= i ? values[j] : 0;
            if (values[j] % 3 == 0) present.add(values[j]), present_before += j < i;
        }
        for (int j = i / 128 * 128; j < i / 128 * 128 + 128; j++) {
            large.add(values[j]), large_sum += j <= i ? values[j] : 0;
            any |= values[j] == values[3];
        }
        REQUIRE_ELEMENT(found[ODD_SUM][i], odd.sum, i);
        REQUIRE_ELEMENT(found[LABEL_SIZE][i], label.size, i);
        REQUIRE_ELEMENT(found[LABEL_SCAN][i], label_sum, i);
        REQUIRE_ELEMENT(found[PRESENT_SUM][i], values[i] % 3 == 0 ? present.sum : -1, i);
        REQUIRE_ELEMENT(found[PRESENT_BEFORE][i], values[i] % 3 == 0 ? present_before : -1, i);
        REQUIRE_ELEMENT(found[LARGE_SUM][i], large.sum, i);
        REQUIRE_ELEMENT(found[LARGE_SCAN][i], large_sum, i);
        REQUIRE_ELEMENT(found[LARGE_ANY][i], any, i);
        REQUIRE_ELEMENT(found[LARGE_SHUFFLE][i], values[i / 128 * 128 + 77], i);
        REQUIRE_ELEMENT(found[COPIED][i], values[N - 1 - i], i);
        REQUIRE_ELEMENT(found[ONCE][i], i / 32 * 7, i);
    }
}

int main() {
    for (int i = 0; i < N; i++) values[i] = (i * 40503u >> 3) % 1000;
    int *device;
    static int found[5][RESULTS][N];
    CUDA(cudaMalloc(&device, sizeof values + sizeof found));
    CUDA(cudaMemcpy(device, values, sizeof values, cudaMemcpyHostToDevice));
    auto results = reinterpret_cast<int (*)[RESULTS][N]>(device + N);
    tiles<<<1, N>>>(device, results);
    LAUNCHED();
    CUDA(cudaMemcpy(found, results, sizeof found, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 5; i++) check_tiles(2 << i, found[i]);
    groups<<<1, N>>>(device, results[0]);
    LAUNCHED();
    CUDA(cudaMemcpy(found, results, sizeof(int) * KINDS * N, cudaMemcpyDeviceToHost));
    check_groups(found[0]);
    return pass();
}
