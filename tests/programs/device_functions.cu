// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Calls in device code: functions that are not inlined, structures by value, recursion, function pointers, virtual functions, local
// arrays with computed indices.

#include "check_cuda.h"

struct Pair {
    double real;
    int whole;
};

__device__ __noinline__ Pair combine(Pair a, Pair b, char plus) {
    return plus ? Pair{a.real + b.real, a.whole + b.whole} : Pair{a.real - b.real, a.whole - b.whole};
}

__device__ __noinline__ unsigned fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__device__ __noinline__ unsigned even(unsigned n);
__device__ __noinline__ unsigned odd(unsigned n) { return n == 0 ? 0 : even(n - 1); }
__device__ __noinline__ unsigned even(unsigned n) { return n == 0 ? 1 : odd(n - 1); }

typedef int (*Operation)(int, int);
__device__ int add(int a, int b) { return a + b; }
__device__ int multiply(int a, int b) { return a * b; }
__device__ int subtract(int a, int b) { return a - b; }
__device__ Operation operations[3] = {add, multiply, subtract};

struct Shape {
    __device__ virtual int area() const = 0;
};
struct Square : Shape {
    int side;
    __device__ Square(int side) : side(side) {}
    __device__ int area() const override { return side * side; }
};
struct Rectangle : Shape {
    int width, height;
    __device__ Rectangle(int width, int height) : width(width), height(height) {}
    __device__ int area() const override { return width * height; }
};

__global__ void calls(int *results, int n) {
    int i = threadIdx.x;
    int *result = results + i;
    auto put = [&](int value) { *result = value, result += n; };
    Pair pair = combine(Pair{i * 0.5, i}, Pair{1.5, 4}, i % 2);
    put((int)(pair.real * 2) * 1000 + pair.whole);
    put(fibonacci(i % 12)); // lanes of one warp recurse to different depths
    put(even(i));
    put(operations[i % 3](i, 7));
    Square square(i);
    Rectangle rectangle(i, 3);
    const Shape *shape = i % 2 ? (const Shape *)&square : &rectangle;
    put(shape->area());
    int local[40];
    for (int k = 0; k < 40; k++) local[k] = k * k + i;
    for (int k = 0; k < 10; k++) local[(k * 7 + i) % 40] += local[(k * 11 + 3 * i) % 40];
    put(local[i % 40] + local[39 - i % 40]);
}

__global__ void apply(Operation operation, int *result) { *result = operation(6, 7); }

static unsigned host_fibonacci(unsigned n) { return n < 2 ? n : host_fibonacci(n - 1) + host_fibonacci(n - 2); }

int main() {
    const int n = 48, functions = 6;
    int results[functions * n], *device_results;
    CUDA(cudaMalloc(&device_results, sizeof results));
    calls<<<1, n>>>(device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof results, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        int local[40];
        for (int k = 0; k < 40; k++) local[k] = k * k + i;
        for (int k = 0; k < 10; k++) local[(k * 7 + i) % 40] += local[(k * 11 + 3 * i) % 40];
        const int expected[functions] = {
            i % 2 ? (i + 3) * 1000 + i + 4 : (i - 3) * 1000 + i - 4,
            (int)host_fibonacci(i % 12),
            i % 2 == 0,
            i % 3 == 0 ? i + 7 : i % 3 == 1 ? i * 7 : i - 7,
            i % 2 ? i * i : i * 3,
            local[i % 40] + local[39 - i % 40],
        };
        for (int f = 0; f < functions; f++) REQUIRE_ELEMENT(results[f * n + i], expected[f], f * n + i);
    }
    // The host can hand over what it read as a pointer to a device function.
    Operation operation;
    CUDA(cudaMemcpyFromSymbol(&operation, operations, sizeof operation, sizeof operation));
    apply<<<1, 1>>>(operation, device_results);
    LAUNCHED();
    CUDA(cudaMemcpy(results, device_results, sizeof(int), cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(results[0], 42);
    return pass();
}
