// SPDX-License-Identifier: MIT OR Apache-2.0
// From inside a virtual machine: what CUDA calls cost through /dev/vcuda, beside the same amount of data over TCP, through
// the machine's network device and a proxy on the host, which is how a remote CUDA client goes. scripts/bench.sh runs it.
//
//     guest [ADDRESS PORT]        without an address, no TCP (see proxy.cpp)
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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
    return duration<double, std::micro>(steady_clock::now().time_since_epoch()).count();
}

// The median of `count` measurements of `call`, in microseconds.
template <typename F>
static double median(int count, F call) {
    std::vector<double> spent;
    for (int i = 0; i < count; i++) {
        double start = now();
        call();
        spent.push_back(now() - start);
    }
    std::sort(spent.begin(), spent.end());
    return spent[spent.size() / 2];
}

// The proxy's other end: u32 operation, u64 length.
struct Network {
    int socket = -1;
    enum { ECHO = 1, SINK = 2, SOURCE = 3 };

    void connect(const char *address, int port) {
        socket = ::socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        inet_pton(AF_INET, address, &to.sin_addr);
        int one = 1;
        setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (::connect(socket, (sockaddr *)&to, sizeof to) != 0) {
            std::perror("connect");
            std::exit(1);
        }
    }
    void put(const void *data, size_t len) {
        for (auto p = (const char *)data; len > 0;) {
            ssize_t n = write(socket, p, len);
            if (n <= 0) std::perror("write"), std::exit(1);
            p += n, len -= n;
        }
    }
    void get(void *data, size_t len) {
        for (auto p = (char *)data; len > 0;) {
            ssize_t n = read(socket, p, len);
            if (n <= 0) std::perror("read"), std::exit(1);
            p += n, len -= n;
        }
    }
    void ask(uint32_t operation, uint64_t len) {
        char header[12];
        *(uint32_t *)header = operation;
        *(uint64_t *)(header + 4) = len;
        put(header, sizeof header);
    }
    // As large as a launch and its answer.
    void round_trip() {
        char message[80] = {};
        ask(ECHO, sizeof message);
        put(message, sizeof message);
        get(message, sizeof message);
    }
    void send(const void *data, size_t len) {
        char done;
        ask(SINK, len);
        put(data, len);
        get(&done, 1);
    }
    void receive(void *data, size_t len) {
        ask(SOURCE, len);
        get(data, len);
    }
};

int main(int argc, char **argv) {
    Network network;
    bool tcp = argc > 2;
    if (tcp) network.connect(argv[1], std::atoi(argv[2]));

    char *device;
    const size_t most = 64 << 20;
    CHECK(cudaMalloc(&device, most));
    std::vector<char> host(most, 1);
    char *pinned;
    CHECK(cudaMallocHost(&pinned, most));
    for (size_t i = 0; i < most; i += 4096) pinned[i] = 1;
    empty<<<1, 1>>>();
    CHECK(cudaDeviceSynchronize());

    std::printf("%-34s %12s %12s %10s\n", "", "vcuda", "TCP", "ratio");
    double trip = tcp ? median(300, [&] { network.round_trip(); }) : 0;
    auto line = [&](const char *name, double ours, double theirs) {
        if (tcp)
            std::printf("%-34s %9.1f us %9.1f us %9.1fx\n", name, ours, theirs, theirs / ours);
        else
            std::printf("%-34s %9.1f us\n", name, ours);
    };
    int value = 0;
    line("round trip (4 bytes to the host)", median(300, [&] { CHECK(cudaMemcpy(&value, device, 4, cudaMemcpyDeviceToHost)); }), trip);
    line("launch and synchronize", median(300, [&] {
             empty<<<1, 1>>>();
             CHECK(cudaDeviceSynchronize());
         }),
         trip);
    const int burst = 500;
    double launches = median(21, [&] {
                          for (int i = 0; i < burst; i++) empty<<<1, 1>>>();
                      }) / burst;
    CHECK(cudaDeviceSynchronize());
    line("asynchronous launch, in bursts", launches, trip);
    std::printf("%-34s %9.0f\n", "asynchronous launches per second", 1e6 / launches);

    for (size_t len : {64 << 10, 1 << 20, 16 << 20, 64 << 20}) {
        int count = len >= (16 << 20) ? 3 : 21;
        double to_tcp = tcp ? median(std::min(count, 5), [&] { network.send(host.data(), len); }) : 0;
        double from_tcp = tcp ? median(std::min(count, 5), [&] { network.receive(host.data(), len); }) : 0;
        char name[64];
        std::snprintf(name, sizeof name, "%5zu KiB to the device, pageable", len >> 10);
        line(name, median(count, [&] { CHECK(cudaMemcpy(device, host.data(), len, cudaMemcpyHostToDevice)); CHECK(cudaDeviceSynchronize()); }), to_tcp);
        std::snprintf(name, sizeof name, "%5zu KiB to the host, pageable", len >> 10);
        line(name, median(count, [&] { CHECK(cudaMemcpy(host.data(), device, len, cudaMemcpyDeviceToHost)); }), from_tcp);
        std::snprintf(name, sizeof name, "%5zu KiB to the device, pinned", len >> 10);
        line(name, median(count, [&] { CHECK(cudaMemcpy(device, pinned, len, cudaMemcpyHostToDevice)); CHECK(cudaDeviceSynchronize()); }), to_tcp);
        std::snprintf(name, sizeof name, "%5zu KiB to the host, pinned", len >> 10);
        line(name, median(count, [&] { CHECK(cudaMemcpy(pinned, device, len, cudaMemcpyDeviceToHost)); }), from_tcp);
    }
    std::puts("PASS guest");
}
