// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_75
//
// Every device that there is: memory, kernels, streams and events of each, copies between them, access to each other's memory,
// and resets that leave the others alone. With one device, what one can show.

#include "check_cuda.h"
#include "spin.h"
#include <thread>
#include <vector>

const int N = 1 << 16, SIZE = N * sizeof(int);

__device__ int variable;

__global__ void fill(int *to, int n, int first) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = first + i;
}

__global__ void slow_fill(int *to, int n, int first, unsigned *sink) {
    unsigned waste = blockIdx.x + 1 == gridDim.x ? spin(20000) : 0;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] = first + i;
    if (waste == 1 && sink) *sink = waste;
}

__global__ void add(int *to, const int *from, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) to[i] += from[i];
}

__global__ void set_variable(int value) { variable = value; }

static const unsigned BLOCK = 256, GRID = blocks_for(N, BLOCK);
static int count;

static void expect(const int *device, int first, const char *what) {
    std::vector<int> host(N);
    CUDA(cudaMemcpy(host.data(), device, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++)
        if (host[i] != first + i) FAIL("%s: element %d is %d, not %d", what, i, host[i], first + i);
}

// Memory and variables of each device are its own, and a pointer says whose it is.
static void each() {
    std::vector<int *> memory(count);
    for (int d = 0; d < count; d++) {
        CUDA(cudaSetDevice(d));
        int current = -1, value = 1000 + d;
        CUDA(cudaGetDevice(&current));
        REQUIRE_EQUAL(current, d);
        CUDA(cudaMalloc(&memory[d], SIZE));
        fill<<<GRID, BLOCK>>>(memory[d], N, d * 7);
        LAUNCHED();
        set_variable<<<1, 1>>>(value);
        LAUNCHED();
        cudaPointerAttributes attributes;
        CUDA(cudaPointerGetAttributes(&attributes, memory[d]));
        REQUIRE_EQUAL(attributes.device, d);
        REQUIRE(attributes.type == cudaMemoryTypeDevice);
        size_t free, total;
        CUDA(cudaMemGetInfo(&free, &total));
        REQUIRE(free <= total && free > 0);
    }
    for (int d = 0; d < count; d++) {
        // From whatever device is current.
        CUDA(cudaSetDevice(count - 1 - d));
        expect(memory[d], d * 7, "memory of a device");
        CUDA(cudaSetDevice(d));
        int value;
        CUDA(cudaMemcpyFromSymbol(&value, variable, sizeof value));
        REQUIRE_EQUAL(value, 1000 + d);
    }
    for (int d = 0; d < count; d++) {
        // Unlike copies, fills are for memory of the current device.
        CUDA(cudaSetDevice((d + 1) % count));
        if (count > 1) EXPECT_LAST(cudaMemset(memory[d], 0, SIZE), cudaErrorInvalidValue);
        CUDA(cudaSetDevice(d));
        CUDA(cudaMemset(memory[d], 0, SIZE));
        fill<<<GRID, BLOCK>>>(memory[d], 1, 5);
        LAUNCHED();
        int both[2];
        CUDA(cudaMemcpy(both, memory[d], sizeof both, cudaMemcpyDeviceToHost));
        REQUIRE(both[0] == 5 && both[1] == 0);
        CUDA(cudaFree(memory[d]));
    }
    EXPECT_LAST(cudaSetDevice(count), cudaErrorInvalidDevice);
    EXPECT_LAST(cudaSetDevice(-1), cudaErrorInvalidDevice);
}

// A thread begins with the first device, whatever the others use.
static void threads() {
    CUDA(cudaSetDevice(count - 1));
    std::thread([] {
        int current = -1;
        CUDA(cudaGetDevice(&current));
        REQUIRE_EQUAL(current, 0);
        CUDA(cudaSetDevice(count - 1));
    }).join();
    std::vector<std::thread> all;
    for (int d = 0; d < count; d++) {
        all.emplace_back([d] {
            CUDA(cudaSetDevice(d));
            int *memory;
            CUDA(cudaMalloc(&memory, SIZE));
            for (int round = 0; round < 20; round++) {
                fill<<<GRID, BLOCK>>>(memory, N, d + round);
                LAUNCHED();
                expect(memory, d + round, "memory of a thread's device");
            }
            CUDA(cudaFree(memory));
        });
    }
    for (auto &thread : all) thread.join();
}

// Copies of every kind between two devices, in both directions, without access to each other's memory.
static void copies(int from, int to) {
    int *source, *destination, *back;
    CUDA(cudaSetDevice(from));
    CUDA(cudaMalloc(&source, SIZE));
    fill<<<GRID, BLOCK>>>(source, N, 100);
    LAUNCHED();
    CUDA(cudaSetDevice(to));
    CUDA(cudaMalloc(&destination, SIZE));
    CUDA(cudaMalloc(&back, SIZE));
    CUDA(cudaSetDevice(from));
    CUDA(cudaMemcpyPeer(destination, to, source, from, SIZE));
    expect(destination, 100, "cudaMemcpyPeer");

    fill<<<GRID, BLOCK>>>(source, N, 200);
    LAUNCHED();
    CUDA(cudaMemcpy(destination, source, SIZE, cudaMemcpyDefault));
    expect(destination, 200, "cudaMemcpy by the addresses");

    fill<<<GRID, BLOCK>>>(source, N, 300);
    LAUNCHED();
    CUDA(cudaMemcpyPeerAsync(destination, to, source, from, SIZE, 0));
    CUDA(cudaStreamSynchronize(0));
    expect(destination, 300, "cudaMemcpyPeerAsync");

    // Issued on the device that has the destination, in the order of a stream there.
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaSetDevice(to));
    cudaStream_t stream;
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    fill<<<GRID, BLOCK, 0, stream>>>(destination, N, 0);
    LAUNCHED();
    CUDA(cudaMemcpyAsync(back, source, SIZE, cudaMemcpyDeviceToDevice, stream));
    add<<<GRID, BLOCK, 0, stream>>>(destination, back, N);
    LAUNCHED();
    CUDA(cudaStreamSynchronize(stream));
    std::vector<int> host(N);
    CUDA(cudaMemcpy(host.data(), destination, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], 300 + 2 * i, i);

    // Rows with gaps: 64 rows of 100 elements out of 128.
    const int ROWS = 64, WIDTH = 100 * sizeof(int), PITCH = 128 * sizeof(int);
    CUDA(cudaMemset(back, 0, SIZE));
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy2D(back, PITCH, source, PITCH, WIDTH, ROWS, cudaMemcpyDeviceToDevice));
    CUDA(cudaMemcpy(host.data(), back, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < ROWS * 128; i++) REQUIRE_ELEMENT(host[i], i % 128 < 100 ? 300 + i : 0, i);
    cudaMemcpy3DPeerParms box = {};
    box.srcPtr = make_cudaPitchedPtr(source, PITCH, 128, ROWS);
    box.dstPtr = make_cudaPitchedPtr(back, PITCH, 128, ROWS);
    box.srcDevice = from;
    box.dstDevice = to;
    box.dstPos = make_cudaPos(WIDTH, 1, 0);
    box.extent = make_cudaExtent(28 * sizeof(int), ROWS - 1, 1);
    CUDA(cudaMemcpy3DPeer(&box));
    CUDA(cudaMemcpy(host.data(), back, SIZE, cudaMemcpyDeviceToHost));
    for (int y = 1; y < ROWS; y++)
        for (int x = 0; x < 28; x++) REQUIRE_ELEMENT(host[y * 128 + 100 + x], 300 + (y - 1) * 128 + x, y);

    // Between the host and the memory of a device that is not the current one: pageable, pinned, small and large.
    int *pinned;
    CUDA(cudaMallocHost(&pinned, SIZE));
    for (int bytes : {64, SIZE}) {
        for (int i = 0; i < N; i++) pinned[i] = host[i] = -i;
        CUDA(cudaSetDevice(from));
        CUDA(cudaMemcpy(destination, host.data(), bytes, cudaMemcpyHostToDevice));
        CUDA(cudaMemcpy(back, pinned, bytes, cudaMemcpyHostToDevice));
        memset(host.data(), 0, SIZE);
        memset(pinned, 0, SIZE);
        CUDA(cudaMemcpy(host.data(), back, bytes, cudaMemcpyDeviceToHost));
        CUDA(cudaMemcpy(pinned, destination, bytes, cudaMemcpyDeviceToHost));
        for (int i = 0; i < bytes / 4; i++) REQUIRE(host[i] == -i && pinned[i] == -i);
    }
    CUDA(cudaFreeHost(pinned));
    EXPECT_LAST(cudaMemcpyPeer(destination, count, source, from, 4), cudaErrorInvalidDevice);
    CUDA(cudaSetDevice(to));
    CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(back));
    CUDA(cudaFree(destination));
    CUDA(cudaFree(source));
}

// A stream of one device waits for an event of another; work of the one is then behind that of the other.
static void order(int first, int second) {
    int *source, *destination;
    cudaStream_t before, after;
    cudaEvent_t done;
    CUDA(cudaSetDevice(first));
    CUDA(cudaMalloc(&source, SIZE));
    CUDA(cudaStreamCreateWithFlags(&before, cudaStreamNonBlocking));
    CUDA(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    CUDA(cudaSetDevice(second));
    CUDA(cudaMalloc(&destination, SIZE));
    CUDA(cudaStreamCreateWithFlags(&after, cudaStreamNonBlocking));
    for (int round = 0; round < 5; round++) {
        CUDA(cudaSetDevice(first));
        slow_fill<<<GRID, BLOCK, 0, before>>>(source, N, round * 1000, nullptr);
        LAUNCHED();
        CUDA(cudaEventRecord(done, before));
        CUDA(cudaSetDevice(second));
        CUDA(cudaStreamWaitEvent(after, done, 0));
        CUDA(cudaMemcpyPeerAsync(destination, second, source, first, SIZE, after));
        CUDA(cudaStreamSynchronize(after));
        CUDA(cudaEventQuery(done));
        expect(destination, round * 1000, "work behind another device's event");
    }
    // An event belongs to the device on which it was made, and a stream's kernels run on the stream's.
    if (first != second) EXPECT_LAST(cudaEventRecord(done, after), cudaErrorInvalidResourceHandle);
    CUDA(cudaSetDevice(first));
    fill<<<GRID, BLOCK, 0, after>>>(destination, N, 4321);
    LAUNCHED();
    CUDA(cudaStreamSynchronize(after));
    expect(destination, 4321, "a kernel on another device's stream");
    CUDA(cudaEventDestroy(done));
    CUDA(cudaStreamDestroy(before));
    CUDA(cudaStreamDestroy(after));
    CUDA(cudaFree(source));
    CUDA(cudaFree(destination));
}

// Kernels of one device use another's memory, where that is possible.
static void peers(int device, int peer) {
    int can = -1, supported = -1;
    CUDA(cudaDeviceCanAccessPeer(&can, device, peer));
    CUDA(cudaDeviceGetP2PAttribute(&supported, cudaDevP2PAttrAccessSupported, device, peer));
    REQUIRE(can == 0 || can == 1);
    REQUIRE_EQUAL(supported, can);
    CUDA(cudaSetDevice(device));
    EXPECT_LAST(cudaDeviceDisablePeerAccess(peer), cudaErrorPeerAccessNotEnabled);
    if (!can) {
        EXPECT_LAST(cudaDeviceEnablePeerAccess(peer, 0), cudaErrorPeerAccessUnsupported);
        return;
    }
    EXPECT_LAST(cudaDeviceEnablePeerAccess(peer, 1), cudaErrorInvalidValue);
    int *own, *before, *after;
    CUDA(cudaMalloc(&own, SIZE));
    CUDA(cudaSetDevice(peer));
    CUDA(cudaMalloc(&before, SIZE));
    fill<<<GRID, BLOCK>>>(before, N, 1);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaSetDevice(device));
    CUDA(cudaDeviceEnablePeerAccess(peer, 0));
    EXPECT_LAST(cudaDeviceEnablePeerAccess(peer, 0), cudaErrorPeerAccessAlreadyEnabled);
    fill<<<GRID, BLOCK>>>(own, N, 10);
    LAUNCHED();
    add<<<GRID, BLOCK>>>(own, before, N);
    LAUNCHED();
    fill<<<GRID, BLOCK>>>(before, N, 77);
    LAUNCHED();
    std::vector<int> host(N);
    CUDA(cudaMemcpy(host.data(), own, SIZE, cudaMemcpyDeviceToHost));
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], 11 + 2 * i, i);
    expect(before, 77, "a peer's memory");
    // Fills reach it now.
    CUDA(cudaMemset(before, 0, SIZE));
    CUDA(cudaDeviceSynchronize());
    int zero = 1;
    CUDA(cudaMemcpy(&zero, before + N - 1, sizeof zero, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(zero, 0);
    // What is allocated later is reached too.
    CUDA(cudaSetDevice(peer));
    CUDA(cudaMalloc(&after, 64 << 20));
    CUDA(cudaSetDevice(device));
    fill<<<GRID, BLOCK>>>(after, N, 88);
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaSetDevice(peer));
    expect(after, 88, "a peer's memory of later");
    CUDA(cudaSetDevice(device));
    CUDA(cudaDeviceDisablePeerAccess(peer));
    EXPECT_LAST(cudaDeviceDisablePeerAccess(peer), cudaErrorPeerAccessNotEnabled);
    CUDA(cudaFree(own));
    CUDA(cudaFree(before));
    CUDA(cudaFree(after));
}

// Pinned memory is every device's.
static void pinned() {
    int *host;
    CUDA(cudaSetDevice(0));
    CUDA(cudaHostAlloc(&host, SIZE * count, cudaHostAllocPortable | cudaHostAllocMapped));
    for (int d = 0; d < count; d++) {
        CUDA(cudaSetDevice(d));
        int *device;
        CUDA(cudaHostGetDevicePointer(&device, host, 0));
        fill<<<GRID, BLOCK>>>(device + d * N, N, d);
        LAUNCHED();
    }
    for (int d = 0; d < count; d++) {
        CUDA(cudaSetDevice(d));
        CUDA(cudaDeviceSynchronize());
        for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[d * N + i], d + i, i);
    }
    CUDA(cudaFreeHost(host));
}

// A reset takes a device's memory, and leaves the other devices what they have.
static void resets() {
    int last = count - 1;
    int *kept;
    CUDA(cudaSetDevice(last));
    CUDA(cudaMalloc(&kept, SIZE));
    fill<<<GRID, BLOCK>>>(kept, N, 9);
    LAUNCHED();
    for (int d = 0; d < last; d++) {
        CUDA(cudaSetDevice(d));
        CUDA(cudaDeviceReset());
        int *again;
        CUDA(cudaMalloc(&again, SIZE));
        fill<<<GRID, BLOCK>>>(again, N, d);
        LAUNCHED();
        expect(again, d, "memory after a reset");
        CUDA(cudaFree(again));
    }
    CUDA(cudaSetDevice(last));
    expect(kept, 9, "memory beside a reset");
    int *host;
    CUDA(cudaMallocHost(&host, SIZE));
    CUDA(cudaMemcpyAsync(host, kept, SIZE, cudaMemcpyDeviceToHost, 0));
    CUDA(cudaStreamSynchronize(0));
    for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], 9 + i, i);
    CUDA(cudaFreeHost(host));
    CUDA(cudaDeviceReset());
    EXPECT_LAST(cudaFree(kept), cudaErrorInvalidValue);
}

// Priorities are a range whose lowest is 0; what is beyond is taken for the nearest.
static void priorities() {
    for (int d = 0; d < count; d++) {
        CUDA(cudaSetDevice(d));
        int least = -1, greatest = 1, supported;
        CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest));
        CUDA(cudaDeviceGetAttribute(&supported, cudaDevAttrStreamPrioritiesSupported, d));
        REQUIRE(least == 0 && greatest <= 0 && (greatest < 0) == (supported == 1));
        for (int asked : {0, greatest, greatest - 3, 4}) {
            cudaStream_t stream;
            int got;
            CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, asked));
            CUDA(cudaStreamGetPriority(stream, &got));
            REQUIRE_EQUAL(got, asked < greatest ? greatest : asked > 0 ? 0 : asked);
            CUDA(cudaStreamDestroy(stream));
        }
    }
}

int main() {
    CUDA(cudaGetDeviceCount(&count));
    each();
    threads();
    for (int a = 0; a < count; a++) {
        for (int b = 0; b < count; b++) {
            copies(a, b);
            order(a, b);
        }
    }
    for (int a = 0; a < count; a++) {
        int can = -1;
        CUDA(cudaDeviceCanAccessPeer(&can, a, a));
        REQUIRE_EQUAL(can, 0);
        CUDA(cudaSetDevice(a));
        EXPECT_LAST(cudaDeviceEnablePeerAccess(a, 0), cudaErrorPeerAccessUnsupported);
        EXPECT_LAST(cudaDeviceEnablePeerAccess(count, 0), cudaErrorInvalidDevice);
        EXPECT_LAST(cudaDeviceCanAccessPeer(&can, a, count), cudaErrorInvalidDevice);
        EXPECT_LAST(cudaDeviceGetP2PAttribute(&can, cudaDevP2PAttrAccessSupported, a, a), cudaErrorInvalidDevice);
        for (int b = 0; b < count; b++)
            if (a != b) peers(a, b);
    }
    pinned();
    priorities();
    resets();
    return pass();
}
