// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 --compress-mode=none
//
// A histogram by atomics in shared and in global memory, and every kind of atomic operation. Argument: the number of samples.

#include "check_cuda.h"
#include <vector>

const int BINS = 61;

__global__ void histogram(const unsigned char *samples, int n, unsigned *bins) {
    __shared__ unsigned local[BINS];
    for (int i = threadIdx.x; i < BINS; i += blockDim.x) local[i] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[samples[i] % BINS], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < BINS; i += blockDim.x) atomicAdd(&bins[i], local[i]);
}

struct Cells {
    int add, subtract, minimum, maximum, exchanged, spun;
    unsigned all, any, odd, wrapped_up, wrapped_down;
    unsigned long long wide_add, wide_max;
    float real;
    double wide_real;
};

__global__ void operations(Cells *cells) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    atomicAdd(&cells->add, i);
    atomicSub(&cells->subtract, i);
    atomicMin(&cells->minimum, 100 - i);
    atomicMax(&cells->maximum, i - 100);
    atomicExch(&cells->exchanged, 5);
    atomicAnd(&cells->all, ~(1u << i % 8));
    atomicOr(&cells->any, 1u << i % 20);
    atomicXor(&cells->odd, i);
    atomicInc(&cells->wrapped_up, 9);
    atomicDec(&cells->wrapped_down, 6);
    atomicAdd(&cells->wide_add, 1ull << 33);
    atomicMax(&cells->wide_max, (unsigned long long)i << 40);
    atomicAdd(&cells->real, 0.5f);
    atomicAdd(&cells->wide_real, 0.25);
    // An addition made of compare-and-swap.
    int seen = cells->spun, before;
    do {
        before = seen;
        seen = atomicCAS(&cells->spun, before, before + 3);
    } while (seen != before);
}

// Every thread must get a different ticket.
__global__ void tickets(unsigned *counter, unsigned *taken) { taken[atomicAdd(counter, 1)] += 1; }

int main(int argc, char **argv) {
    int n = argument(argc, argv, 1, 30000);
    std::vector<unsigned char> samples(n);
    unsigned bins[BINS], expected[BINS] = {}, *device_bins;
    for (int i = 0; i < n; i++) expected[(samples[i] = (unsigned)i * 2654435761u >> 13) % BINS]++;
    unsigned char *device_samples;
    CUDA(cudaMalloc(&device_samples, n));
    CUDA(cudaMalloc(&device_bins, sizeof bins));
    CUDA(cudaMemcpy(device_samples, samples.data(), n, cudaMemcpyHostToDevice));
    CUDA(cudaMemset(device_bins, 0, sizeof bins));
    histogram<<<6, 128>>>(device_samples, n, device_bins);
    LAUNCHED();
    CUDA(cudaMemcpy(bins, device_bins, sizeof bins, cudaMemcpyDeviceToHost));
    for (int i = 0; i < BINS; i++) REQUIRE_ELEMENT(bins[i], expected[i], i);

    const int threads = 4 * 64;
    Cells cells = {}, *device_cells;
    cells.minimum = 1000, cells.maximum = -1000, cells.all = ~0u;
    CUDA(cudaMalloc(&device_cells, sizeof cells));
    CUDA(cudaMemcpy(device_cells, &cells, sizeof cells, cudaMemcpyHostToDevice));
    operations<<<4, 64>>>(device_cells);
    LAUNCHED();
    CUDA(cudaMemcpy(&cells, device_cells, sizeof cells, cudaMemcpyDeviceToHost));
    const int total = threads * (threads - 1) / 2;
    unsigned odd = 0, up = 0, down = 0;
    for (unsigned i = 0; i < threads; i++) {
        odd ^= i;
        up = up >= 9 ? 0 : up + 1;
        down = down == 0 || down > 6 ? 6 : down - 1;
    }
    REQUIRE_EQUAL(cells.add, total);
    REQUIRE_EQUAL(cells.subtract, -total);
    REQUIRE_EQUAL(cells.minimum, 100 - (threads - 1));
    REQUIRE_EQUAL(cells.maximum, threads - 1 - 100);
    REQUIRE_EQUAL(cells.exchanged, 5);
    REQUIRE_EQUAL(cells.all, 0xffffff00);
    REQUIRE_EQUAL(cells.any, 0xfffff);
    REQUIRE_EQUAL(cells.odd, odd);
    REQUIRE_EQUAL(cells.wrapped_up, up);
    REQUIRE_EQUAL(cells.wrapped_down, down);
    REQUIRE_EQUAL(cells.wide_add, (unsigned long long)threads << 33);
    REQUIRE_EQUAL(cells.wide_max, (threads - 1ull) << 40);
    REQUIRE(cells.real == threads * 0.5f);
    REQUIRE(cells.wide_real == threads * 0.25);
    REQUIRE_EQUAL(cells.spun, 3 * threads);

    const int takers = 1000;
    std::vector<unsigned> taken(takers);
    unsigned *device_taken;
    CUDA(cudaMalloc(&device_taken, (takers + 1) * sizeof(unsigned)));
    CUDA(cudaMemset(device_taken, 0, (takers + 1) * sizeof(unsigned)));
    tickets<<<10, 100>>>(device_taken + takers, device_taken);
    LAUNCHED();
    CUDA(cudaMemcpy(taken.data(), device_taken, takers * sizeof(unsigned), cudaMemcpyDeviceToHost));
    for (int i = 0; i < takers; i++) REQUIRE_ELEMENT(taken[i], 1, i);
    return pass();
}
