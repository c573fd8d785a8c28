// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_75,code=sm_75 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_86,code=compute_86
//
// Streams with asynchronous copies from pinned memory, events and their times, waits between streams, host functions, and the
// ordering that the default stream imposes.

#include "check_cuda.h"
#include "spin.h"

const int N = 10000, SIZE = N * sizeof(int);

__global__ void scale(int *values, int n, int factor, unsigned delay, unsigned *sink) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    unsigned waste = spin(delay);
    if (i < n) values[i] *= factor;
    if (waste == 1 && sink) *sink = waste;
}

__global__ void add(int *to, const int *from, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] += from[i];
}

static void pipelines() {
    const int STREAMS = 4;
    cudaStream_t streams[STREAMS];
    int *host[STREAMS], *device[STREAMS];
    for (int s = 0; s < STREAMS; s++) {
        CUDA(cudaStreamCreate(&streams[s]));
        CUDA(cudaMallocHost(&host[s], SIZE));
        CUDA(cudaMalloc(&device[s], SIZE));
        for (int i = 0; i < N; i++) host[s][i] = i + s;
    }
    for (int s = 0; s < STREAMS; s++) {
        CUDA(cudaMemcpyAsync(device[s], host[s], SIZE, cudaMemcpyHostToDevice, streams[s]));
        scale<<<blocks_for(N, 128), 128, 0, streams[s]>>>(device[s], N, s + 2, 20, nullptr);
        LAUNCHED();
        CUDA(cudaMemcpyAsync(host[s], device[s], SIZE, cudaMemcpyDeviceToHost, streams[s]));
    }
    for (int s = 0; s < STREAMS; s++) {
        CUDA(cudaStreamSynchronize(streams[s]));
        CUDA(cudaStreamQuery(streams[s]));
        for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[s][i], (i + s) * (s + 2), i);
        CUDA(cudaStreamDestroy(streams[s]));
        CUDA(cudaFreeHost(host[s]));
        CUDA(cudaFree(device[s]));
    }
}

static void events() {
    cudaEvent_t start, stop, untimed;
    cudaStream_t stream;
    int *device;
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMemset(device, 0, SIZE));
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaEventCreate(&start));
    CUDA(cudaEventCreate(&stop));
    CUDA(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
    float milliseconds = -1;
    CUDA(cudaEventQuery(start)); // an event that was never recorded is complete
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, start, stop), cudaErrorInvalidResourceHandle);
    CUDA(cudaEventRecord(start, stream));
    scale<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 2, 200, nullptr);
    LAUNCHED();
    CUDA(cudaEventRecord(stop, stream));
    CUDA(cudaEventRecord(untimed, stream));
    CUDA(cudaEventSynchronize(stop));
    CUDA(cudaEventQuery(stop));
    CUDA(cudaEventElapsedTime(&milliseconds, start, stop));
    if (!(milliseconds > 0 && milliseconds < 600000)) FAIL("the kernel took %g ms", milliseconds);
    CUDA(cudaEventSynchronize(untimed));
    EXPECT_LAST(cudaEventElapsedTime(&milliseconds, start, untimed), cudaErrorInvalidResourceHandle);
    CUDA(cudaEventDestroy(start));
    CUDA(cudaEventDestroy(stop));
    CUDA(cudaEventRecord(untimed, stream));
    CUDA(cudaEventDestroy(untimed)); // while it may be pending
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(device));
}

// One stream makes a value slowly, another waits for its event and uses it.
static void wait_between_streams() {
    cudaStream_t maker, user;
    cudaEvent_t made;
    int *a, *b, *host;
    CUDA(cudaStreamCreateWithFlags(&maker, cudaStreamNonBlocking));
    CUDA(cudaStreamCreateWithFlags(&user, cudaStreamNonBlocking));
    CUDA(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    CUDA(cudaMalloc(&a, SIZE));
    CUDA(cudaMalloc(&b, SIZE));
    CUDA(cudaMallocHost(&host, SIZE));
    for (int round = 1; round <= 5; round++) {
        for (int i = 0; i < N; i++) host[i] = i;
        CUDA(cudaMemcpy(a, host, SIZE, cudaMemcpyHostToDevice));
        CUDA(cudaMemsetAsync(b, 0, SIZE, user));
        scale<<<blocks_for(N, 128), 128, 0, maker>>>(a, N, round, 300, nullptr);
        CUDA(cudaEventRecord(made, maker));
        CUDA(cudaStreamWaitEvent(user, made, 0));
        add<<<blocks_for(N, 128), 128, 0, user>>>(b, a, N);
        LAUNCHED();
        CUDA(cudaMemcpyAsync(host, b, SIZE, cudaMemcpyDeviceToHost, user));
        CUDA(cudaStreamSynchronize(user));
        for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], i * round, i);
    }
    CUDA(cudaEventDestroy(made));
    CUDA(cudaStreamDestroy(maker));
    CUDA(cudaStreamDestroy(user));
    CUDA(cudaFree(a));
    CUDA(cudaFree(b));
    CUDA(cudaFreeHost(host));
}

// The legacy default stream waits for the blocking streams, and they wait for it.
static void default_stream_ordering() {
    cudaStream_t blocking;
    int *a, *b, host[2];
    CUDA(cudaStreamCreate(&blocking));
    CUDA(cudaMalloc(&a, SIZE));
    CUDA(cudaMalloc(&b, SIZE));
    CUDA(cudaMemset(a, 1, SIZE));
    CUDA(cudaMemset(b, 0, SIZE));
    CUDA(cudaDeviceSynchronize());
    scale<<<blocks_for(N, 128), 128, 0, blocking>>>(a, N, 3, 300, nullptr);
    add<<<blocks_for(N, 128), 128>>>(b, a, N);
    scale<<<blocks_for(N, 128), 128>>>(b, N, 2, 300, nullptr);
    add<<<blocks_for(N, 128), 128, 0, blocking>>>(a, b, N);
    LAUNCHED();
    CUDA(cudaMemcpy(host, a + N - 1, sizeof(int), cudaMemcpyDeviceToHost)); // waits as the default stream does
    CUDA(cudaMemcpy(host + 1, b, sizeof(int), cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host[1], 0x01010101 * 6);
    REQUIRE_EQUAL(host[0], 0x01010101 * 9);
    CUDA(cudaStreamDestroy(blocking));
    CUDA(cudaFree(a));
    CUDA(cudaFree(b));
}

// A stream that was destroyed still finishes its work.
static void destroy_with_work_pending() {
    cudaStream_t stream;
    int *device, host;
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMemset(device, 1, SIZE));
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaDeviceSynchronize());
    scale<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 5, 300, nullptr);
    LAUNCHED();
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(&host, device, sizeof host, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(host, 0x01010101 * 5);
    CUDA(cudaFree(device));
}

struct Seen {
    int *host, value, calls;
    cudaError_t status;
};

static void CUDART_CB host_function(void *data) {
    Seen *seen = (Seen *)data;
    seen->value = seen->host[N - 1];
    seen->calls++;
}

static void CUDART_CB callback(cudaStream_t, cudaError_t status, void *data) {
    ((Seen *)data)->status = status;
    host_function(data);
}

// A host function runs when what came before it in the stream is finished, and before what comes after it.
static void host_functions() {
    cudaStream_t stream;
    int *device, *host;
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaMalloc(&device, SIZE));
    CUDA(cudaMallocHost(&host, SIZE));
    for (int i = 0; i < N; i++) host[i] = 1;
    Seen first = {host, -1, 0, cudaErrorUnknown}, second = first;
    CUDA(cudaMemcpyAsync(device, host, SIZE, cudaMemcpyHostToDevice, stream));
    scale<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 7, 300, nullptr);
    CUDA(cudaMemcpyAsync(host, device, SIZE, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaLaunchHostFunc(stream, host_function, &first));
    scale<<<blocks_for(N, 128), 128, 0, stream>>>(device, N, 2, 10, nullptr);
    LAUNCHED();
    CUDA(cudaMemcpyAsync(host, device, SIZE, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaStreamAddCallback(stream, callback, &second, 0));
    CUDA(cudaStreamSynchronize(stream));
    REQUIRE_EQUAL(first.calls, 1);
    REQUIRE_EQUAL(first.value, 7);
    REQUIRE_EQUAL(second.calls, 1);
    REQUIRE_EQUAL(second.value, 14);
    REQUIRE_EQUAL(second.status, cudaSuccess);
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(device));
    CUDA(cudaFreeHost(host));
}

static void attributes() {
    int least, greatest, priority;
    unsigned flags;
    cudaStream_t stream;
    CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    REQUIRE(greatest <= least);
    CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest));
    CUDA(cudaStreamGetPriority(stream, &priority));
    REQUIRE_EQUAL(priority, greatest);
    CUDA(cudaStreamGetFlags(stream, &flags));
    REQUIRE_EQUAL(flags, cudaStreamNonBlocking);
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaStreamQuery(cudaStreamLegacy));
    CUDA(cudaStreamSynchronize(cudaStreamPerThread));
    EXPECT_LAST(cudaStreamCreateWithFlags(&stream, 0x80), cudaErrorInvalidValue);
}

int main() {
    pipelines();
    events();
    wait_between_streams();
    default_stream_ordering();
    destroy_with_work_pending();
    host_functions();
    attributes();
    return pass();
}
