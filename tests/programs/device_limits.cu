// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80
//
// What the device says that it can do, it does; one more than what it says is an error.

#include "check_cuda.h"

__global__ void nothing() {}

// Each thread says that it ran.
__global__ void tick(unsigned *count) { atomicAdd(count, 1); }

__global__ void warp_size(int *size) { *size = warpSize; }

// Uses every byte of its dynamic shared memory.
__global__ void fill_shared(int *sum, int words) {
    extern __shared__ int memory[];
    for (int i = threadIdx.x; i < words; i += blockDim.x) memory[i] = i;
    __syncthreads();
    int part = 0;
    for (int i = threadIdx.x; i < words; i += blockDim.x) part += memory[words - 1 - i] % 7;
    atomicAdd(sum, part);
}

__constant__ unsigned char constants[64 << 10];

__global__ void sum_constants(unsigned *sum) {
    unsigned part = 0;
    for (int i = threadIdx.x; i < sizeof constants; i += blockDim.x) part += constants[i];
    atomicAdd(sum, part);
}

// Waits until all blocks of the grid are there.
__global__ void meet(unsigned *arrived) {
    atomicAdd(arrived, 1);
    while (atomicAdd(arrived, 0) < gridDim.x) {
    }
}

// Two launches that wait for each other.
__global__ void wait_for_partner(volatile int *mine, volatile int *partners) {
    *mine = 1;
    __threadfence_system();
    while (*partners == 0) {
    }
}

static cudaDeviceProp device;
static unsigned *counter;

static unsigned run(dim3 grid, dim3 block) {
    unsigned count;
    CUDA(cudaMemset(counter, 0, sizeof *counter));
    tick<<<grid, block>>>(counter);
    CUDA(cudaGetLastError());
    CUDA(cudaMemcpy(&count, counter, sizeof count, cudaMemcpyDeviceToHost));
    return count;
}

static void is_too_large(dim3 grid, dim3 block) {
    nothing<<<grid, block>>>();
    // Since CUDA 13 a wrong configuration is a wrong value.
    EXPECT(cudaGetLastError(), CUDART_VERSION >= 13000 ? cudaErrorInvalidValue : cudaErrorInvalidConfiguration);
}

static void blocks_and_grids() {
    const int *block = device.maxThreadsDim, *grid = device.maxGridSize;
    unsigned threads = device.maxThreadsPerBlock;
    REQUIRE(run(1, threads) == threads);
    REQUIRE(run(1, block[0]) == (unsigned)block[0]);
    REQUIRE(run(1, dim3(1, block[1])) == (unsigned)block[1]);
    REQUIRE(run(1, dim3(1, 1, block[2])) == (unsigned)block[2]);
    is_too_large(1, block[0] + 1);
    is_too_large(1, dim3(1, block[1] + 1));
    is_too_large(1, dim3(1, 1, block[2] + 1));
    is_too_large(1, dim3(threads / 2, 2, 2));
    REQUIRE(run(dim3(1, grid[1]), 1) == (unsigned)grid[1]);
    REQUIRE(run(dim3(1, 1, grid[2]), 1) == (unsigned)grid[2]);
    REQUIRE(run(1 << 17, 1) == 1 << 17);
    is_too_large(dim3(1, grid[1] + 1), 1);
    is_too_large(dim3(1, 1, grid[2] + 1), 1);
    is_too_large(dim3((unsigned)grid[0] + 1), 1);
    int size;
    warp_size<<<1, 1>>>((int *)counter);
    CUDA(cudaMemcpy(&size, counter, sizeof size, cudaMemcpyDeviceToHost));
    REQUIRE(size == device.warpSize);
}

static void shared_memory() {
    auto sum_of = [](size_t bytes) {
        int sum;
        CUDA(cudaMemset(counter, 0, sizeof sum));
        fill_shared<<<2, 128, bytes>>>((int *)counter, bytes / 4);
        CUDA(cudaGetLastError());
        CUDA(cudaMemcpy(&sum, counter, sizeof sum, cudaMemcpyDeviceToHost));
        int expected = 0;
        for (size_t i = 0; i < bytes / 4; i++) expected += 2 * (i % 7);
        REQUIRE(sum == expected);
    };
    sum_of(device.sharedMemPerBlock);
    fill_shared<<<1, 32, device.sharedMemPerBlock + 4>>>((int *)counter, 1);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
    EXPECT(cudaFuncSetAttribute(fill_shared, attribute, (int)device.sharedMemPerBlockOptin + 1), cudaErrorInvalidValue);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    CUDA(cudaFuncSetAttribute(fill_shared, attribute, (int)device.sharedMemPerBlockOptin));
    sum_of(device.sharedMemPerBlockOptin);
    REQUIRE(device.sharedMemPerBlockOptin + device.reservedSharedMemPerBlock <= device.sharedMemPerMultiprocessor);
}

static void registers_and_constants() {
    cudaFuncAttributes attributes;
    CUDA(cudaFuncGetAttributes(&attributes, fill_shared));
    REQUIRE(attributes.numRegs > 0 && attributes.numRegs * attributes.maxThreadsPerBlock <= device.regsPerBlock);
    REQUIRE(device.regsPerBlock <= device.regsPerMultiprocessor);
    REQUIRE(device.totalConstMem == sizeof constants);
    static unsigned char values[sizeof constants];
    unsigned expected = 0, sum;
    for (size_t i = 0; i < sizeof values; i++) expected += values[i] = i % 251;
    CUDA(cudaMemcpyToSymbol(constants, values, sizeof values));
    CUDA(cudaMemset(counter, 0, sizeof *counter));
    sum_constants<<<1, 256>>>(counter);
    CUDA(cudaMemcpy(&sum, counter, sizeof sum, cudaMemcpyDeviceToHost));
    REQUIRE(sum == expected);
}

static void occupancy_and_cooperation() {
    for (int threads : {32, 96, 256, 1024}) {
        int blocks;
        CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, meet, threads, 0));
        REQUIRE(blocks >= 1 && blocks <= device.maxBlocksPerMultiProcessor);
        REQUIRE(blocks * threads <= device.maxThreadsPerMultiProcessor);
        if (!device.cooperativeLaunch) continue;
        int most = blocks * device.multiProcessorCount;
        void *arguments[] = {&counter};
        CUDA(cudaMemset(counter, 0, sizeof *counter));
        if (threads >= 256) {
            CUDA(cudaLaunchCooperativeKernel(meet, most, 1, arguments, 0, 0));
            CUDA(cudaDeviceSynchronize());
        }
        EXPECT(cudaLaunchCooperativeKernel(meet, most + 1, threads, arguments, 0, 0), cudaErrorCooperativeLaunchTooLarge);
        EXPECT(cudaGetLastError(), cudaErrorCooperativeLaunchTooLarge);
    }
}

static void kernels_at_once() {
    if (!device.concurrentKernels) return;
    cudaStream_t streams[2];
    int *flags;
    CUDA(cudaMalloc(&flags, 2 * sizeof(int)));
    CUDA(cudaMemset(flags, 0, 2 * sizeof(int)));
    CUDA(cudaDeviceSynchronize());
    for (int i = 0; i < 2; i++) {
        CUDA(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
        wait_for_partner<<<1, 1, 0, streams[i]>>>(flags + i, flags + 1 - i);
    }
    CUDA(cudaDeviceSynchronize());
    for (cudaStream_t stream : streams) CUDA(cudaStreamDestroy(stream));
    CUDA(cudaFree(flags));
}

static void host_memory() {
    if (device.canMapHostMemory) {
        unsigned *host, *mapped;
        CUDA(cudaHostAlloc(&host, sizeof *host, cudaHostAllocMapped));
        *host = 0;
        CUDA(cudaHostGetDevicePointer(&mapped, host, 0));
        REQUIRE(!device.unifiedAddressing || mapped == host);
        tick<<<2, 32>>>(mapped);
        CUDA(cudaDeviceSynchronize());
        REQUIRE(*host == 64);
        CUDA(cudaFreeHost(host));
    }
    if (device.managedMemory) {
        unsigned *managed;
        CUDA(cudaMallocManaged(&managed, sizeof *managed));
        *managed = 1;
        tick<<<2, 32>>>(managed);
        CUDA(cudaDeviceSynchronize());
        REQUIRE(*managed == 65);
        CUDA(cudaFree(managed));
    }
    if (device.concurrentManagedAccess) {
        // The host answers while the kernel runs.
        int *flags;
        CUDA(cudaMallocManaged(&flags, 2 * sizeof(int)));
        flags[0] = flags[1] = 0;
        wait_for_partner<<<1, 1>>>(flags, flags + 1);
        CUDA(cudaGetLastError());
        for (volatile int *first = flags; *first == 0;) {
        }
        ((volatile int *)flags)[1] = 1;
        CUDA(cudaDeviceSynchronize());
        CUDA(cudaFree(flags));
    }
}

static void arrays() {
    cudaChannelFormatDesc bytes = cudaCreateChannelDesc<unsigned char>();
    auto array = [&](size_t width, size_t height, size_t depth, unsigned flags, bool fits) {
        cudaArray_t made;
        cudaError_t result = cudaMalloc3DArray(&made, &bytes, make_cudaExtent(width, height, depth), flags);
        EXPECT(result, fits ? cudaSuccess : cudaErrorInvalidValue);
        EXPECT(cudaGetLastError(), result);
        if (fits) CUDA(cudaFreeArray(made));
    };
    const int *two = device.maxTexture2D, *layered = device.maxTexture2DLayered;
    array(device.maxTexture1D, 0, 0, 0, true);
    array(device.maxTexture1D + 1, 0, 0, 0, false);
    array(two[0], 1, 0, 0, true);
    array(1, two[1], 0, 0, true);
    array(two[0] + 1, 1, 0, 0, false);
    array(1, two[1] + 1, 0, 0, false);
    array(device.maxTexture3D[0], 1, 1, 0, true);
    array(device.maxTexture3D[0] + 1, 1, 1, 0, false);
    array(layered[0], 1, 1, cudaArrayLayered, true);
    array(1, 1, layered[2], cudaArrayLayered, true);
    array(1, 1, layered[2] + 1, cudaArrayLayered, false);
    array(device.maxTextureCubemap + 1, device.maxTextureCubemap + 1, 6, cudaArrayCubemap, false);
}

int main() {
    CUDA(cudaGetDeviceProperties(&device, 0));
    CUDA(cudaMalloc(&counter, sizeof *counter));
    blocks_and_grids();
    shared_memory();
    registers_and_constants();
    occupancy_and_cooperation();
    kernels_at_once();
    host_memory();
    arrays();
    CUDA(cudaFree(counter));
    return pass();
}
