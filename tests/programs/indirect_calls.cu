// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// Calls through tables of functions, jump tables, alloca, and functions that differ between the threads of a warp.

#include "check_cuda.h"

typedef int (*Function)(int, int);
__device__ __noinline__ int plus(int a, int b) { return a + b; }
__device__ __noinline__ int minus(int a, int b) { return a - b; }
__device__ __noinline__ int times(int a, int b) { return a * b; }
__device__ __noinline__ int power(int a, int b) { return b <= 0 ? 1 : a * power(a, b - 1); }
__device__ Function table[4] = {plus, minus, times, power};

struct Shape {
    __device__ virtual float area() const = 0;
    __device__ virtual ~Shape() {}
};
struct Square : Shape {
    float side;
    __device__ Square(float side) : side(side) {}
    __device__ float area() const override { return side * side; }
};
struct Rectangle : Square {
    float other;
    __device__ Rectangle(float a, float b) : Square(a), other(b) {}
    __device__ float area() const override { return side * other; }
};

__global__ void through_table(int *out) {
    int t = threadIdx.x;
    out[t] = table[t % 4](t % 9, t % 5);
}

__global__ void virtual_functions(float *out) {
    int t = threadIdx.x;
    Square square(t);
    Rectangle rectangle(t, 2);
    Shape *shape = t % 3 ? (Shape *)&square : &rectangle;
    out[t] = shape->area();
}

// brx.idx: a jump table written by hand, because compilers make trees of comparisons of small switches.
__global__ void jump_table(int *out) {
    int t = threadIdx.x, r;
    asm volatile("{\n\t"
                 ".reg .u32 index;\n\t"
                 "and.b32 index, %1, 3;\n\t"
                 "targets: .branchtargets L0, L1, L2, L3;\n\t"
                 "brx.idx index, targets;\n"
                 "L0: mov.u32 %0, 100; bra.uni done;\n"
                 "L1: add.u32 %0, %1, 200; bra.uni done;\n"
                 "L2: mul.lo.u32 %0, %1, 3; bra.uni done;\n"
                 "L3: mov.u32 %0, 400;\n"
                 "done:\n\t"
                 "}"
                 : "=r"(r)
                 : "r"(t));
    out[t] = r;
}

__device__ __noinline__ int reversed(int n) {
    int *values = (int *)alloca(n * sizeof(int)), sum = 0;
    for (int i = 0; i < n; i++) values[i] = i * i;
    for (int i = 0; i < n; i++) sum = sum * 2 + values[n - 1 - i];
    return sum;
}

__global__ void stack(int *out) { out[threadIdx.x] = reversed(threadIdx.x % 11 + 1); }

int main() {
    const int n = 64;
    int out[n], *device;
    float areas[n], *device_areas;
    CUDA(cudaMalloc(&device, sizeof out));
    CUDA(cudaMalloc(&device_areas, sizeof areas));
    through_table<<<1, n>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
    for (int t = 0; t < n; t++) {
        int a = t % 9, b = t % 5, p = 1;
        for (int i = 0; i < b; i++) p *= a;
        const int expected[4] = {a + b, a - b, a * b, p};
        REQUIRE_ELEMENT(out[t], expected[t % 4], t);
    }
    virtual_functions<<<1, n>>>(device_areas);
    LAUNCHED();
    CUDA(cudaMemcpy(areas, device_areas, sizeof areas, cudaMemcpyDeviceToHost));
    for (int t = 0; t < n; t++) REQUIRE_ELEMENT(areas[t], t % 3 ? t * t : 2 * t, t);
    jump_table<<<1, n>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
    for (int t = 0; t < n; t++) {
        const int expected[4] = {100, t + 200, t * 3, 400};
        REQUIRE_ELEMENT(out[t], expected[t % 4], t);
    }
    stack<<<1, n>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(out, device, sizeof out, cudaMemcpyDeviceToHost));
    for (int t = 0; t < n; t++) {
        int k = t % 11 + 1, sum = 0;
        for (int i = 0; i < k; i++) sum = sum * 2 + (k - 1 - i) * (k - 1 - i);
        REQUIRE_ELEMENT(out[t], sum, t);
    }
    return pass();
}
