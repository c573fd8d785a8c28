// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// A __managed__ variable, which the host reads and writes by its name.

#include "check_cuda.h"

__managed__ int counter = 5;
__managed__ double values[10] = {0.5, 1.5};

__global__ void use() {
    counter += 3;
    for (int i = 0; i < 10; i++) values[i] += i;
}

int main() {
    REQUIRE_EQUAL(counter, 5);
    counter = 10;
    use<<<1, 1>>>();
    LAUNCHED();
    CUDA(cudaDeviceSynchronize());
    REQUIRE_EQUAL(counter, 13);
    for (int i = 0; i < 10; i++) REQUIRE(values[i] == i + (i < 2 ? i + 0.5 : 0));
    return pass();
}
