// SPDX-License-Identifier: MIT OR Apache-2.0
// Uses the device once and then nothing, for half a minute.
#include <unistd.h>

__global__ void empty() {}

int main() {
    empty<<<1, 1>>>();
    cudaDeviceSynchronize();
    sleep(30);
}
