// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// Surface objects: loads and stores of every size, all shapes, what lies outside, and textures of the same arrays.

#include "check_cuda.h"
#include <vector>

static cudaSurfaceObject_t surface(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    cudaSurfaceObject_t object;
    CUDA(cudaCreateSurfaceObject(&object, &resource));
    return object;
}

template <class T> __device__ T made(int i);
template <> __device__ unsigned char made(int i) { return (unsigned char)(i * 3); }
template <> __device__ short made(int i) { return (short)(i * 300 - 9000); }
template <> __device__ int made(int i) { return i * 100003; }
template <> __device__ float2 made(int i) { return make_float2(i, -i); }
template <> __device__ uchar4 made(int i) { return make_uchar4(i, i + 1, i + 2, i + 3); }
template <> __device__ float4 made(int i) { return make_float4(i, i * 2, i * 3, i * 4); }

template <class T> __global__ void fill(cudaSurfaceObject_t s, int w) {
    int x = threadIdx.x, y = blockIdx.x;
    surf2Dwrite(made<T>(y * w + x), s, x * (int)sizeof(T), y);
}

// Counts the elements that are read as they were written; of those outside all bytes are 0.
template <class T> __global__ void verify(cudaSurfaceObject_t s, int w, int h, int *good) {
    int x = (int)threadIdx.x - 2, y = (int)blockIdx.x - 2;
    T found = surf2Dread<T>(s, x * (int)sizeof(T), y, cudaBoundaryModeZero), expected = {};
    if (x >= 0 && y >= 0 && x < w && y < h) expected = made<T>(y * w + x);
    const unsigned char *a = (const unsigned char *)&found, *b = (const unsigned char *)&expected;
    bool same = true;
    for (int i = 0; i < (int)sizeof(T); i++) same = same && a[i] == b[i];
    T nearest = surf2Dread<T>(s, x * (int)sizeof(T), y, cudaBoundaryModeClamp);
    T there = made<T>(min(max(y, 0), h - 1) * w + min(max(x, 0), w - 1));
    const unsigned char *c = (const unsigned char *)&nearest, *d = (const unsigned char *)&there;
    for (int i = 0; i < (int)sizeof(T); i++) same = same && c[i] == d[i];
    if (same) atomicAdd(good, 1);
}

static int *counter;

template <class T> void plane() {
    const int w = 20, h = 13;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, w, h, cudaArraySurfaceLoadStore));
    auto object = surface(array);
    fill<T><<<h, w>>>(object, w);
    CUDA(cudaMemset(counter, 0, sizeof(int)));
    verify<T><<<h + 4, w + 4>>>(object, w, h, counter);
    LAUNCHED();
    int good;
    CUDA(cudaMemcpy(&good, counter, sizeof good, cudaMemcpyDeviceToHost));
    REQUIRE_EQUAL(good, (w + 4) * (h + 4));
    CUDA(cudaDestroySurfaceObject(object));
    CUDA(cudaFreeArray(array));
}

__global__ void fill_volume(cudaSurfaceObject_t s) {
    int i = threadIdx.x;
    surf3Dwrite(i * 7, s, i % 4 * 4, i / 4 % 3, i / 12);
}

__global__ void fill_layers(cudaSurfaceObject_t s) {
    int i = threadIdx.x;
    surf2DLayeredwrite(i * 11, s, i % 4 * 4, i / 4 % 3, i / 12);
}

__global__ void fill_line(cudaSurfaceObject_t s) { surf1Dwrite((int)threadIdx.x * 5, s, threadIdx.x * 4); }

static std::vector<int> contents(cudaArray_t array, int w, int h, int d) {
    std::vector<int> out(w * h * d);
    cudaMemcpy3DParms copy = {};
    copy.dstPtr = make_cudaPitchedPtr(out.data(), w * 4, w, h);
    copy.srcArray = array;
    copy.extent = make_cudaExtent(w, h, d);
    copy.kind = cudaMemcpyDeviceToHost;
    CUDA(cudaMemcpy3D(&copy));
    return out;
}

static void other_shapes() {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();
    cudaArray_t array;
    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(4, 3, 2), cudaArraySurfaceLoadStore));
    fill_volume<<<1, 24>>>(surface(array));
    LAUNCHED();
    auto out = contents(array, 4, 3, 2);
    for (int i = 0; i < 24; i++) REQUIRE_ELEMENT(out[i], i * 7, i);
    CUDA(cudaFreeArray(array));

    CUDA(cudaMalloc3DArray(&array, &format, make_cudaExtent(4, 3, 2), cudaArraySurfaceLoadStore | cudaArrayLayered));
    fill_layers<<<1, 24>>>(surface(array));
    LAUNCHED();
    out = contents(array, 4, 3, 2);
    for (int i = 0; i < 24; i++) REQUIRE_ELEMENT(out[i], i * 11, i);
    CUDA(cudaFreeArray(array));

    CUDA(cudaMallocArray(&array, &format, 50, 0, cudaArraySurfaceLoadStore));
    fill_line<<<1, 50>>>(surface(array));
    LAUNCHED();
    out = contents(array, 50, 1, 1);
    for (int i = 0; i < 50; i++) REQUIRE_ELEMENT(out[i], i * 5, i);

    // An array for which that was not asked makes a surface nevertheless, as on a GPU.
    cudaArray_t plain;
    CUDA(cudaMallocArray(&plain, &format, 50, 50));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = plain;
    cudaSurfaceObject_t object;
    CUDA(cudaCreateSurfaceObject(&object, &resource));
    CUDA(cudaDestroySurfaceObject(object));
    CUDA(cudaFreeArray(plain));
    CUDA(cudaFreeArray(array));
}

__global__ void twice(cudaSurfaceObject_t s, cudaTextureObject_t t, int w) {
    int x = threadIdx.x, y = blockIdx.x;
    surf2Dwrite(2 * tex2D<float>(t, x + 0.5f, y + 0.5f), s, x * 4, y);
}

// Two arrays in turn, each read as a texture and written as a surface.
static void rounds() {
    const int w = 16, h = 8;
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaArray_t arrays[2];
    cudaSurfaceObject_t surfaces[2];
    cudaTextureObject_t textures[2];
    for (int i = 0; i < 2; i++) {
        CUDA(cudaMallocArray(&arrays[i], &format, w, h, cudaArraySurfaceLoadStore));
        surfaces[i] = surface(arrays[i]);
        cudaResourceDesc resource = {};
        resource.resType = cudaResourceTypeArray;
        resource.res.array.array = arrays[i];
        cudaTextureDesc desc = {};
        CUDA(cudaCreateTextureObject(&textures[i], &resource, &desc, nullptr));
    }
    std::vector<float> values(w * h);
    for (int i = 0; i < w * h; i++) values[i] = i;
    CUDA(cudaMemcpy2DToArray(arrays[0], 0, 0, values.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
    for (int i = 0; i < 6; i++) twice<<<h, w>>>(surfaces[(i + 1) % 2], textures[i % 2], w);
    LAUNCHED();
    CUDA(cudaMemcpy2DFromArray(values.data(), w * 4, arrays[0], 0, 0, w * 4, h, cudaMemcpyDeviceToHost));
    for (int i = 0; i < w * h; i++) REQUIRE_ELEMENT(values[i], i * 64, i);
}

int main() {
    CUDA(cudaMalloc(&counter, sizeof(int)));
    plane<unsigned char>();
    plane<short>();
    plane<int>();
    plane<float2>();
    plane<uchar4>();
    plane<float4>();
    other_shapes();
    rounds();
    return pass();
}
