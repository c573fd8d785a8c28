// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 --compress-mode=speed
//
// Sums by shuffles, and the other warp-wide functions: every shuffle, the votes, match, warp reductions, partial masks.

#include "check_cuda.h"
#include <vector>

const unsigned ALL = 0xffffffff;

__inline__ __device__ long long warp_sum(long long value) {
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(ALL, value, offset);
    return value;
}

__global__ void sum(const int *values, int n, unsigned long long *result) {
    __shared__ long long sums[32];
    long long value = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) value += values[i];
    value = warp_sum(value);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    if (lane == 0) sums[warp] = value;
    __syncthreads();
    if (warp == 0) {
        value = warp_sum(lane < blockDim.x / 32 ? sums[lane] : 0);
        if (lane == 0) atomicAdd(result, (unsigned long long)value);
    }
}

enum { DOWN, UP, XOR, INDEX, NARROW, FLOAT, DOUBLE, BALLOT, ANY, EVERY, MATCH, ADD, MAX, HALF_MASK, SCAN, RESULTS };

__global__ void warp_functions(unsigned (*results)[32]) {
    unsigned lane = threadIdx.x, value = lane * lane;
    results[DOWN][lane] = __shfl_down_sync(ALL, value, 3);
    results[UP][lane] = __shfl_up_sync(ALL, value, 5);
    results[XOR][lane] = __shfl_xor_sync(ALL, value, 9);
    results[INDEX][lane] = __shfl_sync(ALL, value, 31 - lane);
    results[NARROW][lane] = __shfl_down_sync(ALL, value, 1, 8);
    results[FLOAT][lane] = __shfl_sync(ALL, lane * 0.5f, lane / 2) * 4;
    results[DOUBLE][lane] = __shfl_xor_sync(ALL, lane * 0.25, 16) * 8;
    results[BALLOT][lane] = __ballot_sync(ALL, lane % 3 == 0);
    results[ANY][lane] = __any_sync(ALL, lane == 17);
    results[EVERY][lane] = __all_sync(ALL, lane != 17);
    results[MATCH][lane] = __match_any_sync(ALL, lane / 10);
    results[ADD][lane] = __reduce_add_sync(ALL, value);
    results[MAX][lane] = __reduce_max_sync(ALL, value ^ 5);
    if (lane < 16) {
        results[HALF_MASK][lane] = __shfl_xor_sync(0x0000ffff, value, 1);
    } else {
        results[HALF_MASK][lane] = __ballot_sync(0xffff0000, lane & 1);
    }
    for (int offset = 1; offset < 32; offset *= 2) {
        unsigned below = __shfl_up_sync(ALL, value, offset);
        if (lane >= offset) value += below;
    }
    results[SCAN][lane] = value;
}

static unsigned expected(int function, unsigned lane) {
    auto square = [](unsigned i) { return i * i; };
    unsigned sum = 0, max = 0, mask = 0;
    switch (function) {
    case DOWN: return square(lane + 3 < 32 ? lane + 3 : lane);
    case UP: return square(lane >= 5 ? lane - 5 : lane);
    case XOR: return square(lane ^ 9);
    case INDEX: return square(31 - lane);
    case NARROW: return square(lane % 8 < 7 ? lane + 1 : lane);
    case FLOAT: return lane / 2 * 2;
    case DOUBLE: return (lane ^ 16) * 2;
    case BALLOT:
        for (unsigned i = 0; i < 32; i += 3) mask |= 1u << i;
        return mask;
    case ANY: return 1;
    case EVERY: return 0;
    case MATCH:
        for (unsigned i = 0; i < 32; i++) mask |= (unsigned)(i / 10 == lane / 10) << i;
        return mask;
    case ADD:
        for (unsigned i = 0; i < 32; i++) sum += square(i);
        return sum;
    case MAX:
        for (unsigned i = 0; i < 32; i++) max = (square(i) ^ 5) > max ? square(i) ^ 5 : max;
        return max;
    case HALF_MASK: return lane < 16 ? square(lane ^ 1) : 0xaaaa0000;
    default:
        for (unsigned i = 0; i <= lane; i++) sum += square(i);
        return sum;
    }
}

int main(int argc, char **argv) {
    int n = argument(argc, argv, 1, 20000);
    std::vector<int> values(n);
    long long total = 0;
    for (int i = 0; i < n; i++) total += values[i] = i * 37 % 1001 - 400;
    int *device_values;
    long long *device_result, result;
    CUDA(cudaMalloc(&device_values, n * sizeof(int)));
    CUDA(cudaMalloc(&device_result, sizeof(long long)));
    CUDA(cudaMemcpy(device_values, values.data(), n * sizeof(int), cudaMemcpyHostToDevice));
    CUDA(cudaMemset(device_result, 0, sizeof(long long)));
    sum<<<7, 96>>>(device_values, n, (unsigned long long *)device_result);
    LAUNCHED();
    CUDA(cudaMemcpy(&result, device_result, sizeof result, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(result, total);

    unsigned results[RESULTS][32], (*device_results)[32];
    CUDA(cudaMalloc(&device_results, sizeof results));
    warp_functions<<<1, 32>>>(device_results);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost));
    for (int function = 0; function < RESULTS; function++) {
        for (unsigned lane = 0; lane < 32; lane++) {
            if (results[function][lane] != expected(function, lane))
                FAIL("function %d gives %#x in lane %u, not %#x", function, results[function][lane], lane, expected(function, lane));
        }
    }
    return pass();
}
