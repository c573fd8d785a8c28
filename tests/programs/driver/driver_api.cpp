// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The core of the Driver API, from a program that is linked to libcuda.so.1.

#include "check_driver.h"
#include "kernels.h"

static CUdevice device;
static CUcontext context;

static void before_init() {
    int count;
    EXPECT(cuDeviceGetCount(&count), CUDA_ERROR_NOT_INITIALIZED);
    EXPECT(cuInit(1), CUDA_ERROR_INVALID_VALUE); // no flags are defined
    CU(cuInit(0));
    CU(cuInit(0));
}

static void devices() {
    int count, version, value, major, minor;
    char name[64];
    size_t memory, free_memory;
    CUuuid uuid;
    CU(cuDriverGetVersion(&version));
    REQUIRE(version >= 12000);
    CU(cuDeviceGetCount(&count));
    REQUIRE(count >= 1);
    CU(cuDeviceGet(&device, 0));
    EXPECT(cuDeviceGet(&device, count), CUDA_ERROR_INVALID_DEVICE);
    EXPECT(cuDeviceGet(nullptr, 0), CUDA_ERROR_INVALID_VALUE);
    CU(cuDeviceGetName(name, sizeof name, device));
    REQUIRE(strlen(name) > 0);
    CU(cuDeviceTotalMem(&memory, device));
    CU(cuDeviceGetUuid(&uuid, device));
    CU(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device));
    REQUIRE_EQUAL(value, 32);
    CU(cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, device));
    REQUIRE_EQUAL(value, 1024);
    CU(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    CU(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    REQUIRE(major >= 7);
    EXPECT(cuDeviceGetAttribute(&value, (CUdevice_attribute)99999, device), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemGetInfo(&free_memory, &memory), CUDA_ERROR_INVALID_CONTEXT);
}

static void contexts() {
    CUcontext current, popped, other;
    CUdevice its_device;
    unsigned flags;
    int active;
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == nullptr);
    CU(cuDevicePrimaryCtxRetain(&context, device));
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == nullptr); // retained, not current
    CU(cuCtxSetCurrent(context));
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == context);
    CU(cuCtxGetDevice(&its_device));
    REQUIRE_EQUAL(its_device, device);
    CU(cuDevicePrimaryCtxGetState(device, &flags, &active));
    REQUIRE_EQUAL(active, 1);
    CU(cuCtxPushCurrent(context));
    CU(cuCtxPopCurrent(&popped));
    REQUIRE(popped == context);
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == context);
    CU(cuDevicePrimaryCtxRetain(&other, device));
    REQUIRE(other == context);
    CU(cuDevicePrimaryCtxRelease(device));
    CU(cuCtxSynchronize());
}

static void memory() {
    CUdeviceptr pointer, base, other;
    unsigned words[64];
    unsigned short halves[8];
    size_t size, free_memory, total;
    CU(cuMemGetInfo(&free_memory, &total));
    REQUIRE(free_memory <= total);
    EXPECT(cuMemAlloc(&pointer, 0), CUDA_ERROR_INVALID_VALUE); // unlike cudaMalloc
    EXPECT(cuMemAlloc(nullptr, 16), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAlloc(&pointer, (size_t)1 << 50), CUDA_ERROR_OUT_OF_MEMORY);
    CU(cuMemAlloc(&pointer, 1000));
    CU(cuMemGetAddressRange(&base, &size, pointer + 100));
    REQUIRE(base == pointer);
    REQUIRE_EQUAL(size, 1000);
    CU(cuMemsetD32(pointer, 0xdeadbeef, 64));
    CU(cuMemsetD16(pointer + 16, 0x1234, 8));
    CU(cuMemsetD8(pointer + 64, 0xab, 5));
    CU(cuMemcpyDtoH(words, pointer, sizeof words));
    REQUIRE_EQUAL(words[0], 0xdeadbeef);
    REQUIRE_EQUAL(words[4], 0x12341234);
    REQUIRE_EQUAL(words[8], 0xdeadbeef);
    REQUIRE_EQUAL(words[16], 0xabababab);
    REQUIRE_EQUAL(words[17], 0xdeadbeab);
    EXPECT(cuMemsetD32(pointer + 2, 0, 1), CUDA_ERROR_INVALID_VALUE); // unaligned
    for (int i = 0; i < 64; i++) words[i] = i * i;
    CU(cuMemcpyHtoD(pointer, words, sizeof words));
    CU(cuMemAlloc(&other, 1000));
    CU(cuMemcpyDtoD(other + 4, pointer, sizeof words));
    memset(words, 0, sizeof words);
    CU(cuMemcpy((CUdeviceptr)words, other + 4, sizeof words)); // the direction follows from the addresses
    for (int i = 0; i < 64; i++) REQUIRE_ELEMENT(words[i], i * i, i);
    CU(cuMemcpyDtoH(halves, other + 4, sizeof halves));
    REQUIRE_EQUAL(halves[6], 9);

    // Rows of 8 bytes at a pitch of 16, into rows at a pitch of 8.
    CUDA_MEMCPY2D copy = {};
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE, copy.srcDevice = pointer, copy.srcPitch = 16;
    copy.dstMemoryType = CU_MEMORYTYPE_HOST, copy.dstHost = words, copy.dstPitch = 8;
    copy.WidthInBytes = 8, copy.Height = 10;
    CU(cuMemcpy2D(&copy));
    for (int i = 0; i < 20; i++) REQUIRE_ELEMENT(words[i], (i / 2 * 4 + i % 2) * (i / 2 * 4 + i % 2), i);

    EXPECT(cuMemcpyHtoD(pointer, words, 4 << 20), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemFree(pointer + 8), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemFree(pointer));
    EXPECT(cuMemFree(pointer), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemFree(other));

    void *pinned;
    CU(cuMemAllocHost(&pinned, 4096));
    CU(cuMemFreeHost(pinned));
    CU(cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_DEVICEMAP));
    CU(cuMemHostGetDevicePointer(&pointer, pinned, 0));
    CU(cuMemsetD8(pointer, 7, 4096));
    CU(cuCtxSynchronize());
    REQUIRE_EQUAL(((char *)pinned)[4095], 7);
    CU(cuMemFreeHost(pinned));
}

static void jit_logs() {
    CUmodule module;
    char errors[2000] = "", information[2000] = "";
    float wall_time = -1;
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, CU_JIT_INFO_LOG_BUFFER,
                              CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, CU_JIT_LOG_VERBOSE, CU_JIT_WALL_TIME};
    void *values[] = {errors, (void *)sizeof errors, information, (void *)sizeof information, (void *)1, nullptr};
    EXPECT(cuModuleLoadDataEx(&module, BROKEN, 6, options, values), CUDA_ERROR_INVALID_PTX);
    REQUIRE(strlen(errors) > 0 && strlen(errors) < sizeof errors);
    REQUIRE(strstr(errors, "5") != nullptr); // names the line
    REQUIRE_EQUAL((size_t)values[1], strlen(errors));

    // A buffer that is too small is filled as far as it goes, and ends with a zero.
    char small[8];
    memset(small, 'x', sizeof small);
    values[0] = small, values[1] = (void *)5;
    EXPECT(cuModuleLoadDataEx(&module, BROKEN, 2, options, values), CUDA_ERROR_INVALID_PTX);
    REQUIRE(memchr(small, 0, 5) != nullptr && small[5] == 'x');

    errors[0] = 'x';
    values[0] = errors, values[1] = (void *)sizeof errors, values[3] = (void *)sizeof information;
    CU(cuModuleLoadDataEx(&module, KERNELS, 6, options, values));
    REQUIRE_EQUAL((size_t)values[1], 0);
    memcpy(&wall_time, &values[5], sizeof wall_time);
    REQUIRE(wall_time >= 0);
    CU(cuModuleUnload(module));
    EXPECT(cuModuleLoadData(&module, "neither PTX nor an image"), CUDA_ERROR_INVALID_IMAGE);
    EXPECT(cuModuleLoadData(&module, nullptr), CUDA_ERROR_INVALID_VALUE);
}

static void check_values(CUdeviceptr pointer, unsigned n, unsigned factor, unsigned bias) {
    unsigned values[300];
    CU(cuMemcpyDtoH(values, pointer, n * sizeof(unsigned)));
    for (unsigned i = 0; i < n; i++) REQUIRE_ELEMENT(values[i], i * factor + bias, i);
    for (unsigned i = 0; i < n; i++) values[i] = i;
    CU(cuMemcpyHtoD(pointer, values, n * sizeof(unsigned)));
}

static void launches() {
    const unsigned n = 300;
    CUmodule module;
    CUfunction function;
    CUdeviceptr bias, table, pointer;
    CUstream stream;
    size_t size;
    int value;
    unsigned char bytes[16];
    unsigned start[n];
    CU(cuModuleLoadData(&module, KERNELS));
    CU(cuModuleGetFunction(&function, module, "scale"));
    EXPECT(cuModuleGetFunction(&function, module, "missing"), CUDA_ERROR_NOT_FOUND);
    EXPECT(cuModuleGetFunction(&function, module, nullptr), CUDA_ERROR_INVALID_VALUE);
    CU(cuModuleGetFunction(&function, module, "scale"));
    CU(cuModuleGetGlobal(&bias, &size, module, "bias"));
    REQUIRE_EQUAL(size, 4);
    CU(cuModuleGetGlobal(&table, nullptr, module, "table"));
    CU(cuMemcpyDtoH(bytes, table, sizeof bytes));
    for (int i = 0; i < 16; i++) REQUIRE_ELEMENT(bytes[i], i < 8 ? i + 1 : 0, i);
    CU(cuFuncGetAttribute(&value, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function));
    REQUIRE_EQUAL(value, 1024);

    CU(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CU(cuMemAlloc(&pointer, n * sizeof(unsigned)));
    for (unsigned i = 0; i < n; i++) start[i] = i;
    CU(cuMemcpyHtoD(pointer, start, sizeof start));

    unsigned short factor = 3;
    unsigned length = n;
    void *parameters[] = {&pointer, &factor, &length};
    CU(cuLaunchKernel(function, 3, 1, 1, 128, 1, 1, 0, stream, parameters, nullptr));
    CU(cuStreamSynchronize(stream));
    check_values(pointer, n, 3, 5);

    // The same parameters, packed as the device wants them.
    struct {
        CUdeviceptr values;
        unsigned short factor;
        unsigned n;
    } packed = {pointer, 7, n};
    size_t packed_size = sizeof packed;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &packed_size, CU_LAUNCH_PARAM_END};
    CU(cuMemsetD32(bias, 11, 1));
    CU(cuLaunchKernel(function, 10, 1, 1, 30, 1, 1, 0, nullptr, nullptr, extra));
    CU(cuCtxSynchronize());
    check_values(pointer, n, 7, 11);

    CUlaunchConfig configuration = {};
    configuration.gridDimX = 5, configuration.gridDimY = 1, configuration.gridDimZ = 1;
    configuration.blockDimX = 64, configuration.blockDimY = 1, configuration.blockDimZ = 1;
    configuration.hStream = stream;
    factor = 1000;
    CU(cuLaunchKernelEx(&configuration, function, parameters, nullptr));
    CU(cuStreamSynchronize(stream));
    check_values(pointer, n, 1000, 11);

    EXPECT(cuLaunchKernel(function, 3, 1, 1, 128, 1, 1, 0, stream, parameters, extra), CUDA_ERROR_INVALID_VALUE); // not both
    EXPECT(cuLaunchKernel(function, 0, 1, 1, 128, 1, 1, 0, stream, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchKernel(function, 1, 1, 1, 2048, 1, 1, 0, stream, parameters, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuLaunchKernel(nullptr, 1, 1, 1, 1, 1, 1, 0, stream, parameters, nullptr), CUDA_ERROR_INVALID_HANDLE);
    CU(cuMemFree(pointer));
    CU(cuStreamDestroy(stream));
    CU(cuModuleUnload(module));
}

static void streams_and_events() {
    CUstream stream;
    CUevent start, stop;
    CUdeviceptr pointer;
    float milliseconds;
    unsigned host[16] = {};
    CU(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    CU(cuEventCreate(&start, CU_EVENT_DEFAULT));
    CU(cuEventCreate(&stop, CU_EVENT_BLOCKING_SYNC));
    CU(cuMemAlloc(&pointer, sizeof host));
    CU(cuEventRecord(start, stream));
    CU(cuMemsetD32Async(pointer, 77, 16, stream));
    CU(cuMemcpyDtoHAsync(host, pointer, sizeof host, stream));
    CU(cuEventRecord(stop, stream));
    CU(cuStreamWaitEvent(nullptr, stop, 0));
    CU(cuEventSynchronize(stop));
    CU(cuEventQuery(stop));
    for (unsigned value : host) REQUIRE_EQUAL(value, 77);
    CU(cuEventElapsedTime(&milliseconds, start, stop));
    REQUIRE(milliseconds >= 0);
    CU(cuStreamQuery(stream));
    CU(cuEventDestroy(start));
    CU(cuEventDestroy(stop));
    CU(cuStreamDestroy(stream));
    CU(cuMemFree(pointer));
}

static void errors() {
    const char *text = nullptr;
    CU(cuGetErrorName(CUDA_ERROR_INVALID_PTX, &text));
    REQUIRE(strcmp(text, "CUDA_ERROR_INVALID_PTX") == 0);
    CU(cuGetErrorString(CUDA_SUCCESS, &text));
    REQUIRE(strcmp(text, "no error") == 0);
    EXPECT(cuGetErrorString((CUresult)12345, &text), CUDA_ERROR_INVALID_VALUE);
    REQUIRE(text == nullptr);
}

static void procedure_addresses() {
    CUresult (*get_count)(int *) = nullptr;
    CUdriverProcAddressQueryResult status;
    int count = 0;
    CU(cuGetProcAddress("cuDeviceGetCount", (void **)&get_count, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &status));
    REQUIRE_EQUAL(status, CU_GET_PROC_ADDRESS_SUCCESS);
    CU(get_count(&count));
    REQUIRE(count >= 1);
    // One name, two functions: the version says which.
    CUresult (*allocate)(CUdeviceptr *, size_t) = nullptr;
    CUdeviceptr pointer;
    CU(cuGetProcAddress("cuMemAlloc", (void **)&allocate, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &status));
    CU(allocate(&pointer, 64));
    CU(cuMemFree(pointer));
    void *nothing = &pointer;
    CU(cuGetProcAddress("cuNoSuchFunction", &nothing, 12000, CU_GET_PROC_ADDRESS_DEFAULT, &status)); // said by the status alone
    REQUIRE_EQUAL(status, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    REQUIRE(nothing == nullptr);
}

int main() {
    before_init();
    devices();
    contexts();
    memory();
    jit_logs();
    launches();
    streams_and_events();
    errors();
    procedure_addresses();
    CU(cuDevicePrimaryCtxRelease(device));
    return pass();
}
