// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The few declarations of the CUDA Runtime API that a program needs when it is compiled by clang without NVIDIA's headers, in the
// launch ABI of an old version. clang finds the launch functions by these names.
#pragma once

#include <stddef.h>

#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))

struct dim3 {
    unsigned x, y, z;
    __host__ __device__ dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
typedef struct CUstream_st *cudaStream_t;
typedef int cudaError_t;
enum { cudaSuccess = 0 };
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };

extern "C" {
cudaError_t cudaMalloc(void **pointer, size_t size);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaMemcpy(void *to, const void *from, size_t size, cudaMemcpyKind kind);
cudaError_t cudaThreadSynchronize(void); // until CUDA 12
cudaError_t cudaDeviceSynchronize(void);

// Up to CUDA 9.1, a launch is cudaConfigureCall, one cudaSetupArgument for each parameter, cudaLaunch.
cudaError_t cudaConfigureCall(dim3 grid, dim3 block, size_t shared_size = 0, cudaStream_t stream = 0);
cudaError_t cudaSetupArgument(const void *argument, size_t size, size_t offset);
cudaError_t cudaLaunch(const void *function);

// From CUDA 9.2 on, it is a push and pop of the configuration around cudaLaunchKernel.
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_size = 0, cudaStream_t stream = 0);
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared_size, void *stream);
cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared_size,
                             cudaStream_t stream);

// In parts/init_module.c.
char cuda90_init_module(void);
}

static __device__ inline unsigned global_index() {
    return __nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x();
}
