// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=sm_75 -gencode arch=compute_80,code=compute_80
//
// __constant__ and __device__ variables by symbol: initial values, copies both ways with offsets, addresses, sizes.

#include "check_cuda.h"

struct Coefficients {
    double scale;
    int shift;
    char tag[3];
};

__constant__ Coefficients coefficients = {1.5, -2, {'a', 'b', 'c'}};
__constant__ int table[16];
__device__ int counter = 41;
__device__ float samples[8] = {0, 1, 2, 3};
static __device__ short hidden = 7;
__device__ int *pointer_to_counter = &counter;
__device__ unsigned char zeroes[1000];

__global__ void use(double *real, int *integers) {
    *real = coefficients.scale * 2 + samples[3];
    integers[0] = coefficients.shift;
    integers[1] = coefficients.tag[2];
    integers[2] = ++*pointer_to_counter;
    integers[3] = hidden++;
    int sum = 0;
    for (int i = 0; i < 16; i++) sum += table[i] * (i + 1);
    integers[4] = sum;
    for (int i = 0; i < 1000; i++) sum += zeroes[i];
    integers[5] = sum;
}

static double real, *device_real;
static int integers[6], *device_integers;

static void run() {
    use<<<1, 1>>>(device_real, device_integers);
    LAUNCHED();
    CUDA(cudaMemcpy(&real, device_real, sizeof real, cudaMemcpyDeviceToHost));
    CUDA(cudaMemcpy(integers, device_integers, sizeof integers, cudaMemcpyDeviceToHost));
}

int main() {
    CUDA(cudaMalloc(&device_real, sizeof real));
    CUDA(cudaMalloc(&device_integers, sizeof integers));

    run(); // initial values
    REQUIRE(real == 6.0);
    const int first[6] = {-2, 'c', 42, 7, 0, 0};
    for (int i = 0; i < 6; i++) REQUIRE_ELEMENT(integers[i], first[i], i);

    Coefficients other = {0.25, 9, {'x', 'y', 'z'}};
    int values[16], expected = 0;
    for (int i = 0; i < 16; i++) expected += (values[i] = i * i - 3) * (i + 1);
    CUDA(cudaMemcpyToSymbol(coefficients, &other, sizeof other));
    CUDA(cudaMemcpyToSymbol(table, values, sizeof(int) * 10));
    CUDA(cudaMemcpyToSymbol(table, values + 10, sizeof(int) * 6, sizeof(int) * 10));
    float sample = 30;
    CUDA(cudaMemcpyToSymbolAsync(samples, &sample, sizeof sample, 3 * sizeof sample, cudaMemcpyHostToDevice, 0));
    run();
    REQUIRE(real == 30.5);
    const int second[6] = {9, 'z', 43, 8, expected, expected};
    for (int i = 0; i < 6; i++) REQUIRE_ELEMENT(integers[i], second[i], i);

    int count = 0;
    CUDA(cudaMemcpyFromSymbol(&count, counter, sizeof count));
    REQUIRE_EQUAL(count, 43);
    float pair[2];
    CUDA(cudaMemcpyFromSymbol(pair, samples, sizeof pair, 2 * sizeof(float)));
    REQUIRE(pair[0] == 2 && pair[1] == 30);
    short hidden_value;
    CUDA(cudaMemcpyFromSymbol(&hidden_value, hidden, sizeof hidden_value));
    REQUIRE_EQUAL(hidden_value, 9);

    size_t size;
    CUDA(cudaGetSymbolSize(&size, samples));
    REQUIRE_EQUAL(size, sizeof samples);
    CUDA(cudaGetSymbolSize(&size, coefficients));
    REQUIRE_EQUAL(size, sizeof coefficients);
    void *address;
    CUDA(cudaGetSymbolAddress(&address, counter));
    count = 1000;
    CUDA(cudaMemcpy(address, &count, sizeof count, cudaMemcpyHostToDevice));
    run();
    REQUIRE_EQUAL(integers[2], 1001);

    // A copy between symbols.
    void *source, *target;
    CUDA(cudaGetSymbolAddress(&source, table));
    CUDA(cudaGetSymbolAddress(&target, zeroes));
    CUDA(cudaMemcpyToSymbol(zeroes, source, sizeof table, 100, cudaMemcpyDeviceToDevice));
    int copied[16];
    CUDA(cudaMemcpy(copied, (char *)target + 100, sizeof copied, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 16; i++) REQUIRE_ELEMENT(copied[i], values[i], i);

    EXPECT_LAST(cudaMemcpyToSymbol((const void *)&real, &count, sizeof count), cudaErrorInvalidSymbol);
    EXPECT_LAST(cudaGetSymbolAddress(&address, (const void *)&real), cudaErrorInvalidSymbol);
    EXPECT_LAST(cudaGetSymbolSize(&size, (const void *)&real), cudaErrorInvalidSymbol);
    EXPECT_LAST(cudaMemcpyToSymbol(counter, values, sizeof(int), 1), cudaErrorInvalidValue);
    return pass();
}
