// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -rdc=true -gencode arch=compute_80,code=compute_80
//
// A kernel that launches kernels is no kernel for this device, linked or as PTX.

#include "check_cuda.h"
#include <cuda.h>
#include <dlfcn.h>

__global__ void child(int *out) { out[threadIdx.x] = 1; }

__global__ void parent(int *out) {
    if (threadIdx.x == 0) child<<<1, 32>>>(out);
}

// What the compiler makes of a launch in a kernel.
static const char *SOURCE = R"(
.version 8.0
.target sm_80
.address_size 64
.extern .func (.param .b32 result) __cudaCDP2LaunchDeviceV2(.param .b64 buffer, .param .b64 stream);
.visible .entry launches()
{
    .reg .b64 %rd<2>;
    mov.u64 %rd1, 0;
    {
    .param .b64 buffer;
    st.param.b64 [buffer], %rd1;
    .param .b64 stream;
    st.param.b64 [stream], %rd1;
    .param .b32 result;
    call.uni (result), __cudaCDP2LaunchDeviceV2, (buffer, stream);
    }
    ret;
}
)";

template <class F> static F *driver(const char *name) {
    static void *library = dlopen("libcuda.so.1", RTLD_NOW);
    REQUIRE(library);
    F *function = (F *)dlsym(library, name);
    REQUIRE(function);
    return function;
}

static void kernel_that_is_not_linked() {
    CUmodule module;
    CUfunction kernel;
    CUDA(cudaFree(nullptr));
    CUresult loaded = driver<decltype(cuModuleLoadData)>("cuModuleLoadData")(&module, SOURCE);
    CUresult found = loaded ? loaded : driver<decltype(cuModuleGetFunction)>("cuModuleGetFunction")(&kernel, module, "launches");
    if (!found) found = driver<decltype(cuLaunchKernel)>("cuLaunchKernel")(kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
    REQUIRE(found == CUDA_ERROR_NO_BINARY_FOR_GPU);
}

int main() {
    kernel_that_is_not_linked();
    int values[32], *device;
    CUDA(cudaMalloc(&device, sizeof values));
    CUDA(cudaMemset(device, 0, sizeof values));
    parent<<<1, 32>>>(device);
    EXPECT(cudaGetLastError(), cudaErrorNoKernelImageForDevice);
    EXPECT(cudaGetLastError(), cudaSuccess);
    CUDA(cudaMemcpy(values, device, sizeof values, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) REQUIRE(values[i] == 0);
    CUDA(cudaFree(device));
    return pass();
}
