// SPDX-License-Identifier: MIT OR Apache-2.0
// nvcc: -gencode arch=compute_80,code=compute_80
//
// Texture and surface objects that kernels find in memory, objects that come and go, and arrays that are copied, used and
// freed while there is work on streams.

#include "check_cuda.h"
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

struct Layer {
    cudaTextureObject_t from;
    cudaSurfaceObject_t to;
    int add;
};

// Each block takes its objects from a table in memory.
__global__ void apply(const Layer *layers, int w) {
    Layer layer = layers[blockIdx.x];
    int x = threadIdx.x, y = threadIdx.y;
    surf2Dwrite(tex2D<int>(layer.from, x, y) + layer.add, layer.to, x * 4, y);
}

__device__ cudaTextureObject_t known;

__global__ void read_known(int *out, int spin) {
    for (long long start = clock64(); clock64() - start < spin;) {
    }
    out[threadIdx.x] = tex1Dfetch<int>(known, threadIdx.x);
}

static cudaChannelFormatDesc format = cudaCreateChannelDesc<int>();

static cudaArray_t plane(int w, int h) {
    cudaArray_t array;
    CUDA(cudaMallocArray(&array, &format, w, h, cudaArraySurfaceLoadStore));
    return array;
}

static cudaResourceDesc of(cudaArray_t array) {
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    return resource;
}

static cudaTextureObject_t texture(const cudaResourceDesc &resource) {
    cudaTextureDesc desc = {};
    cudaTextureObject_t object;
    CUDA(cudaCreateTextureObject(&object, &resource, &desc, nullptr));
    return object;
}

static void table() {
    const int w = 16, h = 8, count = 12;
    std::vector<cudaArray_t> arrays;
    std::vector<Layer> layers;
    std::vector<int> values(w * h);
    for (int i = 0; i <= count; i++) arrays.push_back(plane(w, h));
    for (int i = 0; i < w * h; i++) values[i] = i;
    for (int i = 0; i < count; i++) {
        CUDA(cudaMemcpy2DToArray(arrays[i], 0, 0, values.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
        cudaResourceDesc to = of(arrays[i + 1]);
        Layer layer = {texture(of(arrays[i])), 0, i * 1000};
        CUDA(cudaCreateSurfaceObject(&layer.to, &to));
        layers.push_back(layer);
    }
    Layer *device;
    CUDA(cudaMalloc(&device, count * sizeof(Layer)));
    CUDA(cudaMemcpy(device, layers.data(), count * sizeof(Layer), cudaMemcpyHostToDevice));
    // One after the other: each reads what the one before it wrote.
    for (int i = 0; i < count; i++) apply<<<1, dim3(w, h)>>>(device + i, w);
    LAUNCHED();
    CUDA(cudaMemcpy2DFromArray(values.data(), w * 4, arrays[count], 0, 0, w * 4, h, cudaMemcpyDeviceToHost));
    for (int i = 0; i < w * h; i++) REQUIRE_ELEMENT(values[i], i + 1000 * (count * (count - 1) / 2), i);
    for (Layer &layer : layers) {
        CUDA(cudaDestroyTextureObject(layer.from));
        CUDA(cudaDestroySurfaceObject(layer.to));
    }
    for (cudaArray_t array : arrays) CUDA(cudaFreeArray(array));
    CUDA(cudaFree(device));
}

// Numbers of objects may be used again, but never by two that live.
static void objects_come_and_go() {
    cudaArray_t array = plane(8, 8);
    std::vector<cudaTextureObject_t> live;
    unsigned chance = 1;
    for (int i = 0; i < 1200; i++) {
        chance = chance * 1103515245 + 12345;
        if (live.size() < 20 || i < 300 || (i > 600 && chance >> 16 & 1)) {
            cudaTextureObject_t made = texture(of(array));
            for (cudaTextureObject_t other : live) REQUIRE(other != made);
            live.push_back(made);
        } else {
            size_t which = (chance >> 20) % live.size();
            CUDA(cudaDestroyTextureObject(live[which]));
            live.erase(live.begin() + which);
        }
    }
    for (cudaTextureObject_t object : live) CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFreeArray(array));
}

// The number lies in a variable; the kernel runs when the next object has been made already.
static void variable() {
    const int n = 64;
    int *memory, *out;
    std::vector<int> values(n), back(n);
    CUDA(cudaMalloc(&memory, n * 4));
    CUDA(cudaMalloc(&out, n * 4));
    for (int i = 0; i < n; i++) values[i] = 5 * i - 70;
    CUDA(cudaMemcpy(memory, values.data(), n * 4, cudaMemcpyHostToDevice));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = memory;
    resource.res.linear.desc = format;
    resource.res.linear.sizeInBytes = n * 4;
    cudaTextureObject_t object = texture(resource);
    CUDA(cudaMemcpyToSymbol(known, &object, sizeof object));
    read_known<<<1, n>>>(out, 1000000);
    cudaTextureObject_t next = texture(resource);
    CUDA(cudaMemcpy(back.data(), out, n * 4, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(back[i], values[i], i);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaDestroyTextureObject(next));
    CUDA(cudaFree(memory));
    CUDA(cudaFree(out));
}

// Volumes: from pinned memory, from one to another, a part, and back into pageable memory, on a stream.
static void copies_on_a_stream() {
    const int w = 20, h = 6, d = 5;
    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    int *pinned;
    CUDA(cudaMallocHost(&pinned, w * h * d * 4));
    for (int i = 0; i < w * h * d; i++) pinned[i] = i * 3 + 1;
    cudaArray_t first, second;
    CUDA(cudaMalloc3DArray(&first, &format, make_cudaExtent(w, h, d), 0));
    CUDA(cudaMalloc3DArray(&second, &format, make_cudaExtent(w, h, d), 0));
    cudaMemcpy3DParms copy = {};
    copy.srcPtr = make_cudaPitchedPtr(pinned, w * 4, w, h);
    copy.dstArray = first;
    copy.extent = make_cudaExtent(w, h, d);
    copy.kind = cudaMemcpyHostToDevice;
    CUDA(cudaMemcpy3DAsync(&copy, stream));
    copy.dstArray = second;
    CUDA(cudaMemcpy3DAsync(&copy, stream));
    cudaMemcpy3DParms part = {};
    part.srcArray = first;
    part.srcPos = make_cudaPos(2, 1, 1);
    part.dstArray = second;
    part.dstPos = make_cudaPos(5, 3, 0);
    part.extent = make_cudaExtent(7, 3, 4);
    part.kind = cudaMemcpyDeviceToDevice;
    CUDA(cudaMemcpy3DAsync(&part, stream));
    std::vector<int> back(w * h * d);
    cudaMemcpy3DParms out = {};
    out.srcArray = second;
    out.dstPtr = make_cudaPitchedPtr(back.data(), w * 4, w, h);
    out.extent = make_cudaExtent(w, h, d);
    out.kind = cudaMemcpyDeviceToHost;
    CUDA(cudaMemcpy3DAsync(&out, stream));
    CUDA(cudaStreamSynchronize(stream));
    for (int i = 0; i < w * h * d; i++) {
        int x = i % w - 5, y = i / w % h - 3, z = i / (w * h);
        bool moved = x >= 0 && x < 7 && y >= 0 && z < 4;
        int from = moved ? ((z + 1) * h + y + 1) * w + x + 2 : i;
        REQUIRE_ELEMENT(back[i], from * 3 + 1, i);
    }
    part.extent.depth = 5;
    EXPECT(cudaMemcpy3DAsync(&part, stream), cudaErrorInvalidValue);
    EXPECT(cudaGetLastError(), cudaErrorInvalidValue);
    CUDA(cudaFreeArray(first));
    CUDA(cudaFreeArray(second));
    CUDA(cudaFreeHost(pinned));
    CUDA(cudaStreamDestroy(stream));
}

// A large array: copied in pieces, and counted while it is there.
static void large() {
    const int w = 2048, h = 2048;
    size_t before, with, after, total;
    CUDA(cudaMemGetInfo(&before, &total));
    cudaArray_t array = plane(w, h);
    CUDA(cudaMemGetInfo(&with, &total));
    REQUIRE(before - with >= size_t(w) * h * 4 && before - with < size_t(w) * h * 8);
    std::vector<int> values(w * h), back(w * h);
    for (int i = 0; i < w * h; i++) values[i] = i ^ 0x5a5a5a;
    CUDA(cudaMemcpy2DToArray(array, 0, 0, values.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy2DFromArray(back.data(), w * 4, array, 0, 0, w * 4, h, cudaMemcpyDeviceToHost));
    REQUIRE(values == back);
    CUDA(cudaFreeArray(array));
    CUDA(cudaMemGetInfo(&after, &total));
    REQUIRE(after + (8 << 20) >= before);
    cudaExtent all = make_cudaExtent(16384, 16384, 16384);
    cudaChannelFormatDesc wide = cudaCreateChannelDesc<float4>();
    cudaArray_t none;
    EXPECT(cudaMalloc3DArray(&none, &wide, all, 0), cudaErrorMemoryAllocation);
    EXPECT(cudaGetLastError(), cudaErrorMemoryAllocation);
}

// An array is freed while one stream works and another has only just been given work.
static void freed_at_work() {
    const int n = 64;
    cudaStream_t stream;
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    int *memory, *out;
    CUDA(cudaMalloc(&memory, n * 4));
    CUDA(cudaMalloc(&out, n * 4));
    CUDA(cudaMemset(memory, 0x11, n * 4));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeLinear;
    resource.res.linear.devPtr = memory;
    resource.res.linear.desc = format;
    resource.res.linear.sizeInBytes = n * 4;
    cudaTextureObject_t object = texture(resource);
    CUDA(cudaMemcpyToSymbol(known, &object, sizeof object));
    for (int i = 0; i < 20; i++) {
        cudaArray_t array = plane(16, 16);
        read_known<<<1, n, 0, stream>>>(out, 500000);
        CUDA(cudaFreeArray(array));
        // CUDA waits for all that was issued before.
        EXPECT(cudaStreamQuery(stream), cudaSuccess);
        read_known<<<1, n, 0, stream>>>(out, 500000);
    }
    CUDA(cudaStreamSynchronize(stream));
    int back[n];
    CUDA(cudaMemcpy(back, out, sizeof back, cudaMemcpyDeviceToHost));
    for (int i = 0; i < n; i++) REQUIRE_ELEMENT(back[i], 0x11111111, i);
    CUDA(cudaDestroyTextureObject(object));
    CUDA(cudaFree(memory));
    CUDA(cudaFree(out));
    CUDA(cudaStreamDestroy(stream));
}

static std::atomic<int> stage;

static void hold(void *) {
    stage = 1;
    while (stage != 2) std::this_thread::yield();
}

// Arrays come and go in one thread while others give work without pause; one is freed while a stream is in a function.
static void beside_threads() {
    std::atomic<bool> over(false);
    std::vector<std::thread> others;
    for (int t = 0; t < 2; t++)
        others.emplace_back([&] {
            cudaStream_t stream;
            int *memory, value = 0;
            CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
            CUDA(cudaMalloc(&memory, 4096));
            while (!over) {
                for (int i = 0; i < 10; i++) CUDA(cudaMemsetAsync(memory, 7, 4096, stream));
                CUDA(cudaMemcpyAsync(&value, memory, 4, cudaMemcpyDeviceToHost, stream));
                CUDA(cudaStreamSynchronize(stream));
                REQUIRE(value == 0x07070707);
            }
            CUDA(cudaFree(memory));
            CUDA(cudaStreamDestroy(stream));
        });
    size_t first = 0, last, total;
    for (int i = 0; i < 100; i++) {
        cudaArray_t array = plane(512, 512);
        int value = i, back;
        CUDA(cudaMemcpy2DToArray(array, 400, 300, &value, 4, 4, 1, cudaMemcpyHostToDevice));
        CUDA(cudaMemcpy2DFromArray(&back, 4, array, 400, 300, 4, 1, cudaMemcpyDeviceToHost));
        REQUIRE(back == i);
        CUDA(cudaFreeArray(array));
        if (i == 0) CUDA(cudaMemGetInfo(&first, &total));
    }
    over = true;
    for (std::thread &other : others) other.join();
    CUDA(cudaMemGetInfo(&last, &total));
    REQUIRE(last + (16 << 20) >= first);

    cudaStream_t stream;
    CUDA(cudaStreamCreate(&stream));
    cudaArray_t array = plane(16, 16), other = plane(16, 16);
    CUDA(cudaLaunchHostFunc(stream, hold, nullptr));
    std::thread frees([&] {
        CUDA(cudaFreeArray(array));
        REQUIRE(stage == 2);
    });
    while (stage != 1) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stage = 2;
    frees.join();
    CUDA(cudaFreeArray(other));
    CUDA(cudaStreamDestroy(stream));
}

// Devices number their objects for themselves: the same numbers may stand for different ones.
static void devices() {
    int count;
    CUDA(cudaGetDeviceCount(&count));
    struct On {
        cudaArray_t array;
        cudaTextureObject_t from;
        cudaSurfaceObject_t to;
        Layer *layer;
    };
    std::vector<On> all(count);
    const int w = 16, h = 8;
    std::vector<int> values(w * h);
    for (int d = 0; d < count; d++) {
        CUDA(cudaSetDevice(d));
        On &on = all[d];
        on.array = plane(w, h);
        cudaResourceDesc resource = of(on.array);
        on.from = texture(resource);
        CUDA(cudaCreateSurfaceObject(&on.to, &resource));
        for (int i = 0; i < w * h; i++) values[i] = i + d * 10000;
        CUDA(cudaMemcpy2DToArray(on.array, 0, 0, values.data(), w * 4, w * 4, h, cudaMemcpyHostToDevice));
        Layer layer = {on.from, on.to, d + 1};
        CUDA(cudaMalloc(&on.layer, sizeof layer));
        CUDA(cudaMemcpy(on.layer, &layer, sizeof layer, cudaMemcpyHostToDevice));
    }
    for (int d = count - 1; d >= 0; d--) {
        CUDA(cudaSetDevice(d));
        On &on = all[d];
        apply<<<1, dim3(w, h)>>>(on.layer, w);
        LAUNCHED();
        CUDA(cudaMemcpy2DFromArray(values.data(), w * 4, on.array, 0, 0, w * 4, h, cudaMemcpyDeviceToHost));
        for (int i = 0; i < w * h; i++) REQUIRE_ELEMENT(values[i], i + d * 10000 + d + 1, i);
        CUDA(cudaDestroyTextureObject(on.from));
        CUDA(cudaDestroySurfaceObject(on.to));
        CUDA(cudaFreeArray(on.array));
        CUDA(cudaFree(on.layer));
    }
}

int main() {
    table();
    objects_come_and_go();
    variable();
    copies_on_a_stream();
    large();
    freed_at_work();
    beside_threads();
    devices();
    return pass();
}
