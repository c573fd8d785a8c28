// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=compute_75 -gencode arch=compute_86,code=compute_86
//
// Double precision: arithmetic that IEEE 754 defines is exact, the mathematical functions are within their documented bounds
// (CUDA C++ Programming Guide, mathematical functions).

#include "check_cuda.h"
#include <math.h>
#include <vector>

enum { SUM, PRODUCT, QUOTIENT, FUSED, ROOT, FLOOR, ROUND, TRUNCATE, REMAINDER, MINIMUM, EXACT };
enum { SINE, COSINE, TANGENT, EXPONENTIAL, LOGARITHM, POWER, CUBE_ROOT, ARC_TANGENT, HYPERBOLIC, ERROR_FUNCTION, CLOSE };

__host__ __device__ double exact(int function, double a, double b) {
    switch (function) {
    case SUM: return a + b;
    case PRODUCT: return a * b;
    case QUOTIENT: return a / b;
    case FUSED: return fma(a, b, a);
    case ROOT: return sqrt(fabs(a));
    case FLOOR: return floor(a * 10);
    case ROUND: return rint(a * 10);
    case TRUNCATE: return (double)(long long)(a * 1000);
    case REMAINDER: return fmod(a, b);
    default: return fmin(a, b);
    }
}

__host__ __device__ double close(int function, double a, double b) {
    switch (function) {
    case SINE: return sin(a * 40);
    case COSINE: return cos(a * 40);
    case TANGENT: return tan(a);
    case EXPONENTIAL: return exp(a);
    case LOGARITHM: return log(fabs(a) + 0.1);
    case POWER: return pow(fabs(a), b);
    case CUBE_ROOT: return cbrt(a);
    case ARC_TANGENT: return atan2(a, b);
    case HYPERBOLIC: return tanh(a);
    default: return erf(a);
    }
}

__global__ void evaluate(const double *a, const double *b, double *results, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    for (int f = 0; f < EXACT; f++) results[f * n + i] = exact(f, a[i], b[i]);
    for (int f = 0; f < CLOSE; f++) results[(EXACT + f) * n + i] = close(f, a[i], b[i]);
}

int main() {
    const int n = 150;
    std::vector<double> a(n), b(n), results((EXACT + CLOSE) * n);
    for (int i = 0; i < n; i++) {
        a[i] = (i - 70) * 0.137 + 1e-3;
        b[i] = (i * 29 % 41 - 20) * 0.31 + 0.05;
    }
    double *device_a, *device_b, *device_results;
    CUDA(cudaMalloc(&device_a, n * sizeof(double)));
    CUDA(cudaMalloc(&device_b, n * sizeof(double)));
    CUDA(cudaMalloc(&device_results, results.size() * sizeof(double)));
    CUDA(cudaMemcpy(device_a, a.data(), n * sizeof(double), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_b, b.data(), n * sizeof(double), cudaMemcpyHostToDevice));
    evaluate<<<blocks_for(n, 64), 64>>>(device_a, device_b, device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results.data(), device_results, results.size() * sizeof(double), cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) {
        for (int f = 0; f < EXACT; f++) {
            double actual = results[f * n + i], expected = exact(f, a[i], b[i]);
            if (actual != expected) FAIL("exact function %d of (%g, %g) is %.17g, not %.17g", f, a[i], b[i], actual, expected);
        }
        for (int f = 0; f < CLOSE; f++) {
            double actual = results[(EXACT + f) * n + i], expected = close(f, a[i], b[i]);
            // Two units in the last place for the device, one for the host.
            if (!(fabs(actual - expected) <= 3 * 2.3e-16 * fabs(expected)))
                FAIL("function %d of (%g, %g) is %.17g, not %.17g", f, a[i], b[i], actual, expected);
        }
    }
    return pass();
}
