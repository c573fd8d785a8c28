// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=compute_75
//
// Single precision functions and intrinsics against the host's double precision, in units of the last place
// (CUDA C++ Programming Guide, mathematical functions), and special values.

#include "check_cuda.h"
#include <math.h>
#include <vector>

struct Function {
    const char *name;
    double (*reference)(double, double);
    double bound; // in units of the last place; negative: absolute error
};

const Function functions[] = {
    {"sinf", [](double x, double) { return sin(x); }, 2},
    {"cosf", [](double x, double) { return cos(x); }, 2},
    {"tanf", [](double x, double) { return tan(x); }, 4},
    {"expf", [](double x, double) { return exp(x); }, 2},
    {"exp2f", [](double x, double) { return exp2(x); }, 2},
    {"logf", [](double x, double) { return log(fabs(x)); }, 2},
    {"log2f", [](double x, double) { return log2(fabs(x)); }, 2},
    {"powf", [](double x, double y) { return pow(fabs(x), y); }, 4},
    {"sqrtf", [](double x, double) { return sqrt(fabs(x)); }, 0.501},
    {"divide", [](double x, double y) { return x / y; }, 0.501},
    {"atan2f", [](double x, double y) { return atan2(x, y); }, 3},
    {"tanhf", [](double x, double) { return tanh(x); }, 2},
    {"erff", [](double x, double) { return erf(x); }, 2},
    {"rsqrtf", [](double x, double) { return 1 / sqrt(fabs(x)); }, 2},
    {"hypotf", [](double x, double y) { return hypot(x, y); }, 3},
    {"__sinf", [](double x, double) { return sin(x / 8); }, -1e-6},
    {"__cosf", [](double x, double) { return cos(x / 8); }, -1e-6},
    {"__expf", [](double x, double) { return exp(x); }, 15},
    {"__fdividef", [](double x, double y) { return x / y; }, 2},
};
const int FUNCTIONS = sizeof functions / sizeof *functions;

__global__ void evaluate(const float *xs, const float *ys, float *results, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float x = xs[i], y = ys[i];
    const float values[] = {sinf(x),         cosf(x),         tanf(x),     expf(x),         exp2f(x),
                            logf(fabsf(x)),  log2f(fabsf(x)), powf(fabsf(x), y), sqrtf(fabsf(x)), x / y,
                            atan2f(x, y),    tanhf(x),        erff(x),     rsqrtf(fabsf(x)), hypotf(x, y),
                            __sinf(x / 8),   __cosf(x / 8),   __expf(x),   __fdividef(x, y)};
    for (int f = 0; f < sizeof values / sizeof *values; f++) results[f * n + i] = values[f];
}

__global__ void special(float zero, float *results) {
    float infinity = 1 / zero, nan = zero / zero;
    results[0] = infinity;
    results[1] = nan;
    results[2] = fminf(nan, 2);
    results[3] = fmaxf(-infinity, nan);
    results[4] = sqrtf(-1 - zero);
    results[5] = isnan(nan) + 2 * isinf(infinity) + 4 * (nan == nan) + 8 * (infinity > 1e38f) + 16 * signbit(-zero);
    results[6] = (float)(int)nan;                 // conversions of what has no integer value are saturated
    results[7] = (float)(int)(infinity) / 65536;
    results[8] = __int_as_float(0x00000001) + zero; // the smallest subnormal number
    results[9] = rintf(2.5f + zero) * 10 + roundf(2.5f + zero);
    results[10] = truncf(-2.7f + zero) * 10 + ceilf(2.1f + zero);
    results[11] = __fadd_rz(1, __int_as_float(0x33ffffff) + zero) - 1;
    results[12] = __saturatef(1.5f + zero) + __saturatef(-3 - zero);
    results[13] = copysignf(3, -zero);
}

int main() {
    const int n = 120;
    std::vector<float> xs(n), ys(n), results(FUNCTIONS * n);
    for (int i = 0; i < n; i++) {
        xs[i] = (i - 60) * 0.173f + 0.011f;
        ys[i] = (i * 31 % 37 - 18) * 0.21f + 0.013f;
    }
    float *device_xs, *device_ys, *device_results;
    CUDA(cudaMalloc(&device_xs, n * sizeof(float)));
    CUDA(cudaMalloc(&device_ys, n * sizeof(float)));
    CUDA(cudaMalloc(&device_results, results.size() * sizeof(float)));
    CUDA(cudaMemcpy(device_xs, xs.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(device_ys, ys.data(), n * sizeof(float), cudaMemcpyHostToDevice));
    evaluate<<<blocks_for(n, 64), 64>>>(device_xs, device_ys, device_results, n);
    LAUNCHED();
    CUDA(cudaMemcpy(results.data(), device_results, results.size() * sizeof(float), cudaMemcpyDeviceToHost));
    for (int f = 0; f < FUNCTIONS; f++) {
        for (int i = 0; i < n; i++) {
            double expected = functions[f].reference(xs[i], ys[i]), actual = results[f * n + i];
            float nearest = fabs(expected);
            double unit = nextafterf(nearest, INFINITY) - nearest;
            double bound = functions[f].bound < 0 ? -functions[f].bound : functions[f].bound * unit;
            if (!(fabs(actual - expected) <= bound))
                FAIL("%s of (%.9g, %.9g) is %.9g, not %.9g", functions[f].name, xs[i], ys[i], actual, expected);
        }
    }

    float values[14];
    special<<<1, 1>>>(0, device_results);
    LAUNCHED();
    CUDA(cudaMemcpy(values, device_results, sizeof values, cudaMemcpyDeviceToHost));
    const float expected[14] = {INFINITY, NAN, 2, -INFINITY, NAN, 1 + 2 + 8 + 16, 0, 32768, 1.4e-45f, 23, -17, 0, 1, -3};
    for (int i = 0; i < 14; i++) {
        if (!(values[i] == expected[i] || (isnan(values[i]) && isnan(expected[i]))))
            FAIL("special value %d is %.9g, not %.9g", i, values[i], expected[i]);
    }
    return pass();
}
