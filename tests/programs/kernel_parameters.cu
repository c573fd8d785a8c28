// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=sm_75 -gencode arch=compute_75,code=compute_75
//
// Kernel parameters of every size and alignment, structures by value, and almost 4 KiB of them.

#include "check_cuda.h"

struct __align__(16) Aligned {
    float values[3];
};
struct Odd {
    char text[5];
};
struct Nested {
    char tag;
    Odd odd;
    double real;
    short half;
};
struct Huge {
    int values[1000];
};
struct Empty {};

__global__ void mixed(char c, double d, short s, int3 v, unsigned char u, Aligned a, bool b, Odd o, long long l, Nested n, float f, const int *p, float4 q, Empty, double *out) {
    out[0] = c, out[1] = d, out[2] = s, out[3] = v.x + 10 * v.y + 100 * v.z, out[4] = u;
    out[5] = a.values[0] + a.values[1] * 10 + a.values[2] * 100, out[6] = b, out[7] = o.text[4], out[8] = l;
    out[9] = n.tag + n.odd.text[2], out[10] = n.real, out[11] = n.half, out[12] = f, out[13] = *p;
    out[14] = q.x + q.y * 10 + q.z * 100 + q.w * 1000;
}

__global__ void huge(Huge numbers, int *sums) {
    int sum = 0;
    for (int i = threadIdx.x; i < 1000; i += blockDim.x) sum += numbers.values[i];
    sums[threadIdx.x] = sum;
}

__global__ void none() {}

// Writing to a parameter changes this thread's copy only.
__global__ void changed(Odd o, int *results) {
    o.text[threadIdx.x % 5] = threadIdx.x;
    int sum = 0;
    for (char c : o.text) sum += c;
    results[threadIdx.x] = sum;
}

int main() {
    double results[15], *device;
    int nine = 9, *number;
    CUDA(cudaMalloc(&device, sizeof results));
    CUDA(cudaMalloc(&number, 4096));
    CUDA(cudaMemcpy(number, &nine, sizeof nine, cudaMemcpyHostToDevice));
    Nested nested = {3, {{0, 0, 40, 0, 0}}, -2.5, -300};
    mixed<<<1, 1>>>(-7, 1e300, -12345, make_int3(1, 2, 3), 200, Aligned{{4, 5, 6}}, true, Odd{{1, 2, 3, 4, 5}}, 1ll << 52, nested, 0.125f, number,
                    make_float4(1, 2, 3, 4), Empty(), device);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device, sizeof results, cudaMemcpyDeviceToHost));
    const double expected[15] = {-7, 1e300, -12345, 321, 200, 654, 1, 5, (double)(1ll << 52), 43, -2.5, -300, 0.125, 9, 4321};
    for (int i = 0; i < 15; i++) {
        if (results[i] != expected[i]) FAIL("parameter %d arrives as %g, not %g", i, results[i], expected[i]);
    }

    Huge numbers;
    int sums[64], sum = 0, total = 0;
    for (int i = 0; i < 1000; i++) total += numbers.values[i] = i * i;
    huge<<<1, 64>>>(numbers, number);
    memset(&numbers, 0, sizeof numbers); // the launch took a copy
    LAUNCHED();
    CUDA(cudaMemcpy(sums, number, sizeof sums, cudaMemcpyDeviceToHost));
    for (int part : sums) sum += part;
    REQUIRE_EQUAL(sum, total);

    none<<<3, 3>>>();
    LAUNCHED();
    changed<<<1, 64>>>(Odd{{1, 2, 3, 4, 5}}, number);
    LAUNCHED();
    CUDA(cudaMemcpy(sums, number, sizeof sums, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 64; i++) REQUIRE_ELEMENT(sums[i], 15 - (i % 5 + 1) + i, i);
    return pass();
}
