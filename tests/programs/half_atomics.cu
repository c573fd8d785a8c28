// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// atomicAdd of __half, __half2, __nv_bfloat16 and __nv_bfloat162, in global and shared memory; 16-bit atomicCAS.

#include "check_cuda.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct Sums {
    __half2 pairs[4];
    __nv_bfloat162 bpairs[4];
    __half single[4], pad[4];
    __nv_bfloat16 bsingle[4], bpad[4];
    unsigned short largest[2];
    float olds;
};

__global__ void add(Sums *sums) {
    __shared__ __half2 shared;
    int t = threadIdx.x;
    if (t == 0) shared = __float2half2_rn(0);
    __syncthreads();
    atomicAdd(&sums->pairs[t % 4], __floats2half2_rn(1, t % 2));
    atomicAdd(&sums->bpairs[t % 4], __floats2bfloat162_rn(1, -1));
    atomicAdd(&sums->single[t % 4], __float2half(0.5f));
    atomicAdd(&sums->bsingle[t % 4], __float2bfloat16(0.25f));
    atomicAdd(&shared, __floats2half2_rn(2, 3));
    unsigned short old = sums->largest[t % 2], seen;
    do {
        seen = old;
        old = atomicCAS(&sums->largest[t % 2], seen, (unsigned short)(seen > t ? seen : t));
    } while (old != seen);
    // What was there before is returned: of all threads together each value once.
    atomicAdd(&sums->olds, __half2float(atomicAdd(&sums->pad[0], __float2half(1))));
    __syncthreads();
    if (t == 0) sums->pad[1] = __low2half(shared), sums->pad[2] = __high2half(shared);
}

int main() {
    const int threads = 128;
    Sums sums, *device;
    CUDA(cudaMalloc(&device, sizeof sums));
    CUDA(cudaMemset(device, 0, sizeof sums));
    add<<<1, threads>>>(device);
    LAUNCHED();
    CUDA(cudaMemcpy(&sums, device, sizeof sums, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 4; i++) {
        REQUIRE_ELEMENT(__low2float(sums.pairs[i]), 32, i);
        REQUIRE_ELEMENT(__high2float(sums.pairs[i]), i % 2 * 32, i);
        REQUIRE_ELEMENT(__low2float(sums.bpairs[i]), 32, i);
        REQUIRE_ELEMENT(__high2float(sums.bpairs[i]), -32, i);
        REQUIRE_ELEMENT(__half2float(sums.single[i]), 16, i);
        REQUIRE_ELEMENT(__bfloat162float(sums.bsingle[i]), 8, i);
    }
    REQUIRE_EQUAL(sums.largest[0], 126);
    REQUIRE_EQUAL(sums.largest[1], 127);
    REQUIRE_EQUAL(sums.olds, threads * (threads - 1) / 2);
    REQUIRE_EQUAL(__half2float(sums.pad[1]), 2 * threads);
    REQUIRE_EQUAL(__half2float(sums.pad[2]), 3 * threads);
    return pass();
}
