// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the Driver API does at its edges: without a context, with null handles, with contexts that are gone, with sizes and
// pitches of 0, with memory of each kind, and with attributes of pointers.

#include "check_driver.h"
#include <thread>

static CUdevice device;

static void without_a_context() {
    CUcontext context;
    CUdeviceptr pointer;
    CUdevice its_device;
    unsigned version;
    size_t limit;
    EXPECT(cuCtxPopCurrent(&context), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxGetDevice(&its_device), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxSynchronize(), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxGetApiVersion(nullptr, &version), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuCtxGetLimit(&limit, CU_LIMIT_STACK_SIZE), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuMemAlloc(&pointer, 16), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuMemAlloc(nullptr, 16), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuMemcpyHtoD(0, nullptr, 0), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuStreamSynchronize(nullptr), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuModuleLoadData(nullptr, nullptr), CUDA_ERROR_INVALID_CONTEXT);
    EXPECT(cuDevicePrimaryCtxRelease(device), CUDA_ERROR_INVALID_CONTEXT);
    CU(cuCtxSetCurrent(nullptr));
    EXPECT(cuCtxPushCurrent(nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuCtxDestroy(nullptr), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemFree(0));
    CU(cuMemFreeHost(nullptr));
}

static void created_contexts() {
    CUcontext outer, inner, current, attached;
    unsigned flags, version;
    EXPECT(cuCtxCreate(&outer, nullptr, 3, device), CUDA_ERROR_INVALID_VALUE);     // two ways of waiting
    EXPECT(cuCtxCreate(&outer, nullptr, 0x100, device), CUDA_ERROR_INVALID_VALUE); // no such flag
    CU(cuCtxCreate(&outer, nullptr, CU_CTX_SCHED_YIELD, device));
    CU(cuCtxGetFlags(&flags));
    REQUIRE_EQUAL(flags, CU_CTX_SCHED_YIELD);
    CU(cuCtxGetApiVersion(outer, &version));
    REQUIRE_EQUAL(version, 3020);
    CU(cuCtxCreate(&inner, nullptr, 0, device));
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == inner && inner != outer);
    CU(cuCtxPopCurrent(nullptr));
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == outer);
    CU(cuCtxDestroy(inner)); // of a context that is not current
    CU(cuCtxSynchronize());
    CU(cuCtxAttach(&attached, 0));
    REQUIRE(attached == outer);
    CU(cuCtxDetach(outer));
    CU(cuCtxSynchronize()); // one use is left
    CU(cuCtxDestroy(outer));
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == nullptr);
}

// A context that is gone stays current where it was, and says so.
static void destroyed_contexts() {
    CUcontext context, current;
    CUdeviceptr pointer;
    CU(cuCtxCreate(&context, nullptr, 0, device));
    CU(cuCtxPopCurrent(nullptr));
    CU(cuCtxSetCurrent(context));
    std::thread([&] { CU(cuCtxDestroy(context)); }).join();
    EXPECT(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    EXPECT(cuMemAlloc(&pointer, 16), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    CU(cuCtxGetCurrent(&current));
    REQUIRE(current == context);
    CU(cuCtxPopCurrent(&current));

    unsigned flags;
    int active;
    CU(cuDevicePrimaryCtxSetFlags(device, CU_CTX_SCHED_SPIN));
    CU(cuDevicePrimaryCtxRetain(&context, device));
    CU(cuCtxSetCurrent(context));
    CU(cuDevicePrimaryCtxGetState(device, &flags, &active));
    REQUIRE(flags == CU_CTX_SCHED_SPIN && active == 1);
    CU(cuDevicePrimaryCtxRelease(device));
    CU(cuDevicePrimaryCtxGetState(device, &flags, &active));
    REQUIRE(flags == 0 && active == 0);
    EXPECT(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    EXPECT(cuDevicePrimaryCtxRelease(device), CUDA_ERROR_INVALID_CONTEXT);
    CU(cuDevicePrimaryCtxRetain(&context, device));
    CU(cuCtxSynchronize());
    CU(cuDevicePrimaryCtxReset(device));
    EXPECT(cuCtxSynchronize(), CUDA_ERROR_CONTEXT_IS_DESTROYED);
    CU(cuDevicePrimaryCtxRelease(device)); // a reset does not release
    CU(cuCtxSetCurrent(nullptr));
}

static void limits() {
    size_t value;
    CU(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 5000));
    CU(cuCtxGetLimit(&value, CU_LIMIT_STACK_SIZE));
    REQUIRE_EQUAL(value, 5008); // stacks are multiples of 16
    EXPECT(cuCtxSetLimit((CUlimit)77, 1), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuCtxSetCacheConfig((CUfunc_cache)9), CUDA_ERROR_INVALID_VALUE);
    int answer;
    CU(cuDeviceCanAccessPeer(&answer, device, device));
    REQUIRE_EQUAL(answer, 0);
}

template <typename Value> static Value attribute(CUpointer_attribute which, CUdeviceptr pointer) {
    // What is written must be as wide as the type.
    struct {
        Value value;
        unsigned char behind[8];
    } out;
    memset(&out, 0xee, sizeof out);
    CU(cuPointerGetAttribute(&out, which, pointer));
    for (unsigned char byte : out.behind) REQUIRE_EQUAL(byte, 0xee);
    return out.value;
}

static void memory_of_each_kind() {
    CUdeviceptr pointer, managed, base;
    void *pinned, *nothing = &base;
    size_t size, pitch;
    unsigned flags;
    char local[64] = {};
    CUcontext context;
    CU(cuCtxGetCurrent(&context));
    CU(cuMemAlloc(&pointer, 4096));
    CU(cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_PORTABLE));
    CU(cuMemHostGetFlags(&flags, pinned));
    REQUIRE_EQUAL(flags, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
    EXPECT(cuMemHostGetFlags(&flags, local), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemHostAlloc(&nothing, 0, 0));
    EXPECT(cuMemHostAlloc(&nothing, 64, 8), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocManaged(&managed, 64, 0), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocManaged(&managed, 0, CU_MEM_ATTACH_GLOBAL), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemAllocManaged(&managed, 4096, CU_MEM_ATTACH_GLOBAL));
    CU(cuMemAllocPitch(&base, &pitch, 100, 10, 4));
    REQUIRE(pitch >= 100 && pitch % 64 == 0);
    CU(cuMemFree(base));
    EXPECT(cuMemAllocPitch(&base, &pitch, 100, 10, 3), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemAllocPitch(&base, &pitch, 0, 10, 4), CUDA_ERROR_INVALID_VALUE);

    CU(cuMemGetAddressRange(&base, &size, (CUdeviceptr)pinned + 5));
    REQUIRE(base == (CUdeviceptr)pinned && size == 4096);
    CU(cuMemGetAddressRange(nullptr, nullptr, pointer));
    EXPECT(cuMemGetAddressRange(&base, &size, (CUdeviceptr)local), CUDA_ERROR_NOT_FOUND);

    REQUIRE(attribute<CUcontext>(CU_POINTER_ATTRIBUTE_CONTEXT, pointer) == context);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, pointer), CU_MEMORYTYPE_DEVICE);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)pinned), CU_MEMORYTYPE_HOST);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, managed), CU_MEMORYTYPE_DEVICE);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_IS_MANAGED, pointer), 0);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_IS_MANAGED, managed), 1);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, managed), 1);
    REQUIRE_EQUAL(attribute<int>(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, pointer), device);
    REQUIRE_EQUAL(attribute<CUdeviceptr>(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, pointer + 100), pointer);
    REQUIRE_EQUAL(attribute<size_t>(CU_POINTER_ATTRIBUTE_RANGE_SIZE, pointer + 100), 4096);
    REQUIRE_EQUAL(attribute<CUdeviceptr>(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, (CUdeviceptr)pinned + 8), (CUdeviceptr)pinned + 8);
    REQUIRE_EQUAL(attribute<CUdeviceptr>(CU_POINTER_ATTRIBUTE_HOST_POINTER, managed + 8), managed + 8);
    unsigned long long id = attribute<unsigned long long>(CU_POINTER_ATTRIBUTE_BUFFER_ID, pointer);
    REQUIRE(id == attribute<unsigned long long>(CU_POINTER_ATTRIBUTE_BUFFER_ID, pointer + 50));
    REQUIRE(id != attribute<unsigned long long>(CU_POINTER_ATTRIBUTE_BUFFER_ID, managed));
    EXPECT(cuPointerGetAttribute(&flags, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)local), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuPointerGetAttribute(&flags, (CUpointer_attribute)99, pointer), CUDA_ERROR_INVALID_VALUE);

    // Several at once: of memory that CUDA does not know there are defaults.
    CUpointer_attribute which[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_HOST_POINTER,
                                   CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, CU_POINTER_ATTRIBUTE_DEVICE_POINTER};
    unsigned type = 77;
    int ordinal = 77;
    void *host = &base;
    CUdeviceptr on_device = 77;
    void *values[] = {&type, &host, &ordinal, &on_device};
    CU(cuPointerGetAttributes(4, which, values, (CUdeviceptr)local));
    REQUIRE(type == 0 && host == local && ordinal == -2 && on_device == 0);
    CU(cuPointerGetAttributes(4, which, values, pointer));
    REQUIRE(type == CU_MEMORYTYPE_DEVICE && host == nullptr && ordinal == device && on_device == pointer);
    EXPECT(cuPointerGetAttributes(0, which, values, pointer), CUDA_ERROR_INVALID_VALUE);

    CU(cuMemHostRegister(local, sizeof local, 0));
    EXPECT(cuMemHostRegister(local, sizeof local, 0), CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
    REQUIRE_EQUAL(attribute<unsigned>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, (CUdeviceptr)local), CU_MEMORYTYPE_HOST);
    CU(cuMemHostUnregister(local));
    EXPECT(cuMemHostUnregister(local), CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
    EXPECT(cuMemHostRegister(local, sizeof local, 0x10), CUDA_ERROR_INVALID_VALUE);

    // What is said to be host memory may be any memory; what is said to be the device's must be.
    CU(cuMemcpyHtoD(pointer, (void *)(pointer + 64), 16));
    CU(cuMemcpyDtoD(pointer, (CUdeviceptr)pinned, 16));
    CU(cuMemcpyHtoD((CUdeviceptr)pinned, local, 16));
    CU(cuMemcpy((CUdeviceptr)local, (CUdeviceptr)(local + 32), 16));
    CU(cuMemcpyHtoD(0, nullptr, 0));
    EXPECT(cuMemcpyDtoD(pointer, (CUdeviceptr)local, 16), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemcpyHtoD((CUdeviceptr)local, local + 32, 16), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemcpyHtoD(pointer, nullptr, 16), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD8((CUdeviceptr)local, 0, 4), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemsetD8((CUdeviceptr)pinned, 0, 4));

    CUdeviceptr empty = 1;
    CU(cuMemAllocAsync(&empty, 0, nullptr));
    CU(cuMemFreeAsync(0, nullptr));
    CU(cuMemFree(managed));
    CU(cuMemFreeHost(pinned));
    CU(cuMemFree(pointer));
}

static void boxes() {
    CUdeviceptr pointer;
    unsigned words[256], out[256];
    for (int i = 0; i < 256; i++) words[i] = i;
    CU(cuMemAlloc(&pointer, sizeof words));
    CU(cuMemcpyHtoD(pointer, words, sizeof words));

    CUDA_MEMCPY2D flat = {};
    flat.srcMemoryType = CU_MEMORYTYPE_DEVICE, flat.srcDevice = pointer;
    flat.dstMemoryType = CU_MEMORYTYPE_HOST, flat.dstHost = out;
    flat.WidthInBytes = 8, flat.Height = 4;
    CU(cuMemcpy2D(&flat)); // a pitch of 0: rows without gaps
    for (int i = 0; i < 8; i++) REQUIRE_ELEMENT(out[i], i, i);
    flat.srcPitch = 32, flat.srcXInBytes = 4, flat.srcY = 1, flat.dstPitch = 8;
    flat.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
    CU(cuMemcpy2DUnaligned(&flat));
    for (int i = 0; i < 8; i++) REQUIRE_ELEMENT(out[i], 8 * (i / 2 + 1) + 1 + i % 2, i);
    flat.srcPitch = 8; // x and width do not fit
    EXPECT(cuMemcpy2D(&flat), CUDA_ERROR_INVALID_VALUE);
    flat.srcXInBytes = 0, flat.srcPitch = (size_t)1 << 31;
    EXPECT(cuMemcpy2D(&flat), CUDA_ERROR_INVALID_VALUE);
    flat.srcPitch = 4, flat.Height = 1;
    EXPECT(cuMemcpy2D(&flat), CUDA_ERROR_INVALID_VALUE);
    flat.srcPitch = 16, flat.srcMemoryType = (CUmemorytype)5;
    EXPECT(cuMemcpy2D(&flat), CUDA_ERROR_INVALID_VALUE);
    flat.srcMemoryType = CU_MEMORYTYPE_HOST; // srcHost is null
    EXPECT(cuMemcpy2D(&flat), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemcpy2D(nullptr), CUDA_ERROR_INVALID_VALUE);

    // Boxes of 8 bytes by 2 rows by 2 slices from slices of 4 rows of 16 bytes, each with its corner at (4, 1, 1).
    CUDA_MEMCPY3D box = {};
    box.srcMemoryType = CU_MEMORYTYPE_DEVICE, box.srcDevice = pointer, box.srcPitch = 16, box.srcHeight = 4;
    box.dstMemoryType = CU_MEMORYTYPE_HOST, box.dstHost = out;
    box.srcXInBytes = 4, box.srcY = 1, box.srcZ = 1;
    box.WidthInBytes = 8, box.Height = 2, box.Depth = 2;
    CU(cuMemcpy3D(&box));
    for (int z = 0; z < 2; z++)
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 2; x++) {
                int index = z * 4 + y * 2 + x;
                REQUIRE_ELEMENT(out[index], (z + 1) * 16 + (y + 1) * 4 + x + 1, index);
            }
    box.srcY = 0, box.srcHeight = 0; // slices without gaps
    CU(cuMemcpy3D(&box));
    REQUIRE_EQUAL(out[0], 8 + 1);
    box.srcHeight = 1;
    EXPECT(cuMemcpy3D(&box), CUDA_ERROR_INVALID_VALUE);
    box.Depth = 1;
    EXPECT(cuMemcpy3D(&box), CUDA_ERROR_INVALID_VALUE);
    box.Depth = 0;
    CU(cuMemcpy3D(&box));

    CU(cuMemsetD2D16(pointer, 64, 0x1234, 3, 2));
    CU(cuMemcpyDtoH(out, pointer, sizeof out));
    REQUIRE(out[0] == 0x12341234 && out[1] == 0x1234 && out[2] == 2);
    REQUIRE(out[16] == 0x12341234 && out[17] == 0x1234 && out[32] == 32);
    EXPECT(cuMemsetD2D8(pointer, 4, 0, 8, 4), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuMemsetD2D16(pointer, 17, 0, 4, 4), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemsetD2D16(pointer, 17, 0, 4, 1));
    CU(cuMemsetD2D32(pointer, 16, 0, 0, 4));
    CU(cuMemsetD8(0, 0, 0));
    EXPECT(cuMemsetD8(pointer, 0, sizeof words + 1), CUDA_ERROR_INVALID_VALUE);
    CU(cuMemFree(pointer));
}

static void streams_and_events() {
    CUstream stream;
    CUevent event, other;
    CUcontext context, its_context;
    unsigned flags;
    int priority, least, greatest;
    float milliseconds;
    unsigned long long id, legacy_id;
    CU(cuCtxGetCurrent(&context));
    EXPECT(cuStreamCreate(&stream, 2), CUDA_ERROR_INVALID_VALUE);
    CU(cuCtxGetStreamPriorityRange(&least, &greatest));
    CU(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, -100));
    CU(cuStreamGetFlags(stream, &flags));
    CU(cuStreamGetPriority(stream, &priority));
    REQUIRE(flags == CU_STREAM_NON_BLOCKING && priority == greatest);
    CU(cuStreamGetCtx(stream, &its_context));
    REQUIRE(its_context == context);
    CU(cuStreamGetId(stream, &id));
    CU(cuStreamGetId(nullptr, &legacy_id));
    REQUIRE(id != legacy_id);
    CU(cuEventCreate(&event, CU_EVENT_DEFAULT));
    EXPECT(cuEventCreate(&other, CU_EVENT_INTERPROCESS), CUDA_ERROR_INVALID_VALUE); // with timing
    EXPECT(cuEventCreate(&other, 8), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuEventElapsedTime(&milliseconds, event, event), CUDA_ERROR_INVALID_HANDLE); // not recorded
    CU(cuEventQuery(event));
    CU(cuEventSynchronize(event));
    EXPECT(cuEventRecordWithFlags(event, stream, CU_EVENT_RECORD_EXTERNAL), CUDA_ERROR_ILLEGAL_STATE); // no capture
    EXPECT(cuEventRecordWithFlags(event, stream, 2), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWaitEvent(stream, event, 2), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuStreamWaitEvent(stream, nullptr, 0), CUDA_ERROR_INVALID_HANDLE);
    EXPECT(cuEventRecord(nullptr, stream), CUDA_ERROR_INVALID_HANDLE);
    EXPECT(cuEventDestroy(nullptr), CUDA_ERROR_INVALID_HANDLE);
    EXPECT(cuStreamDestroy(nullptr), CUDA_ERROR_INVALID_HANDLE);
    CU(cuEventDestroy(event));
    CU(cuStreamDestroy(stream));
}

static void entry_points() {
    const auto found = [](const char *name, int version, CUdriverProcAddressQueryResult expected) {
        void *address = nullptr;
        CUdriverProcAddressQueryResult status;
        CU(cuGetProcAddress(name, &address, version, CU_GET_PROC_ADDRESS_DEFAULT, &status));
        REQUIRE_EQUAL(status, expected);
        REQUIRE((address != nullptr) == (expected == CU_GET_PROC_ADDRESS_SUCCESS));
    };
    found("cuMemAlloc", 12000, CU_GET_PROC_ADDRESS_SUCCESS);
    found("cuMemAlloc", 1000, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    found("cuLaunchKernelEx", 9000, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    found("cuMemAlloc_v2", 12000, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND); // not a base name
    found("cuNoSuchFunction", 12000, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    found("", 12000, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
    void *address;
    EXPECT(cuGetProcAddress("cuMemAlloc", &address, 99999, 0, nullptr), CUDA_ERROR_INVALID_VALUE);
    EXPECT(cuGetProcAddress("cuMemAlloc", &address, 12000, 4, nullptr), CUDA_ERROR_INVALID_VALUE);
}

int main() {
    CU(cuInit(0));
    CU(cuDeviceGet(&device, 0));
    int value;
    EXPECT(cuDeviceGetAttribute(&value, (CUdevice_attribute)0, device), CUDA_ERROR_INVALID_VALUE);
    without_a_context();
    created_contexts();
    destroyed_contexts();
    CUcontext context;
    CU(cuCtxCreate(&context, nullptr, 0, device));
    limits();
    memory_of_each_kind();
    boxes();
    streams_and_events();
    entry_points();
    CU(cuCtxDestroy(context));
    return pass();
}
