// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Any 64-bit value in the place of any handle of the Driver API gives an error. (NVIDIA's driver follows some of them and
// crashes.)

#include "check.h"
#include <cuda.h>
#include <dlfcn.h>

static void *library;

template <typename... Arguments> static void refused(const char *name, Arguments... arguments) {
    auto function = (CUresult(*)(Arguments...))dlsym(library, name);
    if (!function) FAIL("libcuda.so.1 has no %s", name);
    CUresult result = function(arguments...);
    switch (result) {
    case CUDA_ERROR_INVALID_VALUE:
    case CUDA_ERROR_INVALID_HANDLE:
    case CUDA_ERROR_INVALID_CONTEXT:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_NOT_FOUND: return;
    default: FAIL("%s gives %d", name, (int)result);
    }
}

static void handles(void *handle) {
    unsigned long long out[16], address = (unsigned long long)handle;
    const char *name;
    int number = 0;
    // Contexts, other than none
    if (handle) {
        refused("cuCtxSetCurrent", handle);
        refused("cuCtxGetApiVersion", handle, (unsigned *)out);
        refused("cuCtxGetId", handle, out);
        refused("cuCtxGetDevice_v2", out, handle);
        refused("cuCtxSynchronize_v2", handle);
    }
    refused("cuCtxPushCurrent_v2", handle);
    refused("cuCtxDestroy_v2", handle);
    refused("cuCtxDetach", handle);
    // Modules, libraries, kernels, functions
    refused("cuModuleUnload", handle);
    refused("cuModuleGetFunction", out, handle, "name");
    refused("cuModuleGetGlobal_v2", out, (size_t *)out, handle, "name");
    refused("cuLibraryUnload", handle);
    refused("cuLibraryGetKernel", out, handle, "name");
    refused("cuLibraryGetModule", out, handle);
    refused("cuLibraryGetGlobal", out, (size_t *)out, handle, "name");
    refused("cuKernelGetFunction", out, handle);
    refused("cuKernelGetLibrary", out, handle);
    refused("cuKernelGetName", &name, handle);
    refused("cuKernelGetAttribute", &number, 0, handle, 0);
    refused("cuKernelSetAttribute", 8, 0, handle, 0);
    refused("cuFuncGetAttribute", &number, 0, handle);
    refused("cuFuncSetAttribute", handle, 8, 0);
    refused("cuFuncSetCacheConfig", handle, 0);
    refused("cuFuncGetModule", out, handle);
    refused("cuFuncGetName", &name, handle);
    refused("cuFuncGetParamInfo", handle, (size_t)0, out, out);
    refused("cuOccupancyMaxActiveBlocksPerMultiprocessor", &number, handle, 32, (size_t)0);
    refused("cuLaunchKernel", handle, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
    refused("cuLaunchCooperativeKernel", handle, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr);
    CUlaunchConfig configuration = {1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, 0};
    refused("cuLaunchKernelEx", &configuration, handle, nullptr, nullptr);
    // Events, and streams other than the default ones (0, 1 and 2)
    refused("cuEventRecord", handle, nullptr);
    refused("cuEventQuery", handle);
    refused("cuEventSynchronize", handle);
    refused("cuEventElapsedTime", out, handle, handle);
    refused("cuEventDestroy_v2", handle);
    refused("cuStreamWaitEvent", nullptr, handle, 0);
    refused("cuStreamDestroy_v2", handle);
    if (address > 2) {
        refused("cuStreamSynchronize", handle);
        refused("cuStreamQuery", handle);
        refused("cuStreamGetFlags", handle, out);
        refused("cuStreamGetCtx", handle, out);
        refused("cuMemAllocAsync", out, (size_t)16, handle);
        refused("cuMemcpyAsync", out, out + 1, (size_t)8, handle);
    }
    // Graphs, their nodes, and graphs that can be launched
    refused("cuGraphDestroy", handle);
    refused("cuGraphClone", out, handle);
    refused("cuGraphInstantiateWithFlags", out, handle, 0ull);
    refused("cuGraphInstantiate_v2", out, handle, out, (char *)out, sizeof out);
    refused("cuGraphGetNodes", handle, nullptr, out);
    refused("cuGraphGetRootNodes", handle, nullptr, out);
    refused("cuGraphGetEdges", handle, nullptr, nullptr, out);
    refused("cuGraphAddEmptyNode", out, handle, nullptr, (size_t)0);
    refused("cuGraphAddChildGraphNode", out, handle, nullptr, (size_t)0, handle);
    refused("cuGraphAddEventWaitNode", out, handle, nullptr, (size_t)0, handle);
    refused("cuGraphDestroyNode", handle);
    refused("cuGraphNodeGetType", handle, out);
    refused("cuGraphNodeGetDependencies", handle, nullptr, out);
    refused("cuGraphKernelNodeGetParams_v2", handle, out);
    refused("cuGraphMemcpyNodeGetParams", handle, out);
    refused("cuGraphMemsetNodeGetParams", handle, out);
    refused("cuGraphHostNodeGetParams", handle, out);
    refused("cuGraphChildGraphNodeGetGraph", handle, out);
    refused("cuGraphEventRecordNodeGetEvent", handle, out);
    refused("cuGraphExecDestroy", handle);
    refused("cuGraphExecUpdate_v2", handle, handle, nullptr);
    refused("cuGraphExecGetFlags", handle, out);
    refused("cuGraphNodeSetEnabled", handle, handle, 0u);
    refused("cuGraphLaunch", handle, nullptr);
    refused("cuGraphUpload", handle, nullptr);
    if (address > 2) refused("cuStreamBeginCapture_v2", handle, 0);
    // Addresses of device memory, other than none
    if (handle) {
        refused("cuMemFree_v2", address);
        refused("cuMemFreeHost", handle);
        refused("cuMemFreeAsync", address, nullptr);
        refused("cuMemGetAddressRange_v2", out, out, address);
        refused("cuPointerGetAttribute", out, 2, address);
        refused("cuMemHostGetFlags", out, handle);
        refused("cuMemHostGetDevicePointer_v2", out, handle, 0);
    }
    refused("cuMemsetD8_v2", address, 0, (size_t)16);
    refused("cuMemcpyHtoD_v2", address, out, (size_t)16);
    refused("cuMemcpyDtoH_v2", out, address, (size_t)16);
    refused("cuMemcpyDtoD_v2", address, address, (size_t)16);
    // Devices
    if (handle) {
        refused("cuDeviceGetName", out, 8, (int)(address | 0x100));
        refused("cuDevicePrimaryCtxRetain", out, (int)(address | 0x100));
    }
}

int main() {
    library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) FAIL("%s", dlerror());
    auto init = (CUresult(*)(unsigned))dlsym(library, "cuInit");
    auto create = (CUresult(*)(CUcontext *, unsigned, int))dlsym(library, "cuCtxCreate_v2");
    auto destroy = (CUresult(*)(CUcontext))dlsym(library, "cuCtxDestroy_v2");
    auto get_current = (CUresult(*)(CUcontext *))dlsym(library, "cuCtxGetCurrent");
    CUcontext context, gone, current;
    REQUIRE(init(0) == CUDA_SUCCESS && create(&gone, 0, 0) == CUDA_SUCCESS && destroy(gone) == CUDA_SUCCESS);
    REQUIRE(create(&context, 0, 0) == CUDA_SUCCESS);
    // None, small numbers, unaligned and non-canonical addresses, our own code and data, a context that is gone and its neighbours.
    char local[64];
    const unsigned long long base = (unsigned long long)gone;
    const unsigned long long wrong[] = {0, 1, 2, 3, 16, 0xdead, 0x1000, (unsigned long long)local, (unsigned long long)&main,
                                        base, base + 1, base + 8, base + 16, base - 16, base + 4096, base | 1ull << 63,
                                        0x7fffffffffffffff, 0x8000000000000000, 0xfffffffffffffff0, 0xffffffffffffffff};
    for (unsigned long long value : wrong) handles((void *)value);
    REQUIRE(get_current(&current) == CUDA_SUCCESS && current == context);
    return pass();
}
