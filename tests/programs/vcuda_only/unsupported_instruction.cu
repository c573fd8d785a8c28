// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -lineinfo -gencode arch=compute_80,code=compute_80 -gencode arch=compute_90a,code=compute_90a -gencode arch=compute_100a,code=compute_100a
//
// Kernels with instructions that the CPU device cannot do are no kernels for this device; nothing of them runs. The argument says
// which; each is there in the PTX of the processors that have the instruction, and the others have nothing.

#include "check_cuda.h"

// Pictures with several samples to a pixel, which only graphics programs have.
__global__ void multisample(unsigned *out) {
    out[threadIdx.x] = 1;
#if __CUDA_ARCH__ == 800
    asm volatile("tex.2dms.v4.u32.s32 {%0, %0, %0, %0}, [%1, {%2, %2, %2, %2}];" : "+r"(out[1]) : "l"(out), "r"(0));
#endif
}

// Matrix products of four warps.
__global__ void warpgroup(unsigned *out) {
    out[threadIdx.x] = 1;
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    asm volatile("wgmma.fence.sync.aligned;");
    asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f16.f16.f16 {%0, %1}, %2, %3, 1, 1, 1, 0, 0;"
                 : "+r"(out[1]), "+r"(out[2])
                 : "l"(0ull), "l"(0ull));
    asm volatile("wgmma.commit_group.sync.aligned;");
#endif
}

// Matrix products with memory of their own.
__global__ void tensor_memory(unsigned *out) {
    out[threadIdx.x] = 1;
#ifdef __CUDA_ARCH_FEAT_SM100_ALL
    __shared__ unsigned address;
    asm volatile("tcgen05.alloc.cta_group::1.sync.aligned.shared::cta.b32 [%0], 32;" ::"r"((unsigned)__cvta_generic_to_shared(&address)));
    out[1] = address;
#endif
}

// A copy of a part of a tensor.
__global__ void tensor_copy(unsigned *out) {
    out[threadIdx.x] = 1;
#if __CUDA_ARCH__ >= 900
    __shared__ alignas(128) unsigned tile[256];
    __shared__ unsigned long long barrier;
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %2}], [%3];" ::"r"(
                     (unsigned)__cvta_generic_to_shared(tile)),
                 "l"(out), "r"(0), "r"((unsigned)__cvta_generic_to_shared(&barrier)));
    out[1] = tile[threadIdx.x];
#endif
}

// Blocks that see each other's shared memory.
__global__ void cluster(unsigned *out) {
    out[threadIdx.x] = 1;
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.aligned;");
    asm volatile("barrier.cluster.wait.aligned;");
#endif
}

int main(int argc, char **argv) {
    const char *which = argc > 1 ? argv[1] : "multisample";
    auto is = [&](const char *name) { return strcmp(which, name) == 0; };
    unsigned values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    CUDA(cudaMemset(device, 0, sizeof values));
    if (is("multisample")) multisample<<<1, 32>>>(device);
    if (is("warpgroup")) warpgroup<<<1, 32>>>(device);
    if (is("tensor_memory")) tensor_memory<<<1, 32>>>(device);
    if (is("tensor_copy")) tensor_copy<<<1, 32>>>(device);
    if (is("cluster")) cluster<<<1, 32>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
    EXPECT(cudaGetLastError(), cudaSuccess);
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE(values[i] == 0);
    CUDA(cudaFree(device));
    return pass();
}
