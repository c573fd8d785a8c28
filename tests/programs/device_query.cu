// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// Device properties and attributes exist, are within reason, and agree with each other.

#include "check_cuda.h"

int main() {
    int count, driver, runtime, device;
    CUDA(cudaGetDeviceCount(&count));
    REQUIRE(count >= 1);
    CUDA(cudaDriverGetVersion(&driver));
    CUDA(cudaRuntimeGetVersion(&runtime));
    REQUIRE_EQUAL(runtime / 1000, CUDART_VERSION / 1000);
    REQUIRE(driver >= runtime);
    CUDA(cudaSetDevice(0));
    CUDA(cudaGetDevice(&device));
    REQUIRE_EQUAL(device, 0);

    cudaDeviceProp properties;
    memset(&properties, 0xee, sizeof properties);
    CUDA(cudaGetDeviceProperties(&properties, 0));
    REQUIRE(memchr(properties.name, 0, sizeof properties.name) != nullptr && properties.name[0] != '\0');
    REQUIRE(properties.major >= 7 && properties.major < 20 && properties.minor >= 0 && properties.minor < 10);
    REQUIRE(properties.totalGlobalMem >= (size_t)64 << 20);
    REQUIRE(properties.textureAlignment > 0);

    const struct {
        const char *name;
        cudaDeviceAttr attribute;
        long long property;
    } pairs[] = {
        {"warp size", cudaDevAttrWarpSize, properties.warpSize},
        {"threads per block", cudaDevAttrMaxThreadsPerBlock, properties.maxThreadsPerBlock},
        {"block x", cudaDevAttrMaxBlockDimX, properties.maxThreadsDim[0]},
        {"block y", cudaDevAttrMaxBlockDimY, properties.maxThreadsDim[1]},
        {"block z", cudaDevAttrMaxBlockDimZ, properties.maxThreadsDim[2]},
        {"grid x", cudaDevAttrMaxGridDimX, properties.maxGridSize[0]},
        {"grid y", cudaDevAttrMaxGridDimY, properties.maxGridSize[1]},
        {"grid z", cudaDevAttrMaxGridDimZ, properties.maxGridSize[2]},
        {"shared memory", cudaDevAttrMaxSharedMemoryPerBlock, (long long)properties.sharedMemPerBlock},
        {"shared memory, opt-in", cudaDevAttrMaxSharedMemoryPerBlockOptin, (long long)properties.sharedMemPerBlockOptin},
        {"shared memory per multiprocessor", cudaDevAttrMaxSharedMemoryPerMultiprocessor, (long long)properties.sharedMemPerMultiprocessor},
        {"constant memory", cudaDevAttrTotalConstantMemory, (long long)properties.totalConstMem},
        {"registers", cudaDevAttrMaxRegistersPerBlock, properties.regsPerBlock},
        {"multiprocessors", cudaDevAttrMultiProcessorCount, properties.multiProcessorCount},
        {"threads per multiprocessor", cudaDevAttrMaxThreadsPerMultiProcessor, properties.maxThreadsPerMultiProcessor},
        {"blocks per multiprocessor", cudaDevAttrMaxBlocksPerMultiprocessor, properties.maxBlocksPerMultiProcessor},
        {"major", cudaDevAttrComputeCapabilityMajor, properties.major},
        {"minor", cudaDevAttrComputeCapabilityMinor, properties.minor},
        {"level 2 cache", cudaDevAttrL2CacheSize, properties.l2CacheSize},
        {"bus width", cudaDevAttrGlobalMemoryBusWidth, properties.memoryBusWidth},
        {"integrated", cudaDevAttrIntegrated, properties.integrated},
        {"mapped host memory", cudaDevAttrCanMapHostMemory, properties.canMapHostMemory},
        {"unified addressing", cudaDevAttrUnifiedAddressing, properties.unifiedAddressing},
        {"managed memory", cudaDevAttrManagedMemory, properties.managedMemory},
        {"cooperative launch", cudaDevAttrCooperativeLaunch, properties.cooperativeLaunch},
        {"memory pools", cudaDevAttrMemoryPoolsSupported, properties.memoryPoolsSupported},
        {"PCI bus", cudaDevAttrPciBusId, properties.pciBusID},
        {"PCI device", cudaDevAttrPciDeviceId, properties.pciDeviceID},
    };
    for (const auto &pair : pairs) {
        int value;
        CUDA(cudaDeviceGetAttribute(&value, pair.attribute, 0));
        if (value != pair.property) FAIL("%s: the attribute is %d, the property %lld", pair.name, value, pair.property);
    }
    REQUIRE_EQUAL(properties.warpSize, 32);
    REQUIRE_EQUAL(properties.maxThreadsPerBlock, 1024);
    REQUIRE_EQUAL(properties.maxGridSize[0], 0x7fffffff);
    REQUIRE_EQUAL(properties.sharedMemPerBlock, 48 << 10);
    REQUIRE_EQUAL(properties.totalConstMem, 64 << 10);
    REQUIRE(properties.sharedMemPerBlockOptin >= properties.sharedMemPerBlock);
    REQUIRE(properties.multiProcessorCount >= 1);
    REQUIRE(properties.unifiedAddressing == 1);

    size_t free_memory, total;
    CUDA(cudaMemGetInfo(&free_memory, &total));
    REQUIRE(free_memory > 0 && free_memory <= total);
    REQUIRE_EQUAL(total, properties.totalGlobalMem);

    char bus[32];
    CUDA(cudaDeviceGetPCIBusId(bus, sizeof bus, 0));
    CUDA(cudaDeviceGetByPCIBusId(&device, bus));
    REQUIRE_EQUAL(device, 0);
    size_t limit;
    CUDA(cudaDeviceGetLimit(&limit, cudaLimitStackSize));
    REQUIRE(limit >= 512);
    unsigned flags;
    CUDA(cudaGetDeviceFlags(&flags));
    if (count >= 2) {
        CUDA(cudaSetDevice(1));
        CUDA(cudaGetDevice(&device));
        REQUIRE_EQUAL(device, 1);
        CUDA(cudaSetDevice(0));
    }
    EXPECT_LAST(cudaSetDevice(count), cudaErrorInvalidDevice);
    return pass();
}
