// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -Xcompiler -pthread
//
// Ends with work in flight and memory, streams and events held; the exit code must be 0. The argument says how it ends:
//     return      from main (default)
//     thread      by exit() in another thread, while the main thread sleeps
//     atexit      with an exit handler and a static destructor that call CUDA
//     _exit       without exit handlers
//     waiting     by exit() while another thread waits for the device
//     function    from main while a function that a stream called has not returned, and another one is due

#include "check_cuda.h"
#include "spin.h"
#include <thread>

__global__ void work(unsigned *result, unsigned turns) { result[threadIdx.x] = spin(turns); }

static void CUDART_CB sleep_on(void *) { sleep(1000); }

static unsigned *device;
static bool free_late;

static struct Late {
    // Runs after the exit handlers, perhaps when CUDA is gone: any result will do, except a crash.
    ~Late() {
        if (free_late) cudaFree(device);
    }
} late;

static void handler() {
    // The runtime is still there when a handler runs that was registered after its first use.
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaFree(device));
    CUDA(cudaMalloc(&device, 1000));
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "return";
    void *pinned;
    cudaStream_t stream;
    cudaEvent_t event;
    CUDA(cudaMalloc(&device, 1 << 20));
    CUDA(cudaMallocHost(&pinned, 1 << 20));
    CUDA(cudaStreamCreate(&stream));
    CUDA(cudaEventCreate(&event));
    for (int i = 0; i < 20; i++) work<<<4, 64, 0, stream>>>(device, 2000);
    LAUNCHED();
    CUDA(cudaMemcpyAsync(pinned, device, 1 << 20, cudaMemcpyDeviceToHost, stream));
    CUDA(cudaEventRecord(event, stream));
    if (strcmp(how, "return") == 0) return pass();
    if (strcmp(how, "thread") == 0) {
        std::thread([] { exit(pass()); }).detach();
        while (true) pause();
    }
    if (strcmp(how, "atexit") == 0) {
        free_late = true;
        atexit(handler);
        return pass();
    }
    if (strcmp(how, "_exit") == 0) {
        pass();
        _exit(0);
    }
    if (strcmp(how, "waiting") == 0) {
        std::thread([] { cudaDeviceSynchronize(); }).detach();
        exit(pass());
    }
    if (strcmp(how, "function") == 0) {
        CUDA(cudaLaunchHostFunc(stream, sleep_on, nullptr));
        CUDA(cudaLaunchHostFunc(stream, sleep_on, nullptr));
        usleep(20000);
        return pass();
    }
    FAIL("'%s' is no way to end", how);
}
