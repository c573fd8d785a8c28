// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -Xcompiler -pthread
//
// One thread launches and wakes another, which synchronizes the same stream and must then see the result: commands take effect in
// the order in which they were issued, whatever thread issued them. Argument: rounds.

#include "check_cuda.h"
#include "spin.h"
#include <semaphore.h>
#include <thread>

const int N = 64;

__global__ void fill(int *values, int value) {
    unsigned waste = spin(200);
    values[threadIdx.x] = waste == 1 && value < 0 ? 0 : value;
}

static sem_t launched, seen;
static cudaStream_t stream;
static cudaEvent_t event;
static int *host, *device;

static void wait(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0) REQUIRE(errno == EINTR);
}

static void launch(int rounds) {
    for (int round = 1; round <= rounds; round++) {
        fill<<<1, N, 0, stream>>>(device, round);
        LAUNCHED();
        CUDA(cudaMemcpyAsync(host, device, N * sizeof(int), cudaMemcpyDeviceToHost, stream));
        if (round % 3 == 2) CUDA(cudaEventRecord(event, stream));
        sem_post(&launched);
        wait(&seen);
    }
}

static void synchronize(int rounds) {
    for (int round = 1; round <= rounds; round++) {
        wait(&launched);
        switch (round % 3) {
        case 0: CUDA(cudaStreamSynchronize(stream)); break;
        case 1: CUDA(cudaDeviceSynchronize()); break;
        case 2: CUDA(cudaEventSynchronize(event)); break;
        }
        for (int i = 0; i < N; i++) REQUIRE_ELEMENT(host[i], round, i);
        sem_post(&seen);
    }
}

int main(int argc, char **argv) {
    int rounds = argument(argc, argv, 1, 600);
    sem_init(&launched, 0, 0);
    sem_init(&seen, 0, 0);
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    CUDA(cudaMallocHost(&host, N * sizeof(int)));
    CUDA(cudaMalloc(&device, N * sizeof(int)));
    std::thread launcher(launch, rounds), synchronizer(synchronize, rounds);
    launcher.join();
    synchronizer.join();
    return pass();
}
