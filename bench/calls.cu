// SPDX-License-Identifier: MIT OR Apache-2.0
// What CUDA calls cost the calling thread: calls per second, and copies beside a memcpy of the same
// size. Runs under vcuda and natively; scripts/bench.sh builds and runs it.
//
//     calls [DIVISOR]     does 1/DIVISOR of the work
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define CHECK(call)                                                                       \
    do {                                                                                  \
        cudaError_t e = (call);                                                           \
        if (e != cudaSuccess) {                                                           \
            std::fprintf(stderr, "%s failed: %s\n", #call, cudaGetErrorString(e));        \
            std::exit(1);                                                                 \
        }                                                                                 \
    } while (0)

__global__ void empty() {}

static double now() {
    using namespace std::chrono;
    return duration<double>(steady_clock::now().time_since_epoch()).count();
}

// Seconds for one call, over `count` of them in bursts of `burst`, each followed by an unmeasured
// synchronisation.
template <typename F>
static double measure(int count, int burst, F call) {
    double spent = 0;
    for (int done = 0; done < count; done += burst) {
        double start = now();
        for (int i = 0; i < burst; i++) call();
        spent += now() - start;
        CHECK(cudaDeviceSynchronize());
    }
    return spent / count;
}

static void row(const char *name, double seconds) {
    std::printf("%-44s %10.2f us %12.0f calls/s\n", name, seconds * 1e6, 1 / seconds);
}

static double best_of_three(void (*copy)(void *, void *, size_t), void *to, void *from, size_t bytes) {
    double best = 1e9;
    for (int i = 0; i < 4; i++) { // the first warms up
        double start = now();
        copy(to, from, bytes);
        double spent = now() - start;
        if (i > 0 && spent < best) best = spent;
    }
    return best;
}

static void to_device(void *to, void *from, size_t n) {
    CHECK(cudaMemcpy(to, from, n, cudaMemcpyHostToDevice));
    CHECK(cudaDeviceSynchronize());
}
static void to_host(void *to, void *from, size_t n) { CHECK(cudaMemcpy(to, from, n, cudaMemcpyDeviceToHost)); }
static void plain(void *to, void *from, size_t n) { std::memcpy(to, from, n); }

int main(int argc, char **argv) {
    int divisor = argc > 1 ? std::atoi(argv[1]) : 1;
    if (divisor < 1) divisor = 1;

    double start = now();
    CHECK(cudaFree(0));
    row("first call", now() - start);

    cudaStream_t stream;
    cudaEvent_t event;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&event));
    char *device, small[64] = {};
    CHECK(cudaMalloc(&device, 1 << 20));
    empty<<<1, 1>>>();
    CHECK(cudaDeviceSynchronize());

    int many = 50000 / divisor, few = 5000 / divisor;
    row("launch, asynchronous, bursts of 500", measure(many, 500, [] { empty<<<1, 1>>>(); }));
    row("launch + synchronize", measure(few, 1, [] {
            empty<<<1, 1>>>();
            CHECK(cudaDeviceSynchronize());
        }));
    row("cudaEventRecord, bursts of 500", measure(many, 500, [&] { CHECK(cudaEventRecord(event, stream)); }));
    row("cudaMemsetAsync 4 KiB, bursts of 500",
        measure(many, 500, [&] { CHECK(cudaMemsetAsync(device, 1, 4096, stream)); }));
    row("cudaStreamSynchronize, idle", measure(few, 1, [&] { CHECK(cudaStreamSynchronize(stream)); }));
    row("cudaMemcpy 64 B to device", measure(few, 100, [&] { CHECK(cudaMemcpy(device, small, 64, cudaMemcpyHostToDevice)); }));
    row("cudaMemcpy 64 B to host", measure(few, 100, [&] { CHECK(cudaMemcpy(small, device, 64, cudaMemcpyDeviceToHost)); }));
    row("cudaMalloc + cudaFree, 1 MiB", measure(few, 100, [] {
            void *p;
            CHECK(cudaMalloc(&p, 1 << 20));
            CHECK(cudaFree(p));
        }));
    row("cudaGetLastError", measure(many, 1000, [] { CHECK(cudaGetLastError()); }));

    std::printf("\n%-10s %12s %12s %12s %12s %12s   (GB/s)\n", "copy", "memcpy", "pageable H2D", "pageable D2H", "pinned H2D",
                "pinned D2H");
    for (size_t mib : {1, 16, 256}) {
        if (mib == 256 && divisor > 1) continue;
        size_t bytes = mib << 20;
        std::vector<char> a(bytes, 1), b(bytes, 2);
        char *d, *pinned;
        CHECK(cudaMalloc(&d, bytes));
        CHECK(cudaMallocHost(&pinned, bytes));
        std::memset(pinned, 3, bytes);
        double gb = bytes / 1e9, base = gb / best_of_three(plain, b.data(), a.data(), bytes);
        double rates[] = {gb / best_of_three(to_device, d, a.data(), bytes), gb / best_of_three(to_host, b.data(), d, bytes),
                          gb / best_of_three(to_device, d, pinned, bytes), gb / best_of_three(to_host, pinned, d, bytes)};
        std::printf("%4zu MiB   %12.2f", mib, base);
        for (double rate : rates) std::printf(" %6.2f %4.2fx", rate, rate / base);
        std::printf("\n");
        CHECK(cudaFree(d));
        CHECK(cudaFreeHost(pinned));
    }
}
