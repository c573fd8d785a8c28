// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -arch=sm_80 -lineinfo
//
// Kernels with one mistake each, chosen by the argument; `vcuda run --check` tells of it. Without an argument, kernels without any.

#include "check_cuda.h"
#include <vector>

// Adds the values of its block in shared memory. Without the barrier, the threads read what others may not have written yet.
template <bool synchronized>
__global__ void block_sums(const int *in, int *out) {
    __shared__ int values[256];
    values[threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x];
    for (int half = 128; half > 0; half /= 2) {
        if (synchronized) __syncthreads();
        if (threadIdx.x < half) values[threadIdx.x] += values[threadIdx.x + half]; // THE RACE
    }
    if (threadIdx.x == 0) out[blockIdx.x] = values[0];
}

__global__ void copy(const int *in, int *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i]; // THE COPY
}

// Each thread's part of the tile is set but for the last.
__global__ void sums_of_a_tile(int *out) {
    extern __shared__ int tile[];
    if (threadIdx.x < blockDim.x - 1) tile[threadIdx.x] = threadIdx.x;
    __syncthreads();
    int sum = 0;
    for (int i = 0; i < blockDim.x; i++) sum += tile[i]; // THE TILE
    out[threadIdx.x] = sum;
}

// Blocks add to one place: `atomicAdd` would do, this does not.
__global__ void count(int *out) {
    if (threadIdx.x == 0) out[0] += blockDim.x; // THE COUNT
}

// Each block waits for the one before it, if it looks: then it may read what that wrote.
template <bool waits>
__global__ void relay(int *data, volatile int *flag) {
    if (threadIdx.x != 0) return;
    int i = blockIdx.x;
    if (waits)
        while (*flag < i) {}
    __threadfence();
    data[i + 1] = data[i] + 1; // THE RELAY
    __threadfence();
    if (waits) *flag = i + 1;
}

__global__ void sample(cudaTextureObject_t texture, int *out) {
    out[threadIdx.x] = tex2D<int>(texture, threadIdx.x + 0.5f, 0.5f);
}

// Of the texture's row, the first half is set.
static void read_texture(int *out) {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
    cudaResourceDesc resource = {};
    cudaTextureDesc desc = {};
    cudaTextureObject_t texture;
    resource.resType = cudaResourceTypeArray;
    CUDA(cudaMallocArray(&resource.res.array.array, &format, 64, 1));
    CUDA(cudaMemcpy2DToArray(resource.res.array.array, 0, 0, std::vector<int>(32).data(), 128, 128, 1, cudaMemcpyHostToDevice));
    CUDA(cudaCreateTextureObject(&texture, &resource, &desc, nullptr));
    sample<<<1, 64>>>(texture, out);
    CUDA(cudaDeviceSynchronize());
}

static const int n = 1024;

int main(int argc, char **argv) {
    const char *mistake = argc > 1 ? argv[1] : "none";
    auto is = [&](const char *name) { return strcmp(mistake, name) == 0; };
    int *in, *out;
    CUDA(cudaMalloc(&in, n * sizeof(int)));
    CUDA(cudaMalloc(&out, n * sizeof(int)));
    if (!is("uninitialized")) CUDA(cudaMemset(in, 0, n * sizeof(int)));
    if (is("race")) {
        block_sums<false><<<n / 256, 256>>>(in, out);
    } else if (is("uninitialized")) {
        copy<<<n / 128, 128>>>(in, out, n);
    } else if (is("shared")) {
        sums_of_a_tile<<<1, 64, 64 * sizeof(int)>>>(out);
    } else if (is("count")) {
        CUDA(cudaMemset(out, 0, n * sizeof(int)));
        count<<<4, 64>>>(out);
    } else if (is("relay")) {
        relay<false><<<4, 32>>>(in, out);
    } else if (is("texture")) {
        read_texture(out);
    } else if (is("outside")) {
        copy<<<n / 128 + 1, 128>>>(in, out, n + 1);
        EXPECT(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
        return pass();
    } else if (is("freed")) {
        CUDA(cudaFree(in));
        copy<<<1, 128>>>(in, out, 128);
        EXPECT(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
        return pass();
    } else if (is("misaligned")) {
        copy<<<1, 32>>>((int *)((char *)in + 2), out, 32);
        EXPECT(cudaDeviceSynchronize(), cudaErrorMisalignedAddress);
        return pass();
    } else {
        REQUIRE(is("none"));
        block_sums<true><<<n / 256, 256>>>(in, out);
        copy<<<n / 128, 128>>>(in, out, n);
        CUDA(cudaMemset(out, 0, n * sizeof(int)));
        relay<true><<<4, 32>>>(in, out);
    }
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaFree(in));
    CUDA(cudaFree(out));
    return pass();
}
