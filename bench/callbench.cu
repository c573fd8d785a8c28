// SPDX-License-Identifier: MIT OR Apache-2.0
// What a CUDA Runtime call costs the calling thread, and what copies move: a name, a unit, the median
// of batches. Natively and under vcuda in turns; scripts/gpu.sh sets the two beside each other.
//
//     callbench [DIVISOR [calls]]     does 1/DIVISOR of the work; with `calls`, no bulk copies
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#define CHECK(call)                                                                       \
    do {                                                                                  \
        cudaError_t e = (call);                                                           \
        if (e != cudaSuccess) {                                                           \
            std::printf("%s failed: %d %s\n", #call, (int)e, cudaGetErrorString(e));      \
            std::exit(1);                                                                 \
        }                                                                                 \
    } while (0)

__global__ void empty() {}
__global__ void axpy(float a, const float *x, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = a * x[i] + y[i];
}

static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double median(std::vector<double> &values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

static void row(const char *name, const char *unit, double value) {
    std::printf("%-34s %-8s %12.3f\n", name, unit, value);
    std::fflush(stdout);
}

// Microseconds for one call, in batches of `count`, each followed by an unmeasured synchronization.
template <class F> static void call(const char *name, int count, F f) {
    std::vector<double> batches;
    f();
    for (int batch = 0; batch < 21; batch++) {
        CHECK(cudaDeviceSynchronize());
        double start = now();
        for (int i = 0; i < count; i++) f();
        batches.push_back((now() - start) / count * 1e6);
    }
    CHECK(cudaDeviceSynchronize());
    row(name, "us", median(batches));
}

int main(int argc, char **argv) {
    int divisor = argc > 1 ? std::atoi(argv[1]) : 1;
    if (divisor < 1) divisor = 1;

    double start = now();
    CHECK(cudaFree(0));
    row("first call", "ms", (now() - start) * 1e3);
    int n = 1 << 20, burst = 500 / divisor + 1;
    float *x, *y;
    cudaStream_t stream;
    cudaEvent_t event;
    CHECK(cudaMalloc(&x, n * sizeof(float)));
    CHECK(cudaMalloc(&y, n * sizeof(float)));
    CHECK(cudaMemset(x, 0, n * sizeof(float)));
    CHECK(cudaMemset(y, 0, n * sizeof(float)));
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaEventCreate(&event));
    axpy<<<1, 32>>>(2.f, x, y, 32);
    CHECK(cudaDeviceSynchronize());
    row("first call to first result", "ms", (now() - start) * 1e3);

    char small[64] = {};
    call("launch, asynchronous", burst, [&] { empty<<<1, 32>>>(); });
    call("launch of 4 arguments, asynchronous", burst, [&] { axpy<<<1, 32>>>(2.f, x, y, 32); });
    call("cudaEventRecord", burst, [&] { CHECK(cudaEventRecord(event, stream)); });
    call("cudaMemsetAsync 4 KiB", burst, [&] { CHECK(cudaMemsetAsync(x, 0, 4096, stream)); });
    call("launch + cudaDeviceSynchronize", burst / 5 + 1, [&] {
        empty<<<1, 32>>>();
        CHECK(cudaDeviceSynchronize());
    });
    call("cudaStreamSynchronize, idle", burst, [&] { CHECK(cudaStreamSynchronize(stream)); });
    call("cudaMemcpy 64 B to device", burst, [&] { CHECK(cudaMemcpy(x, small, 64, cudaMemcpyHostToDevice)); });
    call("cudaMemcpy 64 B to host", burst, [&] { CHECK(cudaMemcpy(small, x, 64, cudaMemcpyDeviceToHost)); });
    call("cudaMalloc + cudaFree 1 MiB", burst / 10 + 1, [&] {
        void *p;
        CHECK(cudaMalloc(&p, 1 << 20));
        CHECK(cudaFree(p));
    });
    call("cudaGetDevice", burst, [&] {
        int device;
        CHECK(cudaGetDevice(&device));
    });
    call("cudaGetLastError", burst, [&] { CHECK(cudaGetLastError()); });

    // As in an application: three launches, and a small result that the host looks at.
    std::vector<double> steps;
    for (int batch = 0; batch < 11; batch++) {
        float result;
        int count = 200 / divisor + 1;
        double begin = now();
        for (int i = 0; i < count; i++) {
            for (int k = 0; k < 3; k++) axpy<<<(n + 255) / 256, 256>>>(1.0001f, x, y, n);
            CHECK(cudaMemcpy(&result, y, sizeof result, cudaMemcpyDeviceToHost));
        }
        steps.push_back((now() - begin) / count * 1e6);
    }
    row("step: 3 launches, 4 B to host", "us", median(steps));

    if (argc > 2) return 0;
    size_t most = (size_t)(divisor > 10 ? 16 : 256) << 20;
    void *device;
    char *pinned, *pageable = (char *)std::malloc(most), *registered = (char *)std::malloc(most);
    std::memset(pageable, 1, most);
    std::memset(registered, 1, most);
    CHECK(cudaMalloc(&device, most));
    CHECK(cudaMallocHost(&pinned, most));
    CHECK(cudaHostRegister(registered, most, cudaHostRegisterDefault));
    std::memset(pinned, 1, most);
    const char *kinds[] = {"pageable", "pinned", "registered"};
    char *hosts[] = {pageable, pinned, registered};
    for (size_t size = 64 << 10; size <= most; size *= 16)
        for (int kind = 0; kind < 6; kind++) {
            bool to_device = kind < 3;
            char *host = hosts[kind % 3], name[64];
            std::vector<double> rates;
            for (int batch = 0; batch < 9; batch++) {
                int count = std::max<int>(1, (int)(((size_t)64 << 20) / size / divisor));
                double begin = now();
                for (int i = 0; i < count; i++) {
                    if (to_device) CHECK(cudaMemcpy(device, host, size, cudaMemcpyHostToDevice));
                    else CHECK(cudaMemcpy(host, device, size, cudaMemcpyDeviceToHost));
                }
                CHECK(cudaDeviceSynchronize());
                rates.push_back((double)size * count / (now() - begin) / 1e9);
            }
            std::snprintf(name, sizeof name, "%s, %s, %zu KiB", to_device ? "to device" : "to host",
                          kinds[kind % 3], size >> 10);
            row(name, "GB/s", median(rates));
        }
    CHECK(cudaFree(x));
    CHECK(cudaFree(y));
    CHECK(cudaFree(device));
    CHECK(cudaFreeHost(pinned));
    CHECK(cudaHostUnregister(registered));
}
