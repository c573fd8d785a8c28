// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Libraries, kernels and functions of the Driver API, and every way to launch them.

#include "check_driver.h"
#include "kernels.h"

static const unsigned N = 100;
static CUdeviceptr values;

static void fill() {
    unsigned start[N];
    for (unsigned i = 0; i < N; i++) start[i] = i;
    CU(cuMemcpyHtoD(values, start, sizeof start));
}

// scale() has run once with `factor`.
static void check(unsigned factor, const char *how) {
    unsigned now[N];
    CU(cuMemcpyDtoH(now, values, sizeof now));
    for (unsigned i = 0; i < N; i++)
        if (now[i] != i * factor + 5) FAIL("%s: element %u is %u, not %u", how, i, now[i], i * factor + 5);
    fill();
}

static void library_without_context(CUdevice device) {
    CUlibrary library;
    CUkernel kernel, again;
    CUfunction function;
    const char *name;
    CU(cuLibraryLoadData(&library, KERNELS, nullptr, nullptr, 0, nullptr, nullptr, 0));
    EXPECT(cuLibraryGetKernel(&kernel, library, "missing"), CUDA_ERROR_NOT_FOUND);
    CU(cuLibraryGetKernel(&kernel, library, "scale"));
    CU(cuLibraryGetKernel(&again, library, "scale"));
    REQUIRE(kernel == again);
    CU(cuKernelGetName(&name, kernel));
    REQUIRE(strcmp(name, "scale") == 0);
    EXPECT(cuKernelGetFunction(&function, kernel), CUDA_ERROR_INVALID_CONTEXT);

    // It becomes one of a context when there is one.
    CUcontext context;
    CUmodule module, its_module;
    CUdeviceptr bias;
    size_t size;
    int threads;
    CU(cuCtxCreate(&context, nullptr, 0, device));
    CU(cuMemAlloc(&values, N * sizeof(unsigned)));
    fill();
    CU(cuKernelGetFunction(&function, kernel));
    CU(cuKernelGetAttribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, kernel, device));
    REQUIRE_EQUAL(threads, 1024);
    CU(cuLibraryGetGlobal(&bias, &size, library, "bias"));
    REQUIRE_EQUAL(size, 4);
    CU(cuLibraryGetModule(&module, library));
    CU(cuFuncGetModule(&its_module, function));
    REQUIRE(module == its_module);
    EXPECT(cuModuleUnload(module), CUDA_ERROR_NOT_PERMITTED); // it is the library's
    unsigned short factor = 2;
    unsigned n = N;
    void *parameters[] = {&values, &factor, &n};
    CU(cuLaunchKernel(function, 4, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    check(2, "a function of a library");
    factor = 3;
    CU(cuLaunchKernel((CUfunction)kernel, 4, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    check(3, "a kernel in the place of a function");
    CU(cuLibraryUnload(library));
    CU(cuMemFree(values));
    CU(cuCtxDestroy(context));
}

static void functions(CUmodule module, CUfunction function) {
    CUfunction again;
    CUmodule its_module;
    const char *name;
    size_t offset, size;
    int value;
    CU(cuModuleGetFunction(&again, module, "scale"));
    REQUIRE(again == function);
    EXPECT(cuModuleGetFunction(&again, module, ""), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleGetGlobal(nullptr, nullptr, module, "bias"), CUDA_ERROR_INVALID_VALUE);
    CU(cuFuncGetModule(&its_module, function));
    REQUIRE(its_module == module);
    CU(cuFuncGetName(&name, function));
    REQUIRE(strcmp(name, "scale") == 0);
    const size_t places[3][2] = {{0, 8}, {8, 2}, {12, 4}};
    for (size_t i = 0; i < 3; i++) {
        CU(cuFuncGetParamInfo(function, i, &offset, &size));
        REQUIRE_ELEMENT(offset, places[i][0], i);
        REQUIRE_ELEMENT(size, places[i][1], i);
    }
    EXPECT(cuFuncGetParamInfo(function, 3, &offset, &size), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncGetParamInfo(function, 0, nullptr, &size), CUDA_ERROR_INVALID_VALUE);
    CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
    REQUIRE_EQUAL(value, 0);
    EXPECT(cuFuncGetAttribute(&value, (CUfunction_attribute)99, function), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_NUM_REGS, 1), CUDA_ERROR_INVALID_VALUE); // read only
    EXPECT(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, -1), CUDA_ERROR_INVALID_VALUE);
    CU(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 4096));
    CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
    REQUIRE_EQUAL(value, 4096);
    CU(cuFuncSetCacheConfig(function, CU_FUNC_CACHE_PREFER_L1));
    CU(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, function, 128, 0));
    REQUIRE(value >= 1);
    EXPECT(cuOccupancyMaxActiveBlocksPerMultiprocessor(&value, function, 0, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&value, function, 128, 0, 2), CUDA_ERROR_INVALID_VALUE);
    int grid, block;
    CU(cuOccupancyMaxPotentialBlockSize(&grid, &block, function, nullptr, 0, 0));
    REQUIRE(grid >= 1 && block >= 32 && block <= 1024 && block % 32 == 0);
    CU(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &block, function, nullptr, 0, 100, CU_OCCUPANCY_DEFAULT));
    REQUIRE(grid >= 1 && block >= 1 && block <= 100);
    CUoccupancyB2DSize shared_of_block = [](int threads) -> size_t { return threads > 64 ? 1 << 30 : 0; };
    CU(cuOccupancyMaxPotentialBlockSize(&grid, &block, function, shared_of_block, 1 << 30, 0));
    REQUIRE(grid >= 1 && block >= 32 && block <= 64);
    EXPECT(cuOccupancyMaxPotentialBlockSize(&grid, nullptr, function, nullptr, 0, 0), CUDA_ERROR_INVALID_VALUE);
}

static void launches(CUfunction function) {
    CUstream stream;
    CUevent done;
    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuEventCreate(&done, CU_EVENT_DISABLE_TIMING));
    unsigned short factor = 4;
    unsigned n = N;
    void *parameters[] = {&values, &factor, &n};
    const auto launch = [&](unsigned grid_y, unsigned block_x, unsigned block_z, unsigned shared, void **pointers, void **extra) {
        return cuLaunchKernel(function, 4, grid_y, 1, block_x, 1, block_z, shared, stream, pointers, extra);
    };
    EXPECT(launch(1, 1025, 1, 0, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch(65536, 1, 1, 0, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch(1, 1, 65, 0, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch(1, 32, 1, 4097, parameters, nullptr), CUDA_ERROR_INVALID_VALUE); // more than the attribute allows
    EXPECT(launch(1, 32, 1, 0xffffffff, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(launch(1, 32, 1, 0, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE); // no parameters
    CU(launch(1, 32, 1, 4096, parameters, nullptr));
    CU(cuStreamSynchronize(stream));
    check(4, "pointers to parameters");

    struct {
        CUdeviceptr values;
        unsigned short factor;
        unsigned n;
    } packed = {values, 5, N};
    size_t size = sizeof packed;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_END};
    CU(launch(1, 32, 1, 0, nullptr, extra));
    CU(cuStreamSynchronize(stream));
    check(5, "a buffer of parameters");
    EXPECT(launch(1, 32, 1, 0, parameters, extra), CUDA_ERROR_INVALID_VALUE); // both
    size = 0;
    EXPECT(launch(1, 32, 1, 0, nullptr, extra), CUDA_ERROR_INVALID_VALUE);
    void *end[] = {CU_LAUNCH_PARAM_END};
    EXPECT(launch(1, 32, 1, 0, nullptr, end), CUDA_ERROR_INVALID_VALUE);

    CUlaunchAttribute attributes[3] = {};
    attributes[0].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attributes[0].value.clusterDim.x = attributes[0].value.clusterDim.y = attributes[0].value.clusterDim.z = 1;
    attributes[1].id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT;
    attributes[1].value.launchCompletionEvent.event = done;
    attributes[2].id = CU_LAUNCH_ATTRIBUTE_PRIORITY;
    CUlaunchConfig configuration = {};
    configuration.hStream = stream;
    EXPECT(cuLaunchKernelEx(&configuration, function, parameters, nullptr), CUDA_ERROR_INVALID_VALUE); // no blocks
    EXPECT(cuLaunchKernelEx(nullptr, function, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    configuration.gridDimX = 4, configuration.gridDimY = configuration.gridDimZ = 1;
    configuration.blockDimX = 32, configuration.blockDimY = configuration.blockDimZ = 1;
    configuration.attrs = attributes, configuration.numAttrs = 3;
    factor = 6;
    CU(cuLaunchKernelEx(&configuration, function, parameters, nullptr));
    CU(cuEventSynchronize(done));
    CU(cuStreamSynchronize(stream));
    check(6, "a configuration with attributes");
    attributes[0].id = (CUlaunchAttributeID)99;
    EXPECT(cuLaunchKernelEx(&configuration, function, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    configuration.attrs = nullptr;
    EXPECT(cuLaunchKernelEx(&configuration, function, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);

    factor = 7;
    CU(cuLaunchCooperativeKernel(function, 2, 1, 1, 64, 1, 1, 0, stream, parameters));
    CU(cuStreamSynchronize(stream));
    check(7, "a cooperative launch");
    EXPECT(cuLaunchCooperativeKernel(function, 100000, 1, 1, 1024, 1, 1, 0, stream, parameters),
           CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    CU(cuEventDestroy(done));
    CU(cuStreamDestroy(stream));
}

static void options(CUmodule *module) {
    char information[100] = "untouched";
    CUjit_option keys[] = {CU_JIT_MAX_REGISTERS, CU_JIT_THREADS_PER_BLOCK, CU_JIT_TARGET_FROM_CUCONTEXT, CU_JIT_INFO_LOG_BUFFER,
                           CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES};
    void *arguments[] = {(void *)32, (void *)64, nullptr, information, (void *)sizeof information};
    CU(cuModuleLoadDataEx(module, KERNELS, 5, keys, arguments));
    REQUIRE(arguments[0] == (void *)32);
    CU(cuModuleUnload(*module));
    keys[0] = (CUjit_option)77;
    EXPECT(cuModuleLoadDataEx(module, KERNELS, 5, keys, arguments), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleLoadDataEx(module, KERNELS, 1, nullptr, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuModuleLoad(module, "/nonexistent"), CUDA_ERROR_FILE_NOT_FOUND);
    EXPECT(cuModuleLoad(module, nullptr), CUDA_ERROR_INVALID_VALUE);

    char path[] = "/tmp/driver_kernels_XXXXXX";
    int file = mkstemp(path);
    REQUIRE(file >= 0 && write(file, KERNELS, strlen(KERNELS)) == (ssize_t)strlen(KERNELS));
    close(file);
    CU(cuModuleLoad(module, path));
    unlink(path);
}

int main() {
    CUdevice device;
    CUcontext context;
    CUmodule module;
    CUfunction function;
    CU(cuInit(0));
    CU(cuDeviceGet(&device, 0));
    library_without_context(device);
    CU(cuDevicePrimaryCtxRetain(&context, device));
    CU(cuCtxSetCurrent(context));
    CU(cuMemAlloc(&values, N * sizeof(unsigned)));
    fill();
    options(&module);
    CU(cuModuleGetFunction(&function, module, "scale"));
    functions(module, function);
    launches(function);
    CU(cuModuleUnload(module));
    CU(cuMemFree(values));
    CU(cuDevicePrimaryCtxRelease(device));
    return pass();
}
