// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The driver as most libraries find it: dlopen("libcuda.so.1"), dlsym, and a context of the program's own.

#include "check_driver.h"
#include "kernels.h"
#include <dlfcn.h>

static void *library;

template <typename Function> static Function find(const char *name) {
    void *symbol = dlsym(library, name);
    if (!symbol) FAIL("libcuda.so.1 has no %s", name);
    return (Function)symbol;
}
// The headers give many functions a versioned name by a macro, which this expands.
#define NAME_(name) #name
#define NAME(name) NAME_(name)
#define FIND(name) find<decltype(&name)>(NAME(name))

int main() {
    library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) FAIL("%s", dlerror());
    auto init = FIND(cuInit);
    auto get_device = FIND(cuDeviceGet);
    auto create_context = FIND(cuCtxCreate);
    auto destroy_context = FIND(cuCtxDestroy);
    auto synchronize = FIND(cuCtxSynchronize);
    auto load = FIND(cuModuleLoadData);
    auto unload = FIND(cuModuleUnload);
    auto get_function = FIND(cuModuleGetFunction);
    auto allocate = FIND(cuMemAlloc);
    auto release = FIND(cuMemFree);
    auto copy_up = FIND(cuMemcpyHtoD);
    auto copy_down = FIND(cuMemcpyDtoH);
    auto launch = FIND(cuLaunchKernel);
    auto get_address = FIND(cuGetProcAddress);

    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction function;
    CUdeviceptr pointer;
    CU(init(0));
    CU(get_device(&device, 0));
    CU(create_context(&context, nullptr, 0, device));
    CU(load(&module, KERNELS));
    CU(get_function(&function, module, "scale"));
    unsigned values[100], n = 100;
    unsigned short factor = 9;
    for (unsigned i = 0; i < n; i++) values[i] = i;
    CU(allocate(&pointer, sizeof values));
    CU(copy_up(pointer, values, sizeof values));
    void *parameters[] = {&pointer, &factor, &n};
    CU(launch(function, 2, 1, 1, 64, 1, 1, 0, nullptr, parameters, nullptr));
    CU(synchronize());
    CU(copy_down(values, pointer, sizeof values));
    for (unsigned i = 0; i < n; i++) REQUIRE_ELEMENT(values[i], i * 9 + 5, i);

    // What dlsym and cuGetProcAddress find must work together.
    decltype(&cuMemFree) release_too = nullptr;
    CUdriverProcAddressQueryResult status;
    CU(get_address("cuMemFree", (void **)&release_too, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &status));
    CU(release_too(pointer));
    EXPECT(release(pointer), CUDA_ERROR_INVALID_VALUE);
    CU(unload(module));
    CU(destroy_context(context));
    EXPECT(synchronize(), CUDA_ERROR_INVALID_CONTEXT);
    return pass();
}
