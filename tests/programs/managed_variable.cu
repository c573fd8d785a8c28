// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// __managed__ variables, which the host reads and writes by their names, and which all devices share.

#include "check_cuda.h"

__managed__ int counter = 5;
__managed__ double values[10] = {0.5, 1.5};
__managed__ int many[5000];

__global__ void use() {
    counter += 3;
    for (int i = 0; i < 10; i++) values[i] += i;
}

__global__ void add(int *where, int amount) {
    if (where == &counter) *where += amount;
}

// The host names a variable as any other; to CUDA it is a symbol and managed memory.
static void by_the_host() {
    REQUIRE_EQUAL(counter, 5);
    counter = 10;
    use<<<1, 1>>>();
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    REQUIRE_EQUAL(counter, 13);
    for (int i = 0; i < 10; i++) REQUIRE(values[i] == i + (i < 2 ? i + 0.5 : 0));
}

static void by_cuda() {
    cudaPointerAttributes attributes;
    CUDA(cudaPointerGetAttributes(&attributes, &counter));
    REQUIRE_EQUAL(attributes.type, cudaMemoryTypeManaged);
    void *address;
    size_t size;
    CUDA(cudaGetSymbolAddress(&address, counter));
    REQUIRE(address == &counter);
    CUDA(cudaGetSymbolSize(&size, many));
    REQUIRE_EQUAL(size, sizeof many);
    int value = 7;
    CUDA(cudaMemcpyToSymbol(counter, &value, sizeof value));
    CUDA(cudaMemset(many, 1, sizeof many));
    CUDA(cudaDeviceSynchronize());
    REQUIRE_EQUAL(counter, 7);
    REQUIRE_EQUAL(many[4999], 0x01010101);
}

// A device that is used later finds what the others left.
static void by_all_devices() {
    int devices;
    CUDA(cudaGetDeviceCount(&devices));
    for (int device = 0; device < devices; device++) {
        CUDA(cudaSetDevice(device));
        add<<<1, 1>>>(&counter, 100);
        LAUNCHED();
        CUDA(cudaDeviceSynchronize());
        REQUIRE_EQUAL(counter, 7 + 100 * (device + 1));
    }
}

int main() {
    by_the_host();
    by_cuda();
    by_all_devices();
    return pass();
}
