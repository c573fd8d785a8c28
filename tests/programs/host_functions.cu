// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Functions of the program that streams call: what they see and write, many of them, and that they cannot use CUDA.

#include "check_cuda.h"
#include <atomic>

__global__ void add(int *values, int amount) { values[threadIdx.x] += amount; }

const int MANY = 3000;

struct Shared {
    int *values;
    int round;
};

// Sees what the kernel before it wrote to pinned memory, and the kernel behind it sees what this writes.
static void CUDART_CB triple(void *data) {
    Shared *shared = (Shared *)data;
    if (shared->values[0] == 10 * (shared->round + 1)) shared->values[1] *= 3;
    shared->round++;
}

static void memory() {
    cudaStream_t stream;
    Shared shared = {nullptr, 0};
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMallocHost(&shared.values, 2 * sizeof(int)));
    shared.values[0] = shared.values[1] = 0;
    int expected = 0;
    for (int i = 0; i < 15; i++) {
        add<<<1, 2, 0, stream>>>(shared.values, 10);
        CUDA(cudaLaunchHostFunc(stream, triple, &shared));
        expected = (expected + 10) * 3;
    }
    CUDA(cudaStreamSynchronize(stream));
    REQUIRE_EQUAL(shared.round, 15);
    REQUIRE_EQUAL(shared.values[0], 150);
    REQUIRE_EQUAL(shared.values[1], expected);
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFreeHost(shared.values));
}

static void CUDART_CB write_late(void *data) {
    usleep(50000);
    *(int *)data = 77;
}

// What a function writes is what a copy behind it takes: asynchronously from registered memory, synchronously from any.
static void copies() {
    cudaStream_t stream;
    int *registered = (int *)aligned_alloc(4096, 4096), *device, pageable = 1, value;
    *registered = 1;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, 2 * sizeof *device));
    CUDA(cudaHostRegister(registered, 4096, cudaHostRegisterDefault));
    CUDA(cudaLaunchHostFunc(stream, write_late, registered));
    CUDA(cudaMemcpyAsync(device, registered, sizeof *device, cudaMemcpyHostToDevice, stream));
    CUDA(cudaMemcpyAsync(&value, device, sizeof value, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaStreamSynchronize(stream));
    REQUIRE_EQUAL(value, 77);
    CUDA(cudaLaunchHostFunc(0, write_late, &pageable));
    CUDA(cudaMemcpy(device + 1, &pageable, sizeof pageable, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(&value, device + 1, sizeof value, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(value, 77);
    CUDA(cudaHostUnregister(registered));
    free(registered);
    CUDA(cudaFree(device));
    CUDA(cudaStreamDestroy(stream));
}

static std::atomic<int> called(0);

static void CUDART_CB count(void *expected) {
    if (called == (int)(size_t)expected) called++;
}

static void CUDART_CB wait_a_while(void *) { usleep(100000); }

// More than CUDA itself holds back: the thread that queues them waits.
static void many() {
    cudaStream_t stream;
    int *device;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, sizeof *device));
    CUDA(cudaMemset(device, 0, sizeof *device));
    CUDA(cudaLaunchHostFunc(stream, wait_a_while, nullptr));
    for (int i = 0; i < MANY; i++) {
        CUDA(cudaLaunchHostFunc(stream, count, (void *)(size_t)i));
        if (i % 10 == 0) add<<<1, 1, 0, stream>>>(device, 1);
    }
    CUDA(cudaLaunchHostFunc(stream, wait_a_while, nullptr));
    for (int i = 0; i < 30000; i++) add<<<1, 1, 0, stream>>>(device, 1);
    LAUNCHED();
    int value;
    CUDA(cudaMemcpyAsync(&value, device, sizeof value, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaStreamSynchronize(stream));
    REQUIRE_EQUAL(called, MANY);
    REQUIRE_EQUAL(value, 30000 + MANY / 10);
    CUDA(cudaFree(device));
    CUDA(cudaStreamDestroy(stream));
}

static std::atomic<int> inside(-1);

static void CUDART_CB call_cuda(void *data) { inside = cudaMalloc((void **)data, 4); }

// A function must not use CUDA, which says so.
static void not_permitted() {
    void *memory;
    CUDA(cudaLaunchHostFunc(0, call_cuda, &memory));
    CUDA(cudaStreamSynchronize(0));
    REQUIRE_EQUAL(inside, cudaErrorNotPermitted);
    CUDA(cudaGetLastError());
}

int main() {
    memory();
    copies();
    many();
    not_permitted();
    return pass();
}
