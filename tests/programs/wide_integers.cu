// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Integers of 128 bits, and divisions of every width, against the host: compilers make them of carry chains and approximations.

#include "check_cuda.h"
#include <vector>

using Wide = __int128;
using UnsignedWide = unsigned __int128;

enum { ADD, SUBTRACT, MULTIPLY, SHIFT, DIVIDE, REMAINDER, DIVIDE_UNSIGNED, REMAINDER_UNSIGNED, FLOATS, NARROW, RESULTS };

__host__ __device__ UnsignedWide bits_of(double value) {
    unsigned long long bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

__host__ __device__ void calculate(Wide a, Wide b, UnsignedWide *results) {
    const Wide divisor = b == 0 ? 1 : b;
    const UnsignedWide x = a, y = divisor;
    const int count = (unsigned)b % 128;
    results[ADD] = x + b;
    results[SUBTRACT] = x - b;
    results[MULTIPLY] = x * b;
    results[SHIFT] = (x << count) ^ (UnsignedWide)(a >> count);
    results[DIVIDE] = a / divisor;
    results[REMAINDER] = a % divisor;
    results[DIVIDE_UNSIGNED] = x / y;
    results[REMAINDER_UNSIGNED] = x % y;
    results[FLOATS] = bits_of((double)a) ^ bits_of((double)x) << 64 ^ (a < b);
    const long long n = (long long)a, m = (long long)b | 1;
    const unsigned long long un = n, um = m;
    results[NARROW] = (un / um + un % um) * 31 + (unsigned)un / (unsigned)um + (unsigned short)un % (unsigned short)um;
    if (m != -1) results[NARROW] += (UnsignedWide)(n / m) + (n % m) + (int)(short)n / (int)(short)m;
}

__global__ void on_device(const Wide *values, int n, UnsignedWide *results) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) calculate(values[i], values[(i * 7 + 3) % n], results + i * RESULTS);
}

int main() {
    const int n = 1000;
    std::vector<Wide> values(n);
    unsigned long long state = 0x9e3779b97f4a7c15;
    auto random = [&] { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; };
    for (int i = 0; i < n; i++) {
        Wide value = (Wide)random() << 64 | random();
        values[i] = i < 4 ? i - 1 : (i % 2 ? value : -value) >> (random() % 127);
    }
    values[4] = (Wide)1 << 127;
    values[5] = ~values[4];

    Wide *device;
    UnsignedWide *device_results;
    CUDA(cudaMalloc(&device, n * sizeof(Wide)));
    CUDA(cudaMalloc(&device_results, n * RESULTS * sizeof(UnsignedWide)));
    CUDA(cudaMemcpy(device, values.data(), n * sizeof(Wide), cudaMemcpyHostToDevice));
    on_device<<<blocks_for(n, 128), 128>>>(device, n, device_results);
    LAUNCHED();
    std::vector<UnsignedWide> results(n * RESULTS);
    CUDA(cudaMemcpy(results.data(), device_results, n * RESULTS * sizeof(UnsignedWide), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        UnsignedWide expected[RESULTS];
        calculate(values[i], values[(i * 7 + 3) % n], expected);
        for (int r = 0; r < RESULTS; r++)
            if (results[i * RESULTS + r] != expected[r])
                FAIL("result %d of value %d is %016llx%016llx, not %016llx%016llx", r, i, (long long)(results[i * RESULTS + r] >> 64),
                     (long long)results[i * RESULTS + r], (long long)(expected[r] >> 64), (long long)expected[r]);
    }
    return pass();
}
